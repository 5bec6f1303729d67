//! A history: hits of each step of a span, asked for in pieces.
//!
//! Owns the pieces. The first asks how things stand and so fixes the instant and the last hit that is looked
//! at; every other asks for a few steps. The sum of all is what the window held at that instant, whatever
//! is counted or retired meanwhile.
//!
//! Must not know how steps are counted. Invariant: no piece takes longer than a pass full of hits.

use super::question::{Format, Steps};
use super::{Operator, pages};
use crate::fields::Fields;
use crate::front::desk::{Page, Task};
use crate::hit::{self, Answer, Ask};
use crate::notation::{duration, instant};
use crate::stamp::{Anchor, SECOND_NS, Stamp};
use std::fmt::Write;

/// The most steps of a history.
pub const STEPS_MAX: u64 = 10_000;

/// A history in the making.
pub struct History {
    operator: Operator,
    span: Steps,
    format: Format,
    now: Anchor,
    /// The beginning of the first step and the position of the first hit that is too late, once known.
    fixed: Option<(Stamp, u64)>,
    counts: Vec<u64>,
}

impl History {
    pub const fn new(operator: Operator, span: Steps, format: Format, now: Anchor) -> Self {
        Self {
            operator,
            span,
            format,
            now,
            fixed: None,
            counts: Vec::new(),
        }
    }

    fn take_piece(&mut self) -> Result<(), String> {
        let Steps { step_ns, count } = self.span;
        let Some((from, end)) = self.fixed else {
            let status = self.operator.status(self.now)?;
            self.counts.reserve_exact(count as usize);
            self.fixed = Some((status.at.before(step_ns * count), status.total));
            return Ok(());
        };
        let done = self.counts.len() as u64;
        let piece = Ask::Steps {
            from: from.after(step_ns * done),
            step_ns,
            count: (count - done).min(hit::STEPS_MAX as u64) as usize,
            end,
        };
        match self.operator.ask(piece, self.now)? {
            Answer::Steps(counts) => self.counts.extend(counts),
            other => unreachable!("{other:?} is no answer to steps"),
        }
        Ok(())
    }

    fn page(&self, from: Stamp) -> Page {
        let Steps { step_ns, count } = self.span;
        let at = |step: u64| instant(self.now.wall_at(from.after(step_ns * step)));
        if self.format == Format::Plain {
            let mut text = String::with_capacity(self.counts.len() * 40);
            for (step, hit_count) in (1..).zip(&self.counts) {
                let _infallible = writeln!(text, "{} {hit_count}", at(step));
            }
            return pages::plain(text);
        }
        let window_ns = step_ns * count;
        let fields = Fields::new()
            .text("from", at(0))
            .text("to", at(count))
            .text("window", duration(window_ns))
            .text("window_ns", window_ns.to_string())
            .text("step", duration(step_ns))
            .text("step_ns", step_ns.to_string())
            .bare("step_seconds", step_ns as f64 / SECOND_NS as f64)
            .numbers("counts", self.counts.clone())
            .bare("sum", self.counts.iter().sum::<u64>());
        pages::json(&fields)
    }
}

impl Task for History {
    fn step(&mut self) -> Option<Page> {
        if let Err(cause) = self.take_piece() {
            return Some(pages::unavailable(&cause, self.format));
        }
        match self.fixed {
            Some((from, _)) if self.counts.len() as u64 == self.span.count => Some(self.page(from)),
            _ => None,
        }
    }
}

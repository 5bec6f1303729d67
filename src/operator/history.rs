//! A history: hits of each step of a span, asked for in pieces.
//!
//! Owns the pieces. The first asks how things stand and so fixes the instant and the last hit that is looked
//! at; every other asks for a few steps. The sum of all is what the window held at that instant, whatever
//! is counted or retired meanwhile. Aligned steps lie at whole multiples of the step since 1970, so that one
//! that is over never changes; the last one may still run. Beside the counts stand the times when no server
//! ran or hits were refused, since a count of 0 says something else there.
//!
//! Must not know how steps are counted. Invariant: no piece takes longer than a pass full of hits.

use super::question::{Format, Steps};
use super::{Operator, pages};
use crate::fields::Fields;
use crate::front::desk::{Page, Task};
use crate::hit::{self, Answer, Ask, Status};
use crate::notation::{duration, instant};
use crate::stamp::{Anchor, SECOND_NS, Stamp};
use std::fmt::Write;

/// The most steps of a history.
pub const STEPS_MAX: u64 = 10_000;

/// How long a hit may be under way to the funnel: so long after its end, a step may still change.
pub const LATE_NS_MAX: u64 = SECOND_NS;

/// A history in the making.
pub struct History {
    operator: Operator,
    span: Steps,
    format: Format,
    now: Anchor,
    /// How things stood at the instant the history is of, and where its first step begins, once known.
    fixed: Option<(Box<Status>, Stamp)>,
    counts: Vec<u64>,
    /// Whether some step is.
    estimated: bool,
}

/// A time when a count says less than it seems to.
struct Down {
    from: Stamp,
    to: Stamp,
    /// What happened at `from`.
    since: &'static str,
    reason: String,
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
            estimated: false,
        }
    }

    fn take_piece(&mut self) -> Result<(), String> {
        let Steps { step_ns, count, .. } = self.span;
        let Some((status, from)) = &self.fixed else {
            let status = self.operator.status(self.now)?;
            let from = self.begin(status.at);
            self.counts.reserve_exact(count as usize);
            self.fixed = Some((status, from));
            return Ok(());
        };
        let done = self.counts.len() as u64;
        let piece = Ask::Steps {
            from: from.after(step_ns * done),
            step_ns,
            count: (count - done).min(hit::STEPS_MAX as u64) as usize,
            end: status.total,
        };
        let (answer, estimated) = self.operator.ask(piece, self.now)?.split();
        self.estimated |= estimated;
        match answer {
            Answer::Steps(counts) => self.counts.extend(counts),
            _ => unreachable!("steps were asked for"),
        }
        Ok(())
    }

    /// Where the first step begins, if the last one holds `at`.
    fn begin(&self, at: Stamp) -> Stamp {
        let Steps {
            step_ns,
            count,
            is_aligned,
        } = self.span;
        let mut end = at;
        if is_aligned {
            let wall_ns = self.now.wall_at(at);
            let over_ns = wall_ns.rem_euclid(step_ns.cast_signed());
            if over_ns > 0 {
                end = at.after(step_ns - over_ns.unsigned_abs());
            }
        }
        end.before(step_ns * count)
    }

    /// The times between `from` and the instant of `status` when no server ran or hits were refused.
    fn down(&self, status: &Status, from: Stamp) -> Vec<Down> {
        let gaps = self.operator.facts.gaps.list.iter().map(|gap| Down {
            from: gap.from,
            to: gap.to,
            since: if gap.since_last_hit {
                "last hit"
            } else {
                "stop"
            },
            reason: if gap.since_last_hit {
                "no server was running, or it received nothing before it was killed".to_owned()
            } else {
                "no server was running".to_owned()
            },
        });
        let refused = status.refusals.spans().map(|span| Down {
            from: span.from,
            to: span.to.unwrap_or(status.at),
            since: "first refusal",
            reason: format!("hits were refused: {}", span.cause),
        });
        // No server ran before this one began, and only this one tells when it refused: they are in order.
        let inside = gaps.chain(refused).filter(|down| down.to >= from);
        inside
            .map(|down| Down {
                from: down.from.max(from),
                ..down
            })
            .collect()
    }

    fn page(&self, status: &Status, from: Stamp) -> Page {
        let Steps {
            step_ns,
            count,
            is_aligned,
        } = self.span;
        let end_of = |step: u64| from.after(step_ns * step);
        let at = |stamp: Stamp| instant(self.now.wall_at(stamp));
        let down = self.down(status, from);
        let is_running = end_of(count) > status.at;
        if self.format == Format::Plain {
            let mut text = String::with_capacity(self.counts.len() * 40);
            for (step, hit_count) in (1..).zip(&self.counts) {
                let (begin, end) = (end_of(step - 1), end_of(step));
                let is_down =
                    is_aligned && down.iter().any(|down| down.from < end && down.to > begin);
                let down = if is_down { " down" } else { "" };
                let running = if is_running && step == count {
                    " running"
                } else {
                    ""
                };
                let _infallible = writeln!(text, "{} {hit_count}{down}{running}", at(end));
            }
            return pages::plain(text);
        }
        // A hit that is under way may still come into a step that is over.
        let settled = status.at.before(LATE_NS_MAX);
        let complete = (1..=count)
            .take_while(|&step| end_of(step) < settled)
            .count();
        let window_ns = step_ns * count;
        let known = self.operator.facts.gaps.known_from;
        let known = status
            .refusals
            .complete_after()
            .map_or(known, |after| known.max(after));
        let down = down.into_iter().map(|down| {
            Fields::new()
                .text("from", at(down.from))
                .text("to", at(down.to))
                .text("since", down.since)
                .text("reason", down.reason)
        });
        let fields = Fields::new()
            .text("from", at(from))
            .text("to", at(status.at))
            .text("window", duration(window_ns))
            .text("window_ns", window_ns.to_string())
            .text("step", duration(step_ns))
            .text("step_ns", step_ns.to_string())
            .bare("step_seconds", step_ns as f64 / SECOND_NS as f64)
            .bare("align", is_aligned)
            .bare("running", is_running)
            .bare("complete", complete)
            .numbers("counts", self.counts.clone())
            .bare("sum", self.counts.iter().sum::<u64>())
            .bare("estimated", self.estimated)
            .objects("down", down.collect())
            .text("down_known_from", at(known.max(from)));
        pages::json(&fields)
    }
}

impl Task for History {
    fn step(&mut self) -> Option<Page> {
        if let Err(cause) = self.take_piece() {
            return Some(pages::unavailable(&cause, self.format));
        }
        match &self.fixed {
            Some((status, from)) if self.counts.len() as u64 == self.span.count => {
                Some(self.page(status, *from))
            }
            _ => None,
        }
    }
}

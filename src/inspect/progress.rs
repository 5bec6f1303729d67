//! How far a long piece of work has come, on standard error, for whoever sits at a terminal.
//!
//! Owns one line that is drawn over and over and is gone in the end. In its first second it draws
//! nothing, and then a few times a second.
//!
//! Must not know what the work is. Invariant: without a terminal nothing is ever written, and the
//! work goes on whatever becomes of what is.

use crate::clock::{Clock, SystemClock};
use crate::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};
use std::io::{IsTerminal, Stderr, Write};

/// Time without a line, in nanoseconds.
const QUIET_NS: u64 = SECOND_NS;
/// Time between two drawings, in nanoseconds.
const PERIOD_NS: u64 = 200 * MILLISECOND_NS;
/// Cells of the bar.
const CELLS: u64 = 30;
const CLEAR: &str = "\r\u{1b}[K";

/// A line of progress.
pub struct Progress<C: Clock, W: Write> {
    clock: C,
    out: Option<W>,
    what: &'static str,
    total: u64,
    due: Stamp,
    drawn: bool,
}

impl Progress<SystemClock, Stderr> {
    /// For `total` records, on standard error if that is a terminal, and not one that fills with
    /// what the work writes.
    pub fn of(what: &'static str, total: u64, writes: bool) -> Self {
        let stderr = std::io::stderr();
        let is_free = !writes || !std::io::stdout().is_terminal();
        let out = (is_free && stderr.is_terminal()).then_some(stderr);
        Self::new(SystemClock, out, what, total)
    }
}

impl<C: Clock, W: Write> Progress<C, W> {
    /// For `total` records, on `out`.
    pub fn new(clock: C, out: Option<W>, what: &'static str, total: u64) -> Self {
        let due = clock.now().after(QUIET_NS);
        Self {
            clock,
            out,
            what,
            total,
            due,
            drawn: false,
        }
    }

    /// So many are done.
    pub fn at(&mut self, done: u64) {
        let Some(out) = &mut self.out else {
            return;
        };
        let now = self.clock.now();
        if now < self.due {
            return;
        }
        self.due = now.after(PERIOD_NS);
        self.drawn = true;
        let (total, what) = (self.total.max(1), self.what);
        let done = done.min(total);
        let share = |parts: u64| (u128::from(done) * u128::from(parts) / u128::from(total)) as u64;
        let bar = "#".repeat(share(CELLS) as usize);
        let _nobody_sees = write!(
            out,
            "{CLEAR}{what} {:3} % [{bar:<width$}] {:.1} of {:.1} million",
            share(100),
            done as f64 / 1e6,
            total as f64 / 1e6,
            width = CELLS as usize
        );
        let _nobody_sees = out.flush();
    }
}

impl<C: Clock, W: Write> Drop for Progress<C, W> {
    fn drop(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| self.drawn) {
            let _nobody_sees = write!(out, "{CLEAR}");
            let _nobody_sees = out.flush();
        }
    }
}

/// A line that names the one of a few steps that is under way.
pub struct Steps<W: Write> {
    out: Option<W>,
    total: usize,
    begun: usize,
}

impl Steps<Stderr> {
    /// For `total` steps, on standard error if that is a terminal.
    pub fn of(total: usize) -> Self {
        let stderr = std::io::stderr();
        Self::new(stderr.is_terminal().then_some(stderr), total)
    }
}

impl<W: Write> Steps<W> {
    /// For `total` steps, on `out`.
    pub const fn new(out: Option<W>, total: usize) -> Self {
        Self {
            out,
            total,
            begun: 0,
        }
    }

    /// The next one begins.
    pub fn begin(&mut self, what: &str) {
        self.begun += 1;
        if let Some(out) = &mut self.out {
            let (begun, total) = (self.begun, self.total);
            let _nobody_sees = write!(out, "{CLEAR}measuring {what}, {begun} of {total}");
            let _nobody_sees = out.flush();
        }
    }
}

impl<W: Write> Drop for Steps<W> {
    fn drop(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| self.begun > 0) {
            let _nobody_sees = write!(out, "{CLEAR}");
            let _nobody_sees = out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HandClock;

    #[test]
    fn a_bar_is_drawn_after_a_second_and_is_gone_in_the_end() {
        let clock = HandClock::default();
        let mut seen = Vec::new();
        let mut progress = Progress::new(clock.clone(), Some(&mut seen), "checking", 60_000_000);
        progress.at(1);
        clock.advance(QUIET_NS - 1);
        progress.at(20_000_000);
        clock.advance(1);
        progress.at(30_000_000);
        progress.at(40_000_000);
        clock.advance(PERIOD_NS);
        progress.at(60_000_000);
        drop(progress);
        let seen = String::from_utf8(seen).expect("text");
        let lines: Vec<&str> = seen.split(CLEAR).collect();
        assert_eq!(lines.len(), 4, "{seen:?}");
        assert_eq!(
            lines[1],
            "checking  50 % [###############               ] 30.0 of 60.0 million"
        );
        assert!(lines[2].starts_with("checking 100 % [####"), "{seen:?}");
        assert!(lines.iter().all(|line| line.len() < 80));
        assert_eq!(lines[3], "");
    }

    #[test]
    fn short_work_and_work_without_a_terminal_draw_nothing() {
        let clock = HandClock::default();
        let mut seen = Vec::new();
        let mut progress = Progress::new(clock.clone(), Some(&mut seen), "reading", 0);
        progress.at(0);
        drop(progress);
        assert_eq!(seen, b"");
        let mut unseen = Progress::<_, Vec<u8>>::new(clock.clone(), None, "reading", 1);
        clock.advance(10 * QUIET_NS);
        unseen.at(1);
        assert!(!unseen.drawn);
    }

    #[test]
    fn each_step_is_named_and_the_line_is_gone_in_the_end() {
        let mut seen = Vec::new();
        let mut steps = Steps::new(Some(&mut seen), 2);
        steps.begin("clocks");
        steps.begin("syncs");
        drop(steps);
        let expected =
            format!("{CLEAR}measuring clocks, 1 of 2{CLEAR}measuring syncs, 2 of 2{CLEAR}");
        assert_eq!(String::from_utf8(seen).expect("text"), expected);
        let mut unseen = Steps::<Vec<u8>>::new(None, 1);
        unseen.begin("nothing");
    }
}

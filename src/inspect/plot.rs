//! `tallyd plot`: hits per step as a chart, once or again each second.
//!
//! Owns where the counts come from: for a directory one search for each end of a step, for a server
//! its own history. Steps end now, or with `--align` at whole multiples of the step since 1970, where the
//! last one may still run; each is (end - step, end], as a window is.
//!
//! Must not know how a chart is drawn. Invariant: the counts of all steps add up to the window's.

use super::chart::{Chart, draw};
use super::count::check_window;
use super::{Looked, Out, now, remote};
use crate::error::{Error, Result};
use crate::journal::Missed;
use crate::notation::{duration, instant, parse_instant};
use crate::options::tasks::{Plot, Source};
use crate::stamp::{Anchor, SECOND_NS};
use rustix::termios::tcgetwinsize;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The width where neither the environment nor a terminal says one.
const COLUMNS: usize = 80;
/// Time between two drawings, in nanoseconds.
const PERIOD_NS: u64 = SECOND_NS;

/// Draws.
pub fn run(plot: &Plot) -> Result<()> {
    let mut looked = match &plot.source {
        Source::Directory(directory) => Some(Looked::open(directory)?),
        Source::Url(_) => None,
    };
    let mut out = Out::new();
    let is_terminal = std::io::stdout().is_terminal();
    let mut lines = 0;
    let mut drawn = 0;
    loop {
        let (counts, end) = match (&plot.source, &mut looked) {
            (Source::Url(address), _) => ask(address, plot)?,
            (_, Some(looked)) => count(looked, plot, now())?,
            (Source::Directory(_), None) => unreachable!("it was opened"),
        };
        let text = draw(&Chart {
            counts: &counts,
            step_ns: plot.step_ns,
            end: &end,
            columns: plot.columns.unwrap_or_else(terminal_columns),
            unicode: plot.unicode,
        });
        if drawn > 0 {
            // A chart takes the place of the last one; in a file they follow each other.
            let over = if is_terminal {
                format!("\u{1b}[{lines}A\u{1b}[J")
            } else {
                "\n".to_owned()
            };
            out.buffer().extend_from_slice(over.as_bytes());
        }
        lines = text.lines().count();
        let _infallible = out.buffer().write_all(text.as_bytes());
        out.flush()?;
        drawn += 1;
        if plot.times.is_some_and(|times| drawn >= times) || out.is_closed() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_nanos(PERIOD_NS));
    }
}

fn terminal_columns() -> usize {
    let size = tcgetwinsize(std::io::stdout()).ok();
    let columns = size.map(|size| usize::from(size.ws_col));
    columns.filter(|&columns| columns > 0).unwrap_or(COLUMNS)
}

/// Hits of each step of a data directory, and where the last one ends.
fn count(looked: &mut Looked, plot: &Plot, now: Anchor) -> Result<(Vec<u64>, String)> {
    let shown = looked.shown();
    let steps = plot.window_ns / plot.step_ns;
    let over_ns = now
        .wall_ns
        .rem_euclid(plot.step_ns.cast_signed())
        .unsigned_abs();
    let left_ns = if plot.is_aligned && over_ns > 0 {
        plot.step_ns - over_ns
    } else {
        0
    };
    let end = now.at.after(left_ns);
    let counts = looked.look(|view| {
        check_window(&shown, view, plot.window_ns, now)?;
        let bounds = (0..=steps).rev();
        let bounds = bounds.map(|step| view.upper_bound(end.before(step * plot.step_ns)));
        let bounds = bounds.collect::<Result<Vec<_>, Missed>>()?;
        Ok(bounds.windows(2).map(|pair| pair[1] - pair[0]).collect())
    })?;
    Ok((counts, shown_end(&instant(now.wall_at(end)), left_ns > 0)))
}

/// Where the last step ends, and whether that is still to come.
fn shown_end(end: &str, is_running: bool) -> String {
    let running = if is_running {
        ", when the last step, which is still running, is over"
    } else {
        ""
    };
    format!("{end}{running}")
}

/// The same of a running server.
fn ask(address: &str, plot: &Plot) -> Result<(Vec<u64>, String)> {
    let (window, step) = (duration(plot.window_ns), duration(plot.step_ns));
    let align = if plot.is_aligned { "&align=true" } else { "" };
    let target = format!("/history?window={window}&step={step}{align}");
    let answer = remote::get(address, &target)?;
    let wrong = |cause: String| Error::found(remote::shown(address) + &target, cause);
    let mut counts = Vec::new();
    let mut end = String::new();
    for (line, number) in answer.lines().zip(1..) {
        let step = line.split_once(' ');
        let step = step.filter(|(end, _)| parse_instant(end).is_ok());
        let counted = step.map(|(end, rest)| {
            let mut words = rest.split(' ');
            let count = words.next().unwrap_or_default().parse();
            (end, count, words.any(|word| word == "running"))
        });
        let Some((instant, Ok(count), is_running)) = counted else {
            let line = remote::line_of(line);
            return Err(wrong(format!(
                "line {number}: '{line}' is no instant with a count"
            )));
        };
        counts.push(count);
        end = shown_end(instant, is_running);
    }
    let steps = plot.window_ns / plot.step_ns;
    if counts.len() as u64 != steps {
        return Err(wrong(format!(
            "answered {} steps, not {steps}",
            counts.len()
        )));
    }
    Ok((counts, end))
}

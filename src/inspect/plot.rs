//! `tallyd plot`: hits per step as a chart, once or again each second.
//!
//! Owns where the counts come from: for a directory one search for each end of a step, for a server
//! its own history. Steps end now, or with `--align` at whole multiples of the step since 1970, where the
//! last one may still run; each is (end - step, end], as a window is.
//!
//! Must not know how a chart is drawn. Invariant: the counts of all steps add up to the window's.

use super::chart::{Chart, draw, sum_of};
use super::count::{check_window, end_of, say_damaged};
use super::{Looked, Out, now, remote};
use crate::error::{Error, Result};
use crate::journal::Missed;
use crate::notation::{duration, instant};
use crate::options::tasks::{Plot, Source, WINDOW_NS};
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
    // Of a server that is asked for its own window, how long that is must be known for the step.
    let window_ns = match (plot.window_ns, &plot.source) {
        (Some(window_ns), _) => window_ns,
        (None, Source::Directory(_)) => WINDOW_NS,
        (None, Source::Url(address)) => own_window_ns(address)?,
    };
    let step_ns = plot.step_of(window_ns);
    let step_ns = step_ns.map_err(|cause| Error::found("--step", cause))?;
    let steps = Steps {
        window_ns,
        step_ns,
        is_aligned: plot.is_aligned,
    };
    let mut out = Out::new();
    let is_terminal = std::io::stdout().is_terminal();
    let mut lines = 0;
    let mut drawn = 0;
    loop {
        let (counts, end) = match (&plot.source, &mut looked) {
            (Source::Url(address), _) => ask(address, steps)?,
            (_, Some(looked)) => count(looked, steps, now())?,
            (Source::Directory(_), None) => unreachable!("it was opened"),
        };
        let text = draw(&Chart {
            counts: &counts,
            step_ns,
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

/// What is counted.
#[derive(Clone, Copy)]
struct Steps {
    /// The span, in ns.
    window_ns: u64,
    /// The step, in ns, which divides it.
    step_ns: u64,
    /// Whether the steps begin and end at whole multiples of the step since 1970.
    is_aligned: bool,
}

/// Hits of each step of a data directory, and where the last one ends.
fn count(looked: &mut Looked, steps: Steps, now: Anchor) -> Result<(Vec<u64>, String)> {
    let Steps {
        window_ns,
        step_ns,
        is_aligned,
    } = steps;
    let shown = looked.shown();
    let over_ns = now.wall_ns.rem_euclid(step_ns.cast_signed());
    let left_ns = match over_ns.unsigned_abs() {
        1.. if is_aligned => step_ns - over_ns.unsigned_abs(),
        _ => 0,
    };
    let end = now.at.after(left_ns);
    let counts = looked.look(|view| {
        check_window(&shown, view, window_ns, now)?;
        let bounds = (0..=window_ns / step_ns).rev();
        let bounds = bounds.map(|step| match step {
            0 => view.upper_bound(end.max(end_of(view, now))),
            _ => view.upper_bound(end.before(step * step_ns)),
        });
        let bounds = bounds.collect::<Result<Vec<_>, Missed>>()?;
        if !bounds.iter().all(|bound| bound.is_exact) {
            say_damaged(&shown);
        }
        let positions: Vec<u64> = bounds.iter().map(|bound| bound.position).collect();
        Ok(positions.windows(2).map(|pair| pair[1] - pair[0]).collect())
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
fn ask(address: &str, steps: Steps) -> Result<(Vec<u64>, String)> {
    let Steps {
        window_ns,
        step_ns,
        is_aligned,
    } = steps;
    let (window, step) = (duration(window_ns), duration(step_ns));
    let align = if is_aligned { "&align=true" } else { "" };
    let target = format!("/history?window={window}&step={step}{align}");
    let answer = remote::get(address, &target)?;
    let fields = || {
        let (from_ns, to_ns) = (answer.instant_ns("from")?, answer.instant_ns("to")?);
        let (own_step_ns, counts) = (answer.digits("step_ns")?, answer.numbers("counts")?);
        // The last of aligned steps may end later than the answer.
        let end_ns = from_ns.saturating_add_unsigned(window_ns);
        let left_ns = end_ns.checked_sub(to_ns).unwrap_or(-1);
        let is_asked = match is_aligned {
            true => {
                let step_ns = step_ns.cast_signed();
                from_ns % step_ns == 0 && (0..step_ns).contains(&left_ns)
            }
            false => left_ns == 0,
        };
        if own_step_ns != step_ns || to_ns < from_ns || !is_asked {
            let [from, to] = [from_ns, to_ns].map(instant);
            let step = duration(own_step_ns);
            return Err(format!(
                "answered for {from} to {to} in steps of {step}, which was not asked for"
            ));
        }
        let (found, wanted) = (counts.len() as u64, window_ns / step_ns);
        if found != wanted {
            return Err(format!("answered {found} steps, not {wanted}"));
        }
        let (sum, own_sum) = (sum_of(counts), answer.number("sum")?);
        if sum != own_sum {
            return Err(format!("the steps have {sum} hits, 'sum' is {own_sum}"));
        }
        let end = shown_end(&instant(end_ns), left_ns > 0);
        Ok((counts.to_vec(), end))
    };
    fields().map_err(|cause| Error::found(remote::shown(address) + &target, cause))
}

/// The window of a running server.
fn own_window_ns(address: &str) -> Result<u64> {
    let answer = remote::get(address, "/status")?;
    let window_ns = answer
        .digits("window_ns")
        .and_then(|window_ns| match window_ns {
            0 => Err("'window_ns' is 0".to_owned()),
            _ => Ok(window_ns),
        });
    window_ns.map_err(|cause| Error::found(remote::shown(address) + "/status", cause))
}

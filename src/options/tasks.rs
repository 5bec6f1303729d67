//! What the commands can be asked to do.
//!
//! Owns the kinds of tasks. Must not know how a task is done, or what it was read from. Invariant: every
//! [`Task`] that comes out of the command line can be done.

use crate::notation::duration;
use crate::stamp::SECOND_NS;
use std::path::PathBuf;

/// The most steps of a plot.
pub const STEPS_MAX: u64 = 10_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Print the number of hits in a span, of each source and of all.
    Count(Vec<Source>, Span),
    /// Print every hit whose instant lies between two, in ns since 1970.
    Dump(PathBuf, Format, Interval),
    /// Check every header and every record.
    Verify(PathBuf),
    /// Draw hits per step.
    Plot(Plot),
    /// Measure this machine, in the data directory or beside it; as JSON if so.
    Clock(PathBuf, bool),
}

/// Where hits are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A data directory.
    Directory(PathBuf),
    /// The operator's listener of a running server, `HOST:PORT`.
    Url(String),
}

/// Instants after `from_ns` and up to `to_ns`, in ns since 1970; nothing where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The instant before the first.
    pub from_ns: Option<i64>,
    /// The last instant.
    pub to_ns: Option<i64>,
}

/// The window of a directory, where nothing says how long it is; in ns.
pub const WINDOW_NS: u64 = 60 * SECOND_NS;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// What nothing was said of: of a server its own window, of a directory [`WINDOW_NS`].
    Default,
    /// So many ns up to now.
    Window(u64),
    /// Between two instants.
    Between(Interval),
}

/// How a hit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The instant.
    Text,
    /// Sequence number, instant and stamp, with a line of titles.
    Csv,
    /// The same as an object a line.
    Json,
    /// ns since 1970 in eight bytes.
    Raw,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Whose hits.
    pub source: Source,
    /// The span, in ns; if nothing was said, of a server its own window, of a directory [`WINDOW_NS`].
    pub window_ns: Option<u64>,
    /// The step, in ns; if nothing was said, a round one.
    pub step_ns: Option<u64>,
    /// Whether steps begin and end at whole multiples of the step since 1970.
    pub is_aligned: bool,
    /// How often it is drawn; nothing if without end.
    pub times: Option<u64>,
    /// How wide, if the environment says.
    pub columns: Option<usize>,
    /// Whether the terminal knows more than ASCII.
    pub unicode: bool,
}

impl Plot {
    /// The step over a window of `window_ns`, in ns.
    ///
    /// # Errors
    /// The step that was given does not divide the window, or makes too many steps of it.
    pub fn step_of(&self, window_ns: u64) -> Result<u64, String> {
        let Some(step_ns) = self.step_ns else {
            return Ok(round_step_ns(window_ns));
        };
        let (shown, steps) = (duration(step_ns), window_ns / step_ns);
        if !window_ns.is_multiple_of(step_ns) {
            let window = duration(window_ns);
            return Err(format!("{shown} does not divide the window, {window}"));
        }
        if steps > STEPS_MAX {
            return Err(format!(
                "{shown} makes {steps} steps, at most {STEPS_MAX} are allowed"
            ));
        }
        Ok(step_ns)
    }
}

/// The step that makes the most steps, 60 at the most, and is short to say.
fn round_step_ns(window_ns: u64) -> u64 {
    let counts = (1..=60)
        .rev()
        .filter(|count| window_ns.is_multiple_of(*count));
    let mut steps = counts.map(|count| window_ns / count);
    let is_round = |step_ns: &u64| {
        duration(*step_ns)
            .trim_end_matches(char::is_alphabetic)
            .trim_end_matches('0')
            .len()
            <= 2
    };
    steps.find(is_round).unwrap_or(window_ns)
}

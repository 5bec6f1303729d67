//! What the commands can be asked to do.
//!
//! Owns the kinds of tasks. Must not know how a task is done, or what it was read from. Invariant: every
//! [`Task`] that comes out of the command line can be done.

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

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
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
    /// The span, in ns.
    pub window_ns: u64,
    /// The step, in ns, which divides the window.
    pub step_ns: u64,
    /// Whether steps begin and end at whole multiples of the step since 1970.
    pub is_aligned: bool,
    /// How often it is drawn; nothing if without end.
    pub times: Option<u64>,
    /// How wide, if the environment says.
    pub columns: Option<usize>,
    /// Whether the terminal knows more than ASCII.
    pub unicode: bool,
}

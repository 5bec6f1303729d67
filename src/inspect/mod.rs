//! The tools for the shell: they look into a journal, beside a running server too, or ask one.
//!
//! Owns what the tools share: the way to standard output, and the looks that are taken again when a
//! segment is retired meanwhile. What is damaged is logged once and counted as the server does.
//!
//! Must not know of fronts, funnels or locks: a directory is only read; `clock`, which measures, writes in
//! one of its own. Invariant: a tool prints what is right, or fails.

mod answer;
pub mod chart;
mod clock;
mod count;
mod dump;
mod plot;
pub mod progress;
pub mod remote;
mod verify;

use crate::clock::{Clock, SystemClock, boot_id};
use crate::error::{Error, Result};
use crate::journal::disk::{Disk, ReadDisk};
use crate::journal::{Missed, View};
use crate::lives::Lives;
use crate::notation::{many, printable};
use crate::options::tasks::Task;
use crate::stamp::{Anchor, BootId};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Looks in a row that may find a segment retired before giving up.
const LOOKS_MAX: u32 = 100;
/// Damage of one directory that is logged at the most, in lines.
const FINDINGS_MAX: usize = 10;
/// Bytes that are gathered for one write.
const OUT_BYTES: usize = 256 << 10;

/// How a task ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Sound,
    /// Faults were found and named.
    Damaged,
}

/// Does `task`.
///
/// # Errors
/// It cannot be done; nothing that was printed is wrong.
pub fn run(task: &Task) -> Result<Verdict> {
    match task {
        Task::Count(sources, span) => count::run(sources, *span)?,
        Task::Dump(directory, format, interval) => dump::run(directory, *format, *interval)?,
        Task::Verify(directory) => return verify::run(directory),
        Task::Plot(plot) => plot::run(plot)?,
        Task::Clock(data, json) => clock::run(data, *json)?,
    }
    Ok(Verdict::Sound)
}

/// A data directory that is looked into.
struct Looked {
    disk: ReadDisk,
    boot: BootId,
    /// Whether its damage was logged.
    said: bool,
}

impl Looked {
    fn open(directory: &Path) -> Result<Self> {
        Ok(Self {
            disk: ReadDisk::open(directory)?,
            boot: boot_id()?,
            said: false,
        })
    }

    /// How people call the directory.
    fn shown(&self) -> String {
        self.disk.path("").trim_end_matches('/').to_owned()
    }

    /// What the servers of this directory have noted. To be read before a view is opened: a stop that is noted
    /// has all its hits in the segments.
    fn lives(&self) -> Lives {
        Lives::read(self.disk.directory(), self.boot).0
    }

    /// What there is now, with the doubts that the servers of this directory have noted.
    fn view(&self) -> Result<View<'_, ReadDisk>> {
        self.view_with(&self.lives())
    }

    /// The same, with what they have noted at hand.
    fn view_with(&self, lives: &Lives) -> Result<View<'_, ReadDisk>> {
        let mut view = View::open(&self.disk, self.boot, now)?;
        let now = now();
        let mut damaged_until = lives.doubtful_until(now);
        if let Some(missing) = lives.missing(view.end) {
            damaged_until = now.at;
            view.findings.push(format!("{}: {missing}", self.shown()));
        }
        view.damaged_until = view.damaged_until.max(damaged_until);
        view.doubtful_until = view.doubtful_until.max(damaged_until);
        Ok(view)
    }

    /// Does `work` with a view, again when a segment was retired meanwhile. What was flushed before
    /// is in every one.
    fn look<T>(
        &mut self,
        mut work: impl FnMut(&View<'_, ReadDisk>) -> Result<T, Missed>,
    ) -> Result<T> {
        for _ in 0..LOOKS_MAX {
            let view = self.view()?;
            match work(&view) {
                Err(Missed::Retired) => {}
                Err(Missed::Failed(error)) => return Err(error),
                Ok(done) => {
                    let findings = view.findings;
                    self.say(&findings);
                    return Ok(done);
                }
            }
        }
        let cause = format!("segments were retired under {LOOKS_MAX} looks in a row");
        Err(Error::found(self.shown(), cause))
    }

    /// Logs what is damaged, once.
    fn say(&mut self, findings: &[String]) {
        if std::mem::replace(&mut self.said, true) {
            return;
        }
        for finding in findings.iter().take(FINDINGS_MAX) {
            log::warn!("{finding}");
        }
        if findings.len() > FINDINGS_MAX {
            let more = many((findings.len() - FINDINGS_MAX) as u64, "more finding");
            log::warn!("{}: {more}; tallyd verify lists them", self.shown());
        }
    }
}

/// The present instant, on both clocks.
fn now() -> Anchor {
    SystemClock.anchor()
}

/// Standard output: written in large pieces, and quiet once nobody reads on.
struct Out {
    stdout: io::StdoutLock<'static>,
    buffer: Vec<u8>,
    closed: bool,
}

impl Out {
    fn new() -> Self {
        Self {
            stdout: io::stdout().lock(),
            buffer: Vec::with_capacity(OUT_BYTES),
            closed: false,
        }
    }

    /// Where to put what is to be written.
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Adds a line for people.
    fn line(&mut self, text: &str) {
        self.buffer.extend_from_slice(printable(text).as_bytes());
        self.buffer.push(b'\n');
    }

    /// Writes what has been gathered, if it is worth a call.
    fn pass(&mut self) -> Result<()> {
        if self.buffer.len() < OUT_BYTES / 2 {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what has been gathered.
    fn flush(&mut self) -> Result<()> {
        if !self.closed {
            let written = self.stdout.write_all(&self.buffer);
            match written.and_then(|()| self.stdout.flush()) {
                // The reader has what it wanted, as `head` does.
                Err(cause) if cause.kind() == ErrorKind::BrokenPipe => self.closed = true,
                Err(cause) => return Err(Error::io("write to", "standard output", cause)),
                Ok(()) => {}
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Whether nobody reads on.
    const fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_always_finds_a_segment_retired_ends_with_an_error() {
        let data = tempfile::tempdir().expect("a directory");
        std::fs::write(data.path().join("lock"), "").expect("a file");
        let mut looked = Looked::open(data.path()).expect("a directory of ours");
        let mut looks = 0;
        let found = looked.look(|_| -> Result<(), Missed> {
            looks += 1;
            Err(Missed::Retired)
        });
        let said = found.map_err(|error| error.to_string());
        let cause = "segments were retired under 100 looks in a row";
        assert_eq!(said, Err(format!("{}: {cause}", data.path().display())));
        assert_eq!(looks, 100);
    }
}

//! A directory of records spread over one window, for queries and restarts.
//!
//! Owns the line they lie on: a fixed step apart, so that every count is known beforehand, and in
//! whole segments, so that the newest is full: it is the one that a restart must read.
//!
//! Must not know what is measured with it. Invariant: nobody but a new life of the journal adds to
//! it, and what that adds can be taken away again.

use crate::Outcome;
use crate::path::{self, BOOT, START};
use tallyd::journal::disk::RealDisk;
use tallyd::journal::{Journal, Limits, SyncPolicy, TURN_HITS_MAX};
use tallyd::stamp::{Anchor, SECOND_NS, Stamp};
use tempfile::TempDir;

/// The window.
pub const WINDOW_NS: u64 = 60 * SECOND_NS;
/// Whole turns that fit into a segment of 16 MiB.
const SEGMENT_TURNS: u64 = 255;

/// Records on disk.
pub struct Spread {
    directory: TempDir,
    /// How many there are.
    pub record_count: u64,
    step_ns: u64,
}

impl Spread {
    /// Writes at least `wanted` records, through the journal.
    pub fn write(wanted: u64) -> Outcome<Self> {
        let spread = Self {
            directory: path::directory()?,
            record_count: wanted.next_multiple_of(SEGMENT_TURNS * TURN_HITS_MAX as u64),
            step_ns: WINDOW_NS / wanted,
        };
        let mut journal = spread.journal()?;
        for turn in 0..spread.record_count / TURN_HITS_MAX as u64 {
            let first = turn * TURN_HITS_MAX as u64;
            journal.begin(
                TURN_HITS_MAX,
                spread.stamp(first + TURN_HITS_MAX as u64),
                anchor(spread.stamp(first)),
            )?;
            let stamps = (0..TURN_HITS_MAX).map(|index| spread.stamp(first + index as u64));
            journal.append_all(stamps);
            journal.flush()?;
        }
        Ok(spread)
    }

    /// Where the files are.
    pub fn path(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The stamp of the record at `place`.
    pub fn stamp(&self, place: u64) -> Stamp {
        START.after((place + 1) * self.step_ns)
    }

    /// The newest stamp.
    pub fn last(&self) -> Stamp {
        self.stamp(self.record_count - 1)
    }

    /// Records with a stamp of at most `stamp`.
    pub fn count_to(&self, stamp: Stamp) -> u64 {
        (stamp.since(START) / self.step_ns).min(self.record_count)
    }

    /// A new life of the journal.
    pub fn journal(&self) -> Outcome<Journal<RealDisk>> {
        let disk = RealDisk::open(self.path())?;
        let limits = Limits::for_window(WINDOW_NS);
        let now = anchor(self.last());
        let (journal, recovered) = Journal::open(disk, limits, BOOT, now, SyncPolicy::Never)?;
        match recovered.findings.first() {
            Some(finding) => Err(finding.as_str().into()),
            None => Ok(journal),
        }
    }

    /// The files, sorted by name and so by age.
    pub fn files(&self) -> Outcome<Vec<std::path::PathBuf>> {
        let mut files = std::fs::read_dir(self.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        files.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
        files.sort();
        Ok(files)
    }
}

/// A wall clock that keeps step with the line.
fn anchor(at: Stamp) -> Anchor {
    Anchor {
        at,
        wall_ns: at.ns(),
    }
}

//! The counting path, set up as a server has it but for the front: directory, funnel, channel, line.
//!
//! Owns the directory, which is on a real file system and goes with it, and the hits' stamps: given
//! ones, a fixed step apart on a clock by hand, or the system's.
//!
//! Must not know what is timed. Invariant: no answer is taken on trust; with given stamps every
//! batch's last tally is the number that a full window must have.

use crate::Outcome;
use crossbeam_channel::{Receiver, unbounded};
use std::path::Path;
use tallyd::clock::{Clock, HandClock, SystemClock};
use tallyd::funnel::{Funnel, Settings};
use tallyd::hit::{self, Batch, Inlet, Line, Outlet, Verdict};
use tallyd::journal::disk::RealDisk;
use tallyd::journal::{Limits, SyncJob, SyncPolicy};
use tallyd::stamp::{BootId, Stamp};
use tempfile::TempDir;

/// The boot all records here are of.
pub const BOOT: BootId = BootId(*b"a benchmark boot");
/// The first instant of the clock by hand: long enough after boot for any window.
pub const START: Stamp = Stamp::from_ns(1_000_000_000_000);

/// A directory on a real file system.
pub fn directory() -> Outcome<TempDir> {
    let place = std::env::var("TALLYD_BENCH_DIR")
        .unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    std::fs::create_dir_all(&place)?;
    Ok(tempfile::Builder::new()
        .prefix("engine-")
        .tempdir_in(place)?)
}

/// A funnel on a real disk.
pub type RealFunnel<C> = Funnel<RealDisk, C>;
/// Where its sync jobs come out.
pub type Jobs = Receiver<SyncJob<RealDisk>>;

/// Opens a funnel on `directory`. Sync jobs wait in the receiver.
pub fn open<C: Clock>(
    directory: &Path,
    clock: C,
    window_ns: u64,
    policy: SyncPolicy,
) -> Outcome<(RealFunnel<C>, Jobs)> {
    let settings = Settings {
        window_ns,
        retain_ns: window_ns,
        policy,
        limits: Limits::for_window(window_ns),
    };
    let (jobs, waiting) = unbounded();
    let disk = RealDisk::open(directory)?;
    let (funnel, _) = Funnel::open(disk, clock, BOOT, settings, jobs)?;
    Ok((funnel, waiting))
}

/// Where the stamps of hits come from.
pub trait Stamps {
    /// The funnel's clock.
    type Clock: Clock;
    /// The funnel's clock.
    fn clock(&self) -> Self::Clock;
    /// Pushes `hit_count` hits.
    fn fill(&mut self, batch: &mut Batch, hit_count: usize);
    /// What the last hit of a batch must be answered with, if that is known.
    fn expected(&self, window_ns: u64) -> Option<u64>;
}

/// Stamps a fixed step apart, which cost nothing.
pub struct Given {
    clock: HandClock,
    at: Stamp,
    step_ns: u64,
    /// Hits so far; nothing if there were others before them.
    total: Option<u64>,
}

impl Given {
    /// Stamps `step_ns` apart.
    pub fn new(step_ns: u64) -> Self {
        Self {
            clock: HandClock::new(START, 0),
            at: START,
            step_ns,
            total: Some(0),
        }
    }

    /// Stamps that follow upon `last`.
    pub fn behind(last: Stamp) -> Self {
        Self {
            clock: HandClock::new(last, last.ns()),
            at: last,
            step_ns: 1,
            total: None,
        }
    }
}

impl Stamps for Given {
    type Clock = HandClock;

    fn clock(&self) -> HandClock {
        self.clock.clone()
    }

    fn fill(&mut self, batch: &mut Batch, hit_count: usize) {
        self.clock.advance(self.step_ns * hit_count as u64);
        self.total = self.total.map(|total| total + hit_count as u64);
        for _ in 0..hit_count {
            self.at = self.at.after(self.step_ns);
            batch.push(self.at);
        }
    }

    fn expected(&self, window_ns: u64) -> Option<u64> {
        Some(self.total?.min(window_ns / self.step_ns))
    }
}

/// Each hit is stamped by the system's clock.
pub struct Read;

impl Stamps for Read {
    type Clock = SystemClock;

    fn clock(&self) -> SystemClock {
        SystemClock
    }

    fn fill(&mut self, batch: &mut Batch, hit_count: usize) {
        for _ in 0..hit_count {
            batch.push(SystemClock.now());
        }
    }

    fn expected(&self, _window_ns: u64) -> Option<u64> {
        None
    }
}

/// A worker's end of the path.
pub struct Worker<S> {
    /// Where its hits' stamps come from.
    pub stamps: S,
    /// The channel, for messages other than batches.
    pub inlet: Inlet,
    line: Line,
    window_ns: u64,
}

impl<S: Stamps> Worker<S> {
    /// A worker, and the funnel's end of its channel.
    pub fn new(stamps: S, window_ns: u64) -> (Self, Outlet) {
        let (inlet, messages) = hit::channel();
        let line = inlet.line();
        let worker = Self {
            stamps,
            inlet,
            line,
            window_ns,
        };
        (worker, messages)
    }

    /// Sends `hit_count` hits, lets `funnel` do what it must for them to be answered, waits, and
    /// returns the last tally.
    pub fn pass(&mut self, hit_count: usize, funnel: impl FnOnce()) -> Outcome<u64> {
        let gone = |_| "the funnel is gone";
        self.stamps
            .fill(self.line.next_batch().map_err(gone)?, hit_count);
        self.line.send().map_err(gone)?;
        funnel();
        let batch = self.line.wait().map_err(gone)?;
        let tally = batch.hits().last().map_or(0, |hit| hit.tally);
        let expected = self.stamps.expected(self.window_ns).unwrap_or(tally);
        if batch.verdict() != Verdict::Counted || tally != expected {
            return Err(format!("a hit was answered {tally}, not {expected}").into());
        }
        Ok(tally)
    }
}

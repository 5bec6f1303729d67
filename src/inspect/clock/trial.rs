//! The real funnel and the real journal in a directory of their own, with a clock by hand.
//!
//! Owns two trials. Of appends: batches go in and tallies come out while a full window moves on, so that
//! for every hit that is written another is read on its way out. Of syncs: one hit each, first while files
//! grow, as they do in the first two windows of a journal, then in a file that was recycled, as in all of
//! its later life.
//!
//! Must not know how a turn is done. Invariant: no answer is taken on trust, a tally that is not the
//! right one is an error.

use super::device::{Device, process_written_bytes};
use super::{Interrupt, median, ns_each};
use crate::clock::{Clock, HandClock, SystemClock, boot_id};
use crate::error::{Error, Result};
use crate::funnel::{Funnel, LATE_NS_MAX, Settings};
use crate::hit::{self, BATCH_HITS_MAX, Gone, Line, Message, Outlet, Verdict};
use crate::journal::disk::RealDisk;
use crate::journal::record::RECORD_BYTES;
use crate::journal::{Limits, SyncJob, SyncPolicy};
use crate::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};
use crossbeam_channel::{Receiver, unbounded};
use std::path::Path;

/// Hits of a batch.
pub const BATCHES: [usize; 4] = [1, 8, 64, 512];
/// The window of appends, and what lies between two hits: a hundred thousand of them are in it.
const APPEND_WINDOW_NS: u64 = 100 * MILLISECOND_NS;
const APPEND_STEP_NS: u64 = 1_000;
/// Hits that fill the window before anything is timed.
const WARM_HITS: u64 = 200_000;
const ROUNDS: usize = 5;
/// Hits of a round, unless its time is up.
const ROUND_HITS: u64 = 40_000;
const ROUND_NS_MAX: u64 = 50 * MILLISECOND_NS;
/// Batches between two looks at the time.
const PASS: u64 = 64;
/// The window of syncs: the usual one.
const SYNC_WINDOW_NS: u64 = 60 * SECOND_NS;
/// A batch may seal a segment: a slow device is not to be filled for long.
const SYNC_LIMITS: Limits = Limits {
    seal_bytes_min: (BATCH_HITS_MAX * RECORD_BYTES) as u64,
    ..Limits::for_window(SYNC_WINDOW_NS)
};
/// Syncs while files grow, and in a recycled one, unless their time is up.
const GROWING_SYNCS: usize = 8;
const SYNCS: usize = 24;
const SYNCS_NS_MAX: u64 = 800 * MILLISECOND_NS;
/// Long after boot, so that every window is behind it.
const START: Stamp = Stamp::from_ns(1_000_000 * SECOND_NS.cast_signed());

/// What an append costs.
pub struct Append {
    /// Hits of a batch.
    pub batch: usize,
    /// Nanoseconds for each hit.
    pub ns: f64,
}

/// What syncs of one hit each cost.
pub struct Syncs {
    /// How many there were.
    pub count: u64,
    /// Nanoseconds of one: the fastest, that in the middle, the slowest.
    pub ns: [f64; 3],
    /// Bytes that the process wrote for one, if the kernel tells.
    pub process_bytes: Option<u64>,
    /// Bytes that the device wrote for one, if the kernel tells.
    pub device_bytes: Option<u64>,
}

/// Syncs in a journal's life.
pub struct SyncTrial {
    /// In a recycled file.
    pub recycled: Syncs,
    /// While files grow.
    pub growing: Syncs,
    /// What they went to.
    pub device: Option<Device>,
}

/// Appends in `directory`, at each size of a batch.
pub fn appends(directory: &Path, interrupt: &Interrupt) -> Result<Vec<Append>> {
    let limits = Limits::for_window(APPEND_WINDOW_NS);
    let mut trial = Trial::open(directory, APPEND_WINDOW_NS, SyncPolicy::Never, limits)?;
    let in_window = APPEND_WINDOW_NS / APPEND_STEP_NS;
    let mut hits = 0;
    let mut pass = |trial: &mut Trial, batch: usize| {
        trial.send(batch, APPEND_STEP_NS)?;
        let tally = trial.wait()?;
        hits += batch as u64;
        let expected = hits.min(in_window);
        if tally != expected {
            let cause = format!("a hit was answered {tally}, not {expected}");
            return Err(Error::found("appends", cause));
        }
        Ok(())
    };
    for _ in 0..WARM_HITS / 512 {
        pass(&mut trial, 512)?;
    }
    let mut appends = Vec::with_capacity(BATCHES.len());
    for batch in BATCHES {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            interrupt.check()?;
            let began = SystemClock.now();
            let mut done = 0;
            while done < ROUND_HITS && SystemClock.now().since(began) < ROUND_NS_MAX {
                for _ in 0..PASS.min(ROUND_HITS / batch as u64) {
                    pass(&mut trial, batch)?;
                    done += batch as u64;
                }
            }
            rounds.push(ns_each(began, done));
        }
        let ns = median(rounds);
        appends.push(Append { batch, ns });
    }
    trial.funnel.close()?;
    Ok(appends)
}

/// Syncs in `directory`.
pub fn syncs(directory: &Path, interrupt: &Interrupt) -> Result<SyncTrial> {
    let mut trial = Trial::open(directory, SYNC_WINDOW_NS, SyncPolicy::Always, SYNC_LIMITS)?;
    let device = Device::of(directory);
    let growing = trial.syncs(GROWING_SYNCS, device.as_ref(), interrupt)?;
    trial.age(interrupt)?;
    // The first turn in a file also writes its header.
    trial.synced(1)?;
    let recycled = trial.syncs(SYNCS, device.as_ref(), interrupt)?;
    trial.funnel.close()?;
    Ok(SyncTrial {
        recycled,
        growing,
        device,
    })
}

/// A funnel with its journal, and the one line to it.
struct Trial {
    clock: HandClock,
    at: Stamp,
    funnel: Funnel<RealDisk, HandClock>,
    jobs: Receiver<SyncJob<RealDisk>>,
    line: Line,
    messages: Outlet,
}

impl Trial {
    fn open(directory: &Path, window_ns: u64, policy: SyncPolicy, limits: Limits) -> Result<Self> {
        let settings = Settings {
            window_ns,
            retain_ns: window_ns,
            policy,
            limits,
        };
        let clock = HandClock::new(START, SystemClock.wall_ns());
        let (sender, jobs) = unbounded();
        let disk = RealDisk::open(directory)?;
        let (funnel, _) = Funnel::open(disk, clock.clone(), boot_id()?, settings, sender)?;
        let (inlet, messages) = hit::channel();
        Ok(Self {
            clock,
            at: START,
            funnel,
            jobs,
            line: inlet.line(),
            messages,
        })
    }

    /// A batch of hits, `step_ns` apart, and the funnel's turn.
    fn send(&mut self, hits: usize, step_ns: u64) -> Result<()> {
        self.clock.advance(step_ns * hits as u64);
        let batch = self.line.next_batch().map_err(gone)?;
        for _ in 0..hits {
            self.at = self.at.after(step_ns);
            batch.push(self.at);
        }
        self.line.send().map_err(gone)?;
        if let Ok(first) = self.messages.try_recv() {
            self.funnel.turn(first, &self.messages);
        }
        Ok(())
    }

    /// The tally of the batch's last hit.
    fn wait(&mut self) -> Result<u64> {
        let batch = self.line.wait().map_err(gone)?;
        match batch.verdict() {
            Verdict::Counted => Ok(batch.hits().last().map_or(0, |hit| hit.tally)),
            Verdict::Refused => Err(Error::found("a batch", "refused: the disk did not take it")),
        }
    }

    /// A batch of hits up to the device; nanoseconds that the sync took.
    fn synced(&mut self, hits: usize) -> Result<f64> {
        self.send(hits, 1)?;
        let job = self.jobs.try_recv();
        let job = job.map_err(|_| Error::found("syncs", "no sync came of a hit"))?;
        let covers = job.covers();
        let began = SystemClock.now();
        job.run()?;
        let took_ns = ns_each(began, 1);
        let synced = Message::Synced(covers, Ok(()));
        self.funnel.turn(synced, &self.messages);
        self.wait()?;
        Ok(took_ns)
    }

    /// Lets time pass, and the funnel do what is due then.
    fn pass_by(&mut self, span_ns: u64) {
        self.clock.advance(span_ns);
        self.at = self.at.after(span_ns);
        self.funnel.tick();
    }

    /// Syncs of one hit each, a second apart.
    fn syncs(
        &mut self,
        most: usize,
        device: Option<&Device>,
        interrupt: &Interrupt,
    ) -> Result<Syncs> {
        let until = SystemClock.now().after(SYNCS_NS_MAX);
        let (mut ns, mut process, mut on_device) = (vec![], vec![], vec![]);
        while ns.len() < most && (ns.is_empty() || SystemClock.now() < until) {
            interrupt.check()?;
            self.pass_by(SECOND_NS);
            let written = || {
                (
                    process_written_bytes(),
                    device.and_then(Device::written_bytes),
                )
            };
            let before = written();
            ns.push(self.synced(1)?);
            let after = written();
            let more = |before: Option<u64>, after: Option<u64>| {
                before
                    .zip(after)
                    .map(|(before, after)| after.saturating_sub(before) as f64)
            };
            process.extend(more(before.0, after.0));
            on_device.extend(more(before.1, after.1));
        }
        let middle = |bytes: Vec<f64>| (!bytes.is_empty()).then(|| median(bytes) as u64);
        ns.sort_by(f64::total_cmp);
        Ok(Syncs {
            count: ns.len() as u64,
            ns: [ns[0], ns[ns.len() / 2], ns[ns.len() - 1]],
            process_bytes: middle(process),
            // Others that write meanwhile only ever add.
            device_bytes: lower_quarter(on_device).map(|bytes| bytes as u64),
        })
    }

    /// Lives on until the file that is written was another segment's before.
    fn age(&mut self, interrupt: &Interrupt) -> Result<()> {
        let kept_ns = SYNC_WINDOW_NS + LATE_NS_MAX + SECOND_NS;
        for _ in 0..3 {
            interrupt.check()?;
            self.synced(BATCH_HITS_MAX)?;
            self.pass_by(kept_ns);
        }
        Ok(())
    }
}

/// What a quarter of the figures is not above.
fn lower_quarter(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 4).copied()
}

fn gone(_: Gone) -> Error {
    Error::found("the funnel", "is gone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::HEADER_BYTES;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// The newest segment: its inode and its length.
    fn newest(directory: &Path) -> (u64, u64) {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let segments = paths.filter(|path| path.extension().is_some_and(|it| it == "seg"));
        let newest = segments.max().expect("a segment");
        let found = newest.metadata().expect("its length");
        (found.ino(), found.len())
    }

    #[test]
    fn syncs_are_measured_in_a_recycled_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let (window_ns, policy) = (SYNC_WINDOW_NS, SyncPolicy::Always);
        let mut trial =
            Trial::open(directory.path(), window_ns, policy, SYNC_LIMITS).expect("a trial");
        trial.synced(1).expect("a sync");
        let (first, fresh_bytes) = newest(directory.path());
        assert_eq!(fresh_bytes, (HEADER_BYTES + RECORD_BYTES) as u64);
        trial.age(&interrupt).expect("a life");
        trial.synced(1).expect("a sync");
        let (file, bytes) = newest(directory.path());
        assert_eq!(file, first, "the file of the first segment");
        assert!(bytes >= SYNC_LIMITS.seal_bytes_min, "{bytes}");
    }

    #[test]
    fn an_interrupt_ends_a_trial() {
        let directory = tempfile::tempdir().expect("a directory");
        let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
        let said = syncs(directory.path(), &interrupt).map(drop);
        let said = said.map_err(|error| error.to_string());
        assert_eq!(said, Err("measuring: interrupted".to_owned()));
    }
}

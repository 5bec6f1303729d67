//! The real journal and the real window in a directory of their own, at instants that are made up.
//!
//! Owns two trials. Of appends: stamps go in and tallies come out, as in a turn of the funnel, while a full
//! window moves on, so that for every hit that is written another is read on its way out. Of syncs: one hit
//! each, first while files grow, as they do in the first two windows of a journal, then in a file that was
//! recycled, as in all of its later life.
//!
//! Must not know of batches on their way between threads. Invariant: no answer is taken on trust, a tally
//! that is not the right one is an error.

use super::device::{Device, process_written_bytes};
use super::{Interrupt, median, ns_each};
use crate::clock::{Clock, SystemClock, boot_id};
use crate::error::{Error, Result};
use crate::journal::disk::RealDisk;
use crate::journal::record::RECORD_BYTES;
use crate::journal::{Journal, Limits, SyncPolicy};
use crate::stamp::{Anchor, MILLISECOND_NS, SECOND_NS, Stamp};
use crate::window::Window;
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
/// Hits that seal a segment in one turn: a slow device is not to be filled for long.
const SEAL_HITS: usize = 512;
const SYNC_LIMITS: Limits = Limits {
    seal_bytes_min: (SEAL_HITS * RECORD_BYTES) as u64,
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
        let tally = trial.turn(batch, APPEND_STEP_NS)?;
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
    Ok(SyncTrial {
        recycled,
        growing,
        device,
    })
}

/// A journal with its window, and the present as it is made up.
struct Trial {
    now: Anchor,
    window_ns: u64,
    journal: Journal<RealDisk>,
    window: Window<RealDisk>,
    /// The hits of a turn: stamps and tallies.
    hits: Vec<(Stamp, u64)>,
}

impl Trial {
    fn open(directory: &Path, window_ns: u64, policy: SyncPolicy, limits: Limits) -> Result<Self> {
        let now = Anchor {
            at: START,
            wall_ns: SystemClock.wall_ns(),
        };
        let disk = RealDisk::open(directory)?;
        let (journal, _) = Journal::open(disk, limits, boot_id()?, now, policy)?;
        Ok(Self {
            now,
            window_ns,
            window: Window::open(&journal, window_ns, START)?,
            journal,
            hits: Vec::with_capacity(BATCHES[BATCHES.len() - 1]),
        })
    }

    /// A turn of hits, `step_ns` apart; the tally of the last.
    fn turn(&mut self, hits: usize, step_ns: u64) -> Result<u64> {
        self.hits.clear();
        for _ in 0..hits {
            self.move_on(step_ns);
            self.hits.push((self.now.at, 0));
        }
        let sequence = self.journal.end();
        self.journal.begin(hits, self.now.at, self.now)?;
        self.journal
            .append_all(self.hits.iter().map(|(stamp, _)| *stamp));
        self.journal.flush()?;
        let tallied = self.hits.iter_mut().map(|(stamp, tally)| (*stamp, tally));
        self.window.tally(&self.journal, sequence, tallied)?;
        self.tick()?;
        Ok(self.hits.last().map_or(0, |(_, tally)| *tally))
    }

    const fn move_on(&mut self, span_ns: u64) {
        self.now.at = self.now.at.after(span_ns);
        self.now.wall_ns = self.now.wall_ns.saturating_add_unsigned(span_ns);
    }

    /// What is due at this instant.
    fn tick(&mut self) -> Result<()> {
        self.journal.rotate_if_due(self.now.at)?;
        self.journal.retire(self.now.at.before(self.window_ns));
        Ok(())
    }

    /// A turn of hits up to the device; nanoseconds that the sync took.
    fn synced(&mut self, hits: usize) -> Result<f64> {
        self.turn(hits, 1)?;
        let job = self.journal.sync_job();
        let job = job.ok_or_else(|| Error::found("syncs", "no sync came of a hit"))?;
        let covers = job.covers();
        let began = SystemClock.now();
        job.run()?;
        let took_ns = ns_each(began, 1);
        self.journal.synced(covers);
        Ok(took_ns)
    }

    /// Lets time pass, and does what is due then.
    fn pass_by(&mut self, span_ns: u64) -> Result<()> {
        self.move_on(span_ns);
        self.tick()
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
            self.pass_by(SECOND_NS)?;
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
        for _ in 0..3 {
            interrupt.check()?;
            self.synced(SEAL_HITS)?;
            self.pass_by(SYNC_WINDOW_NS + SECOND_NS)?;
        }
        Ok(())
    }
}

/// What a quarter of the figures is not above.
fn lower_quarter(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 4).copied()
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

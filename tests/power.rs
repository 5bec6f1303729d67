//! Power cuts and kills at random points of a random life, one behind the other on the same disk.
//!
//! Owns the bookkeeping of what may and what must be there afterwards: `floor` is what was promised,
//! `ceiling` is that and everything sent since, whatever it was answered. Each seed is a chain of
//! lives with turns, syncs, failing syncs, rotations and retirements, and the end of each is a cut in
//! which chance decides about every sector, length and name that was not synced.
//!
//! Must not know what recovery does. Invariant tested: floor <= count after a restart <= ceiling,
//! and no state that a cut can leave keeps the engine from starting.

mod support;

use support::disk::SimDisk;
use support::fault::{EIO, Faults, Op};
use support::rig::{BOOT, Rig, WINDOW_NS, answered, clock_at, settings};
use support::seed::{Chance, for_seeds};
use tallyd::clock::HandClock;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::hit::{Line, Verdict};
use tallyd::journal::SyncPolicy;
use tallyd::stamp::BootId;

const START: i64 = 1_000_000_000;
const LIVES: u64 = 4;

/// What a sound start may count.
#[derive(Debug)]
struct Bounds {
    floor: u64,
    ceiling: u64,
}

/// A chain of lives on one disk.
struct Chain {
    disk: SimDisk,
    clock: HandClock,
    boot: BootId,
    bounds: Bounds,
    policy: SyncPolicy,
    chance: Chance,
    /// Whether the disk holds nothing but what is on the device: the last life ended by a cut.
    is_device: bool,
    /// Whether syncs may fail and writes may be short or fail.
    faulty: bool,
}

impl Chain {
    fn new(seed: u64, policy: SyncPolicy, faulty: bool) -> Self {
        Self {
            disk: SimDisk::default(),
            clock: clock_at(START),
            boot: BOOT,
            bounds: Bounds {
                floor: 0,
                ceiling: 0,
            },
            policy,
            chance: Chance::new(seed),
            is_device: false,
            faulty,
        }
    }

    /// Opens the engine and checks what it counts.
    fn open(&mut self) -> Rig {
        let records = self.chance.pick(&[4, 60, 200]);
        let settings = settings(self.policy, records, WINDOW_NS);
        let rig = Rig::try_open(&self.disk, &self.clock, self.boot, settings)
            .unwrap_or_else(|error| panic!("a cut must not keep it from starting: {error}"));
        let end = rig.recovered.end;
        let Bounds { floor, ceiling } = self.bounds;
        assert!(floor <= end, "{floor} promised, {:?}", rig.recovered);
        assert!(end <= ceiling, "{ceiling} sent, {:?}", rig.recovered);
        if self.is_device {
            // Under `Never` the kernel alone writes, in seconds; this disk's kernel hardly ever does.
            let floor = match self.policy {
                SyncPolicy::Never => 0,
                _ => end,
            };
            self.bounds = Bounds {
                floor,
                ceiling: end,
            };
        }
        rig
    }

    /// Some steps of a life. Under `Always` an answer is a promise, else a job that has run.
    fn live(&mut self) -> Rig {
        let mut rig = self.open();
        let mut end = rig.recovered.end;
        let mut sent = end;
        let mut waiting: Vec<(Line, u64)> = Vec::new();
        let mut job = None;
        for _ in 0..self.chance.upto(25) {
            match self.chance.upto(9) {
                0..=3 => {
                    let count = 1 + self.chance.span(300);
                    waiting.push((rig.send(&vec![rig.now(); count as usize]), count));
                    sent += count;
                    self.bounds.ceiling = self.bounds.ceiling.max(sent);
                    if self.chance.once(2) {
                        rig.turns();
                    }
                }
                4 => rig.turns(),
                5 | 6 => job = job.or_else(|| rig.next_job()),
                7 => {
                    let pause_ns = self
                        .chance
                        .pick(&[1, WINDOW_NS / 2, WINDOW_NS + LATE_NS_MAX]);
                    rig.clock.advance(pause_ns);
                    rig.tick();
                }
                8 if self.faulty => {
                    let op = self.chance.pick(&[Op::SyncFile, Op::SyncNames, Op::Write]);
                    let nth = self.chance.between(1, 2);
                    let seed = self.chance.next();
                    rig.disk.faults(|faults| {
                        faults.short(seed);
                        faults.once(op, nth, EIO);
                    });
                }
                _ => {
                    if let Some(covered) = job.take().and_then(|job| rig.run_job(job)) {
                        self.bounds.floor = self.bounds.floor.max(covered);
                    }
                }
            }
            while waiting.first().is_some_and(|(line, _)| line.is_answered()) {
                let (mut line, count) = waiting.remove(0);
                if answered(&mut line).map(|answer| answer.verdict) == Some(Verdict::Counted) {
                    end += count;
                    if self.policy == SyncPolicy::Always {
                        self.bounds.floor = end;
                    }
                }
            }
        }
        rig
    }

    /// The life ends: by a cut, by a kill, or by a cut within the same boot's clock.
    fn end(&mut self, rig: Rig) {
        rig.disk.faults(Faults::heal);
        if self.chance.once(4) {
            self.disk = rig.kill();
            self.is_device = false;
            return;
        }
        // What a kill left unsynced, also what was refused, may come back with the next cut only.
        self.disk = rig.disk.crash(&mut self.chance);
        self.is_device = true;
        self.boot.0[0] = self.boot.0[0].wrapping_add(1);
        self.clock = clock_at(START / self.chance.pick(&[1, 1000]) as i64);
    }

    fn run(mut self) {
        for _ in 0..LIVES {
            let rig = self.live();
            self.end(rig);
        }
        self.open();
    }
}

#[test]
fn power_cut_under_always_loses_no_answered_hit_and_invents_none() {
    for_seeds(1500, |seed| {
        Chain::new(seed, SyncPolicy::Always, false).run();
    });
}

#[test]
fn power_cut_after_failing_syncs_under_always_loses_no_answered_hit() {
    for_seeds(1500, |seed| {
        Chain::new(seed, SyncPolicy::Always, true).run();
    });
}

#[test]
fn power_cut_under_every_loses_nothing_that_a_job_has_covered() {
    for_seeds(1500, |seed| {
        Chain::new(seed, SyncPolicy::Every { period_ns: 1000 }, false).run();
    });
}

#[test]
fn power_cut_after_failing_syncs_under_every_loses_nothing_that_a_job_has_covered() {
    for_seeds(1500, |seed| {
        Chain::new(seed, SyncPolicy::Every { period_ns: 1000 }, true).run();
    });
}

#[test]
fn power_cut_under_never_invents_nothing_and_starts_again() {
    for_seeds(1000, |seed| {
        Chain::new(seed, SyncPolicy::Never, true).run();
    });
}

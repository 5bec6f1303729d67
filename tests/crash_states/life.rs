//! One life of the engine on a [`TapeDisk`], and the run of several that is recorded.
//!
//! Owns the script: hits, syncs that come late, rotations, retirements, a kill in the middle, and in
//! some runs a sync that fails. Beside the tape it writes down what was sent, answered and covered by
//! a sync at each event, and every stamp that each position was ever given: the model.
//!
//! Must not know what a crash leaves. Invariant: a mark holds from the event it names until the next.

use super::support::rig::{WINDOW_NS, settings};
use super::support::seed::Chance;
use super::tape::{Event, TapeDisk};
use crossbeam_channel::{Receiver, unbounded};
use std::ops::Range;
use tallyd::clock::{Clock, HandClock};
use tallyd::error::Result;
use tallyd::funnel::{Funnel, LATE_NS_MAX, Settings, Turn};
use tallyd::hit::{Inlet, Line, Message, Outlet, Verdict, channel};
use tallyd::journal::{SyncJob, SyncPolicy};
use tallyd::stamp::{BootId, Stamp};

/// Records of a segment: four sectors.
pub const SEGMENT_RECORDS: u64 = 200;
/// Parts of a run, of three rotations in two of them; everything is retired in between, and in the
/// middle the process is killed.
const PHASES: u64 = 4;

pub fn kept_to(policy: SyncPolicy) -> Settings {
    settings(policy, SEGMENT_RECORDS, WINDOW_NS)
}

/// An open engine.
pub struct Life {
    funnel: Funnel<TapeDisk, HandClock>,
    pub clock: HandClock,
    inlet: Inlet,
    messages: Outlet,
    jobs: Receiver<SyncJob<TapeDisk>>,
}

impl Life {
    pub fn open(
        disk: &TapeDisk,
        clock: &HandClock,
        boot: BootId,
        settings: Settings,
    ) -> Result<Self> {
        let (inlet, messages) = channel();
        let (sender, jobs) = unbounded();
        let (funnel, _) = Funnel::open(disk.clone(), clock.clone(), boot, settings, sender)?;
        Ok(Self {
            funnel,
            clock: clock.clone(),
            inlet,
            messages,
            jobs,
        })
    }

    /// Hits of this instant, counted in one turn; under `Always` the answer waits for a job.
    pub fn hit(&mut self, count: usize) -> Line {
        let mut line = self.inlet.line();
        let batch = line.next_batch().expect("a batch");
        for _ in 0..count {
            batch.push(self.clock.now());
        }
        line.send().expect("a funnel");
        self.turns();
        line
    }

    pub fn turns(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            assert_eq!(self.funnel.turn(message, &self.messages), Turn::Going);
        }
    }

    /// Lets time pass until what is flushed has to be synced, and syncs it, if the policy ever does.
    pub fn sync_when_due(&mut self) {
        self.clock.advance(WINDOW_NS / 10);
        self.funnel.tick();
        self.run_job();
        self.turns();
    }

    /// Runs the job that waits, if one does; returns what it was to cover and whether it did.
    pub fn run_job(&mut self) -> Option<(u64, bool)> {
        let job = self.jobs.try_recv().ok()?;
        let covers = job.covers();
        let outcome = job.run().map_err(|error| error.to_string());
        let done = outcome.is_ok();
        let told = self.inlet.send(Message::Synced(covers, outcome));
        told.expect("a funnel");
        Some((covers, done))
    }
}

/// What held from an event on.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Events on the tape when it began to hold.
    pub from: usize,
    pub now: Stamp,
    /// Hits ever sent, the refused among them: a cut may bring those back until others take their
    /// places on the device.
    pub sent: u64,
    /// Positions handed to the operating system, those of all answered hits among them: what a
    /// process killed now must leave behind.
    pub written: u64,
    /// Positions that a power cut now must leave behind.
    pub covered: u64,
}

/// A recorded run.
pub struct Run {
    pub policy: SyncPolicy,
    pub events: Vec<Event>,
    pub marks: Vec<Mark>,
    /// Every stamp that each position was ever given.
    pub stamps: Vec<Vec<Stamp>>,
    /// Positions that a sync was to cover that failed: they are counted, but may be damaged.
    pub doubted: Range<u64>,
}

/// A run being recorded.
struct Recording {
    disk: TapeDisk,
    life: Life,
    policy: SyncPolicy,
    end: u64,
    mark: Mark,
    run: Run,
    waiting: Vec<(Line, u64)>,
    chance: Chance,
}

impl Recording {
    /// What is known now holds from the next event on.
    fn mark(&mut self) {
        self.mark.from = self.disk.event_count();
        self.mark.now = self.life.clock.now();
        self.run.marks.push(self.mark);
    }

    fn hit(&mut self, count: u64) {
        let now = self.life.clock.now();
        let end = self.end + count;
        self.run
            .stamps
            .resize_with(self.run.stamps.len().max(end as usize), Vec::new);
        for position in self.end..end {
            self.run.stamps[position as usize].push(now);
        }
        self.end = end;
        self.mark.sent += count;
        self.mark();
        let line = self.life.hit(count as usize);
        self.waiting.push((line, end));
        self.mark.written = end;
        self.settle();
    }

    /// Takes down who has been answered.
    fn settle(&mut self) {
        self.waiting.retain_mut(|(line, end)| {
            if !line.is_answered() {
                return true;
            }
            if line.wait().expect("an answer").verdict() == Verdict::Counted {
                let kept = match self.policy {
                    SyncPolicy::Always => self.mark.covered,
                    _ => self.mark.written,
                };
                assert!(*end <= kept, "answered {end}, but only {kept} is kept");
            }
            false
        });
        self.mark();
    }

    fn sync(&mut self, fails: bool) {
        if fails {
            self.disk.fail_sync();
        }
        let Some((covers, done)) = self.life.run_job() else {
            return;
        };
        assert_eq!(done, !fails, "a sync fails when it is to, and only then");
        if done {
            self.mark.covered = self.mark.covered.max(covers);
        } else if self.policy == SyncPolicy::Always {
            // What waited is about to be refused and cut off.
            self.end = self.mark.covered;
            self.mark.written = self.end;
        } else {
            self.run.doubted = self.mark.covered..self.end;
        }
        self.mark();
        self.life.turns();
        self.settle();
    }

    fn pass(&mut self, span_ns: u64) {
        self.life.clock.advance(span_ns);
        self.mark();
        self.life.funnel.tick();
        self.settle();
    }

    /// The process is killed, and another takes over.
    fn restart(&mut self, boot: BootId) {
        let clock = self.life.clock.clone();
        clock.advance(1);
        self.waiting.clear();
        let opened = Life::open(&self.disk, &clock, boot, kept_to(self.policy));
        self.life = opened.expect("a sound disk");
        self.end = self.mark.written;
        self.mark();
    }
}

/// Records a run under `policy`. With `fails` the last but one of its syncs goes wrong.
pub fn record(
    policy: SyncPolicy,
    clock: &HandClock,
    boot: BootId,
    chance: Chance,
    fails: bool,
) -> Run {
    let disk = TapeDisk::default();
    let mark = Mark {
        from: 0,
        now: clock.now(),
        sent: 0,
        written: 0,
        covered: 0,
    };
    let life = Life::open(&disk, clock, boot, kept_to(policy)).expect("an empty disk");
    let run = Run {
        policy,

        events: Vec::new(),
        marks: Vec::new(),
        stamps: Vec::new(),
        doubted: 0..0,
    };
    let waiting = Vec::new();
    let mut it = Recording {
        disk,
        life,
        policy,
        end: 0,
        mark,
        run,
        waiting,
        chance,
    };
    it.mark();
    for phase in 0..PHASES {
        // A phase ends in the middle of a segment, so that hits and syncs come on both sides of a rotation.
        let rotated = it.end + SEGMENT_RECORDS * 3 / 2;
        while it.end <= rotated {
            let count = it.chance.between(1, 70);
            it.hit(count);
            let pause_ns = it.chance.between(1, WINDOW_NS / 20);
            it.pass(pause_ns);
            if it.chance.once(3) {
                it.sync(false);
            }
        }
        if phase == PHASES / 2 {
            it.restart(boot);
        }
        if fails && phase + 2 == PHASES {
            it.hit(30);
            it.pass(WINDOW_NS / 10);
            it.sync(false);
            it.hit(30);
            it.pass(WINDOW_NS / 10);
            it.sync(true);
            it.hit(1);
        }
        // Everything before the segment that is being written may go.
        it.pass(WINDOW_NS + LATE_NS_MAX);
        if it.chance.once(2) {
            it.sync(false);
            it.pass(1);
        }
    }
    it.run.events = it.disk.events();
    it.run
}

impl Run {
    /// What held when `done` events were on the tape.
    pub fn mark_at(&self, done: usize) -> Mark {
        let behind = self.marks.partition_point(|mark| mark.from <= done);
        self.marks[behind - 1]
    }
}

//! A funnel on a simulated disk, driven turn by turn on one thread.
//!
//! Owns the clock by hand, both ends of the channel and the sync jobs: nothing runs unless a test
//! says so, so that a test can stand between any two steps.
//!
//! Must not know what is tested. Invariant: a job is run at most once, and its outcome reaches the
//! funnel before the next job does.

use super::disk::SimDisk;
use crossbeam_channel::{Receiver, bounded, unbounded};
use tallyd::clock::{Clock, HandClock};
use tallyd::error::Result;
use tallyd::funnel::{Funnel, Settings, Turn};
use tallyd::hit::{
    Answer, Ask, Gone, Hit, Inlet, Line, Message, Outlet, Query, Status, Verdict, channel,
};
use tallyd::journal::{Limits, Recovered, SyncJob, SyncPolicy};
use tallyd::stamp::{BootId, MILLISECOND_NS, Stamp};

/// The window of most tests: a millisecond is the shortest that users can have.
pub const WINDOW_NS: u64 = MILLISECOND_NS;
/// The boot that tests begin in.
pub const BOOT: BootId = BootId([7; 16]);

/// Sends hits in one batch on a line of their own.
pub fn send(inlet: &Inlet, stamps: &[Stamp]) -> Line {
    let mut line = inlet.line();
    let batch = line.next_batch().expect("a batch");
    stamps.iter().for_each(|&stamp| batch.push(stamp));
    line.send().expect("a funnel");
    line
}

/// What became of the hits of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub verdict: Verdict,
    pub hits: Vec<Hit>,
}

impl Answered {
    /// The tallies of hits that were counted.
    pub fn tallies(&self) -> Vec<u64> {
        assert_eq!(self.verdict, Verdict::Counted, "{:?}", self.hits);
        self.hits.iter().map(|hit| hit.tally).collect()
    }

    /// The tallies of hits that were counted and called estimated.
    pub fn estimates(&self) -> Vec<u64> {
        assert_eq!(self.verdict, Verdict::Estimated, "{:?}", self.hits);
        self.hits.iter().map(|hit| hit.tally).collect()
    }
}

/// A funnel and everything around it.
pub struct Rig {
    pub disk: SimDisk,
    pub clock: HandClock,
    pub recovered: Recovered,
    funnel: Funnel<SimDisk, HandClock>,
    inlet: Inlet,
    messages: Outlet,
    jobs: Receiver<SyncJob<SimDisk>>,
    line: Line,
}

/// Settings with segments of at least `records` records, and everything kept for `retain_ns`.
pub const fn settings(policy: SyncPolicy, records: u64, retain_ns: u64) -> Settings {
    Settings {
        window_ns: WINDOW_NS,
        retain_ns,
        policy,
        limits: Limits {
            segment_bytes_max: 64 + 8 * records,
            seal_bytes_min: 64 + 8,
            seal_age_ns: WINDOW_NS,
        },
    }
}

/// A clock that shows `now_ns`, and some day in 2026 on the calendar.
pub fn clock_at(now_ns: i64) -> HandClock {
    HandClock::new(Stamp::from_ns(now_ns), 1_790_000_000_000_000_000)
}

impl Rig {
    /// Opens a funnel on `disk`.
    pub fn try_open(
        disk: &SimDisk,
        clock: &HandClock,
        boot: BootId,
        settings: Settings,
    ) -> Result<Self> {
        let (inlet, messages) = channel();
        let (sender, jobs) = unbounded();
        let (funnel, recovered) =
            Funnel::open(disk.clone(), clock.clone(), boot, settings, sender)?;
        Ok(Self {
            disk: disk.clone(),
            clock: clock.clone(),
            recovered,
            funnel,
            line: inlet.line(),
            inlet,
            messages,
            jobs,
        })
    }

    /// Opens a funnel on `disk`, in the boot that tests begin in.
    pub fn open(disk: &SimDisk, clock: &HandClock, settings: Settings) -> Self {
        Self::try_open(disk, clock, BOOT, settings).expect("a sound disk")
    }

    /// Sends hits on a line of their own; nobody has taken them up yet.
    pub fn send(&self, stamps: &[Stamp]) -> Line {
        send(&self.inlet, stamps)
    }

    /// Takes turns until no message waits.
    pub fn turns(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            assert_eq!(self.funnel.turn(message, &self.messages), Turn::Going);
        }
    }

    /// One turn; what `meanwhile` sends arrives behind its first message.
    pub fn turn_while(&mut self, meanwhile: impl FnOnce(&Self)) {
        let first = self.messages.try_recv().expect("a message");
        meanwhile(self);
        assert_eq!(self.funnel.turn(first, &self.messages), Turn::Going);
    }

    /// A turn without hits.
    pub fn tick(&mut self) {
        self.funnel.tick();
    }

    /// The present instant.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// When the funnel wants to be woken.
    pub fn due(&self) -> Option<Stamp> {
        self.funnel.due()
    }

    /// The next sync job, if the funnel has handed one over.
    pub fn next_job(&self) -> Option<SyncJob<SimDisk>> {
        self.jobs.try_recv().ok()
    }

    /// Runs a job and tells the funnel; returns what it covers, if it went well.
    pub fn run_job(&mut self, job: SyncJob<SimDisk>) -> Option<u64> {
        let covers = job.covers();
        let outcome = job.run().map_err(|error| error.to_string());
        let done = outcome.is_ok();
        self.inlet
            .send(Message::Synced(covers, outcome))
            .expect("a funnel");
        self.turns();
        done.then_some(covers)
    }

    /// Runs jobs until none is left; returns the most that one covered.
    pub fn run_jobs(&mut self) -> Option<u64> {
        let mut covered = None;
        while let Some(job) = self.next_job() {
            covered = self.run_job(job).max(covered);
        }
        covered
    }

    /// Hits from first to last: sent, counted, synced if the policy says so, and answered.
    pub fn hit(&mut self, stamps: &[Stamp]) -> Answered {
        let batch = self.line.next_batch().expect("a batch");
        stamps.iter().for_each(|&stamp| batch.push(stamp));
        self.line.send().expect("a funnel");
        self.turns();
        self.run_jobs();
        assert!(self.line.is_answered(), "the hits must be answered by now");
        let batch = self.line.wait().expect("an answer");
        Answered {
            verdict: batch.verdict(),
            hits: batch.hits().to_vec(),
        }
    }

    /// `count` hits of this instant.
    pub fn hit_now(&mut self, count: usize) -> Answered {
        let now = self.now();
        self.hit(&vec![now; count])
    }

    /// Hits at `nanoseconds`, the clock going along.
    pub fn hit_at(&mut self, nanoseconds: &[i64]) -> Answered {
        let stamps: Vec<_> = nanoseconds.iter().map(|&ns| Stamp::from_ns(ns)).collect();
        if let Some(&newest) = stamps.iter().max() {
            self.clock.advance(newest.since(self.now()));
        }
        self.hit(&stamps)
    }

    /// Asks, and runs what jobs the answer waits for.
    pub fn ask(&mut self, ask: Ask) -> Answer {
        let (reply, answer) = bounded(1);
        self.inlet
            .send(Message::Query(Query { ask, reply }))
            .expect("a funnel");
        self.turns();
        self.run_jobs();
        answer
            .try_recv()
            .expect("the question must be answered by now")
    }

    /// How things stand.
    pub fn status(&mut self) -> Status {
        match self.ask(Ask::Status) {
            Answer::Status(status) => *status,
            other => panic!("a status, not {other:?}"),
        }
    }

    /// The process dies; what it had written stays.
    pub fn kill(self) -> SimDisk {
        self.disk.kill()
    }

    /// The process ends as it should.
    pub fn stop(mut self) -> (Result<()>, SimDisk) {
        self.turns();
        self.run_jobs();
        self.inlet.send(Message::Stop).expect("a funnel");
        // The last turn may hand over a job and then waits for its outcome.
        let (inlet, jobs) = (self.inlet, self.jobs);
        let syncer = std::thread::spawn(move || {
            for job in jobs {
                let covers = job.covers();
                let outcome = job.run().map_err(|error| error.to_string());
                let _gone = inlet.send(Message::Synced(covers, outcome));
            }
        });
        let outcome = self.funnel.run(&self.messages);
        syncer.join().expect("the sync thread");
        (outcome, self.disk.kill())
    }
}

/// What became of hits that were sent, if they were answered: the funnel may be gone.
pub fn answered(line: &mut Line) -> Option<Answered> {
    let answer: Result<_, Gone> = if line.is_answered() {
        line.wait()
    } else {
        Err(Gone)
    };
    answer.ok().map(|batch| Answered {
        verdict: batch.verdict(),
        hits: batch.hits().to_vec(),
    })
}

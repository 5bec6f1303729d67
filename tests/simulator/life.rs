//! One process life: a funnel, both ends of its channel and its sync thread, all on this one thread.
//!
//! Owns the order in which things happen: what waits in the channel, what is held for a sync, the one
//! job that is under way. Every call into the engine goes through [`guard`], since the simulated disk
//! may end the process at any call of the kernel.
//!
//! Must not know of recovery. Invariant: after every step each answer that was given is the model's,
//! none was given before its time, and none that is due is missing.

use crate::model::{Expected, Model, Trial};
use crate::support::disk::SimDisk;
use crate::support::fault::{Death, Op};
use crate::support::rig::{Answered, answered};
use crossbeam_channel::{Receiver, bounded, unbounded};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tallyd::clock::{Clock, HandClock};
use tallyd::error::Result;
use tallyd::funnel::Funnel;
use tallyd::hit::{
    Answer, Ask, BATCH_HITS_MAX, CHANNEL_MESSAGES_MAX, Hit, Inlet, Line, Message, Outlet, Query,
    Verdict, channel,
};
use tallyd::journal::{Recovered, SyncJob, SyncPolicy, TURN_HITS_MAX};
use tallyd::stamp::Stamp;

/// Why a step came to no good end.
#[derive(Debug)]
pub enum End {
    /// The process died, as arranged.
    Died,
    /// A promise was broken.
    Broken(String),
}

pub type Outcome<T = ()> = std::result::Result<T, End>;

/// A broken promise, unless it is kept.
pub fn promise(is_kept: bool, words: impl FnOnce() -> String) -> Outcome {
    if is_kept {
        return Ok(());
    }
    Err(End::Broken(words()))
}

/// Runs a part of the engine that may die.
pub fn guard<T>(work: impl FnOnce() -> T) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        if panic.is::<Death>() {
            return End::Died;
        }
        resume_unwind(panic)
    })
}

/// What waits in the channel.
enum Queued {
    Batch(Line, Vec<Stamp>),
    Ask(Ask, Receiver<Answer>),
    Synced(usize, bool),
}

/// What was taken up and not answered yet, behind which position.
enum Held {
    Batch(Line, Vec<Hit>, usize),
    Answer(Receiver<Answer>, Expected, usize),
}

/// What a turn has done to the disk.
struct Touched {
    written: bool,
    failed: bool,
    kept: bool,
}

/// How often things happened.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub steps: u64,
    pub hits: u64,
    pub refused: u64,
    pub answers: u64,
    pub errors: u64,
    pub syncs: u64,
    pub failed_syncs: u64,
    pub kills: u64,
    pub cuts: u64,
    pub reboots: u64,
    pub renamed: u64,
    pub restored: u64,
    pub stops: u64,
    pub lost: u64,
    pub damaged: u64,
    pub ghosts: u64,
    pub rotations: u64,
    pub retired: u64,
    pub sick_starts: u64,
    pub rotten: u64,
}

impl Figures {
    /// Adds what another life or seed has seen.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.all_mut().into_iter().zip(other.clone().all_mut()) {
            *mine.1 += *theirs.1;
        }
    }

    /// Each with what people call it.
    pub const fn all_mut(&mut self) -> [(&'static str, &mut u64); 20] {
        [
            ("steps", &mut self.steps),
            ("hits sent", &mut self.hits),
            ("batches refused", &mut self.refused),
            ("questions answered", &mut self.answers),
            ("of them with an error", &mut self.errors),
            ("syncs", &mut self.syncs),
            ("failed syncs", &mut self.failed_syncs),
            ("kills", &mut self.kills),
            ("power cuts", &mut self.cuts),
            ("reboots", &mut self.reboots),
            ("restarts under another boot id", &mut self.renamed),
            ("restored snapshots", &mut self.restored),
            ("orderly stops", &mut self.stops),
            ("starts with a fault", &mut self.sick_starts),
            ("starts with a rotten record", &mut self.rotten),
            ("segments found beyond the first", &mut self.rotations),
            ("starts with hits given up", &mut self.retired),
            ("unsynced hits lost", &mut self.lost),
            ("unsynced hits damaged", &mut self.damaged),
            ("refused hits come back", &mut self.ghosts),
        ]
    }
}

/// A process.
pub struct Life {
    pub disk: SimDisk,
    pub clock: HandClock,
    pub funnel: Funnel<SimDisk, HandClock>,
    pub figures: Figures,
    inlet: Inlet,
    messages: Outlet,
    jobs: Receiver<SyncJob<SimDisk>>,
    queue: VecDeque<Queued>,
    held: VecDeque<Held>,
    /// The job that was handed over and not run yet.
    job: Option<SyncJob<SimDisk>>,
    /// The outcome of a job that was run, on its way to the funnel.
    ran: Option<(usize, std::result::Result<(), String>)>,
    is_syncing: bool,
    /// The turn under way: its lines and what they are to be answered.
    trial: Option<(Vec<Line>, Trial)>,
    /// Hits that the start found.
    found: usize,
}

impl Life {
    /// A funnel on `disk`.
    pub fn open(
        disk: &SimDisk,
        clock: &HandClock,
        model: &Model,
    ) -> Outcome<Result<(Self, Recovered)>> {
        let (inlet, messages) = channel();
        let (sender, jobs) = unbounded();
        let opened = guard(|| {
            Funnel::open(
                disk.clone(),
                clock.clone(),
                model.boot,
                model.settings,
                sender,
            )
        })?;
        Ok(opened.map(|(funnel, recovered)| {
            let life = Self {
                disk: disk.clone(),
                clock: clock.clone(),
                funnel,
                figures: Figures::default(),
                inlet,
                messages,
                jobs,
                queue: VecDeque::new(),
                held: VecDeque::new(),
                job: None,
                ran: None,
                is_syncing: false,
                trial: None,
                found: recovered.end as usize,
            };
            (life, recovered)
        }))
    }

    /// Whether one more message would wait for ever.
    pub fn is_full(&self) -> bool {
        self.queue.len() + 2 > CHANNEL_MESSAGES_MAX
    }

    /// Whether the life ended inside of a turn.
    pub const fn is_in_turn(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether a message waits.
    pub fn has_message(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn send(&mut self, stamps: Vec<Stamp>) {
        let mut line = self.inlet.line();
        let batch = line.next_batch().expect("a batch");
        stamps.iter().for_each(|&stamp| batch.push(stamp));
        line.send().expect("a funnel");
        self.queue.push_back(Queued::Batch(line, stamps));
    }

    pub fn ask(&mut self, ask: Ask) {
        let (reply, answer) = bounded(1);
        let query = Query { ask, reply };
        self.inlet.send(Message::Query(query)).expect("a funnel");
        self.queue.push_back(Queued::Ask(ask, answer));
    }

    /// The sync thread runs its job.
    pub fn run_job(&mut self, model: &mut Model) -> Outcome {
        let Some(job) = self.job.take() else {
            return Ok(());
        };
        let covers = job.covers() as usize;
        let failures = self.disk.faults(|faults| faults.failures());
        let outcome = guard(|| job.run())?.map_err(|error| error.to_string());
        let met = self.disk.faults(|faults| faults.failures()) > failures;
        match &outcome {
            Ok(()) => {
                self.figures.syncs += 1;
                promise(!met, || {
                    "a sync that failed was taken for one that went well".to_owned()
                })?;
                model.sync_went_well(covers);
            }
            Err(cause) => {
                self.figures.failed_syncs += 1;
                promise(met, || format!("a sound sync failed: {cause}"))?;
                model.sync_went_wrong();
            }
        }
        self.ran = Some((covers, outcome));
        Ok(())
    }

    /// The outcome of the job is sent to the funnel.
    pub fn deliver(&mut self) {
        if let Some((covers, outcome)) = self.ran.take() {
            self.queue
                .push_back(Queued::Synced(covers, outcome.is_ok()));
            let message = Message::Synced(covers as u64, outcome);
            self.inlet.send(message).expect("a funnel");
        }
    }

    /// Runs `work` and says what it did to the disk.
    fn touching<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Outcome<(T, Touched)> {
        let look = |disk: &SimDisk| {
            disk.faults(|faults| (faults.calls(Op::Write), faults.failures(), faults.kept()))
        };
        let before = look(&self.disk);
        let done = guard(|| work(self))?;
        let after = look(&self.disk);
        let touched = Touched {
            written: after.0 > before.0,
            failed: after.1 > before.1,
            kept: after.2 > before.2,
        };
        Ok((done, touched))
    }

    /// One turn, if a message waits.
    pub fn turn(&mut self, model: &mut Model) -> Outcome {
        let Ok(message) = self.messages.try_recv() else {
            return Ok(());
        };
        let (lines, stamps, next) = self.gather();
        let anchor = self.clock.anchor();
        let has_hits = !lines.is_empty();
        self.figures.hits += stamps.iter().map(|batch| batch.len() as u64).sum::<u64>();
        self.trial = Some((lines, model.admit(&stamps, anchor)));
        let ((), touched) = self.touching(|life| {
            life.funnel.turn(message, &life.messages);
        })?;
        let (lines, trial) = self.trial.take().expect("it was put there");
        model.untidy |= touched.kept;
        if has_hits {
            let sync_failed = matches!(next, Some(Queued::Synced(_, false)));
            self.judge(model, lines, trial, &touched, sync_failed)?;
        }
        match next {
            Some(Queued::Ask(ask, answer)) => {
                let expected = model.expect(ask, anchor.at, touched.failed);
                if touched.failed && matches!(ask, Ask::Status) {
                    model.refusing = None;
                }
                self.held
                    .push_back(Held::Answer(answer, expected, model.end()));
                self.settle(model, false)?;
            }
            Some(Queued::Synced(covers, went_well)) => {
                self.synced(model, covers, went_well, &touched)?;
            }
            Some(Queued::Batch(..)) | None => {}
        }
        self.settle(model, false)?;
        self.ticked(model)
    }

    /// What the funnel takes up in one turn, by the bounds that it names.
    fn gather(&mut self) -> (Vec<Line>, Vec<Vec<Stamp>>, Option<Queued>) {
        let (mut lines, mut stamps, mut hit_count) = (Vec::new(), Vec::new(), 0);
        loop {
            match self.queue.pop_front() {
                Some(Queued::Batch(line, batch)) => {
                    hit_count += batch.len();
                    lines.push(line);
                    stamps.push(batch);
                    if hit_count + BATCH_HITS_MAX > TURN_HITS_MAX {
                        return (lines, stamps, None);
                    }
                }
                next => return (lines, stamps, next),
            }
        }
    }

    /// Looks at how a turn ended for its batches.
    fn judge(
        &mut self,
        model: &mut Model,
        mut lines: Vec<Line>,
        trial: Trial,
        touched: &Touched,
        sync_failed: bool,
    ) -> Outcome {
        let verdicts: Vec<_> = lines.iter_mut().map(answered).collect();
        let is_refused = |one: &Option<Answered>| {
            one.as_ref()
                .is_some_and(|one| one.verdict == Verdict::Refused)
        };
        let refused = is_refused(&verdicts[0]);
        promise(
            verdicts.iter().all(|one| is_refused(one) == refused),
            || "a turn was counted in part".to_owned(),
        )?;
        let now = self.clock.now();
        if refused && sync_failed && model.settings.policy == SyncPolicy::Always {
            // They were refused by themselves, or they waited and were refused with the others: in
            // either way they do not count.
            model.judge(&trial, touched.written, true, now);
            model.refusing = (!touched.failed).then_some(false);
            return Ok(());
        }
        if refused {
            promise(touched.failed, || "refused on a sound disk".to_owned())?;
            self.figures.refused += verdicts.len() as u64;
            model.judge(&trial, touched.written, false, now);
            model.ghosts |= touched.kept;
            return Ok(());
        }
        promise(touched.written, || "counted without a write".to_owned())?;
        model.judge(&trial, true, true, now);
        let mut end = trial.from;
        for ((line, hits), verdict) in lines.into_iter().zip(trial.batches).zip(verdicts) {
            end += hits.len();
            match verdict {
                Some(given) => check_hits(&given, &hits, end, model)?,
                None if model.settings.policy == SyncPolicy::Always => {
                    self.held.push_back(Held::Batch(line, hits, model.end()));
                }
                None => return Err(End::Broken("a batch was not answered".to_owned())),
            }
        }
        Ok(())
    }

    fn synced(
        &mut self,
        model: &mut Model,
        covers: usize,
        went_well: bool,
        touched: &Touched,
    ) -> Outcome {
        self.is_syncing = false;
        if went_well {
            model.told_of_success(covers);
        } else {
            model.told_of_failure();
            model.ghosts |= touched.kept;
        }
        self.settle(model, !went_well)?;
        promise(went_well || self.held.is_empty(), || {
            "something still waits for a sync that failed".to_owned()
        })
    }

    /// Looks at everything held: what was answered must be right and covered, and in its order.
    fn settle(&mut self, model: &mut Model, sync_failed: bool) -> Outcome {
        let is_always = model.settings.policy == SyncPolicy::Always;
        while let Some(held) = self.held.front_mut() {
            let covered = model.covered.max(self.found);
            match held {
                Held::Batch(line, hits, end) => match answered(line) {
                    None if *end <= model.synced && !sync_failed => {
                        return Err(End::Broken("a synced batch was not answered".to_owned()));
                    }
                    None => break,
                    Some(given) if given.verdict == Verdict::Refused => {
                        promise(sync_failed, || "refused without a failed sync".to_owned())?;
                    }
                    Some(given) => {
                        promise(*end <= model.covered, || {
                            format!("answered behind hit {end}, synced below {covered}")
                        })?;
                        check_hits(&given, hits, *end, model)?;
                        model.acked = model.acked.max(*end);
                    }
                },
                Held::Answer(answer, expected, end) => match answer.try_recv() {
                    Err(_) if !is_always || *end <= model.synced => {
                        return Err(End::Broken("a question was not answered".to_owned()));
                    }
                    Err(_) => break,
                    Ok(given) => {
                        self.figures.answers += 1;
                        self.figures.errors +=
                            u64::from(matches!(given, Answer::Failed(_) | Answer::NotKept { .. }));
                        let is_early = is_always && *end > covered;
                        promise(!is_early || matches!(given, Answer::Failed(_)), || {
                            format!(
                                "a question was answered behind hit {end}, synced below {covered}"
                            )
                        })?;
                        expected.check(&given, sync_failed).map_err(End::Broken)?;
                    }
                },
            }
            self.held.pop_front();
        }
        Ok(())
    }

    /// The funnel is woken without a message.
    pub fn tick(&mut self, model: &mut Model) -> Outcome {
        let ((), touched) = self.touching(|life| life.funnel.tick())?;
        model.untidy |= touched.kept;
        self.ticked(model)
    }

    /// What must hold after every tick: a sync that is due is under way, and the funnel wants to be
    /// woken for the next.
    fn ticked(&mut self, model: &mut Model) -> Outcome {
        let now = self.clock.now();
        model.ticked(now);
        if let Ok(job) = self.jobs.try_recv() {
            promise(!self.is_syncing, || "two jobs at once".to_owned())?;
            let (covers, end) = (job.covers() as usize, model.end());
            promise(covers == end, || {
                format!("a job covers {covers} of {end} hits")
            })?;
            self.is_syncing = true;
            model.unsynced_since = None;
            self.job = Some(job);
        }
        let Some(due) = model.sync_due().filter(|_| !self.is_syncing) else {
            return Ok(());
        };
        promise(due > now, || {
            format!("a sync was due at {due} and is not under way")
        })?;
        let woken = self.funnel.due();
        promise(woken.is_some_and(|at| at <= due), || {
            format!("a sync is due at {due}, and the funnel sleeps until {woken:?}")
        })
    }

    /// Runs jobs and takes turns until nothing is left to do.
    pub fn quiesce(&mut self, model: &mut Model) -> Outcome {
        while self.has_message() || self.job.is_some() || self.ran.is_some() {
            while self.has_message() {
                self.turn(model)?;
            }
            self.run_job(model)?;
            self.deliver();
        }
        Ok(())
    }

    /// The process ends as it should, after [`Life::quiesce`]; everything that counts is then on the
    /// device.
    pub fn stop(self, model: &mut Model) -> Outcome {
        promise(self.held.is_empty(), || {
            "something is still held".to_owned()
        })?;
        let failures = self.disk.faults(|faults| faults.failures());
        let funnel = self.funnel;
        let outcome = guard(|| funnel.close())?;
        let met = self.disk.faults(|faults| faults.failures()) > failures;
        match outcome {
            Ok(()) => model.sync_went_well(model.end()),
            Err(error) => {
                promise(met, || format!("a sound disk could not be left: {error}"))?;
                // What could not be cut off may come back.
                model.ghosts = true;
                model.told_of_failure();
            }
        }
        Ok(())
    }

    /// The process died: what it had answered by then was promised.
    pub fn last_words(&mut self, model: &mut Model) -> Outcome {
        // It may have died of giving something up.
        model.ticked(self.clock.now());
        if let Some((lines, trial)) = self.trial.as_mut() {
            let mut end = trial.from;
            let mut expected = Vec::new();
            for (line, hits) in lines.iter_mut().zip(&trial.batches) {
                end += hits.len();
                if let Some(given) = answered(line).filter(|one| one.verdict.is_counted()) {
                    expected.push((given, hits.clone(), end));
                }
            }
            for (given, hits, end) in expected {
                check_hits(&given, &hits, end, model)?;
                model.acked = model.acked.max(end);
            }
        }
        for held in &mut self.held {
            if let Held::Batch(line, hits, end) = held
                && let Some(given) = answered(line).filter(|one| one.verdict.is_counted())
            {
                check_hits(&given, hits, *end, model)?;
                model.acked = model.acked.max(*end);
            }
        }
        Ok(())
    }
}

/// Holds what a batch was answered to the model, and to the promise of its policy.
fn check_hits(given: &Answered, expected: &[Hit], end: usize, model: &Model) -> Outcome {
    promise(given.hits == expected, || {
        let wrong = given
            .hits
            .iter()
            .zip(expected)
            .find(|(one, other)| one != other);
        format!("a hit was answered {wrong:?} (left), not as the model has it (right)")
    })?;
    let is_always = model.settings.policy == SyncPolicy::Always;
    promise(!is_always || end <= model.covered, || {
        format!("answered behind hit {end}, synced below {}", model.covered)
    })
}

//! The only loop. One thread owns everything that changes: the last stamp, the window, the journal.
//!
//! Owns the order of a turn: block for one message, drain what else waits (bounded), admit every hit
//! in order, append all, flush once, tally all, hand the sync to its own thread if the policy says
//! so, answer all, then rotate and retire. Under `--sync always` answers are held, in order, until a
//! sync covers them, and the funnel goes on admitting meanwhile.
//!
//! Must not know of sockets or requests. Invariants: a hit is answered only after its record was
//! flushed; a turn is counted whole or refused whole; stamps are admitted in the order they are
//! answered in and lie between the last one and now; nothing is allocated per hit.

mod answer;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hit::{
    Answer, BATCH_HITS_MAX, Batch, CHANNEL_MESSAGES_MAX, Message, Outlet, Status, Verdict,
};
use crate::journal::disk::Disk;
use crate::journal::{Journal, Limits, Recovered, SyncJob, SyncPolicy, TURN_HITS_MAX};
use crate::stamp::{Anchor, BootId, SECOND_NS, Stamp};
use crate::window::Window;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::time::Duration;

const _: () = assert!(BATCH_HITS_MAX <= TURN_HITS_MAX, "a batch fits into a turn");

/// How long a hit may be under way from its front, in nanoseconds; one that was longer is admitted
/// as if it had been just this long. So history is kept this much longer than asked for, and no hit
/// to come can have a window that reaches back to what is retired; nor does a hit that was stamped
/// before a long suspend lie further from its turn than one segment reaches.
pub const LATE_NS_MAX: u64 = SECOND_NS;

/// What a funnel keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The length of the window, in nanoseconds.
    pub window_ns: u64,
    /// How long history is kept, in nanoseconds; at least the window.
    pub retain_ns: u64,
    /// When records are forced to the device.
    pub policy: SyncPolicy,
    /// The sizes of segments.
    pub limits: Limits,
}

/// What waits for a sync, behind which position.
enum Held {
    Batch(u64, Batch),
    Answer(u64, Sender<Answer>, Answer),
}

/// How a turn left things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// More is to come.
    Going,
    /// It ended with [`Message::Stop`].
    Stopped,
}

/// The owner of the count.
pub struct Funnel<D: Disk, C: Clock> {
    settings: Settings,
    clock: C,
    journal: Journal<D>,
    window: Window<D>,
    /// The newest stamp admitted. The first instant a record can hold is one after boot.
    last: Stamp,
    /// The batches of the present turn.
    batches: Vec<Batch>,
    held: VecDeque<Held>,
    jobs: Sender<SyncJob<D>>,
    /// Since when a job is with the sync thread, if one is.
    syncing: Option<Stamp>,
    /// When the oldest hit was flushed that no job has taken up.
    unsynced_since: Option<Stamp>,
    /// Whether the wall clock had to place what an earlier boot left.
    earlier_boot: bool,
    /// What only grows, and why things are not as they should be.
    status: Status,
}

impl<D: Disk, C: Clock> Funnel<D, C> {
    /// Recovers the journal on `disk`. Syncs go to `jobs`, and come back as [`Message::Synced`].
    ///
    /// # Errors
    /// The journal cannot be recovered.
    pub fn open(
        disk: D,
        clock: C,
        boot: BootId,
        settings: Settings,
        jobs: Sender<SyncJob<D>>,
    ) -> Result<(Self, Recovered)> {
        let now = clock.anchor();
        let Settings {
            window_ns,
            policy,
            limits,
            ..
        } = settings;
        let (journal, recovered) = Journal::open(disk, limits, boot, now, policy)?;
        // The first hit may have been stamped before now.
        let window = Window::open(&journal, window_ns, now.at.before(LATE_NS_MAX))?;
        let first = Stamp::from_ns(1);
        let funnel = Self {
            settings,
            clock,
            last: journal.last().map_or(first, |last| last.max(first)),
            // What a killed process has left may not be on the device yet.
            unsynced_since: journal.is_unsynced().then_some(now.at),
            journal,
            window,
            batches: Vec::with_capacity(CHANNEL_MESSAGES_MAX),
            held: VecDeque::with_capacity(CHANNEL_MESSAGES_MAX),
            jobs,
            syncing: None,
            earlier_boot: recovered.earlier_boot,
            status: Status {
                recovered_count: recovered.hit_count(),
                damaged_count: recovered.damaged_count,
                ..Status::default()
            },
        };
        Ok((funnel, recovered))
    }

    /// Takes turns until [`Message::Stop`] or until nobody can send any more, then syncs and closes.
    ///
    /// # Errors
    /// The last sync failed: hits that were answered may not be on the device.
    pub fn run(mut self, messages: &Outlet) -> Result<()> {
        loop {
            let patience = self.due().map(|due| due.since(self.clock.now()));
            let message = messages.wait(patience.map(Duration::from_nanos));
            let turn = match message {
                Ok(message) => self.turn(message, messages),
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    Turn::Going
                }
                Err(RecvTimeoutError::Disconnected) => Turn::Stopped,
            };
            if turn == Turn::Stopped {
                return self.finish(messages);
            }
        }
    }

    /// When the next tick is due, if one is.
    #[must_use]
    pub fn due(&self) -> Option<Stamp> {
        let sync = self.sync_due().filter(|_| self.syncing.is_none());
        let retire = self.journal.retire_due(self.kept_ns());
        sync.into_iter().chain(retire).min()
    }

    /// How long history is kept, so that also the latest hit finds its whole window.
    const fn kept_ns(&self) -> u64 {
        self.settings.retain_ns.saturating_add(LATE_NS_MAX)
    }

    fn sync_due(&self) -> Option<Stamp> {
        let since = self.unsynced_since?;
        match self.settings.policy {
            SyncPolicy::Always => Some(since),
            SyncPolicy::Every { period_ns } => Some(since.after(period_ns)),
            SyncPolicy::Never => None,
        }
    }

    /// One turn: `first`, and what else waits in `messages`.
    pub fn turn(&mut self, first: Message, messages: &Outlet) -> Turn {
        let mut next = Some(first);
        let mut hit_count = 0;
        // Anything but a batch ends the gathering and is seen to in its place.
        while let Some(Message::Batch(batch)) = next {
            hit_count += batch.hits().len();
            self.batches.push(batch);
            let room = hit_count + BATCH_HITS_MAX <= TURN_HITS_MAX
                && self.batches.len() < CHANNEL_MESSAGES_MAX;
            next = if room { messages.try_recv().ok() } else { None };
        }
        let counted = (!self.batches.is_empty()).then(|| self.count(hit_count));
        let mut turn = Turn::Going;
        match next {
            Some(Message::Query(query)) => self.answer(query),
            Some(Message::Synced(covers, outcome)) => self.synced(covers, outcome),
            Some(Message::Stop) => turn = Turn::Stopped,
            Some(Message::Batch(_)) | None => {}
        }
        let now = self.clock.now();
        if let Some(began) = counted {
            self.status.meters.turn_ns.add(now.since(began));
        }
        self.tick_at(now);
        turn
    }

    /// What is due without any hit: a sync, a rotation, a retirement.
    pub fn tick(&mut self) {
        self.tick_at(self.clock.now());
    }

    fn tick_at(&mut self, now: Stamp) {
        if self.syncing.is_none() && self.sync_due().is_some_and(|due| due <= now) {
            self.sync();
        }
        match self.journal.rotate_if_due(now) {
            Ok(false) => {}
            Ok(true) => {
                let took_ns = self.clock.now().since(now);
                self.status.meters.rotate_ns.add(took_ns);
            }
            // The next turn tries again and says so.
            Err(_) => self.status.meters.rotate_failures += 1,
        }
        self.journal.retire(now.before(self.kept_ns()));
    }

    /// Counts the gathered batches, or refuses them all; returns when it began.
    fn count(&mut self, hit_count: usize) -> Stamp {
        let anchor = self.clock.anchor();
        let sequence = self.journal.end();
        if let Err(error) = self.append(hit_count, anchor) {
            self.status.meters.append_failures += 1;
            self.refuse(hit_count, &error);
            return anchor.at;
        }
        if let Err(error) = self.tally(sequence) {
            self.status.meters.read_failures += 1;
            self.refuse(hit_count, &error);
            return anchor.at;
        }
        if self.status.refusing.take().is_some() {
            log::warn!(
                "counting again; {} hits were refused so far",
                self.status.refused_count
            );
            self.counts_again(anchor.at);
        }
        if self.settings.policy != SyncPolicy::Never {
            self.unsynced_since.get_or_insert(anchor.at);
        }
        if self.settings.policy == SyncPolicy::Always {
            let end = self.journal.end();
            let held = self.batches.drain(..).map(|batch| Held::Batch(end, batch));
            self.held.extend(held);
        } else {
            for batch in self.batches.drain(..) {
                batch.answer(Verdict::Counted);
            }
        }
        anchor.at
    }

    /// Admits every hit in order and hands the records to the operating system.
    fn append(&mut self, hit_count: usize, anchor: Anchor) -> Result<()> {
        let now = anchor.at.max(self.last);
        let earliest = self.last.max(now.before(LATE_NS_MAX));
        self.journal.begin(hit_count, now, anchor)?;
        let mut last = earliest;
        for batch in &mut self.batches {
            self.status.meters.batch_hits.add(batch.hits().len() as u64);
            for hit in batch.hits_mut() {
                // No front can have seen a hit later than now.
                let seen = hit.stamp.min(now);
                let stamp = seen.max(last);
                if stamp > seen {
                    let correction_ns = stamp.since(seen);
                    self.status.corrected_count += 1;
                    self.status.correction_ns_total += correction_ns;
                    self.status.correction_ns_max =
                        self.status.correction_ns_max.max(correction_ns);
                }
                hit.stamp = stamp;
                last = stamp;
            }
            self.journal
                .append_all(batch.hits().iter().map(|hit| hit.stamp));
        }
        self.last = last;
        let began = self.clock.now();
        self.journal.flush()?;
        let took_ns = self.clock.now().since(began);
        self.status.meters.flush_ns.add(took_ns);
        Ok(())
    }

    /// Fills in the tallies of hits whose records begin at `sequence`.
    fn tally(&mut self, mut sequence: u64) -> Result<()> {
        for batch in &mut self.batches {
            let hits = batch.hits_mut();
            let count = hits.len() as u64;
            let hits = hits.iter_mut().map(|hit| (hit.stamp, &mut hit.tally));
            self.window.tally(&self.journal, sequence, hits)?;
            sequence += count;
        }
        Ok(())
    }

    /// Hits are no longer refused, unless a failed sync still has them refused.
    fn counts_again(&mut self, at: Stamp) {
        let is_unsynced =
            self.settings.policy == SyncPolicy::Always && self.status.sync_failure.is_some();
        if self.status.refusing.is_none() && !is_unsynced {
            self.status.refusals.end(at);
        }
    }

    fn refuse(&mut self, hit_count: usize, error: &Error) {
        self.journal.cut();
        self.window.cut(&self.journal);
        self.status.refused_count += hit_count as u64;
        let cause = error.to_string();
        if self.status.refusing.is_none() {
            log::error!("refusing hits: {cause}");
        }
        self.status.refusals.begin(self.clock.now(), &cause);
        self.status.refusing = Some(cause);
        for batch in self.batches.drain(..) {
            batch.answer(Verdict::Refused);
        }
    }

    /// Hands everything unsynced to the sync thread.
    fn sync(&mut self) {
        self.unsynced_since = None;
        let Some(job) = self.journal.sync_job() else {
            // What waits then waits for nothing: a batch without hits.
            self.release(self.journal.synced_end());
            return;
        };
        let covers = job.covers();
        self.syncing = Some(self.clock.now());
        if self.jobs.send(job).is_err() {
            self.synced(covers, Err("the sync thread is gone".to_owned()));
        }
    }

    /// A job has come back.
    fn synced(&mut self, covers: u64, outcome: Result<(), String>) {
        let since = self.syncing.take();
        match outcome {
            Ok(()) => {
                if let Some(since) = since {
                    let took_ns = self.clock.now().since(since);
                    self.status.meters.sync_ns.add(took_ns);
                }
                self.journal.synced(covers);
                if self.status.sync_failure.take().is_some() {
                    log::warn!("syncing again");
                    self.counts_again(self.clock.now());
                }
                self.release(covers);
            }
            Err(cause) => {
                self.status.meters.sync_failures += 1;
                let unsynced = self.journal.end() - self.journal.synced_end();
                let lost = match self.settings.policy {
                    SyncPolicy::Always => "are refused for it",
                    _ => "may now be lost by a power cut",
                };
                // One line when it begins; another says when it is over.
                if self.status.sync_failure.is_none() {
                    log::error!("{cause}; {unsynced} hits {lost}");
                }
                self.sync_failed(cause);
            }
        }
    }

    /// A sync that failed is never tried again as if it could succeed.
    fn sync_failed(&mut self, cause: String) {
        self.unsynced_since = None;
        if self.settings.policy == SyncPolicy::Always {
            self.status.refused_count += self.journal.end() - self.journal.synced_end();
            self.journal.refuse_unsynced();
            self.window.cut(&self.journal);
            self.status.refusals.begin(self.clock.now(), &cause);
        } else {
            self.journal.suspect();
        }
        for held in self.held.drain(..) {
            match held {
                Held::Batch(_, batch) => batch.answer(Verdict::Refused),
                Held::Answer(_, reply, _) => {
                    let _gone = reply.try_send(Answer::Failed(cause.clone()));
                }
            }
        }
        self.status.sync_failure = Some(cause);
    }

    /// Answers what waited for hits below `covers`.
    fn release(&mut self, covers: u64) {
        while let Some(Held::Batch(end, _) | Held::Answer(end, ..)) = self.held.front() {
            if *end > covers {
                break;
            }
            match self.held.pop_front() {
                Some(Held::Batch(_, batch)) => batch.answer(Verdict::Counted),
                Some(Held::Answer(_, reply, answer)) => {
                    let _gone = reply.try_send(answer);
                }
                None => break,
            }
        }
    }

    /// Waits for the sync under way, then closes.
    fn finish(mut self, messages: &Outlet) -> Result<()> {
        while self.syncing.is_some() {
            match messages.recv() {
                Ok(message) => {
                    self.turn(message, messages);
                }
                Err(_) => break,
            }
        }
        self.close()
    }

    /// Syncs what no sync has covered, answers what is held and closes the journal. Whoever calls
    /// this instead of [`Funnel::run`] has waited for the sync under way.
    ///
    /// # Errors
    /// The last sync failed: hits that were answered may not be on the device.
    pub fn close(mut self) -> Result<()> {
        self.journal.close();
        let Some(job) = self.journal.sync_job() else {
            return Ok(());
        };
        let covers = job.covers();
        let outcome = job.run();
        match &outcome {
            Ok(()) => self.synced(covers, Ok(())),
            Err(error) => self.sync_failed(error.to_string()),
        }
        outcome
    }
}

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
mod syncing;
mod wall;
mod words;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hit::{
    Answer, BATCH_HITS_MAX, Batch, CHANNEL_MESSAGES_MAX, Message, Outlet, Status, UNREMOVABLE_MAX,
    Verdict,
};
use crate::journal::disk::Disk;
use crate::journal::{Journal, Limits, Recovered, SyncJob, SyncPolicy, TURN_HITS_MAX};
use crate::stamp::{Anchor, BootId, SECOND_NS, Stamp};
use crate::window::Window;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::time::Duration;
use words::refused;

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
    Batch(u64, Verdict, Batch),
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
    /// Records that the start found at or before this instant may be placed or counted wrongly: a number whose span begins
    /// before it is estimated. [`Stamp::MIN`] if there is no doubt.
    doubtful_until: Stamp,
    /// Watches the wall clock for jumps.
    wall: wall::Watch,
    /// Whether hits are refused because of what was done to the files, which can be looked at again
    /// without a hit.
    misplaced: bool,
    /// The position that the first hit of this run gets.
    began: u64,
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
            doubtful_until: recovered.doubtful_until,
            wall: wall::Watch::new(now),
            misplaced: false,
            began: recovered.end,
            status: Status {
                recovered_count: recovered.hit_count(),
                damaged_count: recovered.damaged_count,
                ..Status::default()
            },
        };
        Ok((funnel, recovered))
    }

    /// Has every number estimated whose span begins before `stamp`.
    pub fn doubt_until(&mut self, stamp: Stamp) {
        self.doubtful_until = self.doubtful_until.max(stamp);
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
        let anchor = self.clock.anchor();
        let now = anchor.at;
        if let Some(began) = counted {
            self.status.meters.turn_ns.add(now.since(began));
        }
        self.tick_at(anchor);
        turn
    }

    /// What is due without any hit: a sync, a rotation, a retirement.
    pub fn tick(&mut self) {
        self.tick_at(self.clock.anchor());
    }

    fn tick_at(&mut self, anchor: Anchor) {
        if self.wall.is_off(anchor) {
            self.wall.look(self.clock.anchor());
        }
        let now = anchor.at;
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
        self.tell_unremovable();
    }

    /// Says once that files pile up which cannot be removed, and once that they do no more.
    fn tell_unremovable(&mut self) {
        let had = self.status.unremovable_count;
        let Some((count, cause)) = self.journal.unremovable() else {
            if had > 0 {
                self.status.unremovable_count = 0;
                self.status.piling_up = None;
                log::info!("retired files are removed again");
            }
            return;
        };
        if had == count {
            return;
        }
        if had == 0 {
            log::warn!("{cause}; retired files stay until they can be removed");
        }
        self.status.unremovable_count = count;
        self.status.piling_up = (count > UNREMOVABLE_MAX)
            .then(|| format!("{count} files, at most {UNREMOVABLE_MAX} are allowed: {cause}"));
    }

    /// Looks, at most once a second, whether the files are in their places, when nobody hits.
    fn look(&mut self, now: Stamp) {
        match self.journal.look(now) {
            Err(error) => self.refusing(error.to_string()),
            Ok(()) if self.misplaced => self.accepting(),
            Ok(()) => {}
        }
        self.misplaced = self.journal.is_misplaced();
    }

    /// Hits are refused from now on: one line when it begins.
    fn refusing(&mut self, cause: String) {
        if self.status.refusing.is_none() {
            log::error!("refusing hits: {cause}");
        }
        self.status.refusing = Some(cause);
    }

    /// Hits are counted again: another line when it is over.
    fn accepting(&mut self) {
        if self.status.refusing.take().is_some() {
            log::info!(
                "counting again; {} so far",
                refused(self.status.refused_count)
            );
            self.counts_again();
        }
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
        let verdict = match self.tally(sequence) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.status.meters.read_failures += 1;
                self.refuse(hit_count, &error);
                return anchor.at;
            }
        };
        self.accepting();
        if self.settings.policy != SyncPolicy::Never {
            self.unsynced_since.get_or_insert(anchor.at);
        }
        if self.settings.policy == SyncPolicy::Always {
            let end = self.journal.end();
            let held = self
                .batches
                .drain(..)
                .map(|batch| Held::Batch(end, verdict, batch));
            self.held.extend(held);
        } else {
            for batch in self.batches.drain(..) {
                batch.answer(verdict);
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

    /// Fills in the tallies of hits whose records begin at `sequence`; says whether they are exact.
    fn tally(&mut self, mut sequence: u64) -> Result<Verdict> {
        let first = self.batches.iter().find_map(|batch| batch.hits().first());
        let cutoff = first.map(|hit| hit.stamp.before(self.settings.window_ns));
        for batch in &mut self.batches {
            let hits = batch.hits_mut();
            let count = hits.len() as u64;
            let hits = hits.iter_mut().map(|hit| (hit.stamp, &mut hit.tally));
            self.window.tally(&self.journal, sequence, hits)?;
            sequence += count;
        }
        // The first has the earliest cutoff.
        match cutoff {
            Some(cutoff) if self.is_estimated(cutoff) => Ok(Verdict::Estimated),
            _ => Ok(Verdict::Counted),
        }
    }

    /// Hits are no longer refused, unless a failed sync still has them refused.
    fn counts_again(&mut self) {
        let is_unsynced =
            self.settings.policy == SyncPolicy::Always && self.status.sync_failure.is_some();
        if self.status.refusing.is_none() && !is_unsynced {
            self.status.refusals.end(self.clock.now());
        }
    }

    fn refuse(&mut self, hit_count: usize, error: &Error) {
        self.journal.cut();
        self.window.cut(&self.journal);
        self.status.refused_count += hit_count as u64;
        let cause = error.to_string();
        self.status.refusals.begin(self.clock.now(), &cause);
        self.refusing(cause);
        self.misplaced = self.journal.is_misplaced();
        for batch in self.batches.drain(..) {
            batch.answer(Verdict::Refused);
        }
    }
}

//! What is handed to the sync thread, what waits for it, and the end of a run.
//!
//! Owns the policy's promise: a batch that waits is answered when a sync covers it, and rejected when that
//! sync failed; a failed sync is never tried again as if it could succeed.
//!
//! Must not know how hits are counted. Invariant: what is answered under `--sync always` is on stable storage.

use super::words::log_stop;
use super::{Funnel, Held};
use crate::clock::Clock;
use crate::error::Result;
use crate::hit::{Answer, Outlet, Verdict};
use crate::journal::SyncPolicy;
use crate::journal::disk::Disk;
use crate::notation::many;

impl<D: Disk, C: Clock> Funnel<D, C> {
    /// Hands everything unsynced to the sync thread.
    pub(super) fn sync(&mut self) {
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
    pub(super) fn synced(&mut self, covers: u64, outcome: Result<(), String>) {
        let since = self.syncing.take();
        match outcome {
            Ok(()) => {
                if let Some(since) = since {
                    let took_ns = self.clock.now().since(since);
                    self.status.meters.sync_ns.add(took_ns);
                }
                self.journal.synced(covers);
                if self.status.sync_failure.take().is_some() {
                    log::info!("syncing again");
                    self.counts_again();
                }
                self.release(covers);
            }
            Err(cause) => {
                self.status.meters.sync_failures += 1;
                let unsynced = self.journal.end() - self.journal.synced_end();
                let lost = match (self.settings.policy, unsynced) {
                    (SyncPolicy::Always, 1) => "is refused for it",
                    (SyncPolicy::Always, _) => "are refused for it",
                    _ => "may now be lost by a power cut",
                };
                // One line when it begins; another says when it is over.
                if self.status.sync_failure.is_none() {
                    log::error!("{cause}; {} {lost}", many(unsynced, "hit"));
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
                Held::Batch(_, _, batch) => batch.answer(Verdict::Refused),
                Held::Answer(_, reply, _) => {
                    let _gone = reply.try_send(Answer::Failed(cause.clone()));
                }
            }
        }
        self.status.sync_failure = Some(cause);
    }

    /// Answers what waited for hits below `covers`.
    fn release(&mut self, covers: u64) {
        while let Some(Held::Batch(end, ..) | Held::Answer(end, ..)) = self.held.front() {
            if *end > covers {
                break;
            }
            match self.held.pop_front() {
                Some(Held::Batch(_, verdict, batch)) => batch.answer(verdict),
                Some(Held::Answer(_, reply, answer)) => {
                    let _gone = reply.try_send(answer);
                }
                None => break,
            }
        }
    }

    /// Waits for the sync under way, then closes.
    pub(super) fn finish(mut self, messages: &Outlet) -> Result<()> {
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
    /// The last sync failed, or the files are not in their places: hits that were answered may be lost.
    pub fn close(mut self) -> Result<()> {
        // What was answered and is not there any more must not end well.
        let looked = match self.journal.end() {
            0 => Ok(()),
            _ => self.journal.look_at_once(),
        };
        self.journal.close();
        let outcome = self.journal.sync_job().map_or(Ok(()), |job| {
            let covers = job.covers();
            let outcome = job.run();
            match &outcome {
                Ok(()) => self.synced(covers, Ok(())),
                Err(error) => self.sync_failed(error.to_string()),
            }
            outcome
        });
        let outcome = looked.and(outcome);
        let is_synced = outcome.is_ok() && self.status.meters.sync_failures == 0;
        log_stop(
            self.journal.end() - self.began,
            self.settings.policy,
            is_synced,
        );
        outcome
    }
}

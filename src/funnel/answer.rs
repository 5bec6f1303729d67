//! What the funnel is asked, and how it answers.
//!
//! Owns the answers: every one is exact for the instant at which it is given, or says why there is none.
//! Where hits wait for a sync, an answer that may have counted them waits behind them.
//!
//! Must not know who asks. Invariant: asking changes nothing.

use super::{Funnel, Held};
use crate::clock::Clock;
use crate::error::Result;
use crate::hit::{Answer, Ask, Query, STEPS_MAX, Status};
use crate::journal::disk::Disk;
use crate::stamp::Stamp;
use crate::window;
use std::cell::Cell;

fn estimated_unless(is_exact: bool, answer: Answer) -> Answer {
    match is_exact {
        true => answer,
        false => Answer::Estimated(Box::new(answer)),
    }
}

impl<D: Disk, C: Clock> Funnel<D, C> {
    /// Whether a tally with this cutoff may be wrong: the window reaches back to records that may be placed
    /// wrongly, or to hits that are lost or not kept.
    pub(super) fn is_estimated(&self, cutoff: Stamp) -> bool {
        cutoff < self.doubtful_until
            || cutoff < self.window.doubtful_until()
            || cutoff < self.journal.complete_after()
    }

    /// Answers a question, behind the hits that it may have counted.
    pub(super) fn answer(&mut self, query: Query) {
        let now = self.clock.now();
        let answer = match query.ask {
            Ask::Count { window_ns, at } => {
                let at = at.unwrap_or(now);
                self.between(at.before(window_ns), at)
            }
            Ask::Between { from, to } => self.between(from, to),
            Ask::Steps {
                from,
                step_ns,
                count,
                end,
            } => self.steps(from, step_ns, count.min(STEPS_MAX), end),
            Ask::Status => {
                self.look(now);
                self.status(now).map(Answer::Status)
            }
        };
        let answer = answer.unwrap_or_else(Answer::Failed);
        if self.held.is_empty() {
            let _gone = query.reply.try_send(answer);
        } else {
            self.held
                .push_back(Held::Answer(self.journal.end(), query.reply, answer));
        }
    }

    /// That everything behind `from` is kept.
    fn kept_from(&self, from: Stamp) -> Result<(), String> {
        let kept = self.journal.complete_after();
        if from < kept {
            return Err(format!("hits up to {kept} are no longer kept"));
        }
        Ok(())
    }

    fn between(&self, from: Stamp, to: Stamp) -> Result<Answer, String> {
        if from < to {
            self.kept_from(from)?;
        }
        let found = window::between(&self.journal, from, to).map_err(|error| error.to_string())?;
        let is_exact = found.is_exact && (from >= to || from >= self.doubtful_until);
        Ok(estimated_unless(is_exact, Answer::Count(found.hits)))
    }

    /// Hits of each step; the position at the end of one is that at the beginning of the next.
    fn steps(&self, from: Stamp, step_ns: u64, count: usize, end: u64) -> Result<Answer, String> {
        self.kept_from(from)?;
        let is_exact = Cell::new(from >= self.doubtful_until);
        let position = |instant| {
            let found = self.journal.upper_bound(instant);
            let found = found.map_err(|error| error.to_string())?;
            is_exact.set(is_exact.get() && found.is_exact);
            Ok::<_, String>(found.position.min(end))
        };
        let (mut instant, mut begun) = (from, position(from)?);
        let mut counts = Vec::with_capacity(count);
        for _ in 0..count {
            instant = instant.after(step_ns);
            let ended = position(instant)?;
            counts.push(ended - begun);
            begun = ended;
        }
        Ok(estimated_unless(is_exact.get(), Answer::Steps(counts)))
    }

    fn status(&self, now: Stamp) -> Result<Box<Status>, String> {
        let window_ns = self.settings.window_ns;
        let cutoff = now.before(window_ns);
        let tally = window::count(&self.journal, window_ns, now);
        let tally = tally.map_err(|error| error.to_string())?;
        Ok(Box::new(Status {
            at: now,
            tally: tally.hits,
            total: self.journal.end(),
            segment_count: self.journal.segment_count(),
            journal_bytes: self.journal.stored_bytes(),
            oldest: self.journal.oldest(),
            complete_after: self.journal.complete_after(),
            estimated: !tally.is_exact || self.is_estimated(cutoff),
            quarantined: self.journal.quarantined(),
            damaged_count: self.status.damaged_count + self.window.damaged_count(),
            ..self.status.clone()
        }))
    }
}

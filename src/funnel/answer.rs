//! What the funnel is asked, and how it answers.
//!
//! Owns the answers: every one is exact for the instant at which it is given, or says why there is none.
//! Where hits wait for a sync, an answer that may have counted them waits behind them.
//!
//! Must not know who asks. Invariant: asking changes nothing.

use super::{Funnel, Held};
use crate::clock::Clock;
use crate::error::Error;
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
                Ok(Answer::Status(self.status(now)))
            }
        };
        let answer = answer.unwrap_or_else(|no_answer| no_answer);
        if self.held.is_empty() {
            let _gone = query.reply.try_send(answer);
        } else {
            self.held
                .push_back(Held::Answer(self.journal.end(), query.reply, answer));
        }
    }

    /// That everything behind `from` is kept; otherwise the answer that says so.
    fn kept_from(&self, from: Stamp) -> Result<(), Answer> {
        let kept = self.journal.complete_after();
        if from < kept {
            return Err(Answer::NotKept { from, kept });
        }
        Ok(())
    }

    fn between(&self, from: Stamp, to: Stamp) -> Result<Answer, Answer> {
        if from < to {
            self.kept_from(from)?;
        }
        let found = window::between(&self.journal, from, to).map_err(failed)?;
        let is_exact = found.is_exact && (from >= to || from >= self.doubtful_until);
        Ok(estimated_unless(is_exact, Answer::Count(found.hits)))
    }

    /// Hits of each step; the position at the end of one is that at the beginning of the next.
    fn steps(&self, from: Stamp, step_ns: u64, count: usize, end: u64) -> Result<Answer, Answer> {
        self.kept_from(from)?;
        let is_exact = Cell::new(from >= self.doubtful_until);
        let position = |instant| {
            let found = self.journal.upper_bound(instant);
            let found = found.map_err(failed)?;
            is_exact.set(is_exact.get() && found.is_exact);
            Ok::<_, Answer>(found.position.min(end))
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

    /// How things stand: always an answer, whatever is wrong.
    fn status(&self, now: Stamp) -> Box<Status> {
        let window_ns = self.settings.window_ns;
        let cutoff = now.before(window_ns);
        let tally = window::count(&self.journal, window_ns, now);
        let is_exact = tally.as_ref().map_or(true, |tally| tally.is_exact);
        Box::new(Status {
            at: now,
            unreadable: tally.as_ref().err().map(Error::to_string),
            tally: tally.ok().map(|tally| tally.hits),
            total: self.journal.end(),
            segment_count: self.journal.segment_count(),
            journal_bytes: self.journal.stored_bytes(),
            oldest: self.journal.oldest(),
            complete_after: self.journal.complete_after(),
            estimated: !is_exact || self.is_estimated(cutoff),
            quarantined: self.journal.quarantined(),
            damaged_count: self.status.damaged_count + self.window.damaged_count(),
            ..self.status.clone()
        })
    }
}

/// The answer of what could not be read.
fn failed(error: Error) -> Answer {
    Answer::Failed(error.to_string())
}

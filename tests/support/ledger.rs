//! The plain model: every counted hit in one list, every answer by looking through it.
//!
//! Owns the stamps of all hits that were counted, oldest first, and what follows from them for a
//! tally or a question.
//!
//! Must not know of files, turns or batches. Invariant: stamps never decrease.

use super::rig::Answered;
use tallyd::hit::Verdict;
use tallyd::stamp::Stamp;

/// Every hit that was counted.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub window_ns: u64,
    pub stamps: Vec<Stamp>,
}

impl Ledger {
    pub const fn new(window_ns: u64) -> Self {
        Self {
            window_ns,
            stamps: Vec::new(),
        }
    }

    pub const fn total(&self) -> u64 {
        self.stamps.len() as u64
    }

    /// Hits with a stamp of at most `stamp`.
    pub fn upto(&self, stamp: Stamp) -> u64 {
        self.stamps.partition_point(|&other| other <= stamp) as u64
    }

    /// Hits in (from, to].
    pub fn between(&self, from: Stamp, to: Stamp) -> u64 {
        self.upto(to) - self.upto(from.min(to))
    }

    /// Takes over what was counted; says so if a stamp or tally is not what it must be.
    pub fn enter(&mut self, answered: &Answered) -> Result<(), String> {
        if answered.verdict == Verdict::Refused {
            return Ok(());
        }
        for hit in &answered.hits {
            if self.stamps.last().is_some_and(|&last| hit.stamp < last) {
                return Err(format!("{} goes back in time", hit.stamp));
            }
            self.stamps.push(hit.stamp);
            let expected = self.total() - self.upto(hit.stamp.before(self.window_ns));
            if hit.tally != expected {
                return Err(format!(
                    "hit {} at {} was answered {}, not {expected}",
                    self.total(),
                    hit.stamp,
                    hit.tally
                ));
            }
        }
        Ok(())
    }
}

//! The search for a stamp in one segment: where the hits up to it end.
//!
//! Owns the order of the probes. Hits that come evenly are where their time says, give or take the
//! square root of their number, so the search guesses; where guesses do not narrow the range well,
//! it is halved from there on. A probe is one system call, the last chunk is read whole.
//!
//! Must not know of other segments. Invariant: a search takes a few probes more than halving at the
//! most, however the hits are spread.

use super::disk::DiskFile;
use super::segment::{CHUNK_RECORDS, Segment};
use crate::stamp::Stamp;
use std::io;

/// Where a bound lies: the records before `low` are at most the stamp sought, those from `high` on
/// are later.
struct Range {
    low: u64,
    low_stamp: Stamp,
    high: u64,
    high_stamp: Stamp,
}

impl Range {
    const fn width(&self) -> u64 {
        self.high - self.low
    }

    /// Where the bound of `stamp` lies if the records are spread evenly.
    fn guess(&self, stamp: Stamp) -> u64 {
        let span_ns = u128::from(self.high_stamp.since(self.low_stamp)).max(1);
        let passed_ns = u128::from(stamp.since(self.low_stamp)).min(span_ns);
        self.low + (u128::from(self.width()) * passed_ns / span_ns) as u64
    }

    /// Narrows the range by the record at `place`, if it is in it.
    fn narrow<F: DiskFile>(
        &mut self,
        segment: &Segment,
        file: &F,
        stamp: Stamp,
        place: u64,
    ) -> io::Result<()> {
        if (self.low..self.high).contains(&place) {
            let found = segment.stamp_at(file, place)?;
            if found <= stamp {
                (self.low, self.low_stamp) = (place, found);
            } else {
                (self.high, self.high_stamp) = (place, found);
            }
        }
        Ok(())
    }
}

/// How many records have a stamp of at most the one that was sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Their number, or the position behind them.
    pub position: u64,
    /// Whether it is certain: the record before it is valid. A damaged one has its earlier neighbour's
    /// time and may in truth be later.
    pub is_exact: bool,
}

impl Bound {
    pub(super) const fn exact(position: u64) -> Self {
        Self {
            position,
            is_exact: true,
        }
    }

    /// The same bound, counted from `sequence` on.
    pub(super) const fn behind(self, sequence: u64) -> Self {
        Self {
            position: sequence + self.position,
            ..self
        }
    }
}

impl Segment {
    /// How many records have a stamp of at most `stamp`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn upper_bound<F: DiskFile>(&self, file: &F, stamp: Stamp) -> io::Result<Bound> {
        // The first record lies behind the base.
        if stamp <= self.base {
            return Ok(Bound::exact(0));
        }
        if self.last <= stamp {
            return Ok(self.end_bound());
        }
        // Lost places carry the last stamp, so the bound lies among the stored ones.
        let mut range = Range {
            low: 0,
            low_stamp: self.base,
            high: self.stored,
            high_stamp: self.last,
        };
        let mut even = true;
        while range.width() > CHUNK_RECORDS as u64 {
            let width = range.width();
            if even {
                let guess = range.guess(stamp);
                let margin = 2 * width.isqrt();
                range.narrow(self, file, stamp, guess.saturating_sub(margin))?;
                range.narrow(self, file, stamp, guess + margin)?;
                even = range.width() < width / 8;
            } else {
                let middle = range.low + width / 2;
                range.narrow(self, file, stamp, middle)?;
            }
        }
        // What lies behind the range is later, and is read along.
        let mut stamps = Vec::with_capacity(CHUNK_RECORDS);
        let damage = self.read(file, range.low, &mut stamps)?;
        let position = range.low + stamps.partition_point(|&other| other <= stamp) as u64;
        let is_exact = damage.is_none() || position == 0 || self.is_valid(file, position - 1)?;
        Ok(Bound { position, is_exact })
    }

    /// The bound behind its last place.
    pub(super) const fn end_bound(&self) -> Bound {
        Bound {
            position: self.count,
            is_exact: !self.ends_damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::{READS, file};
    use super::*;

    /// Checks bounds around every 997th record, and that none takes more than `reads_max` reads; returns
    /// how many all of them took.
    fn check(offsets_ns: &[u64], reads_max: u64) -> u64 {
        let count = offsets_ns.len() as u64;
        let base = Stamp::from_ns(1_000);
        let segment = Segment {
            number: 3,
            sequence: 0,
            count,
            stored: count,
            base,
            last: base.after(offsets_ns[offsets_ns.len() - 1]),
            ends_damaged: false,
        };
        let file = file(segment.number, offsets_ns);
        let mut reads = 0;
        for &offset_ns in offsets_ns.iter().step_by(997) {
            for sought_ns in offset_ns - 1..=offset_ns + 1 {
                READS.set(0);
                let bound = segment.upper_bound(&file, base.after(sought_ns)).ok();
                let expected = offsets_ns.partition_point(|&other_ns| other_ns <= sought_ns);
                assert_eq!(bound, Some(Bound::exact(expected as u64)), "{sought_ns} ns");
                assert!(READS.get() <= reads_max, "{} reads", READS.get());
                reads += READS.get();
            }
        }
        reads
    }

    #[test]
    fn a_bound_among_even_hits_takes_five_reads_at_the_most() {
        check(&(1..=1_000_000).map(|i| i * 1_000).collect::<Vec<_>>(), 5);
    }

    #[test]
    fn a_bound_in_a_segment_of_one_chunk_takes_one_read() {
        let chunk: Vec<_> = (1..=CHUNK_RECORDS as u64).map(|i| i * 3).collect();
        assert_eq!(check(&chunk, 1), 3);
    }

    #[test]
    fn a_bound_among_hits_by_chance_takes_five_reads_on_average() {
        let mut state = 1_u64;
        let mut offset_ns = 0;
        let by_chance: Vec<_> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                // Gaps as they are between hits that know nothing of each other.
                let share = ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                offset_ns += 1 + (-share.ln() * 1000.0) as u64;
                offset_ns
            })
            .collect();
        let reads = check(&by_chance, 16);
        // Three bounds around each record that is looked at.
        assert!(reads <= 5 * 3 * 201, "{reads} reads");
    }

    #[test]
    fn a_bound_among_uneven_hits_takes_little_more_than_halving() {
        let pauses = (1..=200_000).map(|i| i + i / 50_000 * 1_000_000_000);
        check(&pauses.collect::<Vec<_>>(), 16);
        let growing = (1..=200_000_u64).map(|i| i * i * i / 1_000_000 + 1);
        check(&growing.collect::<Vec<_>>(), 16);
        let equal = (1..=200_000).map(|i| 1 + i / 70_000);
        check(&equal.collect::<Vec<_>>(), 16);
    }
}

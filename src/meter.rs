//! Histograms: how a quantity is spread, in a few fixed numbers.
//!
//! Owns the scales. A value goes into the first bucket whose bound it does not exceed; the bounds are
//! powers, so that finding it takes two instructions and a page of metrics stays short.
//!
//! Must not know what is measured, or read a clock. Invariant: the buckets together hold as many values
//! as were added, and `sum` is exact.

/// Bounds of a scale; the last bucket has none.
pub const BOUND_COUNT: usize = 13;

/// What is measured, and so where the bounds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Pieces: 1, 2, 4 and so on to 4096.
    Pieces,
    /// Nanoseconds: 1 µs, 4 µs, 16 µs and so on to 16.8 s.
    Nanoseconds,
}

impl Scale {
    /// The bound of a bucket.
    #[must_use]
    pub const fn bound(self, bucket: usize) -> u64 {
        match self {
            Self::Pieces => 1 << bucket,
            Self::Nanoseconds => 1000 << (2 * bucket),
        }
    }

    const fn bucket(self, value: u64) -> usize {
        let bucket = match self {
            Self::Pieces => bits(value.saturating_sub(1)),
            Self::Nanoseconds => bits(value.saturating_sub(1) / 1000).div_ceil(2),
        };
        if bucket < BOUND_COUNT {
            bucket
        } else {
            BOUND_COUNT
        }
    }
}

/// How many bits `value` has.
const fn bits(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// How a quantity is spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    scale: Scale,
    counts: [u64; BOUND_COUNT + 1],
    sum: u64,
}

impl Histogram {
    /// One without values.
    #[must_use]
    pub const fn new(scale: Scale) -> Self {
        Self {
            scale,
            counts: [0; BOUND_COUNT + 1],
            sum: 0,
        }
    }

    /// Adds a value.
    #[inline]
    pub const fn add(&mut self, value: u64) {
        self.counts[self.scale.bucket(value)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// What its bounds are in.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        self.scale
    }

    /// All values together.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values are at or below each bound, in turn.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts[..BOUND_COUNT].iter().enumerate();
        counts.scan(0, |below, (bucket, count)| {
            *below += count;
            Some((self.scale.bound(bucket), *below))
        })
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What the funnel measures of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meters {
    /// Hits of a batch.
    pub batch_hits: Histogram,
    /// Nanoseconds of a turn with hits, from its first look at the clock to its last answer.
    pub turn_ns: Histogram,
    /// Nanoseconds until the system had a turn's records.
    pub flush_ns: Histogram,
    /// Nanoseconds until the device had what was unsynced.
    pub sync_ns: Histogram,
    /// Nanoseconds to seal a segment and open the next.
    pub rotate_ns: Histogram,
    /// Turns whose records the system did not take.
    pub append_failures: u64,
    /// Turns whose window could not be read.
    pub read_failures: u64,
    /// Syncs that failed.
    pub sync_failures: u64,
    /// Segments that could not be opened when the last was full.
    pub rotate_failures: u64,
}

impl Default for Meters {
    fn default() -> Self {
        let spans = Histogram::new(Scale::Nanoseconds);
        Self {
            batch_hits: Histogram::new(Scale::Pieces),
            turn_ns: spans.clone(),
            flush_ns: spans.clone(),
            sync_ns: spans.clone(),
            rotate_ns: spans,
            append_failures: 0,
            read_failures: 0,
            sync_failures: 0,
            rotate_failures: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_bound_is_below_it_and_one_more_is_not() {
        for scale in [Scale::Pieces, Scale::Nanoseconds] {
            for bucket in 0..BOUND_COUNT {
                let bound = scale.bound(bucket);
                assert_eq!(scale.bucket(bound), bucket, "{scale:?} {bound}");
                assert_eq!(scale.bucket(bound + 1), bucket + 1, "{scale:?} {bound}");
            }
            assert_eq!((scale.bucket(0), scale.bucket(u64::MAX)), (0, BOUND_COUNT));
        }
    }

    #[test]
    fn cumulative_counts_end_below_the_number_of_values() {
        let mut histogram = Histogram::new(Scale::Pieces);
        for value in [1, 3, 4, 5000] {
            histogram.add(value);
        }
        let counts: Vec<_> = histogram.cumulative().take(4).collect();
        assert_eq!(counts, [(1, 1), (2, 1), (4, 3), (8, 3)]);
        assert_eq!(histogram.cumulative().last(), Some((4096, 3)));
        assert_eq!((histogram.count(), histogram.sum()), (4, 5008));
    }
}

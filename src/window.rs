//! The window: a cursor over the journal. The file is the queue.
//!
//! Owns `head`, the position of the oldest hit that still counts. `head` only moves forward, each
//! record is read once on its way out, and the tally is a subtraction.
//!
//! Must not know of hits, batches or files. Invariant: every record before `head` is at or before
//! the last cutoff, every record from `head` on is after it.

use crate::error::Result;
use crate::journal::disk::Disk;
use crate::journal::{Journal, Reader};
use crate::stamp::Stamp;

/// The span (now - length, now] over a journal.
pub struct Window<D: Disk> {
    length_ns: u64,
    head: u64,
    /// Until the cutoff has passed all it has read ahead, nothing needs to be read.
    reader: Reader<D>,
}

impl<D: Disk> Window<D> {
    /// A window of `length_ns` nanoseconds that ends at `now`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn open(journal: &Journal<D>, length_ns: u64, now: Stamp) -> Result<Self> {
        let head = journal.upper_bound(now.before(length_ns))?.position;
        Ok(Self {
            length_ns,
            head,
            reader: Reader::new(),
        })
    }

    /// Damaged records that left the window so far.
    #[must_use]
    pub const fn damaged_count(&self) -> u64 {
        self.reader.damaged_count()
    }

    /// Tallies of hits whose cutoff lies before this may be too small: a damaged record has its earlier
    /// neighbour's time and may have left the window too early.
    #[must_use]
    pub const fn doubtful_until(&self) -> Stamp {
        self.reader.doubtful_until()
    }

    /// Moves `head` behind every record at or before the cutoff of `now`, and returns it. The tally
    /// of a hit at `now` with sequence number `s` is `s + 1 - head`.
    ///
    /// # Errors
    /// The journal cannot be read at `head`; nothing has moved past what was read.
    pub fn advance(&mut self, journal: &Journal<D>, now: Stamp) -> Result<u64> {
        let cutoff = now.before(self.length_ns);
        loop {
            let ahead = self.reader.ahead(self.head);
            let expired = ahead.iter().take_while(|&&stamp| stamp <= cutoff).count();
            let known = expired < ahead.len();
            self.head += expired as u64;
            if known {
                return Ok(self.head);
            }
            // What was retired lies at or before every cutoff to come.
            self.head = self.head.max(journal.first());
            if self.head >= journal.end() {
                return Ok(self.head);
            }
            journal.read_ahead(&mut self.reader, self.head)?;
        }
    }

    /// Fills in the tallies of hits, given by their stamps, the first of which has the sequence
    /// number `sequence`.
    ///
    /// # Errors
    /// As [`Window::advance`] has them.
    #[inline]
    pub fn tally<'a>(
        &mut self,
        journal: &Journal<D>,
        mut sequence: u64,
        hits: impl Iterator<Item = (Stamp, &'a mut u64)>,
    ) -> Result<()> {
        let mut ahead = self.reader.ahead(self.head);
        let mut expired = 0;
        for (now, tally) in hits {
            let cutoff = now.before(self.length_ns);
            while ahead.get(expired).is_some_and(|&stamp| stamp <= cutoff) {
                expired += 1;
            }
            if expired == ahead.len() {
                self.head += expired as u64;
                self.advance(journal, now)?;
                ahead = self.reader.ahead(self.head);
                expired = 0;
            }
            sequence += 1;
            *tally = sequence - self.head - expired as u64;
        }
        self.head += expired as u64;
        Ok(())
    }

    /// Positions from the journal's end on were cut off.
    pub fn cut(&mut self, journal: &Journal<D>) {
        self.head = self.head.min(journal.end());
        self.reader.forget();
    }
}

/// Hits in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many there are.
    pub hits: u64,
    /// Whether that is certain. It is not where a damaged record lies next to an end of the span.
    pub is_exact: bool,
}

/// Hits with a stamp in (`from`, `to`], by two binary searches.
///
/// # Errors
/// The journal cannot be read.
pub fn between<D: Disk>(journal: &Journal<D>, from: Stamp, to: Stamp) -> Result<Count> {
    let (begin, end) = (journal.upper_bound(from.min(to))?, journal.upper_bound(to)?);
    Ok(Count {
        hits: end.position - begin.position,
        is_exact: from >= to || begin.is_exact && end.is_exact,
    })
}

/// Hits with a stamp in (`at` - `window_ns`, `at`].
///
/// # Errors
/// The journal cannot be read.
pub fn count<D: Disk>(journal: &Journal<D>, window_ns: u64, at: Stamp) -> Result<Count> {
    between(journal, at.before(window_ns), at)
}

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
    /// The stamp at `head`, if it is known: until the cutoff reaches it nothing needs to be read.
    next: Option<Stamp>,
    reader: Reader<D>,
}

impl<D: Disk> Window<D> {
    /// A window of `length_ns` nanoseconds that ends at `now`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn open(journal: &Journal<D>, length_ns: u64, now: Stamp) -> Result<Self> {
        let head = journal.upper_bound(now.before(length_ns))?;
        Ok(Self {
            length_ns,
            head,
            next: None,
            reader: Reader::new(),
        })
    }

    /// Its length in nanoseconds.
    #[must_use]
    pub const fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// Damaged records that left the window so far.
    #[must_use]
    pub const fn damaged_count(&self) -> u64 {
        self.reader.damaged_count()
    }

    /// Moves `head` behind every record at or before the cutoff of `now`, and returns it. The tally
    /// of a hit at `now` with sequence number `s` is `s + 1 - head`.
    ///
    /// # Errors
    /// The journal cannot be read at `head`; nothing has moved past what was read.
    #[inline]
    pub fn advance(&mut self, journal: &Journal<D>, now: Stamp) -> Result<u64> {
        let cutoff = now.before(self.length_ns);
        match self.next {
            Some(next) if next > cutoff => Ok(self.head),
            _ => self.advance_to(journal, cutoff),
        }
    }

    fn advance_to(&mut self, journal: &Journal<D>, cutoff: Stamp) -> Result<u64> {
        // What was retired lies at or before every cutoff to come.
        self.head = self.head.max(journal.first());
        self.next = None;
        while self.head < journal.end() {
            let stamp = journal.stamp_at(&mut self.reader, self.head)?;
            if stamp > cutoff {
                self.next = Some(stamp);
                break;
            }
            self.head += 1;
        }
        Ok(self.head)
    }

    /// Positions from the journal's end on were cut off.
    pub fn cut(&mut self, journal: &Journal<D>) {
        self.head = self.head.min(journal.end());
        self.next = None;
        self.reader.forget();
    }
}

/// Hits with a stamp in (`from`, `to`], by two binary searches.
///
/// # Errors
/// The journal cannot be read.
pub fn between<D: Disk>(journal: &Journal<D>, from: Stamp, to: Stamp) -> Result<u64> {
    let end = journal.upper_bound(to)?;
    Ok(end - journal.upper_bound(from.min(to))?)
}

/// Hits with a stamp in (`at` - `window_ns`, `at`].
///
/// # Errors
/// The journal cannot be read.
pub fn count<D: Disk>(journal: &Journal<D>, window_ns: u64, at: Stamp) -> Result<u64> {
    between(journal, at.before(window_ns), at)
}

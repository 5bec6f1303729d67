//! The reading side of the journal: the stamp at a position, the position of a stamp.
//!
//! Owns the one read buffer. A [`Reader`] goes forward a chunk at a time, so that a record on its way
//! out of the window costs a fraction of a system call; a search reads the segment it lies in.
//!
//! Must not know who asks. Invariant: only what is flushed is read, and nothing is changed.

use super::disk::Disk;
use super::search::Bound;
use super::segment::{CHUNK_RECORDS, Segment};
use super::{Journal, name};
use crate::error::{Error, Result};
use crate::stamp::Stamp;
use std::sync::Arc;

impl<D: Disk> Journal<D> {
    /// The position behind the last record with a stamp of at most `stamp`: a binary search.
    ///
    /// # Errors
    /// The segment it lies in cannot be read.
    pub fn upper_bound(&self, stamp: Stamp) -> Result<Bound> {
        let index = self.sealed.partition_point(|segment| segment.last <= stamp);
        let segment = match self.sealed.get(index).or_else(|| self.written()) {
            Some(segment) if segment.last > stamp => segment,
            newest => {
                let is_exact = newest
                    .or_else(|| self.sealed.back())
                    .is_none_or(|newest| !newest.ends_damaged);
                return Ok(Bound {
                    position: self.end,
                    is_exact,
                });
            }
        };
        if stamp <= segment.base && index > 0 {
            let before = &self.sealed[index - 1];
            return Ok(before.end_bound().behind(before.sequence));
        }
        let file = self.file_of(segment)?;
        let found = segment.upper_bound(&*file, stamp).map_err(|cause| {
            Error::io(
                "read",
                self.disk.path(&name::segment(segment.number)),
                cause,
            )
        })?;
        Ok(found.behind(segment.sequence))
    }

    /// The file of `segment`. That of the active one is open: under its name may be another by now.
    fn file_of(&self, segment: &Segment) -> Result<Arc<D::File>> {
        match &self.active {
            Some(active) if active.at.number == segment.number => Ok(Arc::clone(&active.file)),
            _ => segment.open(&*self.disk).map(Arc::new),
        }
    }

    /// Reads a chunk from `position` on into `reader`, where [`Reader::ahead`] then finds it.
    ///
    /// # Errors
    /// The segment cannot be read.
    ///
    /// # Panics
    /// If `position` is not between `first` and `end`.
    #[cold]
    pub fn read_ahead(&self, reader: &mut Reader<D>, position: u64) -> Result<()> {
        assert!(
            (self.first()..self.end).contains(&position),
            "position {position} is no record"
        );
        let number = self
            .sealed
            .partition_point(|segment| segment.end() <= position);
        let segment = self.sealed.get(number).or_else(|| self.written());
        let segment = segment.expect("segments hold every position");
        reader.stamps.clear();
        reader.start = position;
        let file = match reader.file.take() {
            Some((number, file)) if number == segment.number => file,
            _ => self.file_of(segment)?,
        };
        let index = position - segment.sequence;
        let damage = segment
            .read(&*file, index, &mut reader.stamps)
            .map_err(|cause| {
                Error::io(
                    "read",
                    self.disk.path(&name::segment(segment.number)),
                    cause,
                )
                .at(Segment::place(index))
            })?;
        if let Some(damage) = damage {
            reader.damaged_count += damage.count;
            let next = self.sealed.get(number + 1).or_else(|| self.written());
            let until = damage.until.unwrap_or_else(|| match next {
                Some(next) if next.sequence >= segment.end() => next.base.after(1),
                _ => segment.last,
            });
            reader.doubtful_until = reader.doubtful_until.max(until);
            // That records are missing was said when the segment was found.
            let is_missing = damage.first >= segment.stored;
            if !is_missing && reader.reported != Some(segment.number) {
                reader.reported = Some(segment.number);
                let path = self.disk.path(&name::segment(segment.number));
                log::warn!(
                    "{path}: {}: check failed; it keeps its place",
                    Segment::place(damage.first)
                );
            }
        }
        reader.file = Some((segment.number, file));
        Ok(())
    }
}

/// Reads a journal forward, a chunk at a time: the one read buffer.
pub struct Reader<D: Disk> {
    file: Option<(u64, Arc<D::File>)>,
    start: u64,
    stamps: Vec<Stamp>,
    damaged_count: u64,
    /// No damaged record it came across is later than this.
    doubtful_until: Stamp,
    /// The segment whose damage was last reported: one line for each is enough.
    reported: Option<u64>,
}

impl<D: Disk> Reader<D> {
    /// A reader that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let stamps = Vec::with_capacity(CHUNK_RECORDS);
        Self {
            file: None,
            start: 0,
            stamps,
            damaged_count: 0,
            doubtful_until: Stamp::MIN,
            reported: None,
        }
    }

    /// Damaged records it came across; each keeps its place and its earlier neighbour's time.
    #[must_use]
    pub const fn damaged_count(&self) -> u64 {
        self.damaged_count
    }

    /// No damaged record it came across is later than this; [`Stamp::MIN`] if there was none. As long as a
    /// cutoff lies before it, such a record may have been taken out of the window too early.
    #[must_use]
    pub const fn doubtful_until(&self) -> Stamp {
        self.doubtful_until
    }

    /// What it has read ahead from `position` on; nothing if that is not in its chunk.
    #[inline]
    #[must_use]
    pub fn ahead(&self, position: u64) -> &[Stamp] {
        // A position before the chunk wraps round and is not in it either.
        usize::try_from(position.wrapping_sub(self.start))
            .ok()
            .and_then(|ahead| self.stamps.get(ahead..))
            .unwrap_or_default()
    }

    /// Forgets what it has read ahead: positions were cut off.
    pub fn forget(&mut self) {
        self.stamps.clear();
    }
}

impl<D: Disk> Default for Reader<D> {
    fn default() -> Self {
        Self::new()
    }
}

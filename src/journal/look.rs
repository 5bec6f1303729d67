//! Whether the files are where they were: what a person at a shell does to them under the server.
//!
//! Owns when that is looked at: each second the names, and before a turn, at most a thousand times a second,
//! the length of the active file and the last record that such a look has seen.
//!
//! Must not know what becomes of the hits. Invariant: nothing is changed.

use super::disk::{Disk, DiskFile};
use super::record::RECORD_BYTES;
use super::segment::{Segment, offset_of, read_full};
use super::{Journal, LOOK_NS, name};
use crate::error::{Error, Result};
use crate::stamp::{MILLISECOND_NS, Stamp};
use std::io;

/// How often hits make sure that the last records are still in their file.
const LOOK_TAIL_NS: u64 = MILLISECOND_NS;

impl<D: Disk> Journal<D> {
    /// Makes sure, if it is time, that what is written now will be found again: the directory is in
    /// its place, and so are the active file, the segment before it and the oldest one.
    ///
    /// # Errors
    /// One of them was moved, removed, replaced or truncated. It is looked for again at the next call.
    pub fn look(&mut self, now: Stamp) -> Result<()> {
        if now < self.look_due && self.has_its_tail(now) {
            return Ok(());
        }
        self.look_due = now;
        self.look_at_once()?;
        self.look_due = now.after(LOOK_NS);
        Ok(())
    }

    /// The same, whenever that was done last.
    ///
    /// # Errors
    /// As [`Journal::look`] has them.
    pub fn look_at_once(&mut self) -> Result<()> {
        let looked = self.check_files();
        self.misplaced = looked.is_err();
        if looked.is_ok()
            && let Some(active) = &mut self.active
        {
            active.checked = active.at.stored;
        }
        looked
    }

    /// Whether the last look has found that files are not in their places.
    #[must_use]
    pub const fn is_misplaced(&self) -> bool {
        self.misplaced
    }

    /// Whether the last records are still in the active file. Behind the end of a truncated file the next turn
    /// would leave a hole, and the file would have its length again; so this is asked before a turn is written.
    fn has_its_tail(&mut self, now: Stamp) -> bool {
        let Some(active) = self.active.as_mut().filter(|active| active.at.stored > 0) else {
            return true;
        };
        if now < active.check_due {
            active.may_hide_hole = true;
            return true;
        }
        active.check_due = now.after(LOOK_TAIL_NS);
        let (name, bytes) = (name::segment(active.at.number), offset_of(active.at.stored));
        if self.disk.check(&name, Some(active.id), bytes).is_err() {
            return false;
        }
        if active.may_hide_hole && active.checked > 0 {
            let mut slot = [1; RECORD_BYTES];
            match active
                .file
                .read_at(&mut slot, offset_of(active.checked - 1))
            {
                Ok(_) if slot == [0; RECORD_BYTES] => return false,
                Ok(RECORD_BYTES) => {}
                // The next time will do.
                Ok(_) | Err(_) => return true,
            }
        }
        active.may_hide_hole = false;
        active.checked = active.at.stored;
        true
    }

    fn check_files(&self) -> Result<()> {
        let failed = |name: &str| {
            let path = self.disk.path(name);
            move |cause| Error::io("append to", path, cause)
        };
        self.disk.is_in_place().map_err(failed(""))?;
        let check = |number, id, bytes| {
            let name = name::segment(number);
            let checked = self.disk.check(&name, id, bytes);
            checked.map_err(failed(&name))
        };
        if let Some(active) = &self.active {
            let bytes = if active.begun {
                offset_of(active.at.stored)
            } else {
                0
            };
            check(active.at.number, Some(active.id), bytes)?;
            let mut slot = [1; RECORD_BYTES];
            if active.checked > 0 {
                let name = name::segment(active.at.number);
                read_full(&*active.file, &mut slot, offset_of(active.checked - 1))
                    .map_err(failed(&name))?;
                // Records that were written behind the end of a truncated file have left a hole.
                if slot == [0; RECORD_BYTES] {
                    let place = Segment::place(active.checked - 1);
                    let cause = "the file was truncated under the server (restart to count on)";
                    let error =
                        Error::io("append to", self.disk.path(&name), io::Error::other(cause));
                    return Err(error.at(place));
                }
            }
        }
        if let (Some((number, id, bytes)), Some(newest)) = (self.last_sealed, self.sealed.back())
            && newest.number == number
        {
            // What a failed sync has taken back is cut off again, now or later.
            check(number, Some(id), bytes.min(offset_of(newest.stored)))?;
        }
        match self.sealed.front() {
            Some(oldest) => check(oldest.number, None, offset_of(oldest.stored)),
            None => Ok(()),
        }
    }
}

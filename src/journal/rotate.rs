//! Rotation: the active segment is sealed, the next one opened, the oldest retired and recycled.
//!
//! Owns the life of a segment's file. A file is created once and then handed on: the newest retired
//! segment is the spare that the next rotation renames, which allocates nothing and writes a third of
//! what a new file would. Retired files go oldest first, none before its predecessor is gone and none
//! before its successor is on the device, so that a restart never finds a gap or loses the count. A
//! file of refused hits that could not be removed goes before any of them, since a later header is all
//! that cuts it off.
//!
//! Must not know why a segment is due to retire. Invariant: at every instant some file on the disk
//! tells the lifetime count of hits.

use super::disk::{Disk, DiskFile};
use super::segment::{RECYCLED_SLOT_AGE_MAX, Segment, offset_of};
use super::{Active, Journal, Leftover, Mark, name};
use crate::error::{Error, Result};
use crate::stamp::{Anchor, Stamp};
use std::io::ErrorKind;
use std::sync::Arc;

/// Files that are removed in one turn at the most: no hit waits for what has piled up.
const REMOVALS_MAX: usize = 64;
/// Files of refused hits that may fail to be removed in one turn before the others wait.
const FAILURES_MAX: usize = 16;
/// Live segments at the most: half of the keys, so that no key comes round while it is in use.
const SEGMENT_COUNT_MAX: usize = 1 << 15;

const _: () = assert!(SEGMENT_COUNT_MAX <= 1 << 15, "keys are 16 bits");

impl<D: Disk> Journal<D> {
    /// Seals the active segment if it is full or old enough, and opens the next, so that no hit has
    /// to wait for it; returns whether it was.
    ///
    /// # Errors
    /// The next segment cannot be opened; the next turn tries again.
    pub fn rotate_if_due(&mut self, now: Stamp) -> Result<bool> {
        let due = self.active.as_ref().is_some_and(|active| {
            let bytes = offset_of(active.at.count);
            active.begun
                && (bytes >= self.limits.segment_bytes_max
                    || bytes >= self.limits.seal_bytes_min
                        && now.since(active.at.base) >= self.limits.seal_age_ns)
        });
        if due {
            self.seal();
            self.open_next()?;
        }
        Ok(due)
    }

    pub(super) fn seal(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        let name = name::segment(active.at.number);
        if active.at.count == 0 {
            // Nothing was ever in it. If it cannot be removed, recovery will find it blank.
            let _blank = active.file.shorten(0);
            if self.disk.check(&name, Some(active.id), 0).is_ok() {
                self.remove_or_remember(active.at.number);
            }
            return;
        }
        if active.tail || active.spoilt {
            // A tail that stays fails its check under this segment's key, or lies behind the next
            // header's sequence number: cutting it off saves space, and is no promise.
            let kept_bytes = offset_of(active.at.count);
            let is_left = active.file.shorten(kept_bytes).is_err();
            if is_left && active.spoilt {
                let number = active.at.number;
                self.leftover.push(Leftover { number, kept_bytes });
            }
        }
        self.last_sealed = Some((active.at.number, active.id, offset_of(active.at.stored)));
        self.sealed.push_back(active.at);
        if self.keep_unsynced && self.synced_end < active.at.end() {
            let bytes = offset_of(active.at.stored);
            self.unsynced.push((name, active.file, bytes));
        }
    }

    pub(super) fn open_next(&mut self) -> Result<()> {
        let number = self.next_number;
        let name = name::segment(number);
        if self.sealed.len() >= SEGMENT_COUNT_MAX {
            let found = format!("{SEGMENT_COUNT_MAX} segments are in use, no more are allowed");
            return Err(Error::found(self.disk.path(&name), found));
        }
        let recycled = self.recycle(number);
        let tail = recycled.is_some();
        let file = match recycled {
            Some(file) => file,
            None => self.disk.create(&name).map_err(|cause| {
                if cause.kind() == ErrorKind::AlreadyExists {
                    // Left by a step that failed half-way; recovery will settle what it is.
                    self.next_number += 1;
                }
                Error::io("create", self.disk.path(&name), cause)
            })?,
        };
        self.next_number += 1;
        let id = file
            .id()
            .map_err(|cause| Error::io("look at", self.disk.path(&name), cause))?;
        self.names_changed = true;
        let epoch = Stamp::default();
        let at = Segment {
            number,
            sequence: self.end,
            count: 0,
            stored: 0,
            base: epoch,
            last: Stamp::MIN,
            ends_damaged: false,
        };
        self.active = Some(Active {
            at,
            file: Arc::new(file),
            id,
            checked: 0,
            check_due: Stamp::MIN,
            may_hide_hole: false,
            begun: false,
            tail,
            spoilt: false,
            mark: Mark {
                count: 0,
                last: Stamp::MIN,
                begun: false,
            },
            anchor: Anchor {
                at: epoch,
                wall_ns: 0,
            },
        });
        Ok(())
    }

    /// The spare's file under a new number, if there is just the spare. Its old header and records
    /// fail every check under that number until the first turn overwrites them. If it cannot be
    /// renamed, or if no file but itself tells the count of hits, it stays the spare.
    fn recycle(&mut self, number: u64) -> Option<D::File> {
        let [spare] = *self.retired.make_contiguous() else {
            return None;
        };
        let (from, to) = (name::segment(spare.number), name::segment(number));
        if !self.is_rid_of_leftover() {
            return None;
        }
        // What a crash left of an earlier life may hold records under a number that was lost with their
        // names and is given again: such a file is removed and never recycled.
        let is_own = spare.number >= self.own_from;
        let told_by_others = self.pinned_end.min(self.end);
        // Rejected turns use up numbers. After a crash, slots of an older segment would be taken for damaged
        // records of this one.
        let is_recent = number - spare.number <= u64::from(RECYCLED_SLOT_AGE_MAX);
        let is_free = is_own && spare.end() < told_by_others && is_recent;
        if !is_free || self.disk.rename(&from, &to).is_err() {
            return None;
        }
        self.retired.clear();
        // A snapshot made of hard links shares the file and must stay as it is.
        let opened = self.disk.open(&to).ok();
        let opened = opened.filter(|file| file.is_linked_elsewhere().is_ok_and(|linked| !linked));
        if opened.is_none() {
            self.remove_or_remember(number);
        }
        opened
    }

    /// When the oldest sealed segment may be given up, as the cutoff that has to come: with the first
    /// hit of its successor. It then lies wholly at or before it, and what is left tells a restart that
    /// nothing newer is missing. What waits for a sync may yet be refused, and nothing of it may stay
    /// then, so it is not given up at all.
    fn given_up_at(&self) -> Option<Stamp> {
        let oldest = self.sealed.front()?;
        if self.keep_unsynced && oldest.end() > self.synced_end {
            return None;
        }
        self.segments().nth(1).map(|second| second.base.after(1))
    }

    /// Gives up every sealed segment that `cutoff` has left behind. The newest of them is kept as the
    /// spare.
    pub fn retire(&mut self, cutoff: Stamp) {
        // What lies under the names of our files may be somebody else's.
        if self.misplaced {
            return;
        }
        while self.given_up_at().is_some_and(|begins| begins <= cutoff)
            && let Some(oldest) = self.sealed.pop_front()
        {
            self.complete_after = self.complete_after.max(oldest.last);
            self.retired.push_back(oldest);
        }
        if !self.is_rid_of_leftover() {
            return;
        }
        // Oldest first, and none before its predecessor is gone: what a restart finds is then always
        // without a gap.
        for _ in 0..REMOVALS_MAX {
            let [oldest, _, ..] = *self.retired.make_contiguous() else {
                break;
            };
            if oldest.end() >= self.pinned_end {
                break;
            }
            let name = name::segment(oldest.number);
            let removed = match self.disk.remove(&name) {
                Err(cause) if cause.kind() == ErrorKind::Interrupted => self.disk.remove(&name),
                removed => removed,
            };
            match removed {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    // A directory that is away is told as such.
                    if self.disk.is_in_place().is_ok() {
                        let error = Error::io("remove", self.disk.path(&name), cause);
                        self.removal_failure = Some(error.to_string());
                    }
                    break;
                }
                _ => {
                    self.retired.pop_front();
                    self.removal_failure = None;
                }
            }
        }
    }

    /// How many files should be gone and could not be removed, and why; nothing if there is none.
    #[must_use]
    pub fn unremovable(&self) -> Option<(usize, &str)> {
        let cause = self.removal_failure.as_deref()?;
        // The newest is kept as the spare.
        let count = self.retired.len().saturating_sub(1) + self.leftover.len();
        (count > 0).then_some((count, cause))
    }

    /// Removes a file that nothing counts in; if that fails it is tried again.
    pub(super) fn remove_or_remember(&mut self, number: u64) {
        self.cut_or_remember(number, 0);
    }

    /// Cuts a file to what of it is to stay; if that fails it is tried again.
    pub(super) fn cut_or_remember(&mut self, number: u64, kept_bytes: u64) {
        self.leftover.push(Leftover { number, kept_bytes });
        self.is_rid_of_leftover();
    }

    /// Removes and cuts off what could not be before; says whether nothing of it is left.
    pub(super) fn is_rid_of_leftover(&mut self) -> bool {
        let disk = &self.disk;
        let mut failures = 0;
        let mut failure = None;
        let is_left = |it: &Leftover| {
            if failures >= FAILURES_MAX {
                return true;
            }
            let name = name::segment(it.number);
            let done = match it.kept_bytes {
                0 => disk.remove(&name),
                bytes => disk.open(&name).and_then(|file| file.shorten(bytes)),
            };
            match done {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    failures += 1;
                    if failure.is_none() && disk.is_in_place().is_ok() {
                        let error = Error::io("remove", disk.path(&name), cause);
                        failure = Some(error.to_string());
                    }
                    true
                }
                _ => false,
            }
        };
        let had = self.leftover.len();
        self.leftover.retain(is_left);
        if had > 0 {
            self.removal_failure = failure;
        }
        self.leftover.is_empty()
    }

    /// When the oldest sealed segment may be retired, given how long history is kept.
    #[must_use]
    pub fn retire_due(&self, retain_ns: u64) -> Option<Stamp> {
        self.given_up_at().map(|begins| begins.after(retain_ns))
    }
}

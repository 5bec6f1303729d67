//! The journal: a sorted array of stamps on disk, in segments. Append, flush, sync, rotate, retire,
//! find.
//!
//! Owns the files and their order. Records are appended to a buffer and flushed by one write a turn;
//! a turn that cannot be written is cut off whole. A segment is never appended to by another process
//! life, is cut to its records when it is sealed, and the next header's sequence number seals it
//! once more. The newest retired segment is kept as the spare that the next rotation recycles: its
//! file is given the new name, and the first turn writes the new header over the old one.
//!
//! Must not know why a cutoff is where it is. Invariants: stamps never decrease with the position;
//! positions below `end` are all flushed; every hit after `complete_after` has a position.

mod boots;
mod correct;
pub mod disk;
mod look;
pub mod name;
mod read;
pub mod record;
mod recover;
mod rotate;
mod search;
mod segment;
mod survey;
mod sync;
mod view;

pub use read::Reader;
pub use recover::Recovered;
pub use search::Bound;
pub use segment::Segment;
pub use sync::{SyncJob, SyncPolicy};
pub use view::{Missed, OpenPart, Part, View};

use crate::error::{Error, Result};
use crate::stamp::{Anchor, BootId, MILLISECOND_NS, SECOND_NS, Stamp};
use disk::{Disk, DiskFile, FileId};
use record::{HEADER_BYTES, Header, Key, OFFSET_NS_MAX, RECORD_BYTES};
use segment::{SEGMENT_BYTES_MAX, offset_of, write_full};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The most hits of one turn: what the write buffer holds.
pub const TURN_HITS_MAX: usize = 8192;
/// How far the wall clock may drift from its anchor before a new segment carries a new one.
pub const WALL_STEP_NS_MIN: u64 = 100 * MILLISECOND_NS;
/// How often hits make sure that the directory they are written to is where it was.
pub const LOOK_NS: u64 = SECOND_NS;
/// Files set aside that a status names at the most.
pub const QUARANTINED_MAX: usize = 16;
const _: () = assert!(OFFSET_NS_MAX < i64::MAX.cast_unsigned());

/// The sizes a journal keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment is sealed at this many bytes.
    pub segment_bytes_max: u64,
    /// A segment is also sealed at this many bytes once it is `seal_age_ns` old.
    pub seal_bytes_min: u64,
    /// Nanoseconds from a segment's base until its age alone may seal it.
    pub seal_age_ns: u64,
}

impl Limits {
    /// What the format's page says: 16 MiB, or 64 KiB and one window.
    #[must_use]
    pub const fn for_window(window_ns: u64) -> Self {
        Self {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            seal_bytes_min: 64 << 10,
            seal_age_ns: window_ns,
        }
    }
}

/// The segment being written.
struct Active<F> {
    at: Segment,
    file: Arc<F>,
    /// Which file that is.
    id: FileId,
    /// How many of its records the last check has seen.
    checked: u64,
    /// When to check again that its last records are there.
    check_due: Stamp,
    /// Whether turns were written since then that were not checked before.
    may_hide_hole: bool,
    /// Whether the first stamp has set the base and put the header into the buffer.
    begun: bool,
    /// Whether bytes behind the records may be somebody else's: a recycled file, or a failed cut.
    tail: bool,
    /// Whether the file takes no more: what was refused could not be cut off, or may come back.
    spoilt: bool,
    /// The state at the beginning of the turn, to go back to.
    mark: Mark,
    /// The anchor the header carries.
    anchor: Anchor,
}

/// What was refused or given up, and could not be taken from the disk.
struct Leftover {
    /// The file.
    number: u64,
    /// What of it is to stay; nothing, if it is to be removed.
    kept_bytes: u64,
}

impl<F> Active<F> {
    const fn set_mark(&mut self) {
        self.mark = Mark {
            count: self.at.count,
            last: self.at.last,
            begun: self.begun,
        };
    }
}

#[derive(Clone, Copy)]
struct Mark {
    count: u64,
    last: Stamp,
    begun: bool,
}

/// The ordered whole of all records, on a disk.
pub struct Journal<D: Disk> {
    disk: Arc<D>,
    limits: Limits,
    boot: BootId,
    sealed: VecDeque<Segment>,
    /// Segments given up, oldest first, whose files are still there. The newest is the spare.
    retired: VecDeque<Segment>,
    /// Files, by their numbers, that hold nothing but what was refused or given up and that could
    /// not be removed. What a later header cuts off stays cut off only while that header is there.
    leftover: Vec<Leftover>,
    active: Option<Active<D::File>>,
    buffer: Vec<u8>,
    next_number: u64,
    /// Segments from this number on were begun in this life.
    own_from: u64,
    end: u64,
    /// Hits below this are on the device.
    synced_end: u64,
    /// Segments that end before this have a successor whose header is on the device: only then may
    /// their files go, since the count of hits is theirs to tell until then.
    pinned_end: u64,
    /// Every hit with a later stamp is in the journal.
    complete_after: Stamp,
    /// The names of files that were set aside.
    quarantined: Vec<String>,
    /// Sealed files with unsynced records.
    unsynced: Vec<(String, Arc<D::File>, u64)>,
    /// Positions in sealed segments that are not kept open and have yet to be synced: what a killed
    /// process has left in this boot, and, under a policy of never, everything.
    closed: Range<u64>,
    names_changed: bool,
    keep_unsynced: bool,
    /// When to make sure again that the directory and the files in it are in their places.
    look_due: Stamp,
    /// Whether they were not when it was last looked.
    misplaced: bool,
    /// The newest segment that this life has sealed: its number, its file and the file's length.
    last_sealed: Option<(u64, FileId, u64)>,
    /// Why the last attempt to remove a retired file has failed.
    removal_failure: Option<String>,
    /// Whether it was said that this file system cannot sync a directory.
    names_unsynced: Arc<AtomicBool>,
}

impl<D: Disk> Journal<D> {
    /// Recovers what is in `disk` and opens the next segment. A disk without room for it is no
    /// error: every turn tries again.
    ///
    /// # Errors
    /// The directory cannot be read, or holds what must not be touched.
    pub fn open(
        disk: D,
        limits: Limits,
        boot: BootId,
        now: Anchor,
        policy: SyncPolicy,
    ) -> Result<(Self, Recovered)> {
        let recovered = recover::recover(&disk, boot, now)?;
        let journal = Self {
            disk: Arc::new(disk),
            limits,
            boot,
            sealed: recovered.segments.iter().copied().collect(),
            retired: VecDeque::new(),
            leftover: recovered
                .leftover
                .iter()
                .map(|&number| Leftover {
                    number,
                    kept_bytes: 0,
                })
                .collect(),
            active: None,
            buffer: Vec::with_capacity(HEADER_BYTES + TURN_HITS_MAX * RECORD_BYTES),
            next_number: recovered.next_number,
            own_from: recovered.next_number,
            end: recovered.end,
            synced_end: recovered.end,
            pinned_end: match policy {
                // Nothing was promised.
                SyncPolicy::Never => u64::MAX,
                _ => recovered.this_boot_from,
            },
            complete_after: recovered.complete_after,
            quarantined: recovered.quarantined.clone(),
            unsynced: Vec::new(),
            closed: recovered.this_boot_from..match policy {
                SyncPolicy::Never => u64::MAX,
                _ => recovered.end,
            },
            names_changed: true,
            keep_unsynced: policy != SyncPolicy::Never,
            look_due: now.at,
            misplaced: false,
            last_sealed: None,
            removal_failure: None,
            names_unsynced: Arc::default(),
        };
        Ok((journal, recovered))
    }

    /// The position of the oldest record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments()
            .next()
            .map_or(self.end, |segment| segment.sequence)
    }

    /// The position behind the newest record: the lifetime count of hits.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The newest stamp, if there is any record.
    #[must_use]
    pub fn last(&self) -> Option<Stamp> {
        self.segments().next_back().map(|segment| segment.last)
    }

    /// Every hit with a later stamp is in the journal; what is older may have been retired.
    #[must_use]
    pub const fn complete_after(&self) -> Stamp {
        self.complete_after
    }

    /// The files that were set aside and still lie there, at most [`QUARANTINED_MAX`].
    #[must_use]
    pub fn quarantined(&self) -> Vec<String> {
        let names = self.quarantined.iter().take(QUARANTINED_MAX);
        names
            .filter(|name| self.disk.open(name).is_ok())
            .map(|name| self.disk.path(name))
            .collect()
    }

    /// How many segments hold records.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments().count()
    }

    /// Bytes of the segments that hold records.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.segments()
            .map(|segment| offset_of(segment.stored))
            .sum()
    }

    /// The base of the oldest segment: the oldest record is one nanosecond later.
    #[must_use]
    pub fn oldest(&self) -> Option<Stamp> {
        self.segments().next().map(|segment| segment.base.after(1))
    }

    /// The active segment, if there is anything in it.
    fn written(&self) -> Option<&Segment> {
        debug_assert!(
            self.buffer.is_empty(),
            "nobody reads between append and flush"
        );
        self.active
            .as_ref()
            .map(|active| &active.at)
            .filter(|segment| segment.count > 0)
    }

    fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.sealed.iter().chain(self.written())
    }

    /// Begins a turn of at most `hits` hits with stamps up to `newest`: afterwards there is a
    /// segment with room for them. `anchor` is the present instant.
    ///
    /// # Errors
    /// No segment can be opened, or the directory is not in its place. Nothing has changed then and the
    /// next turn may try again.
    ///
    /// # Panics
    /// If `hits` is above [`TURN_HITS_MAX`].
    pub fn begin(&mut self, hits: usize, newest: Stamp, anchor: Anchor) -> Result<()> {
        assert!(
            hits <= TURN_HITS_MAX,
            "a turn has at most {TURN_HITS_MAX} hits, not {hits}"
        );
        // From here on there is nothing to take back.
        if let Some(active) = &mut self.active {
            active.set_mark();
        }
        self.look(anchor.at)?;
        self.is_rid_of_leftover();
        if self.active.as_ref().is_some_and(|active| {
            let room = self
                .limits
                .segment_bytes_max
                .max(offset_of(TURN_HITS_MAX as u64));
            let drift = active.anchor.wall_at(anchor.at).abs_diff(anchor.wall_ns);
            active.spoilt
                || active.begun
                    && (offset_of(active.at.count + hits as u64) > room
                        || newest.since(active.at.base) > OFFSET_NS_MAX
                        || drift >= WALL_STEP_NS_MIN)
        }) {
            self.seal();
        }
        if self.active.is_none() {
            self.open_next()?;
        }
        if let Some(active) = &mut self.active {
            if !active.begun {
                active.anchor = anchor;
            }
            active.set_mark();
        }
        self.buffer.clear();
        Ok(())
    }

    /// Puts a record for each of `stamps` into the buffer.
    ///
    /// # Panics
    /// If no turn was begun, or, in debug builds, if a stamp is older than the last.
    #[inline]
    pub fn append_all(&mut self, stamps: impl ExactSizeIterator<Item = Stamp> + Clone) {
        let active = self.active.as_mut().expect("a turn was begun");
        let Some(first) = stamps.clone().next() else {
            return;
        };
        if !active.begun {
            active.begun = true;
            active.at.base = first.before(1);
            active.at.last = first;
            let header = Header {
                number: active.at.number,
                sequence: active.at.sequence,
                base_ns: active.at.base.ns().unsigned_abs(),
                wall_ns: active.anchor.wall_at(active.at.base),
                boot: self.boot,
            };
            self.buffer.extend_from_slice(&header.encode());
        }
        let (base, key, mut last) = (active.at.base, Key::of(active.at.number), active.at.last);
        active.at.count += stamps.len() as u64;
        // Making room once leaves nothing to check for each record.
        let start = self.buffer.len();
        self.buffer.resize(start + stamps.len() * RECORD_BYTES, 0);
        let (slots, _) = self.buffer[start..].as_chunks_mut();
        for (slot, stamp) in slots.iter_mut().zip(stamps) {
            debug_assert!(stamp >= last, "stamps never decrease");
            last = stamp;
            *slot = record::encode(stamp.since(base), key);
        }
        active.at.last = last;
    }

    /// Hands the turn's records to the operating system, by one write.
    ///
    /// # Errors
    /// It did not take them all. The turn is cut off then, as [`Journal::cut`] does.
    pub fn flush(&mut self) -> Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let offset = if active.mark.begun {
            offset_of(active.mark.count)
        } else {
            0
        };
        if let Err(cause) = write_full(&*active.file, &self.buffer, offset) {
            let path = self.disk.path(&name::segment(active.at.number));
            self.cut();
            return Err(Error::io("append to", path, cause));
        }
        self.end += active.at.count - active.mark.count;
        active.at.stored = active.at.count;
        self.buffer.clear();
        Ok(())
    }

    /// Takes back everything since the turn began, flushed or not: its hits are refused.
    pub fn cut(&mut self) {
        self.buffer.clear();
        let Some(active) = &mut self.active else {
            return;
        };
        let mark = active.mark;
        // The file is not written again under another base: after a power cut, sectors of the first write
        // and of the second may lie side by side, and every record of the wrong base would pass its check.
        active.spoilt |= active.begun && !mark.begun;
        active.at.count = mark.count;
        active.at.stored = mark.count;
        active.at.last = mark.last;
        active.begun = mark.begun;
        self.end = active.at.sequence + mark.count;
        let length = if mark.begun { offset_of(mark.count) } else { 0 };
        if active.file.shorten(length).is_err() {
            // The next header's sequence number will cut it off instead.
            active.spoilt = true;
        }
    }

    /// Cuts the active segment to its records: nothing more will be appended.
    pub fn close(&mut self) {
        self.seal();
    }
}

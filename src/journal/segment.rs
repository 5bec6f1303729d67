//! One segment: where it stands in the journal, and how its records are read.
//!
//! Owns the loops around short reads and writes, and the rule for damage: a record that fails its
//! check keeps its place and takes the time of its nearest earlier valid neighbour, or of the first
//! hit, which the base tells, if there is none. Places behind the end of the file (lost records) are damaged in the same way.
//!
//! Must not know of other segments. Invariant: stamps never decrease with the position.

use super::disk::{Disk, DiskFile};
use super::record::{self, HEADER_BYTES, Key, RECORD_BYTES, Slot};
use super::{TURN_HITS_MAX, name};
use crate::error::{Error, Result};
use crate::stamp::Stamp;
use std::io;
use std::ops::RangeInclusive;

/// A segment is sealed at this many bytes.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// The most records of a segment: it is full, and one turn more. What lies behind in its file was put
/// there by somebody else and is never read.
pub const RECORDS_MAX: u64 = SEGMENT_BYTES_MAX / RECORD_BYTES as u64 + TURN_HITS_MAX as u64;
/// How many records are read at once.
pub const CHUNK_RECORDS: usize = 512;
/// Interrupted calls in a row that are taken up again before giving up.
const INTERRUPTIONS_MAX: u32 = 100;

/// Records of one chunk that fail their check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first of them.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// The first valid stamp of the chunk behind all of them, if there is one: their own times are not later.
    pub until: Option<Stamp>,
}

/// Where a segment stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// Lifetime count of hits before its first.
    pub sequence: u64,
    /// Places it holds: the next segment's sequence minus its own.
    pub count: u64,
    /// Places that are in the file; fewer than `count` if records were lost.
    pub stored: u64,
    /// Its base on today's line.
    pub base: Stamp,
    /// The stamp of its last place.
    pub last: Stamp,
    /// Whether its last place is damaged or lost: the hit may have come at any time up to the next segment.
    pub ends_damaged: bool,
}

impl Segment {
    /// The sequence number behind its last place.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.sequence + self.count
    }

    /// Where record `index` is, for people.
    #[must_use]
    pub fn place(index: u64) -> String {
        format!("record {index} at byte {}", offset_of(index))
    }

    /// Opens the file of this segment.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open<D: Disk>(&self, disk: &D) -> Result<D::File> {
        let name = name::segment(self.number);
        disk.open(&name)
            .map_err(|cause| Error::io("open", disk.path(&name), cause))
    }

    /// Reads the stamps from record `index` on into `stamps`, at most a chunk; returns what of them
    /// is damaged, if anything is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read<F: DiskFile>(
        &self,
        file: &F,
        index: u64,
        stamps: &mut Vec<Stamp>,
    ) -> io::Result<Option<Damage>> {
        let mut bytes = [0_u8; CHUNK_RECORDS * RECORD_BYTES];
        let wanted = (self.count - index).min(CHUNK_RECORDS as u64) as usize;
        // Lost places stay zero, which no check passes.
        let inside = self.stored.saturating_sub(index).min(wanted as u64) as usize;
        read_full(file, &mut bytes[..inside * RECORD_BYTES], offset_of(index))?;
        stamps.clear();
        let mut damage: Option<Damage> = None;
        for slot in bytes[..wanted * RECORD_BYTES].chunks_exact(RECORD_BYTES) {
            let stamp = match self.decode(slot) {
                Some(stamp) => {
                    if let Some(damage) = &mut damage {
                        damage.until.get_or_insert(stamp);
                    }
                    stamp
                }
                None => {
                    let first = index + stamps.len() as u64;
                    let damage = damage.get_or_insert(Damage {
                        first,
                        count: 0,
                        until: None,
                    });
                    damage.count += 1;
                    damage.until = None;
                    match stamps.last() {
                        Some(&earlier) => earlier,
                        None => self.nearest_before(file, index)?,
                    }
                }
            };
            stamps.push(stamp);
        }
        Ok(damage)
    }

    /// The stamp in `slot`; nothing if it fails its check or lies behind the last.
    fn decode(&self, slot: &[u8]) -> Option<Stamp> {
        let stamp = self.base.after(record::decode(slot, Key::of(self.number))?);
        (stamp <= self.last).then_some(stamp)
    }

    /// The stamp of record `index`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stamp_at<F: DiskFile>(&self, file: &F, index: u64) -> io::Result<Stamp> {
        let mut bytes = [0; RECORD_BYTES];
        read_full(file, &mut bytes, offset_of(index))?;
        match self.decode(&bytes) {
            Some(stamp) => Ok(stamp),
            None => self.nearest_before(file, index),
        }
    }

    /// Whether record `index` is valid.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_valid<F: DiskFile>(&self, file: &F, index: u64) -> io::Result<bool> {
        let mut bytes = [0; RECORD_BYTES];
        read_full(file, &mut bytes, offset_of(index))?;
        Ok(self.decode(&bytes).is_some())
    }

    /// The stamp of the nearest valid record before `index`, or else of the first hit: one behind the
    /// base, so that it lies no earlier than what is before the segment.
    fn nearest_before<F: DiskFile>(&self, file: &F, index: u64) -> io::Result<Stamp> {
        let mut bytes = [0_u8; CHUNK_RECORDS * RECORD_BYTES];
        let mut end = index.min(self.stored);
        while end > 0 {
            let length = end.min(CHUNK_RECORDS as u64);
            let chunk = &mut bytes[..length as usize * RECORD_BYTES];
            read_full(file, chunk, offset_of(end - length))?;
            if let Some(stamp) = chunk
                .rchunks_exact(RECORD_BYTES)
                .find_map(|s| self.decode(s))
            {
                return Ok(stamp);
            }
            end -= length;
        }
        Ok(self.base.after(1))
    }
}

/// The byte at which record `index` begins.
#[must_use]
pub const fn offset_of(index: u64) -> u64 {
    HEADER_BYTES as u64 + index * RECORD_BYTES as u64
}

/// The whole records in a file of `bytes`, as far as it may be a segment.
#[must_use]
pub const fn records_in(bytes: u64) -> u64 {
    let records = bytes.saturating_sub(HEADER_BYTES as u64) / RECORD_BYTES as u64;
    if records < RECORDS_MAX {
        records
    } else {
        RECORDS_MAX
    }
}

/// How far the valid records of a segment reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// Slots up to and including the last valid one.
    pub length: u64,
    /// Invalid slots before it.
    pub damaged: u64,
    /// The first of those.
    pub first_damaged: Option<u64>,
    /// The first valid record behind all of those, in ns after the base.
    pub damaged_until_ns: Option<u64>,
    /// The newest valid record, in ns after the base.
    pub last_offset_ns: u64,
}

/// A scan under way.
#[derive(Default)]
struct Scanner {
    scan: Scan,
    /// The slot behind those that were seen.
    index: u64,
    /// Invalid slots so far, and the first of them.
    holes: u64,
    first_hole: Option<u64>,
    /// A record that zeros behind it would turn into an empty slot with bits set.
    undecided: Option<u64>,
}

impl Scanner {
    fn record(&mut self, offset_ns: u64) {
        if self.scan.damaged < self.holes {
            self.scan.damaged_until_ns = Some(offset_ns);
        }
        self.scan.last_offset_ns = offset_ns;
        self.scan.length = self.index + 1;
        self.scan.damaged = self.holes;
        self.scan.first_damaged = self.first_hole;
        self.index += 1;
    }

    fn hole(&mut self) {
        self.holes += 1;
        self.first_hole.get_or_insert(self.index);
        self.index += 1;
    }

    /// Whether the slot before the next one is a valid record, or there is none.
    const fn follows_record(&self) -> bool {
        self.scan.length == self.index
    }

    fn see(&mut self, slot: &[u8], key: Key, offset_ns_max: u64) {
        if let Some(offset_ns) = self.undecided.take() {
            match slot.iter().all(|&byte| byte == 0) {
                true => self.hole(),
                false => self.record(offset_ns),
            }
        }
        match record::decode(slot, key) {
            Some(offset_ns)
                if offset_ns < self.scan.last_offset_ns || offset_ns > offset_ns_max =>
            {
                self.hole();
            }
            Some(offset_ns) if record::is_key_in_zeros(offset_ns, key) => {
                if self.follows_record() {
                    self.undecided = Some(offset_ns);
                } else {
                    self.hole();
                }
            }
            Some(offset_ns) => self.record(offset_ns),
            None => self.hole(),
        }
    }
}

/// Finds the last valid slot. A slot that goes back in time, or lies more than `offset_ns_max` behind the
/// base, is no record, whatever its check says; nor is one among zeros that has no bits but those of the
/// key.
///
/// # Errors
/// The file cannot be read.
pub fn scan<F: DiskFile>(
    file: &F,
    number: u64,
    records: u64,
    offset_ns_max: u64,
) -> io::Result<Scan> {
    let key = Key::of(number);
    let mut scanner = Scanner::default();
    for_each_slot(file, 0..records, |_, slot| {
        scanner.see(slot, key, offset_ns_max)
    })?;
    if let Some(offset_ns) = scanner.undecided.take() {
        scanner.record(offset_ns);
    }
    Ok(scanner.scan)
}

/// What lies behind the last valid record and no crash of tallyd leaves there. A crash leaves zeros, and in
/// a recycled file records of the segments whose file it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Slots next to the last record: damaged records, that keep their places.
    pub adjacent: u64,
    /// The first slot behind empty or recycled ones. Whether it was ever a record cannot be known.
    pub apart: Option<u64>,
}

/// The slots of one run of equal keys in a tail.
struct Run {
    key: Key,
    /// The first of them, as it would be with the segment's own key.
    offset_ns: u64,
    start: u64,
    count: u64,
}

/// Segments that a file may have served since a lone slot was written, and since several were: a file is
/// recycled when its segment is retired, so about as many as the journal has.
pub const RECYCLED_SLOT_AGE_MAX: u16 = 1 << 10;
const RECYCLED_RUN_AGE_MAX: u16 = 1 << 15;

impl Run {
    /// Whether one bit would make a single slot a record of segment `number` itself, no earlier than the last
    /// and no later than now: a flipped bit in the first two bytes of a record looks like another key.
    fn is_ambiguous(&self, number: u64, offsets_ns: &RangeInclusive<u64>) -> bool {
        let flipped = Key::of(number).flips(self.key);
        // Where the clock of another boot bounds nothing, every slot would be.
        self.count == 1
            && *offsets_ns.end() < u64::MAX
            && flipped.count_ones() == 1
            && offsets_ns.contains(&(self.offset_ns ^ u64::from(flipped) << 32))
    }

    /// Whether the slots are records of an earlier segment in the same file.
    fn is_recycled(&self, number: u64) -> bool {
        let age_max = match self.count {
            1 => RECYCLED_SLOT_AGE_MAX,
            _ => RECYCLED_RUN_AGE_MAX,
        };
        let age = Key::of(number).since(self.key);
        (1..=age_max).contains(&age) && u64::from(age) <= number
    }
}

impl Tail {
    /// Reads the slots of segment `number` from the end of `scan` up to `records`. No record of it can lie
    /// more than `offset_ns_max` behind the base.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read<F: DiskFile>(
        file: &F,
        number: u64,
        scan: &Scan,
        records: u64,
        offset_ns_max: u64,
    ) -> io::Result<Self> {
        let key = Key::of(number);
        let offsets_ns = scan.last_offset_ns.max(1)..=offset_ns_max;
        let mut tail = Self::default();
        let mut holds_recycled = false;
        let mut run: Option<Run> = None;
        for_each_slot(file, scan.length..records, |index, slot| {
            let found = match record::classify(slot, key) {
                // Records of a batch that was rejected and could not be truncated.
                Slot::Record(offset_ns) if offset_ns < scan.last_offset_ns => None,
                Slot::Record(offset_ns) if record::is_key_in_zeros(offset_ns, key) => {
                    tail.apart.get_or_insert(index);
                    None
                }
                Slot::Record(_) => Some(key),
                Slot::Other(other) => Some(other),
                Slot::Empty { stray } => {
                    if stray {
                        tail.apart.get_or_insert(index);
                    }
                    None
                }
            };
            match (&mut run, found) {
                (Some(run), Some(key)) if run.key == key => run.count += 1,
                _ => {
                    holds_recycled |= tail.end_run(run.take(), number, scan, &offsets_ns);
                    run = found.map(|key| Run {
                        key,
                        offset_ns: record::offset_of(slot),
                        start: index,
                        count: 1,
                    });
                }
            }
        })?;
        holds_recycled |= tail.end_run(run, number, scan, &offsets_ns);
        if holds_recycled && tail.adjacent > 0 {
            // It may as well be a damaged record of an earlier segment: no hit is made up.
            tail = Self {
                adjacent: 0,
                apart: Some(scan.length),
            };
        }
        Ok(tail)
    }

    /// Reads the slots of a sealed segment behind its records. There may also be records of its own that were
    /// rejected and could not be truncated.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_sealed<F: DiskFile>(
        file: &F,
        number: u64,
        stored: u64,
        records: u64,
    ) -> io::Result<Self> {
        let sealed = Scan {
            length: stored,
            last_offset_ns: u64::MAX,
            ..Scan::default()
        };
        Self::read(file, number, &sealed, records, u64::MAX)
    }

    /// Takes a run that has ended; whether it is of an earlier segment in the same file.
    fn end_run(
        &mut self,
        run: Option<Run>,
        number: u64,
        scan: &Scan,
        offsets_ns: &RangeInclusive<u64>,
    ) -> bool {
        let Some(run) = run else {
            return false;
        };
        if run.is_recycled(number) {
            if run.is_ambiguous(number, offsets_ns) {
                self.apart.get_or_insert(run.start);
            }
            return true;
        }
        if run.start == scan.length + self.adjacent {
            self.adjacent += run.count;
        } else {
            self.apart.get_or_insert(run.start);
        }
        false
    }
}

/// Calls `see` with each slot of `range` and its index.
fn for_each_slot<F: DiskFile>(
    file: &F,
    range: std::ops::Range<u64>,
    mut see: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut bytes = [0_u8; CHUNK_RECORDS * RECORD_BYTES];
    let mut index = range.start;
    while index < range.end {
        let length = (range.end - index).min(CHUNK_RECORDS as u64) as usize;
        read_full(file, &mut bytes[..length * RECORD_BYTES], offset_of(index))?;
        for slot in bytes[..length * RECORD_BYTES].chunks_exact(RECORD_BYTES) {
            see(index, slot);
            index += 1;
        }
    }
    Ok(())
}

/// Reads until `bytes` is full; what lies behind the end of the file reads as zeros, which no check
/// passes.
///
/// # Errors
/// The operating system's.
pub fn read_full<F: DiskFile>(file: &F, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    let mut interruptions = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => {
                bytes[done..].fill(0);
                break;
            }
            Ok(more) => done += more,
            Err(cause) => interrupted(cause, &mut interruptions)?,
        }
    }
    Ok(())
}

/// Writes all of `bytes`.
///
/// # Errors
/// The operating system's; part of the bytes may have been written then.
pub fn write_full<F: DiskFile>(file: &F, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    let mut interruptions = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => done += more,
            Err(cause) => interrupted(cause, &mut interruptions)?,
        }
    }
    Ok(())
}

fn interrupted(cause: io::Error, interruptions: &mut u32) -> io::Result<()> {
    *interruptions += 1;
    if cause.kind() == io::ErrorKind::Interrupted && *interruptions <= INTERRUPTIONS_MAX {
        return Ok(());
    }
    Err(cause)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How often the test on this thread has read.
        pub static READS: Cell<u64> = const { Cell::new(0) };
    }

    /// A file that is only read.
    pub struct Bytes(Vec<u8>);

    /// The file of a segment with records at these distances from its base, and no header.
    pub fn file(number: u64, offsets_ns: &[u64]) -> Bytes {
        let mut bytes = vec![0; HEADER_BYTES];
        for &offset_ns in offsets_ns {
            bytes.extend_from_slice(&record::encode(offset_ns, Key::of(number)));
        }
        Bytes(bytes)
    }

    impl DiskFile for Bytes {
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            READS.set(READS.get() + 1);
            let inside = self.0.get(offset as usize..).unwrap_or_default();
            let length = bytes.len().min(inside.len());
            bytes[..length].copy_from_slice(&inside[..length]);
            Ok(length)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            unreachable!("nothing is written")
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("nothing is cut")
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("nothing is synced")
        }
    }

    /// Length, damaged and first damaged slot, newest record, and how many reads they took.
    fn scanned(offsets_ns: &[u64], records: u64) -> (u64, u64, Option<u64>, u64, u64) {
        READS.set(0);
        let scan = scan(&file(5, offsets_ns), 5, records, u64::MAX).expect("it can be read");
        let reads = READS.get();
        (
            scan.length,
            scan.damaged,
            scan.first_damaged,
            scan.last_offset_ns,
            reads,
        )
    }

    /// A file of segment `number` with these slots.
    fn slots(number: u64, slots: &[Slot]) -> (u64, Bytes, u64) {
        let mut bytes = vec![0; HEADER_BYTES];
        for slot in slots {
            bytes.extend_from_slice(&match *slot {
                Slot::Record(offset_ns) => record::encode(offset_ns, Key::of(number)),
                Slot::Other(key) => record::encode(0x1234_5678_9abc, key),
                Slot::Empty { stray: false } => [0; 8],
                Slot::Empty { stray: true } => [0, 0, 0, 0, 0, 0, 4, 0],
            });
        }
        (number, Bytes(bytes), slots.len() as u64)
    }

    const EMPTY: Slot = Slot::Empty { stray: false };

    /// How long the scan of such a file is, and what its tail is found to hold.
    fn tail_of(number: u64, given: &[Slot]) -> (u64, Tail) {
        let (number, file, records) = slots(number, given);
        let scan = scan(&file, number, records, 1_000).expect("it can be read");
        let tail = Tail::read(&file, number, &scan, records, 1_000).expect("it can be read");
        (scan.length, tail)
    }

    #[test]
    fn what_a_crash_leaves_behind_the_last_record_is_explained() {
        let (old, older) = (Slot::Other(Key::of(1999)), Slot::Other(Key::of(3)));
        let record = Slot::Record(5);
        for given in [
            &[record][..],
            &[record, EMPTY, EMPTY],
            &[record, old],
            &[record, EMPTY, old, old, EMPTY],
            &[record, older, older, old],
            // Of a batch that was rejected.
            &[record, Slot::Record(4), old],
        ] {
            assert_eq!(tail_of(2000, given), (1, Tail::default()), "{given:?}");
        }
    }

    #[test]
    fn a_slot_next_to_the_last_record_that_no_crash_explains_is_a_damaged_record() {
        let rotten = Slot::Other(Key::of(2001));
        let (record, future) = (Slot::Record(5), Slot::Record(1_001));
        for (given, adjacent) in [
            (&[record, rotten][..], 1),
            (&[record, Slot::Other(Key::of(3))], 1),
            (&[record, rotten, Slot::Other(Key::of(2007))], 2),
            (&[record, future], 1),
            (&[record, rotten, EMPTY], 1),
        ] {
            let apart = None;
            assert_eq!(
                tail_of(2000, given),
                (1, Tail { adjacent, apart }),
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_slot_behind_empty_ones_that_no_crash_explains_is_no_record() {
        let (rotten, record) = (Slot::Other(Key::of(2001)), Slot::Record(5));
        let old = Slot::Other(Key::of(1999));
        let stray = Slot::Empty { stray: true };
        for (given, first) in [
            (&[record, EMPTY, rotten][..], 2),
            (&[record, stray, EMPTY], 1),
            (&[record, rotten, old, old], 1),
            (&[record, EMPTY, EMPTY, Slot::Record(1_001), EMPTY], 3),
        ] {
            let (adjacent, apart) = (0, Some(first));
            assert_eq!(
                tail_of(2000, given),
                (1, Tail { adjacent, apart }),
                "{given:?}"
            );
        }
    }

    #[test]
    fn one_bit_in_zeros_that_passes_the_check_is_no_record() {
        let in_zeros = Slot::Record(4 << 32);
        let scanned = |given: &[Slot]| {
            let (number, file, records) = slots(4, given);
            scan(&file, number, records, u64::MAX).map(|scan| scan.length)
        };
        let record = Slot::Record(5);
        for (given, length) in [
            (&[record, EMPTY, in_zeros, EMPTY][..], 1),
            (&[record, EMPTY, in_zeros], 1),
            (&[record, in_zeros, EMPTY], 1),
            (&[in_zeros, EMPTY], 0),
            // A hit may have come at that very nanosecond.
            (&[record, in_zeros], 2),
            (&[record, in_zeros, Slot::Record(5 << 32)], 3),
            (&[record, in_zeros, Slot::Other(Key::of(3)), EMPTY], 2),
        ] {
            assert_eq!(scanned(given).ok(), Some(length), "{given:?}");
        }
    }

    #[test]
    fn a_record_beyond_the_bound_is_not_believed() {
        let (_, file, records) = slots(4, &[Slot::Record(5), Slot::Record(1_001), Slot::Record(6)]);
        let found = scan(&file, 4, records, 1_000).expect("it can be read");
        assert_eq!(
            (found.length, found.damaged, found.last_offset_ns),
            (3, 1, 6)
        );
        assert_eq!(found.damaged_until_ns, Some(6));
    }

    #[test]
    fn a_scan_looks_no_further_than_it_is_told() {
        let offsets_ns: Vec<_> = (1..=1500).collect();
        for records in [1_u64, 512, 513, 600, 1023, 1024, 1500] {
            let reads = records.div_ceil(512);
            let expected = (records, 0, None, records, reads);
            assert_eq!(scanned(&offsets_ns, records), expected);
        }
        assert_eq!(scanned(&offsets_ns, 0), (0, 0, None, 0, 0));
    }

    #[test]
    fn a_slot_that_goes_back_in_time_is_no_record() {
        assert_eq!(scanned(&[5, 5, 4, 6, 2, 7], 6), (6, 2, Some(2), 7, 1));
        assert_eq!(scanned(&[5, 4, 3], 3), (1, 0, None, 5, 1));
    }
}

//! One segment: where it stands in the journal, and how its records are read.
//!
//! Owns the loops around short reads and writes, and the rule for damage: a record that fails its
//! check keeps its place and takes the time of its nearest earlier valid neighbour, or of the first
//! hit, which the base tells, if there is none. Places behind the end of the file (lost records) are damaged in the same way.
//!
//! Must not know of other segments. Invariant: stamps never decrease with the position.

use super::disk::{Disk, DiskFile};
use super::record::{self, HEADER_BYTES, Key, RECORD_BYTES};
use super::{TURN_HITS_MAX, name};
use crate::error::{Error, Result};
use crate::stamp::Stamp;
use std::io;

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
                Some(stamp) => stamp,
                None => {
                    let first = index + stamps.len() as u64;
                    damage.get_or_insert(Damage { first, count: 0 }).count += 1;
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
    /// The newest valid record, in ns after the base.
    pub last_offset_ns: u64,
}

/// Finds the last valid slot. A slot that goes back in time is no record, whatever its check says.
///
/// # Errors
/// The file cannot be read.
pub fn scan<F: DiskFile>(file: &F, number: u64, records: u64) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut bytes = [0_u8; CHUNK_RECORDS * RECORD_BYTES];
    let (mut index, mut holes, mut first_hole) = (0, 0, None);
    while index < records {
        let length = (records - index).min(CHUNK_RECORDS as u64) as usize;
        read_full(file, &mut bytes[..length * RECORD_BYTES], offset_of(index))?;
        for slot in bytes[..length * RECORD_BYTES].chunks_exact(RECORD_BYTES) {
            match record::decode(slot, Key::of(number)) {
                Some(offset_ns) if offset_ns >= scan.last_offset_ns => {
                    scan.last_offset_ns = offset_ns;
                    scan.length = index + 1;
                    scan.damaged = holes;
                    scan.first_damaged = first_hole;
                }
                _ => {
                    holes += 1;
                    first_hole.get_or_insert(index);
                }
            }
            index += 1;
        }
    }
    Ok(scan)
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
        let scan = scan(&file(5, offsets_ns), 5, records).expect("it can be read");
        let reads = READS.get();
        (
            scan.length,
            scan.damaged,
            scan.first_damaged,
            scan.last_offset_ns,
            reads,
        )
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

//! A journal that somebody else may be writing, seen from outside: no lock is taken and nothing is
//! changed.
//!
//! Owns how a moving directory is read. Numbers are never used again, so a survey between two equal
//! lists of names has seen every file as one and the same; what it finds amiss must be found twice,
//! since a turn may have been on its way. A segment that is retired and recycled later on fails the
//! check of every record that was overwritten, and bears another header before that: whoever meets
//! damage, and every search, asks the header once more.
//!
//! Must not know what is asked. Invariant: what comes out was flushed when it was looked for, or is
//! [`Missed::Retired`].

use super::disk::Disk;
use super::record::{self, HEADER_BYTES, Header, Key, RECORD_BYTES};
use super::recover::{Settled, complete_after, place, settle};
use super::search::Bound;
use super::segment::{CHUNK_RECORDS, Damage, Segment, Tail, offset_of, read_full, records_in};
use super::survey::{Access, Present, list};
use crate::error::{Error, Result};
use crate::stamp::{Anchor, BootId, Stamp};
use std::io::{self, ErrorKind};

/// Surveys in a row that may be overtaken by a rotation before giving up.
const SURVEYS_MAX: u32 = 1000;

/// What there was in a directory at one instant.
#[derive(Debug)]
pub struct View<'a, D> {
    disk: &'a D,
    /// The segments, oldest first.
    pub parts: Vec<Part>,
    /// Lifetime count of hits.
    pub end: u64,
    /// Every hit with a later stamp is in the parts.
    pub complete_after: Stamp,
    /// Records at or before this instant may be placed or counted wrongly: a number whose span begins
    /// before it is estimated. [`Stamp::MIN`] if there is no doubt.
    pub doubtful_until: Stamp,
    /// The same, of what damage alone leaves in doubt.
    pub damaged_until: Stamp,
    /// Bytes behind the newest record: what a kill tore, or what a recycled file still holds.
    pub tail_bytes: u64,
    /// What is wrong with the segments as such, one line each with file and position.
    pub findings: Vec<String>,
    /// The names of segments that were set aside by an earlier start.
    pub aside: Vec<String>,
}

/// One segment of a [`View`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it stands.
    pub segment: Segment,
    /// What it says of itself.
    pub header: Header,
    bytes_of_header: [u8; HEADER_BYTES],
    /// The name of its file.
    file: String,
    /// The length of its file, as it was listed.
    bytes: u64,
}

/// Why something could not be read.
#[derive(Debug)]
pub enum Missed {
    /// The segment was retired meanwhile: a new view knows more.
    Retired,
    /// A failure.
    Failed(Error),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a, D: Disk> View<'a, D> {
    /// Looks into `disk`; `now` is asked afterwards, so that no record lies in the future.
    ///
    /// # Errors
    /// The directory cannot be read, or what is there cannot be told apart.
    pub fn open(disk: &'a D, boot: BootId, now: impl Fn() -> Anchor) -> Result<Self> {
        let mut amiss = None;
        for _ in 0..SURVEYS_MAX {
            let present = Present { boot, now: &now };
            let settled = settle(disk, Access::Look, present);
            let listed = list(disk)?;
            let found = match &settled {
                Ok(settled) if names(&settled.listed) != names(&listed) => continue,
                Ok(settled) => format!("{:?} {}", settled.findings, settled.damaged_count),
                Err(error) if is_missing(error) => continue,
                Err(error) => error.to_string(),
            };
            let sound = matches!(&settled, Ok(settled) if settled.damaged_count == 0 && settled.findings.is_empty());
            if sound || amiss.as_ref() == Some(&found) {
                return settled.map(|settled| Self::of(disk, settled, boot, now()));
            }
            amiss = Some(found);
        }
        let cause = format!("changed under {SURVEYS_MAX} looks in a row");
        Err(Error::found(disk.path(""), cause))
    }

    fn of(disk: &'a D, settled: Settled, boot: BootId, now: Anchor) -> Self {
        let (segments, placed, damaged_until) = place(&settled, boot, now);
        let complete_after = complete_after(&segments, settled.end, now.at);
        let aside = settled.listed.iter().map(|(name, _)| name);
        let aside: Vec<_> = aside
            .filter(|name| name.ends_with(".aside"))
            .cloned()
            .collect();
        let found = settled.found.into_iter();
        let parts = segments
            .into_iter()
            .zip(found)
            .map(|(segment, found)| Part {
                segment,
                header: found.header,
                bytes_of_header: found.bytes_of_header,
                file: found.file,
                bytes: found.bytes,
            });
        let aside = aside.iter().map(|name| disk.path(name)).collect();
        Self {
            disk,
            parts: parts.collect(),
            end: settled.end,
            complete_after,
            doubtful_until: placed.doubtful_until,
            damaged_until,
            tail_bytes: settled.trimmed_bytes,
            findings: settled.findings,
            aside,
        }
    }

    /// The position of the oldest record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.parts
            .first()
            .map_or(self.end, |part| part.segment.sequence)
    }

    /// The position behind the last record with a stamp of at most `stamp`.
    ///
    /// # Errors
    /// The segment it lies in cannot be read, or was retired.
    pub fn upper_bound(&self, stamp: Stamp) -> Result<Bound, Missed> {
        let index = self
            .parts
            .partition_point(|part| part.segment.last <= stamp);
        match self.parts.get(index) {
            Some(part) if index > 0 && stamp <= part.segment.base => {
                let before = &self.parts[index - 1].segment;
                Ok(before.end_bound().behind(before.sequence))
            }
            Some(part) => {
                let bound = self.open_part(part)?.upper_bound(stamp)?;
                Ok(bound.behind(part.segment.sequence))
            }
            None => Ok(Bound {
                position: self.end,
                is_exact: self
                    .parts
                    .last()
                    .is_none_or(|newest| !newest.segment.ends_damaged),
            }),
        }
    }

    /// Opens the file of `part`.
    ///
    /// # Errors
    /// It cannot be opened, or was retired.
    pub fn open_part<'p>(&self, part: &'p Part) -> Result<OpenPart<'p, D>, Missed> {
        let path = self.disk.path(&part.file);
        let file = match self.disk.open(&part.file) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Err(Missed::Retired),
            Err(cause) => return Err(Error::io("open", path, cause).into()),
        };
        let open = OpenPart { part, path, file };
        open.still()?;
        Ok(open)
    }
}

impl Part {
    /// What the wall clock showed at `stamp`, by this segment's anchor, in ns since 1970.
    #[must_use]
    pub const fn wall_at(&self, stamp: Stamp) -> i64 {
        let anchor = Anchor {
            at: self.segment.base,
            wall_ns: self.header.wall_ns,
        };
        anchor.wall_at(stamp)
    }

    /// The instant at which the wall clock showed `wall_ns`, by this segment's anchor.
    #[must_use]
    pub const fn at_wall(&self, wall_ns: i64) -> Stamp {
        let since_ns = wall_ns.saturating_sub(self.header.wall_ns);
        Stamp::from_ns(self.segment.base.ns().saturating_add(since_ns))
    }
}

/// An open file of a [`Part`].
pub struct OpenPart<'p, D: Disk> {
    part: &'p Part,
    path: String,
    file: D::File,
}

impl<D: Disk> OpenPart<'_, D> {
    /// How people call its file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many records have a stamp of at most `stamp`.
    ///
    /// # Errors
    /// The file cannot be read, or was retired.
    pub fn upper_bound(&self, stamp: Stamp) -> Result<Bound, Missed> {
        let bound = self.part.segment.upper_bound(&self.file, stamp);
        let bound = bound.map_err(|cause| self.failed(cause))?;
        // A search takes a record that fails its check for a damaged one.
        self.still()?;
        Ok(bound)
    }

    /// Reads the stamps from record `index` on, at most a chunk, as [`Segment::read`] has them.
    ///
    /// # Errors
    /// The file cannot be read, or was retired.
    pub fn read(&self, index: u64, stamps: &mut Vec<Stamp>) -> Result<Option<Damage>, Missed> {
        let damage = self.part.segment.read(&self.file, index, stamps);
        let damage = damage.map_err(|cause| self.failed(cause))?;
        if damage.is_some() {
            self.still()?;
        }
        Ok(damage)
    }

    /// Reads the records in the file from `index` on, at most a chunk, as they are: ns after the
    /// base, or nothing for one that fails its check.
    ///
    /// # Errors
    /// The file cannot be read, or was retired.
    pub fn slots(&self, index: u64, slots: &mut Vec<Option<u64>>) -> Result<(), Missed> {
        let mut bytes = [0_u8; CHUNK_RECORDS * RECORD_BYTES];
        let left = self.part.segment.stored.saturating_sub(index);
        let bytes = &mut bytes[..left.min(CHUNK_RECORDS as u64) as usize * RECORD_BYTES];
        read_full(&self.file, bytes, offset_of(index)).map_err(|cause| self.failed(cause))?;
        let key = Key::of(self.part.segment.number);
        slots.clear();
        slots.extend(
            bytes
                .chunks_exact(RECORD_BYTES)
                .map(|slot| record::decode(slot, key)),
        );
        if slots.contains(&None) {
            self.still()?;
        }
        Ok(())
    }

    /// The first slot behind the records of a sealed segment that no crash leaves there, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or was retired.
    pub fn stray_behind(&self) -> Result<Option<u64>, Missed> {
        let Segment { number, stored, .. } = self.part.segment;
        let records = records_in(self.part.bytes);
        let tail = Tail::read_sealed(&self.file, number, stored, records);
        let tail = tail.map_err(|cause| self.failed(cause))?;
        let first = tail.apart.or((tail.adjacent > 0).then_some(stored));
        if first.is_some() {
            self.still()?;
        }
        Ok(first)
    }

    /// Asserts that the file is the segment's still.
    fn still(&self) -> Result<(), Missed> {
        let mut header = [0; HEADER_BYTES];
        read_full(&self.file, &mut header, 0).map_err(|cause| self.failed(cause))?;
        if header == self.part.bytes_of_header {
            return Ok(());
        }
        Err(Missed::Retired)
    }

    fn failed(&self, cause: io::Error) -> Missed {
        Error::io("read", &self.path, cause).into()
    }
}

fn names(listed: &[(String, u64)]) -> Vec<&str> {
    listed.iter().map(|(name, _)| name.as_str()).collect()
}

fn is_missing(error: &Error) -> bool {
    let cause = error.io_error().map(io::Error::kind);
    cause == Some(ErrorKind::NotFound)
}

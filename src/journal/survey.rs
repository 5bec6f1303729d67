//! What lies in the directory: every file with a segment's number, and the header it bears.
//!
//! Owns the first look. A file either has a sound header of its own number, and is found, or is
//! unreadable for a cause; a file that was begun and never written is neither. The findings and
//! figures of a recovery are gathered here, and every change to the directory goes through here:
//! somebody who only looks changes nothing.
//!
//! Must not know how the segments hang together. Invariant: both lists are sorted by number.

use super::disk::{Disk, DiskFile};
use super::name;
use super::record::{HEADER_BYTES, Header, HeaderFault};
use super::segment::{Scan, read_full, records_in, scan};
use crate::error::{Error, Result};
use crate::stamp::{Anchor, BootId};
use std::io;

/// The most hits that a journal can have had: a million a second for 2 200 years.
const SEQUENCE_MAX: u64 = 1 << 56;

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Ours: what is torn or corrupt is put in order.
    Own,
    /// Somebody else's: nothing is changed.
    Look,
}

/// Until when numbers are estimated because of what is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing is wrong.
    None,
    /// Until the window has left the record that is so many ns after the base.
    UntilRecord(u64),
    /// Until the window has left the beginning of the next segment, or else the present instant.
    UntilNext,
}

/// The running boot, and its present instant.
pub struct Present<'a> {
    /// The boot.
    pub boot: BootId,
    /// Reads the clocks. They are read after a file, so that no record that was there lies in the future.
    pub now: &'a dyn Fn() -> Anchor,
}

/// A segment with a sound header, or with one that could be corrected.
pub struct Found {
    /// What it says of itself.
    pub header: Header,
    /// The header as it stands in the file.
    pub bytes_of_header: [u8; HEADER_BYTES],
    /// The name of the file it is in.
    pub file: String,
    /// The length of its file.
    pub bytes: u64,
    /// Places it holds.
    pub count: u64,
    /// Places that are in its file.
    pub stored: u64,
    /// The newest valid record, in ns after the base; the first hit, at 1, if there is none.
    pub last_offset_ns: u64,
    /// Whether the record in its last place is damaged or lost.
    pub ends_damaged: bool,
    /// What is wrong with it.
    pub doubt: Doubt,
}

impl Found {
    /// A segment as its file says, before its neighbours are asked.
    pub fn new(
        header: Header,
        bytes_of_header: [u8; HEADER_BYTES],
        file: String,
        bytes: u64,
    ) -> Self {
        let stored = records_in(bytes);
        Self {
            header,
            bytes_of_header,
            file,
            bytes,
            count: stored,
            stored,
            last_offset_ns: 1,
            ends_damaged: false,
            doubt: Doubt::None,
        }
    }

    /// The sequence number behind its last place.
    pub fn end(&self) -> u64 {
        self.header.sequence + self.count
    }
}

/// A segment whose header cannot be used.
pub struct Unreadable {
    /// The number in its name.
    pub number: u64,
    /// The name of its file.
    pub name: String,
    /// The length of its file.
    pub bytes: u64,
    /// Why it cannot be used.
    pub cause: String,
    /// The sound header it bears, of another number.
    pub bears: Option<Header>,
    /// The header as it is.
    pub header: [u8; HEADER_BYTES],
}

/// A recovery under way.
pub struct Survey<'a, D> {
    /// The directory.
    pub disk: &'a D,
    /// Whose it is.
    pub access: Access,
    /// When it is looked at.
    pub present: Present<'a>,
    /// Everything corrupt so far.
    pub findings: Vec<String>,
    /// Files, by their numbers, that were given up and could not be removed.
    pub leftover: Vec<u64>,
    /// The names, as they were listed, of files that were taken out of the journal and kept.
    pub unusable: Vec<String>,
    /// Bytes cut off so far.
    pub trimmed_bytes: u64,
    /// Damaged or lost records so far.
    pub damaged_count: u64,
}

/// Names and lengths of all files with a number, sorted by it.
pub fn list<D: Disk>(disk: &D) -> Result<Vec<(String, u64)>> {
    let mut listed = disk
        .list()
        .map_err(|cause| Error::io("list", disk.path(""), cause))?;
    listed.retain(|(name, _)| name::role(name) == name::Role::Segment);
    listed.sort();
    Ok(listed)
}

/// What of a header cannot be, though its check is right: what follows would leave no numbers.
fn impossible(header: &Header) -> Option<String> {
    let checks = [
        ("number", header.number, name::NUMBER_MAX),
        ("sequence", header.sequence, SEQUENCE_MAX),
    ];
    let found = checks.iter().find(|(_, found, most)| found > most);
    found.map(|(what, found, most)| {
        format!("{what} {found} is impossible, at most {most} is allowed")
    })
}

impl<D: Disk> Survey<'_, D> {
    /// Sets aside what has the name of a segment whose number is impossible, whatever is in it.
    pub fn set_strays_aside(&mut self, listed: &[(String, u64)]) {
        let strays = listed.iter().filter(|(name, _)| name::is_impossible(name));
        for (name, _) in strays {
            let most = name::segment(name::NUMBER_MAX);
            self.set_aside(
                name,
                &format!("its number is impossible, the last one is {most}"),
            );
        }
    }

    /// The error of an operation on the file `name`.
    pub fn failed(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error {
        let path = self.disk.path(name);
        move |cause| Error::io(operation, path, cause)
    }

    /// Opens the file `name`.
    pub fn open(&self, name: &str) -> Result<D::File> {
        self.disk.open(name).map_err(self.failed("open", name))
    }

    /// How far the valid records of segment `number` reach in the file `name`.
    pub fn scan(&self, name: &str, number: u64, records: u64) -> Result<Scan> {
        scan(&self.open(name)?, number, records, u64::MAX).map_err(self.failed("read", name))
    }

    /// Reads every header; removes what was begun and never written.
    pub fn read_headers(
        &mut self,
        listed: &[(String, u64)],
    ) -> Result<(Vec<Found>, Vec<Unreadable>)> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        // A directory with anything of a later version in it is left as it is: all is read first.
        let mut never_written = Vec::new();
        for (name, bytes) in listed {
            let Some(number) = name::number_of(name) else {
                continue;
            };
            let mut read = [0; HEADER_BYTES];
            read_full(&self.open(name)?, &mut read, 0).map_err(self.failed("read", name))?;
            let (cause, mut bears) = match Header::decode(&read) {
                Ok(header) if impossible(&header).is_some() => {
                    (impossible(&header).unwrap_or_default(), None)
                }
                Ok(header) if header.number == number => {
                    found.push(Found::new(header, read, name.clone(), *bytes));
                    continue;
                }
                Ok(header) => (
                    format!("header is that of {}", name::segment(header.number)),
                    Some(header),
                ),
                Err(fault @ (HeaderFault::FutureVersion(_) | HeaderFault::UnknownFlags(_))) => {
                    return Err(Error::found(self.disk.path(name), fault.to_string()));
                }
                Err(fault) => (fault.to_string(), None),
            };
            let blank = read == [0; HEADER_BYTES];
            // Header and first record reach the device together: where no record goes with it, the header was
            // never whole.
            if bears.is_none()
                && !blank
                && records_in(*bytes) > 0
                && let Some(header) = Header::correct(&read, number)
                && impossible(&header).is_none()
                && self.scan(name, header.number, records_in(*bytes))?.length > 0
            {
                if header.number == number {
                    let path = self.disk.path(name);
                    self.findings
                        .push(format!("{path}: {cause}; corrected by its checksum"));
                    found.push(Found::new(header, read, name.clone(), *bytes));
                    continue;
                }
                bears = Some(header);
            }
            if blank && self.scan(name, number, records_in(*bytes))?.length == 0 {
                never_written.push(name);
                continue;
            }
            let (name, bytes) = (name.clone(), *bytes);
            unreadable.push(Unreadable {
                number,
                name,
                bytes,
                cause,
                bears,
                header: read,
            });
        }
        for name in never_written {
            self.remove(name);
        }
        Ok((found, unreadable))
    }

    /// How far the records under the key of its name reach in a file that bears another header.
    pub fn count_own(&self, it: &Unreadable) -> Result<u64> {
        let scan = self.scan(&it.name, it.number, records_in(it.bytes))?;
        Ok(scan.length)
    }

    /// Gives a file the name that its header says.
    pub fn rename_to_own(&self, it: &Unreadable, header: Header) -> Result<Found> {
        let mut file = it.name.clone();
        if self.access == Access::Own {
            file = name::segment(header.number);
            self.disk
                .rename(&it.name, &file)
                .map_err(self.failed("rename", &it.name))?;
        }
        Ok(Found::new(header, it.header, file, it.bytes))
    }

    /// Removes a file that holds nothing. That it succeeds is no promise.
    pub fn remove(&self, name: &str) {
        if self.access == Access::Own {
            let _space = self.disk.remove(name);
        }
    }

    /// Cuts a file off behind its records. That it succeeds is no promise.
    pub fn trim(&self, name: &str, length: u64) {
        if self.access == Access::Own {
            let _space = self.disk.open(name).and_then(|file| file.set_len(length));
        }
    }

    /// Removes a file in which nothing counts, and remembers it if that fails.
    pub fn give_up(&mut self, number: u64, name: &str) {
        if self.access == Access::Own && self.disk.remove(name).is_err() {
            self.leftover.push(number);
        }
    }

    /// Takes a file out of the journal and keeps it.
    pub fn set_aside(&mut self, name: &str, cause: &str) {
        let to = name::aside(name);
        let done = match self.access {
            Access::Look => String::new(),
            Access::Own if self.disk.rename(name, &to).is_ok() => format!("; set aside as {to}"),
            Access::Own => "; left where it is".to_owned(),
        };
        self.findings
            .push(format!("{}: {cause}{done}", self.disk.path(name)));
        self.unusable.push(name.to_owned());
    }
}

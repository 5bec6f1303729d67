//! Directory -> journal, at start: headers and one segment are read, never the whole window.
//!
//! Owns the table of verdicts:
//!
//! | found | verdict |
//! |---|---|
//! | a blank header and no record under its number's key | torn: begun and never written; removed |
//! | above all others, with a header from below all others and no record under its own key | torn: recycled and never written; removed, or renamed back if it is alone |
//! | with a header from above all others | torn: recycled and written, the new name was lost; renamed, and what is below it was retired: removed |
//! | a sound header of a future version, or with unknown flags | refuse to start; nothing is changed |
//! | a damaged header that its checksum or its neighbours determine | corrupt: corrected and reported |
//! | a header of which only the checksum is damaged, and that fits its neighbours | corrupt: taken as it stands; estimated |
//! | any other unreadable header, or one of another number | corrupt: set aside; its places are kept; estimated |
//! | behind the last valid slot of the newest segment, zeros and records of earlier segments in the same file | torn: trimmed |
//! | next to the last valid slot, any other bytes, and a single record later than now | corrupt: damaged records, as below |
//! | further behind, any other bytes | corrupt: not counted, kept and reported; estimated |
//! | a damaged record before that | corrupt: keeps its place, takes its earlier neighbour's time; estimated |
//! | a segment shorter than the next header says (lost records, a missing segment) | corrupt: same |
//! | records behind the next header's sequence number | refused while they were written: cut off |
//! | a header that begins before its predecessor does, same boot | the same: the predecessor is removed |
//! | the same with another boot | foreign if its neighbours fit without it: set aside; else refuse |
//! | the oldest segment does not begin with the first hit ever | complete only after its base |
//!
//! Removing, trimming and setting aside save space and time; that they succeed is no promise, so the
//! same verdicts come out of a directory that cannot be written to.
//!
//! Must not know of windows. Invariant: what comes out is sorted by number, sequence and stamp.

use super::boots::{self, Placed, offset_ns_max, sealed_offset_ns_max};
use super::disk::Disk;
use super::name;
use super::record::Header;
use super::segment::{Segment, Tail, offset_of, records_in, scan};
use super::survey::{Access, Doubt, Found, Present, Survey, Unreadable, list};
use crate::error::{Error, Result};
use crate::stamp::{Anchor, BootId, Stamp};

/// What was found at start.
#[derive(Debug)]
pub struct Recovered {
    /// The segments, oldest first.
    pub segments: Vec<Segment>,
    /// Lifetime count of hits.
    pub end: u64,
    /// Hits from this position on may have been written in the running boot: nobody may have synced them.
    pub this_boot_from: u64,
    /// A number above every number ever used.
    pub next_number: u64,
    /// Every hit with a later stamp is in the segments.
    pub complete_after: Stamp,
    /// Numbers of files that were given up and could not be removed.
    pub leftover: Vec<u64>,
    /// Bytes cut off behind the newest valid record.
    pub trimmed_bytes: u64,
    /// Places whose records are damaged or lost, as far as recovery has read.
    pub damaged_count: u64,
    /// Records at or before this instant may be placed or counted wrongly: a number whose span begins
    /// before it is estimated. [`Stamp::MIN`] if there is no doubt.
    pub doubtful_until: Stamp,
    /// The same, of what damage alone leaves in doubt: a later start may find no trace of it.
    pub damaged_until: Stamp,
    /// Everything corrupt, one line each with file and position.
    pub findings: Vec<String>,
    /// The names of files that were set aside, now or by an earlier start.
    pub quarantined: Vec<String>,
}

impl Recovered {
    /// Hits recovered.
    #[must_use]
    pub fn hit_count(&self) -> u64 {
        self.segments.iter().map(|segment| segment.count).sum()
    }
}

/// What lies in a directory, before it is placed on anybody's line.
pub struct Settled {
    /// The segments, oldest first.
    pub found: Vec<Found>,
    /// Every file with a number, as it was listed.
    pub listed: Vec<(String, u64)>,
    /// Lifetime count of hits.
    pub end: u64,
    /// Bytes behind the newest valid record.
    pub trimmed_bytes: u64,
    /// Places whose records are damaged or lost, as far as was read.
    pub damaged_count: u64,
    /// Everything corrupt, one line each with file and position.
    pub findings: Vec<String>,
    /// Whether a file behind the newest segment had to be set aside, whose hits cannot be known.
    ends_unknown: bool,
    /// A number above every number ever used.
    next_number: u64,
    /// Numbers of files that were given up and could not be removed.
    leftover: Vec<u64>,
    /// The names of segments that could not be used, as they were listed.
    unusable: Vec<String>,
}

impl Settled {
    /// The names of the files that are set aside, whether by this look or before.
    pub fn quarantined<D: Disk>(&self, disk: &D, access: Access) -> Vec<String> {
        let now = self.unusable.iter().map(|name| {
            let to = name::aside(name);
            let is_renamed = access == Access::Own && disk.open(&to).is_ok();
            if is_renamed { to } else { name.clone() }
        });
        let before = self.listed.iter().map(|(name, _)| name);
        let before =
            before.filter(|name| name::number_of(name).is_none() && !self.unusable.contains(name));
        before.cloned().chain(now).collect()
    }
}

/// Reads the directory.
///
/// # Errors
/// It cannot be read, or what is there cannot be told apart; the message names file and cause.
pub fn recover<D: Disk>(disk: &D, boot: BootId, now: Anchor) -> Result<Recovered> {
    let present = Present { boot, now: &|| now };
    let settled = settle(disk, Access::Own, present)?;
    let (segments, placed, damaged_until) = place(&settled, boot, now);
    let this_boot = settled.found.get(placed.running_from);
    let this_boot_from = this_boot.map_or(settled.end, |found| found.header.sequence);
    let quarantined = settled.quarantined(disk, Access::Own);
    if !settled.unusable.is_empty() {
        // Otherwise a power cut may take the new names back, and the next start reports the files once more.
        let _durable = disk.sync();
    }
    Ok(Recovered {
        complete_after: complete_after(&segments, settled.end, now.at),
        segments,
        end: settled.end,
        this_boot_from,
        next_number: settled.next_number,
        leftover: settled.leftover,
        trimmed_bytes: settled.trimmed_bytes,
        damaged_count: settled.damaged_count,
        doubtful_until: placed.doubtful_until,
        damaged_until,
        findings: settled.findings,
        quarantined,
    })
}

/// Reads headers and the newest segment, and settles what belongs to the journal and what does not.
///
/// # Errors
/// As [`recover`] has them.
pub fn settle<D: Disk>(disk: &D, access: Access, present: Present<'_>) -> Result<Settled> {
    let mut survey = Survey {
        disk,
        access,
        present,
        findings: Vec::new(),
        leftover: Vec::new(),
        unusable: Vec::new(),
        trimmed_bytes: 0,
        damaged_count: 0,
    };
    let listed = list(disk)?;
    let (mut found, mut unreadable) = survey.read_headers(&listed)?;
    survey.settle_recycled(&mut found, &mut unreadable)?;
    survey.set_strays_aside(&listed);
    // What no header confirms must leave room for numbers to come.
    let next_number = listed
        .iter()
        .filter_map(|(name, _)| name::used_number_of(name))
        .filter(|number| *number <= name::NUMBER_MAX / 2)
        .chain(found.iter().map(|found| found.header.number))
        .max()
        .map_or(0, |highest| highest + 1);
    if next_number > name::NUMBER_MAX {
        let last = name::segment(name::NUMBER_MAX);
        let cause = "is the last segment there can be (move it away to go on)";
        return Err(Error::found(disk.path(&last), cause));
    }
    survey.correct_by_neighbours(&mut found, &mut unreadable)?;
    for unreadable in &unreadable {
        survey.set_aside(&unreadable.name, &unreadable.cause);
    }
    survey.settle_order(&mut found)?;
    survey.settle_lengths(&mut found)?;
    survey.scan_newest(&mut found)?;
    let newest = found.last().map(|newest| newest.header.number);
    let ends_unknown = unreadable
        .iter()
        .any(|it| newest.is_none_or(|newest| it.number > newest));
    let mut end = found.last().map_or(0, Found::end);
    let lost = survey.count_unreadable_newest(&found, &listed, &unreadable)?;
    end += lost;
    if let Some(newest) = found.last_mut().filter(|_| lost > 0) {
        newest.count += lost;
        newest.ends_damaged = true;
        newest.doubt = Doubt::UntilNext;
    }
    Ok(Settled {
        found,
        listed,
        end,
        trimmed_bytes: survey.trimmed_bytes,
        damaged_count: survey.damaged_count,
        findings: survey.findings,
        ends_unknown,
        next_number,
        leftover: survey.leftover,
        unusable: survey.unusable,
    })
}

/// The segments on the line of the running `boot`, which is at `now`; how surely they lie there; and until when
/// damage alone leaves them in doubt.
pub fn place(settled: &Settled, boot: BootId, now: Anchor) -> (Vec<Segment>, Placed, Stamp) {
    let found = &settled.found;
    let headers: Vec<_> = found
        .iter()
        .map(|found| (found.header, found.last_offset_ns))
        .collect();
    let mut placed = boots::place(&headers, boot, now);
    let mut segments: Vec<Segment> = Vec::with_capacity(found.len());
    // Order is what everything rests on, whatever was damaged.
    let mut earlier = Stamp::MIN;
    for (found, base) in found.iter().zip(&placed.bases) {
        // A base is one before its first stamp, and that may equal the last one before it.
        let base = (*base).max(earlier.before(1));
        // Nor does one without records end before its predecessor.
        let last = base.after(found.last_offset_ns).max(earlier);
        let Header {
            number, sequence, ..
        } = found.header;
        segments.push(Segment {
            number,
            sequence,
            count: found.count,
            stored: found.stored,
            base,
            last,
            ends_damaged: found.ends_damaged,
        });
        earlier = last;
    }
    let mut damaged_until = Stamp::MIN;
    for (index, found) in found.iter().enumerate() {
        let until = match found.doubt {
            Doubt::None => continue,
            Doubt::UntilRecord(offset_ns) => segments[index].base.after(offset_ns),
            Doubt::UntilNext => segments
                .get(index + 1)
                .map_or(now.at, |next| next.base.after(1)),
        };
        damaged_until = damaged_until.max(until);
    }
    if settled.ends_unknown {
        damaged_until = now.at;
    }
    placed.doubtful_until = placed.doubtful_until.max(damaged_until);
    (segments, placed, damaged_until)
}

/// The instant after which every hit is in `segments`, given the lifetime count.
pub fn complete_after(segments: &[Segment], end: u64, now: Stamp) -> Stamp {
    match segments.first() {
        // What was before may have hits at the very instant of the first that is left.
        Some(oldest) if oldest.sequence > 0 => oldest.base.after(1),
        None if end > 0 => now,
        _ => Stamp::MIN,
    }
}

/// The lowest file that was recycled and written, and whose new name was lost; with its header.
fn lost_name(found: &[Found], unreadable: &[Unreadable]) -> Option<(usize, Header)> {
    let newest = found.last().map_or(0, |newest| newest.header.number);
    let is_free = |number| unreadable.iter().all(|other| other.number != number);
    let borne = unreadable.iter().enumerate().filter_map(|(index, it)| {
        let header = it.bears?;
        let is_lost = header.number > it.number.max(newest) && is_free(header.number);
        is_lost.then_some((index, header))
    });
    borne.min_by_key(|(_, header)| header.number)
}

impl<D: Disk> Survey<'_, D> {
    /// Settles what a crash leaves of a rotation: the spare under its new name and never written to,
    /// or written to and back under its old name.
    fn settle_recycled(
        &mut self,
        found: &mut Vec<Found>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<()> {
        let oldest = found.first().map(|oldest| oldest.header.number);
        let newest = found.last().map(|newest| newest.header.number);
        if let Some(last) = unreadable.last()
            && let Some(header) = last.bears
            && header.number < oldest.unwrap_or(last.number)
            && newest.is_none_or(|newest| last.number > newest)
            && self.count_own(last)? == 0
        {
            if found.is_empty() {
                // Nothing else is left that knows the count: the spare becomes what it was.
                found.push(self.rename_to_own(last, header)?);
            } else {
                self.give_up(last.number, &last.name);
            }
            unreadable.pop();
        }
        // A crash may take back several renames; files are recycled in the order of their numbers.
        while let Some((index, header)) = lost_name(found, unreadable) {
            let recycled = unreadable.remove(index);
            let renamed = self.rename_to_own(&recycled, header)?;
            // Only the newest retired segment is ever recycled: what lies below it was retired
            // before, and the crash has brought its name back.
            let retired = found.partition_point(|found| found.header.number < recycled.number);
            for found in found.drain(..retired) {
                self.give_up(found.header.number, &found.file);
            }
            found.push(renamed);
        }
        Ok(())
    }

    /// Takes out what was refused as a whole, and what is from elsewhere: afterwards sequence
    /// numbers never decrease.
    fn settle_order(&mut self, found: &mut Vec<Found>) -> Result<()> {
        let mut index = 0;
        while index + 1 < found.len() {
            let (this, next) = (&found[index], &found[index + 1]);
            let begins = next.header.sequence;
            if begins >= this.header.sequence {
                index += 1;
                continue;
            }
            // Only the same life can have gone back to before a whole segment.
            let same_life =
                this.header.boot == next.header.boot && this.header.base_ns <= next.header.base_ns;
            let fits_without = index > 0 && {
                let before = &found[index - 1];
                (before.header.sequence..=before.end()).contains(&begins)
            };
            if same_life {
                self.give_up(this.header.number, &this.file);
            } else if fits_without {
                self.set_aside(&this.file, "sequence fits neither neighbour");
            } else {
                let cause = format!(
                    "begins at hit {begins}, before {} at hit {}; one of the two is from elsewhere",
                    this.file, this.header.sequence
                );
                return Err(Error::found(self.disk.path(&next.file), cause));
            }
            found.remove(index);
            index = index.saturating_sub(1);
        }
        Ok(())
    }

    /// Gives every sealed segment the length that the next header says, and reads its last record.
    fn settle_lengths(&mut self, found: &mut [Found]) -> Result<()> {
        for index in 1..found.len() {
            let next_header = found[index].header;
            let (next, next_name) = (next_header.sequence, found[index].file.clone());
            let this = &mut found[index - 1];
            let name = this.file.clone();
            this.count = next - this.header.sequence;
            if this.stored < this.count {
                let lost = this.count - this.stored;
                self.damaged_count += lost;
                this.doubt = Doubt::UntilNext;
                let (records, places) = match lost {
                    1 => ("1 record is".to_owned(), "its place is"),
                    _ => (format!("{lost} records are"), "their places are"),
                };
                self.findings.push(format!(
                    "{}: {}: {records} missing before {next_name}; {places} kept",
                    self.disk.path(&name),
                    Segment::place(this.stored),
                ));
            }
            this.stored = this.stored.min(this.count);
            if this.count > 0 {
                let mut segment = Segment {
                    number: this.header.number,
                    sequence: this.header.sequence,
                    count: this.count,
                    stored: this.stored,
                    base: Stamp::default(),
                    last: Stamp::MAX,
                    ends_damaged: false,
                };
                let file = self.open(&name)?;
                let failed = || self.failed("read", &name);
                let stamp_at = |segment: &Segment, index| {
                    let stamp = segment.stamp_at(&file, index);
                    stamp.map_err(failed())
                };
                let latest = segment
                    .base
                    .after(sealed_offset_ns_max(this.header, next_header));
                let mut last = stamp_at(&segment, this.count - 1)?;
                // As in the newest segment, a single record that is too late is damaged.
                if last > latest && this.count > 1 && stamp_at(&segment, this.count - 2)? <= latest
                {
                    segment.last = latest;
                    last = stamp_at(&segment, this.count - 1)?;
                }
                this.last_offset_ns = last.since(segment.base);
                this.ends_damaged = this.stored < this.count
                    || !segment.is_valid(&file, this.count - 1).map_err(failed())?;
                if this.ends_damaged {
                    this.doubt = Doubt::UntilNext;
                }
            }
        }
        Ok(())
    }

    /// Gives the newest segment the length of its last valid slot, and trims what is behind.
    fn scan_newest(&mut self, found: &mut [Found]) -> Result<()> {
        let Some(newest) = found.last_mut() else {
            return Ok(());
        };
        let (name, number) = (newest.file.clone(), newest.header.number);
        let file = self.open(&name)?;
        let read = |offset_ns_max| {
            scan(&file, number, newest.stored, offset_ns_max).map_err(self.failed("read", &name))
        };
        let mut scan = read(u64::MAX)?;
        let latest_ns = offset_ns_max(newest.header, self.present.boot, (self.present.now)());
        if scan.last_offset_ns > latest_ns {
            // Several records later than now are those of a machine whose boot time went back. A single one
            // is damaged.
            let believed = read(latest_ns)?;
            if believed.length + 1 == scan.length {
                scan = believed;
            }
        }
        let tail = Tail::read(&file, number, &scan, newest.stored, latest_ns);
        let tail = tail.map_err(self.failed("read", &name))?;
        newest.count = scan.length + tail.adjacent;
        newest.stored = newest.count;
        newest.last_offset_ns = scan.last_offset_ns.max(1);
        newest.ends_damaged = tail.adjacent > 0;
        newest.doubt = match scan.damaged_until_ns {
            _ if tail != Tail::default() => Doubt::UntilNext,
            Some(offset_ns) => Doubt::UntilRecord(offset_ns),
            None => newest.doubt,
        };
        let damaged = scan.damaged + tail.adjacent;
        self.damaged_count += damaged;
        // Who only looks has every record read again, and names each.
        let first = scan.first_damaged;
        let first = first.or_else(|| (tail.adjacent > 0).then_some(scan.length));
        if let Some(first) = first.filter(|_| self.access == Access::Own) {
            let in_all = match damaged {
                1 => "it keeps its place".to_owned(),
                more => format!("as in {more} records in all; their places are kept"),
            };
            self.findings.push(format!(
                "{}: {}: check failed, {in_all}",
                self.disk.path(&name),
                Segment::place(first),
            ));
        }
        if let Some(apart) = tail.apart {
            self.findings.push(format!(
                "{}: {}: bytes behind the last record that no crash leaves there; they are not counted",
                self.disk.path(&name),
                Segment::place(apart),
            ));
        }
        let length = offset_of(newest.count);
        // What cannot be explained is kept for whoever looks into it.
        if newest.bytes > length && tail.apart.is_none() {
            self.trim(&name, length);
            self.trimmed_bytes += newest.bytes - length;
        }
        Ok(())
    }

    /// The places of a newest segment whose header is lost. Its hits were answered, and its key is
    /// its number: they can be counted, only not placed in time.
    fn count_unreadable_newest(
        &mut self,
        found: &[Found],
        listed: &[(String, u64)],
        unreadable: &[Unreadable],
    ) -> Result<u64> {
        let newest = found.last().map(|newest| newest.header.number);
        let mut lost = 0;
        for (name, bytes) in listed {
            let Some(number) = name::used_number_of(name) else {
                continue;
            };
            let now_aside = unreadable.iter().any(|unreadable| unreadable.name == *name);
            let was_aside = name::number_of(name).is_none();
            if (now_aside || was_aside) && newest.is_none_or(|newest| number > newest) {
                let renamed = if now_aside {
                    name::aside(name)
                } else {
                    name.clone()
                };
                let file = self.disk.open(&renamed).or_else(|_| self.disk.open(name));
                let file = file.map_err(self.failed("open", name))?;
                let scan = scan(&file, number, records_in(*bytes), u64::MAX);
                lost += scan.map_err(self.failed("read", name))?.length;
            }
        }
        self.damaged_count += lost;
        Ok(lost)
    }
}

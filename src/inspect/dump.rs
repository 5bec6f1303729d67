//! `tallyd dump`: every hit that is kept, oldest first, one line each.
//!
//! Owns the formats and the way through a journal that moves on meanwhile: the end is that of the
//! first look, and when a segment is retired while it is read, a new look goes on where it stopped.
//!
//! Must not know how instants are written. Invariant: hits come in their order, none twice; those
//! that were retired before they were reached are left out, and that is said.

use super::count::{is_cut, places};
use super::progress::Progress;
use super::{LOOKS_MAX, Looked, Out, many, now};
use crate::error::{Error, Result};
use crate::journal::disk::ReadDisk;
use crate::journal::{Missed, Part, Segment, View};
use crate::notation::{Rfc3339Writer, instant};
use crate::options::tasks::{Format, Interval};
use crate::stamp::Stamp;
use std::io::Write;
use std::path::Path;

/// A dump under way.
struct Dump {
    out: Out,
    format: Format,
    interval: Interval,
    instants: Rfc3339Writer,
    /// The position of the next hit.
    next: u64,
    /// Where it ends.
    end: u64,
    /// The segment whose damage was last reported: one line for each is enough.
    reported: Option<u64>,
}

/// Writes the hits in `interval`.
pub fn run(directory: &Path, format: Format, interval: Interval) -> Result<()> {
    let now = now();
    let mut looked = Looked::open(directory)?;
    let mut view = looked.view()?;
    let findings = std::mem::take(&mut view.findings);
    if let Some(from_ns) = interval
        .from_ns
        .filter(|from_ns| is_cut(&view, *from_ns, now))
    {
        let from = instant(from_ns);
        log::warn!(
            "{}: of the hits after {from} not all are kept",
            looked.shown()
        );
    }
    let mut dump = Dump {
        out: Out::new(),
        format,
        interval,
        instants: Rfc3339Writer::default(),
        next: view.first(),
        end: view.end,
        reported: None,
    };
    let first = dump.next;
    let mut progress = Progress::of("dumping", dump.end - first, true);
    if format == Format::Csv {
        dump.out
            .buffer()
            .extend_from_slice(b"sequence,instant,stamp_ns\n");
    }
    let mut looks = 0;
    loop {
        let before = dump.next;
        match dump.parts(&view, |next| progress.at(next - first)) {
            Ok(()) => break,
            Err(Missed::Failed(error)) => {
                dump.out.flush()?;
                return Err(error);
            }
            Err(Missed::Retired) => {}
        }
        looks = if dump.next > before { 0 } else { looks + 1 };
        if looks > LOOKS_MAX {
            return Err(Error::found(
                looked.shown(),
                "segments are retired faster than they can be read",
            ));
        }
        view = looked.view()?;
        let kept = view.first().min(dump.end);
        if kept > dump.next {
            let gone = many(kept - dump.next, "hit");
            log::warn!(
                "{}: {gone} retired before they were reached",
                looked.shown()
            );
            dump.next = kept;
        }
    }
    drop(progress);
    dump.out.flush()?;
    drop(view);
    looked.say(&findings);
    Ok(())
}

impl Dump {
    /// Writes what is left, as far as this view knows it.
    fn parts(
        &mut self,
        view: &View<'_, ReadDisk>,
        mut progress: impl FnMut(u64),
    ) -> Result<(), Missed> {
        for part in &view.parts {
            let segment = &part.segment;
            if segment.end() <= self.next || segment.sequence >= self.end {
                continue;
            }
            let places = places(view, part, self.interval)?;
            let start = places.start.max(self.next.saturating_sub(segment.sequence));
            let end = places.end.min(self.end - segment.sequence);
            if start < end {
                self.part(view, part, start..end, &mut progress)?;
            }
            if self.out.is_closed() {
                return Ok(());
            }
            self.next = segment.end().min(self.end).max(self.next);
        }
        Ok(())
    }

    fn part(
        &mut self,
        view: &View<'_, ReadDisk>,
        part: &Part,
        places: std::ops::Range<u64>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Missed> {
        let file = view.open_part(part)?;
        let mut stamps = Vec::new();
        let mut index = places.start;
        while index < places.end && !self.out.is_closed() {
            // That records are missing was said when the segment was found.
            if let Some(damage) = file.read(index, &mut stamps)?
                && damage.first < part.segment.stored
                && self.reported.replace(part.segment.number) != Some(part.segment.number)
            {
                let place = Segment::place(damage.first);
                log::warn!("{}: {place}: check failed; it keeps its place", file.path());
            }
            stamps.truncate((places.end - index) as usize);
            self.write(part, index, &stamps);
            index += stamps.len() as u64;
            self.next = part.segment.sequence + index;
            self.out.pass()?;
            progress(self.next);
        }
        Ok(())
    }

    /// Puts the hits from `index` on into the buffer.
    fn write(&mut self, part: &Part, index: u64, stamps: &[Stamp]) {
        let buffer = self.out.buffer();
        let base = part.segment.base;
        let first = part.segment.sequence + index;
        match self.format {
            Format::Text => {
                for &stamp in stamps {
                    buffer.extend_from_slice(self.instants.write(part.wall_at(stamp)));
                    buffer.push(b'\n');
                }
            }
            Format::Raw => {
                for &stamp in stamps {
                    buffer.extend_from_slice(&part.wall_at(stamp).to_be_bytes());
                }
            }
            Format::Csv | Format::Json => {
                let [open, middle, behind, close] = match self.format {
                    Format::Csv => ["", ",", ",", "\n"],
                    _ => [
                        "{\"sequence\":",
                        ",\"instant\":\"",
                        "\",\"stamp_ns\":\"",
                        "\"}\n",
                    ],
                };
                for (sequence, &stamp) in (first..).zip(stamps) {
                    let stamp_ns = part.header.base_ns.saturating_add(stamp.since(base));
                    let _infallible = write!(buffer, "{open}{sequence}{middle}");
                    buffer.extend_from_slice(self.instants.write(part.wall_at(stamp)));
                    let _infallible = write!(buffer, "{behind}{stamp_ns}{close}");
                }
            }
        }
    }
}

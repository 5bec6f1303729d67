//! `tallyd verify`: every header and every record of a journal, and where it is damaged.
//!
//! Owns the report: a line for each fault, as many as fit, what is remarkable and no fault, and the
//! sum. A fault counts only if its segment is still the same when all is read: what a running server
//! retires or cuts off meanwhile is none.
//!
//! Must not know what a damaged record does to a tally. Invariant: the same sound journal is called
//! sound beside a running server, after a stop and after a kill.

use super::progress::Progress;
use super::{Looked, Out, Verdict, many, now};
use crate::error::Result;
use crate::journal::disk::ReadDisk;
use crate::journal::{Missed, Part, Segment, View};
use crate::notation::instant;
use std::path::Path;

/// Faults that are written out, in lines.
const LINES_MAX: usize = 100;

/// What is wrong with the records of one segment.
struct Faults {
    part: Part,
    count: u64,
    lines: Vec<String>,
}

/// Checks the journal in `directory`, and prints the report.
pub fn run(directory: &Path) -> Result<Verdict> {
    let mut faulty = Vec::new();
    let mut retired = 0_u64;
    let looked = Looked::open(directory)?;
    let lives = looked.lives();
    let view = looked.view_with(&lives)?;
    let total = view.end - view.first();
    let mut progress = Progress::of("checking", total, false);
    let mut records = 0;
    for part in &view.parts {
        match check(&view, part, |index| progress.at(records + index)) {
            Ok(faults) if faults.count > 0 => faulty.push(faults),
            Ok(_) => {}
            Err(Missed::Failed(error)) => return Err(error),
            Err(Missed::Retired) => {
                retired += 1;
                continue;
            }
        }
        records += part.segment.count;
    }
    drop(progress);
    if !faulty.is_empty() {
        let again = looked.view()?;
        let before = faulty.len();
        faulty.retain(|faults| again.parts.iter().any(|part| is_same(&faults.part, part)));
        retired += (before - faulty.len()) as u64;
    }

    let aside = view.aside.iter();
    let aside = aside.map(|path| format!("{path}: set aside by an earlier start"));
    let shown = looked.shown();
    let now = now();
    let losses = lives.losses(now).into_iter();
    let losses = losses.filter(|(found, _)| *found > view.complete_after);
    let losses = losses.map(|(_, cause)| format!("{shown}: {cause}"));
    let aside: Vec<_> = aside.chain(losses).collect();
    let count = faulty.iter().map(|faults| faults.count).sum::<u64>()
        + (view.findings.len() + aside.len()) as u64;
    let lines = view
        .findings
        .iter()
        .chain(&aside)
        .chain(faulty.iter().flat_map(|faults| &faults.lines));
    let mut out = Out::new();
    let mut said = 0;
    for line in lines.take(LINES_MAX) {
        said += 1;
        out.line(line);
    }
    if count > said {
        out.line(&format!(
            "{shown}: and {}",
            many(count - said, "more fault")
        ));
    }
    for note in notes(&shown, &view, retired) {
        out.line(&note);
    }
    let doubtful_until = lives.doubtful_until(now);
    if count == 0 && doubtful_until > view.complete_after {
        let until = instant(now.wall_at(doubtful_until));
        out.line(&format!(
            "{shown}: note: an earlier start found hits damaged or lost: numbers of spans that begin before {until} are estimated"
        ));
    }
    let verdict = if count > 0 {
        Verdict::Damaged
    } else {
        Verdict::Sound
    };
    out.line(&format!(
        "{shown}: {}, {}, {}: {}",
        many(view.parts.len() as u64 - retired, "segment"),
        many(records, "record"),
        many(count, "fault"),
        if count > 0 { "damaged" } else { "sound" },
    ));
    out.flush()?;
    Ok(verdict)
}

/// Reads every record of `part`.
fn check(
    view: &View<'_, ReadDisk>,
    part: &Part,
    mut progress: impl FnMut(u64),
) -> Result<Faults, Missed> {
    let file = view.open_part(part)?;
    let mut faults = Faults {
        part: part.clone(),
        count: 0,
        lines: Vec::new(),
    };
    let (mut slots, mut index, mut last_ns) = (Vec::new(), 0, 0);
    while index < part.segment.stored {
        file.slots(index, &mut slots)?;
        for (slot, index) in slots.iter().zip(index..) {
            let cause = match slot {
                Some(offset_ns) if *offset_ns >= last_ns => {
                    last_ns = *offset_ns;
                    continue;
                }
                Some(_) => "goes back in time",
                None => "check failed",
            };
            faults.count += 1;
            if faults.lines.len() < LINES_MAX {
                faults.lines.push(format!(
                    "{}: {}: {cause}",
                    file.path(),
                    Segment::place(index)
                ));
            }
        }
        index += slots.len() as u64;
        progress(index);
    }
    let is_sealed = view.parts.last().is_some_and(|newest| newest != part);
    if let Some(stray) = file.stray_behind()?.filter(|_| is_sealed) {
        faults.count += 1;
        faults.lines.push(format!(
            "{}: {}: bytes behind the last record that no crash leaves there; they are not counted",
            file.path(),
            Segment::place(stray)
        ));
    }
    Ok(faults)
}

/// Whether a segment is still what it was, but for hits that came since.
fn is_same(before: &Part, now: &Part) -> bool {
    now.header == before.header && now.segment.stored >= before.segment.stored
}

/// What is remarkable and no fault.
fn notes(shown: &str, view: &View<'_, ReadDisk>, retired: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if view.tail_bytes > 0 {
        let bytes = many(view.tail_bytes, "byte");
        notes.push(format!("{shown}: note: {bytes} behind the newest record, as a running server and a kill leave them"));
    }
    if retired > 0 {
        let segments = many(retired, "segment");
        notes.push(format!(
            "{shown}: note: {segments} retired while they were read"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_were_retired_meanwhile_are_noted() {
        let data = tempfile::tempdir().expect("a directory");
        std::fs::write(data.path().join("lock"), "").expect("a file");
        let looked = Looked::open(data.path()).expect("a directory of ours");
        let view = looked.view().expect("a view");
        assert_eq!(notes("here", &view, 0), [""; 0]);
        for (retired, said) in [(1, "1 segment"), (2, "2 segments")] {
            let note = format!("here: note: {said} retired while they were read");
            assert_eq!(notes("here", &view, retired), [note]);
        }
    }
}

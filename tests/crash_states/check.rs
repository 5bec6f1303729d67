//! Whether a state that a crash left is recovered as promised: by the engine itself, three starts deep.
//!
//! Owns the promises. Hits below the floor are there with their own stamps, nothing is there that was
//! never sent, what is damaged has its neighbour's time and is reported, nothing is retired too early;
//! the next hits are answered right, and the start after that finds all of it again.
//!
//! Must not know how the state came about. Invariant: a process killed leaves no damage at all.

use super::life::{Life, Run, kept_to};
use super::support::rig::{BOOT, WINDOW_NS, clock_at};
use super::tape::{Event, Files, TapeDisk};
use std::fmt;
use tallyd::clock::{Clock, HandClock};
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::{Journal, Reader};
use tallyd::stamp::{BootId, Stamp};

/// Where the line of a run begins.
pub const START: i64 = 1_000_000_000;
/// How long a boot has run when the engine starts, and how long the power was away by the calendar:
/// what was counted last is still in the window then.
const UPTIME_NS: i64 = WINDOW_NS as i64 / 8;
const GAP_NS: u64 = WINDOW_NS / 4;

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Killed,
    Cut,
    /// The power went again, while or after the start behind a first cut.
    CutAgain,
}

/// What must hold of a state. Stamps are on the line of the run, whatever the boot.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub end: End,
    /// Positions below it are there.
    pub floor: u64,
    /// Positions below it are sound.
    pub sound: u64,
    /// No position from it on is there.
    pub ceiling: u64,
    /// When the process ended.
    pub now: Stamp,
    /// Whether nothing is missing, though names may be: then there is nothing to report.
    pub is_even: bool,
    /// Whether the last write ended within a record.
    pub splits_record: bool,
    /// Where and when two hits were counted between the two cuts.
    pub later: Option<(u64, Stamp)>,
}

/// The life behind a crash, in which all went well.
pub struct Next {
    /// What it did to the disk.
    pub events: Vec<Event>,
    /// How many events there were when its hits were on the device.
    pub synced_at: usize,
    /// The bounds of a second cut before that.
    pub bounds: Bounds,
}

/// What a start finds.
struct Recovery {
    first: u64,
    end: u64,
    stamps: Vec<Stamp>,
    /// Places that are reported as damaged or lost.
    damaged: u64,
    bases: Vec<(u64, Stamp)>,
    findings: Vec<String>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, end, damaged) = (self.first, self.end, self.damaged);
        write!(
            f,
            "found {first}..{end}, {damaged} damaged, {:?}",
            self.findings
        )
    }
}

/// Recovers `files`, counts two hits more and starts once again.
///
/// # Errors
/// A promise is broken; the words say which.
pub fn check(run: &Run, files: &Files, bounds: &Bounds) -> Result<Next, String> {
    let disk = TapeDisk::holding(files);
    let (clock, boot, shift_ns) = next_start(bounds);
    let before = recover(run, &disk, &clock, boot)?;
    compare(run, &before, bounds, shift_ns)?;
    // The next life counts on from there, and its answers are right.
    let opened = Life::open(&disk, &clock, boot, kept_to(run.policy));
    let mut life = opened.map_err(|error| format!("the second start: {error}"))?;
    clock.advance(1);
    let now = clock.now();
    let mut line = life.hit(2);
    life.sync_when_due();
    let answer = line.wait().map_err(|_| "no answer")?;
    if !answer.verdict().is_counted() {
        return Err("the next hits are refused".to_owned());
    }
    let cutoff = now.before(WINDOW_NS);
    let in_window = before.stamps.iter().filter(|stamp| **stamp > cutoff);
    let inside = in_window.count() as u64;
    let tallies: Vec<u64> = answer.hits().iter().map(|hit| hit.tally).collect();
    if tallies != [inside + 1, inside + 2] {
        return Err(format!(
            "{inside} hits are in the window, answered were {tallies:?}"
        ));
    }
    let events = disk.events();
    // And so does the life after that.
    let after = recover(run, &disk, &clock, boot)?;
    let gone = after.first.saturating_sub(before.first) as usize;
    let mut expected = before.stamps[gone.min(before.stamps.len())..].to_vec();
    expected.extend([now; 2]);
    if after.stamps != expected || after.end != before.end + 2 {
        return Err(format!("two hits later: {after:?}, before: {before:?}"));
    }
    Ok(Next {
        synced_at: events.len(),
        events,
        bounds: Bounds {
            end: End::CutAgain,
            floor: before.end,
            ceiling: before.end + 2,
            now: shifted(clock.now(), -shift_ns),
            is_even: false,
            later: Some((before.end, shifted(now, -shift_ns))),
            ..*bounds
        },
    })
}

fn shifted(stamp: Stamp, shift_ns: i64) -> Stamp {
    Stamp::from_ns(stamp.ns() + shift_ns)
}

/// The clock of the next start, its boot, and what it adds to the stamps of the run. In a run the wall
/// clock goes along with the other one, and so it does across a cut.
fn next_start(bounds: &Bounds) -> (HandClock, BootId, i64) {
    let wall_ns = |now: Stamp| clock_at(START).wall_ns() + (now.ns() - START);
    let (gap_ns, boot) = match bounds.end {
        End::Killed => {
            let now = bounds.now.after(1);
            return (HandClock::new(now, wall_ns(now)), BOOT, 0);
        }
        End::Cut => (GAP_NS, BootId([8; 16])),
        End::CutAgain => (GAP_NS, BootId([9; 16])),
    };
    let now = bounds.now.after(gap_ns);
    let clock = HandClock::new(Stamp::from_ns(UPTIME_NS), wall_ns(now));
    (clock, boot, UPTIME_NS - now.ns())
}

/// Every stamp that a start finds.
fn recover(
    run: &Run,
    disk: &TapeDisk,
    clock: &HandClock,
    boot: BootId,
) -> Result<Recovery, String> {
    let settings = kept_to(run.policy);
    let (limits, policy) = (settings.limits, settings.policy);
    let (journal, recovered) = Journal::open(disk.clone(), limits, boot, clock.anchor(), policy)
        .map_err(|error| format!("does not start: {error}"))?;
    let mut reader = Reader::new();
    let mut stamps = Vec::new();
    let mut position = journal.first();
    while position < journal.end() {
        let read = journal.read_ahead(&mut reader, position);
        read.map_err(|error| error.to_string())?;
        stamps.extend_from_slice(reader.ahead(position));
        position = journal.first() + stamps.len() as u64;
    }
    let segments = recovered.segments.iter();
    Ok(Recovery {
        first: journal.first(),
        end: journal.end(),
        stamps,
        damaged: recovered.damaged_count + reader.damaged_count(),
        bases: segments
            .map(|segment| (segment.sequence, segment.base))
            .collect(),
        findings: recovered.findings,
    })
}

fn compare(run: &Run, found: &Recovery, bounds: &Bounds, shift_ns: i64) -> Result<(), String> {
    let Bounds { floor, ceiling, .. } = *bounds;
    if !(floor..=ceiling).contains(&found.end) {
        return Err(format!("{floor} to {ceiling} are allowed, {found:?}"));
    }
    if bounds.is_even && !found.findings.is_empty() {
        return Err(format!("nothing is torn, {found:?}"));
    }
    // What lies before this may be retired, and has to be neither there nor sound.
    let kept = bounds.now.before(WINDOW_NS + LATE_NS_MAX);
    let given_to = |position: u64| {
        run.stamps
            .get(position as usize)
            .map_or(&[][..], |given| given)
    };
    let (mut damaged, mut earlier) = (0, None);
    for (position, &stamp) in (found.first..).zip(&found.stamps) {
        if earlier > Some(stamp) {
            return Err(format!("position {position} goes back in time, {found:?}"));
        }
        let given = given_to(position);
        let own = shifted(stamp, -shift_ns);
        let is_sound = position < bounds.sound && given.last() > Some(&kept);
        let is_own = match given.last() {
            Some(last) if is_sound && bounds.end != End::Killed => *last == own,
            _ => given.contains(&own),
        };
        let is_later = |(from, at): (u64, Stamp)| (from..from + 2).contains(&position) && at == own;
        if !is_own && !bounds.later.is_some_and(is_later) {
            let is_base = found.bases.contains(&(position, stamp));
            let is_doubted = run.doubted.contains(&position);
            if is_sound && !is_doubted || earlier != Some(stamp) && !is_base {
                let words = format!("is at {own} on the line of the run, given were {given:?}");
                return Err(format!("position {position} {words}, {found:?}"));
            }
            damaged += 1;
        }
        earlier = Some(stamp);
    }
    let reported = match bounds.end {
        End::Killed if !bounds.splits_record => 0,
        // Bytes of a record over an old one cannot be told from a damaged record. It was sent, not answered.
        End::Killed => found.damaged.min(1),
        _ => found.damaged,
    };
    if damaged > reported {
        return Err(format!("{damaged} records are damaged, {found:?}"));
    }
    match found.first.min(bounds.sound).checked_sub(1) {
        Some(gone) if given_to(gone).last() > Some(&kept) => {
            Err(format!("position {gone} is retired too early, {found:?}"))
        }
        _ => Ok(()),
    }
}

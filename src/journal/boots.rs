//! Boots on today's line: where the segments of this and of earlier boots lie on the tally timeline.
//!
//! Owns the rule for every place where a segment meets what came after it, from newest to oldest. Each
//! has an instant on the line of its boot and one on the wall clock; the difference is the *line gap* and
//! the *wall gap*. The first row that applies gives the age of the newest record at that place:
//!
//! | boot id | clocks | age | exact |
//! |---|---|---|---|
//! | equal | line gap not negative | line gap | yes |
//! | another | both gaps agree, wall plausible: the same boot under another id | line gap | yes |
//! | equal | line gap negative: a restored snapshot | wall gap if plausible, else 0 | no |
//! | another | wall plausible, wall gap at least the uptime: a reboot | wall gap | no |
//! | another | wall plausible: another machine, or a clock that was stepped | the shorter gap | no |
//! | unknown | wall implausible, line gap not negative | line gap | no |
//! | another | wall implausible at both ends: a reboot | the longer of wall gap and uptime | no |
//! | another | wall implausible at one end: a reboot | uptime | no |
//!
//! A negative wall gap counts as 0; a negative line gap is not the shorter one. The wall clock is
//! plausible if neither end of the gap is before the first release of tallyd. Where the age is not exact,
//! records are doubtful up to the latest instant at which they can have been made. Of two possible ages the
//! smaller one is taken, so that a window counts too many and never too few, until the doubt has left it.
//!
//! Must not know of files. Invariant: no record is placed later than its successor's first.

use super::record::Header;
use crate::stamp::{Anchor, BootId, SECOND_NS, Stamp};

/// When the first version was released, 2026-11-01T00:00:00Z, in nanoseconds since 1970: a wall clock that
/// shows less was not set.
const RELEASED_WALL_NS: i64 = 1_793_491_200 * SECOND_NS.cast_signed();
/// How far two pairs of clocks may be apart that are the same, in nanoseconds.
const AGREED_NS_MAX: u64 = SECOND_NS;
/// The part of a gap by which they may be apart beyond that: 500 ppm, the most that NTP slews by.
const AGREED_PART_MAX: u64 = 2000;

/// Where the segments lie.
pub struct Placed {
    /// The base of each, in the order given.
    pub bases: Vec<Stamp>,
    /// Records at or before this instant may be placed or counted wrongly: a number whose span begins
    /// before it is estimated. [`Stamp::MIN`] if there is no doubt.
    pub doubtful_until: Stamp,
    /// Segments from this index on may be of the running boot: a power cut can still take them.
    pub running_from: usize,
}

/// A place on the line of one boot.
#[derive(Clone, Copy)]
struct Point {
    boot: BootId,
    line_ns: i64,
    wall_ns: i64,
}

/// How a segment is tied to what came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// Boot time goes on from one to the other.
    Line,
    /// The wall clock has to be asked.
    Wall {
        /// How old the newest record is.
        age_ns: u64,
        /// How old it is at the least, whatever the wall clock says.
        age_ns_min: u64,
        /// Whether the boot may nevertheless be the same.
        same_boot: bool,
    },
}

/// Places segments, given oldest first as their headers and their newest records in ns after the
/// base, on the line of the running `boot`, which is at `now`.
#[must_use]
pub fn place(segments: &[(Header, u64)], boot: BootId, now: Anchor) -> Placed {
    let mut placed = Placed {
        bases: vec![Stamp::default(); segments.len()],
        doubtful_until: Stamp::MIN,
        running_from: segments.len(),
    };
    let mut runs = true;
    // The start of what came after, and where that lies on today's line.
    let mut newer = Point {
        boot,
        line_ns: now.at.ns(),
        wall_ns: now.wall_ns,
    };
    let mut start = now.at;
    let mut shift_ns = 0_i64;
    for (index, (header, last_offset_ns)) in segments.iter().enumerate().rev() {
        let last = Point::of(header, *last_offset_ns);
        if let Tie::Wall {
            age_ns,
            age_ns_min,
            same_boot,
        } = tie(last, newer)
        {
            shift_ns = start.before(age_ns).ns().saturating_sub(last.line_ns);
            placed.doubtful_until = placed.doubtful_until.max(start.before(age_ns_min));
            runs &= same_boot;
        }
        if runs {
            placed.running_from = index;
        }
        let base = Stamp::from_ns(line_ns(header.base_ns).saturating_add(shift_ns));
        placed.bases[index] = base;
        newer = Point::of(header, 1);
        start = base.after(1);
    }
    placed
}

/// How far behind its base a record of the newest segment may lie, in ns: none of this boot is later than
/// now. Nothing is known of a segment that another boot wrote, or that begins in the future.
#[must_use]
pub fn offset_ns_max(header: Header, boot: BootId, now: Anchor) -> u64 {
    match now.at.ns().unsigned_abs().checked_sub(header.base_ns) {
        Some(since_ns @ 1..) if header.boot == boot => since_ns,
        _ => u64::MAX,
    }
}

/// How far behind its base the last record of a sealed segment may lie, in ns, if the header of the next
/// segment is `next`: within one boot none is later than the first of the next segment, whose base is one
/// before that.
#[must_use]
pub fn sealed_offset_ns_max(header: Header, next: Header) -> u64 {
    match next.base_ns.saturating_add(1).checked_sub(header.base_ns) {
        Some(gap_ns) if header.boot == next.boot => gap_ns,
        _ => i64::MAX.unsigned_abs(),
    }
}

fn tie(last: Point, newer: Point) -> Tie {
    let line_gap_ns = newer.line_ns.saturating_sub(last.line_ns);
    let wall_gap_ns = newer.wall_ns.saturating_sub(last.wall_ns);
    let uptime_ns = not_negative(newer.line_ns);
    // Only a line that goes on can be the same.
    let same_line_ns = u64::try_from(line_gap_ns).ok();
    let same_id = last.boot == newer.boot;
    let set = [last, newer].map(|point| point.wall_ns >= RELEASED_WALL_NS);
    let plausible = set == [true; 2];
    let agreed = same_line_ns.is_some_and(|gap_ns| {
        line_gap_ns.abs_diff(wall_gap_ns) <= AGREED_NS_MAX + gap_ns / AGREED_PART_MAX
    });
    if same_id && same_line_ns.is_some() || plausible && agreed {
        return Tie::Line;
    }
    let wall_age_ns = not_negative(wall_gap_ns);
    let no_id = last.boot.is_unknown() || newer.boot.is_unknown();
    // A hit before a reboot is at least as old as the uptime, one of the same boot just as old as the line gap.
    let age_ns_min = same_line_ns.unwrap_or(uptime_ns);
    let (age_ns, age_ns_min) = match same_line_ns {
        _ if same_id => (if plausible { wall_age_ns } else { 0 }, 0),
        _ if plausible && wall_age_ns >= uptime_ns => (wall_age_ns, age_ns_min),
        _ if plausible => (wall_age_ns.min(same_line_ns.unwrap_or(u64::MAX)), 0),
        Some(gap_ns) if no_id => (gap_ns, gap_ns),
        _ if set[0] == set[1] => (wall_age_ns.max(uptime_ns), age_ns_min),
        _ => (uptime_ns, age_ns_min),
    };
    Tie::Wall {
        age_ns,
        age_ns_min,
        same_boot: same_id || same_line_ns.is_some(),
    }
}

impl Point {
    fn of(header: &Header, offset_ns: u64) -> Self {
        Self {
            boot: header.boot,
            line_ns: line_ns(header.base_ns.saturating_add(offset_ns)),
            wall_ns: header.wall_ns.saturating_add(line_ns(offset_ns)),
        }
    }
}

fn line_ns(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

fn not_negative(ns: i64) -> u64 {
    u64::try_from(ns).unwrap_or(0)
}

#[cfg(test)]
mod tests;

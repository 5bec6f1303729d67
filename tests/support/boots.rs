//! The rule for boots as the design has it in section 4, written down a second time.
//!
//! Owns what a model needs of it: how far each segment's line is shifted against today's, until when
//! that is in doubt, and what the running boot may have written.
//!
//! Must not ask the journal. Invariant: everything is computed in numbers that cannot overflow.

use super::disk::SimDisk;
use tallyd::journal::record::{HEADER_BYTES, Header, Key, RECORD_BYTES, decode};
use tallyd::stamp::{BootId, SECOND_NS, Stamp};

/// 2026-11-01, the first release: a wall clock that shows less was not set.
const RELEASE: i128 = 1_793_491_200 * SECOND;
const SECOND: i128 = SECOND_NS as i128;

/// An instant, as both clocks of a boot showed it.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub boot: BootId,
    pub line_ns: i64,
    pub wall_ns: i64,
}

impl Reading {
    /// The reading so much later on the same line.
    pub const fn after(self, ns: i64) -> Self {
        Self {
            boot: self.boot,
            line_ns: self.line_ns + ns,
            wall_ns: self.wall_ns + ns,
        }
    }

    const fn is_set(self) -> bool {
        self.wall_ns as i128 >= RELEASE
    }
}

/// The instant to which a restored snapshot of `disk` goes back, about `now`: exactly one record later than
/// that in its segment would be taken for a damaged one.
pub fn restored_to(disk: &SimDisk, mut now: Stamp) -> Stamp {
    let only_later_in = |file: &String, now: Stamp| {
        let bytes = disk.content(file)?;
        let header = Header::decode(bytes.get(..HEADER_BYTES)?.try_into().ok()?).ok()?;
        let key = Key::of(header.number);
        let records = bytes[HEADER_BYTES..].chunks_exact(RECORD_BYTES);
        let stamps = records.filter_map(|slot| decode(slot, key));
        let mut later = stamps
            .map(|ns| Stamp::from_ns((header.base_ns + ns) as i64))
            .filter(|stamp| *stamp > now);
        let only = later.next()?;
        later.next().is_none().then_some(only)
    };
    let files = disk.names();
    // The instant of the only later record of one file may leave exactly one in another.
    while let Some(later) = files.iter().filter_map(|it| only_later_in(it, now)).max() {
        now = later;
    }
    now
}

/// How a model places segments.
#[derive(Debug)]
pub struct Lines {
    /// What each segment's line lies before or behind today's, oldest first.
    pub shifts_ns: Vec<i64>,
    pub doubtful_until: Stamp,
    /// The first segment that the running boot may have written.
    pub running_from: usize,
    /// The first segment that lies on today's line for certain.
    pub certain_from: usize,
}

/// What is known of the time between two readings.
struct Between {
    age_ns: i128,
    /// The least age there may be; nothing if there is no doubt.
    least_ns: Option<i128>,
    may_be_one_boot: bool,
}

/// Places segments, each from its first to its last hit, oldest first.
pub fn lines(segments: &[(Reading, Reading)], now: Reading) -> Lines {
    let mut doubtful_until = i128::from(i64::MIN);
    let (mut shifts_ns, mut newer, mut shift_ns) = (Vec::new(), now, 0);
    let (mut is_running, mut is_certain) = (true, true);
    let (mut running_count, mut certain_count) = (0, 0);
    for &(first, last) in segments.iter().rev() {
        let newer_at = i128::from(newer.line_ns) + shift_ns;
        let between = between(last, newer);
        if let Some(least_ns) = between.least_ns {
            doubtful_until = doubtful_until.max(newer_at - least_ns);
            shift_ns = newer_at - between.age_ns - i128::from(last.line_ns);
            is_certain = false;
        }
        is_running &= between.may_be_one_boot;
        running_count += usize::from(is_running);
        certain_count += usize::from(is_certain);
        shifts_ns.push(shift_ns as i64);
        newer = first;
    }
    shifts_ns.reverse();
    Lines {
        shifts_ns,
        doubtful_until: Stamp::from_ns(doubtful_until as i64),
        running_from: segments.len() - running_count,
        certain_from: segments.len() - certain_count,
    }
}

fn between(old: Reading, new: Reading) -> Between {
    let line_ns = i128::from(new.line_ns) - i128::from(old.line_ns);
    let wall_ns = i128::from(new.wall_ns) - i128::from(old.wall_ns);
    let uptime_ns = i128::from(new.line_ns);
    let goes_on = line_ns >= 0;
    let certain = Between {
        age_ns: line_ns,
        least_ns: None,
        may_be_one_boot: true,
    };
    let doubtful = |age_ns: i128, least_ns: i128, may_be_one_boot: bool| Between {
        age_ns: age_ns.max(0),
        least_ns: Some(least_ns),
        may_be_one_boot,
    };
    // Made before this boot began, or on its line, which goes on.
    let before_ns = if goes_on { line_ns } else { uptime_ns };
    if old.boot == new.boot {
        return match goes_on {
            true => certain,
            false if old.is_set() && new.is_set() => doubtful(wall_ns, 0, true),
            false => doubtful(0, 0, true),
        };
    }
    match (old.is_set(), new.is_set()) {
        (true, true) => {
            let apart_ns = (wall_ns - line_ns).abs();
            if goes_on && apart_ns <= SECOND + line_ns / 2000 {
                certain
            } else if wall_ns >= uptime_ns {
                doubtful(wall_ns, before_ns, goes_on)
            } else if goes_on {
                doubtful(wall_ns.min(line_ns), 0, true)
            } else {
                doubtful(wall_ns, 0, false)
            }
        }
        _ if goes_on && (old.boot.is_unknown() || new.boot.is_unknown()) => {
            doubtful(line_ns, line_ns, true)
        }
        (false, false) => doubtful(wall_ns.max(uptime_ns), before_ns, goes_on),
        _ => doubtful(uptime_ns, before_ns, goes_on),
    }
}

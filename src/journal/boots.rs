//! Boots on today's line: where the segments of this and of earlier boots begin on the tally timeline.
//!
//! Owns the rule. Segments of the running boot lie where their own stamps say: stepping the wall
//! clock changes nothing. An earlier boot ended before its successor began, and how long before, only
//! the wall clock can tell; so the age of its newest record is the larger of the wall clock's gap and
//! the uptime at the successor's start, boot by boot from newest to oldest. A board that wakes in 1970
//! so keeps its hits for at most one window too long, and no record ever lies in the future.
//!
//! A segment of this boot that would lie in the future was written under another boot-time line (a
//! time namespace) and is placed like an earlier boot.
//!
//! Must not know of files. Invariant: no record is placed later than its successor's first.

use super::record::Header;
use crate::stamp::{Anchor, BootId, Stamp};

/// Where the segments lie.
pub struct Placed {
    /// The base of each, in the order given.
    pub bases: Vec<Stamp>,
    /// Records at or before this instant may be placed or counted wrongly: a number whose span begins
    /// before it is estimated. [`Stamp::MIN`] if there is no doubt.
    pub doubtful_until: Stamp,
}

/// Places segments, given oldest first as their headers and their newest records in ns after the
/// base, on the line of the running `boot`, which is at `now`.
#[must_use]
pub fn place(segments: &[(Header, u64)], boot: BootId, now: Anchor) -> Placed {
    let mut placed = Placed {
        bases: vec![Stamp::default(); segments.len()],
        doubtful_until: Stamp::MIN,
    };
    // The start of what came after: on its own line, on the calendar, and on today's line.
    let (mut uptime_ns, mut wall_ns, mut start) = (now.at.ns(), now.wall_ns, now.at);
    let mut newer: Option<&Header> = None;
    let mut shift_ns = 0_i64;
    for (index, (header, last_offset_ns)) in segments.iter().enumerate().rev() {
        let last_ns = line_ns(header.base_ns.saturating_add(*last_offset_ns));
        let same_line = match newer {
            None => header.boot == boot && last_ns <= now.at.ns(),
            // A base is one before its first stamp, and that may equal the last one before it.
            Some(newer) => {
                header.boot == newer.boot && last_ns <= line_ns(newer.base_ns).saturating_add(1)
            }
        };
        if !same_line {
            let last_wall_ns = header.wall_ns.saturating_add(line_ns(*last_offset_ns));
            let age_ns = wall_ns.saturating_sub(last_wall_ns).max(uptime_ns).max(0);
            let last = start.before(age_ns.unsigned_abs());
            shift_ns = last.ns().saturating_sub(last_ns);
            // The wall clock had to be asked.
            placed.doubtful_until = Stamp::default();
        }
        let base = Stamp::from_ns(line_ns(header.base_ns).saturating_add(shift_ns));
        placed.bases[index] = base;
        (uptime_ns, wall_ns, start) = (line_ns(header.base_ns), header.wall_ns, base);
        newer = Some(header);
    }
    placed
}

fn line_ns(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: BootId = BootId([1; 16]);
    const BEFORE: BootId = BootId([2; 16]);

    /// A segment of `boot` with one hit at `ns` of its line, at `wall_ns` on the calendar.
    fn hit_at(boot: BootId, ns: u64, wall_ns: i64) -> (Header, u64) {
        let header = Header {
            number: 0,
            sequence: 0,
            base_ns: ns - 1,
            wall_ns: wall_ns - 1,
            boot,
        };
        (header, 1)
    }

    /// Where the hits come to lie, given the present.
    fn stamps(segments: &[(Header, u64)], now_ns: i64, wall_ns: i64) -> Vec<i64> {
        let now = Anchor {
            at: Stamp::from_ns(now_ns),
            wall_ns,
        };
        let placed = place(segments, TODAY, now);
        placed
            .bases
            .iter()
            .zip(segments)
            .map(|(base, (_, last))| base.after(*last).ns())
            .collect()
    }

    #[test]
    fn in_the_same_boot_the_wall_clock_is_not_asked() {
        for wall_ns in [i64::MIN, -1, 0, 5_000, i64::MAX] {
            assert_eq!(stamps(&[hit_at(TODAY, 700, 5_000)], 900, wall_ns), [700]);
        }
    }

    #[test]
    fn an_earlier_boot_is_as_old_as_the_wall_clock_says() {
        // 3 000 ns by the calendar, of which this boot has run 900.
        assert_eq!(
            stamps(&[hit_at(BEFORE, 700, 5_000)], 900, 8_000),
            [900 - 3_000]
        );
    }

    #[test]
    fn an_earlier_boot_is_at_least_as_old_as_this_one_has_run() {
        for wall_ns in [i64::MIN, 0, 5_000, 5_899] {
            assert_eq!(stamps(&[hit_at(BEFORE, 700, 5_000)], 900, wall_ns), [0]);
        }
    }

    #[test]
    fn boots_are_placed_one_behind_the_other() {
        let oldest = hit_at(BootId([3; 16]), 100, 1_000);
        let middle = hit_at(BEFORE, 50, 2_000);
        let newest = hit_at(TODAY, 10, 3_000);
        assert_eq!(
            stamps(&[oldest, middle, newest], 20, 3_010),
            [-1_990, -990, 10]
        );
    }

    #[test]
    fn a_hit_of_this_boot_in_the_future_is_placed_like_an_earlier_boot() {
        assert_eq!(stamps(&[hit_at(TODAY, 7_000, 5_000)], 900, 5_000), [0]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for wall_ns in [i64::MIN + 1, i64::MAX] {
            let segments = [
                hit_at(BEFORE, u64::MAX, wall_ns),
                hit_at(TODAY, 1, -wall_ns),
            ];
            let placed = stamps(&segments, i64::MAX, wall_ns);
            assert!(placed[0] <= placed[1], "{placed:?}");
        }
    }
}

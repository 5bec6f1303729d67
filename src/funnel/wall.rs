//! Jumps of the wall clock against boot time.
//!
//! Owns what is logged of them. No number depends on it while the process runs; the next start compares
//! both clocks, and whoever reads its log then should find the cause. The clocks are compared after every
//! turn and every tick, so a jump is logged with the first hit, query or tick behind it.
//!
//! Must not know what is counted. Invariant: what NTP slews by is no jump.

use crate::journal::WALL_STEP_NS_MIN;
use crate::stamp::{Anchor, MILLISECOND_NS};

/// The part of a span that the clocks may part by in it: 500 ppm, the most that NTP slews by.
const SLEW_PART_MAX: u64 = 2000;

/// Both clocks, when they were last compared.
#[derive(Debug)]
pub struct Watch(Anchor);

impl Watch {
    /// Watches from `now` on.
    pub const fn new(now: Anchor) -> Self {
        Self(now)
    }

    /// Whether the clocks have parted since they were last compared. A stop between the readings of the
    /// two looks like a jump: if so, [look](Self::look) again.
    pub fn is_off(&mut self, now: Anchor) -> bool {
        let is_off = self.jump_ns(now) != 0;
        if !is_off {
            self.0 = now;
        }
        is_off
    }

    /// Logs a jump, if this second reading shows it too.
    pub fn look(&mut self, now: Anchor) {
        let jump_ns = self.jump_ns(now);
        if jump_ns != 0 {
            log::warn!(
                "the wall clock jumped by {} against boot time; hits are counted by boot time",
                seconds(jump_ns)
            );
        }
        self.0 = now;
    }

    /// By how much the wall clock has jumped; 0 if it did not.
    fn jump_ns(&self, now: Anchor) -> i64 {
        let apart_ns = now.wall_ns.saturating_sub(self.0.wall_at(now.at));
        let slewed_ns = now.at.since(self.0.at) / SLEW_PART_MAX;
        if apart_ns.unsigned_abs() < WALL_STEP_NS_MIN.saturating_add(slewed_ns) {
            return 0;
        }
        apart_ns
    }
}

/// A signed span, in seconds to the millisecond.
fn seconds(ns: i64) -> String {
    let sign = if ns < 0 { '-' } else { '+' };
    let ms = ns.unsigned_abs() / MILLISECOND_NS;
    format!("{sign}{}.{:03} s", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{SECOND_NS, Stamp};

    const SECOND: i64 = SECOND_NS.cast_signed();

    fn at(line_ns: i64, wall_ns: i64) -> Anchor {
        let at = Stamp::from_ns(line_ns);
        Anchor { at, wall_ns }
    }

    #[test]
    fn a_step_both_ways_is_a_jump_of_its_size_once() {
        for step_ns in [3600 * SECOND, -30 * SECOND, SECOND / 10, -SECOND / 10] {
            let mut watch = Watch::new(at(SECOND, 50 * SECOND));
            let now = at(2 * SECOND, 51 * SECOND + step_ns);
            let allowed_ns = SECOND / SLEW_PART_MAX.cast_signed();
            let is_jump = step_ns.abs() >= SECOND / 10 + allowed_ns;
            assert_eq!(watch.jump_ns(now), if is_jump { step_ns } else { 0 });
            assert_eq!(watch.is_off(now), is_jump);
            watch.look(now);
            assert!(!watch.is_off(at(3 * SECOND, 52 * SECOND + step_ns)));
        }
    }

    #[test]
    fn what_ntp_slews_by_in_a_day_without_hits_is_no_jump() {
        let mut watch = Watch::new(at(SECOND, 50 * SECOND));
        let day_ns = 86_400 * SECOND;
        assert!(!watch.is_off(at(SECOND + day_ns, 50 * SECOND + day_ns + day_ns / 2000)));
        assert!(!watch.is_off(at(SECOND + 2 * day_ns, 50 * SECOND + 2 * day_ns)));
    }

    #[test]
    fn a_stop_between_the_readings_of_both_clocks_is_no_jump() {
        let mut watch = Watch::new(at(SECOND, 50 * SECOND));
        assert!(watch.is_off(at(2 * SECOND, 60 * SECOND)));
        watch.look(at(11 * SECOND, 60 * SECOND));
        assert!(!watch.is_off(at(12 * SECOND, 61 * SECOND)));
    }

    #[test]
    fn the_size_of_a_jump_has_a_sign_and_milliseconds() {
        assert_eq!(seconds(3600 * SECOND), "+3600.000 s");
        assert_eq!(seconds(-SECOND / 4), "-0.250 s");
        assert_eq!(seconds(i64::MIN), "-9223372036.854 s");
    }
}

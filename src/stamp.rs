//! The unit of time: an instant on the tally timeline, in integer nanoseconds.
//!
//! Owns the arithmetic, which saturates instead of wrapping. The timeline is today's boot-time
//! clock: zero is the boot of this machine, and what an earlier boot recorded lies below zero.
//!
//! Must not know where stamps come from. Invariant: nothing here reads a clock.

use std::fmt;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND_NS: u64 = 1_000_000;

/// An instant on the tally timeline, in nanoseconds after this machine's boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// Before every instant.
    pub const MIN: Self = Self(i64::MIN);
    /// After every instant.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `ns` after boot; negative before it.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds after boot; negative before it.
    #[must_use]
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// The instant `span_ns` earlier, at the least [`Stamp::MIN`].
    #[must_use]
    pub const fn before(self, span_ns: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(span_ns))
    }

    /// The instant `span_ns` later, at the most [`Stamp::MAX`].
    #[must_use]
    pub const fn after(self, span_ns: u64) -> Self {
        Self(self.0.saturating_add_unsigned(span_ns))
    }

    /// Nanoseconds since `earlier`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        if self.0 <= earlier.0 {
            0
        } else {
            self.0.abs_diff(earlier.0)
        }
    }
}

/// One instant read on two clocks: what ties the tally timeline to the calendar, for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The instant on the boot-time clock.
    pub at: Stamp,
    /// The same instant on the wall clock, in nanoseconds since 1970, negative before.
    pub wall_ns: i64,
}

impl Anchor {
    /// What the wall clock showed at `stamp`, had it not been stepped in between.
    #[must_use]
    pub const fn wall_at(self, stamp: Stamp) -> i64 {
        self.wall_ns
            .saturating_add(stamp.ns().saturating_sub(self.at.ns()))
    }

    /// When the wall clock showed `wall_ns`, had it not been stepped in between.
    #[must_use]
    pub const fn stamp_at(self, wall_ns: i64) -> Stamp {
        let since_ns = wall_ns.saturating_sub(self.wall_ns);
        Stamp::from_ns(self.at.ns().saturating_add(since_ns))
    }
}

/// Which boot of which machine a stamp belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// How the identifiers end that are no boot's. Those of a kernel are random.
const UNKNOWN: [u8; 8] = *b"unknown\0";

impl BootId {
    /// The identifier of a start that cannot know its boot; `wall_ns` tells it from other starts.
    #[must_use]
    pub fn unknown(wall_ns: i64) -> Self {
        let mut id = Self::default();
        id.0[..8].copy_from_slice(&wall_ns.to_be_bytes());
        id.0[8..].copy_from_slice(&UNKNOWN);
        id
    }

    /// Whether it says nothing of the boot.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self.0[8..] == UNKNOWN
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Stamp::MIN.before(1), Stamp::MIN);
        assert_eq!(Stamp::MAX.after(1), Stamp::MAX);
        assert_eq!(Stamp::from_ns(5).before(7).ns(), -2);
        assert_eq!(Stamp::MAX.since(Stamp::MIN), u64::MAX);
        assert_eq!(Stamp::from_ns(1).since(Stamp::from_ns(2)), 0);
    }

    #[test]
    fn stamps_move_by_the_span_and_know_the_distance_and_their_text() {
        let stamp = Stamp::from_ns(1_000);
        assert_eq!(stamp.before(300), Stamp::from_ns(700));
        assert_eq!(stamp.after(300), Stamp::from_ns(1_300));
        assert_eq!(Stamp::from_ns(1_300).since(stamp), 300);
        assert_eq!(stamp.since(stamp), 0);
        assert_eq!(Stamp::from_ns(-42).to_string(), "-42 ns");
    }

    #[test]
    fn an_anchor_translates_both_ways_and_saturates() {
        let anchor = Anchor {
            at: Stamp::from_ns(1_000),
            wall_ns: 50_000,
        };
        assert_eq!(anchor.wall_at(Stamp::from_ns(1_300)), 50_300);
        assert_eq!(anchor.wall_at(Stamp::from_ns(400)), 49_400);
        assert_eq!(anchor.wall_at(Stamp::MAX), i64::MAX);
        assert_eq!(anchor.stamp_at(50_300), Stamp::from_ns(1_300));
        assert_eq!(anchor.stamp_at(49_400), Stamp::from_ns(400));
        assert_eq!(anchor.stamp_at(i64::MIN).ns(), i64::MIN + 1_000);
    }

    #[test]
    fn an_unknown_boot_is_told_from_a_known_one_and_from_another_unknown_one() {
        let unknown = BootId::unknown(0x0102_0304_0506_0708);
        assert_eq!(&unknown.0, b"\x01\x02\x03\x04\x05\x06\x07\x08unknown\0");
        assert!(unknown.is_unknown());
        assert!(!BootId::default().is_unknown());
        assert_ne!(unknown, BootId::unknown(1));
    }
}

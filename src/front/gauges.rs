//! What the pool counts besides hits: connections, and what it refused.
//!
//! Owns numbers that several workers add to and an operator reads. They are statistics: each is exact by
//! itself, and no two are of the same instant. Where the machine's words have 32 bits they come round at
//! 2^32, since not every such machine can add to 64 at once.
//!
//! Must not know what is served. Invariant: a number here decides nothing but whether one connection
//! more is let in.

use super::pool::request::Refusal;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which door a connection has come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its requests count.
    Hits,
    /// Its requests are an operator's.
    Operator,
}

/// The gauges of one process.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Connections of each side that are open, those above the limit not among them.
    open: [AtomicUsize; 2],
    /// Connections of each side that were let in.
    accepted: [AtomicUsize; 2],
    /// Connections of each side that were told 503 for want of a place.
    surplus: [AtomicUsize; 2],
    /// Requests for hits that were refused, by their refusal.
    refused: [AtomicUsize; Refusal::ALL.len()],
    /// Requests of operators.
    asked: AtomicUsize,
}

impl Gauges {
    /// Reserves the place of one connection, unless there are `max` already.
    #[must_use]
    pub fn reserve(&self, side: Side, max: usize) -> bool {
        let open = &self.open[side as usize];
        let has_place = open.fetch_add(1, Ordering::Relaxed) < max;
        if !has_place {
            self.leave(side);
        }
        has_place
    }

    /// A connection has taken the place that was reserved for it.
    pub fn enter(&self, side: Side) {
        self.accepted[side as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A place is free again.
    pub fn leave(&self, side: Side) {
        self.open[side as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection was told that there is no place for it.
    pub fn turn_away(&self, side: Side) {
        self.surplus[side as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request for a hit was refused.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An operator has asked.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self, side: Side) -> usize {
        self.open[side as usize].load(Ordering::Relaxed)
    }

    /// Connections that were let in so far.
    #[must_use]
    pub fn accepted(&self, side: Side) -> u64 {
        self.accepted[side as usize].load(Ordering::Relaxed) as u64
    }

    /// Connections that were told 503 for want of a place so far.
    #[must_use]
    pub fn surplus(&self, side: Side) -> u64 {
        self.surplus[side as usize].load(Ordering::Relaxed) as u64
    }

    /// Requests for hits that were refused so far.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed) as u64
    }

    /// Requests and connections for hits that were refused so far.
    #[must_use]
    pub fn all_refused(&self) -> u64 {
        let requests = Refusal::ALL.iter().map(|&refusal| self.refused(refusal));
        requests.sum::<u64>() + self.surplus(Side::Hits)
    }

    /// Requests of operators so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_is_not_let_in() {
        let gauges = Gauges::default();
        assert!(gauges.reserve(Side::Hits, 1));
        gauges.enter(Side::Hits);
        assert!(!gauges.reserve(Side::Hits, 1));
        gauges.turn_away(Side::Hits);
        assert!(gauges.reserve(Side::Operator, 1));
        gauges.enter(Side::Operator);
        gauges.leave(Side::Hits);
        assert!(gauges.reserve(Side::Hits, 1));
        gauges.enter(Side::Hits);
        let of = |side| {
            (
                gauges.open(side),
                gauges.accepted(side),
                gauges.surplus(side),
            )
        };
        assert_eq!((of(Side::Hits), of(Side::Operator)), ((1, 2, 1), (1, 1, 0)));
    }

    #[test]
    fn each_refusal_and_each_question_is_counted_under_its_own_name_alone() {
        let gauges = Gauges::default();
        for (place, &refusal) in Refusal::ALL.iter().enumerate() {
            for _ in 0..=place {
                gauges.refuse(refusal);
            }
        }
        for _ in 0..3 {
            gauges.ask();
        }
        for _ in 0..5 {
            gauges.turn_away(Side::Hits);
        }
        for _ in 0..7 {
            gauges.turn_away(Side::Operator);
        }
        let refused = Refusal::ALL.map(|refusal| gauges.refused(refusal));
        let expected: Vec<u64> = (1..=Refusal::ALL.len() as u64).collect();
        assert_eq!(refused.to_vec(), expected);
        assert_eq!(gauges.asked(), 3);
        let surplus = (gauges.surplus(Side::Hits), gauges.surplus(Side::Operator));
        assert_eq!(surplus, (5, 7));
        // Operators that are turned away are not among the hits that were refused.
        assert_eq!(gauges.all_refused(), expected.iter().sum::<u64>() + 5);
    }
}

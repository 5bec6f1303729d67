//! What a clock of this machine is good for: its step, what a reading costs, and how often two
//! neighbours are equal.
//!
//! Owns how that is found out. One thread reads as fast as it can, as a worker does in a pass full of
//! hits; then two at once, whose readings are put in order together, as those of two workers are.
//!
//! Must not know which clock stamps hits. Invariant: a step is a difference that was seen, never one
//! that the system claims.

use super::median_ns;
use crate::clock::{Candidate, Clock, SystemClock};
use crate::stamp::MILLISECOND_NS;
use std::cmp::Ordering;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering as Sync};

/// Readings of one thread, and of two together, at the least.
const READINGS: u64 = 100_000;
/// Steps that must have been seen.
const STEPS_MIN: u64 = 3;
/// How long steps are waited for, in nanoseconds: a coarse clock steps every 1 to 10 ms.
const PATIENCE_NS: u64 = 60 * MILLISECOND_NS;
/// Readings of each of two threads, in one go.
const READINGS_OF_TWO: usize = 5_000;
/// How often two threads try to read at the same time, at the most.
const GOES: u32 = 40;
/// Readings between two looks at the time.
const PASS: u64 = 1_000;

/// A clock, and what was seen of it.
pub struct Measured {
    /// Which.
    pub clock: Candidate,
    /// The smallest difference between two readings that were not equal; nothing if all were.
    pub step_ns: Option<u64>,
    /// Nanoseconds for a reading.
    pub read_ns: f64,
    /// The share of readings that are equal to their neighbour, of one thread and of two.
    pub equal_share: [f64; 2],
}

/// What was seen of readings in a row.
#[derive(Default)]
struct Row {
    pairs: u64,
    equal: u64,
    steps: u64,
    step_ns: Option<u64>,
}

impl Row {
    fn add(&mut self, last_ns: i64, now_ns: i64) {
        self.pairs += 1;
        match now_ns.cmp(&last_ns) {
            Ordering::Equal => self.equal += 1,
            // A wall clock may be stepped back.
            Ordering::Less => {}
            Ordering::Greater => {
                let step_ns = now_ns.abs_diff(last_ns);
                self.steps += 1;
                self.step_ns = Some(self.step_ns.map_or(step_ns, |least| least.min(step_ns)));
            }
        }
    }

    fn equal_share(&self) -> f64 {
        self.equal as f64 / self.pairs.max(1) as f64
    }
}

/// Finds out.
pub fn measure(clock: Candidate) -> Measured {
    let (alone, together) = (one_thread(clock), two_threads(clock));
    let steps = alone.step_ns.into_iter().chain(together.step_ns);
    Measured {
        clock,
        step_ns: steps.min(),
        read_ns: median_ns(PASS as usize, || {
            for _ in 0..PASS {
                black_box(clock.now_ns());
            }
        }),
        equal_share: [alone.equal_share(), together.equal_share()],
    }
}

fn one_thread(clock: Candidate) -> Row {
    let until = SystemClock.now().after(PATIENCE_NS);
    let mut row = Row::default();
    let mut last_ns = clock.now_ns();
    while (row.pairs < READINGS || row.steps < STEPS_MIN) && SystemClock.now() < until {
        for _ in 0..PASS {
            let now_ns = clock.now_ns();
            row.add(last_ns, now_ns);
            last_ns = now_ns;
        }
    }
    row
}

/// What two threads read that were at it at the same time, in several goes: how the one's steps lie to the
/// other's differs from go to go.
fn two_threads(clock: Candidate) -> Row {
    let mut row = Row::default();
    for _ in 0..GOES {
        let readings = overlap(read_by_two(clock));
        for pair in readings.windows(2) {
            row.add(pair[0], pair[1]);
        }
        // Other work on the same processors may have kept one of them waiting.
        if row.pairs >= READINGS {
            break;
        }
    }
    row
}

fn read_by_two(clock: Candidate) -> [Vec<i64>; 2] {
    let ready = AtomicUsize::new(0);
    let read = || {
        let mut readings = Vec::with_capacity(READINGS_OF_TWO);
        ready.fetch_add(1, Sync::AcqRel);
        while ready.load(Sync::Acquire) < 2 {
            std::thread::yield_now();
        }
        readings.extend((0..READINGS_OF_TWO).map(|_| clock.now_ns()));
        readings
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(read);
        let ours = read();
        // A thread that panicked has said so.
        [ours, other.join().unwrap_or_default()]
    })
}

/// What lies between the later beginning and the earlier end, in order.
fn overlap([ours, others]: [Vec<i64>; 2]) -> Vec<i64> {
    let begin = ours.first().max(others.first()).copied();
    let end = ours.last().min(others.last()).copied();
    let (Some(begin), Some(end)) = (begin, end) else {
        return Vec::new();
    };
    let both = ours.into_iter().chain(others);
    let mut both: Vec<i64> = both.filter(|it| (begin..=end).contains(it)).collect();
    both.sort_unstable();
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CANDIDATES;

    #[test]
    fn equal_neighbours_and_the_smallest_step_are_seen() {
        let mut row = Row::default();
        for pair in [0_i64, 0, 20, 60, 60, 50, 70].windows(2) {
            row.add(pair[0], pair[1]);
        }
        assert_eq!((row.pairs, row.equal, row.steps), (6, 2, 3));
        assert_eq!(row.step_ns, Some(20));
        assert!((row.equal_share() - 1.0 / 3.0).abs() < 1e-9);
        assert!(Row::default().equal_share() < 1e-9);
    }

    #[test]
    fn only_what_two_threads_read_at_the_same_time_is_compared() {
        let both = overlap([vec![1, 3, 5, 7], vec![4, 5, 6, 9]]);
        assert_eq!(both, [4, 5, 5, 6, 7]);
        assert!(overlap([vec![1, 2], vec![3, 4]]).is_empty());
        assert!(overlap([vec![1, 2], Vec::new()]).is_empty());
    }

    #[test]
    fn every_clock_of_this_machine_steps() {
        for clock in CANDIDATES {
            let measured = measure(*clock);
            let step_ns = measured.step_ns.expect("a step");
            assert!((1..1_000_000_000).contains(&step_ns), "{}", clock.name);
            assert!(measured.read_ns > 0.0, "{}", clock.name);
            for share in measured.equal_share {
                assert!((0.0..=1.0).contains(&share), "{}: {share}", clock.name);
            }
        }
    }
}

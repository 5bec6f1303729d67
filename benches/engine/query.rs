//! Microseconds per count of any window at any instant, over a whole window of records.
//!
//! Owns the choice of windows: random lengths at random instants, from a fixed seed.
//!
//! Must not know how a count is found. Invariant: every count is the one that the line says.

use crate::spread::{Spread, WINDOW_NS};
use crate::{Outcome, Scale, path, table};
use tallyd::window;

/// Queries of one round.
const QUERIES: u64 = 2_000;

/// Writes the section.
pub fn measure(scale: Scale, spread: &Spread) -> Outcome<()> {
    table::section(&format!("query: over {} records", spread.record_count));
    let journal = spread.journal()?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds {
        let (ns, done) = table::timed(|| -> Outcome<()> {
            for _ in 0..QUERIES {
                let window_ns = 1 + random.below(WINDOW_NS);
                let at = path::START.after(random.below(WINDOW_NS));
                let counted = window::count(&journal, window_ns, at)?.hits;
                let expected = spread.count_to(at) - spread.count_to(at.before(window_ns));
                if counted != expected {
                    return Err(format!("{window_ns} ns to {at}: {counted}, not {expected}").into());
                }
            }
            Ok(())
        });
        done?;
        rounds.push(ns / QUERIES as f64 / 1e3);
    }
    table::figure("any window at any instant", "us/query", rounds, Some(20.0));
    Ok(())
}

/// Marsaglia's xorshift: enough to choose windows.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

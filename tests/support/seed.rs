//! Chance from a seed: every run of a seeded test can be repeated.
//!
//! Owns the generator (SplitMix64) and the rule for seeds: tests go through a fixed range of them,
//! or through the one in `TALLYD_TEST_SEED` alone; `TALLYD_TEST_FIRST` moves the range. A failure
//! prints the seed that brought it about.
//!
//! Must not know what is drawn. Invariant: equal seeds draw equal numbers, on every machine.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A generator of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The generator that `seed` begins.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number in 0 to `most`, both included.
    pub const fn upto(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(numbers) => self.next() % numbers,
            None => self.next(),
        }
    }

    /// A number in `least` to `most`, both included.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.upto(most - least)
    }

    /// True once in `in_many` times.
    pub const fn once(&mut self, in_many: u64) -> bool {
        self.upto(in_many - 1) == 0
    }

    /// One of `all`.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.upto(all.len() as u64 - 1) as usize]
    }

    /// A span whose magnitude is drawn first, so that small ones are as frequent as large ones.
    pub fn span(&mut self, most: u64) -> u64 {
        let bits = self.upto(u64::from(u64::BITS - most.leading_zeros()));
        let limit = 1_u64.checked_shl(bits as u32).map_or(most, |top| top - 1);
        self.upto(limit.min(most))
    }
}

/// The one seed that was asked for.
pub fn asked_for() -> Option<u64> {
    let text = std::env::var("TALLYD_TEST_SEED").ok()?;
    Some(text.parse().expect("TALLYD_TEST_SEED is a number"))
}

/// How many seeds to go through: as many as `TALLYD_TEST_COUNT` says, or else `usual`.
pub fn count(usual: u64) -> u64 {
    std::env::var("TALLYD_TEST_COUNT").map_or(usual, |text| {
        text.parse().expect("TALLYD_TEST_COUNT is a number")
    })
}

/// The seed to begin with: 0, or what `TALLYD_TEST_FIRST` says.
pub fn first() -> u64 {
    std::env::var("TALLYD_TEST_FIRST").map_or(0, |text| {
        text.parse().expect("TALLYD_TEST_FIRST is a number")
    })
}

/// Runs `test` with `count` seeds, or with the one that was asked for.
pub fn for_seeds(count: u64, test: impl Fn(u64)) {
    let first = first();
    let seeds = asked_for().map_or(first..first + count, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("again with: TALLYD_TEST_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

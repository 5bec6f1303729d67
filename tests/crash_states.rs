//! Every state that a crash may leave, one by one, at every operation of recorded runs.
//!
//! Owns the walk. Runs over rotations, recycled files and a restart are recorded; for each of their
//! operations each state in {nothing, everything, every torn byte, zero tail, each subset of sectors
//! up to a bound} times {names as far as any change of them} is recovered by the engine and held to
//! what was promised. For some of the states the power goes again, at every operation of the start
//! behind them. `TALLYD_TEST_COUNT` says how many seeds, `TALLYD_TEST_SEED` which one; with
//! optimization every state is looked at, without it one in several.
//!
//! Must not know how recovery goes about it. Invariant: a state is counted once, however often it is
//! reached, and only when it has been recovered.

mod support;

#[path = "crash_states/check.rs"]
mod check;
#[path = "crash_states/device.rs"]
mod device;
#[path = "crash_states/life.rs"]
mod life;
#[path = "crash_states/tape.rs"]
mod tape;

use check::{Bounds, End, Next, START, check};
use device::{Device, Settled};
use life::{Run, record};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::rig::{BOOT, WINDOW_NS, clock_at};
use support::seed::{Chance, asked_for, count};
use tallyd::journal::SyncPolicy;
use tape::Files;

const EVERY: SyncPolicy = SyncPolicy::Every {
    period_ns: WINDOW_NS / 10,
};
/// One state in so many is looked at.
const STRIDE: u64 = if cfg!(debug_assertions) { 10 } else { 1 };
/// Behind one state in so many of these the power goes again.
const AGAIN_STRIDE: u64 = 800;
/// Distinct states to be recovered by each seed, at the least.
const STATES_MIN: usize = if cfg!(debug_assertions) {
    20_000
} else {
    200_000
};

/// A kind of run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    policy: SyncPolicy,
    /// What a sync that fails leaves, if one does.
    fails: Option<Settled>,
}

const PLANS: [Plan; 7] = [
    Plan {
        policy: SyncPolicy::Never,
        fails: None,
    },
    Plan {
        policy: SyncPolicy::Always,
        fails: None,
    },
    Plan {
        policy: EVERY,
        fails: None,
    },
    Plan {
        policy: SyncPolicy::Always,
        fails: Some(Settled::AsBefore),
    },
    Plan {
        policy: SyncPolicy::Always,
        fails: Some(Settled::AsWritten),
    },
    Plan {
        policy: EVERY,
        fails: Some(Settled::AsBefore),
    },
    Plan {
        policy: EVERY,
        fails: Some(Settled::AsWritten),
    },
];

/// Goes through the states of one run.
struct Walk<'a> {
    run: &'a Run,
    plan: Plan,
    seed: u64,
    chance: Chance,
    /// States that were recovered.
    distinct: HashSet<u64>,
    /// States and floors that were looked at.
    checked: HashSet<u64>,
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Walk<'_> {
    /// Goes through everything that each event may leave.
    fn go(&mut self) {
        let run = self.run;
        let mut chance = self.chance.clone();
        let mut device =
            Device::holding(&Files::new(), self.plan.fails.unwrap_or(Settled::AsBefore));
        for (done, event) in run.events.iter().enumerate() {
            device.apply(event);
            let (before, after) = (run.mark_at(done), run.mark_at(done + 1));
            let bounds = |end, floor: u64, mark: life::Mark, is_even| Bounds {
                end,
                floor,
                sound: floor,
                ceiling: mark.sent,
                now: mark.now,
                is_even,
                splits_record: false,
                later: None,
            };
            let torn = bounds(
                End::Killed,
                before.written.min(after.written),
                before,
                false,
            );
            for (files, splits_record) in device.torn_writes() {
                let torn = Bounds {
                    splits_record,
                    ..torn
                };
                self.visit(&files, &torn);
            }
            let killed = bounds(End::Killed, after.written, after, true);
            self.visit(&device.written(), &killed);
            device.cuts(&mut chance, |files, is_even| {
                // What a failed sync has lost is missing for good and said to be.
                let is_even = is_even && self.plan.fails.is_none();
                self.visit(files, &bounds(End::Cut, after.covered, after, is_even));
            });
        }
    }

    /// Recovers `files` and checks what comes out, unless that was done before.
    fn visit(&mut self, files: &Files, bounds: &Bounds) {
        let named = files.iter().map(|(name, content)| (name, content.hash));
        let state = hash_of(&named.collect::<Vec<_>>());
        // What is sent only grows: under an equal floor the first look was the strictest.
        let Bounds {
            end,
            floor,
            is_even,
            splits_record,
            ..
        } = *bounds;
        let look = hash_of(&(state, end, floor, is_even, splits_record));
        if !bounds.is_even && !state.is_multiple_of(STRIDE) || !self.checked.insert(look) {
            return;
        }
        self.distinct.insert(state);
        match check(self.run, files, bounds) {
            Ok(next) if bounds.end == End::Cut && (look / STRIDE).is_multiple_of(AGAIN_STRIDE) => {
                self.again(files, &next);
            }
            Ok(_) => {}
            Err(cause) => {
                for (name, content) in files {
                    eprintln!("{name}: {} bytes", content.bytes.len());
                }
                eprintln!("again with: TALLYD_TEST_SEED={}", self.seed);
                panic!("{:?}, {bounds:?}: {cause}", self.plan);
            }
        }
    }

    /// The power goes again at every operation of the life behind a cut.
    fn again(&mut self, files: &Files, next: &Next) {
        let mut device = Device::holding(files, Settled::AsBefore);
        let mut chance = self.chance.clone();
        for (done, event) in next.events.iter().enumerate() {
            device.apply(event);
            let mut bounds = next.bounds;
            if done + 1 >= next.synced_at && self.plan.policy != SyncPolicy::Never {
                bounds.floor = bounds.ceiling;
            }
            device.cuts(&mut chance, |files, _| self.visit(files, &bounds));
        }
    }
}

/// Walks through the runs of `seed`, two at a time; the states that were recovered.
fn walk(seed: u64) -> HashSet<u64> {
    let turn = AtomicUsize::new(0);
    let worker = || {
        let mut distinct = HashSet::new();
        loop {
            let index = turn.fetch_add(1, Ordering::SeqCst);
            let Some(&plan) = PLANS.get(index) else {
                break distinct;
            };
            // No two runs have a hit at the same instant: their states are different ones.
            let chance = Chance::new(seed * PLANS.len() as u64 + index as u64);
            let run = record(
                plan.policy,
                &clock_at(START),
                BOOT,
                chance.clone(),
                plan.fails.is_some(),
            );
            let mut walk = Walk {
                run: &run,
                plan,
                seed,
                chance,
                distinct: HashSet::new(),
                checked: HashSet::new(),
            };
            walk.go();
            println!(
                "seed {seed}, {plan:?}: {} operations, {} recoveries, {} states",
                run.events.len(),
                walk.checked.len(),
                walk.distinct.len()
            );
            distinct.extend(walk.distinct);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        let found = workers.map(|it| it.join().expect("every promise is kept"));
        found.into_iter().flatten().collect()
    })
}

#[test]
fn every_state_that_a_crash_may_leave_is_recovered_as_promised() {
    let seeds = asked_for().map_or(0..count(1), |seed| seed..seed + 1);
    let (mut distinct, mut seed_count) = (HashSet::new(), 0);
    for seed in seeds {
        distinct.extend(walk(seed));
        seed_count += 1;
    }
    println!(
        "{} distinct states were recovered as promised",
        distinct.len()
    );
    let least = STATES_MIN * seed_count;
    assert!(
        distinct.len() >= least,
        "{} states, not {least}",
        distinct.len()
    );
}

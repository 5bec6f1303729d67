//! The simulator: the whole engine on one thread, on a simulated disk and a clock by hand, for as many
//! seeds as anybody has patience for.
//!
//! Owns the run of a seed and the search for the shortest trace of a failure. A seed is a weather: hits
//! of random size and lateness, questions, rotations, syncs that are slow, fail or come late, short
//! writes, faults of every kind, a disk that is full for a while, deaths at any call of the kernel,
//! power cuts, reboots, stepped and standing clocks. After each step every promise of the design (P1
//! to P4) is held against a model that keeps all hits in one list.
//!
//! Must not know what a promise is; `simulator/model.rs` does. Invariant: equal seeds run equal lives.
//! `scripts/simulate` runs many optimized, `scripts/simulate --seed N` one again.

mod support;

#[path = "simulator/found.rs"]
mod found;
#[path = "simulator/life.rs"]
mod life;
#[path = "simulator/model.rs"]
mod model;
#[path = "simulator/step.rs"]
mod step;
#[path = "simulator/world.rs"]
mod world;

use life::{End, Figures};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;
use step::{Step, Weather, weather};
use support::seed::{asked_for, count, first};
use tallyd::funnel::Settings;
use world::World;

/// Seeds in a run that nobody has asked more of: some seconds without optimization.
const SEEDS: u64 = 1000;
/// How often a failure is run again at the most to make it shorter.
const RUNS_MAX: u32 = 20_000;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the steps; says what was broken, and at which step.
fn run(settings: Settings, steps: &[Step], figures: &mut Figures) -> Result<(), (usize, String)> {
    let mut reached = 0;
    let run = || {
        let mut world = World::new(settings).map_err(|end| match end {
            End::Died => "died at once".to_owned(),
            End::Broken(why) => why,
        })?;
        for step in steps {
            world.take(step)?;
            reached += 1;
        }
        world.finish()?;
        figures.add(&world.figures);
        Ok(())
    };
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err(PANIC.with_borrow(Clone::clone)));
    outcome.map_err(|why| (reached, why))
}

/// Takes out and simplifies steps as long as the rest still fails.
fn shrink(settings: Settings, mut steps: Vec<Step>) -> (Vec<Step>, String) {
    let mut runs = 0;
    let mut fails = |steps: &[Step]| {
        runs += 1;
        let more = runs <= RUNS_MAX;
        let failed = || run(settings, steps, &mut Figures::default()).err();
        more.then(failed).flatten()
    };
    let (mut reached, mut why) = fails(&steps).expect("it has just failed");
    loop {
        let before = format!("{steps:?}");
        steps.truncate(reached + 1);
        let mut length = steps.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < steps.len() {
                let mut fewer = steps.clone();
                fewer.drain(from..(from + length).min(steps.len()));
                match fails(&fewer) {
                    Some(still) => (steps, (reached, why)) = (fewer, still),
                    None => from += length,
                }
            }
            length /= 2;
        }
        for index in 0..steps.len() {
            let mut simpler = steps[index].simpler().into_iter();
            while let Some(step) = simpler.next() {
                let mut other = steps.clone();
                other[index] = step.clone();
                if let Some(still) = fails(&other) {
                    (steps, (reached, why)) = (other, still);
                    simpler = step.simpler().into_iter();
                }
            }
        }
        if before == format!("{steps:?}") {
            return (steps, why);
        }
    }
}

/// The words of a panic are part of the trace, not of the output.
fn keep_panics_for_the_trace() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_hook(Box::new(|panic| {
            PANIC.set(format!("panicked: {panic}"));
        }));
    });
}

/// The shortest trace that breaks what seed `seed` breaks, if it breaks anything.
fn broken(seed: u64, figures: &mut Figures) -> Option<String> {
    let Weather { settings, steps } = weather(seed);
    run(settings, &steps, figures).err()?;
    let drawn = steps.len();
    let (steps, why) = shrink(settings, steps);
    let mut trace = format!("seed {seed}: {why}\n{settings:?}\n");
    for step in &steps {
        trace.push_str(&format!("  {step:?}\n"));
    }
    trace.push_str(&format!(
        "{} of {drawn} steps; again with: scripts/simulate --seed {seed}",
        steps.len()
    ));
    Some(trace)
}

#[test]
fn every_promise_is_kept_in_every_weather() {
    keep_panics_for_the_trace();
    let mut figures = Figures::default();
    let seeds = asked_for().map_or(first()..first() + count(SEEDS), |seed| seed..seed + 1);
    let number = seeds.end - seeds.start;
    for seed in seeds {
        if let Some(trace) = broken(seed, &mut figures) {
            // The hook keeps the words of a panic, so the trace is printed by itself.
            println!("\n{trace}");
            panic!("seed {seed} breaks a promise");
        }
    }
    println!("\n{number} seeds");
    for (words, figure) in figures.all_mut() {
        println!("{figure:>12} {words}");
        // The last is rare: what was refused has nearly always been cut off by then.
        let is_enough = *figure > 0 || number < 500 || words.starts_with("refused hits");
        assert!(is_enough, "no {words}: the weather is too fair");
    }
}

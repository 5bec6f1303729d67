//! Nanoseconds per hit through the counting path, by the size of the batch.
//!
//! Owns the four ways it is measured: in one thread, which is what counting costs, and across two,
//! which adds the handoff; with given stamps, and with the system's clock read for every hit.
//!
//! Must not know how a turn is done. Invariant: the window is full and moves on, so that for every
//! hit that is written another is read on its way out, and segments rotate and retire meanwhile.

use crate::path::{self, Given, Read, Stamps, Worker};
use crate::{Outcome, Scale, table};
use std::time::{Duration, Instant};
use tallyd::hit::Message;
use tallyd::journal::SyncPolicy;

const BATCHES: [usize; 4] = [1, 8, 64, 512];
/// A window that a benchmark can fill many times over.
const WINDOW_NS: u64 = 100_000_000;
/// Given stamps are this far apart: a million hits in the window.
const STEP_NS: u64 = 100;
/// Hits that fill the window before anything is timed.
const WARM_HITS: u64 = 2_000_000;

/// Writes the section.
pub fn measure(scale: Scale) -> Outcome<()> {
    table::section("hits: batch in, journal flushed, tallies out, with a full window moving on");
    for size in BATCHES {
        let goal = match size {
            64 => Some(60.0),
            512 => Some(15.0),
            _ => None,
        };
        let rounds = alone(scale, Given::new(STEP_NS), size)?;
        show("one thread, given stamps", size, rounds, goal);
    }
    for size in BATCHES {
        let goal = (size == 64).then_some(60.0);
        let rounds = alone(scale, Read, size)?;
        show("one thread, a clock read per hit", size, rounds, goal);
    }
    for size in BATCHES {
        let rounds = across(scale, Given::new(STEP_NS), size)?;
        show("two threads, given stamps", size, rounds, None);
    }
    for size in BATCHES {
        let rounds = across(scale, Read, size)?;
        show("two threads, a clock read per hit", size, rounds, None);
    }
    Ok(())
}

fn show(way: &str, size: usize, rounds: Vec<f64>, goal: Option<f64>) {
    table::figure(&format!("{way}, batches of {size}"), "ns/hit", rounds, goal);
}

/// The worker's pass and the funnel's turn, one after the other in this thread.
fn alone<S: Stamps>(scale: Scale, stamps: S, size: usize) -> Outcome<Vec<f64>> {
    let directory = path::directory()?;
    let (mut funnel, _jobs) = path::open(
        directory.path(),
        stamps.clock(),
        WINDOW_NS,
        SyncPolicy::Never,
    )?;
    let (mut worker, messages) = Worker::new(stamps, WINDOW_NS);
    rounds(scale, size, |size| {
        worker.pass(size, || {
            if let Ok(first) = messages.try_recv() {
                funnel.turn(first, &messages);
            }
        })
    })
}

/// The funnel runs in its own thread, as in a server.
fn across<S: Stamps>(scale: Scale, stamps: S, size: usize) -> Outcome<Vec<f64>> {
    let directory = path::directory()?;
    let (funnel, _jobs) = path::open(
        directory.path(),
        stamps.clock(),
        WINDOW_NS,
        SyncPolicy::Never,
    )?;
    let (mut worker, messages) = Worker::new(stamps, WINDOW_NS);
    std::thread::scope(|scope| {
        let funnel = scope.spawn(move || funnel.run(&messages));
        let figures = rounds(scale, size, |size| worker.pass(size, || {}));
        let _gone = worker.inlet.send(Message::Stop);
        funnel.join().map_err(|_| "the funnel panicked")??;
        figures
    })
}

/// Nanoseconds per hit of each round, after the window was filled and then emptied of what filled it.
fn rounds(
    scale: Scale,
    size: usize,
    mut pass: impl FnMut(usize) -> Outcome<u64>,
) -> Outcome<Vec<f64>> {
    for _ in 0..WARM_HITS / 512 {
        pass(512)?;
    }
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_nanos(2 * WINDOW_NS) {
        pass(size)?;
    }
    let turns = scale.turns.min(scale.hits / size as u64);
    (0..scale.rounds)
        .map(|_| {
            let (ns, done) = table::timed(|| (0..turns).try_for_each(|_| pass(size).map(drop)));
            done.map(|()| ns / (turns * size as u64) as f64)
        })
        .collect()
}

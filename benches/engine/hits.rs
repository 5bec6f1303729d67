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

/// One way to measure, by its name in the table, and its goals at batches of 64 and of 512.
type Way = (
    &'static str,
    fn(Scale, usize) -> Outcome<Vec<f64>>,
    [Option<f64>; 2],
);

const WAYS: [Way; 4] = [
    (
        "hits, one thread, given stamps",
        |scale, size| alone(scale, Given::new(STEP_NS), size),
        [Some(60.0), Some(15.0)],
    ),
    (
        "hits, one thread, a clock read each",
        |scale, size| alone(scale, Read, size),
        [Some(60.0), None],
    ),
    (
        "hits, two threads, given stamps",
        |scale, size| across(scale, Given::new(STEP_NS), size),
        [None, None],
    ),
    (
        "hits, two threads, a clock read each",
        |scale, size| across(scale, Read, size),
        [None, None],
    ),
];

/// Writes the section: what of it is wanted.
pub fn measure(scale: Scale, wants: &dyn Fn(&str) -> bool) -> Outcome<()> {
    let mut about = Some("hits: batch in, journal flushed, tallies out, a full window moving on");
    for (way, rounds, [goal_64, goal_512]) in WAYS {
        for size in BATCHES {
            let name = format!("{way}, batches of {size}");
            let goal = match size {
                64 => goal_64,
                512 => goal_512,
                _ => None,
            };
            if wants(&name) {
                about.take().into_iter().for_each(table::section);
                table::figure(&name, "ns/hit", rounds(scale, size)?, goal);
            }
        }
    }
    Ok(())
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

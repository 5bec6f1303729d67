//! Resident memory while hits pass through the counting path as fast as they go.
//!
//! Owns the child process it is watched in, so that nothing measured before counts: the same
//! program, called with [`CHILD`], which writes its figures to its standard output.
//!
//! Must not know what uses the memory. Invariant: there is a second of line time to a million hits
//! and a window of ten, filled three times over, with segments rotating, syncing and retiring.

use crate::path::{self, Given, Jobs, Stamps, Worker};
use crate::{Outcome, Scale, table};
use std::process::Command;
use tallyd::hit::{Inlet, Message};
use tallyd::journal::SyncPolicy;
use tallyd::stamp::SECOND_NS;

/// The argument that makes this program the child; the number of hits follows.
pub const CHILD: &str = "--memory-child";
const WINDOW_NS: u64 = 10 * SECOND_NS;
/// A million hits a second.
const STEP_NS: u64 = 1_000;
const BATCH_HITS: usize = 64;
/// Rounds, each a child of its own.
const CHILDREN: usize = 3;

/// Writes the section.
pub fn measure(scale: Scale) -> Outcome<()> {
    let hits = scale.memory_hits.to_string();
    table::section(&format!(
        "memory: of a fresh process while {hits} hits pass, 10 million of them in the window"
    ));
    let (mut start, mut after, mut most, mut rate) = (vec![], vec![], vec![], vec![]);
    for _ in 0..CHILDREN {
        let child = Command::new(std::env::current_exe()?)
            .args([CHILD, &hits])
            .output()?;
        let figures = String::from_utf8(child.stdout)?;
        let figures = figures.split_whitespace().map(str::parse::<f64>);
        let figures = figures.collect::<Result<Vec<f64>, _>>()?;
        let ([start_kb, after_kb, most_kb, ns], true) = (&figures[..], child.status.success())
        else {
            return Err(String::from_utf8_lossy(&child.stderr).into());
        };
        start.push(start_kb / 1024.0);
        after.push(after_kb / 1024.0);
        most.push(most_kb / 1024.0);
        rate.push(1e3 / ns);
    }
    table::figure("resident before the first hit", "MiB", start, None);
    table::figure("resident after the last (VmRSS)", "MiB", after, Some(4.0));
    table::figure("resident at the most (VmHWM)", "MiB", most, Some(4.0));
    table::figure("rate meanwhile, batches of 64", "million/s", rate, None);
    Ok(())
}

/// What the child does.
pub fn child(hits: &str) -> Outcome<()> {
    let turns = hits.parse::<u64>()? / BATCH_HITS as u64;
    let start_kb = status("VmRSS:")?;
    let directory = path::directory()?;
    let stamps = Given::new(STEP_NS);
    let policy = SyncPolicy::Every {
        period_ns: SECOND_NS,
    };
    let (funnel, jobs) = path::open(directory.path(), stamps.clock(), WINDOW_NS, policy)?;
    let (mut worker, messages) = Worker::new(stamps, WINDOW_NS);
    let inlet = worker.inlet.clone();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(move || sync(&jobs, &inlet));
        let counting = scope.spawn(move || funnel.run(&messages));
        let (ns, done) =
            table::timed(|| (0..turns).try_for_each(|_| worker.pass(BATCH_HITS, || {}).map(drop)));
        let (resident_kb, most_kb) = (status("VmRSS:")?, status("VmHWM:")?);
        worker
            .inlet
            .send(Message::Stop)
            .map_err(|_| "the funnel is gone")?;
        counting.join().map_err(|_| "the funnel panicked")??;
        syncing.join().map_err(|_| "the sync thread panicked")?;
        done?;
        let hits = turns * BATCH_HITS as u64;
        println!("{start_kb} {resident_kb} {most_kb} {}", ns / hits as f64);
        Ok(())
    })
}

/// Runs jobs until the funnel is gone.
fn sync(jobs: &Jobs, inlet: &Inlet) {
    for job in jobs {
        let covers = job.covers();
        let outcome = job.run().map_err(|error| error.to_string());
        if inlet.send(Message::Synced(covers, outcome)).is_err() {
            return;
        }
    }
}

/// A field of this process's status, in KiB.
fn status(field: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|line| line.split_whitespace().next());
    Ok(value.ok_or("no such field")?.parse()?)
}

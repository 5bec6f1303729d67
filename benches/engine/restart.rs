//! Milliseconds from a killed process to the first answer, over a whole window of records.
//!
//! Owns the two states the files may be in: in memory, as after a restart of the process, or not, as
//! after a restart of the machine. To get there it writes `/proc/sys/vm/drop_caches`, which takes
//! root and empties the caches of the whole machine.
//!
//! Must not know what recovery reads. Invariant: every life finds the same files, and its first
//! answer is the number that the line says.

use crate::path::{self, Given, Worker};
use crate::spread::{Spread, WINDOW_NS};
use crate::{Outcome, Scale, table};
use std::fs::{self, File};
use tallyd::journal::SyncPolicy;

/// Rounds without caches; each reads the directory from the device.
const COLD_ROUNDS: usize = 5;

/// Writes the section.
pub fn measure(scale: Scale, spread: &Spread) -> Outcome<()> {
    table::section(&format!(
        "restart: over {} records, the newest segment full, to the first answer",
        spread.record_count
    ));
    let files = spread.files()?;
    // The first life may still find work that the others will not.
    live(spread, files.len())?;
    let warm = (0..scale.rounds).map(|_| live(spread, files.len()));
    let warm = warm.collect::<Outcome<Vec<_>>>()?;
    table::figure("files in memory", "ms", warm, Some(20.0));
    for file in &files {
        File::open(file)?.sync_all()?;
    }
    let mut cold = Vec::new();
    for _ in 0..COLD_ROUNDS {
        if let Err(cause) = fs::write("/proc/sys/vm/drop_caches", "3\n") {
            table::note(
                "files on the device only",
                &format!("not measured: {cause}"),
            );
            return Ok(());
        }
        cold.push(live(spread, files.len())?);
    }
    table::figure("files on the device only", "ms", cold, None);
    Ok(())
}

/// One life, up to its first answer, in milliseconds.
fn live(spread: &Spread, file_count: usize) -> Outcome<f64> {
    let stamps = Given::behind(spread.last());
    let (ns, done) = table::timed(|| -> Outcome<u64> {
        let clock = path::Stamps::clock(&stamps);
        let (mut funnel, _jobs) = path::open(spread.path(), clock, WINDOW_NS, SyncPolicy::Never)?;
        let (mut worker, messages) = Worker::new(stamps, WINDOW_NS);
        worker.pass(1, || {
            if let Ok(first) = messages.try_recv() {
                funnel.turn(first, &messages);
            }
        })
    });
    let at = spread.last().after(1);
    let expected = spread.record_count - spread.count_to(at.before(WINDOW_NS)) + 1;
    let tally = done?;
    if tally != expected {
        return Err(format!("the first answer was {tally}, not {expected}").into());
    }
    // The next life shall find what this one has found.
    for added in spread.files()?.iter().skip(file_count) {
        fs::remove_file(added)?;
    }
    Ok(ns / 1e6)
}

//! What the engine costs: the counting path, records, queries, a restart and memory, in one table.
//!
//! `cargo bench --bench engine [-- [--quick] [NAME...]]`; the sections are `records`, `layouts`, `hits`,
//! `query`, `restart` and `memory`. A part of a name will do, and of the hits a part of a figure's name, such
//! as `"batches of 64"`. Files are written to a directory in `$TALLYD_BENCH_DIR`, by default in
//! Cargo's target directory, and removed afterwards.
//!
//! Owns the order of the sections and the exit code. Must not know of requests or sockets: the
//! counting path begins with stamped hits in a batch and ends with their tallies.
//!
//! Invariant: time is never asserted, a missed goal is only shown; a wrong number ends the run with
//! exit code 1.

mod hits;
mod layouts;
mod memory;
mod path;
mod query;
mod records;
mod restart;
mod spread;
mod table;

use std::process::ExitCode;

/// Anything that makes a figure worthless.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Records of the spread window.
    records: u64,
    /// Hits of one round of the counting path, at the largest batch.
    hits: u64,
    /// Turns of one round of the counting path, at the most.
    turns: u64,
    /// Rounds of each figure.
    rounds: usize,
    /// Hits for which memory is watched.
    memory_hits: u64,
}

const FULL: Scale = Scale {
    records: 60_000_000,
    hits: 8_000_000,
    turns: 100_000,
    rounds: 7,
    memory_hits: 30_000_000,
};

const QUICK: Scale = Scale {
    records: 2_000_000,
    hits: 800_000,
    turns: 10_000,
    rounds: 5,
    memory_hits: 22_000_000,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [child, hits] if child == memory::CHILD => memory::child(hits),
        _ => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    // Cargo says `--bench` when it measures. When it tests, all is run once around, and quickly.
    let is = |name: &str| arguments.iter().any(|argument| argument == name);
    let scale = if is("--quick") || !is("--bench") {
        QUICK
    } else {
        FULL
    };
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wants =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    table::heading();
    if wants("records") {
        records::measure(scale);
    }
    if wants("layouts") {
        layouts::measure(scale)?;
    }
    hits::measure(scale, &wants)?;
    if wants("query") || wants("restart") {
        let spread = spread::Spread::write(scale.records)?;
        if wants("query") {
            query::measure(scale, &spread)?;
        }
        if wants("restart") {
            restart::measure(scale, &spread)?;
        }
    }
    if wants("memory") {
        memory::measure(scale)?;
    }
    Ok(())
}

//! The table: one line for each figure, with its goal and whether it is met.
//!
//! Owns how figures are summed up and shown: the median of the rounds, and the range from the best
//! to the worst, because the machine has other things to do as well.
//!
//! Must not know what is measured. Invariant: nothing here fails; a missed goal is a word in a
//! column.

use std::time::Instant;

/// Writes the names of the columns.
pub fn heading() {
    println!(
        "{:<58} {:>9} {:>21}  {:<12} {:>8}  met",
        "figure", "median", "range", "unit", "goal"
    );
}

/// Writes what a section's figures have in common.
pub fn section(about: &str) {
    println!("\n{about}");
}

/// Writes one line. A goal is an upper limit, in the same unit.
pub fn figure(name: &str, unit: &str, mut rounds: Vec<f64>, goal: Option<f64>) {
    rounds.sort_by(f64::total_cmp);
    let (Some(best), Some(worst)) = (rounds.first(), rounds.last()) else {
        return note(name, "not measured");
    };
    let median = rounds[rounds.len() / 2];
    let range = format!("{best:.2} to {worst:.2}");
    let (limit, met) = match goal {
        None => ("-".to_owned(), "-"),
        Some(goal) if median <= goal => (goal.to_string(), "yes"),
        Some(goal) => (goal.to_string(), "NO"),
    };
    println!("  {name:<56} {median:>9.2} {range:>21}  {unit:<12} {limit:>8}  {met}");
}

/// Writes a line without a figure.
pub fn note(name: &str, why: &str) {
    println!("  {name:<56} {why}");
}

/// Nanoseconds that `work` took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_nanos() as f64, done)
}

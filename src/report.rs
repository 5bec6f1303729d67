//! What tallyd has to say while it runs: one line each on standard error.
//!
//! Owns the form of such a line: the instant, how grave it is, the text. Everything that is logged
//! through the `log` crate comes out here; what the libraries below us log does not, since whatever
//! of it matters is said again by us, once and in our words.
//!
//! Must not know who speaks. Invariant: a line that cannot be written is dropped and harms nobody.

use crate::clock::{Clock, SystemClock};
use crate::notation;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;

struct Report;

impl Log for Report {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let instant = notation::instant(SystemClock.wall_ns());
            let level = record.level().as_str().to_ascii_lowercase();
            let _nobody_reads = writeln!(std::io::stderr(), "{instant} {level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Opens the door: from here on, what is logged is written.
pub fn start() {
    static REPORT: Report = Report;
    if log::set_logger(&REPORT).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

//! `tallyd clock`: what a hit costs on this machine, how precise its stamp is, and what follows.
//!
//! Owns the order of what is measured and the time it may take: every part is bounded in count and in
//! time, so that the whole is done in seconds on a slow machine too, and an interrupt ends it between two
//! of its steps.
//!
//! Must not know how anything is done that is measured. Invariant: nothing is left behind, whatever
//! becomes of it but `kill -9`, whose leavings the next run names and leaves alone.

mod clocks;
mod device;
mod report;
mod trial;

use super::Out;
use super::progress::Steps;
use crate::clock::{CANDIDATES, Clock, SystemClock};
use crate::error::{Error, Result};
use crate::journal::disk::Scratch;
use crate::journal::record::{self, Key, RECORD_BYTES};
use crate::stamp::{MILLISECOND_NS, Stamp};
use report::{Record, Report};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is measured, but for the clocks, which are a step each.
const STEPS: usize = 3;
/// Rounds of what takes nanoseconds; their median is told.
const ROUNDS: usize = 15;
/// How long one figure may take, in nanoseconds.
const FIGURE_NS_MAX: u64 = 100 * MILLISECOND_NS;
/// Records of one round: they stay in the cache, as those of a turn do.
const RECORDS: usize = 4096;

/// Measures, and prints the report.
pub fn run(data: &Path, json: bool) -> Result<()> {
    let interrupt = Interrupt::catch()?;
    let scratch = Scratch::open(data)?;
    let mut steps = Steps::of(CANDIDATES.len() + STEPS);
    let mut measured = Vec::with_capacity(CANDIDATES.len());
    for clock in CANDIDATES {
        steps.begin(&format!("the {} clock", clock.name));
        measured.push(clocks::measure(*clock));
        interrupt.check()?;
    }
    steps.begin("a record");
    let record = measure_record();
    interrupt.check()?;
    steps.begin("appends");
    let appends = trial::appends(&scratch.path().join("appends"), &interrupt)?;
    steps.begin("syncs");
    let syncs = trial::syncs(&scratch.path().join("syncs"), &interrupt)?;
    let place = scratch
        .path()
        .parent()
        .unwrap_or(data)
        .display()
        .to_string();
    scratch.remove()?;
    drop(steps);

    let report = Report {
        clocks: measured,
        source: device::clock_source(),
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        stamp_ns: median_ns(RECORDS, || {
            for _ in 0..RECORDS {
                black_box(SystemClock.now());
            }
        }),
        record,
        appends,
        place,
        syncs,
        write_back_ns: device::write_back_ns(),
    };
    let text = if json { report.json() } else { report.text() };
    let mut out = Out::new();
    out.buffer().extend_from_slice(text.as_bytes());
    out.flush()
}

/// Whether somebody wants this to end.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn catch() -> Result<Self> {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&wanted))
                .map_err(|cause| Error::io("catch", "signals", cause))?;
        }
        Ok(Self(wanted))
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::found("measuring", "interrupted"));
        }
        Ok(())
    }
}

/// Encodes and checks records as the journal does.
fn measure_record() -> Record {
    let key = Key::of(7);
    // An offset with as many digits as one in the middle of a window.
    let first = 30_000_000_007;
    let mut bytes = vec![0_u8; RECORDS * RECORD_BYTES];
    let encode_ns = median_ns(RECORDS, || {
        for (offset_ns, slot) in (first..).zip(black_box(&mut bytes).chunks_exact_mut(RECORD_BYTES))
        {
            slot.copy_from_slice(&record::encode(offset_ns, key));
        }
    });
    let mut sound = true;
    let check_ns = median_ns(RECORDS, || {
        for (offset_ns, slot) in (first..).zip(black_box(&bytes).chunks_exact(RECORD_BYTES)) {
            sound &= record::decode(slot, key) == Some(offset_ns);
        }
    });
    assert!(sound, "what was encoded decodes to the same offset");
    Record {
        bytes: RECORD_BYTES as u64,
        encode_ns,
        check_ns,
    }
}

/// Nanoseconds that each of the `count` things takes that `work` does, in the middle round.
fn median_ns(count: usize, mut work: impl FnMut()) -> f64 {
    let until = SystemClock.now().after(FIGURE_NS_MAX);
    let mut rounds = Vec::with_capacity(ROUNDS);
    while rounds.len() < ROUNDS && (rounds.is_empty() || SystemClock.now() < until) {
        let began = SystemClock.now();
        work();
        rounds.push(ns_each(began, count as u64));
    }
    median(rounds)
}

/// Nanoseconds since `began` for each of `count` things.
fn ns_each(began: Stamp, count: u64) -> f64 {
    SystemClock.now().since(began) as f64 / count.max(1) as f64
}

/// The figure in the middle.
///
/// # Panics
/// If there is none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

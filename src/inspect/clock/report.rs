//! The figures and what follows from them.
//!
//! Owns the arithmetic from nanoseconds and bytes to a precision, a rate and bytes a day. What it comes to
//! is said as tables for people (`text.rs`) or as one object for programs (`json.rs`).
//!
//! Must not know how anything was measured. Invariant: both notations say the same, and what the kernel
//! does not tell is said to be missing, never made up.

mod json;
mod text;

use super::clocks::Measured;
use super::trial::{Append, SyncTrial, Syncs};
use crate::stamp::SECOND_NS;

/// Hits a second that are reckoned with.
const RATES: [u64; 3] = [1, 100, 10_000];
const DAY_S: f64 = 86_400.0;
/// Why stamps are of the clock they are of.
const REASON: &str = if cfg!(target_os = "linux") {
    "it counts suspend, and no step of the wall clock, leap second or time zone moves it"
} else {
    "no step of the wall clock, leap second or time zone moves it"
};

/// What a record costs.
pub struct Record {
    /// Its length.
    pub bytes: u64,
    /// Nanoseconds to encode it, and to check and decode it.
    pub encode_ns: f64,
    /// As above.
    pub check_ns: f64,
}

/// All that was measured.
pub struct Report {
    pub clocks: Vec<Measured>,
    pub source: Option<String>,
    pub processors: u64,
    pub stamp_ns: f64,
    pub record: Record,
    pub appends: Vec<Append>,
    /// The directory in which syncs were measured.
    pub place: String,
    pub syncs: SyncTrial,
    /// When the kernel writes back by itself.
    pub write_back_ns: u64,
}

/// Bytes a day at one rate.
struct Day {
    rate: u64,
    records: u64,
    always: u64,
    second: u64,
    never: u64,
}

impl Report {
    /// Two hits further apart than this have stamps in their order, in whole nanoseconds.
    fn precision_ns(&self) -> Option<u64> {
        let ours = self.clocks.iter().find(|it| it.clock.is_ours())?;
        Some(ours.step_ns?.max(self.stamp_ns.ceil() as u64))
    }

    /// Hits a second that one thread stamps and appends, in the largest batches.
    fn rate_max(&self) -> u64 {
        let fastest = self
            .appends
            .iter()
            .map(|it| it.ns)
            .fold(f64::INFINITY, f64::min);
        (SECOND_NS as f64 / (self.stamp_ns + fastest)) as u64
    }

    /// What a sync of one hit writes: as the device tells, or the process.
    fn sync_bytes(&self) -> Option<(u64, &'static str)> {
        let Syncs {
            device_bytes,
            process_bytes,
            ..
        } = self.syncs.recycled;
        let device = device_bytes.map(|bytes| (bytes, "the device"));
        device.or_else(|| process_bytes.map(|bytes| (bytes, "the process")))
    }

    fn days(&self) -> Vec<Day> {
        let sync_bytes = self.sync_bytes().map_or(0, |(bytes, _)| bytes) as f64;
        let per_second = |ns: f64| SECOND_NS as f64 / ns.max(1.0);
        // What waits while a sync is under way shares the next one.
        let most = per_second(self.syncs.recycled.ns[1]);
        let write_backs = per_second(self.write_back_ns as f64);
        let day = |rate: u64| {
            let records = rate as f64 * DAY_S * self.record.bytes as f64;
            let with = |syncs: f64| (records + syncs.min(rate as f64) * DAY_S * sync_bytes) as u64;
            Day {
                rate,
                records: records as u64,
                always: with(most),
                second: with(1.0),
                never: with(write_backs),
            }
        };
        RATES.map(day).into()
    }
}

fn tenths(ns: f64) -> String {
    format!("{ns:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syncs(device_bytes: Option<u64>, process_bytes: Option<u64>) -> Syncs {
        Syncs {
            count: 24,
            ns: [1e6, 2e6, 9e6],
            process_bytes,
            device_bytes,
        }
    }

    fn report(device_bytes: Option<u64>, process_bytes: Option<u64>) -> Report {
        Report {
            clocks: Vec::new(),
            source: None,
            processors: 1,
            stamp_ns: 20.0,
            record: Record {
                bytes: 8,
                encode_ns: 1.0,
                check_ns: 1.0,
            },
            appends: vec![
                Append {
                    batch: 1,
                    ns: 900.0,
                },
                Append {
                    batch: 512,
                    ns: 30.0,
                },
            ],
            place: "\"quoted\"".to_owned(),
            syncs: SyncTrial {
                recycled: syncs(device_bytes, process_bytes),
                growing: syncs(None, None),
                device: None,
            },
            write_back_ns: 20 * SECOND_NS,
        }
    }

    #[test]
    fn bytes_a_day_are_records_and_what_their_syncs_write() {
        let days = report(Some(4096), Some(1)).days();
        let day = &days[0];
        assert_eq!((day.rate, day.records), (1, 691_200));
        // One hit a second needs no more than one sync a second, whatever the policy.
        assert_eq!(day.always, 691_200 + 86_400 * 4096);
        assert_eq!(day.second, day.always);
        assert_eq!(day.never, 691_200 + 86_400 / 20 * 4096);
        // More hits than syncs fit into a second share them: a sync takes two milliseconds.
        let day = &days[2];
        assert_eq!(day.records, 6_912_000_000);
        assert_eq!(day.always, day.records + 500 * 86_400 * 4096);
        assert_eq!(day.second, day.records + 86_400 * 4096);
    }

    #[test]
    fn the_process_is_asked_where_the_device_says_nothing_and_nothing_is_made_up() {
        assert_eq!(report(None, Some(5)).sync_bytes(), Some((5, "the process")));
        let silent = report(None, None);
        assert_eq!(silent.days()[0].always, 691_200);
        assert!(
            silent
                .text()
                .contains("nothing for syncs, since the kernel does not tell")
        );
        let json = silent.json();
        assert!(json.contains("\"device_bytes\":null") && json.contains("\"device\":null"));
        assert!(json.contains(r#""directory":"\"quoted\"""#), "{json}");
    }

    #[test]
    fn the_highest_rate_is_that_of_a_stamp_and_the_cheapest_append() {
        assert_eq!(report(None, None).rate_max(), 20_000_000);
    }
}

//! The figures, what follows from them, and both as tables for people or as one object for programs.
//!
//! Owns the arithmetic from nanoseconds and bytes to a precision, a rate and bytes a day, and all words.
//!
//! Must not know how anything was measured. Invariant: both notations say the same, and what the kernel
//! does not tell is said to be missing, never made up.

use super::clocks::Measured;
use super::trial::{Append, SyncTrial, Syncs};
use crate::fields::Fields;
use crate::notation::duration;
use crate::stamp::SECOND_NS;
use std::fmt::{Display, Write};

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

    /// One object.
    pub fn json(&self) -> String {
        let clocks = self.clocks.iter().map(|it| {
            Fields::new()
                .text("name", it.clock.name)
                .bare("used", it.clock.is_ours())
                .bare("resolution_ns", it.clock.resolution_ns())
                .bare("step_ns", or_null(it.step_ns))
                .bare("read_ns", tenths(it.read_ns))
                .bare("equal_share_of_1_thread", share(it.equal_share[0]))
                .bare("equal_share_of_2_threads", share(it.equal_share[1]))
        });
        let appends = self.appends.iter().map(|it| {
            Fields::new()
                .bare("batch", it.batch)
                .bare("ns", tenths(it.ns))
                .bare("hits_per_second", rate_of(it.ns))
        });
        let days = self.days().into_iter().map(|day| {
            Fields::new()
                .bare("hits_per_second", day.rate)
                .bare("records", day.records)
                .bare("sync_always", day.always)
                .bare("sync_1s", day.second)
                .bare("sync_never", day.never)
        });
        let used = self.clocks.iter().find(|it| it.clock.is_ours());
        let device = self.syncs.device.as_ref().map(|it| &*it.name);
        let sync = Fields::new().text("directory", &*self.place);
        let sync = text_or_null(sync, "device", device);
        let host = Fields::new().bare("processors", self.processors);
        text_or_null(host, "clock_source", self.source.as_deref())
            .objects("clocks", clocks.collect())
            .object(
                "used",
                Fields::new()
                    .text("name", used.map_or("", |it| it.clock.name))
                    .text("reason", REASON),
            )
            .bare("stamp_ns", tenths(self.stamp_ns))
            .object(
                "record",
                Fields::new()
                    .bare("bytes", self.record.bytes)
                    .bare("encode_ns", tenths(self.record.encode_ns))
                    .bare("check_ns", tenths(self.record.check_ns)),
            )
            .objects("appends", appends.collect())
            .object(
                "sync",
                sync.object("recycled", of_syncs(&self.syncs.recycled))
                    .object("growing", of_syncs(&self.syncs.growing)),
            )
            .object(
                "follows",
                Fields::new()
                    .bare("precision_ns", or_null(self.precision_ns()))
                    .bare("hits_per_second_max", self.rate_max())
                    .bare("write_back_seconds", self.write_back_ns / SECOND_NS)
                    .objects("bytes_a_day", days.collect()),
            )
            .json()
    }

    /// Tables.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.clocks_text(&mut text);
        self.costs_text(&mut text);
        self.syncs_text(&mut text);
        self.follows_text(&mut text);
        text
    }

    fn clocks_text(&self, text: &mut String) {
        let source = self.source.as_deref().unwrap_or("not told");
        let processors = self.processors;
        line(
            text,
            format_args!(
                "clocks, from source {source}, on {processors} processor{}",
                if processors == 1 { "" } else { "s" }
            ),
        );
        let row = |text: &mut String, [name, claimed, step, read, one, two]: [&str; 6]| {
            let cells = format!("  {name:<19}{claimed:>12}{step:>14}{read:>9}{one:>15}{two:>15}");
            line(text, cells);
        };
        row(
            text,
            [
                "",
                "claimed, ns",
                "step seen, ns",
                "read, ns",
                "equal, 1 thr.",
                "2 threads",
            ],
        );
        for it in &self.clocks {
            let mark = if it.clock.is_ours() { " <" } else { "" };
            row(
                text,
                [
                    &format!("{}{mark}", it.clock.name),
                    &it.clock.resolution_ns().to_string(),
                    &it.step_ns
                        .map_or_else(|| "none".to_owned(), |ns| ns.to_string()),
                    &tenths(it.read_ns),
                    &percent(it.equal_share[0]),
                    &percent(it.equal_share[1]),
                ],
            );
        }
        if let Some(ours) = self.clocks.iter().find(|it| it.clock.is_ours()) {
            line(
                text,
                format_args!(
                    "  < tallyd stamps hits by {}:\n    {REASON}",
                    ours.clock.name
                ),
            );
        }
    }

    fn costs_text(&self, text: &mut String) {
        line(
            text,
            "\na hit                                     ns   million/s",
        );
        let mut row = |name: &str, ns: f64| {
            let rate = 1e3 / ns.max(0.001);
            line(
                text,
                format_args!("  {name:<32}{:>10}{rate:>12.2}", tenths(ns)),
            );
        };
        row("its stamp", self.stamp_ns);
        row(
            &format!("its record of {} bytes, encoded", self.record.bytes),
            self.record.encode_ns,
        );
        row("its record, checked", self.record.check_ns);
        for it in &self.appends {
            row(&format!("counted, in batches of {}", it.batch), it.ns);
        }
    }

    fn syncs_text(&self, text: &mut String) {
        line(
            text,
            format_args!("\nsyncs of one hit each, in {}", self.place),
        );
        for (name, syncs) in [
            (
                "in a recycled file, as always but at first",
                &self.syncs.recycled,
            ),
            (
                "while files grow, in the first two windows",
                &self.syncs.growing,
            ),
        ] {
            let [least, middle, most] = syncs.ns.map(|ns| ns / 1e6);
            line(
                text,
                format_args!(
                    "  {name}: {middle:.2} ms, of {} syncs {least:.2} to {most:.2} ms",
                    syncs.count
                ),
            );
            let told = |bytes: Option<u64>| {
                bytes.map_or_else(|| "not told".to_owned(), |it| it.to_string())
            };
            let device = self.syncs.device.as_ref().map_or("device", |it| &it.name);
            line(
                text,
                format_args!(
                    "    bytes written: by the process {}, by {device} {}",
                    told(syncs.process_bytes),
                    told(syncs.device_bytes)
                ),
            );
        }
        line(
            text,
            "    of the device the lower quarter, since others may write to it meanwhile",
        );
    }

    fn follows_text(&self, text: &mut String) {
        line(text, "\nwhat follows");
        if let Some(ns) = self.precision_ns() {
            line(
                text,
                format_args!(
                    "  precision     {ns} ns: hits further apart have different stamps, in their order;\n\
                 \x20               closer ones may share one, and are counted in the order they were admitted"
                ),
            );
        }
        line(
            text,
            format_args!(
                "  highest rate  {:.1} million hits/s, stamped and counted",
                self.rate_max() as f64 / 1e6
            ),
        );
        let days = self.days();
        let mut row = |name: &str, of: &dyn Fn(&Day) -> String| {
            let cells: String = days.iter().map(|day| format!("{:>16}", of(day))).collect();
            line(text, format_args!("  {name:<14}{cells}"));
        };
        row("bytes a day", &|day| {
            format!("{} hit{}/s", day.rate, if day.rate == 1 { "" } else { "s" })
        });
        row("records", &|day| bytes(day.records));
        row("--sync always", &|day| bytes(day.always));
        row("--sync 1s", &|day| bytes(day.second));
        row("--sync never", &|day| bytes(day.never));
        let basis = match self.sync_bytes() {
            Some((bytes, who)) => format!("syncs x the {bytes} bytes that {who} wrote for one"),
            None => "nothing for syncs, since the kernel does not tell".to_owned(),
        };
        line(
            text,
            format_args!(
                "  records, and {basis};\n  always: at most, since hits that wait share a sync; never: the kernel writes back after {}",
                duration(self.write_back_ns)
            ),
        );
    }
}

fn of_syncs(syncs: &Syncs) -> Fields {
    let [least, middle, most] = syncs.ns.map(|ns| ns as u64);
    Fields::new()
        .bare("syncs", syncs.count)
        .bare("ns_median", middle)
        .bare("ns_min", least)
        .bare("ns_max", most)
        .bare("process_bytes", or_null(syncs.process_bytes))
        .bare("device_bytes", or_null(syncs.device_bytes))
}

fn line(text: &mut String, of: impl Display) {
    let _infallible = writeln!(text, "{of}");
}

fn text_or_null(fields: Fields, name: &'static str, text: Option<&str>) -> Fields {
    match text {
        Some(text) => fields.text(name, text),
        None => fields.bare(name, "null"),
    }
}

fn or_null(number: Option<u64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}

fn tenths(ns: f64) -> String {
    format!("{ns:.1}")
}

fn share(of: f64) -> String {
    format!("{of:.6}")
}

fn percent(of: f64) -> String {
    format!("{:.2} %", 100.0 * of)
}

/// Hits a second at `ns` each.
fn rate_of(ns: f64) -> u64 {
    (SECOND_NS as f64 / ns.max(0.001)) as u64
}

/// Bytes with three digits, in the unit that suits.
fn bytes(count: u64) -> String {
    let mut number = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if number < 999.5 {
            let digits = if number < 9.995 {
                2
            } else {
                usize::from(number < 99.95)
            };
            let digits = if unit == "B" { 0 } else { digits };
            return format!("{number:.digits$} {unit}");
        }
        number /= 1e3;
    }
    format!("{number:.0} PB")
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

    #[test]
    fn bytes_have_three_digits_in_the_unit_that_suits() {
        let shown = [
            0,
            999,
            1_000,
            9_994,
            69_120,
            691_200,
            999_600,
            6_912_000_000,
        ]
        .map(bytes);
        let expected = [
            "0 B", "999 B", "1.00 kB", "9.99 kB", "69.1 kB", "691 kB", "1.00 MB", "6.91 GB",
        ];
        assert_eq!(shown, expected);
    }
}

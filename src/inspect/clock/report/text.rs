//! A report as tables, for people.
//!
//! Owns their words and columns. Must not know what the figures follow from. Invariant: no line of a table
//! is wider than 100 columns.

use super::{Day, REASON, Report, tenths};
use crate::notation::{duration, printable};
use std::fmt::{Display, Write};

impl Report {
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
            format_args!("\nsyncs of one hit each, in {}", printable(&self.place)),
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

fn line(text: &mut String, of: impl Display) {
    let _infallible = writeln!(text, "{of}");
}

fn percent(of: f64) -> String {
    format!("{:.2} %", 100.0 * of)
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

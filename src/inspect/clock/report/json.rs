//! A report as one object, for programs.
//!
//! Owns the names of its fields. Must not know what they follow from. Invariant: a figure that is missing
//! is null.

use super::{REASON, Report, tenths};
use crate::fields::Fields;
use crate::inspect::clock::trial::Syncs;
use crate::stamp::SECOND_NS;

impl Report {
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

fn text_or_null(fields: Fields, name: &'static str, text: Option<&str>) -> Fields {
    match text {
        Some(text) => fields.text(name, text),
        None => fields.bare(name, "null"),
    }
}

fn or_null(number: Option<u64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}

fn share(of: f64) -> String {
    format!("{of:.6}")
}

/// Hits a second at `ns` each.
fn rate_of(ns: f64) -> u64 {
    (SECOND_NS as f64 / ns.max(0.001)) as u64
}

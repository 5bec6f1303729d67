//! How things stand, for Prometheus: text format 0.0.4.
//!
//! Owns the names. Units are base units, counters end in `_total`, and what the funnel says is of one
//! instant. Histograms come with the bounds of `meter.rs`.
//!
//! Must not know who scrapes. Invariant: every name has its `HELP` and `TYPE`, once, before its values.

use super::{Operator, pages, process};
use crate::clock;
use crate::front::desk::Page;
use crate::front::gauges::Side;
use crate::front::pool::request::Refusal;
use crate::hit::Status;
use crate::meter::{Histogram, Scale};
use crate::stamp::{Anchor, SECOND_NS, Stamp};
use std::fmt::{Display, Write};

/// What is refused, by its reason.
const REASONS: [(Refusal, &str); 6] = [
    (Refusal::BadRequest, "malformed"),
    (Refusal::TimedOut, "slow"),
    (Refusal::TargetTooLong, "uri_too_long"),
    (Refusal::HeadTooLarge, "head_too_large"),
    (Refusal::NotImplemented, "not_implemented"),
    (Refusal::VersionUnknown, "version"),
];

/// The page, read on both clocks at `now`. It is there in every fault; what has no right number is left out.
pub fn page(operator: &Operator, now: Anchor, draining: bool) -> Page {
    let status = operator.status(now);
    let is_ready = pages::reasons(&status, draining).is_empty();
    let mut text = Text(String::with_capacity(12 << 10));
    if let Ok(status) = &status {
        text.counted(operator, status, now);
    }
    let at = status.map_or(now.at, |status| status.at);
    text.gauge(
        "ready",
        "Whether hits are counted, the sync policy is kept and retired files go: what /readyz says.",
        u8::from(is_ready),
    );
    text.head("build_info", "gauge", "The build, as labels; always 1.");
    text.labelled("build_info", "version", env!("CARGO_PKG_VERSION"), 1);
    text.gauge(
        "uptime_seconds",
        "Time since the process started.",
        Seconds(at.since(operator.facts.began)),
    );
    text.process(&wall(now, operator.facts.began));
    let media = "text/plain; version=0.0.4; charset=utf-8";
    pages::page("200 OK", "", media, text.0)
}

/// Seconds since 1970 at an instant.
fn wall(now: Anchor, stamp: Stamp) -> Seconds {
    Seconds(u64::try_from(now.wall_at(stamp)).unwrap_or(0))
}

impl Text {
    /// What the funnel says, and what is counted beside it.
    fn counted(&mut self, operator: &Operator, status: &Status, now: Anchor) {
        let text = self;
        let (facts, gauges, meters) = (&operator.facts, &operator.gauges, &status.meters);
        text.gauge(
            "time_seconds",
            "Wall clock at the instant that the hits are of.",
            wall(now, status.at),
        );
        if let Some(tally) = status.tally {
            text.gauge("window_hits", "Hits in the window.", tally);
        }
        text.gauge(
            "window_seconds",
            "Length of the window.",
            Seconds(facts.window_ns),
        );
        text.counter("hits_total", "Hits of the journal's life.", status.total);
        text.gauge("estimated", "Whether the window reaches back to hits that are lost, not kept, or placed in time with doubt.", u8::from(status.estimated));
        text.head(
            "refused_total",
            "counter",
            "Requests and connections refused since the start, by reason.",
        );
        for (refusal, reason) in REASONS {
            text.labelled("refused_total", "reason", reason, gauges.refused(refusal));
        }
        text.labelled(
            "refused_total",
            "reason",
            "connections",
            gauges.surplus(Side::Hits),
        );
        text.labelled("refused_total", "reason", "disk", status.refused_count);
        for (name, help, of) in [
            (
                "connections",
                "Connections that are open, by side.",
                [
                    gauges.open(Side::Hits) as u64,
                    gauges.open(Side::Operator) as u64,
                ],
            ),
            (
                "connections_total",
                "Connections let in since the start, by side.",
                [gauges.accepted(Side::Hits), gauges.accepted(Side::Operator)],
            ),
        ] {
            text.head(
                name,
                if name.ends_with("_total") {
                    "counter"
                } else {
                    "gauge"
                },
                help,
            );
            text.labelled(name, "side", "hits", of[0]);
            text.labelled(name, "side", "operator", of[1]);
        }
        text.counter(
            "operator_requests_total",
            "Requests of operators since the start.",
            gauges.asked(),
        );
        text.histogram("batch_hits", "Hits of a batch.", &meters.batch_hits);
        text.histogram(
            "turn_seconds",
            "Time of a turn with hits, to its last answer.",
            &meters.turn_ns,
        );
        text.histogram(
            "flush_seconds",
            "Time until the system had a turn's records.",
            &meters.flush_ns,
        );
        text.histogram(
            "sync_seconds",
            "Time until the device had what was unsynced.",
            &meters.sync_ns,
        );
        text.histogram(
            "rotate_seconds",
            "Time to seal a segment and open the next.",
            &meters.rotate_ns,
        );
        text.counter(
            "corrected_hits_total",
            "Hits whose stamp was moved up to the last one since the start.",
            status.corrected_count,
        );
        text.counter(
            "correction_seconds_total",
            "All such corrections together.",
            Seconds(status.correction_ns_total),
        );
        text.gauge(
            "correction_seconds_max",
            "The largest such correction.",
            Seconds(status.correction_ns_max),
        );
        text.gauge(
            "journal_bytes",
            "Bytes of the segments that hold records.",
            status.journal_bytes,
        );
        text.gauge(
            "segments",
            "Segments that hold records.",
            status.segment_count,
        );
        if let Some(oldest) = status.oldest {
            text.gauge(
                "oldest_record_age_seconds",
                "Age of the oldest record.",
                Seconds(status.at.since(oldest)),
            );
        }
        text.gauge(
            "unremovable_files",
            "Files that should be gone and could not be removed.",
            status.unremovable_count,
        );
        text.gauge(
            "recovered_records",
            "Records found at the start.",
            status.recovered_count,
        );
        text.counter(
            "damaged_records_total",
            "Damaged records that were given a neighbour's time, since the start.",
            status.damaged_count,
        );
        text.head(
            "errors_total",
            "counter",
            "What failed since the start, by kind.",
        );
        for (kind, count) in [
            ("append", meters.append_failures),
            ("read", meters.read_failures),
            ("sync", meters.sync_failures),
            ("rotate", meters.rotate_failures),
        ] {
            text.labelled("errors_total", "kind", kind, count);
        }
    }
}

/// Nanoseconds, displayed in seconds without loss.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / SECOND_NS, self.0 % SECOND_NS);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// The page in the making.
struct Text(String);

impl Text {
    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        let _infallible = writeln!(self.0, "{line}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!(
            "# HELP tallyd_{name} {help}\n# TYPE tallyd_{name} {kind}"
        ));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.put(format_args!("tallyd_{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.put(format_args!("tallyd_{name} {value}"));
    }

    fn labelled(&mut self, name: &str, label: &str, of: &str, value: impl Display) {
        self.put(format_args!("tallyd_{name}{{{label}=\"{of}\"}} {value}"));
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let scaled = |value| -> Box<dyn Display> {
            match histogram.scale() {
                Scale::Pieces => Box::new(value),
                Scale::Nanoseconds => Box::new(Seconds(value)),
            }
        };
        let bucket = format!("{name}_bucket");
        for (bound, below) in histogram.cumulative() {
            self.labelled(&bucket, "le", &scaled(bound).to_string(), below);
        }
        let count = histogram.count();
        self.labelled(&bucket, "le", "+Inf", count);
        self.put(format_args!(
            "tallyd_{name}_sum {}",
            scaled(histogram.sum())
        ));
        self.put(format_args!("tallyd_{name}_count {count}"));
    }

    /// What every Prometheus client says of its process, under the names that all use.
    fn process(&mut self, began: &Seconds) {
        let mut say = |name: &str, kind: &str, help: &str, value: &dyn Display| {
            self.put(format_args!(
                "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\nprocess_{name} {value}"
            ));
        };
        say(
            "cpu_seconds_total",
            "counter",
            "CPU time of the process.",
            &Seconds(clock::process_ns()),
        );
        say(
            "start_time_seconds",
            "gauge",
            "Wall clock when the process started.",
            began,
        );
        if let Some((all, resident)) = process::memory_bytes() {
            say("virtual_memory_bytes", "gauge", "Virtual memory.", &all);
            say(
                "resident_memory_bytes",
                "gauge",
                "Resident memory.",
                &resident,
            );
        }
        if let Some(count) = process::descriptor_count() {
            say("open_fds", "gauge", "Open descriptors.", &count);
        }
        if let Some(count) = process::descriptor_max() {
            say("max_fds", "gauge", "Descriptors it may have.", &count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        let texts =
            [0, 1, 1_500_000_000, 2 * SECOND_NS, u64::MAX].map(|ns| Seconds(ns).to_string());
        assert_eq!(
            texts,
            ["0", "0.000000001", "1.5", "2", "18446744073.709551615"]
        );
    }
}

//! The page of metrics as Prometheus reads it: names with their kinds, values that add up.
//!
//! Owns the rules of the text format that hold for every name: help and kind once and before the values,
//! counters that end in `_total`, histograms whose buckets rise to their count. What changes each sample is in
//! `metrics/table.rs`, and what changes those of the process is below. That promtool has no more to say is
//! shown by `scripts/metrics`.
//!
//! Must not know how the page is made. Invariant: a line that no rule is about fails the test.

mod support;

#[path = "metrics/table.rs"]
mod table;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use support::client::{Client, hit};
use support::server::Server;

/// The page, by name: its kind, and the labels and value of each line.
type Metrics = BTreeMap<String, (String, Vec<(String, f64)>)>;

fn scrape(operator: SocketAddr) -> Metrics {
    scrape_on(&mut Client::connect(operator).expect("the operator's listener"))
}

fn scrape_on(client: &mut Client) -> Metrics {
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = client.ask(request).expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    read(&answer.body)
}

fn read(page: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect(line);
        let (name, help) = help.split_once(' ').expect(line);
        assert!(!help.is_empty(), "{line}");
        let kind = lines.next().expect("a kind");
        let kind = kind
            .strip_prefix(&format!("# TYPE {name} "))
            .expect(kind)
            .to_owned();
        let mut values = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (labelled, value) = line.rsplit_once(' ').expect(line);
            let rest = labelled.strip_prefix(name).expect(line).to_owned();
            values.push((rest, value.parse().expect(line)));
        }
        assert!(!values.is_empty(), "{name} has no value");
        let twice = metrics.insert(name.to_owned(), (kind, values));
        assert!(twice.is_none(), "{name} is there twice");
    }
    metrics
}

/// The value of a name without labels.
fn value(metrics: &Metrics, name: &str) -> f64 {
    let (_, values) = metrics.get(name).expect(name);
    assert_eq!(values.len(), 1, "{name}");
    values[0].1
}

/// Sum and count of a histogram, whose buckets are looked at.
fn histogram(metrics: &Metrics, name: &str) -> (f64, f64) {
    let (kind, values) = metrics.get(name).expect(name);
    assert_eq!(kind, "histogram", "{name}");
    let (buckets, rest) = values.split_at(values.len() - 2);
    let bounds: Vec<&str> = buckets.iter().map(|(label, _)| &**label).collect();
    assert_eq!(bounds.last(), Some(&"_bucket{le=\"+Inf\"}"), "{name}");
    assert!(buckets.is_sorted_by_key(|(_, below)| *below), "{name}");
    let [(sum_name, sum), (count_name, count)] = rest else {
        panic!("{name}: {rest:?}")
    };
    assert_eq!((&**sum_name, &**count_name), ("_sum", "_count"), "{name}");
    assert_eq!(
        buckets.last().map(|(_, below)| below),
        Some(count),
        "{name}"
    );
    (*sum, *count)
}

fn unix_s() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock that is set").as_secs_f64()
}

#[test]
fn counters_end_in_total_and_nothing_else_does() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let metrics = scrape(server.operator.expect("an operator's listener"));
    assert!(metrics.len() > 25, "{} names", metrics.len());
    for (name, (kind, _)) in &metrics {
        assert!(
            ["counter", "gauge", "histogram"].contains(&&**kind),
            "{name}: {kind}"
        );
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name}: {kind}"
        );
    }
    server.stop();
}

#[test]
fn histograms_add_up_to_what_was_sent_in_this_life_and_the_total_to_all_of_it() {
    let data = tempfile::tempdir().expect("a directory");
    for life in 1..=2_u32 {
        let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
        for _ in 0..5 {
            hit(server.address);
        }
        let metrics = scrape(server.operator.expect("an operator's listener"));
        for name in ["tallyd_hits_total", "tallyd_window_hits"] {
            assert_eq!(value(&metrics, name), f64::from(5 * life), "{name}");
        }
        let recovered = value(&metrics, "tallyd_recovered_records");
        assert_eq!(recovered, f64::from(5 * (life - 1)));
        assert_eq!(histogram(&metrics, "tallyd_batch_hits"), (5.0, 5.0));
        let (turns_s, turns) = histogram(&metrics, "tallyd_turn_seconds");
        let (flushes_s, flushes) = histogram(&metrics, "tallyd_flush_seconds");
        assert_eq!((turns, flushes), (5.0, 5.0));
        assert!(
            0.0 < flushes_s && flushes_s < turns_s,
            "{flushes_s} {turns_s}"
        );
        for name in ["tallyd_sync_seconds", "tallyd_rotate_seconds"] {
            histogram(&metrics, name);
        }
        server.stop();
    }
}

#[test]
fn a_page_says_of_which_instant_it_is() {
    let data = tempfile::tempdir().expect("a directory");
    let before_s = unix_s();
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let asked_s = unix_s();
    let metrics = scrape(server.operator.expect("an operator's listener"));
    let after_s = unix_s();
    let (at_s, began_s) = (
        value(&metrics, "tallyd_time_seconds"),
        value(&metrics, "process_start_time_seconds"),
    );
    // Two clocks are read in turn, and a busy machine may come between.
    assert!(
        asked_s - 0.2 <= at_s && at_s <= after_s + 0.2,
        "{asked_s} {at_s} {after_s}"
    );
    assert!(
        before_s - 0.2 <= began_s && began_s <= asked_s + 0.2,
        "{before_s} {began_s} {asked_s}"
    );
    let uptime_s = value(&metrics, "tallyd_uptime_seconds");
    assert!(
        (began_s + uptime_s - at_s).abs() < 1e-5,
        "{began_s} {uptime_s} {at_s}"
    );
    server.stop();
}

/// The numbers in one of the kernel's files about a process, behind its name where that comes first.
fn of_process(server: &Server, file: &str) -> Vec<f64> {
    let path = format!("/proc/{}/{file}", server.pid().as_raw_nonzero());
    let text = std::fs::read_to_string(path).expect("the process runs");
    let numbers = text.rsplit_once(") ").map_or(&*text, |(_, rest)| rest);
    let words = numbers.split_whitespace();
    words.map(|word| word.parse().unwrap_or(0.0)).collect()
}

/// Seconds of the processor that a process has taken.
fn cpu_s(server: &Server) -> f64 {
    let stat = of_process(server, "stat");
    (stat[11] + stat[12]) / rustix::param::clock_ticks_per_second() as f64
}

fn descriptors(server: &Server) -> f64 {
    let path = format!("/proc/{}/fd", server.pid().as_raw_nonzero());
    std::fs::read_dir(path).expect("the process runs").count() as f64
}

#[test]
fn figures_of_the_process_are_those_of_the_kernel() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let operator = server.operator.expect("an operator's listener");
    let mut client = Client::connect(operator).expect("an operator's listener");
    let mut scrape = || scrape_on(&mut client);
    let page_bytes = rustix::param::page_size() as f64;
    let mut checked = vec!["process_start_time_seconds"];

    // One more for each connection that is kept.
    let before = value(&scrape(), "process_open_fds");
    let mut kept = [(); 3].map(|()| Client::connect(server.address).expect("it listens"));
    for client in &mut kept {
        client.hit().expect("an answer");
    }
    let (found, after) = (descriptors(&server), value(&scrape(), "process_open_fds"));
    assert!(
        (after - before - 3.0).abs() <= 1.0,
        "{before}, then {after}"
    );
    assert!(
        (after - found).abs() <= 1.0,
        "{after}, the kernel says {found}"
    );
    checked.push("process_open_fds");

    let limit = prlimit(
        Some(server.pid()),
        Resource::Nofile,
        getrlimit(Resource::Nofile),
    );
    let lowered = Rlimit {
        current: Some(777),
        ..limit.expect("its limit")
    };
    prlimit(Some(server.pid()), Resource::Nofile, lowered).expect("it can be lowered");
    assert_eq!(value(&scrape(), "process_max_fds"), 777.0);
    checked.push("process_max_fds");

    let metrics = scrape();
    let memory = of_process(&server, "statm");
    for (name, pages) in [
        ("process_virtual_memory_bytes", memory[0]),
        ("process_resident_memory_bytes", memory[1]),
    ] {
        let (found, expected) = (value(&metrics, name), pages * page_bytes);
        assert!(
            (found - expected).abs() <= 1e6,
            "{name} {found}, the kernel says {expected}"
        );
        checked.push(name);
    }

    // Enough work that the kernel's ticks show it.
    for sent in 0.. {
        assert!(sent < 100_000, "hits take no time of the processor");
        if cpu_s(&server) >= 0.1 {
            break;
        }
        hit(server.address);
    }
    let before = cpu_s(&server);
    let found = value(&scrape(), "process_cpu_seconds_total");
    let after = cpu_s(&server);
    assert!(
        before - 0.05 <= found && found <= after + 0.05,
        "{before} {found} {after}"
    );
    checked.push("process_cpu_seconds_total");

    checked.sort_unstable();
    let shown: Vec<&String> = metrics
        .keys()
        .filter(|name| name.starts_with("process_"))
        .collect();
    assert_eq!(
        shown, checked,
        "left: what is shown; right: what this test checks"
    );
    server.stop();
}

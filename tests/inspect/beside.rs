//! The tools beside a server: stopped, killed, under load, rotating and retiring.
//!
//! Owns the load. Must not know how a tool reads. Invariant tested: tools see what was answered, hits
//! see nothing of the tools, and every tally stays exact.

use crate::support::client::{Client, GET, hit};
use crate::support::ended::Ended;
use crate::support::server::Server;
use crate::written::{write, written};
use crate::{command, noted, ran, run, run_on};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tallyd::clock::{Clock, SystemClock};
use tallyd::notation::{instant, parse_instant};
use tallyd::stamp::{Anchor, BootId, SECOND_NS};

fn count(directory: &Path, flags: &[&str]) -> u64 {
    run_on(directory, &[&["count"], flags].concat()).number()
}

#[test]
fn every_tool_agrees_with_the_server_live_stopped_and_killed() {
    let data = tempfile::tempdir().expect("a directory");
    let shown = data.path().display().to_string();
    let check = |hits: u64| {
        assert_eq!(count(data.path(), &["--window", "1h"]), hits);
        let dumped = run_on(data.path(), &["dump"]).printed();
        assert_eq!(dumped.lines().count() as u64, hits);
        let verified = run_on(data.path(), &["verify"]).printed();
        let last = verified.lines().next_back().expect("a line");
        assert!(last.ends_with(" records, 0 faults: sound"), "{last}");
        let plotted = run_on(data.path(), &["plot", "--window", "1h"]).printed();
        assert!(
            plotted.contains(&format!("\n{hits} hits in 3600s; a bar is 60s, ")),
            "{plotted}"
        );
    };
    let mut total = 0;
    for life in 0..3 {
        let server = Server::start(data.path(), &[]);
        noted(data.path(), life + 1);
        for _ in 0..50 {
            total += 1;
            assert_eq!(hit(server.address), total);
        }
        check(total);
        if life == 1 {
            server.kill()
        } else {
            drop(server.stop())
        }
        check(total);
    }
    let verified = run_on(data.path(), &["verify"]).printed();
    assert_eq!(
        verified,
        format!("{shown}: 3 segments, 150 records, 0 faults: sound\n")
    );
}

#[test]
fn a_server_that_was_never_hit_has_an_empty_journal() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    noted(data.path(), 1);
    for _ in 0..2 {
        assert_eq!(count(data.path(), &[]), 0);
        assert_eq!(run_on(data.path(), &["dump"]).printed(), "");
        let verified = run_on(data.path(), &["verify"]).printed();
        assert!(
            verified.ends_with(": 0 segments, 0 records, 0 faults: sound\n"),
            "{verified}"
        );
        assert!(
            run_on(data.path(), &["plot"])
                .printed()
                .contains("0 hits in 60s")
        );
    }
    server.stop();
    assert_eq!(count(data.path(), &["--window", "366days"]), 0);
}

#[test]
fn several_journals_are_counted_each_and_in_all() {
    let (one, other) = (written(2, 5), written(1, 100));
    let ran = run(&["count", &one.shown(), &other.shown()]);
    let expected = format!(" 10 {}\n100 {}\n110 in all\n", one.shown(), other.shown());
    assert_eq!(ran.printed(), expected);
    let ran = run(&["count", &one.shown(), "/nowhere"]);
    let expected = "tallyd: cannot read data directory /nowhere: no such file or directory\n";
    assert_eq!(ran.complaint(1), expected);
}

#[test]
fn an_interval_holds_the_very_hits_that_are_dumped_for_it() {
    let written = written(4, 7);
    let bounds = || {
        let hits = written.walls_ns.iter();
        hits.step_by(3)
            .flat_map(|&wall_ns| [wall_ns - 1, wall_ns, wall_ns + 1])
    };
    for from_ns in bounds().step_by(2) {
        for to_ns in bounds().step_by(5).filter(|&to_ns| from_ns <= to_ns) {
            let (from, to) = (instant(from_ns), instant(to_ns));
            let flags = ["--from", &from, "--to", &to];
            let inside = |wall_ns: &&i64| (from_ns + 1..=to_ns).contains(*wall_ns);
            let expected: Vec<i64> = written.walls_ns.iter().filter(inside).copied().collect();
            assert_eq!(
                count(written.path(), &flags),
                expected.len() as u64,
                "{flags:?}"
            );
            let dumped = run_on(written.path(), &[&["dump"], &flags[..]].concat()).printed();
            let dumped = dumped
                .lines()
                .map(|line| parse_instant(line).expect("an instant"));
            assert_eq!(dumped.collect::<Vec<_>>(), expected, "{flags:?}");
        }
    }
    let from = instant(written.walls_ns[27]);
    assert_eq!(count(written.path(), &["--from", &from]), 0);
    let to = instant(written.walls_ns[2]);
    assert_eq!(
        run_on(written.path(), &["dump", "--to", &to])
            .printed()
            .lines()
            .count(),
        3
    );
}

#[test]
fn every_format_of_a_dump_holds_the_same_hits() {
    let written = written(3, 1700);
    let dump = |format| run_on(written.path(), &["dump", "--format", format]).printed();
    let text: Vec<String> = dump("text").lines().map(str::to_owned).collect();
    let expected: Vec<String> = written
        .walls_ns
        .iter()
        .map(|&wall_ns| instant(wall_ns))
        .collect();
    assert!(text.is_sorted() && text.iter().all(|line| line.len() == 30));
    assert_eq!(text, expected);
    let rows = (0..).zip(&text).zip(&written.stamps_ns);
    let csv: String = rows
        .clone()
        .map(|((s, at), ns)| format!("{s},{at},{ns}\n"))
        .collect();
    assert_eq!(dump("csv"), "sequence,instant,stamp_ns\n".to_owned() + &csv);
    let json: String = rows
        .map(|((s, at), ns)| {
            format!("{{\"sequence\":{s},\"instant\":\"{at}\",\"stamp_ns\":\"{ns}\"}}\n")
        })
        .collect();
    assert_eq!(dump("json"), json);
    let raw = command(&["dump", "--format", "raw", &written.shown()]);
    let raw = { raw }.ended().stdout;
    let (words, rest) = raw.as_chunks::<8>();
    let words = words.iter().map(|word| i64::from_be_bytes(*word));
    assert_eq!(
        (words.collect::<Vec<_>>(), rest),
        (written.walls_ns.clone(), &[][..])
    );
}

#[test]
fn a_dump_ends_quietly_when_nobody_reads_on() {
    let written = written(2, 40_000);
    for format in ["text", "csv", "json", "raw"] {
        let mut child = command(&["dump", "--format", format, &written.shown()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = Vec::new();
        stdout.read_until(b'\n', &mut line).expect("a line");
        drop(stdout);
        let status = child.wait().expect("it ends");
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("its errors");
        stderr.read_to_string(&mut said).expect("text");
        assert_eq!((status.code(), &*said), (Some(0), ""), "{format}");
    }
}

#[test]
fn hits_of_an_earlier_boot_are_counted_as_estimated_and_dumped_as_recorded() {
    let wall_ns = SystemClock.wall_ns() - 10 * SECOND_NS.cast_signed();
    let start = Anchor {
        at: tallyd::stamp::Stamp::from_ns(77_000_000_000),
        wall_ns,
    };
    let written = write(2, 5, 1000, start, BootId([9; 16]));
    let csv = run_on(written.path(), &["dump", "--format", "csv"]).printed();
    let second = csv.lines().nth(2).expect("a second hit");
    assert_eq!(second, format!("1,{},77000001000", instant(wall_ns + 1000)));
    let (from, to) = (instant(wall_ns - 1), instant(wall_ns + 8000));
    assert_eq!(count(written.path(), &["--from", &from, "--to", &to]), 9);
    let ran = run_on(written.path(), &["count", "--window", "366days"]);
    assert_eq!((ran.code, &*ran.out), (Some(0), "10\n"));
    let shown = written.shown();
    let warning = format!(
        " warn: {shown}: estimated: 31622400s reach back to hits that are damaged, or that another boot \
         or machine placed by its wall clock\n"
    );
    assert!(ran.err.ends_with(&warning), "{}", ran.err);
}

#[test]
fn what_is_no_longer_kept_is_an_error_and_never_a_smaller_number() {
    let written = written(3, 5);
    fs::remove_file(written.segment(0)).expect("a segment");
    let shown = written.shown();
    for tool in ["count", "plot"] {
        let asked_ns = SystemClock.wall_ns() - 60 * SECOND_NS.cast_signed();
        let said = run_on(written.path(), &[tool, "--window", "60s"]).complaint(1);
        let kept = instant(written.walls_ns[5]);
        let (_, asked) = said.split_once("those after ").expect("an instant");
        let asked = asked.split(' ').next().expect("an instant");
        assert!(asked >= &*instant(asked_ns), "{said}");
        let cause =
            format!("hits up to {kept} are no longer kept, those after {asked} were asked for");
        assert_eq!(said, format!("tallyd: {shown}: {cause}\n"));
    }
    let (before, kept) = (
        instant(written.walls_ns[5] - 1),
        instant(written.walls_ns[5]),
    );
    let said = run_on(written.path(), &["count", "--from", &before]).complaint(1);
    let cause =
        format!("hits up to {kept} are no longer kept, those after {before} were asked for");
    assert_eq!(said, format!("tallyd: {shown}: {cause}\n"));
    assert_eq!(count(written.path(), &["--from", &kept]), 9);
    let dumped = run_on(written.path(), &["dump"]).printed();
    assert_eq!(dumped.lines().count(), 10, "a dump is of what is kept");
    let dumped = run_on(written.path(), &["dump", "--from", &before]);
    assert_eq!((dumped.code, dumped.out.lines().count()), (Some(0), 10));
    let warning = format!(" warn: {shown}: of the hits after {before} not all are kept\n");
    assert!(dumped.err.ends_with(&warning), "{}", dumped.err);
    let text = run_on(written.path(), &["verify"]).printed();
    assert_eq!(
        text,
        format!("{shown}: 2 segments, 10 records, 0 faults: sound\n")
    );
}

/// The highest number of a segment.
fn newest_segment(directory: &Path) -> u64 {
    let names = fs::read_dir(directory)
        .expect("a directory")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().ok()?;
            u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()
        });
    names.max().unwrap_or(0)
}

/// Tells the load that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the load has come to.
#[derive(Default)]
struct Load {
    sent: AtomicU64,
    answered: AtomicU64,
    ended: AtomicU64,
    over: AtomicBool,
}

impl Load {
    /// Hits in sixteens, so many times or until it is over; returns the tallies.
    fn run(&self, address: SocketAddr, times: u64) -> Vec<u64> {
        let mut client = Client::connect(address).expect("the server listens");
        let mut tallies = Vec::new();
        for _ in 0..times {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            self.sent.fetch_add(16, Ordering::SeqCst);
            client.send(&GET.repeat(16)).expect("a request");
            for _ in 0..16 {
                tallies.push(client.receive(false).expect("an answer").tally());
            }
            self.answered.fetch_add(16, Ordering::SeqCst);
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        tallies
    }
}

#[test]
fn tools_beside_a_server_under_load_are_exact_and_leave_the_tallies_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    let (address, shown) = (
        server.address,
        data.path().to_str().expect("text").to_owned(),
    );
    let load = Load::default();
    let mut tallies: Vec<u64> = std::thread::scope(|scope| {
        let _over = Over(&load.over);
        let loads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| load.run(address, 2500)))
            .collect();
        let mut rounds = 0;
        while load.ended.load(Ordering::SeqCst) < 4 || rounds == 0 {
            rounds += 1;
            let before = load.answered.load(Ordering::SeqCst);
            let count = run(&["count", "--window", "1h", &shown]).number();
            let dumped = run(&["dump", &shown]).printed();
            let after = load.sent.load(Ordering::SeqCst);
            assert!(
                (before..=after).contains(&count),
                "{before} <= {count} <= {after}"
            );
            let lines: Vec<&str> = dumped.lines().collect();
            assert!((count..=after).contains(&(lines.len() as u64)));
            assert!(lines.is_sorted());
            run(&["verify", &shown]).printed();
            run(&["plot", "--window", "1h", &shown]).printed();
        }
        let tallies = loads.into_iter().map(|load| load.join());
        tallies
            .flat_map(|tallies| tallies.expect("tallies"))
            .collect()
    });
    let total = tallies.len() as u64;
    assert_eq!(total, 4 * 2500 * 16);
    tallies.sort_unstable();
    assert!(
        tallies.into_iter().eq(1..=total),
        "each of the numbers once"
    );
    assert_eq!(hit(server.address), total + 1);
    assert_eq!(count(data.path(), &["--window", "1h"]), total + 1);
    server.stop();
}

/// The sequence numbers and instants of a dump, as long as it knows of no hits that it had to skip.
fn dumped(shown: &str) -> Vec<(u64, String)> {
    let ran = ran(&command(&["dump", "--format", "csv", shown]).ended());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let hits = ran.out.lines().skip(1).map(|line| {
        let (sequence, rest) = line
            .split_once(',')
            .expect("a title line and three columns");
        let (instant, _) = rest.split_once(',').expect("three columns");
        (sequence.parse().expect("a number"), instant.to_owned())
    });
    let hits: Vec<(u64, String)> = hits.collect();
    assert!(hits.is_sorted());
    let skipped = hits.windows(2).filter(|pair| pair[0].0 + 1 != pair[1].0);
    let said = ran.err.matches(" retired before they were reached\n");
    assert!(skipped.count() <= said.count(), "{}", ran.err);
    hits
}

#[test]
fn tools_beside_a_server_that_rotates_and_retires_are_exact_too() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--window", "20ms", "--sync", "20ms"];
    let server = Server::start(data.path(), &flags);
    let shown = data.path().to_str().expect("text").to_owned();
    let (address, load) = (server.address, Load::default());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| load.run(address, 100_000));
        }
        let _over = Over(&load.over);
        let (mut rounds, mut compared) = (0, 0);
        // Files are recycled once the first segments have retired, after a second.
        while rounds < 10 || compared < 3 || newest_segment(data.path()) < 12 {
            rounds += 1;
            assert!(load.ended.load(Ordering::SeqCst) == 0, "no rotations");
            let count = run(&["count", "--window", "20ms", &shown]).number();
            assert!(count <= load.sent.load(Ordering::SeqCst));
            let hits = dumped(&shown);
            run(&["verify", &shown]).printed();
            let at = |quarter: usize| hits.get(hits.len() * quarter / 4).map(|hit| &*hit.1);
            let (Some(from), Some(to), Some(last)) = (at(2), at(3), hits.last()) else {
                continue;
            };
            if to == last.1 {
                // More hits of this instant may come.
                continue;
            }
            let inside = |hit: &&(u64, String)| &*hit.1 > from && &*hit.1 <= to;
            let expected = hits.iter().filter(inside).count() as u64;
            let ran = run(&["count", "--from", from, "--to", to, &shown]);
            if ran.code == Some(0) {
                compared += 1;
                assert_eq!(ran.number(), expected);
            } else {
                assert!(ran.complaint(1).contains("are no longer kept"));
            }
        }
    });
    server.stop();
}

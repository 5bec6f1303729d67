//! Every log line of the engine, the list of lives and the fronts: its cause, its level and its words.
//!
//! Owns one table with a row for each call of `log` in those sources, which is compared with the sources both
//! ways: a new line without a row fails, and so does a row whose line is gone, reworded or of another level.
//! The lines of the command line, of `serve` and of what it stands on are held by `tests/cli` and `tests/inspect`.
//!
//! Must not know when a line is logged. Invariant: a row's cause writes its line once, with that level.

use super::{EVERY, KEPT_NS, SAID, START, listen, open, said, small};
use crate::support::client::Client;
use crate::support::disk::SimDisk;
use crate::support::fault::{EINVAL, EIO, Faults, Op};
use crate::support::rig::{Rig, WINDOW_NS, clock_at, settings};
use crate::support::server::Server;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tallyd::clock::Clock;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::{SyncPolicy, name};

/// A call of `log`, and what writes its line.
struct Row {
    /// The source file below `src`.
    file: &'static str,
    /// Level and format string.
    call: &'static str,
    /// What has the line written; all lines that it wrote, each behind its level.
    cause: fn() -> Vec<String>,
    /// The line, with D for a directory.
    line: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        file: "lives/mod.rs",
        call: "warn: {cause}; it is not known when servers ran before",
        cause: || {
            served(|data| {
                fs::create_dir_all(data).expect("a directory");
                fs::write(data.join("lives"), [0xff, 0xfe]).expect("a file");
            })
        },
        line: "warn: D/lives: not text; it is not known when servers ran before",
    },
    Row {
        file: "lives/mod.rs",
        call: "warn: {cause}; it will not be known that this server ran",
        cause: || served(|data| fs::create_dir_all(data.join("lives.new")).expect("a directory")),
        line: "warn: cannot write D/lives: file exists; it will not be known that this server ran",
    },
    Row {
        file: "journal/read.rs",
        call: "warn: {path}: {}: check failed; it keeps its place",
        cause: || {
            let mut rig = open(small(SyncPolicy::Never));
            (0..8).for_each(|hit| drop(rig.hit_at(&[START + hit])));
            let disk = rig.kill();
            disk.flip(&name::segment(0), 64 + 8, 1);
            let mut rig = Rig::open(&disk, &clock_at(START + 8), small(SyncPolicy::Never));
            rig.hit_at(&[START + WINDOW_NS as i64 + 2]);
            lines()
        },
        line: "warn: sim/0000000000000000.seg: record 1 at byte 72: check failed; it keeps its place",
    },
    Row {
        file: "journal/sync.rs",
        call: "warn: {}: this file system cannot sync a directory ({}): files are synced, but a \
               power cut may take new ones away",
        cause: || {
            let mut rig = open(small(SyncPolicy::Always));
            rig.disk
                .faults(|faults| faults.sticky(Op::SyncNames, 1, EINVAL));
            (0..3).for_each(|_| drop(rig.hit_now(4)));
            lines()
        },
        line: "warn: sim/: this file system cannot sync a directory (invalid argument): files are synced, but a \
               power cut may take new ones away",
    },
    Row {
        file: "funnel/syncing.rs",
        call: "error: {cause}; {} {lost}",
        cause: || failing_sync(SyncPolicy::Always, 3, false),
        line: "error: cannot sync sim/0000000000000000.seg: input/output error; 3 hits are refused for it",
    },
    Row {
        file: "funnel/syncing.rs",
        call: "error: {cause}; {} {lost}",
        cause: || failing_sync(SyncPolicy::Always, 1, false),
        line: "error: cannot sync sim/0000000000000000.seg: input/output error; 1 hit is refused for it",
    },
    Row {
        file: "funnel/syncing.rs",
        call: "error: {cause}; {} {lost}",
        cause: || failing_sync(EVERY, 1, false),
        line: "error: cannot sync sim/0000000000000000.seg: input/output error; 1 hit may now be lost by a power cut",
    },
    Row {
        file: "funnel/syncing.rs",
        call: "info: syncing again",
        cause: || failing_sync(SyncPolicy::Always, 1, true),
        line: "info: syncing again",
    },
    Row {
        file: "funnel/wall.rs",
        call: "warn: the wall clock jumped by {} against boot time; hits are counted by boot time",
        cause: || {
            let mut rig = open(small(SyncPolicy::Never));
            rig.clock.step_wall_to(rig.clock.wall_ns() - 2_500_000_000);
            rig.tick();
            lines()
        },
        line: "warn: the wall clock jumped by -2.500 s against boot time; hits are counted by boot time",
    },
    Row {
        file: "funnel/mod.rs",
        call: "warn: {cause}; retired files stay until they can be removed",
        cause: || piling(false),
        line: "warn: cannot remove sim/0000000000000000.seg: operation not permitted; retired files stay until they can be removed",
    },
    Row {
        file: "funnel/mod.rs",
        call: "info: retired files are removed again",
        cause: || piling(true),
        line: "info: retired files are removed again",
    },
    Row {
        file: "funnel/mod.rs",
        call: "error: refusing hits: {cause}",
        cause: refusing,
        line: "error: refusing hits: cannot append to sim/0000000000000000.seg: input/output error",
    },
    Row {
        file: "funnel/mod.rs",
        call: "info: counting again; {} so far",
        cause: refusing,
        line: "info: counting again; 5 hits were refused so far",
    },
    Row {
        file: "funnel/words.rs",
        call: "info: {line}",
        cause: || stopping(EVERY, &[]),
        line: "info: stopped: counted 0 hits in this run",
    },
    Row {
        file: "funnel/words.rs",
        call: "info: {line}",
        cause: || stopping(SyncPolicy::Always, &[1]),
        line: "info: stopped: counted 1 hit in this run, all on stable storage",
    },
    Row {
        file: "funnel/words.rs",
        call: "info: {line}",
        cause: || stopping(SyncPolicy::Never, &[1, 1]),
        line: "info: stopped: counted 2 hits in this run, handed to the kernel and synced once, at the stop",
    },
    Row {
        file: "funnel/words.rs",
        call: "warn: {line}",
        cause: || {
            let mut rig = open(small(EVERY));
            rig.hit_now(2);
            rig.disk
                .faults(|faults| faults.sticky(Op::SyncFile, 1, EIO));
            rig.stop().0.expect_err("a sync that fails");
            lines()
        },
        line: "warn: stopped: counted 2 hits in this run; a sync failed, so they may not all be on stable storage",
    },
    Row {
        file: "front/tiny.rs",
        call: "warn: a worker is held up by its client and is left behind",
        cause: || {
            let data = tempfile::tempdir().expect("a directory");
            let flags = ["--front", "tiny-http", "--workers", "1"];
            let server = Server::start(data.path(), &flags);
            // The rest of a body is waited for when its request has been answered.
            let mut client = Client::connect(server.address).expect("it listens");
            let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nx";
            assert_eq!(client.ask(request).expect("an answer").tally(), 1);
            server.signal(Signal::TERM);
            let (_, said) = server.ended();
            logged(&said)
        },
        line: "warn: a worker is held up by its client and is left behind",
    },
];

/// Sources whose lines are held by `tests/cli/messages.rs` and the tests it names.
const ELSEWHERE: [&str; 6] = [
    "inspect/",
    "main.rs",
    "report.rs",
    "serve.rs",
    "supervise.rs",
    "front/pool/mod.rs",
];

/// Calls whose lines other tests wait for, and words of these tests.
const HELD: [(&str, &str, &str); 5] = [
    (
        "front/pool/listener.rs error: cannot accept connections: {}",
        "tests/admission.rs",
        "hear(\" error: cannot accept connections: \")",
    ),
    (
        "front/pool/listener.rs info: accepting connections again",
        "tests/admission.rs",
        "hear(\" info: accepting connections again\")",
    ),
    (
        "front/tiny.rs error: cannot accept connections: {}",
        "tests/tiny_http.rs",
        r#"" error: cannot accept connections: too many open files""#,
    ),
    (
        "front/tiny.rs info: accepting connections again",
        "tests/tiny_http.rs",
        "hear(\" info: accepting connections again\")",
    ),
    (
        "journal/disk/scratch.rs warn: {}: {name:?} is of another run; remove it if that has ended",
        "tests/clock_command.rs",
        r#" warn: {}: \"{name}\" is of another run; remove it if that has ended\n"#,
    ),
];

/// What this thread logged since the last time, each line behind its level.
fn lines() -> Vec<String> {
    let said = SAID.take();
    let shown = |(level, line): (log::Level, String)| {
        format!("{}: {line}", level.as_str().to_ascii_lowercase())
    };
    said.into_iter().map(shown).collect()
}

/// The lines of a server's standard error without their instants.
fn logged(said: &str) -> Vec<String> {
    let without = |line: &str| line.split_once(' ').map(|(_, rest)| rest.to_owned());
    said.lines().filter_map(without).collect()
}

/// What a server logs whose directory was made so, until it is stopped.
fn served(prepare: fn(&Path)) -> Vec<String> {
    let above = tempfile::tempdir().expect("a directory");
    let data = above.path().join("data");
    prepare(&data);
    let server = Server::start(&data, &[]);
    server.signal(Signal::TERM);
    let (_, said) = server.ended();
    logged(&said.replace(data.to_str().expect("text"), "D"))
}

/// A sync of so many hits that fails, and one more that does not if it `heals`.
fn failing_sync(policy: SyncPolicy, count: usize, heals: bool) -> Vec<String> {
    let mut rig = open(settings(policy, 100, KEPT_NS));
    rig.disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    for _ in 0..=usize::from(heals) {
        rig.hit_now(count);
        rig.clock.advance(1000);
        rig.tick();
        rig.run_jobs();
    }
    lines()
}

/// Retired files that cannot be removed, and at last can if it `heals`.
fn piling(heals: bool) -> Vec<String> {
    let mut rig = open(settings(SyncPolicy::Never, 4, WINDOW_NS));
    rig.disk.faults(Faults::names_stay);
    for _ in 0..4 {
        rig.hit_now(4);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
    }
    if heals {
        rig.disk.faults(Faults::heal);
        rig.tick();
    }
    lines()
}

/// Five hits that the disk does not take, and one that it does.
fn refusing() -> Vec<String> {
    let mut rig = open(small(SyncPolicy::Never));
    rig.disk.faults(|faults| faults.some(Op::Write, 1, 2, EIO));
    [2, 3, 1].iter().for_each(|&count| drop(rig.hit_now(count)));
    lines()
}

/// A run with hits in batches of these sizes.
fn stopping(policy: SyncPolicy, batches: &[usize]) -> Vec<String> {
    let mut rig = Rig::open(&SimDisk::default(), &clock_at(START), small(policy));
    batches.iter().for_each(|&count| drop(rig.hit_now(count)));
    rig.stop().0.expect("a sound disk");
    lines()
}

/// The calls of `log` in the sources: file, level and format string.
fn calls() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text.split("\n#[cfg(test)]").next().expect("its code");
            let file = path.strip_prefix(&root).expect("below the root");
            let calls = code.split("log::").skip(1);
            found.extend(calls.filter_map(|call| {
                let (level, rest) = call.split_once("!(")?;
                let is_level = level.chars().all(|letter| letter.is_ascii_lowercase());
                let (_, rest) = rest.split_once('"').filter(|_| is_level)?;
                let format = rest.split("\"").next()?;
                // A line that goes on begins behind its blanks.
                let mut pieces = format.split("\\\n");
                let first = pieces.next()?.to_owned();
                let format = pieces.fold(first, |format, more| format + more.trim_start());
                Some(format!("{} {level}: {format}", file.display()))
            }));
        }
    }
    found
}

/// Whether `line` is one that the format string of `call` makes.
fn is_made_by(line: &str, call: &str) -> bool {
    let mut fixed = call
        .split('{')
        .map(|part| part.rsplit('}').next().unwrap_or(part));
    let first = fixed.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    fixed.all(|piece| match rest.find(piece) {
        Some(place) => {
            rest = &rest[place + piece.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn every_call_of_log_has_a_row() {
    let mut calls = calls();
    assert!(calls.len() > 25, "the calls were found: {calls:#?}");
    calls.retain(|call| !ELSEWHERE.iter().any(|file| call.starts_with(file)));
    let rows = ROWS.iter().map(|row| format!("{} {}", row.file, row.call));
    let held = HELD.iter().map(|(call, ..)| (*call).to_owned());
    let rows: BTreeSet<String> = rows.chain(held).collect();
    assert_eq!(calls, rows, "left: the sources; right: the table");
    for (call, test, words) in HELD {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(test);
        let text = fs::read_to_string(path).expect("a test");
        assert!(text.contains(words), "{test} no longer holds {call}");
    }
}

#[test]
fn every_line_is_written_once_by_its_cause_and_at_its_level() {
    listen();
    let mut wrong = Vec::new();
    for row in ROWS {
        let _said_before = said();
        let lines = (row.cause)();
        let found = lines.iter().filter(|line| *line == row.line).count();
        if found != 1 || !is_made_by(row.line, row.call) {
            wrong.push(format!("{}: {} in {lines:#?}", row.file, row.line));
        }
    }
    assert!(wrong.is_empty(), "not written just once: {wrong:#?}");
}

//! The start line: what each part of it says, and when it is there.
//!
//! Owns the whole line, but for the time that the start took. Must not know how hits are recovered.

use crate::support::client::hit;
use crate::support::server::{Server, TALLYD};
use crate::written::write;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tallyd::clock::{Clock, SystemClock};
use tallyd::stamp::{Anchor, BootId, SECOND_NS, Stamp};

/// Starts a server on `data` and returns it; its start line has to be `expected`, with A for its addresses and
/// D for the directory.
#[track_caller]
fn started(data: &Path, flags: &[&str], expected: &str) -> Server {
    let mut command = Command::new(TALLYD);
    command.env_clear().args(["--listen", "127.0.0.1:0"]);
    let server = Server::spawn({
        command.args(flags).arg("--data").arg(data);
        command
    });
    let mut line = server.start_line.replace(&data.display().to_string(), "D");
    for address in [Some(server.address), server.operator]
        .into_iter()
        .flatten()
    {
        line = line.replace(&address.to_string(), "A");
    }
    let (line, took) = line.rsplit_once(", in ").expect("a time");
    let ms = took.strip_suffix(" ms\n").map(str::parse::<f64>);
    assert!(matches!(ms, Some(Ok(0.0..60_000.0))), "{took}");
    assert_eq!(line, expected);
    server
}

#[test]
fn the_start_line_says_where_it_listens_and_what_it_recovered() {
    let data = tempfile::tempdir().expect("a directory");
    let none = ["--operator", "none"];
    let first = "listening on A, data in D, recovered 0 hits (0 in the last 60s)";
    let server = started(data.path(), &none, first);
    assert_eq!(hit(server.address), 1);
    server.stop();

    let both = "listening on A, operator on A, data in D, recovered 1 hit (1 in the last 1800s)";
    let flags = ["--operator", "127.0.0.1:0", "--window", "30m"];
    started(data.path(), &flags, both).kill();

    let segment = data.path().join("0000000000000000.seg");
    let mut segment = File::options().append(true).open(segment).expect("a file");
    segment.write_all(&[1, 2, 3]).expect("a torn record");
    let torn =
        "listening on A, data in D, recovered 1 hit (1 in the last 60s), trimmed 3 torn bytes";
    started(data.path(), &none, torn).stop();
}

#[test]
fn the_start_line_says_that_hits_of_another_boot_are_placed_with_doubt() {
    let start = Anchor {
        at: Stamp::from_ns(77_000_000_000),
        wall_ns: SystemClock.wall_ns() - 10 * SECOND_NS.cast_signed(),
    };
    let written = write(1, 5, 1000, start, BootId([9; 16]));
    let none = ["--operator", "none"];
    let line = "listening on A, data in D, recovered 5 hits (5 in the last 60s, estimated)";
    started(written.path(), &none, line).kill();
}

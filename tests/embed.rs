//! The library without a server: what `examples/embed.rs` says, run as whoever copies it would.
//!
//! Owns nothing but the lines that go in and the tallies that come out. Must not know how the example counts.
//! Invariant: its journal is one that the tools of tallyd read.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The example at work, built by cargo if it is not; on Unix it takes the place of the cargo that was started.
fn start(data: &Path) -> Child {
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--example", "embed", "--"])
        .arg(data)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs")
}

/// Sends `count` lines, each after the answer to the one before, and returns the answers.
fn tallies(child: &mut Child, count: u64) -> Vec<u64> {
    let mut input = child.stdin.as_ref().expect("a pipe");
    let mut output = BufReader::new(child.stdout.as_mut().expect("a pipe"));
    let mut answer = || {
        input.write_all(b"an event\n").expect("it reads");
        let mut line = String::new();
        output.read_line(&mut line).expect("an answer");
        line.trim_end().parse().expect("a tally")
    };
    (0..count).map(|_| answer()).collect()
}

#[test]
fn lines_are_counted_across_a_kill_and_an_end() {
    let data = tempfile::tempdir().expect("a directory");
    let mut first = start(data.path());
    assert_eq!(tallies(&mut first, 3), [1, 2, 3]);
    first.kill().expect("it runs");
    first.wait().expect("it has ended");
    let mut second = start(data.path());
    assert_eq!(tallies(&mut second, 2), [4, 5]);
    drop(second.stdin.take());
    assert!(second.wait().expect("it has ended").success());
    let output = Command::new(env!("CARGO_BIN_EXE_tallyd"))
        .args(["count", "--window", "1h"])
        .arg(data.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.trim_start().starts_with("5"), "{said}");
}

#[test]
fn the_example_has_at_most_30_lines() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/embed.rs");
    let text = std::fs::read_to_string(path).expect("the example");
    let lines = text.lines().filter(|line| !line.starts_with("//!"));
    assert!(lines.filter(|line| !line.is_empty()).count() <= 30);
}

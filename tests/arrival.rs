//! What a hit is stamped by, on the real binary: its read, or its arrival at the kernel.
//!
//! Owns the proof that the two differ as they should: a server that stands still has nothing read, and the
//! kernel takes and stamps bytes all the same.
//!
//! Must not know how stamps are placed. Invariant: instants are told apart by what was done before and
//! after them on the same clock, never by how long anything took.

mod support;

use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::client::{Client, GET};
use support::server::{Server, TALLYD};
use tallyd::clock::{Clock, SystemClock};
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};

/// How long a server is left standing with what has arrived.
const STILL_NS: u64 = 50 * MILLISECOND_NS;

/// Stops every thread of `server` where it is.
fn hold(server: &Server) {
    server.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", server.pid().as_raw_pid());
    let is_held = || {
        fs::read_dir(&tasks).expect("its threads").all(|task| {
            let stat = task.expect("a thread").path().join("stat");
            let stat = fs::read_to_string(stat).expect("its state");
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    };
    let patience = SystemClock.now().after(10 * SECOND_NS);
    while !is_held() {
        assert!(SystemClock.now() < patience, "it does not stand still");
    }
}

/// Stamps of all hits in a journal, oldest first.
fn stamps(data: &Path) -> Vec<Stamp> {
    let output = Command::new(TALLYD)
        .args(["dump", "--format", "csv"])
        .arg(data)
        .output()
        .expect("a dump");
    let text = String::from_utf8(output.stdout).expect("text");
    let stamp_of = |line: &str| line.rsplit(',').next().and_then(|ns| ns.parse().ok());
    text.lines()
        .skip(1)
        .map(|line| Stamp::from_ns(stamp_of(line).expect("a stamp")))
        .collect()
}

/// Hits two connections of a server that stands still, the second one first, and lets it go on. Gives the
/// stamps, and the instants between which the first was sent, the second was, and the server stood still.
fn stamped_while_still(flags: &[&str]) -> (Vec<Stamp>, [Stamp; 4]) {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), flags);
    let [mut one, mut other] = [(); 2].map(|()| Client::connect(server.address).expect("a server"));
    assert_eq!(one.hit().expect("an answer"), 1);
    assert_eq!(other.hit().expect("an answer"), 2);
    hold(&server);
    let began = SystemClock.now();
    other.send(GET).expect("the kernel takes it");
    let between = SystemClock.now();
    one.send(GET).expect("the kernel takes it");
    let sent = SystemClock.now();
    while SystemClock.now() < sent.after(STILL_NS) {}
    let ended = SystemClock.now();
    server.signal(Signal::CONT);
    let first = other.receive(false).expect("an answer").tally();
    let second = one.receive(false).expect("an answer").tally();
    assert_eq!((first, second), (3, 4), "the order of arrival");
    server.stop();
    (stamps(data.path()), [began, between, sent, ended])
}

#[test]
fn a_hit_has_the_stamp_of_its_arrival_when_the_kernel_is_asked() {
    let (stamps, [began, between, _, ended]) = stamped_while_still(&["--stamp", "kernel"]);
    let [_, _, first, second] = stamps[..] else {
        panic!("four hits: {stamps:?}")
    };
    // Arrival is behind the beginning of sending, but need not be before its end.
    assert!((began..ended).contains(&first), "{began}, {first}, {ended}");
    assert!(
        (between..ended).contains(&second),
        "{between}, {second}, {ended}"
    );
}

#[test]
fn a_hit_has_the_stamp_of_its_read_by_default() {
    let (stamps, [.., ended]) = stamped_while_still(&[]);
    assert_eq!(stamps.len(), 4);
    assert!(
        stamps[2] >= ended && stamps[3] >= stamps[2],
        "{stamps:?}, {ended}"
    );
}

#[test]
fn hits_that_wait_for_their_turn_have_the_stamp_of_their_read() {
    for stamp in ["read", "kernel"] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--pass-hits", "1", "--stamp", stamp]);
        let mut client = Client::connect(server.address).expect("a server");
        client.send(&GET.repeat(5)).expect("it is sent");
        for tally in 1..=5 {
            assert_eq!(client.receive(false).expect("an answer").tally(), tally);
        }
        server.stop();
        let stamps = stamps(data.path());
        assert_eq!(stamps, [stamps[0]; 5], "{stamp}");
    }
}

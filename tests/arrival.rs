//! What a hit is stamped by, on the real binary: its read, or its arrival at the kernel.
//!
//! Owns the proof that the two differ as they should: a server that stands still has nothing read, and the
//! kernel takes and stamps bytes all the same.
//!
//! Must not know how stamps are placed. Invariant: instants are told apart by what was done before and
//! after them on the same clock, never by how long anything took.

mod support;

use rustix::process::Signal;
use support::client::{Client, GET};
use support::server::{Server, stamps};
use tallyd::clock::{Clock, SystemClock};
use tallyd::stamp::{MILLISECOND_NS, Stamp};

/// How long a server is left standing with what has arrived.
const STILL_NS: u64 = 50 * MILLISECOND_NS;
/// By how much a stamp of the kernel may be too early, as `src/front/pool/arrival.rs` says.
const ERROR_NS_MAX: u64 = 6_000;
const TRIES: u32 = 10;

/// What is known of two hits that came while a server stood still.
#[derive(Debug)]
struct Still {
    /// Their stamps, in the order in which they were sent.
    stamps: [Stamp; 2],
    /// Before each was sent.
    sent_at: [Stamp; 2],
    /// Before the server went on.
    ended_at: Stamp,
    /// When both were answered.
    answered_at: Stamp,
}

/// Hits two connections of a server that stands still, the second one first, and lets it go on.
fn stamped_while_still(flags: &[&str]) -> Still {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), flags);
    let [mut one, mut other] = [(); 2].map(|()| Client::connect(server.address).expect("a server"));
    assert_eq!(one.hit().expect("an answer"), 1);
    assert_eq!(other.hit().expect("an answer"), 2);
    server.hold();
    let sent_at = [&mut other, &mut one].map(|client| {
        let now = SystemClock.now();
        client.send(GET).expect("the kernel takes it");
        now
    });
    let begins_at = SystemClock.now();
    while SystemClock.now() < begins_at.after(STILL_NS) {}
    let ended_at = SystemClock.now();
    server.signal(Signal::CONT);
    let tallies = [&mut other, &mut one].map(|client| {
        let answer = client.receive(false).expect("an answer");
        answer.tally()
    });
    assert_eq!(tallies, [3, 4], "the order of arrival");
    let answered_at = SystemClock.now();
    server.stop();
    let [_, _, first, second] = stamps(data.path())[..] else {
        panic!("not four hits")
    };
    Still {
        stamps: [first, second],
        sent_at,
        ended_at,
        answered_at,
    }
}

#[test]
fn a_hit_has_the_stamp_of_its_arrival_when_the_kernel_is_asked() {
    // Where the clocks cannot be read together at that moment, it has that of its read.
    let placed = (0..TRIES).find(|_| {
        let still = stamped_while_still(&["--stamp", "kernel"]);
        for (stamp, sent_at) in still.stamps.into_iter().zip(still.sent_at) {
            let earliest = sent_at.before(ERROR_NS_MAX);
            assert!((earliest..still.answered_at).contains(&stamp), "{still:?}");
        }
        still.stamps.iter().all(|stamp| *stamp < still.ended_at)
    });
    assert!(placed.is_some(), "none of {TRIES} arrivals was placed");
}

#[test]
fn a_hit_has_the_stamp_of_its_read_by_default() {
    let still = stamped_while_still(&[]);
    assert!(still.stamps[0] >= still.ended_at, "{still:?}");
    assert!(still.stamps[1] >= still.stamps[0], "{still:?}");
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

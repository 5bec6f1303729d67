//! P1 over real sockets: N clients at once get each of the numbers once, and time is not turned back.
//!
//! Owns the check of what many clients saw together. Every client keeps the instants at which it
//! asked and was answered; these readings, of one clock in one process, order the answers.
//!
//! Must not know how the server counts. Invariant: nothing expires while a test runs.

mod support;

use rustix::process::Signal;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use support::client::{Client, hit};
use support::server::Server;

/// One answer as its client saw it.
#[derive(Clone, Copy)]
struct Seen {
    asked: Instant,
    answered: Instant,
    tally: u64,
}

fn hits_of_one_client(address: SocketAddr, count: usize) -> Vec<Seen> {
    let mut client = Client::connect(address).expect("the server listens");
    let hits = (0..count).map(|_| {
        let asked = Instant::now();
        let tally = client.hit().expect("an answer");
        Seen {
            asked,
            answered: Instant::now(),
            tally,
        }
    });
    hits.collect()
}

fn hits_of(clients: usize, count: usize, address: SocketAddr) -> Vec<Seen> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(move || hits_of_one_client(address, count)))
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    })
}

/// The answers are `before + 1` to `before + seen.len()`, each once, and none that began after
/// another ended is smaller.
fn assert_exact(before: u64, seen: &[Seen]) {
    let mut tallies: Vec<u64> = seen.iter().map(|seen| seen.tally).collect();
    tallies.sort_unstable();
    let expected: Vec<u64> = (before + 1..=before + seen.len() as u64).collect();
    assert_eq!(tallies, expected);

    let mut by_begin = seen.to_vec();
    by_begin.sort_by_key(|seen| seen.asked);
    let mut by_end = seen.to_vec();
    by_end.sort_by_key(|seen| seen.answered);
    let mut ended = by_end.iter().peekable();
    let mut largest_ended = 0;
    for seen in by_begin {
        while let Some(earlier) = ended.next_if(|earlier| earlier.answered < seen.asked) {
            largest_ended = largest_ended.max(earlier.tally);
        }
        assert!(
            largest_ended < seen.tally,
            "{} came after {largest_ended}",
            seen.tally
        );
    }
}

fn counts_exactly(clients: usize, count: usize) {
    for flags in [
        ["--front=pool", "--workers=1"],
        ["--front=pool", "--workers=3"],
        ["--front=tiny-http", "--workers=4"],
    ] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &flags);
        let first = hits_of(clients, count, server.address);
        assert_exact(0, &first);
        let second = hits_of(clients, count, server.address);
        assert_exact(first.len() as u64, &second);
        server.stop();
    }
}

#[test]
fn one_client_gets_every_number_once() {
    counts_exactly(1, 1_000);
}

#[test]
fn four_clients_get_every_number_once() {
    counts_exactly(4, 500);
}

#[test]
fn sixty_four_clients_get_every_number_once() {
    counts_exactly(64, 50);
}

#[test]
fn answers_are_exact_under_every_sync_policy_and_number_of_workers() {
    for (sync, workers) in [
        ("always", "1"),
        ("always", "8"),
        ("5ms", "2"),
        ("never", "3"),
    ] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--sync", sync, "--workers", workers]);
        assert_exact(0, &hits_of(8, 40, server.address));
        server.stop();
    }
}

#[test]
fn hits_leave_the_window_when_it_has_passed() {
    // The shortest window there is: by the time of the next round trip it may or may not have
    // passed, but hits of a thousand round trips ago are certain to be out of it.
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--window=1ms"]);
    let tallies: Vec<u64> = hits_of_one_client(server.address, 2_000)
        .iter()
        .map(|seen| seen.tally)
        .collect();
    assert!(
        tallies.iter().all(|&tally| tally >= 1),
        "a hit counts itself"
    );
    let largest = tallies.iter().copied().max().expect("answers");
    assert!(largest < 2_000, "nothing left the window: {largest}");
    server.stop();
}

#[test]
fn a_client_that_goes_away_without_reading_is_counted_once() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.write_all(support::client::GET).expect("a request");
        // Until its head has been read, a client that is gone has sent nothing.
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).expect("the first byte of an answer");
    }
    assert_eq!(hit(server.address), 21);
    server.stop();
}

#[test]
fn a_server_that_was_stopped_for_a_while_counts_on() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 1);
    server.signal(Signal::STOP);
    let mut waiting = Client::connect(server.address).expect("the kernel accepts");
    waiting
        .send(support::client::GET)
        .expect("the kernel takes it");
    server.signal(Signal::CONT);
    assert_eq!(waiting.receive(false).expect("an answer").tally(), 2);
    server.stop();
}

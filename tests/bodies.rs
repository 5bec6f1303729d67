//! Bodies over time: a slow one is read to its end, and one that stops or trickles is given up.
//!
//! The clock of the pool is set by hand, so that an upload of minutes takes none. Every piece is
//! followed by a hit on a connection of its own: its answer shows that the piece has been read.
//!
//! # Invariants
//! A connection whose answer promised to keep it open is closed only when its body stops, trickles or
//! is malformed; no request has two final responses.

mod support;

use std::net::SocketAddr;
use support::client::{Client, GET, hit};
use support::ones::serve;
use support::server::Server;
use tallyd::clock::HandClock;
use tallyd::front::pool::limits::Limits;
use tallyd::stamp::SECOND_NS;

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends `piece` and returns when it has been read, and every deadline of now has been looked at.
fn say(client: &mut Client, address: SocketAddr, piece: &[u8]) {
    client.send(piece).expect("the server takes it");
    for _ in 0..3 {
        hit(address);
    }
}

/// Sends a body of `bytes` at `rate` bytes a second behind `head`, on the clock by hand.
fn upload(
    address: SocketAddr,
    clock: &HandClock,
    head: &[u8],
    bytes: usize,
    rate: usize,
) -> Client {
    let mut client = Client::connect(address).expect("the pool listens");
    client.send(head).expect("a head");
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(rate * 5);
        clock.advance(5 * SECOND_NS);
        say(&mut client, address, &vec![b'x'; piece]);
        left -= piece;
    }
    client
}

#[test]
fn a_slow_upload_ends_with_its_answer_and_the_connection_stays() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
    let mut client = upload(address, &clock, head, 900_000, 10_000);
    let answer = client.receive(false).expect("an answer");
    assert!(
        !answer.head.contains("Connection: close"),
        "{}",
        answer.head
    );
    assert_eq!(client.hit().expect("the connection stays"), 1);
    drop(client);
    front.stop();
}

#[test]
fn a_slow_upload_of_chunks_past_the_bound_ends_with_its_answer_and_the_connection_stays() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let head = [CHUNKED, format!("{:x}\r\n", 5_000_000).as_bytes()].concat();
    let mut client = upload(address, &clock, &head, 5_000_000, 10_000);
    client.send(b"\r\n0\r\n\r\n").expect("the end");
    assert_eq!(client.receive(false).expect("an answer").tally(), 1);
    assert_eq!(client.hit().expect("the connection stays"), 1);
    drop(client);
    front.stop();
}

#[test]
fn a_slow_upload_past_the_bound_is_read_to_its_end_and_was_told_to_close() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
    let mut client = upload(address, &clock, head, 5_000_000, 10_000);
    let answer = client.receive(false).expect("an answer");
    assert!(
        answer.head.contains("\r\nConnection: close\r\n"),
        "{}",
        answer.head
    );
    assert!(client.is_closed(), "without a reset");
    front.stop();
}

#[test]
fn what_follows_a_refused_head_is_read_so_that_its_answer_arrives() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    let mut client = Client::connect(address).expect("the pool listens");
    client.send(head).expect("a head");
    for _ in 0..60 {
        clock.advance(SECOND_NS);
        say(&mut client, address, &[b'x'; 10_000]);
    }
    assert_eq!(client.receive(false).expect("an answer").status, 501);
    client.end().expect("the end");
    assert!(client.is_closed(), "without a reset");
    front.stop();
}

/// Advances the clock in steps and sends `piece` after each, until the server closes; returns the steps.
fn until_closed(
    client: &mut Client,
    address: SocketAddr,
    clock: &HandClock,
    step_ns: u64,
    piece: &[u8],
) -> u64 {
    for steps in 1..=1_000 {
        clock.advance(step_ns);
        if client.send(piece).is_err() {
            return steps;
        }
        // The sweep of a pass comes behind its answers, so the third answer is given after it.
        for _ in 0..3 {
            hit(address);
        }
        if !matches!(client.is_quiet(), Ok(true)) {
            return steps;
        }
    }
    panic!("it is never closed");
}

#[test]
fn a_body_that_stops_is_given_up_after_the_idle_time() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    for head in [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh".as_slice(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nh",
        &[CHUNKED, b"5\r\nh"].concat(),
        &[CHUNKED, b"0\r\nX"].concat(),
    ] {
        let mut client = Client::connect(address).expect("the pool listens");
        assert_eq!(client.ask(head).expect("an answer").tally(), 1);
        let steps = until_closed(&mut client, address, &clock, 10 * SECOND_NS, b"");
        assert!((6..=7).contains(&steps), "after {steps}0 s");
    }
    front.stop();
}

#[test]
fn a_body_that_trickles_is_given_up_after_ten_times_the_idle_time() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    for (head, piece) in [
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n".as_slice(),
            b"x".as_slice(),
        ),
        (CHUNKED, b"1\r\nx\r\n"),
        (&[CHUNKED, b"0\r\nX: "].concat(), b"x"),
        (&[CHUNKED, b"0;"].concat(), b"x"),
    ] {
        let mut client = Client::connect(address).expect("the pool listens");
        assert_eq!(client.ask(head).expect("an answer").tally(), 1);
        let steps = until_closed(&mut client, address, &clock, 10 * SECOND_NS, piece);
        assert!((60..=62).contains(&steps), "after {steps}0 s");
    }
    front.stop();
}

#[test]
fn a_refused_client_that_trickles_is_given_up_after_seconds() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let mut client = Client::connect(address).expect("the pool listens");
    let head = b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.ask(head).expect("an answer").status, 400);
    let mut steps = 0;
    // A connection that is closed resets whoever sends on it.
    while client.send(b"x").is_ok() {
        clock.advance(SECOND_NS / 2);
        for _ in 0..3 {
            hit(address);
        }
        steps += 1;
        assert!(
            steps <= 8,
            "it is still read after {steps} halves of a second"
        );
    }
    assert!(steps >= 3, "it is closed after {steps} halves of a second");
    front.stop();
}

#[test]
fn malformed_chunks_close_without_a_second_response_and_their_answer_says_so_where_it_can() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let operator = server.operator.expect("an operator's address");
    for address in [server.address, operator] {
        for rest in [&b"zz\r\n"[..], b"1\r\nxx", b"0\r\nX\r\n"] {
            let whole = [CHUNKED, rest, GET].concat();
            let mut client = Client::connect(address).expect("a listener");
            let answer = client.ask(&whole).expect("an answer");
            assert!(
                answer.head.contains("\r\nConnection: close\r\n"),
                "{}",
                answer.head
            );
            assert!(client.is_closed(), "there is no second response");

            let mut client = Client::connect(address).expect("a listener");
            client.ask(CHUNKED).expect("an answer");
            client.send(&[rest, GET].concat()).expect("the rest");
            assert!(client.is_closed(), "there is no second response");
        }
    }
    assert_eq!(hit(server.address), 7, "each was counted once");
    server.stop();
}

#[test]
fn an_upload_whose_hit_is_refused_by_the_disk_is_read_to_its_end() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    let limit = |current| Rlimit {
        current,
        maximum: None,
    };
    prlimit(Some(server.pid()), Resource::Fsize, limit(Some(64))).expect("a limit");
    let mut client = Client::connect(server.address).expect("the server listens");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n";
    assert_eq!(client.ask(head).expect("an answer").status, 503);
    client.send(&[b'x'; 499_999]).expect("a body");
    hit_refused(server.address);
    assert!(
        client.is_quiet().expect("a connection"),
        "the last byte is waited for"
    );
    client.send(b"x").expect("the last byte");
    assert!(client.is_closed());
    prlimit(Some(server.pid()), Resource::Fsize, limit(None)).expect("it can be lifted");
    assert_eq!(hit(server.address), 1);
    server.stop();
}

fn hit_refused(address: SocketAddr) {
    let mut client = Client::connect(address).expect("the server listens");
    assert_eq!(client.ask(GET).expect("an answer").status, 503);
}

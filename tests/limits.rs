//! Limits of time and number over real sockets: a head has its time, and connections their number.
//!
//! Owns what happens at a limit that no bytes alone can reach. Must not know how a deadline is kept.
//! Invariant: a deadline is waited for by reading until the server answers.

mod support;

use std::time::{Duration, Instant};
use support::client::{Client, GET, hit};
use support::ones::serve;
use support::server::Server;
use tallyd::front::pool::limits::Limits;
use tallyd::stamp::SECOND_NS;

#[test]
fn a_slow_head_is_refused_with_408_and_trickling_does_not_put_it_off() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--front", "pool", "--head-time", "200ms"];
    let server = Server::start(data.path(), &flags);
    let mut client = Client::connect(server.address).expect("the server listens");
    client
        .send(b"GET / HTTP/1.1\r\nX: ")
        .expect("a head's begin");
    let began = Instant::now();
    let mut trickled = 0;
    while !client
        .has_within(Duration::from_millis(10))
        .expect("a connection")
    {
        client.send(b"x").expect("one byte more");
        trickled += 1;
    }
    assert!(trickled > 5, "{trickled} bytes came meanwhile");
    assert!(began.elapsed() < Duration::from_secs(10), "{trickled}");
    assert_eq!(client.receive(false).expect("an answer").status, 408);
    assert!(client.is_closed());
    assert_eq!(hit(server.address), 1, "it was not counted");
    server.stop();
}

#[test]
fn a_head_begun_behind_a_hit_is_refused_with_408_too() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--front", "pool", "--head-time", "50ms"];
    let server = Server::start(data.path(), &flags);
    let mut client = Client::connect(server.address).expect("the server listens");
    client.send(&[GET, b"G"].concat()).expect("requests");
    assert_eq!(client.receive(false).expect("an answer").tally(), 1);
    assert_eq!(client.receive(false).expect("an answer").status, 408);
    assert!(client.is_closed());
    server.stop();
}

#[test]
fn heads_that_wait_for_their_turn_have_their_time_from_that_turn_on() {
    const HEADS: usize = 4;
    let limits = Limits {
        idle_ns_max: SECOND_NS,
        pass_hits_max: 1,
        ..Limits::DEFAULT
    };
    // All heads come in one read; each but the first waits for more than half of the time.
    let (front, address, _clock) = serve(1, limits, SECOND_NS * 6 / 10);
    let mut client = Client::connect(address).expect("the pool listens");
    client.send(&GET.repeat(HEADS)).expect("requests");
    for number in 1..=HEADS {
        let answer = client.receive(false);
        assert_eq!(answer.map(|it| it.tally()).ok(), Some(1), "head {number}");
    }
    assert_eq!(client.hit().expect("it is still there"), 1);
    drop(client);
    front.stop();
}

#[test]
fn blank_lines_do_not_keep_an_idle_connection() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--front", "pool", "--idle-time", "200ms"];
    let server = Server::start(data.path(), &flags);
    let mut client = Client::connect(server.address).expect("the server listens");
    let began = Instant::now();
    while !client
        .has_within(Duration::from_millis(10))
        .expect("a connection")
    {
        // Whole and in halves; the server may have closed by now.
        if client.send(b"\n\r").is_err() {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    server.stop();
}

#[test]
fn a_connection_too_many_is_refused_with_503_and_a_place_is_free_again_behind_one() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--front", "pool", "--connections", "2"];
    let server = Server::start(data.path(), &flags);
    let mut first = Client::connect(server.address).expect("the server listens");
    let mut second = Client::connect(server.address).expect("the server listens");
    assert_eq!(first.hit().expect("an answer"), 1);
    assert_eq!(second.hit().expect("an answer"), 2);
    for _ in 0..3 {
        let mut third = Client::connect(server.address).expect("the server listens");
        assert_eq!(third.ask(GET).expect("an answer").status, 503);
        assert!(third.is_closed());
    }
    drop(first);
    // The worker has seen the end of the first before it answers this.
    assert_eq!(second.hit().expect("an answer"), 3);
    let mut fourth = Client::connect(server.address).expect("the server listens");
    assert_eq!(fourth.hit().expect("an answer"), 4);
    server.stop();
}

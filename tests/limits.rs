//! Limits of time and number over real sockets: a head has its time, and connections their number.
//!
//! Owns what happens at a limit that no bytes alone can reach. Must not know how a deadline is kept.
//! Invariant: a deadline is waited for by reading until the server answers.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::client::{Client, GET, hit};
use support::ones::{serve, serve_while};
use support::server::Server;
use tallyd::clock::HandClock;
use tallyd::front::pool::limits::Limits;
use tallyd::stamp::SECOND_NS;

/// How long a test waits for the end of a deadline.
const PATIENCE: Duration = Duration::from_secs(30);

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
        assert!(began.elapsed() < PATIENCE, "no answer: {trickled} bytes");
    }
    assert!(trickled > 5, "{trickled} bytes came meanwhile");
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
        assert!(began.elapsed() < PATIENCE, "the connection stays open");
    }
    server.stop();
}

#[test]
fn a_connection_that_sends_nothing_has_the_time_of_a_head_and_not_that_of_an_idle_one() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--front", "pool", "--head-time", "200ms"];
    let server = Server::start(data.path(), &flags);
    let mut idle = Client::connect(server.address).expect("the server listens");
    assert_eq!(idle.hit().expect("an answer"), 1);
    // The idle time is a minute, which is longer than a client waits.
    let mut silent = Client::connect(server.address).expect("the server listens");
    assert!(silent.is_closed(), "without a word");
    assert_eq!(idle.hit().expect("an answer"), 2, "it has been heard");
    server.stop();
}

#[test]
fn a_request_that_arrives_as_the_idle_time_ends_is_answered() {
    // While another client's hit is being counted, the time of the first ends, and it sends.
    let late: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    let in_time = Arc::clone(&late);
    let during = move |clock: &HandClock| {
        if let Some(mut stream) = in_time.lock().expect("one at a time").take() {
            stream.write_all(GET).expect("a connection");
            clock.advance(Limits::DEFAULT.idle_ns_max);
        }
    };
    let (front, address, _clock) = serve_while(1, Limits::DEFAULT, Arc::new(during));
    let mut first = Client::connect(address).expect("the pool listens");
    let mut second = Client::connect(address).expect("the pool listens");
    assert_eq!(first.hit().expect("an answer"), 1);
    *late.lock().expect("one at a time") = first.writer().ok();
    assert_eq!(second.hit().expect("an answer"), 1);
    assert_eq!(first.receive(false).expect("an answer").tally(), 1);
    drop((first, second));
    front.stop();
}

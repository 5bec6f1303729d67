//! The end of a pool: whoever was heard lately is told that its connection ends, and nobody is cut off.
//!
//! Owns the end: the pool is on a clock by hand, so that no client's time runs out unless a test says so, and
//! that the end has begun shows in the listener, which takes nobody any more.
//!
//! Must not know how hits are counted. Invariant: nothing is sent again, and every answer is read.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::client::{Client, GET};
use support::ones::serve;
use tallyd::front::Front;
use tallyd::front::pool::limits::Limits;
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client that was heard is waited for.
const GRACE_NS: u64 = 100 * MILLISECOND_NS;
/// More requests than one pass takes of a connection.
const MANY: usize = 200;

/// Clients that have had one answer each and keep their connections.
fn clients(address: SocketAddr, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(address).expect("the pool listens");
        assert_eq!(client.hit().expect("an answer"), 1);
        client
    };
    (0..count).map(ask).collect()
}

/// Stops `front` while somebody else does what `clients` do.
fn stop_beside(front: Box<dyn Front>, clients: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(clients);
        front.stop();
    });
}

/// Waits until nobody is let in any more.
fn wait_for_the_end(address: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "the pool goes on");
    }
}

#[test]
fn whoever_was_heard_lately_is_answered_once_more_and_told_the_end() {
    for workers in [1, 3] {
        let (front, address, _clock) = serve(workers, Limits::DEFAULT, 0);
        let mut clients = clients(address, 12);
        stop_beside(front, || {
            wait_for_the_end(address);
            for client in &mut clients {
                let answer = client.ask(GET).expect("an answer");
                assert_eq!(answer.tally(), 1);
                assert!(answer.head.contains("\r\nConnection: close\r\n"));
                assert!(client.is_closed());
            }
            drop(clients);
        });
    }
}

#[test]
fn requests_sent_at_once_are_all_answered_and_only_the_last_closes() {
    let (front, address, _clock) = serve(1, Limits::DEFAULT, 0);
    let mut client = clients(address, 1).remove(0);
    stop_beside(front, || {
        wait_for_the_end(address);
        client.send(&GET.repeat(MANY)).expect("requests");
        for number in 1..=MANY {
            let answer = client.receive(false).expect("an answer");
            let closes = answer.head.contains("\r\nConnection: close\r\n");
            assert_eq!((answer.tally(), closes), (1, number == MANY));
        }
        assert!(client.is_closed());
        drop(client);
    });
}

#[test]
fn a_head_under_way_is_waited_for() {
    let (front, address, _clock) = serve(1, Limits::DEFAULT, 0);
    let mut client = clients(address, 1).remove(0);
    let (first, rest) = GET.split_at(GET.len() / 2);
    client.send(first).expect("half a head");
    stop_beside(front, || {
        wait_for_the_end(address);
        assert_eq!(client.ask(rest).expect("an answer").tally(), 1);
        drop(client);
    });
}

#[test]
fn whoever_rests_for_longer_is_let_go_at_once() {
    let (front, address, clock) = serve(2, Limits::DEFAULT, 0);
    let mut clients = clients(address, 3);
    clock.advance(GRACE_NS);
    front.stop();
    for client in &mut clients {
        assert!(client.is_closed());
    }
}

#[test]
fn nobody_holds_up_the_end_for_longer_than_a_second() {
    let (front, address, clock) = serve(1, Limits::DEFAULT, 0);
    let mut client = clients(address, 1).remove(0);
    stop_beside(front, || {
        wait_for_the_end(address);
        clock.advance(SECOND_NS);
    });
    assert!(client.is_closed());
}

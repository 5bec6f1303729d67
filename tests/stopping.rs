//! The end of a pool: whoever was heard lately is told that its connection ends, and nobody is cut off.
//!
//! Owns a pool on a clock by hand, put together from parts of the library, so that no client's time runs
//! out unless a test says so; that the end has begun shows in the listener, which takes nobody any more.
//!
//! Must not know how hits are counted. Invariant: nothing is sent again, and every answer is read.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::client::{Client, GET};
use tallyd::alarm::Alarm;
use tallyd::clock::HandClock;
use tallyd::front::pool::{Count, limits::Limits, start_with};
use tallyd::front::{Front, Plan, Stamping};
use tallyd::hit::{Batch, Gone, Inlet, Line, Message, Outlet, Verdict, channel};
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client that was heard is waited for.
const GRACE_NS: u64 = 100 * MILLISECOND_NS;
/// More requests than one pass takes of a connection.
const MANY: usize = 200;

/// Answers every hit with 1.
struct Ones {
    line: Line,
    messages: Outlet,
    _inlet: Inlet,
}

impl Ones {
    fn new() -> Self {
        let (inlet, messages) = channel();
        Self {
            line: inlet.line(),
            messages,
            _inlet: inlet,
        }
    }
}

impl Count for Ones {
    fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        self.line.next_batch()
    }

    fn exchange(&mut self) -> Result<&Batch, Gone> {
        self.line.send()?;
        if let Ok(Message::Batch(mut batch)) = self.messages.recv() {
            for hit in batch.hits_mut() {
                hit.tally = 1;
            }
            batch.answer(Verdict::Counted);
        }
        self.line.wait()
    }
}

/// A pool that serves at an address, on a clock that stands still.
fn serve(workers: usize) -> (Box<dyn Front>, SocketAddr, HandClock) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = HandClock::new(Stamp::from_ns(1000 * SECOND_NS.cast_signed()), 0);
    let plan = Plan {
        listener,
        workers,
        inlet: channel().0,
        clock: clock.clone(),
        alarm: Alarm::new(|cause| panic!("{cause}")),
        stamping: Stamping::Read,
        limits: Limits::DEFAULT,
        desk: None,
        gauges: Arc::default(),
    };
    let front = start_with(plan, Ones::new).expect("a pool");
    (front, address, clock)
}

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
        let (front, address, _clock) = serve(workers);
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
    let (front, address, _clock) = serve(1);
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
    let (front, address, _clock) = serve(1);
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
    let (front, address, clock) = serve(2);
    let mut clients = clients(address, 3);
    clock.advance(GRACE_NS);
    front.stop();
    for client in &mut clients {
        assert!(client.is_closed());
    }
}

#[test]
fn nobody_holds_up_the_end_for_longer_than_a_second() {
    let (front, address, clock) = serve(1);
    let mut client = clients(address, 1).remove(0);
    stop_beside(front, || {
        wait_for_the_end(address);
        clock.advance(SECOND_NS);
    });
    assert!(client.is_closed());
}

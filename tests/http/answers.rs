//! What every answer to a hit says: its length, its date, and whether the conversation goes on.
//!
//! Owns a funnel that gives the tallies it is told to, in front of either front. Must not know how an answer is
//! written. Invariant tested: the bytes that follow a head are as many as it says.

use crate::FRONTS;
use crate::support::client::{Answer, Client, GET};
use crate::support::ones::plan;
use crate::support::server::Server;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, prlimit};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tallyd::clock::{Clock, HandClock};
use tallyd::front::pool::limits::Limits;
use tallyd::front::{Front, Kind, start};
use tallyd::hit::{Message, Verdict, channel};
use tallyd::stamp::{SECOND_NS, Stamp};

/// An instant in whole seconds, as an answer's date is.
const WALL_NS: i64 = 1_795_464_539 * SECOND_NS.cast_signed();

/// A front that runs, and what it stands on.
struct Served {
    front: Option<Box<dyn Front>>,
    address: SocketAddr,
    clock: HandClock,
    /// The listening socket, which is the front's too.
    listener: TcpListener,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            front.stop();
        }
    }
}

/// Serves by a front whose batches all come back with `verdict`, and whose hits have these tallies, in turn.
fn served(kind: Kind, limits: Limits, tallies: Vec<u64>, verdict: Verdict) -> Served {
    let (inlet, messages) = channel();
    thread::spawn(move || {
        let mut tallies = tallies.into_iter().cycle();
        while let Ok(Message::Batch(mut batch)) = messages.wait(None) {
            for hit in batch.hits_mut() {
                hit.tally = tallies.next().expect("a tally");
            }
            batch.answer(verdict);
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let clock = HandClock::new(Stamp::from_ns(1000 * SECOND_NS.cast_signed()), WALL_NS);
    let ours = listener.try_clone().expect("a descriptor");
    let plan = plan(ours, 1, inlet, clock.clone(), limits);
    Served {
        front: Some(start(kind, plan).expect("a front")),
        address: listener.local_addr().expect("an address"),
        clock,
        listener,
    }
}

fn client(served: &Served) -> Client {
    Client::connect(served.address).expect("a listener")
}

/// The value of the only header line of that name.
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    let (_, value) = values
        .next()
        .unwrap_or_else(|| panic!("no {name}: {}", answer.head));
    assert!(values.next().is_none(), "{name} twice: {}", answer.head);
    value
}

/// The date of an answer, in seconds since 1970.
fn date(answer: &Answer) -> i64 {
    let date = httpdate::parse_http_date(header(answer, "Date")).expect("a date");
    let since = date.duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_secs().cast_signed()
}

#[test]
fn the_length_of_an_answer_is_exact_for_tallies_of_1_to_20_digits() {
    let ends = (1..=19).flat_map(|digits| [10_u64.pow(digits - 1), 10_u64.pow(digits) - 1]);
    let tallies: Vec<u64> = ends.chain([10_u64.pow(19), u64::MAX]).collect();
    for kind in Kind::ALL {
        let served = served(kind, Limits::DEFAULT, tallies.clone(), Verdict::Counted);
        let mut client = client(&served);
        for tally in &tallies {
            let answer = client.ask(GET).expect("an answer");
            let digits = tally.to_string();
            assert_eq!(answer.body, format!("{digits}\n"), "{}", kind.name());
            let length = header(&answer, "Content-Length");
            assert_eq!(length, (digits.len() + 1).to_string(), "{tally}");
        }
        assert!(
            client.is_quiet().expect("a connection"),
            "and not a byte more"
        );
    }
}

/// Requests that the pool refuses, and the status each is refused with.
const REFUSED: [(u16, &str); 6] = [
    (400, "hello\r\n\r\n"),
    (
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ),
    (431, "GET / HTTP/1.1\r\nHost: a\r\nA: a\r\nB: b\r\n\r\n"),
    (
        501,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ),
    (505, "GET / HTTP/2.0\r\n\r\n"),
    (408, "GET / HTTP/1.1\r\nHost: a\r\nA"),
];

#[test]
fn every_answer_and_every_refusal_has_the_date_of_its_second() {
    let limits = Limits {
        headers_max: 2,
        ..Limits::DEFAULT
    };
    let counted = served(Kind::Pool, limits, vec![7], Verdict::Counted);
    let mut kept = client(&counted);
    let mut now = WALL_NS / SECOND_NS.cast_signed();
    let mut go_on = |by_ns: u64| {
        counted.clock.advance(by_ns);
        now = counted.clock.wall_ns().div_euclid(SECOND_NS.cast_signed());
        now
    };
    for by_ns in [0, SECOND_NS, SECOND_NS - 1, 1, 3600 * SECOND_NS / 100] {
        let now = go_on(by_ns);
        assert_eq!(
            date(&kept.ask(GET).expect("an answer")),
            now,
            "after {by_ns} ns"
        );
    }
    for (status, request) in REFUSED {
        go_on(SECOND_NS);
        let mut client = client(&counted);
        client.send(request.as_bytes()).expect("a request");
        if status == 408 {
            // It is read before its time passes; the other's answer comes after it was.
            for _ in 0..3 {
                kept = self::client(&counted);
                kept.ask(GET).expect("an answer");
            }
            go_on(limits.head_ns_max);
            self::client(&counted).ask(GET).expect("an answer");
        }
        let answer = client.receive(false).expect("an answer");
        let now = counted.clock.wall_ns() / SECOND_NS.cast_signed();
        assert_eq!((answer.status, date(&answer)), (status, now), "{request}");
    }
    let refused = served(Kind::Pool, limits, vec![7], Verdict::Refused);
    refused.clock.advance(2 * SECOND_NS);
    let answer = client(&refused).ask(GET).expect("an answer");
    let now = WALL_NS / SECOND_NS.cast_signed() + 2;
    assert_eq!((answer.status, date(&answer)), (503, now));
}

#[test]
fn one_connection_too_many_is_told_the_date_too() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::DEFAULT
    };
    let served = served(Kind::Pool, limits, vec![7], Verdict::Counted);
    served.clock.advance(5 * SECOND_NS);
    let mut busy = client(&served);
    assert_eq!(busy.hit().expect("an answer"), 7);
    busy.send(b"GET / HTTP/1.1\r\nA").expect("half a head");
    let mut surplus = client(&served);
    let mut patience = 0;
    while !surplus
        .has_within(Duration::from_millis(10))
        .expect("a connection")
    {
        served.clock.advance(SECOND_NS / 10);
        patience += 1;
        assert!(patience < 50, "no answer to one too many");
    }
    let answer = surplus.receive(false).expect("an answer");
    let now = served.clock.wall_ns() / SECOND_NS.cast_signed();
    let first = WALL_NS / SECOND_NS.cast_signed() + 5;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!((first..=now).contains(&date(&answer)), "{}", answer.head);
}

#[test]
fn the_date_of_every_front_is_that_of_the_wall_clock() {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs().cast_signed()
    };
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "hello\r\n\r\n"] {
            let mut client = Client::connect(server.address).expect("a listener");
            let before = now();
            let answer = client.ask(request.as_bytes()).expect("an answer");
            let seen = date(&answer);
            assert!((before..=now()).contains(&seen), "{front}: {}", answer.head);
        }
        server.stop();
    }
}

#[test]
fn connections_of_every_front_send_at_once_and_keep_little() {
    for kind in Kind::ALL {
        let mut served = served(kind, Limits::DEFAULT, vec![7], Verdict::Counted);
        assert_eq!(client(&served).hit().expect("an answer"), 7);
        served.front.take().expect("it runs").stop();
        // The next connection is this test's, and inherits what the front set.
        served.listener.set_nonblocking(false).expect("an option");
        let _client = TcpStream::connect(served.address).expect("the kernel accepts");
        let (accepted, _) = served.listener.accept().expect("a connection");
        assert!(
            sockopt::tcp_nodelay(&accepted).expect("an option"),
            "{}",
            kind.name()
        );
        if kind == Kind::Pool {
            // The kernel takes twice what it is told, for its own records.
            let sent = sockopt::socket_send_buffer_size(&accepted);
            let received = sockopt::socket_recv_buffer_size(&accepted);
            assert_eq!((sent, received), (Ok(64 << 10), Ok(64 << 10)));
        }
    }
}

#[test]
fn a_hit_that_the_disk_refuses_is_not_counted_and_ends_the_conversation_where_the_front_can() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        let limit = |current| {
            let limit = Rlimit {
                current,
                maximum: None,
            };
            prlimit(Some(server.pid()), Resource::Fsize, limit).expect("a limit");
        };
        limit(Some(64));
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ] {
            let mut client = Client::connect(server.address).expect("a listener");
            client.send(request.repeat(3).as_bytes()).expect("requests");
            let answer = client.receive(false).expect("an answer");
            assert_eq!(answer.status, 503, "{front}: {request}");
            assert_eq!(
                answer.body,
                "not counted: the disk does not take the record\n"
            );
            if front == "pool" {
                assert_eq!(header(&answer, "Connection"), "close", "{request}");
                assert!(client.is_closed(), "nothing else is answered: {request}");
            } else {
                // `tiny_http` keeps the connection, and each request has its own refusal.
                for _ in 0..2 {
                    assert_eq!(client.receive(false).expect("an answer").status, 503);
                }
            }
        }
        limit(None);
        let mut client = Client::connect(server.address).expect("a listener");
        assert_eq!(client.hit().expect("an answer"), 1, "{front}");
        server.stop();
    }
}

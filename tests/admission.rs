//! Crowds: more connections than there are places, on either listener, or than there are descriptors.
//!
//! Owns who gets a place, who gives one up, and what everybody is told: a complete answer or a complete 503,
//! never a reset.
//!
//! Must not know how a connection to close is found. Invariant: every wait is for bytes or for an end that
//! the server owes, and is bounded.

mod support;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::client::{Answer, Client, GET, hit};
use support::ended::Ended;
use support::ones::serve_while;
use support::server::{Server, TALLYD};
use tallyd::clock::HandClock;
use tallyd::front::pool::limits::{Limits, OPERATORS_MAX};
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS};

/// How long an answer may take that is given as soon as there is a place. Without one it takes as long as
/// the limits below allow.
const SOON: Duration = Duration::from_secs(25);
/// Limits of time that no test reaches.
const PATIENT: [&str; 6] = [
    "--head-time",
    "60s",
    "--idle-time",
    "60s",
    "--write-time",
    "60s",
];
const HEAD_BEGIN: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";
const HEAD_END: &[u8] = b"\r\n\r\n";

fn started(flags: &[&str]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[&PATIENT, flags].concat());
    (data, server)
}

fn with_limit(connections: usize) -> (tempfile::TempDir, Server) {
    started(&["--front", "pool", "--connections", &connections.to_string()])
}

#[track_caller]
fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("the server listens")
}

/// Clients that have each sent these bytes, one after the other.
fn crowd(address: SocketAddr, count: usize, bytes: &[u8]) -> VecDeque<Client> {
    let client = |_| {
        let mut client = connect(address);
        client.send(bytes).expect("a connection");
        client
    };
    (0..count).map(client).collect()
}

/// Whether the client was told 503 in full and the connection ended, not by a reset.
#[track_caller]
fn was_turned_away(client: &mut Client) -> bool {
    let answer = client.receive(false).expect("a complete answer");
    answer.status == 503
        && answer.head.contains("\r\nConnection: close\r\n")
        && answer.body == "too many connections\n"
        && client.is_closed()
}

/// Raises the limit on descriptors of this process, and says how many clients a test may then have at most.
fn clients_max() -> usize {
    let had = getrlimit(Resource::Nofile);
    let wanted = had.maximum.unwrap_or(16_384).min(16_384);
    let raised = Rlimit {
        current: Some(wanted),
        maximum: had.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
    // Tests run at the same time.
    2000.min((wanted as usize).saturating_sub(150) / 3)
}

#[test]
fn the_connection_that_has_been_idle_longest_makes_room() {
    let (_data, server) = with_limit(3);
    let [mut first, mut second, mut third] = [(); 3].map(|()| connect(server.address));
    assert_eq!(first.hit().expect("an answer"), 1);
    assert_eq!(second.hit().expect("an answer"), 2);
    assert_eq!(third.hit().expect("an answer"), 3);
    assert_eq!(first.hit().expect("an answer"), 4);
    assert_eq!(connect(server.address).hit().expect("a place"), 5);
    assert!(second.is_closed(), "without a word");
    assert_eq!(first.hit().expect("an answer"), 6);
    assert_eq!(third.hit().expect("an answer"), 7);
    server.stop();
}

#[test]
fn silent_connections_keep_nobody_out_and_are_told_503() {
    const PLACES: usize = 64;
    for workers in ["1", "3"] {
        let places = PLACES.to_string();
        let flags = ["--connections", &places, "--workers", workers];
        let (_data, server) = started(&flags);
        let mut silent = crowd(server.address, PLACES, b"");
        for tally in 1..=10 {
            let began = Instant::now();
            let mut client = connect(server.address);
            assert_eq!(client.hit().expect("a place"), tally);
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        }
        let mut told = 0;
        for client in &mut silent {
            if !client.is_quiet().expect("no reset") {
                assert!(was_turned_away(client));
                told += 1;
            }
        }
        assert!((1..=10).contains(&told), "{told} made room");
        server.stop();
    }
}

#[test]
fn clients_with_a_request_under_way_are_not_closed_and_others_are_told_503() {
    let (_data, server) = with_limit(2);
    let mut head = connect(server.address);
    head.send(HEAD_BEGIN).expect("half a head");
    let mut body = connect(server.address);
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";
    assert_eq!(body.ask(post).expect("an answer").tally(), 1);
    for _ in 0..3 {
        let mut third = connect(server.address);
        third.send(GET).expect("a connection");
        assert!(was_turned_away(&mut third));
    }
    // Nobody's 503 waits for a request.
    assert!(was_turned_away(&mut connect(server.address)));
    assert_eq!(head.ask(HEAD_END).expect("an answer").tally(), 2);
    body.send(b"cd").expect("a connection");
    assert_eq!(body.hit().expect("an answer"), 3);
    // Both are idle now.
    assert_eq!(hit(server.address), 4);
    drop(body);
    server.stop();
}

#[test]
fn a_request_that_arrives_as_room_is_made_is_answered() {
    // While the second client's hit is being counted, the first one sends and a third one comes.
    type Other = (TcpStream, Option<TcpStream>);
    let others: Arc<Mutex<Option<Other>>> = Arc::default();
    let (there, late) = (Arc::clone(&others), Arc::new(Mutex::new(None)));
    let came = Arc::clone(&late);
    let during = move |clock: &HandClock| {
        clock.advance(MILLISECOND_NS);
        let mut there = there.lock().expect("one at a time");
        if let Some((first, second)) = &mut *there
            && second.is_some()
        {
            clock.advance(SECOND_NS);
            first.write_all(GET).expect("a connection");
            let address = second.take().and_then(|it| it.peer_addr().ok());
            let third = Client::connect(address.expect("an address"));
            *came.lock().expect("one at a time") = third.ok();
        }
    };
    let limits = Limits {
        connections_max: 2,
        ..Limits::DEFAULT
    };
    let (front, address, _clock) = serve_while(1, limits, Arc::new(during));
    let mut first = connect(address);
    let mut second = connect(address);
    assert_eq!(first.hit().expect("an answer"), 1);
    assert_eq!(second.hit().expect("an answer"), 1);
    let pair = (first.writer().expect("a connection"), second.writer().ok());
    *others.lock().expect("one at a time") = Some(pair);
    assert_eq!(second.hit().expect("an answer"), 1);
    // The first has been idle longest, but has sent a request: the second makes room.
    assert_eq!(first.receive(false).expect("an answer").tally(), 1);
    assert!(second.is_closed());
    let third = late.lock().expect("one at a time").take();
    let mut third = third.expect("a third");
    assert_eq!(third.hit().expect("a place"), 1);
    assert_eq!(first.hit().expect("its place"), 1);
    // On this clock nobody's time ends, so they have to go for the pool to stop.
    others.lock().expect("one at a time").take();
    drop((first, third));
    front.stop();
}

/// What a client is told that goes about it in steps of all: connect, send, read.
fn told(clients: &mut VecDeque<Client>) -> [usize; 2] {
    let mut told = [0; 2];
    for client in clients {
        match client.receive(false).expect("a complete answer") {
            Answer { status: 200, .. } => told[0] += 1,
            Answer { status: 503, .. } => told[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    told
}

#[test]
fn of_two_thousand_at_once_everybody_is_answered_or_told_503_and_nobody_is_reset() {
    let count = clients_max();
    let (_data, server) = with_limit(count * 1024 / 2000);
    // All connect and send, and then read.
    let mut clients = crowd(server.address, count, GET);
    let [answered, refused] = told(&mut clients);
    assert_eq!(answered + refused, count);
    assert!(answered >= count / 2, "{answered} of {count}");
    drop(clients);
    // All connect before anybody sends. Whoever has been told already may find the connection ended.
    let mut clients = crowd(server.address, count, b"");
    for client in &mut clients {
        let _ended = client.send(GET);
    }
    let [answered, refused] = told(&mut clients);
    assert_eq!(answered + refused, count);
    assert!(answered > 0);
    drop(clients);
    // As many at the same time as there are processors for.
    let results = std::thread::scope(|scope| {
        let each = |_| {
            scope.spawn(|| {
                let mut clients = crowd(server.address, count / 8, GET);
                told(&mut clients)
            })
        };
        let threads: Vec<_> = (0..8).map(each).collect();
        let results = threads.into_iter().map(|it| it.join().expect("a client"));
        results.collect::<Vec<_>>()
    });
    let all: usize = results.iter().flatten().sum();
    assert_eq!(all, count / 8 * 8);
    server.stop();
}

#[test]
fn where_all_are_busy_everybody_else_is_told_503_and_nobody_is_reset() {
    let count = clients_max();
    let places = count * 1024 / 2000;
    let (_data, server) = with_limit(places);
    let mut busy = crowd(server.address, places, HEAD_BEGIN);
    let mut others = crowd(server.address, count - places, GET);
    for client in &mut others {
        assert!(was_turned_away(client));
    }
    for client in &mut busy {
        assert_eq!(client.ask(HEAD_END).expect("an answer").status, 200);
    }
    server.stop();
}

/// Starts a server with both listeners.
fn with_operator(flags: &[&str]) -> (tempfile::TempDir, Server, SocketAddr) {
    let (data, server) = started(&[&["--operator", "127.0.0.1:0"], flags].concat());
    let operator = server.operator.expect("an operator's address");
    (data, server, operator)
}

/// Asks as a probe does: on a new connection, all at once.
#[track_caller]
fn probe(operator: SocketAddr) {
    let began = Instant::now();
    let mut client = connect(operator);
    let asked = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = client.ask(asked).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_probe_gets_through_whatever_a_crowd_of_operators_does() {
    let long = b"GET /history?window=10s&step=1ms HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let pipelined = long.repeat(100);
    let kinds: [(&str, &[u8]); 8] = [
        ("sends nothing", b""),
        ("sends blank lines", b"\r\n\r"),
        (
            "has been answered",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("has begun a head", HEAD_BEGIN),
        (
            "has begun a body",
            b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
        ),
        ("is refused and stays", b"nonsense\r\n\r\nmore"),
        ("asks for much", long),
        ("reads nothing", &pipelined),
    ];
    for front in ["pool", "tiny-http"] {
        for (kind, bytes) in kinds {
            let (_data, server, operator) = with_operator(&["--front", front]);
            println!("a crowd each of which {kind}, front {front}");
            let _crowd = crowd(operator, 2 * OPERATORS_MAX, bytes);
            for _ in 0..5 {
                probe(operator);
            }
            assert_eq!(hit(server.address), 1);
            server.stop();
        }
    }
}

/// Says at its end that something is over.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `probes` while others come without end, each of which has sent `bytes` and goes on with `more`, and
/// while at most `held` of them are open.
fn beside_a_crowd(
    address: SocketAddr,
    held: usize,
    [bytes, more]: [&[u8]; 2],
    probes: impl FnOnce(),
) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut open = VecDeque::new();
            let mut made = 0;
            while !is_over.load(Ordering::SeqCst) {
                if let Ok(mut client) = Client::connect(address)
                    && client.send(bytes).is_ok()
                {
                    open.push_back(client);
                    made += 1;
                }
                for client in open.iter_mut().filter(|_| !more.is_empty()) {
                    let _ended = client.send(more);
                }
                open.drain(..open.len().saturating_sub(held));
            }
            println!("{made} others");
        });
        // The others end as well if a probe fails.
        let _end = End(&is_over);
        probes();
    });
}

#[test]
fn a_probe_gets_through_a_crowd_of_operators_that_comes_without_end() {
    let kinds: [[&[u8]; 2]; 5] = [
        [b"", b""],
        [b"", b"\r\n"],
        [HEAD_BEGIN, b""],
        [HEAD_BEGIN, b"x"],
        [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b""],
    ];
    let (_data, server, operator) = with_operator(&[]);
    for kind in kinds {
        beside_a_crowd(operator, 2 * OPERATORS_MAX, kind, || {
            for _ in 0..20 {
                probe(operator);
            }
        });
    }
    assert_eq!(hit(server.address), 1, "hits go on");
    server.stop();
}

#[test]
fn a_hit_gets_through_silent_connections_that_come_without_end() {
    let (_data, server) = with_limit(64);
    // So many that none of them goes by itself.
    beside_a_crowd(server.address, clients_max() / 2, [b"", b""], || {
        for tally in 1..=20 {
            let mut client = connect(server.address);
            assert_eq!(client.hit().expect("a place"), tally);
        }
    });
    server.stop();
}

#[test]
fn a_crowd_of_hits_keeps_no_operator_out() {
    let (_data, server, operator) = with_operator(&["--connections", "8"]);
    let _busy = crowd(server.address, 8, HEAD_BEGIN);
    beside_a_crowd(server.address, 128, [b"", b""], || {
        for _ in 0..20 {
            probe(operator);
        }
    });
    server.stop();
}

#[test]
fn where_descriptors_run_out_idle_connections_make_room() {
    let (data, server, operator) = with_operator(&["--front", "pool"]);
    wait_for_lives(&server, &data);
    let mut idle = crowd(server.address, 3, b"");
    let mut first = connect(server.address);
    assert_eq!(first.hit().expect("an answer"), 1);
    lower_descriptors(server.pid());
    for tally in 2..=6 {
        assert_eq!(hit(server.address), tally);
    }
    probe(operator);
    assert!(idle.iter_mut().any(|client| was_turned_away(client)));
    server.stop();
}

#[test]
fn where_no_descriptor_can_be_had_accepting_goes_on_when_one_is_free() {
    let (data, mut server) = with_limit(8);
    wait_for_lives(&server, &data);
    let mut busy = crowd(server.address, 3, HEAD_BEGIN);
    // When this one is answered the server has all of them, and it stays.
    let mut last = connect(server.address);
    assert_eq!(last.hit().expect("an answer"), 1);
    last.send(HEAD_BEGIN).expect("half a head");
    lower_descriptors(server.pid());
    let mut waiting = crowd(server.address, 2, GET);
    server.hear(" error: cannot accept connections: ");
    drop(busy.pop_back());
    let answer = waiting[0].receive(false).expect("an answer");
    assert_eq!(answer.tally(), 2);
    server.hear(" info: accepting connections again");
    assert_eq!(waiting[1].receive(false).expect("an answer").tally(), 3);
    server.stop();
}

/// Waits until a server has written its list of lives: later connections get the lowest descriptors.
fn wait_for_lives(server: &Server, data: &tempfile::TempDir) {
    let pid = server.pid().as_raw_nonzero();
    let is_writing = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        tasks.flatten().any(|task| {
            let name = fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "lives")
        })
    };
    let began = Instant::now();
    while !data.path().join("lives").exists() || is_writing() {
        assert!(began.elapsed() < SOON, "no list of lives");
        std::thread::yield_now();
    }
}

/// Leaves a server no descriptors beside those that it has. The limit is one on their numbers.
fn lower_descriptors(pid: Pid) {
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("descriptors");
    let numbers = open.flatten();
    let numbers = numbers.filter_map(|it| it.file_name().to_str()?.parse::<u64>().ok());
    // What the test was started with may have high ones.
    let numbers: Vec<u64> = numbers.collect();
    let behind = (0..).find(|number| !numbers.contains(number));
    let had = prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit {
            current: behind,
            maximum: Some(4096),
        },
    );
    had.expect("a limit");
}

/// A command that starts a server where so many descriptors are the hard limit. Whoever may go beyond any
/// limit loses that right.
fn limited(descriptors: u64, data: &tempfile::TempDir, flags: &[&str]) -> Command {
    let _had_none = remove_capability_from_bounding_set(CapabilitySet::SYS_RESOURCE);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {descriptors}; exec \"$@\""), "sh"])
        .args([TALLYD, "--listen", "127.0.0.1:0", "--operator", "none"])
        .arg("--data")
        .arg(data.path())
        .args(flags);
    command
}

#[test]
fn with_1024_descriptors_a_server_starts_and_says_how_many_connections_it_serves() {
    for (descriptors, connections) in [(1024, 859), (256, 91), (181, 16)] {
        let data = tempfile::tempdir().expect("a directory");
        let mut server = Server::spawn(limited(descriptors, &data, &[]));
        server.hear(&format!(
            "serving at most {connections} connections instead of 1024: the hard limit on descriptors \
             allows no more (raise it with ulimit -Hn or LimitNOFILE=)"
        ));
        // As many as that are served at the same time, and one more is told 503.
        if connections < 100 {
            let _busy = crowd(server.address, connections, HEAD_BEGIN);
            assert!(was_turned_away(&mut connect(server.address)));
        }
        server.stop();
    }
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::spawn(limited(1189, &data, &[]));
    assert_eq!(server.stop(), "", "there is nothing to be said");
}

#[test]
fn connections_that_were_asked_for_and_cannot_be_had_are_an_error_with_the_way_out() {
    let output = |descriptors, flags: &[&str]| -> Output {
        let data = tempfile::tempdir().expect("a directory");
        limited(descriptors, &data, flags).ended()
    };
    let flags: [&[&str]; 1] = [&["--connections", "1024"]];
    for flags in flags {
        let output = output(1024, flags);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "tallyd: 1024 connections: 1189 descriptors are needed, the hard limit is 1024 (raise it with \
             ulimit -Hn or LimitNOFILE=, or give --connections 859 or fewer)\n"
        );
    }
    let few = output(100, &[]);
    assert_eq!(few.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&few.stderr),
        "tallyd: 16 connections: 181 descriptors are needed, the hard limit is 100 (raise it with ulimit \
         -Hn or LimitNOFILE=)\n"
    );
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::spawn(limited(1024, &data, &["--connections", "859"]));
    assert_eq!(server.stop(), "");
}

//! P2 on the real binary: `kill -9` at any instant, restarts and graceful stops lose no answered hit.
//!
//! Owns the ledgers: every client notes what it is about to send before it sends it, and what was
//! answered when it was. After a restart, acked <= count <= sent must hold, over all rounds.
//!
//! Must not know how the journal works. Invariant: the moment of a kill is a number of answers drawn
//! from a seed, which a failure prints.

mod support;

use rustix::process::Signal;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use support::client::{Client, GET, hit};
use support::ended::Ended;
use support::seed::{Chance, for_seeds};
use support::server::{Server, TALLYD};

/// What all clients of a round together have sent, and what they were answered.
#[derive(Default)]
struct Ledger {
    sent: u64,
    answers: Vec<u64>,
}

/// Sends hits until the connection fails, reporting each answer.
fn hit_until_the_end(address: SocketAddr, sent: &AtomicU64, answers: &Sender<u64>) {
    let Ok(mut client) = Client::connect(address) else {
        return;
    };
    loop {
        sent.fetch_add(1, Ordering::SeqCst);
        match client.ask(GET) {
            Ok(answer) => answers.send(answer.tally()).expect("the test listens"),
            Err(_) => return,
        }
    }
}

/// Loads `server` with `clients` until it has given `count` answers, ends it with `end`, and returns
/// what was sent and answered in all.
fn load_until(server: Server, clients: usize, count: usize, end: impl FnOnce(Server)) -> Ledger {
    let sent = AtomicU64::new(0);
    let (answers, answered) = channel();
    let address = server.address;
    let mut ledger = Ledger::default();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            let (sent, answers) = (&sent, answers.clone());
            scope.spawn(move || hit_until_the_end(address, sent, &answers));
        }
        drop(answers);
        ledger.answers.extend(answered.iter().take(count));
        end(server);
        ledger.answers.extend(answered.iter());
    });
    ledger.sent = sent.into_inner();
    ledger
}

#[test]
fn kill_at_any_instant_loses_no_answered_hit() {
    let rounds = 40;
    for_seeds(1, |seed| {
        let mut chance = Chance::new(seed);
        let data = tempfile::tempdir().expect("a directory");
        let (mut sent, mut answers) = (0, Vec::new());
        for round in 0..rounds {
            let sync = chance.pick(&["always", "1ms", "never"]);
            let workers = chance.between(1, 8).to_string();
            let front = chance.pick(&["pool", "tiny-http"]);
            let flags = ["--sync", sync, "--workers", &workers, "--front", front];
            let server = Server::start(data.path(), &flags);
            let clients = chance.between(1, 8) as usize;
            let count = chance.span(2_000) as usize;
            let ledger = load_until(server, clients, count, Server::kill);
            sent += ledger.sent;
            answers.extend(ledger.answers);

            let server = Server::start(data.path(), &[]);
            let tally = hit(server.address);
            sent += 1;
            answers.push(tally);
            let acked = answers.len() as u64;
            assert!(
                (acked..=sent).contains(&tally),
                "round {round}: {acked} <= {tally} <= {sent}"
            );
            server.kill();
        }
        let count = answers.len();
        answers.sort_unstable();
        answers.dedup();
        assert_eq!(answers.len(), count, "a number was given twice");
    });
}

#[test]
fn stop_under_load_answers_what_it_counts_and_leaves_nothing_behind() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut sent, mut acked, mut before) = (0, 0, 0);
    for round in 1..=8_u64 {
        let front = if round % 4 < 2 { "pool" } else { "tiny-http" };
        let server = Server::start(data.path(), &["--front", front]);
        let (address, pid) = (server.address, server.pid());
        let signal = if round % 2 == 0 {
            Signal::TERM
        } else {
            Signal::INT
        };
        let mut last = String::new();
        let ledger = load_until(server, 8, 300, |server| {
            server.signal(signal);
            let (status, said) = server.ended();
            assert!(status.success(), "{status}, said {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            last = said;
        });
        sent += ledger.sent;
        acked += ledger.answers.len() as u64;
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "the process is still there"
        );
        std::net::TcpListener::bind(address).expect("the port is free");

        // The lock is free, or this would not start.
        let server = Server::start(data.path(), &[]);
        let tally = hit(server.address);
        (sent, acked) = (sent + 1, acked + 1);
        assert!(
            (acked..=sent).contains(&tally),
            "{acked} <= {tally} <= {sent}"
        );
        server.stop();
        let counted = tally - 1 - before;
        let stop =
            format!(" info: stopped: counted {counted} hits in this run, all on stable storage\n");
        assert!(last.ends_with(&stop), "{last}, not {stop}");
        before = tally;
    }
}

#[test]
fn the_stop_line_claims_no_more_than_is_known() {
    let data = tempfile::tempdir().expect("a directory");
    let last_line = |server: Server| {
        server.signal(Signal::TERM);
        let (status, said) = server.ended();
        assert!(status.success(), "{status}, said {said}");
        let (_, stop) = said.trim_end().rsplit_once("Z ").expect("an instant");
        stop.to_owned()
    };
    let server = Server::start(data.path(), &[]);
    assert_eq!(
        last_line(server),
        "info: stopped: counted 0 hits in this run"
    );
    for (tally, sync, durable) in [
        (1, "always", ", all on stable storage"),
        (2, "1s", ", all on stable storage"),
        (
            3,
            "never",
            ", handed to the kernel and synced once, at the stop",
        ),
    ] {
        let server = Server::start(data.path(), &["--sync", sync]);
        assert_eq!(hit(server.address), tally);
        let stop = format!("info: stopped: counted 1 hit in this run{durable}");
        assert_eq!(last_line(server), stop);
    }
    // A sync fails while the directory is away; that hit is counted all the same.
    let aside = data.path().with_extension("aside");
    let mut server = Server::start(data.path(), &["--sync", "300ms"]);
    assert_eq!(hit(server.address), 4);
    std::fs::rename(data.path(), &aside).expect("it is moved away");
    server.hear("cannot sync ");
    std::fs::rename(&aside, data.path()).expect("it is moved back");
    let stop = last_line(server);
    let failed = "warn: stopped: counted 1 hit in this run; a sync failed, so it may not be on stable storage";
    assert_eq!(stop, failed);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().expect("a directory");
    let first = Server::start(data.path(), &[]);
    assert_eq!(hit(first.address), 1);
    let second = Command::new(TALLYD)
        .args(["--listen", "127.0.0.1:0", "--operator", "none", "--data"])
        .arg(data.path())
        .ended();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).expect("text");
    let expected = format!(
        "tallyd: {}: data directory is in use by process {}\n",
        data.path().display(),
        first.pid().as_raw_nonzero()
    );
    assert_eq!(said, expected);
    assert_eq!(hit(first.address), 2);
    first.stop();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--front", "tiny-http", "--workers", "1"]);
    // The worker answers and then waits for a body that never comes, which holds up a stop.
    let mut slow = Client::connect(server.address).expect("the server listens");
    slow.send(b"POST / HTTP/1.1\r\nHost: tallyd\r\nContent-Length: 2000\r\n\r\n")
        .expect("a head");
    assert_eq!(slow.receive(false).expect("an answer").tally(), 1);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let (status, _) = server.ended();
    assert_eq!(status.code(), Some(1));
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 2);
    server.stop();
}

#[test]
fn the_start_line_says_what_was_recovered() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    assert!(
        server
            .start_line
            .contains("recovered 0 hits (0 in the last 3600s), in ")
    );
    for tally in 1..=3 {
        assert_eq!(hit(server.address), tally);
    }
    server.kill();
    let server = Server::start(data.path(), &[]);
    let place = format!(
        "data in {}, recovered 3 hits (3 in the last 3600s)",
        data.path().display()
    );
    assert!(server.start_line.contains(&place), "{}", server.start_line);
    server.stop();
}

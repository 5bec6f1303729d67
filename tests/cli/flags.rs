//! Every flag of the server and its variable: another value, another effect.
//!
//! Owns one row for each flag. The flag is given on the command line and then as its variable, each value
//! on a server of its own, and what is seen of that server must be what the row says.
//!
//! Must not know how a flag is read. Invariant: a flag that `--help` lists has a row, and no row is of
//! another one.

use crate::support::client::{Answer, Client, GET, hit};
use crate::support::ended::Ended;
use crate::support::server::{Server, TALLYD, stamps};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tallyd::stamp::MILLISECOND_NS;

/// How long a test waits for what the server owes.
const PATIENCE: Duration = Duration::from_secs(30);
const HEAD_BEGIN: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";

/// A flag, and what is seen of servers that were given a value of it.
struct Row {
    flag: &'static str,
    /// Further flags of these servers.
    with: &'static [&'static str],
    /// Values, and what is to be seen with each.
    values: &'static [(&'static str, &'static str)],
    see: fn(&Running) -> String,
}

/// A server that was given a value.
struct Running {
    server: Server,
    /// Where it was started.
    place: PathBuf,
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn client(&self) -> Client {
        Client::connect(self.address()).expect("the server listens")
    }

    fn admin(&self, head: &str) -> Answer {
        let address = self.server.operator.expect("an admin listener");
        let mut client = Client::connect(address).expect("it listens");
        client.ask(head.as_bytes()).expect("an answer")
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.admin("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let line = metrics
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {}", metrics.body));
        value.trim().parse().expect("a whole number")
    }

    /// The status of the answer to `request`.
    fn status(&self, request: &[u8]) -> String {
        let answer = self.client().ask(request).expect("an answer");
        answer.status.to_string()
    }

    /// Which of two comes first: `is_first` is looked at before `is_second`, so that both at once are the first.
    fn first_of(
        &self,
        mut is_first: impl FnMut() -> bool,
        mut is_second: impl FnMut() -> bool,
    ) -> String {
        let began = Instant::now();
        loop {
            // What the first has to have done by the time of the second is done when the second is seen.
            let second = is_second();
            if is_first() {
                return "first".to_owned();
            }
            if second {
                return "second".to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "neither comes");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Every flag of the server, in the order of the help.
const ROWS: [Row; 19] = [
    Row {
        flag: "listen",
        with: &[],
        values: &[("127.0.0.1:0", "127.0.0.1"), ("127.0.0.2:0", "127.0.0.2")],
        see: |running| {
            assert_eq!(hit(running.address()), 1);
            running.address().ip().to_string()
        },
    },
    Row {
        flag: "operator",
        with: &[],
        values: &[("127.0.0.2:0", "127.0.0.2"), ("none", "none")],
        see: |running| match running.server.operator {
            None => "none".to_owned(),
            Some(address) => {
                running.metric("tallyd_hits_total");
                address.ip().to_string()
            }
        },
    },
    Row {
        flag: "admin-host",
        with: &[],
        values: &[
            ("localhost", "403"),
            ("a.example,b.example", "200"),
            ("*", "200"),
        ],
        see: |running| {
            let answer = running.admin("GET /count HTTP/1.1\r\nHost: b.example\r\n\r\n");
            answer.status.to_string()
        },
    },
    Row {
        flag: "data",
        with: &[],
        values: &[("here", "here"), ("deep/there", "there")],
        see: |running| {
            let of = |name: &str| running.place.join(name).join("0000000000000000.seg");
            assert_eq!(hit(running.address()), 1);
            match (of("here").exists(), of("deep/there").exists()) {
                (true, false) => "here".to_owned(),
                (false, true) => "there".to_owned(),
                other => format!("{other:?}"),
            }
        },
    },
    Row {
        flag: "window",
        with: &[],
        values: &[("1h", "1 2"), ("1ms", "1 1")],
        see: |running| {
            let mut client = running.client();
            let first = client.hit().expect("an answer");
            std::thread::sleep(Duration::from_millis(5));
            format!("{first} {}", client.hit().expect("an answer"))
        },
    },
    Row {
        flag: "retain",
        with: &["--window", "1s"],
        values: &[("1h", "200"), ("2s", "400")],
        see: |running| {
            let answer = running.admin("GET /count?window=3s HTTP/1.1\r\nHost: localhost\r\n\r\n");
            answer.status.to_string()
        },
    },
    Row {
        flag: "sync",
        with: &[],
        values: &[("always", "3 syncs"), ("never", "0 syncs")],
        see: |running| {
            (1..=3).for_each(|tally| assert_eq!(hit(running.address()), tally));
            format!("{} syncs", running.metric("tallyd_sync_seconds_count"))
        },
    },
    Row {
        // The period: a sync comes before an idle connection is closed, or it does not.
        flag: "sync",
        with: &["--idle-time", "3s"],
        values: &[("20ms", "first"), ("1day", "second")],
        see: |running| {
            let mut idle = running.client();
            assert_eq!(idle.hit().expect("an answer"), 1);
            let has_synced = || running.metric("tallyd_sync_seconds_count") > 0;
            running.first_of(has_synced, || has_come(&mut idle))
        },
    },
    Row {
        flag: "front",
        with: &[],
        values: &[("pool", "431"), ("tiny-http", "200")],
        see: |running| running.status(&head_of(20_000)),
    },
    Row {
        flag: "stamp",
        with: &[],
        values: &[("read", "together"), ("kernel", "apart")],
        see: stamps_of_two_that_waited,
    },
    Row {
        flag: "workers",
        with: &[],
        values: &[("1", "1"), ("3", "3")],
        see: |running| {
            let tasks = format!("/proc/{}/task", running.server.pid().as_raw_nonzero());
            let names = std::fs::read_dir(tasks).expect("threads").flatten();
            let names = names.filter_map(|it| std::fs::read_to_string(it.path().join("comm")).ok());
            names
                .filter(|name| name.starts_with("worker-"))
                .count()
                .to_string()
        },
    },
    Row {
        flag: "connections",
        with: &[],
        values: &[("1", "503"), ("2", "200")],
        see: |running| {
            let mut busy = running.client();
            assert_eq!(busy.hit().expect("an answer"), 1);
            busy.send(HEAD_BEGIN).expect("half a head");
            running.status(GET)
        },
    },
    Row {
        flag: "head-bytes",
        with: &[],
        values: &[("256", "431"), ("257", "200")],
        see: |running| running.status(&head_of(257)),
    },
    Row {
        flag: "headers",
        with: &[],
        values: &[("2", "431"), ("3", "200")],
        see: |running| running.status(b"GET / HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\n\r\n"),
    },
    Row {
        flag: "body-bytes",
        with: &[],
        values: &[("2", "closes"), ("3", "stays")],
        see: |running| {
            let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
            let answer = running.client().ask(request).expect("an answer");
            match answer.head.contains("\r\nConnection: close\r\n") {
                true => "closes".to_owned(),
                false => "stays".to_owned(),
            }
        },
    },
    Row {
        flag: "head-time",
        with: &["--idle-time", "1s"],
        values: &[("20ms", "first"), ("1day", "second")],
        see: |running| {
            let (mut slow, mut idle) = slow_and_idle(running);
            let seen = running.first_of(|| has_come(&mut slow), || has_come(&mut idle));
            if seen == "first" {
                assert_eq!(slow.receive(false).expect("an answer").status, 408);
            }
            seen
        },
    },
    Row {
        flag: "idle-time",
        with: &["--head-time", "1s"],
        values: &[("20ms", "first"), ("1day", "second")],
        see: |running| {
            let (mut slow, mut idle) = slow_and_idle(running);
            let seen = running.first_of(|| has_come(&mut idle), || has_come(&mut slow));
            if seen == "first" {
                assert!(idle.is_closed(), "without a word");
            }
            seen
        },
    },
    Row {
        flag: "write-time",
        with: &["--head-time", "2s"],
        values: &[("20ms", "first"), ("1day", "second")],
        see: |running| {
            let mut deaf = running.client().writer().expect("a connection");
            deaf.set_nonblocking(true).expect("an option");
            let mut slow = running.client();
            slow.send(HEAD_BEGIN).expect("half a head");
            let is_ended = || match deaf.write(&GET.repeat(100)) {
                Ok(_) => false,
                Err(cause) => cause.kind() != ErrorKind::WouldBlock,
            };
            running.first_of(is_ended, || has_come(&mut slow))
        },
    },
    Row {
        flag: "pass-hits",
        with: &[],
        values: &[("1", "after some"), ("4096", "after all")],
        see: |running| {
            let (mut many, mut one) = (running.client(), running.client());
            assert_eq!(many.hit().expect("an answer"), 1);
            assert_eq!(one.hit().expect("an answer"), 2);
            running.server.hold();
            many.send(&GET.repeat(100)).expect("requests");
            one.send(GET).expect("a request");
            running.server.signal(Signal::CONT);
            match one.receive(false).expect("an answer").tally() {
                103 => "after all".to_owned(),
                3..=5 => "after some".to_owned(),
                tally => tally.to_string(),
            }
        },
    },
];

/// A request head of so many bytes.
fn head_of(bytes: usize) -> Vec<u8> {
    let (begin, end) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
    let filling = "x".repeat(bytes - begin.len() - end.len());
    format!("{begin}{filling}{end}").into_bytes()
}

/// A client that has sent half a head, and one that was answered and is idle.
fn slow_and_idle(running: &Running) -> (Client, Client) {
    let (mut slow, mut idle) = (running.client(), running.client());
    slow.send(HEAD_BEGIN).expect("half a head");
    assert_eq!(idle.hit().expect("an answer"), 1);
    (slow, idle)
}

/// Whether bytes have come, or the end.
fn has_come(client: &mut Client) -> bool {
    !matches!(client.is_quiet(), Ok(true))
}

/// Two hits reach a server that stands still, one well after the other: whether their stamps are as far apart.
fn stamps_of_two_that_waited(running: &Running) -> String {
    const APART: Duration = Duration::from_millis(300);
    let (mut one, mut other) = (running.client(), running.client());
    assert_eq!(one.hit().expect("an answer"), 1);
    assert_eq!(other.hit().expect("an answer"), 2);
    running.server.hold();
    one.send(GET).expect("a request");
    std::thread::sleep(APART);
    other.send(GET).expect("a request");
    running.server.signal(Signal::CONT);
    assert_eq!(one.receive(false).expect("an answer").tally(), 3);
    assert_eq!(other.receive(false).expect("an answer").tally(), 4);
    let stamps = stamps(&running.place.join("data"));
    match stamps[3].since(stamps[2]) / MILLISECOND_NS {
        0..150 => "together".to_owned(),
        _ => "apart".to_owned(),
    }
}

/// Starts a server in `place` that is given `value` for the flag, as an argument or as a variable.
fn started(place: &Path, row: &Row, value: &str, by_variable: bool) -> Running {
    let mut command = Command::new(TALLYD);
    command.current_dir(place).env_clear();
    let defaults = [
        ("listen", "127.0.0.1:0"),
        ("operator", "127.0.0.1:0"),
        ("window", "1h"),
        ("data", "data"),
    ];
    for (flag, value) in defaults {
        let argument = format!("--{flag}");
        if flag != row.flag && !row.with.contains(&&*argument) {
            command.args([&*argument, value]);
        }
    }
    command.args(row.with);
    if by_variable {
        let name = row.flag.to_ascii_uppercase().replace('-', "_");
        command.env(format!("TALLYD_{name}"), value);
    } else {
        command.args([&format!("--{}", row.flag), value]);
    }
    let server = Server::spawn(command);
    Running {
        server,
        place: place.to_owned(),
    }
}

/// The flags that a help lists, without the dashes.
pub fn listed(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  --"));
    lines
        .map(|line| line.split(' ').next().expect("a name").to_owned())
        .collect()
}

#[test]
fn every_flag_and_every_variable_has_its_effect() {
    let check = |row: &Row, value: &str, expected: &str, by_variable: bool| {
        let place = tempfile::tempdir().expect("a directory");
        let running = started(place.path(), row, value, by_variable);
        let seen = (row.see)(&running);
        let way = if by_variable { "variable" } else { "argument" };
        assert_eq!(seen, *expected, "--{} {value}, as {way}", row.flag);
        running.server.kill();
    };
    // Most of the time is spent waiting for a deadline.
    std::thread::scope(|scope| {
        for row in &ROWS {
            scope.spawn(move || {
                for (value, expected) in row.values {
                    check(row, value, expected, false);
                    check(row, value, expected, true);
                }
            });
        }
    });
}

#[test]
fn every_flag_of_the_help_has_a_row_with_two_effects() {
    let help = Command::new(TALLYD).arg("--help").ended();
    let listed = listed(&String::from_utf8(help.stdout).expect("text"));
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.flag.to_owned()).collect();
    assert_eq!(rows, listed);
    for row in &ROWS {
        let effects: BTreeSet<&str> = row.values.iter().map(|(_, seen)| *seen).collect();
        assert!(effects.len() > 1, "--{}: {effects:?}", row.flag);
    }
}

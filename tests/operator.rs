//! What an operator is told, and that it never counts, whichever front takes the hits.
//!
//! Owns the operator's listener as a client sees it: each page as text and as JSON against what was sent,
//! the refusals, and what holds while hits come in, the disk refuses and the server ends. What every path
//! answers in every state of the server is in `operator/states.rs`; parameters at their limits are tried in
//! `src/operator/question/tests.rs`.
//!
//! Must not know how pages are made. Invariant: whatever is asked, the next tally is one more than the last.

mod support;

#[path = "operator/states.rs"]
mod states;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::client::{Answer, Client, GET, hit};
use support::ended::Ended;
use support::server::{Server, TALLYD};

/// Every front there is.
const FRONTS: [&str; 2] = ["pool", "tiny-http"];
/// Connections of operators that are let in.
const OPERATORS_MAX: usize = 32;
/// Clients that hit while an operator asks.
const HITTING: u64 = 64;

fn start(data: &tempfile::TempDir, flags: &[&str]) -> (Server, SocketAddr) {
    let flags = [&["--operator", "127.0.0.1:0"], flags].concat();
    let server = Server::start(data.path(), &flags);
    let operator = server.operator.expect("an operator's address");
    (server, operator)
}

/// What `path` answers to somebody new.
fn ask(operator: SocketAddr, path: &str) -> Answer {
    let mut client = Client::connect(operator).expect("the operator's listener");
    ask_on(&mut client, path)
}

fn ask_on(client: &mut Client, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.ask(request.as_bytes()).expect("an answer")
}

/// The bare value or the list behind a name in a flat JSON object.
fn field(answer: &Answer, name: &str) -> String {
    assert!(
        answer
            .head
            .contains("\r\nContent-Type: application/json\r\n"),
        "{answer:?}"
    );
    let (_, rest) = answer
        .body
        .split_once(&format!("\"{name}\":"))
        .unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    let end = if rest.starts_with('[') { "]" } else { ",}" };
    let end = rest.find(|letter| end.contains(letter)).expect("an end");
    rest[..end].trim_matches(['"', '[']).to_owned()
}

fn number(answer: &Answer, name: &str) -> u64 {
    field(answer, name).parse().expect("a number")
}

#[test]
fn every_page_says_what_was_sent_as_text_and_as_json() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let (server, operator) = start(&data, &["--front", front]);
        for sent in 1..=7 {
            assert_eq!(hit(server.address), sent);
        }
        assert_eq!(ask(operator, "/count").tally(), 7);
        assert_eq!(ask(operator, "/count?window=1h").tally(), 7);
        assert_eq!(ask(operator, "/count?window=1ns").tally(), 0);
        assert_eq!(ask(operator, "/total").tally(), 7);
        assert_eq!(number(&ask(operator, "/count?format=json"), "count"), 7);
        assert_eq!(number(&ask(operator, "/total?format=json"), "total"), 7);
        let status = ask(operator, "/status?format=json");
        assert_eq!((number(&status, "tally"), number(&status, "total")), (7, 7));
        assert_eq!(field(&status, "window_ns"), "3600000000000");
        assert_eq!(
            (field(&status, "ready"), field(&status, "estimated")),
            ("true".into(), "false".into())
        );
        let lines = ask(operator, "/status").body;
        for line in [
            "tally 7\n",
            "total 7\n",
            "ready true\n",
            "window 3600s\n",
            "sync 1s\n",
        ] {
            assert!(lines.contains(line), "{line}: {lines}");
        }
        assert_eq!(
            (
                ask(operator, "/livez").status,
                ask(operator, "/livez").body.as_str()
            ),
            (200, "ok\n")
        );
        assert_eq!(ask(operator, "/readyz").body, "ready\n");
        let metrics = ask(operator, "/metrics").body;
        for line in [
            "tallyd_window_hits 7\n",
            "tallyd_hits_total 7\n",
            "tallyd_batch_hits_sum 7\n",
            "tallyd_turn_seconds_count 7\n",
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
        assert_eq!(hit(server.address), 8, "nothing of this counted");
        server.stop();
    }
}

#[test]
fn the_page_is_small_and_may_run_nothing_but_its_own_style_and_script() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    let page = ask(operator, "/");
    assert!(
        page.head
            .contains("\r\nContent-Type: text/html; charset=utf-8\r\n"),
        "{}",
        page.head
    );
    assert!(page.body.len() < 27_000, "{} bytes", page.body.len());
    for element in ["style", "script"] {
        let parts: Vec<&str> = page.body.split(&format!("<{element}>")).collect();
        assert_eq!(parts.len(), 2, "one <{element}>");
        let (inside, _) = parts[1]
            .split_once(&format!("</{element}>"))
            .expect("an end");
        let digest = BASE64_STANDARD.encode(Sha256::digest(inside));
        let allowed = format!("{element}-src 'sha256-{digest}'");
        assert!(page.head.contains(&allowed), "{allowed}: {}", page.head);
    }
    assert!(page.head.contains("default-src 'none'"), "{}", page.head);
    server.stop();
}

#[test]
fn steps_of_a_history_are_the_hits_of_each() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    for _ in 0..5 {
        hit(server.address);
    }
    let json = ask(operator, "/history?window=1h&step=1s&format=json");
    let counts: Vec<u64> = field(&json, "counts")
        .split(',')
        .map(|count| count.parse().expect("a number"))
        .collect();
    assert_eq!((counts.len(), counts.iter().sum()), (3600, 5_u64));
    assert_eq!(number(&json, "sum"), 5);
    let text = ask(operator, "/history?window=1h&step=1h").body;
    let (instant, count) = text
        .trim_end()
        .split_once(' ')
        .expect("an instant and a number");
    assert_eq!(
        (instant.len(), count),
        ("2026-11-23T20:08:59.739840268Z".len(), "5")
    );
    // The most steps there may be, and each of them is there.
    let text = ask(operator, "/history?window=10s&step=1ms").body;
    assert_eq!(text.lines().count(), 10_000);
    let sum: u64 = text
        .lines()
        .map(|line| {
            line.split_once(' ')
                .expect("two words")
                .1
                .parse::<u64>()
                .expect("a number")
        })
        .sum();
    assert_eq!(sum, ask(operator, "/count?window=10s").tally());
    server.stop();
}

/// Ends what others do when whoever watches them is done, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Hits until it is done.
fn hit_until(address: SocketAddr, done: &AtomicBool) {
    let mut client = Client::connect(address).expect("the server listens");
    let mut last = 0;
    while !done.load(Ordering::SeqCst) {
        let tally = client.hit().expect("an answer");
        assert!(tally > last, "{tally} after {last}");
        last = tally;
    }
}

#[test]
fn count_and_history_agree_while_hits_come_in() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &["--retain", "2h"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&done);
        for _ in 0..HITTING {
            scope.spawn(|| hit_until(server.address, &done));
        }
        let mut client = Client::connect(operator).expect("the operator's listener");
        let mut total = 0;
        for _ in 0..20 {
            let json = ask_on(&mut client, "/history?window=1h&step=4s&format=json");
            let (from, to) = (field(&json, "from"), field(&json, "to"));
            let sum = number(&json, "sum");
            // Nothing expires, so the window held every hit up to then.
            assert!(sum >= total, "{sum} after {total}");
            let span = format!("/count?from={from}&to={to}");
            let counted = ask_on(&mut client, &span).tally();
            // A hit of each connection may have been under way at that instant.
            assert!(
                counted >= sum && counted <= sum + HITTING,
                "{counted}, not {sum}"
            );
            total = ask_on(&mut client, "/total").tally();
            assert!(total >= counted, "{total} before {counted}");
        }
    });
    let total = ask(operator, "/total").tally();
    assert_eq!(ask(operator, "/count").tally(), total);
    assert_eq!(hit(server.address), total + 1);
    server.stop();
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused_and_named() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    let mut client = Client::connect(operator).expect("the operator's listener");
    let nowhere = ask_on(&mut client, "/nowhere");
    assert_eq!(nowhere.status, 404);
    assert!(
        nowhere.body.starts_with("/nowhere: no such path"),
        "{nowhere:?}"
    );
    let wrong = ask_on(&mut client, "/count?window=2h&format=json");
    let cause = "window: 2h is longer than history is kept, 3600s";
    assert_eq!(
        (wrong.status, field(&wrong, "error").as_str()),
        (400, &cause[..cause.find(',').expect("a comma")])
    );
    let posted = client
        .ask(b"POST /total HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        .expect("an answer");
    assert_eq!(posted.status, 405);
    assert!(
        posted.head.contains("\r\nAllow: GET, HEAD\r\n"),
        "{posted:?}"
    );
    client
        .send(b"HEAD /total HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let head = client.receive(true).expect("an answer");
    assert!(
        head.status == 200 && head.head.contains("\r\nContent-Length: 2\r\n"),
        "{head:?}"
    );
    // The connection is still sound, and requests may wait behind one another.
    client
        .send(b"GET /total HTTP/1.1\r\nHost: localhost\r\n\r\nGET /history HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("requests");
    assert_eq!(client.receive(false).expect("an answer").tally(), 0);
    assert_eq!(client.receive(false).expect("an answer").status, 200);
    assert_eq!(client.receive(false).expect("an answer").body, "ok\n");
    let malformed = client.ask(b"GET  / HTTP/1.1\r\n\r\n").expect("an answer");
    assert_eq!(malformed.status, 400);
    assert!(client.is_closed());
    assert_eq!(hit(server.address), 1);
    server.stop();
}

#[test]
fn a_host_name_that_the_server_was_not_given_is_refused_on_every_path() {
    let data = tempfile::tempdir().expect("a directory");
    let given = ["--admin-host", "tally.example,metrics.example"];
    for flags in [&[][..], &given[..]] {
        let (server, operator) = start(&data, flags);
        let ask = |host: &str, path: &str, version: &str| {
            let mut client = Client::connect(operator).expect("the operator's listener");
            let request = format!("GET {path} HTTP/{version}\r\n{host}\r\n");
            client.ask(request.as_bytes()).expect("an answer")
        };
        for path in [
            "/", "/count", "/history", "/metrics", "/livez", "/readyz", "/status", "/x",
        ] {
            let found = if path == "/x" { 404 } else { 200 };
            let accepted = format!("Host: {operator}\r\n");
            assert_eq!(ask(&accepted, path, "1.1").status, found, "{path}");
            assert_eq!(
                ask("Host: [::1]:1\r\n", path, "1.1").status,
                found,
                "{path}"
            );
            assert_eq!(ask("", path, "1.0").status, found, "{path}");
            let named = ask("Host: metrics.example:8081\r\n", path, "1.1");
            let named_is = if flags.is_empty() { 403 } else { found };
            assert_eq!(named.status, named_is, "{path}");
            for version in ["1.0", "1.1"] {
                let refused = ask("Host: rebound.example:8081\r\n", path, version);
                assert_eq!(refused.status, 403, "{path}");
                assert!(
                    refused.body.contains("--admin-host rebound.example\n"),
                    "{refused:?}"
                );
            }
        }
        let wild = ask("Host: localhost\r\n", "http://rebound.example/total", "1.1");
        assert_eq!(wild.status, 403);
        server.stop();
    }
    let (server, operator) = start(&data, &["--admin-host", "*"]);
    let mut client = Client::connect(operator).expect("the operator's listener");
    let any = client.ask(b"GET /total HTTP/1.1\r\nHost: any.example\r\n\r\n");
    assert_eq!(any.expect("an answer").tally(), 0);
    server.stop();
}

#[test]
fn no_control_character_of_a_request_is_echoed() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    let mut client = Client::connect(operator).expect("the operator's listener");
    // Escape, a C1 control, a line end and a change of direction: in values, names, paths and methods.
    let hostile = "%1b%5b31mX%07%7f%c2%9b%0d%0aSet-Cookie:%20a%e2%80%ae";
    for path in [
        format!("/count?window={hostile}"),
        format!("/count?from={hostile}"),
        format!("/count?from=2026-11-23T20:08:59Z&to={hostile}"),
        format!("/count?{hostile}=1"),
        format!("/history?step={hostile}"),
        format!("/history?align={hostile}"),
        format!("/total?format={hostile}"),
        "/\u{9b}31m\u{202e}".to_owned(),
    ] {
        for json in ["", "Accept: application/json\r\n"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{json}\r\n");
            let answer = client.ask(request.as_bytes()).expect("an answer");
            assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
            let line = answer.body.strip_suffix('\n').expect("a newline");
            assert!(
                !line.contains(|letter: char| letter.is_control() || letter == '\u{202e}'),
                "{path}: {line:?}"
            );
            assert!(!answer.head.contains("Set-Cookie"), "{answer:?}");
        }
    }
    server.stop();
}

#[test]
fn the_tools_ask_a_server_as_they_read_its_directory() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    for _ in 0..9 {
        hit(server.address);
    }
    let url = format!("http://{operator}");
    let run = |arguments: &[&str]| {
        let output = Command::new(TALLYD)
            .args(arguments)
            .arg(data.path())
            .arg(&url)
            .ended();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let counted = run(&["count", "--window", "1h"]);
    let numbers: Vec<&str> = counted.split_whitespace().collect();
    assert_eq!(
        numbers.iter().filter(|&&word| word == "9").count(),
        2,
        "{counted}"
    );
    assert_eq!(
        numbers.iter().filter(|&&word| word == "18").count(),
        1,
        "{counted}"
    );
    let plotted = Command::new(TALLYD)
        .args(["plot", "--window", "1h", "--step", "1m", &url])
        .ended();
    let chart = String::from_utf8(plotted.stdout).expect("text");
    assert!(chart.contains("9 hits in"), "{chart}");
    assert_eq!(hit(server.address), 10, "nothing of this counted");
    server.stop();
}

#[test]
fn operators_do_not_take_room_from_hits_nor_hits_from_operators() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &["--connections", "2"]);
    let connect = |address, count| -> Vec<Client> {
        let clients = (0..count).map(|_| Client::connect(address).expect("a listener"));
        clients.collect()
    };
    let mut operators = connect(operator, OPERATORS_MAX);
    for client in &mut operators {
        assert_eq!(ask_on(client, "/total").tally(), 0);
    }
    let mut clients = connect(server.address, 2);
    for client in &mut clients {
        client.hit().expect("an answer");
        client.send(b"GET / HTTP/1.1\r\n").expect("half a head");
    }
    let mut surplus = Client::connect(server.address).expect("a listener");
    assert_eq!(surplus.receive(false).expect("an answer").status, 503);
    assert_eq!(ask_on(&mut operators[0], "/total").tally(), 2);
    let metrics = ask_on(&mut operators[1], "/metrics").body;
    for line in [
        "tallyd_connections{side=\"hits\"} 2\n",
        "tallyd_connections{side=\"operator\"} 32\n",
        "tallyd_refused_total{reason=\"connections\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    server.stop();
}

#[test]
fn a_page_that_nobody_reads_holds_up_no_hit() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    let mut deaf = Client::connect(operator).expect("the operator's listener");
    let request =
        "GET /history?window=10s&step=1ms HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    deaf.send(request.as_bytes()).expect("requests");
    for sent in 1..=100 {
        assert_eq!(hit(server.address), sent);
    }
    assert_eq!(ask(operator, "/total").tally(), 100);
    drop(deaf);
    server.stop();
}

#[test]
fn readiness_follows_the_disk() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut server, operator) = start(&data, &[]);
    assert_eq!(hit(server.address), 1);
    let limit = |bytes| Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(server.pid()), Resource::Fsize, limit(Some(72))).expect("a limit");
    let mut client = Client::connect(server.address).expect("the server listens");
    assert_eq!(client.ask(GET).expect("an answer").status, 503);
    server.hear("refusing hits");
    let answer = ask(operator, "/readyz");
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.starts_with("disk refusing: cannot append to "),
        "{answer:?}"
    );
    assert_eq!(
        field(&ask(operator, "/readyz?format=json"), "ready"),
        "false"
    );
    assert_eq!(field(&ask(operator, "/status?format=json"), "refused"), "1");
    assert_eq!(ask(operator, "/livez").status, 200);
    prlimit(Some(server.pid()), Resource::Fsize, limit(None)).expect("the limit can be lifted");
    assert_eq!(hit(server.address), 2);
    assert_eq!(ask(operator, "/readyz").status, 200);
    server.stop();
}

/// Whether `/readyz`, `/status` and `/metrics` say the same, and can be read; the reasons.
fn agreed_reasons(operator: SocketAddr) -> String {
    let ready = ask(operator, "/readyz");
    let (status, metrics) = (
        ask(operator, "/status?format=json"),
        ask(operator, "/metrics"),
    );
    assert_eq!(
        (status.status, metrics.status),
        (200, 200),
        "{status:?} {metrics:?}"
    );
    let is_ready = ready.status == 200;
    assert_eq!(field(&status, "ready"), is_ready.to_string(), "{status:?}");
    let line = format!("\ntallyd_ready {}\n", u8::from(is_ready));
    assert!(metrics.body.contains(&line), "{}", metrics.body);
    let reasons = field(&status, "reasons").replace("\",\"", "\n");
    let said = if is_ready { "" } else { ready.body.trim_end() };
    assert_eq!(reasons, said);
    assert_eq!(ask(operator, "/status").status, 200);
    assert_eq!(ask(operator, "/livez").status, 200);
    reasons
}

#[test]
fn status_and_metrics_stay_readable_when_the_directory_is_moved_and_all_say_why() {
    let above = tempfile::tempdir().expect("a directory");
    let (data, moved) = (above.path().join("data"), above.path().join("moved"));
    let flags = [
        "--operator",
        "127.0.0.1:0",
        "--window",
        "500ms",
        "--retain",
        "1h",
    ];
    let server = Server::start(&data, &flags);
    let operator = server.operator.expect("an operator's address");
    // Enough for a sealed segment, which has to be opened to count what is in it.
    let mut client = Client::connect(server.address).expect("the server listens");
    let pipeline = GET.repeat(50);
    for _ in 0..200 {
        client.send(&pipeline).expect("requests");
        for _ in 0..50 {
            assert_eq!(client.receive(false).expect("an answer").status, 200);
        }
    }
    assert_eq!(agreed_reasons(operator), "");
    std::fs::rename(&data, &moved).expect("it can be moved");
    // No hit comes, and yet within a second nobody says that all is well.
    wait_for_reasons(operator, "was moved, removed or replaced");
    let status = ask(operator, "/status?format=json");
    assert_eq!(number(&status, "total"), 10_000);
    let tally = field(&status, "tally");
    let sample = ask(operator, "/metrics")
        .body
        .contains("\ntallyd_window_hits ");
    assert_eq!(
        sample,
        tally != "null",
        "a number on both, or on none: {tally}"
    );
    std::fs::rename(&moved, &data).expect("it can be moved back");
    wait_for_reasons(operator, "");
    server.stop();
}

/// Asks until a server is ready, or if there are `words`, until these are the reason why it is not.
fn wait_for_reasons(operator: SocketAddr, words: &str) {
    let began = Instant::now();
    loop {
        let ready = ask(operator, "/readyz");
        if (ready.status == 200) == words.is_empty() && ready.body.contains(words) {
            break;
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(10), "{words}: {ready:?}");
        thread::yield_now();
    }
    assert!(agreed_reasons(operator).contains(words));
}

#[test]
fn a_server_that_drains_is_not_ready() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    // Somebody who does not read what was sent keeps the server for a second.
    let mut deaf = Client::connect(server.address).expect("the server listens");
    deaf.send(&GET.repeat(20_000)).expect("requests");
    let mut client = Client::connect(operator).expect("the operator's listener");
    assert_eq!(ask_on(&mut client, "/readyz").status, 200);
    server.signal(Signal::TERM);
    let last = loop {
        let answer = ask_on(&mut client, "/readyz");
        if answer.status == 503 {
            break answer;
        }
    };
    assert_eq!(last.body, "draining: the server is about to end\n");
    assert!(last.head.contains("\r\nConnection: close\r\n"), "{last:?}");
    drop(deaf);
    assert!(server.ended().0.success());
}

#[test]
fn an_aligned_plot_is_the_same_of_a_server_and_of_its_directory() {
    let data = tempfile::tempdir().expect("a directory");
    let (server, operator) = start(&data, &[]);
    for _ in 0..9 {
        hit(server.address);
    }
    let url = format!("http://{operator}");
    for source in [&*url, data.path().to_str().expect("text")] {
        let plotted = Command::new(TALLYD)
            .args(["plot", "--align", "--window", "1h", "--step", "1m", source])
            .ended();
        let chart = String::from_utf8(plotted.stdout).expect("text");
        assert!(chart.contains("9 hits in"), "{chart}");
        // A look at the very end of a minute finds no step that is still running.
        let end = chart.lines().last().expect("a line");
        assert!(end.contains(":00.000000000Z"), "{chart}");
    }
    server.stop();
}

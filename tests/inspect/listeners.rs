//! The tools at the wrong listener of a running server, and at the right one.
//!
//! Owns the real listeners of both fronts. Must not know how a listener is told from another. Invariant
//! tested: a mistaken address is an error that names it, and adds no hit.

use crate::support::client::{Client, hit};
use crate::support::ended::Ended;
use crate::support::server::Server;
use crate::written::written;
use crate::{command, ran, run};
use std::net::SocketAddr;

/// A request of its own, and everything that is answered.
fn answer_to(address: SocketAddr, request: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let patience = std::time::Duration::from_secs(30);
    stream.set_read_timeout(Some(patience)).expect("a socket");
    stream.write_all(request).expect("it is sent");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is said");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_tool_pointed_at_a_hits_listener_says_so_and_adds_no_hit() {
    for front in ["pool", "tiny-http"] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(
            data.path(),
            &["--front", front, "--operator", "127.0.0.1:0"],
        );
        assert_eq!(hit(server.address), 1);
        let (place, own) = (server.address, data.path().display().to_string());
        let url = format!("http://{place}");
        let rows: [&[&str]; 9] = [
            &["count", &url],
            &["count", "--window", "1s", &url],
            &["count", "--from", "2026-11-27T00:00:00Z", &url],
            &[
                "count",
                "--from",
                "2026-11-27T00:00:00Z",
                "--to",
                "2026-11-27T00:00:01Z",
                &url,
            ],
            // In a sum of several nothing at all is printed.
            &["count", "--window", "1h", &own, &url, &own],
            &["plot", &url],
            &["plot", "--window", "1s", &url],
            &["plot", "--window", "1s", "--step", "100ms", &url],
            &["plot", "--watch", "--times", "2", &url],
        ];
        for arguments in rows {
            assert_eq!(
                run(arguments).complaint(1),
                format!("tallyd: {place} answers as a hits listener, not as an admin listener\n"),
                "{front}: {arguments:?}"
            );
        }
        assert_eq!(hit(server.address), 2, "{front}: a question was counted");
        let operator = server.operator.expect("an address");
        let url = format!("http://{operator}");
        assert_eq!(run(&["count", &url]).number(), 2, "{front}");
        server.stop();
    }
}

#[test]
fn every_answer_of_an_admin_listener_names_it_and_no_tally_does() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(
        data.path(),
        &["--operator", "127.0.0.1:0", "--head-time", "100ms"],
    );
    let operator = server.operator.expect("an address");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let requests = [
        "GET /count HTTP/1.0\r\n\r\n",
        "GET /count?format=json HTTP/1.0\r\n\r\n",
        "GET /history HTTP/1.0\r\n\r\n",
        "HEAD /status HTTP/1.0\r\n\r\n",
        "GET /metrics HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /readyz HTTP/1.0\r\n\r\n",
        "GET /nothing HTTP/1.0\r\n\r\n",
        "POST /count HTTP/1.0\r\n\r\n",
        "GET /count?window=x HTTP/1.0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "nonsense\r\n\r\n",
        &long,
    ];
    let server_of = |answer: &str| {
        let head = answer.split("\r\n\r\n").next().expect("a head");
        let lines = head
            .lines()
            .filter_map(|line| line.strip_prefix("Server: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let version = concat!("tallyd/", env!("CARGO_PKG_VERSION"));
    for request in requests {
        let answer = answer_to(operator, request.as_bytes());
        assert!(answer.starts_with("HTTP/1."), "{request:.40}: {answer}");
        assert_eq!(
            server_of(&answer),
            [format!("{version} admin")],
            "{request:.40}"
        );
    }
    // A head that does not come in time is refused on both sides.
    for (address, name) in [
        (operator, format!("{version} admin")),
        (server.address, version.to_owned()),
    ] {
        let mut slow = Client::connect(address).expect("it listens");
        slow.send(b"GET / HT").expect("it is sent");
        let answer = slow.receive(false).expect("an answer");
        assert_eq!(answer.status, 408);
        assert_eq!(server_of(&answer.head), [name]);
    }
    let probed = answer_to(server.address, b"GET / HTTP/9.9\r\n\r\n");
    assert_eq!(server_of(&probed), [version]);
    let tally = answer_to(server.address, b"GET / HTTP/1.0\r\n\r\n");
    assert!(
        tally.ends_with("\r\n\r\n1\n") && !tally.contains("admin"),
        "{tally}"
    );
    server.stop();
}

#[test]
fn the_default_window_of_a_url_is_that_of_its_server() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--operator", "127.0.0.1:0", "--window", "10s"];
    let server = Server::start(data.path(), &flags);
    assert_eq!((hit(server.address), hit(server.address)), (1, 2));
    let url = format!("http://{}", server.operator.expect("an address"));
    assert!(run(&["count", &url]).number() <= 2);
    let drawn = run(&["plot", &url]).printed();
    assert!(drawn.contains(" in 10s; a bar is 200ms, "), "{drawn}");
    // Asked for more than is kept, the server has the last word.
    let said = run(&["count", "--window", "60s", &url]).complaint(1);
    assert!(
        said.contains("answered 400: window: 60s is longer than history is kept, 10s"),
        "{said}"
    );
    // What the environment says goes before the server's own.
    let mut asked = command(&["count", &url]);
    asked.env("TALLYD_WINDOW", "1h");
    let said = ran(&asked.ended()).complaint(1);
    assert!(said.contains("window: 3600s is longer"), "{said}");
    server.stop();
}

#[test]
fn a_span_with_any_offset_is_counted_alike_by_directory_and_server() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    for tally in 1..=3 {
        assert_eq!(hit(server.address), tally);
    }
    let url = format!("http://{}", server.operator.expect("an address"));
    let dumped = run(&["dump", &data.path().display().to_string()]).printed();
    let instants: Vec<&str> = dumped.lines().collect();
    let [first, _, last] = instants[..] else {
        panic!("three hits: {dumped}");
    };
    // The same instants, an hour off in both notations.
    let wall_ns = |text: &str| tallyd::notation::parse_instant(text).expect("an instant");
    let shifted = |text: &str| {
        let later = tallyd::notation::instant(wall_ns(text) + 3_600_000_000_000);
        later.to_lowercase().replace('z', "+01:00")
    };
    let epoch = |text: &str| {
        let ns = wall_ns(text);
        format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
    };
    let place = data.path().display().to_string();
    for source in [&*place, &url] {
        for (from, to) in [
            (first.to_owned(), last.to_owned()),
            (shifted(first), shifted(last)),
            (epoch(first), epoch(last)),
        ] {
            let flags = ["count", "--from", &from, "--to", &to, source];
            assert_eq!(run(&flags).number(), 2, "{flags:?}");
        }
    }
    server.stop();
}

#[test]
fn nothing_that_a_terminal_acts_on_comes_through() {
    let parent = tempfile::tempdir().expect("a directory");
    let hostile = parent.path().join("a\u{1b}[31mb\u{9b}2J\nc");
    std::fs::create_dir(&hostile).expect("a directory");
    let kept = written(1, 5);
    for entry in std::fs::read_dir(kept.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), hostile.join(entry.file_name())).expect("a copy");
    }
    std::fs::write(hostile.join("x\u{1b}]0;y\u{7}.seg"), b"").expect("a file");
    let missing = parent.path().join("no\u{1b}c");
    let path = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (hostile, missing) = (path(&hostile), path(&missing));
    let locked = Server::start(kept.path(), &[]);
    std::fs::write(kept.path().join("lock"), b"\x1b[31m7\x07\n").expect("the lock");
    let held = kept.shown();
    let rows: &[&[&str]] = &[
        &["count", &hostile],
        &["count", &hostile, &hostile],
        &["verify", &hostile],
        &["plot", &hostile],
        &["dump", "--format", "csv", &hostile],
        &["dump", "--from", "1970-01-01T00:00:00Z", &hostile],
        &["count", &missing],
        &["verify", &missing],
        &["dump", &missing],
        &["plot", &missing],
        &["clock", "--data", &(missing.clone() + "/x")],
        &["count", "--window", "\u{1b}[31m"],
        &["count", "--from", "\u{1b}[31m"],
        &["count", "--\u{1b}[31m"],
        &["count", "-\u{1b}"],
        &["count", "http://\u{1b}[31m"],
        &["count", "http://a:\u{9b}"],
        &["dump", "--format", "\u{1b}[31m"],
        &["completions", "\u{1b}[31m"],
        &["\u{1b}[31m"],
        &["--\u{1b}[31m"],
        &["--listen", "\u{1b}[31m"],
        &[
            "--data",
            &held,
            "--listen",
            "127.0.0.1:0",
            "--operator",
            "none",
        ],
        &["--front", "\u{202e}x"],
    ];
    for arguments in rows {
        let ran = run(arguments);
        for text in [&ran.out, &ran.err] {
            let acted_on =
                |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
            assert!(!text.contains(acted_on), "{arguments:?}: {text:?}");
        }
        if ran.code != Some(0) {
            assert!(!ran.err.is_empty() || !ran.out.is_empty(), "{arguments:?}");
        }
        if ran.code == Some(2) {
            assert_eq!(ran.err.lines().count(), 1, "{arguments:?}: {}", ran.err);
        }
    }
    drop(locked);
}

#[test]
fn a_server_that_is_named_twice_in_a_sum_is_an_error() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let url = format!(
        "http://{}",
        server.operator.expect("an operator's listener")
    );
    let slash = format!("{url}/");
    for twice in [&url, &slash] {
        let said = run(&["count", &url, twice]).complaint(1);
        let cause = format!("the same journal as {url}, its hits would count twice");
        assert!(said.contains(&cause), "{said}");
    }
}

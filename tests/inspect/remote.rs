//! The tools against a URL: what they ask a server, and what they make of any answer.
//!
//! Owns a small server that calls itself an admin listener and says what it is told to, whatever it is
//! asked, and tells what that was.
//!
//! Must not know of the operator's listener. Invariant tested: a right answer is printed as it is, and
//! any other is an error that names the question and the cause.

use crate::written::written;
use crate::{Ran, run};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use tallyd::notation::{instant, parse_instant};

const PROBE: &str = "GET / HTTP/9.9";
const ADMIN: &str = "Server: tallyd/0.1.0 admin";

/// Reads a request; its head.
fn heard(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Answers as many connections with `answers`, whatever is asked; what the tool did, and the heads it sent.
fn answered(answers: &[&[u8]], arguments: &[&str]) -> (Ran, Vec<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let heads = answers.iter().map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let head = heard(&mut stream);
                // A tool that has heard enough closes the connection.
                let _heard_enough = stream.write_all(answer);
                head
            });
            heads.collect::<Vec<_>>()
        });
        let url = format!("http://{address}");
        let ran = run(&[arguments, &[&url]].concat());
        (ran, server.join().expect("the server"), address.clone())
    })
}

/// The same of an admin listener, which is probed before each question: the first lines it was asked.
fn told(answers: &[&[u8]], arguments: &[&str]) -> (Ran, Vec<String>, String) {
    let refusal = format!("HTTP/1.1 505 No\r\n{ADMIN}\r\nContent-Length: 0\r\n\r\n");
    let pairs = answers
        .iter()
        .flat_map(|answer| [refusal.as_bytes(), answer]);
    let (ran, heads, address) = answered(&pairs.collect::<Vec<_>>(), arguments);
    let asked = heads.chunks(2).map(|pair| {
        assert_eq!(pair[0], format!("{PROBE}\r\n\r\n"));
        assert!(
            pair[1].contains("\r\nHost: 127.0.0.1:")
                && pair[1].contains("\r\nAccept: application/json\r\n"),
            "{pair:?}"
        );
        pair[1].lines().next().expect("a line").to_owned()
    });
    (ran, asked.collect(), format!("http://{address}"))
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{ADMIN}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

/// An answer to `/count` for so many seconds.
fn count(seconds: u32, count: u64) -> Vec<u8> {
    let (minute, second) = (8 + seconds / 60, seconds % 60);
    ok(&format!(
        "{{\"from\":\"2026-11-23T20:08:00.000000000Z\",\"to\":\"2026-11-23T20:{minute:02}:{second:02}.000000000Z\",\"count\":{count}}}\n"
    ))
}

#[test]
fn a_window_and_an_interval_are_asked_for_and_printed() {
    // The server's own window is its to know.
    let (ran, asked, _) = told(&[&count(7, 42)], &["count"]);
    assert_eq!((ran.number(), &*asked[0]), (42, "GET /count HTTP/1.0"));
    let (ran, asked, _) = told(&[&count(90, 0)], &["count", "--window", "1m 30s"]);
    assert_eq!(
        (ran.number(), &*asked[0]),
        (0, "GET /count?window=90s HTTP/1.0")
    );
    let (from, to) = (
        "2026-11-23T20:08:59.739840268Z",
        "2026-11-23T20:09:00.000000000Z",
    );
    let body = |from: &str, to: &str, count: u64| {
        ok(&format!(
            "{{\"from\":\"{from}\",\"to\":\"{to}\",\"count\":{count}}}\n"
        ))
    };
    let flags = ["count", "--from", from, "--to", "2026-11-23T21:09:00+01:00"];
    let (ran, asked, _) = told(&[&body(from, to, u64::MAX)], &flags);
    let expected = format!("GET /count?from={from}&to={to} HTTP/1.0");
    assert_eq!((ran.number(), &*asked[0]), (u64::MAX, &*expected));
    let (ran, asked, _) = told(&[&body(from, to, 7)], &["count", "--from", from]);
    assert_eq!(
        (ran.number(), &*asked[0]),
        (7, &*format!("GET /count?from={from} HTTP/1.0"))
    );
    // Without a length the end of the connection is the end of the answer; other fields do not matter.
    let bare = format!(
        "HTTP/1.0 200 OK\r\n{ADMIN}\r\n\r\n{{\"more\":[{{}}],\"count\":5,\"to\":\"{to}\",\"from\":\"{from}\"}}"
    );
    let (ran, ..) = told(&[bare.as_bytes()], &["count"]);
    assert_eq!(ran.number(), 5);
}

#[test]
fn an_answer_for_another_span_is_an_error() {
    let asked = [
        "count",
        "--from",
        "2026-11-23T20:08:00Z",
        "--to",
        "2026-11-23T20:09:00Z",
    ];
    let windows: [(&[&str], u32); 4] = [
        (&["count", "--window", "60s"], 59),
        (&["count", "--window", "60s"], 61),
        (&asked, 59),
        (&asked, 61),
    ];
    for (flags, seconds) in windows {
        let (ran, ..) = told(&[&count(seconds, 42)], flags);
        let said = ran.complaint(1);
        let (from, to) = (
            "20:08:00",
            if seconds == 59 {
                "20:08:59"
            } else {
                "20:09:01"
            },
        );
        let [from, to] = [from, to].map(|at| format!("2026-11-23T{at}.000000000Z"));
        let cause = format!(": answered for {from} to {to}, which was not asked for\n");
        assert!(said.ends_with(&cause), "{said}");
    }
    let backwards =
        "{\"from\":\"2026-11-23T20:08:01Z\",\"to\":\"2026-11-23T20:08:00Z\",\"count\":1}";
    let (ran, ..) = told(&[&ok(backwards)], &["count"]);
    assert!(ran.complaint(1).contains("which was not asked for"));
}

#[test]
fn what_is_still_to_come_is_left_out_and_that_is_said() {
    let flags = [
        "count",
        "--from",
        "2026-11-23T20:08:00Z",
        "--to",
        "2200-01-01T00:00:00Z",
    ];
    let (ran, _, url) = told(&[&count(60, 42)], &flags);
    assert_eq!((ran.code, &*ran.out), (Some(0), "42\n"));
    let expected = format!(
        " warn: {url}: counted up to 2026-11-23T20:09:00.000000000Z, which is now; 2200-01-01T00:00:00.000000000Z is still to come\n"
    );
    assert!(ran.err.ends_with(&expected), "{}", ran.err);
    let written = written(1, 5);
    let ran = run(&[&flags[..], &[&written.shown()]].concat());
    assert_eq!((ran.code, &*ran.out), (Some(0), "5\n"));
    assert!(
        ran.err
            .ends_with("2200-01-01T00:00:00.000000000Z is still to come\n"),
        "{}",
        ran.err
    );
    let said = run(&["count", "--from", "2200-01-01T00:00:00Z", &written.shown()]).complaint(1);
    assert!(
        said.starts_with("tallyd: --from: 2200-01-01T00:00:00.000000000Z is later than now, 20"),
        "{said}"
    );
}

#[test]
fn an_answer_that_the_server_calls_estimated_is_printed_with_a_warning() {
    let text = String::from_utf8(count(60, 9)).expect("text");
    let marked = text.replace("\r\n\r\n", "\r\nTally-Status: estimated\r\n\r\n");
    let field = count(60, 9);
    let field = String::from_utf8(field).expect("text");
    let field = field.replace("\"count\":9}", "\"count\":9,\"estimated\":true}");
    let length = field.rsplit("\r\n\r\n").next().expect("a body").len();
    let start = field.split("Content-Length: ").next().expect("a head");
    let body = field.rsplit("\r\n\r\n").next().expect("a body");
    let field = format!("{start}Content-Length: {length}\r\n\r\n{body}");
    for answer in [marked, field] {
        let (ran, ..) = told(&[answer.as_bytes()], &["count"]);
        assert_eq!((ran.code, &*ran.out), (Some(0), "9\n"));
        assert!(
            ran.err
                .ends_with("/count: the server calls its answer estimated\n"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn servers_and_directories_are_counted_together() {
    let written = written(1, 5);
    let (ran, _, url) = told(&[&count(60, 95)], &["count", &written.shown()]);
    let expected = format!("  5 {}\n 95 {url}\n100 in all\n", written.shown());
    assert_eq!(ran.printed(), expected);
    // What each has by default may be windows of different length, whose sum would be of none.
    let (ran, _, url) = told(&[&count(10, 95)], &["count", &written.shown()]);
    assert_eq!(
        ran.complaint(1),
        format!(
            "tallyd: {url}: its window is 10s, that of {} is 60s: --window counts the same of both\n",
            written.shown()
        )
    );
}

#[test]
fn any_other_answer_is_an_error_that_names_question_and_cause() {
    let head = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\n{ADMIN}\r\n{rest}");
    let long = [head("200 OK", "\r\n").into_bytes(), vec![b'1'; 3 << 20]].concat();
    let many_headers = head("200 OK", &("A: b\r\n".repeat(65) + "\r\n{}"));
    let (from, to) = ("\"2026-11-23T20:08:00Z\"", "\"2026-11-23T20:09:00Z\"");
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (
            head(
                "400 No",
                "Content-Length: 26\r\n\r\nwindow: 1h is more than 60s",
            )
            .into(),
            "the answer has 27 bytes, not 26",
        ),
        (
            head(
                "400 No",
                "Content-Length: 27\r\n\r\nwindow: 1h is more than 60s",
            )
            .into(),
            "answered 400: window: 1h is more than 60s",
        ),
        (
            answer("400 Bad Request", "{\"error\":\"window: 1h is more\"}\n"),
            "answered 400: window: 1h is more\n",
        ),
        (
            head("503 No", "\r\n\x1b[2Jbusy\x07\nor not\n").into(),
            r"answered 503: \u{1b}[2Jbusy\u{7}",
        ),
        (
            answer("503 No", "{\"error\":\"disk\\u001b[2J\\u009b\"}"),
            r"answered 503: disk\u{1b}[2J\u{9b}",
        ),
        (head("204 No Content", "\r\n").into(), "answered 204: "),
        (
            [head("200 OK", "\r\n").into_bytes(), vec![0xff]].concat(),
            "the answer is no text\n",
        ),
        (ok(""), "no JSON object, from byte 0 on"),
        (ok("42\n"), "no JSON object, from byte 0 on"),
        (ok("<html>\n"), "no JSON object, from byte 0 on"),
        (ok("{}\n"), "'from' is missing"),
        (
            ok(&format!("{{\"from\":{from},\"to\":{to}}}")),
            "'count' is missing",
        ),
        (
            ok(&format!("{{\"from\":{from},\"count\":1}}")),
            "'to' is missing",
        ),
        (
            ok(&format!("{{\"from\":{from},\"to\":{to},\"count\":-1}}")),
            "'count' is no whole number",
        ),
        (
            ok(&format!(
                "{{\"from\":{from},\"to\":{to},\"count\":1,\"count\":2}}"
            )),
            "'count' stands there twice",
        ),
        (
            ok(&format!(
                "{{\"from\":{from},\"to\":{to},\"count\":18446744073709551616}}"
            )),
            "'count' is no whole number",
        ),
        (
            ok(&format!(
                "{{\"from\":\"\\u001b[2J\",\"to\":{to},\"count\":1}}"
            )),
            r"'from': invalid time '\u{1b}[2J': expected RFC 3339",
        ),
        (
            head("200 OK", "Content-Length: 3\r\n\r\n4").into(),
            "the answer has 1 byte, not 3",
        ),
        (
            head("200 OK", "Content-Length: \x1b3\r\n\r\n4").into(),
            "the answer is no HTTP: ",
        ),
        (
            head("200 OK", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into(),
            "the answer is encoded, which HTTP/1.0 does not know\n",
        ),
        (
            head("200 OK", "Content-Len").into(),
            "the answer ended within its head",
        ),
        (Vec::new(), "the answer ended within its head"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
            "the answer is no HTTP: ",
        ),
        (
            many_headers.into(),
            "the answer is no HTTP: too many headers",
        ),
    ];
    for (answer, cause) in rows {
        let (ran, _, url) = told(&[&answer], &["count"]);
        let said = ran.complaint(1);
        let begin = format!("tallyd: {url}/count: {cause}");
        assert!(
            said.starts_with(&begin),
            "{said:?} does not begin with {begin:?}"
        );
        assert!(
            !said.trim_end().contains(|letter: char| letter.is_control()),
            "{said:?}"
        );
    }
    let (ran, _, url) = told(&[&long], &["count"]);
    let said = format!("tallyd: cannot ask {url}/count: the answer is longer than 2097152 bytes\n");
    assert_eq!(ran.complaint(1), said);
}

#[test]
fn a_peer_that_is_no_admin_listener_is_never_asked() {
    let plain = |server: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\n{server}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let json = "{\"from\":\"2026-11-23T20:08:00Z\",\"to\":\"2026-11-23T20:09:00Z\",\"count\":1}";
    let hits = "answers as a hits listener, not as an admin listener";
    let unknown = "does not answer as a tallyd admin listener";
    for (answer, said) in [
        (plain("Server: tallyd/0.1.0\r\n", "7\n"), hits),
        (plain("Server: tallyd\r\n", "7\n"), hits),
        (plain("Server: tiny-http (Rust)\r\n", ""), hits),
        (plain("Server: nginx/1.22.1\r\n", "7\n"), unknown),
        (plain("Server: nginx admin\r\n", json), unknown),
        (plain("", json), unknown),
        (plain("", "7\n"), unknown),
        (String::new(), unknown),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), unknown),
        ("\x1b[2J\r\n".to_owned(), unknown),
        (format!("HTTP/1.1 505 No\r\n{ADMIN}\r\nContent-Le"), unknown),
    ] {
        for tool in ["count", "plot"] {
            for window in [&["--window", "60s"][..], &[]] {
                // A second question would find nobody who takes it, and be another error.
                let flags = [&[tool], window].concat();
                let (ran, heads, address) = answered(&[answer.as_bytes()], &flags);
                assert_eq!(heads, [format!("{PROBE}\r\n\r\n")]);
                assert_eq!(ran.complaint(1), format!("tallyd: {address} {said}\n"));
            }
        }
    }
    // One that identifies itself to the probe and then answers as somebody else is not believed either.
    let (ran, _, url) = told(&[plain("", json).as_bytes()], &["count"]);
    let address = url.trim_start_matches("http://");
    assert_eq!(ran.complaint(1), format!("tallyd: {address} {unknown}\n"));
    // In a sum one such peer is enough: nothing is printed.
    let written = written(1, 5);
    let answer = plain("Server: tallyd/0.1.0\r\n", "7\n");
    let (ran, _, address) = answered(&[answer.as_bytes()], &["count", &written.shown()]);
    assert_eq!(ran.complaint(1), format!("tallyd: {address} {hits}\n"));
}

#[test]
fn nobody_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let said = run(&["count", &url]).complaint(1);
    assert_eq!(
        said,
        format!("tallyd: cannot ask {url}/count: connection refused\n")
    );
}

/// An answer to `/history`.
fn history(step_ms: u64, counts: &[u64]) -> Vec<u8> {
    let window_ms = step_ms * counts.len() as u64;
    let (second, ms) = (window_ms / 1000, window_ms % 1000);
    ok(&format!(
        "{{\"from\":\"2026-11-23T20:08:00.000000000Z\",\"to\":\"2026-11-23T20:{:02}:{:02}.{ms:03}000000Z\",\
         \"step_ns\":\"{step_ms}000000\",\"counts\":{counts:?},\"sum\":{}}}\n",
        8 + second / 60,
        second % 60,
        counts.iter().sum::<u64>()
    ))
}

#[test]
fn a_history_is_asked_for_and_drawn() {
    let counts: Vec<u64> = (0..50).collect();
    let (ran, asked, _) = told(&[&history(1000, &counts)], &["plot", "--window", "50s"]);
    assert_eq!(asked[0], "GET /history?window=50s&step=1s HTTP/1.0");
    let drawn = ran.printed();
    assert!(
        drawn.contains("\n1225 hits in 50s; a bar is 1s, 49 at most\n"),
        "{drawn}"
    );
    assert!(
        drawn.ends_with("\nup to 2026-11-23T20:08:50.000000000Z\n"),
        "{drawn}"
    );
    let flags = ["plot", "--window", "2s", "--step", "500ms"];
    let (ran, asked, _) = told(&[&history(500, &[1, 2, 3, 4])], &flags);
    assert_eq!(asked[0], "GET /history?window=2s&step=500ms HTTP/1.0");
    assert!(
        ran.printed()
            .contains("\n10 hits in 2s; a bar is 500ms, 4 at most\n")
    );
}

#[test]
fn the_window_of_the_server_is_drawn_unless_another_is_said() {
    let status = |window_ns: u64| ok(&format!("{{\"window_ns\":\"{window_ns}\"}}\n"));
    let (ran, asked, _) = told(
        &[&status(5_000_000_000), &history(100, &[2; 50])],
        &["plot"],
    );
    assert_eq!(
        asked,
        [
            "GET /status HTTP/1.0",
            "GET /history?window=5s&step=100ms HTTP/1.0"
        ]
    );
    assert!(
        ran.printed()
            .contains("\n100 hits in 5s; a bar is 100ms, 2 at most\n")
    );
    let (ran, ..) = told(&[&status(5_000_000_000)], &["plot", "--step", "2s"]);
    assert_eq!(
        ran.complaint(1),
        "tallyd: --step: 2s does not divide the window, 5s\n"
    );
    for (wrong, cause) in [
        ("{\"window_ns\":5}", "'window_ns' is no text"),
        ("{\"window_ns\":\"5s\"}", "'window_ns' is no text of digits"),
        ("{\"window_ns\":\"0\"}", "'window_ns' is 0"),
        ("{}", "'window_ns' is missing"),
    ] {
        let (ran, _, url) = told(&[&ok(wrong)], &["plot"]);
        let said = format!("tallyd: {url}/status: {cause}\n");
        assert_eq!(ran.complaint(1), said);
    }
}

#[test]
fn a_history_of_another_form_is_an_error() {
    let body = |old: &str, new: &str| {
        let text = String::from_utf8(history(1000, &[1; 60])).expect("text");
        let body = text.rsplit("\r\n\r\n").next().expect("a body");
        assert!(body.contains(old), "{body}");
        ok(&body.replace(old, new))
    };
    for (answer, cause) in [
        (body("[1, ", "["), "answered 59 steps, not 60"),
        (
            history(1000, &[1; 59]),
            "answered for 2026-11-23T20:08:00.0",
        ),
        (
            history(500, &[1; 120]),
            "answered for 2026-11-23T20:08:00.0",
        ),
        (
            body("\"sum\":60", "\"sum\":61"),
            "the steps have 60 hits, 'sum' is 61",
        ),
        (body("\"sum\"", "\"sun\""), "'sum' is missing"),
        (
            body("[1, ", "[-1, "),
            "'counts' is no list of whole numbers",
        ),
        (body("\"counts\"", "\"count\""), "'counts' is missing"),
        (
            body("20:08", "now"),
            "'from': invalid time '2026-11-23Tnow:00.0",
        ),
        (
            ok("2026-11-23T20:08:01Z 5\n"),
            "no JSON object, from byte 0 on",
        ),
    ] {
        let (ran, _, url) = told(&[&answer], &["plot", "--window", "60s"]);
        let said = ran.complaint(1);
        let begin = format!("tallyd: {url}/history?window=60s&step=1s: {cause}");
        assert!(
            said.starts_with(&begin),
            "{said:?} does not begin with {begin:?}"
        );
    }
}

#[test]
fn an_aligned_history_begins_at_a_whole_multiple_and_ends_in_its_last_step() {
    let flags = ["plot", "--align", "--window", "4s", "--step", "2s"];
    let told = |from: &str, to: &str| {
        let (from, to) = (
            format!("2026-11-23T20:{from}Z"),
            format!("2026-11-23T20:{to}Z"),
        );
        let answer = ok(&format!(
            "{{\"from\":\"{from}\",\"to\":\"{to}\",\"step_ns\":\"2000000000\",\"counts\":[3,4],\"sum\":7}}\n"
        ));
        told(&[&answer], &flags)
    };
    let end = "\nup to 2026-11-23T20:08:04.000000000Z";
    let running = ", when the last step, which is still running, is over";
    for (to, running) in [
        ("08:04", ""),
        ("08:03.999999999", running),
        ("08:02.000000001", running),
    ] {
        let (ran, asked, _) = told("08:00", to);
        assert_eq!(
            asked[0],
            "GET /history?window=4s&step=2s&align=true HTTP/1.0"
        );
        let drawn = ran.printed();
        assert!(drawn.ends_with(&format!("{end}{running}\n")), "{drawn}");
    }
    for (from, to) in [
        // The last step has not begun, or was over before.
        ("08:00", "08:02"),
        ("08:00", "08:04.000000001"),
        // As long as was asked for, but of steps that are not aligned.
        ("08:01", "08:05"),
        ("07:59.999999999", "08:03.999999999"),
        ("08:00.000000001", "08:04"),
    ] {
        let (ran, ..) = told(from, to);
        let said = ran.complaint(1);
        let [from, to] = [from, to]
            .map(|at| instant(parse_instant(&format!("2026-11-23T20:{at}Z")).expect("an instant")));
        let cause =
            format!("answered for {from} to {to} in steps of 2s, which was not asked for\n");
        let question = "/history?window=4s&step=2s&align=true";
        assert!(said.ends_with(&format!("{question}: {cause}")), "{said}");
    }
}

#[test]
fn watching_asks_again_and_draws_again() {
    let (first, second) = (history(1000, &[1, 0]), history(1000, &[0, 7]));
    let flags = [
        "plot", "--window", "2s", "--step", "1s", "--watch", "--times", "2",
    ];
    let (ran, asked, _) = told(&[&first, &second], &flags);
    assert_eq!(asked.len(), 2);
    let drawn = ran.printed();
    let charts: Vec<&str> = drawn.split("\n\n").collect();
    assert_eq!(charts.len(), 2, "{drawn}");
    assert!(
        charts[0].contains("\n1 hit in 2s") && charts[1].contains("\n7 hits in 2s"),
        "{drawn}"
    );
}

#[test]
fn a_journal_that_is_named_twice_in_a_sum_is_an_error() {
    let written = written(1, 3);
    let link = written.path().join("link");
    let directory = written.shown();
    std::os::unix::fs::symlink(written.path(), &link).expect("a link");
    let link = link.display().to_string();
    let slash = format!("{directory}/");
    for twice in [&directory, &slash, &link] {
        let said = run(&["count", &directory, twice]).complaint(1);
        let cause = format!("the same journal as {directory}, its hits would count twice");
        assert!(said.contains(&cause), "{said}");
    }
}

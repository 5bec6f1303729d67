//! The tools against a URL: what they ask a server, and what they make of any answer.
//!
//! Owns a small server that says what it is told to, whatever it is asked, and tells what that was.
//!
//! Must not know of the operator's listener. Invariant tested: a right answer is printed as it is, and
//! any other is an error that names the question and the cause.

use crate::written::written;
use crate::{Ran, run};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers as many questions with `answer`; returns what the tool did, and the first lines it was asked.
fn told(answers: &[&[u8]], arguments: &[&str]) -> (Ran, Vec<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let asked = answers.iter().map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).expect("a request");
                    head.push(byte[0]);
                }
                // A tool that has heard enough closes the connection.
                let _heard_enough = stream.write_all(answer);
                let head = String::from_utf8(head).expect("text");
                assert!(head.contains("\r\nHost: 127.0.0.1:"), "{head}");
                head.lines().next().expect("a line").to_owned()
            });
            asked.collect::<Vec<_>>()
        });
        let arguments = [arguments, &[&url]].concat();
        let ran = run(&arguments);
        (ran, server.join().expect("the server"), url.clone())
    })
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_window_and_an_interval_are_asked_for_and_printed() {
    let (ran, asked, _) = told(&[&ok("42\n")], &["count"]);
    assert_eq!(
        (ran.number(), &*asked[0]),
        (42, "GET /count?window=60s HTTP/1.0")
    );
    let (ran, asked, _) = told(&[&ok("0\n")], &["count", "--window", "1m 30s"]);
    assert_eq!(
        (ran.number(), &*asked[0]),
        (0, "GET /count?window=90s HTTP/1.0")
    );
    let (from, to) = ("2026-11-23T20:08:59.739840268Z", "2026-11-23T20:09:00Z");
    let most = u64::MAX.to_string() + "\n";
    let (ran, asked, _) = told(&[&ok(&most)], &["count", "--from", from, "--to", to]);
    let expected = format!("GET /count?from={from}&to=2026-11-23T20:09:00.000000000Z HTTP/1.0");
    assert_eq!((ran.number(), &*asked[0]), (u64::MAX, &*expected));
    let (ran, asked, _) = told(&[&ok("7\n")], &["count", "--from", from]);
    assert_eq!(
        (ran.number(), &*asked[0]),
        (7, &*format!("GET /count?from={from} HTTP/1.0"))
    );
    // Without a length the end of the connection is the end of the answer.
    let (ran, ..) = told(&[b"HTTP/1.0 200 OK\r\n\r\n5\n"], &["count"]);
    assert_eq!(ran.number(), 5);
}

#[test]
fn servers_and_directories_are_counted_together() {
    let written = written(1, 5);
    let (ran, _, url) = told(&[&ok("95\n")], &["count", &written.shown()]);
    let expected = format!("  5 {}\n 95 {url}\n100 in all\n", written.shown());
    assert_eq!(ran.printed(), expected);
}

#[test]
fn any_other_answer_is_an_error_that_names_question_and_cause() {
    let long = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'1'; 3 << 20]].concat();
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n1\n", "A: b\r\n".repeat(65)).into_bytes();
    let rows: [(&[u8], &str); 13] = [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 26\r\n\r\nwindow: 1h is more than 60s",
            "the answer has 27 bytes, not 26",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 27\r\n\r\nwindow: 1h is more than 60s",
            "answered 400: window: 1h is more than 60s",
        ),
        (
            b"HTTP/1.1 503 No\r\n\r\n\x1b[2Jbusy\x07\nor not\n",
            "answered 503: [2Jbusy",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204: "),
        (&ok("\n"), "answered '', which is no number"),
        (&ok("-1\n"), "answered '-1', which is no number"),
        (
            &ok("18446744073709551616\n"),
            "answered '18446744073709551616', which is no number",
        ),
        (&ok("<html>\n"), "answered '<html>', which is no number"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n4",
            "the answer has 1 bytes, not 3",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Len",
            "the answer ended within its head",
        ),
        (b"", "the answer ended within its head"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is no HTTP: "),
        (&many_headers, "the answer is no HTTP: too many headers"),
    ];
    for (answer, cause) in rows {
        let (ran, _, url) = told(&[answer], &["count"]);
        let said = ran.complaint(1);
        let begin = format!("tallyd: {url}/count?window=60s: {cause}");
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
    let said = format!(
        "tallyd: cannot ask {url}/count?window=60s: the answer is longer than 2097152 bytes\n"
    );
    assert_eq!(ran.complaint(1), said);
}

#[test]
fn nobody_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let said = run(&["count", &url]).complaint(1);
    assert_eq!(
        said,
        format!("tallyd: cannot ask {url}/count?window=60s: connection refused\n")
    );
}

fn history(counts: &[u64]) -> String {
    let line = |(second, count)| format!("2026-11-23T20:08:{second:02}.000000000Z {count}\n");
    (1..).zip(counts).map(line).collect()
}

#[test]
fn a_history_is_asked_for_and_drawn() {
    let counts: Vec<u64> = (0..50).collect();
    let (ran, asked, _) = told(&[&ok(&history(&counts))], &["plot", "--window", "50s"]);
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
    let (ran, asked, _) = told(&[&ok(&history(&[1, 2, 3, 4]))], &flags);
    assert_eq!(asked[0], "GET /history?window=2s&step=500ms HTTP/1.0");
    assert!(
        ran.printed()
            .contains("\n10 hits in 2s; a bar is 500ms, 4 at most\n")
    );
}

#[test]
fn a_history_of_other_lines_is_an_error() {
    for (body, cause) in [
        (history(&[1; 59]), "answered 59 steps, not 60"),
        (
            history(&[1; 3]) + "now 5\n",
            "line 4: 'now 5' is no instant with a count",
        ),
        (
            history(&[1; 3]) + "2026-11-23T20:08:04Z -5\n",
            "line 4: '2026-11-23T20:08:04Z -5' is no",
        ),
        (
            "<html>\n".to_owned(),
            "line 1: '<html>' is no instant with a count",
        ),
    ] {
        let (ran, _, url) = told(&[&ok(&body)], &["plot"]);
        let said = ran.complaint(1);
        let begin = format!("tallyd: {url}/history?window=60s&step=1s: {cause}");
        assert!(said.starts_with(&begin), "{said:?}");
    }
}

#[test]
fn watching_asks_again_and_draws_again() {
    let (first, second) = (ok(&history(&[1, 0])), ok(&history(&[0, 7])));
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

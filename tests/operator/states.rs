//! Every path of the admin listener in every state that a server can be in.
//!
//! Owns one table: what each path answers when all is well, when the disk rejects hits, when syncs fail, when the
//! journal cannot be read, when the window is estimated, and when the counting thread is late or gone. The paths
//! are those that the product names in a 404, so a path without its column fails the test.
//!
//! Must not know how a page is made. Invariant: where there is no right number, no path answers one with 200.

use super::field;
use crate::support::client::{Answer, Client};
use crate::support::embedded::{Config, Embedded};
use crate::support::fault::{EIO, Op};
use std::collections::BTreeSet;
use tallyd::clock::Clock;
use tallyd::hit::Verdict;
use tallyd::notation::instant;
use tallyd::stamp::{Anchor, MILLISECOND_NS, SECOND_NS};

/// What a path answers.
enum Is {
    /// 200, and just this text.
    Text(&'static str),
    /// 200, and this line among others.
    Line(&'static str),
    /// 200, this line among others, and none that begins with the second text.
    LineWithout(&'static str, &'static str),
    /// 200, this text, and the mark of an estimated number.
    Estimated(&'static str),
    /// 503, and just this text.
    Unavailable(&'static str),
}
use Is::{Estimated, Line, LineWithout, Text, Unavailable};

/// A state: how a server gets into it, and what each path then answers.
struct State {
    name: &'static str,
    config: fn() -> Config,
    arrange: fn(&mut Embedded),
    answers: [(&'static str, Is); 8],
}

const REJECTS: &str =
    "disk refusing: cannot append to sim/0000000000000000.seg: input/output error";
const SYNC_FAILS: &str = "sync failing: cannot sync sim/0000000000000000.seg: input/output error";
const UNREADABLE: &str = "cannot read sim/0000000000000000.seg: input/output error";

const STATES: [State; 6] = [
    State {
        name: "all is well",
        config,
        arrange: |_| {},
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Text("2\n")),
            ("/total", Text("3\n")),
            ("/history", Line("AT 2")),
            ("/status", Line("ready true")),
            ("/metrics", Line("tallyd_ready 1")),
            ("/livez", Text("ok\n")),
            ("/readyz", Text("ready\n")),
        ],
    },
    State {
        name: "the disk rejects hits",
        config,
        arrange: |server| {
            server
                .disk
                .faults(|faults| faults.sticky(Op::Write, 1, EIO));
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Refused);
        },
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Text("2\n")),
            ("/total", Text("3\n")),
            ("/history", Line("AT 2")),
            ("/status", Line("ready false")),
            ("/metrics", Line("tallyd_ready 0")),
            ("/livez", Text("ok\n")),
            ("/readyz", Unavailable(REJECTS)),
        ],
    },
    State {
        name: "syncs fail",
        config: || Config {
            settings: Config::synced().settings,
            ..config()
        },
        arrange: |server| {
            server
                .disk
                .faults(|faults| faults.sticky(Op::SyncFile, 1, EIO));
            let now = server.clock.now();
            assert_eq!(server.batch(&[now]), Verdict::Counted);
            server.wait_for("a failure", |status| status.sync_failure.is_some());
        },
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Text("3\n")),
            ("/total", Text("4\n")),
            ("/history", Line("AT 3")),
            ("/status", Line("ready false")),
            ("/metrics", Line("tallyd_ready 0")),
            ("/livez", Text("ok\n")),
            ("/readyz", Unavailable(SYNC_FAILS)),
        ],
    },
    State {
        name: "the journal cannot be read",
        config,
        arrange: |server| {
            server.disk.faults(|faults| {
                faults.sticky(Op::Read, 1, EIO);
                faults.sticky(Op::Open, 1, EIO);
            });
        },
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Unavailable(UNREADABLE)),
            ("/total", Text("3\n")),
            ("/history", Unavailable(UNREADABLE)),
            ("/status", LineWithout("tally null", "tally 2")),
            (
                "/metrics",
                LineWithout("tallyd_ready 0", "tallyd_window_hits"),
            ),
            ("/livez", Text("ok\n")),
            (
                "/readyz",
                Unavailable(
                    "journal unreadable: cannot read sim/0000000000000000.seg: input/output error",
                ),
            ),
        ],
    },
    State {
        name: "hits may be missing",
        config: || Config {
            doubt: Some("hits may be missing".to_owned()),
            ..config()
        },
        arrange: |_| {},
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Estimated("2\n")),
            ("/total", Text("3\n")),
            ("/history", Line("AT 2")),
            ("/status", Line("estimated true")),
            ("/metrics", Line("tallyd_estimated 1")),
            ("/livez", Text("ok\n")),
            ("/readyz", Text("ready\n")),
        ],
    },
    State {
        name: "the counting thread is gone",
        config,
        arrange: Embedded::end_funnel,
        answers: [
            ("/", Line("<!doctype html>")),
            ("/count", Unavailable(ENDS)),
            ("/total", Unavailable(ENDS)),
            ("/history", Unavailable(ENDS)),
            ("/status", LineWithout("total null", "tally 0")),
            (
                "/metrics",
                LineWithout("tallyd_ready 0", "tallyd_hits_total"),
            ),
            ("/livez", Text("ok\n")),
            ("/readyz", Unavailable(ENDS)),
        ],
    },
];

const ENDS: &str = "the server is about to end";

/// A window of 500 ms, and an hour of history.
fn config() -> Config {
    let mut config = Config::new();
    config.settings.window_ns = 500 * MILLISECOND_NS;
    config.settings.retain_ns = 3600 * SECOND_NS;
    config
}

/// A server with three hits, 900 ms, 100 ms and nothing old.
fn start(state: &State) -> Embedded {
    let mut server = Embedded::start((state.config)());
    let now = server.clock.now();
    let stamps = [900, 100, 0].map(|ms| now.before(ms * MILLISECOND_NS));
    assert_ne!(server.batch(&stamps), Verdict::Refused);
    (state.arrange)(&mut server);
    server
}

/// The path with the parameters that make its answer one of the server's own instant.
fn target(server: &Embedded, path: &str) -> String {
    let at = at(server);
    let from = Anchor {
        at: at.at.before(500 * MILLISECOND_NS),
        ..at
    };
    let from = instant(at.wall_at(from.at));
    match path {
        "/count" => format!("/count?from={from}&to={}", instant(at.wall_ns)),
        "/history" => "/history?window=500ms&step=500ms".to_owned(),
        _ => path.to_owned(),
    }
}

/// The instant of the server's clock, as the admin listener gives it.
fn at(server: &Embedded) -> Anchor {
    let at = server.clock.now();
    let now = server.calendar.now(&server.clock);
    Anchor {
        at,
        wall_ns: now.wall_at(at),
    }
}

#[test]
fn every_path_answers_in_every_state_and_no_number_where_there_is_none() {
    for state in &STATES {
        let server = start(state);
        let paths = state
            .answers
            .iter()
            .map(|(path, _)| *path)
            .collect::<BTreeSet<_>>();
        let nowhere = server.ask("/nowhere").body;
        let (_, known) = nowhere.split_once("there are: ").expect("the paths");
        let known: BTreeSet<&str> = known.trim_end().split(", ").collect();
        assert_eq!(
            known, paths,
            "left: the paths of the product; right: those of the table"
        );
        for (path, expected) in &state.answers {
            let target = target(&server, path);
            let answer = server.ask(&target);
            assert_answer(state.name, &server, &answer, expected, path);
            assert_json(state.name, &server, &target, &answer);
        }
    }
}

fn assert_answer(state: &str, server: &Embedded, answer: &Answer, expected: &Is, path: &str) {
    let case = format!("{state}, {path}: {}{:.300}", answer.head, answer.body);
    let line = |line: &str| line.replace("AT", &instant(at(server).wall_ns));
    let has = |text: &str| answer.body.lines().any(|found| found == line(text));
    let is_marked = answer.head.contains("\r\nTally-Status: estimated\r\n");
    assert_eq!(is_marked, matches!(expected, Estimated(_)), "{case}");
    assert!(
        answer.head.contains("\r\nCache-Control: no-store\r\n"),
        "{case}"
    );
    match expected {
        Text(text) | Estimated(text) => {
            assert_eq!((answer.status, &*answer.body), (200, *text), "{case}")
        }
        Line(text) => assert!(answer.status == 200 && has(text), "{case}"),
        LineWithout(text, prefix) => {
            let lacks = !answer.body.lines().any(|found| found.starts_with(prefix));
            assert!(answer.status == 200 && has(text) && lacks, "{case}");
        }
        Unavailable(cause) => {
            assert_eq!(
                (answer.status, answer.body.trim_end()),
                (503, *cause),
                "{case}"
            );
        }
    }
}

/// That JSON says what the text says, asked for by either way, and that HEAD has the head of GET.
fn assert_json(state: &str, server: &Embedded, target: &str, plain: &Answer) {
    let sign = if target.contains('?') { '&' } else { '?' };
    let json = server.ask(&format!("{target}{sign}format=json"));
    let case = format!("{state}, {target}: {}{:.300}", json.head, json.body);
    assert_eq!(json.status, plain.status, "{case}");
    let accepted = request(server, "GET", target, "Accept: application/json\r\n");
    // Both may give another time in every answer.
    let is_stable = !["/metrics", "/status"].contains(&target);
    assert!(!is_stable || accepted.body == json.body, "{case}");
    let head = request(server, "HEAD", target, "");
    let length = format!("\r\nContent-Length: {}\r\n", plain.body.len());
    assert_eq!(head.status, plain.status, "{case}");
    assert!(!is_stable || head.head.contains(&length), "{case}");
    let said = plain.body.trim_end();
    match (target.split('?').next().expect("a path"), json.status) {
        ("/readyz", code) => {
            assert_eq!(field(&json, "ready"), (code == 200).to_string(), "{case}");
            let reasons = if code == 200 { "" } else { said };
            assert_eq!(field(&json, "reasons"), reasons, "{case}");
        }
        (_, 503) => assert_eq!(field(&json, "error"), said, "{case}"),
        ("/count", _) => {
            assert_eq!(field(&json, "count"), said, "{case}");
            let is_marked = json.head.contains("\r\nTally-Status: estimated\r\n");
            assert_eq!(field(&json, "estimated"), is_marked.to_string(), "{case}");
            assert_eq!(field(&json, "to"), instant(at(server).wall_ns), "{case}");
        }
        ("/total", _) => {
            assert_eq!(field(&json, "total"), said, "{case}");
            assert_eq!(field(&json, "at"), instant(at(server).wall_ns), "{case}");
        }
        ("/history", _) => {
            let counts = said.rsplit(' ').next().expect("a count");
            assert_eq!(field(&json, "counts"), counts, "{case}");
            assert_eq!(field(&json, "sum"), counts, "{case}");
            assert_eq!(field(&json, "to"), instant(at(server).wall_ns), "{case}");
            let is_doubtful = server.config.doubt.is_some();
            assert_eq!(field(&json, "estimated"), is_doubtful.to_string(), "{case}");
        }
        // Fields are held by `metrics/table.rs`; the others have no JSON.
        ("/status" | "/metrics" | "/livez" | "/", _) => {}
        (path, _) => panic!("nothing is asserted of {path} in JSON"),
    }
}

fn request(server: &Embedded, method: &str, target: &str, header: &str) -> Answer {
    let mut client = Client::connect(server.operator).expect("the admin listener");
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    client.send(request.as_bytes()).expect("a request");
    client.receive(method == "HEAD").expect("an answer")
}

#[test]
fn every_path_refuses_other_methods_and_parameters_that_it_does_not_have() {
    let server = start(&STATES[0]);
    for (path, _) in &STATES[0].answers {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = request(&server, method, path, "Content-Length: 0\r\n");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(
                answer.head.contains("\r\nAllow: GET, HEAD\r\n"),
                "{answer:?}"
            );
        }
        let unknown = server.ask(&format!("{path}?surplus=1"));
        assert_eq!(
            (unknown.status, &*unknown.body),
            (400, "surplus: no such parameter here\n"),
            "{path}"
        );
    }
}

#[test]
fn a_counting_thread_that_is_late_is_told_on_every_road_and_no_number_is() {
    const LATE: &str = "the counting thread has not answered within 2s";
    let server = start(&STATES[0]);
    // Whoever holds the lock of the disk keeps the funnel from writing the hit.
    let (ready, count) = server.disk.faults(|_| {
        let _waits = server.send(&[server.clock.now()]);
        (server.ask("/readyz"), server.ask("/count"))
    });
    for answer in [ready, count] {
        assert_eq!((answer.status, answer.body.trim_end()), (503, LATE));
    }
}

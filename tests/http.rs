//! What counts and how it is answered, byte for byte, whichever front serves.
//!
//! Owns the hit listener's behaviour of section 6 as far as every front has it: each complete head is
//! one hit, whatever its method, path, headers or body.
//!
//! Must not know which front it talks to. Invariant: every request's answer says how many came before.

mod support;

#[path = "http/answers.rs"]
mod answers;

use rustix::process::{Resource, Rlimit, prlimit};
use std::net::SocketAddr;
use support::client::{Answer, Client, GET};
use support::server::Server;

/// Every front there is.
const FRONTS: [&str; 2] = ["pool", "tiny-http"];

#[test]
fn every_method_and_path_is_one_hit() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        let mut client = Client::connect(server.address).expect("the server listens");
        let requests = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /favicon.ico?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/absolute HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ];
        for (before, request) in requests.iter().enumerate() {
            let chunked = request.contains("chunked");
            let answer = client.ask(request.as_bytes()).expect("an answer");
            assert_eq!(answer.tally(), before as u64 + 1, "{request}");
            let type_line = "\r\nContent-Type: text/plain; charset=utf-8\r\n";
            assert!(answer.head.contains(type_line), "{}", answer.head);
            if chunked {
                // One front leaves the last bytes of a chunked body unread: a new connection is sound.
                client = Client::connect(server.address).expect("the server listens");
            }
        }
        server.stop();
    }
}

#[test]
fn head_gets_the_head_alone_and_counts() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        let mut client = Client::connect(server.address).expect("the server listens");
        client
            .send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("a request");
        let answer = client.receive(true).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(
            answer.head.contains("Content-Length: 2\r\n"),
            "{}",
            answer.head
        );
        // Had a body followed, it would stand before this answer.
        assert_eq!(client.hit().expect("an answer"), 2);
        server.stop();
    }
}

#[test]
fn pipelined_requests_are_each_counted_once() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        let mut client = Client::connect(server.address).expect("the server listens");
        client.send(&GET.repeat(50)).expect("requests");
        let mut tallies: Vec<u64> = (0..50)
            .map(|_| client.receive(false).expect("an answer").tally())
            .collect();
        // Workers may take them up in another order; each is counted once all the same.
        tallies.sort_unstable();
        assert_eq!(tallies, (1..=50).collect::<Vec<u64>>());
        server.stop();
    }
}

#[test]
fn a_connection_is_closed_when_the_client_asks_for_it() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        for (before, request) in [
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ]
        .iter()
        .enumerate()
        {
            let mut client = Client::connect(server.address).expect("the server listens");
            let answer = client.ask(request.as_bytes()).expect("an answer");
            assert_eq!(answer.tally(), before as u64 + 1);
            assert!(client.is_closed());
        }
        server.stop();
    }
}

#[test]
fn http_1_0_is_told_that_its_connection_stays() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        let mut client = Client::connect(server.address).expect("the server listens");
        for before in 0..3 {
            let answer = client
                .ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n")
                .expect("an answer");
            assert_eq!(answer.tally(), before + 1);
            let head = answer.head.to_ascii_lowercase();
            assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
        }
        server.stop();
    }
}

#[test]
fn what_is_no_request_is_refused_and_not_counted() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        for garbage in [
            "hello\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            let mut client = Client::connect(server.address).expect("the server listens");
            assert_eq!(
                client.ask(garbage.as_bytes()).expect("an answer").status,
                400
            );
            assert!(client.is_closed());
        }
        let mut client = Client::connect(server.address).expect("the server listens");
        assert_eq!(client.hit().expect("an answer"), 1);
        server.stop();
    }
}

/// The answer to the only request of a connection.
fn only(address: SocketAddr, request: &[u8]) -> Answer {
    let mut client = Client::connect(address).expect("a listener");
    client.send(request).expect("a request");
    let is_head = request.starts_with(b"HEAD ");
    client.receive(is_head).expect("an answer")
}

/// That no cache keeps this answer, and no browser takes it for another type.
fn assert_not_kept(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.head);
    let head = answer.head.to_ascii_lowercase();
    for line in [
        "\r\ncache-control: no-store\r\n",
        "\r\nx-content-type-options: nosniff\r\n",
    ] {
        assert_eq!(head.matches(line).count(), 1, "{what}: {line:?} in {head}");
    }
}

#[test]
fn no_answer_to_a_hit_may_be_kept_by_a_cache() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", front]);
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        ] {
            assert_not_kept(&only(server.address, request.as_bytes()), 200, request);
        }
        let limit = |current| Rlimit {
            current,
            maximum: None,
        };
        let hit = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        prlimit(Some(server.pid()), Resource::Fsize, limit(Some(64))).expect("a limit");
        for request in [GET, hit.as_bytes()] {
            assert_not_kept(&only(server.address, request), 503, front);
        }
        prlimit(Some(server.pid()), Resource::Fsize, limit(None)).expect("it can be lifted");
        server.stop();
    }
}

/// Requests that both listeners of the pool refuse.
const REFUSED: [(u16, &str); 7] = [
    (400, "GET foo HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "hello\r\n\r\n"),
    (501, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (501, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        501,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ),
    (505, "GET / HTTP/2.0\r\n\r\n"),
    (408, "GET / HTTP/1.1\r\n"),
];

#[test]
fn no_refusal_of_either_listener_may_be_kept_by_a_cache() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = [
        "--operator",
        "127.0.0.1:0",
        "--head-time",
        "100ms",
        "--connections",
        "4",
    ];
    let server = Server::start(data.path(), &flags);
    let operator = server.operator.expect("an operator's address");
    let long = |before: &str, after: &str| format!("GET /{before}{}{after}", "x".repeat(20_000));
    for address in [server.address, operator] {
        for (status, request) in REFUSED {
            assert_not_kept(&only(address, request.as_bytes()), status, request);
        }
        let answer = only(address, long("", " HTTP/1.1\r\n").as_bytes());
        assert_not_kept(&answer, 414, "a long target");
        let answer = only(address, long(" HTTP/1.1\r\nX: ", "\r\n").as_bytes());
        assert_not_kept(&answer, 431, "a long head");
    }
    // A connection with a request under way does not give way to another one.
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::connect(server.address).expect("a listener");
            client
                .send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
                .expect("half a body");
            assert_eq!(client.receive(false).expect("an answer").status, 200);
            client
        })
        .collect();
    let answer = only(server.address, GET);
    assert_not_kept(&answer, 503, "one too many");
    drop(busy);
    server.stop();
}

#[test]
fn no_answer_to_an_operator_may_be_kept_by_a_cache() {
    for front in FRONTS {
        let data = tempfile::tempdir().expect("a directory");
        let flags = ["--front", front, "--operator", "127.0.0.1:0"];
        let server = Server::start(data.path(), &flags);
        let operator = server.operator.expect("an operator's address");
        for (status, line) in [
            (200, "GET /"),
            (200, "HEAD /"),
            (200, "GET /count"),
            (200, "GET /count?format=json"),
            (200, "GET /total"),
            (200, "GET /history?window=10s&step=1s"),
            (200, "GET /history?window=10s&step=1s&format=json"),
            (200, "GET /status"),
            (200, "GET /status?format=json"),
            (200, "GET /metrics"),
            (200, "GET /livez"),
            (200, "GET /readyz"),
            (200, "GET /readyz?format=json"),
            (400, "GET /count?window=x"),
            (400, "GET /count?window=x&format=json"),
            (404, "GET /nothing"),
            (404, "GET /nothing?format=json"),
            (404, "OPTIONS *"),
            (405, "DELETE /count"),
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_not_kept(&only(operator, request.as_bytes()), status, line);
        }
        let limit = |current| Rlimit {
            current,
            maximum: None,
        };
        prlimit(Some(server.pid()), Resource::Fsize, limit(Some(64))).expect("a limit");
        assert_eq!(only(server.address, GET).status, 503);
        for path in ["/readyz", "/readyz?format=json"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_not_kept(&only(operator, request.as_bytes()), 503, path);
        }
        prlimit(Some(server.pid()), Resource::Fsize, limit(None)).expect("it can be lifted");
        server.stop();
    }
}

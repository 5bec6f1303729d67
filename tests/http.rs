//! What counts and how it is answered, byte for byte, whichever front serves.
//!
//! Owns the hit listener's behaviour of section 6 as far as every front has it: each complete head is
//! one hit, whatever its method, path, headers or body.
//!
//! Must not know which front it talks to. Invariant: every request's answer says how many came before.

mod support;

use support::client::Client;
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
        client
            .send(&support::client::GET.repeat(50))
            .expect("requests");
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

//! What clients have sent ahead: everything that a server has been given and has had no turn for yet.
//!
//! Owns the promises to and about clients who pipeline more than one pass takes: none of their
//! requests is lost, they end nothing, and nobody waits for them.
//!
//! Must not know how large a pass, a batch or a buffer is; it only sends more than any of them.
//! Invariant: every wait is for bytes that the server owes.

mod support;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use support::client::{Client, GET, hit};
use support::server::Server;

/// The shortest request whose connection stays.
const SHORT: &[u8] = b"GET / HTTP/1.1\nHost:\n\n";

fn started(flags: &[&str]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), flags);
    (data, server)
}

#[test]
fn requests_sent_ahead_of_the_end_are_each_answered() {
    let (_data, server) = started(&[]);
    let mut client = Client::connect(server.address).expect("the server listens");
    client.send(&GET.repeat(1_000)).expect("requests");
    client.end().expect("a connection");
    for before in 0..1_000 {
        let answer = client
            .receive(false)
            .unwrap_or_else(|cause| panic!("after {before} answers: {cause}"));
        assert_eq!(answer.tally(), before + 1);
    }
    assert!(client.is_closed());
    server.stop();
}

#[test]
fn requests_of_a_client_that_has_gone_are_each_counted() {
    let (_data, server) = started(&[]);
    let mut client = Client::connect(server.address).expect("the server listens");
    client.send(&GET.repeat(1_000)).expect("requests");
    drop(client);
    // The last hit comes from a pass behind those that the gone client had before it.
    let mut tally = hit(server.address);
    for ask in 1..10_000 {
        if tally == 1_001 + ask - 1 {
            server.stop();
            return;
        }
        tally = hit(server.address);
    }
    panic!("{} of 1000 were counted", tally - 10_000);
}

/// Sends requests without end, and reads no answer that it need not read.
fn flood(address: SocketAddr) -> (std::net::TcpStream, [std::thread::JoinHandle<()>; 2]) {
    let client = Client::connect(address).expect("the server listens");
    let mut reader = client.writer().expect("a connection");
    let mut writer = client.writer().expect("a connection");
    let handle = client.writer().expect("a connection");
    let requests = SHORT.repeat(50_000);
    let writing = std::thread::spawn(move || while writer.write_all(&requests).is_ok() {});
    let reading = std::thread::spawn(move || {
        let _gone = std::io::copy(&mut reader, &mut std::io::sink());
    });
    (handle, [writing, reading])
}

#[test]
fn clients_that_fill_every_batch_end_nothing_and_hold_up_nobody() {
    // Three such clients want more than one batch has room for.
    let (_data, server) = started(&["--pass-hits", "4096", "--sync", "never"]);
    let floods: Vec<_> = (0..3).map(|_| flood(server.address)).collect();
    let mut tally = 0;
    // One client connects anew for each request, one keeps its connection.
    let mut client = Client::connect(server.address).expect("the server listens");
    for _ in 0..20 {
        for now in [hit(server.address), client.hit().expect("an answer")] {
            assert!(now > tally, "{now} after {tally}");
            tally = now;
        }
    }
    for (handle, threads) in floods {
        handle.shutdown(Shutdown::Both).expect("a connection");
        for thread in threads {
            thread.join().expect("a client");
        }
    }
    server.stop();
}

#[test]
fn a_body_is_read_to_its_end_though_the_connection_ends_with_it() {
    let (_data, server) = started(&[]);
    let mut client = Client::connect(server.address).expect("the server listens");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhell";
    let answer = client.ask(head.as_bytes()).expect("an answer");
    assert_eq!(answer.tally(), 1);
    // Whatever the first answer brought about had been done before the next one was given.
    assert_eq!(hit(server.address), 2);
    assert!(client.is_quiet().expect("a connection"));
    client.send(b"o!").expect("the rest");
    assert!(client.is_closed());
    server.stop();
}

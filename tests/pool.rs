//! The pool under clients that want more than their share, or leave in the middle.
//!
//! Every complete head counts whatever becomes of its connection, and nobody is left out for others.

mod support;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use support::client::{Client, GET, hit};
use support::server::Server;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// More requests than one pass takes of a connection.
const MANY: usize = 200;

fn start(data: &tempfile::TempDir, flags: &[&str]) -> Server {
    Server::start(data.path(), &[&["--front", "pool"], flags].concat())
}

#[test]
fn every_head_before_a_half_close_is_answered() {
    let data = tempfile::tempdir().expect("a directory");
    let server = start(&data, &[]);
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&GET.repeat(MANY)).expect("requests");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), MANY);
    assert_eq!(hit(server.address), MANY as u64 + 1);
    server.stop();
}

#[test]
fn every_head_before_a_reset_counts() {
    const CLIENTS: usize = 20;
    let data = tempfile::tempdir().expect("a directory");
    let server = start(&data, &[]);
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("an option");
        stream.write_all(&GET.repeat(MANY)).expect("requests");
    }
    let sent = (CLIENTS * MANY) as u64;
    let until = Instant::now() + PATIENCE;
    let mut asked = 0;
    loop {
        asked += 1;
        let counted = hit(server.address) - asked;
        assert!(counted <= sent, "{counted} of {sent}");
        if counted == sent {
            break;
        }
        assert!(Instant::now() < until, "{counted} of {sent}");
    }
    server.stop();
}

#[test]
fn a_full_batch_leaves_nobody_out() {
    // All there before the server wakes up: those that find the batch full have more to say than is
    // read at once.
    const EACH: usize = 3000;
    let data = tempfile::tempdir().expect("a directory");
    let server = start(&data, &["--write-time", "60s"]);
    let mut clients: Vec<_> = (0..80)
        .map(|_| Client::connect(server.address).expect("the server listens"))
        .collect();
    server.hold();
    for client in &mut clients {
        client.send(&GET.repeat(EACH)).expect("requests");
    }
    server.signal(Signal::CONT);
    for client in &mut clients {
        for _ in 0..EACH {
            client.receive(false).expect("an answer").tally();
        }
    }
    let sent = (clients.len() * EACH) as u64;
    assert_eq!(hit(server.address), sent + 1);
    server.stop();
}

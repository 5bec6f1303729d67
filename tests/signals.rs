//! What each signal does to a server: drain, nothing, or an end at once.
//!
//! Owns the sending of signals, to a server started by a test and to one that is process 1 of a namespace of its
//! own, as in a container.
//!
//! Must not know how a server drains. Invariant: whatever a signal does, no answered hit is lost.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::client::{Client, GET, hit};
use support::server::{Server, TALLYD};

const PATIENCE: Duration = Duration::from_secs(30);
const DRAINING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
const IGNORED: [Signal; 4] = [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PIPE];

/// Waits until nobody is let in any more.
fn wait_for_the_end(address: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "the server goes on");
    }
}

#[test]
fn term_int_hup_and_quit_answer_what_is_under_way() {
    let data = tempfile::tempdir().expect("a directory");
    for (signal, tally) in DRAINING.into_iter().zip([1, 3, 5, 7]) {
        let server = Server::start(data.path(), &[]);
        let mut client = Client::connect(server.address).expect("the server listens");
        assert_eq!(client.hit().expect("an answer"), tally);
        let (first, rest) = GET.split_at(GET.len() / 2);
        client.send(first).expect("half a head");
        server.signal(signal);
        wait_for_the_end(server.address);
        let answer = client.ask(rest).expect("an answer");
        assert_eq!(answer.tally(), tally + 1, "{signal:?}");
        let (status, said) = server.ended();
        assert!(status.success(), "{signal:?}: {status}");
        assert!(said.contains(": stopped: counted 2 hits "), "{said}");
    }
}

#[test]
fn usr1_usr2_alrm_and_pipe_do_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    let mut tally = 0;
    for _ in 0..3 {
        for signal in IGNORED {
            server.signal(signal);
            tally += 1;
            assert_eq!(hit(server.address), tally, "{signal:?}");
        }
    }
    assert_eq!(server.stop(), "");
}

#[test]
fn a_second_signal_of_any_that_drain_ends_the_process_and_claims_nothing() {
    for (first, second) in [(Signal::HUP, Signal::QUIT), (Signal::QUIT, Signal::HUP)] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), &["--front", "tiny-http"]);
        // The worker answers and then waits for a body that never comes, which holds up a stop.
        let mut slow = Client::connect(server.address).expect("the server listens");
        slow.send(b"POST / HTTP/1.1\r\nHost: tallyd\r\nContent-Length: 2000\r\n\r\n")
            .expect("a head");
        assert_eq!(slow.receive(false).expect("an answer").tally(), 1);
        server.signal(first);
        server.signal(second);
        let (status, said) = server.ended();
        assert_eq!((status.code(), &*said), (Some(1), ""));
        let server = Server::start(data.path(), &[]);
        assert_eq!(hit(server.address), 2);
        server.stop();
    }
}

/// A command that leads to a server on `data`, by way of `before`.
fn command(before: &[&str], data: &Path) -> Command {
    let mut command = Command::new(before[0]);
    command
        .args(&before[1..])
        .args([TALLYD, "--listen", "127.0.0.1:0", "--operator", "none"])
        .args(["--window", "1h", "--data"])
        .arg(data);
    command
}

#[test]
fn hup_stays_ignored_under_nohup() {
    let data = tempfile::tempdir().expect("a directory");
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let server = Server::spawn(command(&ignoring, data.path()));
    for tally in 1..=3 {
        server.signal(Signal::HUP);
        assert_eq!(hit(server.address), tally);
    }
    assert_eq!(server.stop(), "");
}

#[cfg(target_os = "linux")]
#[test]
fn process_1_of_a_container_obeys_the_same() {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let apart: Vec<&str> = match rustix::process::geteuid().is_root() {
        true => unshare.to_vec(),
        false => [&unshare[..], &["--user", "--map-root-user"]].concat(),
    };
    let probe = Command::new(apart[0])
        .args(&apart[1..])
        .arg("true")
        .output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        eprintln!("NOT CHECKED HERE: no namespace of processes can be had: {probe:?}");
        return;
    }
    let data = tempfile::tempdir().expect("a directory");
    for (signal, tally) in DRAINING.into_iter().zip([1, 6, 11, 16]) {
        let server = Server::spawn(command(&apart, data.path()));
        let unshare = server.pid().as_raw_nonzero();
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let children = std::fs::read_to_string(children).expect("its children");
        let inner: i32 = children.trim().parse().expect("one process");
        let inner = Pid::from_raw(inner).expect("a process");
        let lock = std::fs::read_to_string(data.path().join("lock")).expect("a lock");
        assert_eq!(lock, "1\n", "the server is process 1");
        assert_eq!(hit(server.address), tally);
        for (ignored, more) in IGNORED.into_iter().zip(1..) {
            kill_process(inner, ignored).expect("it is there");
            assert_eq!(hit(server.address), tally + more);
        }
        kill_process(inner, signal).expect("it is there");
        let (status, said) = server.ended();
        assert!(status.success(), "{signal:?}: {status}");
        assert!(said.contains(": stopped: counted 5 hits "), "{said}");
    }
}

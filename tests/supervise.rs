//! What a supervisor hands over and is told: sockets, readiness, a sign of life, the end.
//!
//! Owns sockets that outlive servers, as systemd's do, and the other end of the notifications. A server is
//! started by `sh`, which knows the process id that the sockets are meant for.
//!
//! Must not know how hits are counted. Invariant: the sockets of a test have numbers of their own, since
//! every process that a test starts inherits those of all.

mod support;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use support::client::{Client, hit};
use support::ended::Ended;
use support::server::{Server, TALLYD};
use tallyd::hit::{Message, Query, channel};
use tallyd::serve::give_sign_of_life;
use tallyd::stamp::SECOND_NS;
use tallyd::supervise::Supervisor;

const PATIENCE: Duration = Duration::from_secs(30);
/// So few that a server does not warn where 256 descriptors are allowed.
const CONNECTIONS: &str = "16";

/// The number `number` for a socket, in every process that is started from now on.
fn pass(socket: impl AsFd, number: i32) -> OwnedFd {
    let passed = fcntl_dupfd_cloexec(socket, number).expect("a descriptor");
    fcntl_setfd(&passed, FdFlags::empty()).expect("a flag");
    passed
}

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A server on `data` that is handed `count` sockets from number `first` on.
fn command(data: &Path, first: i32, count: usize, names: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", TALLYD])
        .args(["--listen", "127.0.0.1:0", "--window", "1h"])
        .args(["--connections", CONNECTIONS, "--data"])
        .arg(data)
        .env("LISTEN_FDS_FIRST_FD", first.to_string())
        .env("LISTEN_FDS", count.to_string())
        .env("LISTEN_FDNAMES", names);
    command
}

/// What a server says that cannot start.
fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.ended();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).expect("text")
}

#[test]
fn who_connects_between_two_servers_is_answered_by_the_second() {
    let data = tempfile::tempdir().expect("a directory");
    let (listener, address) = bound();
    let _passed = pass(&listener, 200);
    let start = || {
        let mut command = command(data.path(), 200, 1, "");
        command.args(["--operator", "none"]);
        Server::spawn(command)
    };
    let server = start();
    assert_eq!(server.address, address);
    assert_eq!(hit(address), 1);
    assert_eq!(server.stop(), "");
    let waiting: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = Client::connect(address).expect("the socket is still there");
            client.send(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
            client
        })
        .collect();
    let server = start();
    let mut tallies: Vec<u64> = waiting
        .into_iter()
        .map(|mut client| client.receive(false).expect("an answer").tally())
        .collect();
    tallies.sort_unstable();
    assert_eq!(tallies, (2..=11).collect::<Vec<_>>());
    server.stop();
}

#[test]
fn sockets_are_what_their_names_say_whatever_their_order_and_each_front_serves_them() {
    let data = tempfile::tempdir().expect("a directory");
    let (hits, hits_address) = bound();
    let (operator, operator_address) = bound();
    let _passed = (pass(operator, 210), pass(hits, 211));
    for (tally, front) in [(1, "pool"), (2, "tiny-http")] {
        let mut command = command(data.path(), 210, 2, "operator:hits");
        command.args(["--front", front]);
        let server = Server::spawn(command);
        let places = (server.address, server.operator);
        assert_eq!(places, (hits_address, Some(operator_address)));
        let line = &server.start_line;
        assert!(line.contains(", socket handed over, data in "), "{line}");
        assert_eq!(hit(hits_address), tally);
        let mut client = Client::connect(operator_address).expect("operators are heard");
        let answer = client.ask(b"GET /total HTTP/1.0\r\n\r\n");
        assert_eq!(answer.expect("an answer").tally(), tally);
        server.stop();
    }
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "none"])
        .args(["--connections", CONNECTIONS, "--data"])
        .arg(data.path())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1");
    let server = Server::spawn(command);
    assert_eq!(hit(server.address), 1);
    server.stop();
}

#[test]
fn a_socket_of_no_use_ends_the_start_and_is_named() {
    let data = tempfile::tempdir().expect("a directory");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (listener, address) = bound();
    let connected = std::net::TcpStream::connect(address).expect("a connection");
    let _passed = (pass(udp, 220), pass(connected, 221), pass(listener, 222));
    for (first, names, flags, message) in [
        (
            220,
            "",
            &[][..],
            "LISTEN_FDS: socket 0: fd 220 is not a valid tcp socket",
        ),
        (221, "", &[], "LISTEN_FDS: socket 0: it does not listen"),
        (
            222,
            "operator",
            &["--operator", "none"],
            "--operator: none, but a socket for operators was handed over",
        ),
    ] {
        let mut command = command(data.path(), first, 1, names);
        command.args(flags);
        assert_eq!(refused(command), format!("tallyd: {message}\n"));
    }
}

/// What a supervisor hears next.
fn heard(supervisor: &UnixDatagram) -> String {
    let mut news = [0; 4096];
    let length = loop {
        match supervisor.recv(&mut news) {
            Ok(length) => break length,
            // A signal that the test program got.
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => panic!("no news: {cause}"),
        }
    };
    String::from_utf8(news[..length].to_vec()).expect("text")
}

/// A supervisor that hears all of a server's life.
fn follow_a_life(supervisor: &UnixDatagram, place: &str) {
    let data = tempfile::tempdir().expect("a directory");
    supervisor
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "none"])
        .args(["--connections", CONNECTIONS, "--data"])
        .arg(data.path())
        .env("NOTIFY_SOCKET", place)
        .env("WATCHDOG_USEC", "10000");
    let server = Server::spawn(command);
    let ready = heard(supervisor);
    assert!(
        ready.starts_with("READY=1\nSTATUS=listening on 127.0.0.1:"),
        "{ready}"
    );
    assert_eq!(hit(server.address), 1);
    let well = "WATCHDOG=1\nSTATUS=1 hit in the last 60s";
    assert!((0..3000).any(|_| heard(supervisor) == well));
    #[cfg(target_os = "linux")]
    {
        let tasks = format!("/proc/{}/task", server.pid().as_raw_nonzero());
        let threads = || std::fs::read_dir(&tasks).expect("its threads").count();
        // Those that print the start line and write the list of lives end by themselves.
        let is_settled = (0..3000).any(|_| threads() == 1 + 4 || heard(supervisor).is_empty());
        assert!(
            is_settled,
            "{} threads, not one worker and four more",
            threads()
        );
    }
    assert_eq!(server.stop(), "");
    let last = loop {
        match heard(supervisor) {
            news if news.starts_with("WATCHDOG=1\n") => {}
            news => break news,
        }
    };
    assert_eq!(last, "STOPPING=1\nSTATUS=answering what is under way");
}

#[test]
fn a_supervisor_hears_when_hits_are_served_that_all_is_well_and_when_that_ends() {
    let here = tempfile::tempdir().expect("a directory");
    let place = here.path().join("notify");
    let supervisor = UnixDatagram::bind(&place).expect("a socket");
    follow_a_life(&supervisor, place.to_str().expect("text"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_supervisor_with_an_abstract_address_hears_the_same() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("tallyd-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let supervisor = UnixDatagram::bind_addr(&address).expect("a socket");
    follow_a_life(&supervisor, &format!("@{name}"));
}

#[test]
fn a_supervisor_that_is_gone_harms_nobody() {
    let here = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "none"])
        .args(["--connections", CONNECTIONS, "--data"])
        .arg(here.path().join("data"))
        .env("NOTIFY_SOCKET", here.path().join("nobody"));
    let server = Server::spawn(command);
    assert_eq!(hit(server.address), 1);
    let said = server.stop();
    assert_eq!(
        said.matches(" warn: cannot notify the supervisor: ")
            .count(),
        2
    );
}

#[test]
fn a_funnel_that_does_not_answer_gives_no_sign_of_life() {
    let here = tempfile::tempdir().expect("a directory");
    let place = here.path().join("notify");
    let listening = UnixDatagram::bind(&place).expect("a socket");
    listening.set_nonblocking(true).expect("a flag");
    let supervisor = Supervisor::at(place.as_os_str(), Some(2_000_000)).expect("a supervisor");
    assert_eq!(supervisor.period(), Some(Duration::from_secs(1)));
    let is_silent = || {
        let told = listening.recv(&mut [0]);
        told.is_err_and(|cause| cause.kind() == ErrorKind::WouldBlock)
    };
    let (inlet, messages) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| give_sign_of_life(&supervisor, &inlet, 60 * SECOND_NS));
        // From here to the reply the funnel is stuck.
        let Ok(Message::Query(Query { reply, .. })) = messages.recv() else {
            panic!("the funnel is asked")
        };
        assert!(is_silent(), "nothing was told");
        drop(reply);
    });
    assert!(is_silent(), "nor when it is gone");
}

//! What is mended of `tiny_http` from outside: a server whose accept thread has ended accepts again.
//!
//! Owns the two ways in which that thread ends for want of descriptors: `accept` fails, which it
//! reports, or duplicating what was accepted does, which it panics over. Which of the two comes first
//! depends on whether the limit leaves an odd or an even number.
//!
//! Must not know how it is mended. Invariant: no hit is counted that was not answered.

mod support;

use rustix::process::{Resource, Rlimit, prlimit};
use std::fs;
use support::client::Client;
use support::server::Server;

/// Takes all descriptors but `spare` from the server, exhausts those, gives them back, and expects
/// old and new connections to be served.
fn accepts_again_after(spare: u64) {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(data.path(), &["--front", "tiny-http", "--workers", "2"]);
    let mut old = Client::connect(server.address).expect("the server listens");
    assert_eq!(old.hit().expect("an answer"), 1);

    let open = fs::read_dir(format!("/proc/{}/fd", server.pid().as_raw_nonzero()))
        .expect("its descriptors")
        .count() as u64;
    let limited = Rlimit {
        current: Some(open + spare),
        maximum: Some(4096),
    };
    let before = prlimit(Some(server.pid()), Resource::Nofile, limited).expect("a limit");
    let hungry: Vec<Client> = (0..spare + 2)
        .map(|_| Client::connect(server.address).expect("the kernel accepts"))
        .collect();
    assert_eq!(
        old.hit().expect("an answer"),
        2,
        "old connections are served meanwhile"
    );

    let said = server.hear("oo many open files");
    let forms = [
        " error: cannot accept connections: too many open files",
        " error: thread without a name panicked at ",
    ];
    assert!(forms.iter().any(|form| said.contains(form)), "{said}");
    let given_back = Rlimit {
        current: Some(4096),
        maximum: before.maximum.and(Some(4096)),
    };
    prlimit(Some(server.pid()), Resource::Nofile, given_back).expect("a limit");
    drop(hungry);
    let mut new = Client::connect(server.address).expect("the server listens");
    assert_eq!(new.hit().expect("a new connection is served"), 3);
    assert_eq!(old.hit().expect("an old connection is served"), 4);
    assert_eq!(new.hit().expect("a new connection is served"), 5);
    server.hear(" info: accepting connections again");
    server.stop();
}

#[test]
fn accepting_goes_on_after_an_even_number_of_descriptors_ran_out() {
    accepts_again_after(4);
}

#[test]
fn accepting_goes_on_after_an_odd_number_of_descriptors_ran_out() {
    accepts_again_after(5);
}

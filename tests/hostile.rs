//! Bytes that mean harm, and bytes that only look as if they did: what each is answered, and whether
//! it counts.
//!
//! Owns how a row of the tables is held against the server: over a real socket in one piece, over
//! real sockets cut in two, and without a socket cut everywhere. The tally is read over a connection
//! of its own before and after.
//!
//! Must not know why a row has its verdict. Invariant: every row says exactly how many hits it made.

mod support;

/// A GET with more headers.
macro_rules! get {
    ($fields:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n")
    };
}

/// A POST with more headers, and a body.
macro_rules! post {
    ($fields:literal, $body:expr) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n", $body)
    };
}

/// A POST with a body in chunks.
macro_rules! chunked {
    ($body:literal) => {
        post!("Transfer-Encoding: chunked", $body)
    };
}

#[path = "hostile/bodies.rs"]
mod bodies;
#[path = "hostile/heads.rs"]
mod heads;

use support::client::Client;
use support::server::Server;
use support::talking::{Told, tell};
use tallyd::front::pool::limits::Limits;
use tallyd::front::pool::talk::Answer;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// One more request is answered and counted.
    Stays,
    /// The server closes it.
    Closes,
    /// The server waits for the rest, and closes it without a word if the client ends instead.
    Waits,
}

/// Its name, what is sent, the statuses in their order (`h` for a head alone), the hits, and what
/// becomes of the connection.
pub type Row = (&'static str, &'static str, &'static str, u64, After);

/// A row whose bytes may be any.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    statuses: Vec<&'static str>,
    hit_count: u64,
    after: After,
}

/// `before`, filled up with `x` to so many bytes, and `after`.
pub fn long(before: &[u8], bytes: usize, after: &[u8]) -> Vec<u8> {
    let mut all = before.to_vec();
    all.resize(bytes, b'x');
    all.extend_from_slice(after);
    all
}

/// The limits that the rows speak of, as flags and as the pool has them.
const FLAGS: [&str; 8] = [
    "--front",
    "pool",
    "--head-bytes",
    "1024",
    "--headers",
    "10",
    "--body-bytes",
    "100",
];
const LIMITS: Limits = Limits {
    head_bytes_max: 1024,
    headers_max: 10,
    body_bytes_max: 100,
    ..Limits::DEFAULT
};

fn cases() -> Vec<Case> {
    let rows = [
        heads::GOOD,
        heads::BAD,
        heads::TARGETS,
        heads::HOST_AND_CONNECTION,
        bodies::LENGTHS,
        bodies::CHUNKS,
        bodies::SMUGGLED,
    ];
    let fixed = rows.into_iter().flatten().copied();
    let fixed = fixed.map(|(name, text, says, hits, after)| (name, text.into(), says, hits, after));
    let cases = fixed
        .chain(heads::at_the_limits())
        .chain(bodies::long_lines())
        .map(|(name, bytes, says, hit_count, after)| Case {
            name,
            bytes,
            statuses: says.split_ascii_whitespace().collect(),
            hit_count,
            after,
        });
    cases.collect()
}

/// Reads the answers of a case and sees what becomes of the connection. Returns the hits of its own.
fn finish(client: &mut Client, case: &Case) -> u64 {
    for status in &case.statuses {
        let (code, is_head) = match status.strip_suffix('h') {
            Some(code) => (code, true),
            None => (*status, false),
        };
        let answer = client.receive(is_head).expect(case.name);
        assert_eq!(answer.status.to_string(), code, "{}", case.name);
    }
    match case.after {
        After::Stays => {
            client.hit().expect(case.name);
            return 1;
        }
        After::Closes => {}
        After::Waits => client.end().expect(case.name),
    }
    assert!(client.is_closed(), "{}: it is not closed", case.name);
    0
}

#[test]
fn every_row_is_answered_and_counted_as_it_says() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &FLAGS);
    let mut watch = Client::connect(server.address).expect("the server listens");
    let cases = cases();
    assert!(cases.len() >= 180, "{} rows", cases.len());
    for case in &cases {
        let before = watch.hit().expect("an answer");
        let mut client = Client::connect(server.address).expect("the server listens");
        client.send(&case.bytes).expect(case.name);
        let own = finish(&mut client, case);
        let counted = watch.hit().expect("an answer") - before - 1 - own;
        assert_eq!(counted, case.hit_count, "{}: hits", case.name);
    }
    server.stop();
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// What a case comes to without a socket, in these pieces.
fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Told {
    tell(pieces, &LIMITS, 64)
}

#[test]
fn the_same_bytes_cut_at_every_place_are_answered_and_counted_the_same() {
    for case in cases() {
        let whole = told([&case.bytes[..]]);
        let codes = whole.answers.iter().map(|answer| match answer {
            Answer::Response(form) if form.is_head => "200h".to_owned(),
            Answer::Response(_) => "200".to_owned(),
            Answer::Continue => "100".to_owned(),
            Answer::Refused(refusal) => refusal.code().to_string(),
        });
        assert_eq!(codes.collect::<Vec<_>>(), case.statuses, "{}", case.name);
        assert_eq!(whole.hit_count as u64, case.hit_count, "{}", case.name);
        for cut in 0..case.bytes.len() {
            let (first, second) = case.bytes.split_at(cut);
            assert_eq!(told([first, second]), whole, "{}: {cut}", case.name);
        }
        assert_eq!(told(case.bytes.chunks(1)), whole, "{}", case.name);
        let narrow = tell([&case.bytes[..]], &LIMITS, 1);
        assert_eq!(narrow, whole, "{}: one hit at a time", case.name);
    }
}

#[test]
fn the_same_bytes_cut_on_their_way_are_answered_and_counted_the_same() {
    let names = [
        "a plain GET is counted",
        "line ends of LF alone are taken",
        "blank lines between heads are no part of either",
        "HEAD between others leaves them their bodies",
        "the HTTP/2 preface is refused with 505",
        "HTTP/0.9 is refused with 400",
        "a folded value is refused",
        "what comes before a refused head is counted",
        "a 1.0 connection stays if it is asked to",
        "an expectation with a body is answered",
        "a body behind a close is passed over",
        "a repeated unequal length is refused",
        "a body past its bound is read to its end and closes",
        "a chunk past the bound is passed over",
        "CONNECT is refused with 501",
        "a target of bytes that are no text is taken in 1.2",
        "a request in a chunk is not counted",
        "a size that is no number is malformed",
        "what is malformed behind a close is not answered again",
        "chunks behind a close are read to their end",
        "a length before chunks hides nothing",
    ];
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &FLAGS);
    let mut watch = Client::connect(server.address).expect("the server listens");
    let cases = cases();
    for name in names {
        let case = cases
            .iter()
            .find(|case| case.name == name)
            .unwrap_or_else(|| panic!("no row is called {name}"));
        for cut in 1..case.bytes.len() {
            let before = watch.hit().expect("an answer");
            let mut client = Client::connect(server.address).expect("the server listens");
            let (first, second) = case.bytes.split_at(cut);
            client.send(first).expect(name);
            // The one worker accepts the connection at the latest in the pass of the first of these,
            // and has the first piece at the latest in the pass of the second.
            for _ in 0..2 {
                watch.hit().expect("an answer");
            }
            // A server that has closed already may have its system refuse the rest.
            let _refused = client.send(second);
            let own = finish(&mut client, case);
            let counted = watch.hit().expect("an answer") - before - 3 - own;
            assert_eq!(counted, case.hit_count, "{name}: cut at {cut}");
        }
    }
    server.stop();
}

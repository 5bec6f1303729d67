//! A question to the operator's listener of a running server, over HTTP.
//!
//! Owns who is asked. Before a question goes out, a probe on a connection of its own finds out who listens
//! there: a request of a version that does not exist, which every tallyd refuses on both of its listeners and
//! counts on neither. Only a peer that calls itself an admin listener is asked, and only an answer that does
//! is believed. Both are bounded in time and size: a server that is slow, silent or endless is an error.
//!
//! Must not know what is asked. Invariants: an answer is whole, or an error; no request of ours is ever a hit.

use super::answer::Answer;
use super::many;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::stamp::{SECOND_NS, Stamp};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a server may take, in nanoseconds, from the name of its host to the last byte.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
/// Bytes of an answer with its head.
const ANSWER_BYTES_MAX: usize = 2 << 20;
const HEADERS_MAX: usize = 64;
/// Characters of an error that are shown.
const SHOWN_MAX: usize = 200;
/// What no server of any version takes for a request that it has to answer with a number.
const PROBE: &[u8] = b"GET / HTTP/9.9\r\n\r\n";

/// Who answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Admin,
    Hits,
    Unknown,
}

impl Peer {
    /// The one that calls itself `server` in its answers.
    fn named(server: Option<&[u8]>) -> Self {
        match server {
            Some(name) if name.starts_with(b"tallyd/") && name.ends_with(b" admin") => Self::Admin,
            Some(name) if name.starts_with(b"tallyd") || name == b"tiny-http (Rust)" => Self::Hits,
            _ => Self::Unknown,
        }
    }

    /// That it is the one to be asked.
    fn check(self, address: &str) -> Result<()> {
        Err(Error::said(match self {
            Self::Admin => return Ok(()),
            Self::Hits => format!("{address} answers as a hits listener, not as an admin listener"),
            Self::Unknown => format!("{address} does not answer as a tallyd admin listener"),
        }))
    }
}

/// The fields of the answer to `GET target`.
///
/// # Errors
/// No connection, nobody there who answers operators, no answer in time, one too large, cut short or of
/// another form, or any status but 200, whose cause is told.
pub fn get(address: &str, target: &str) -> Result<Answer> {
    get_within(PATIENCE_NS, address, target)
}

fn get_within(patience_ns: u64, address: &str, target: &str) -> Result<Answer> {
    let url = shown(address) + target;
    let failed = |cause| Error::io("ask", url.clone(), cause);
    let wrong = |cause: String| Error::found(url.clone(), cause);
    let until = SystemClock.now().after(patience_ns);
    let mut probe = connect(address, until).map_err(failed)?;
    // One name may have several addresses: the one that was probed is asked.
    let peer = probe.peer_addr().map_err(failed)?;
    identify(&mut probe, until)
        .map_err(failed)?
        .check(address)?;
    drop(probe);

    let mut stream = connect_to(peer, until).map_err(failed)?;
    let request =
        format!("GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    send(&mut stream, request.as_bytes(), until).map_err(failed)?;
    let bytes = read(&mut stream, until, |_| false).map_err(failed)?;
    let (head, body) = parse(&bytes).map_err(wrong)?;
    head.peer.check(address)?;
    let text = std::str::from_utf8(body).map_err(|_| wrong("the answer is no text".to_owned()))?;
    let answer = Answer::read(text);
    if head.status != 200 {
        let cause = answer
            .as_ref()
            .ok()
            .and_then(|answer| answer.text("error").ok());
        let cause = line_of(cause.unwrap_or(text));
        return Err(wrong(format!("answered {}: {cause}", head.status)));
    }
    let answer = answer.map_err(wrong)?;
    if head.is_marked || answer.is_true("estimated") {
        log::warn!("{url}: the server calls its answer estimated");
    }
    Ok(answer)
}

/// How people call a server.
#[must_use]
pub fn shown(address: &str) -> String {
    format!("http://{address}")
}

/// The first line of `text`, as far as it is shown.
fn line_of(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(SHOWN_MAX).collect()
}

fn connect(address: &str, until: Stamp) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match connect_to(address, until) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

fn connect_to(address: SocketAddr, until: Stamp) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, left(until)?)
}

/// The time that is left.
fn left(until: Stamp) -> io::Result<Duration> {
    match until.since(SystemClock.now()) {
        0 => Err(ErrorKind::TimedOut.into()),
        left_ns => Ok(Duration::from_nanos(left_ns)),
    }
}

/// Asks who is there.
fn identify(stream: &mut TcpStream, until: Stamp) -> io::Result<Peer> {
    let known = |bytes: &[u8]| match head(bytes) {
        Ok(head) => head.map(|head| head.peer),
        // What does not begin as HTTP does need not be read to its end.
        Err(_) => Some(Peer::Unknown),
    };
    // A peer that hangs up, before or while it is asked, has answered as well.
    let heard = send(stream, PROBE, until)
        .and_then(|()| read(stream, until, |bytes| known(bytes).is_some()));
    match heard {
        Ok(bytes) => Ok(known(&bytes).unwrap_or(Peer::Unknown)),
        Err(cause) if cause.kind() == ErrorKind::TimedOut => Err(cause),
        Err(_) => Ok(Peer::Unknown),
    }
}

fn send(stream: &mut TcpStream, request: &[u8], until: Stamp) -> io::Result<()> {
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(request)
}

/// Everything up to the end of the connection, or as much as is enough.
fn read(
    stream: &mut TcpStream,
    until: Stamp,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            // What the system calls a read that timed out.
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(cause) => return Err(cause),
        }
        if is_enough(&bytes) {
            return Ok(bytes);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            let cause = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(io::Error::other(cause));
        }
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    peer: Peer,
    /// Whether it says that the answer is not exact.
    is_marked: bool,
    is_encoded: bool,
    /// What it says of the length of the body.
    length: Option<String>,
    /// Its own bytes.
    bytes: usize,
}

/// The head of an answer, if it is all there.
fn head(bytes: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = answer.parse(bytes)? else {
        return Ok(None);
    };
    let named = |name: &str| {
        let mut headers = answer.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    Ok(Some(Head {
        status: answer.code.unwrap_or_default(),
        peer: Peer::named(named("server")),
        is_marked: named("tally-status").is_some(),
        is_encoded: named("transfer-encoding").is_some(),
        length: named("content-length").map(|value| String::from_utf8_lossy(value).into_owned()),
        bytes: length,
    }))
}

/// Head and body of an answer, which must be whole.
fn parse(bytes: &[u8]) -> Result<(Head, &[u8]), String> {
    let head = head(bytes).map_err(|cause| format!("the answer is no HTTP: {cause}"))?;
    let head = head.ok_or("the answer ended within its head")?;
    let body = &bytes[head.bytes..];
    if head.is_encoded {
        return Err("the answer is encoded, which HTTP/1.0 does not know".to_owned());
    }
    if let Some(wanted) = &head.length
        && wanted.parse() != Ok(body.len())
    {
        let bytes = many(body.len() as u64, "byte");
        return Err(format!("the answer has {bytes}, not {wanted}"));
    }
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n42\n";
        let status_and_body = |bytes| parse(bytes).map(|(head, body)| (head.status, body));
        assert_eq!(status_and_body(whole), Ok((200, &b"42\n"[..])));
        assert_eq!(
            status_and_body(b"HTTP/1.0 404 No\r\n\r\nno\n"),
            Ok((404, &b"no\n"[..]))
        );
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut at {end}");
        }
        for wrong in [
            &b"nonsense\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n42\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_server_that_is_silent_or_endless_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let said =
            get_within(SECOND_NS / 20, &address, "/count").map_err(|error| error.to_string());
        assert_eq!(
            said,
            Err(format!("cannot ask http://{address}/count: timed out"))
        );
        // A byte now and then does not win more time.
        let trickle = std::thread::spawn(move || {
            for (mut stream, _) in [listener.accept(), listener.accept()].into_iter().flatten() {
                let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\nA: ");
                while said.is_ok() {
                    said = stream.write_all(b"H");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let said =
            get_within(SECOND_NS / 20, &address, "/count").map_err(|error| error.to_string());
        assert_eq!(
            said,
            Err(format!("cannot ask http://{address}/count: timed out"))
        );
        trickle.join().expect("it ends with the connection");
    }

    #[test]
    fn a_peer_is_who_it_calls_itself() {
        for (server, peer) in [
            (Some("tallyd/0.1.0 admin"), Peer::Admin),
            (Some("tallyd/12.0.0-rc.1 admin"), Peer::Admin),
            (Some("tallyd/0.1.0"), Peer::Hits),
            (Some("tallyd"), Peer::Hits),
            (Some("tiny-http (Rust)"), Peer::Hits),
            (Some("nginx/1.22.1"), Peer::Unknown),
            (Some("nginx admin"), Peer::Unknown),
            (Some(""), Peer::Unknown),
            (None, Peer::Unknown),
        ] {
            assert_eq!(Peer::named(server.map(str::as_bytes)), peer, "{server:?}");
        }
    }

    #[test]
    fn no_more_than_a_line_of_a_text_is_shown() {
        assert_eq!(line_of("no such\nmore"), "no such");
        assert_eq!(line_of(&"\u{e9}".repeat(1000)).chars().count(), SHOWN_MAX);
        assert_eq!(line_of(""), "");
    }
}

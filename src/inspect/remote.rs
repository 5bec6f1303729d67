//! A question to the operator's listener of a running server, over HTTP.
//!
//! Owns one connection for one question, bounded in time and size: a server that is slow, silent or
//! endless is an error. What it says is text to us: control characters never reach the terminal.
//!
//! Must not know what is asked. Invariant: an answer is whole, or an error.

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::stamp::{SECOND_NS, Stamp};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a server may take, in nanoseconds, from the name of its host to the last byte.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
/// Bytes of an answer with its head.
const ANSWER_BYTES_MAX: usize = 2 << 20;
const HEADERS_MAX: usize = 64;
/// Characters of an error that are shown.
const SHOWN_MAX: usize = 200;

/// The body of the answer to `GET target`.
///
/// # Errors
/// No connection, no answer in time, one too large or cut short, or any status but 200, whose text
/// is told.
pub fn get(address: &str, target: &str) -> Result<String> {
    get_within(PATIENCE_NS, address, target)
}

fn get_within(patience_ns: u64, address: &str, target: &str) -> Result<String> {
    let url = shown(address) + target;
    let failed = |cause| Error::io("ask", url.clone(), cause);
    let wrong = |cause: String| Error::found(url.clone(), cause);
    let until = SystemClock.now().after(patience_ns);
    let mut stream = connect(address, until).map_err(failed)?;
    let request = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain\r\n\r\n");
    stream
        .set_write_timeout(Some(left(until).map_err(failed)?))
        .map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let bytes = read(&mut stream, until).map_err(failed)?;
    let (status, body) = parse(&bytes).map_err(wrong)?;
    let body = std::str::from_utf8(body).map_err(|_| wrong("the answer is no text".to_owned()))?;
    if status != 200 {
        return Err(wrong(format!("answered {status}: {}", line_of(body))));
    }
    Ok(body.to_owned())
}

/// How people call a server.
#[must_use]
pub fn shown(address: &str) -> String {
    format!("http://{address}")
}

/// The first line of `text`, as far as it may be shown.
#[must_use]
pub fn line_of(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let shown = line.chars().filter(|letter| !letter.is_control());
    shown.take(SHOWN_MAX).collect()
}

fn connect(address: &str, until: Stamp) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// The time that is left.
fn left(until: Stamp) -> io::Result<Duration> {
    match until.since(SystemClock.now()) {
        0 => Err(ErrorKind::TimedOut.into()),
        left_ns => Ok(Duration::from_nanos(left_ns)),
    }
}

/// Everything up to the end of the connection.
fn read(stream: &mut TcpStream, until: Stamp) -> io::Result<Vec<u8>> {
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
        if bytes.len() > ANSWER_BYTES_MAX {
            let cause = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(io::Error::other(cause));
        }
    }
}

/// Status and body of an answer, which must be whole.
fn parse(bytes: &[u8]) -> Result<(u16, &[u8]), String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let no_http = |cause: httparse::Error| format!("the answer is no HTTP: {cause}");
    let httparse::Status::Complete(length) = answer.parse(bytes).map_err(no_http)? else {
        return Err("the answer ended within its head".to_owned());
    };
    let body = &bytes[length..];
    let named = |name: &str| {
        answer
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    };
    if named("transfer-encoding").is_some() {
        return Err("the answer is encoded, which HTTP/1.0 does not know".to_owned());
    }
    if let Some(length) = named("content-length") {
        let text = std::str::from_utf8(length.value).ok();
        let wanted = text.and_then(|text| text.parse::<usize>().ok());
        if wanted != Some(body.len()) {
            let wanted = String::from_utf8_lossy(length.value);
            return Err(format!("the answer has {} bytes, not {wanted}", body.len()));
        }
    }
    Ok((answer.code.unwrap_or_default(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n42\n";
        assert_eq!(parse(whole), Ok((200, &b"42\n"[..])));
        assert_eq!(
            parse(b"HTTP/1.0 404 No\r\n\r\nno\n"),
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
                while stream.write_all(b"H").is_ok() {
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
    fn what_a_server_says_cannot_steer_the_terminal() {
        assert_eq!(line_of("no\u{1b}[2J such\u{7}\nmore"), "no[2J such");
        assert_eq!(line_of(&"x".repeat(1000)).len(), SHOWN_MAX);
        assert_eq!(line_of(""), "");
    }
}

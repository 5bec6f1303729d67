//! What a request head says: bytes in, a verdict out.
//!
//! Owns the rules of RFC 9110 and 9112 for the request line, for the headers that frame a message
//! (`Host`, `Content-Length`, `Transfer-Encoding`, `Connection`, `Expect`) and for how long a head
//! may be. `httparse` cuts the bytes into lines, names and values; every rule on what they mean is
//! here.
//!
//! Must not know of connections, answers or counting. It reads no socket and allocates nothing.
//!
//! Invariant: a verdict is final. What is complete or refused for some bytes stays the same
//! whatever follows them, so the verdict does not depend on how the network cut the bytes.

use super::limits::HEADERS_LIMIT;
use httparse::{Error, Status};
use std::mem::MaybeUninit;

/// Statuses of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the head is not HTTP, or its framing cannot be trusted.
    BadRequest,
    /// 408: the head did not come in time.
    TimedOut,
    /// 414: the target is longer than its limit.
    TargetTooLong,
    /// 431: the head has too many bytes or too many headers.
    HeadTooLarge,
    /// 503: the request cannot be counted now.
    Unavailable,
    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    VersionUnknown,
}

impl Refusal {
    /// Every refusal there is, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::BadRequest,
        Self::TimedOut,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::Unavailable,
        Self::VersionUnknown,
    ];

    /// The status code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::TimedOut => 408,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge => 431,
            Self::Unavailable => 503,
            Self::VersionUnknown => 505,
        }
    }

    /// The reason phrase.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::TimedOut => "Request Timeout",
            Self::TargetTooLong => "URI Too Long",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
            Self::VersionUnknown => "HTTP Version Not Supported",
        }
    }
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the body behind a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Neither header that would announce one.
    Empty,
    /// As many bytes as `Content-Length` says, which may be none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A complete and valid head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Any token.
    pub method: &'a str,
    /// As it was sent, whatever its form.
    pub target: &'a str,
    /// Its version.
    pub version: Version,
    /// Whether the connection stays after the answer.
    pub stays: bool,
    /// How its body is framed.
    pub body: Body,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The first `Accept`, if there is one.
    pub accept: Option<&'a [u8]>,
    /// The `Host`, if there is one.
    pub host: Option<&'a [u8]>,
}

/// The verdict on some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// Nothing wrong so far, and not all there.
    Partial,
    /// A head of so many bytes, the blank lines before it included.
    Complete {
        /// What it says.
        request: Request<'a>,
        /// Where it ends.
        bytes: usize,
    },
    /// To be answered with an error, and the connection closed.
    Refused(Refusal),
}

/// How long a head and its target may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the head, with blank lines before it and the blank line behind it.
    pub head_bytes_max: usize,
    /// Bytes of the target.
    pub target_bytes_max: usize,
    /// Header lines, at most [`HEADERS_LIMIT`].
    pub headers_max: usize,
}

/// The verdict on all bytes that were received and not consumed so far.
#[must_use]
pub fn parse<'a>(input: &'a [u8], limits: &HeadLimits) -> Head<'a> {
    // Nothing behind the limit is looked at: what stands there cannot change the verdict, and a
    // buffer of just this size is never full without one.
    let within = &input[..input.len().min(limits.head_bytes_max)];
    let mut storage = [const { MaybeUninit::uninit() }; HEADERS_LIMIT];
    let storage = &mut storage[..limits.headers_max];
    let mut found = httparse::Request::new(&mut []);
    let status = found.parse_with_uninit_headers(within, storage);
    // The target comes before anything else that could be wrong behind it.
    let target_bytes = match (found.method, found.path) {
        (_, Some(target)) => target.len(),
        (Some(method), None) => open_target_bytes(&within[target_start(within, method)..]),
        (None, None) => 0,
    };
    if target_bytes > limits.target_bytes_max {
        return Head::Refused(Refusal::TargetTooLong);
    }
    let verdict = match status {
        Ok(Status::Complete(bytes)) => match judge(&found) {
            Ok(request) => Head::Complete { request, bytes },
            Err(refusal) => Head::Refused(refusal),
        },
        Ok(Status::Partial) => Head::Partial,
        Err(Error::Version) => {
            let method = found.method.unwrap_or_default();
            let version = target_start(within, method) + target_bytes + 1;
            strange_version(within.get(version..).unwrap_or_default())
        }
        Err(Error::TooManyHeaders) => Head::Refused(Refusal::HeadTooLarge),
        Err(_) => Head::Refused(Refusal::BadRequest),
    };
    if verdict == Head::Partial && within.len() == limits.head_bytes_max {
        return Head::Refused(Refusal::HeadTooLarge);
    }
    verdict
}

/// Where the target starts: behind the blank lines, the method and one space.
fn target_start(within: &[u8], method: &str) -> usize {
    let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    within.iter().take_while(blank).count() + method.len() + 1
}

/// How much there is of a target that was not ended by a space yet.
fn open_target_bytes(rest: &[u8]) -> usize {
    let inside = |&&byte: &&u8| byte > b' ' && byte != 0x7f;
    rest.iter().take_while(inside).count()
}

/// The verdict on a line whose version is neither of ours: 505 if it ends with what has the form of
/// a version, 400 as soon as it cannot.
fn strange_version(tail: &[u8]) -> Head<'static> {
    for (place, &byte) in tail.iter().enumerate() {
        let fits = match place {
            0..5 => byte == b"HTTP/"[place],
            5 | 7 => byte.is_ascii_digit(),
            6 => byte == b'.',
            8 => matches!(byte, b'\r' | b'\n'),
            _ => byte == b'\n',
        };
        if !fits {
            return Head::Refused(Refusal::BadRequest);
        }
        if byte == b'\n' {
            return Head::Refused(Refusal::VersionUnknown);
        }
    }
    Head::Partial
}

/// What the headers of a whole head say together.
fn judge<'a>(found: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Refusal> {
    const BAD: Refusal = Refusal::BadRequest;
    let (Some(method), Some(target), Some(minor)) = (found.method, found.path, found.version)
    else {
        unreachable!("a complete head has a whole request line");
    };
    let version = match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let (mut host, mut length, mut chunked) = (None, None, false);
    let (mut closes, mut keeps, mut continues) = (false, false, false);
    let mut accept = None;
    for header in found.headers.iter() {
        let value = header.value;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            4 if is("host") => {
                if host.is_some() || !value.iter().all(|&byte| HOST_BYTES[byte as usize]) {
                    return Err(BAD);
                }
                host = Some(value);
            }
            6 if is("accept") => accept = accept.or(Some(value)),
            6 if is("expect") => continues |= lists(value, "100-continue"),
            10 if is("connection") => {
                closes |= lists(value, "close");
                keeps |= lists(value, "keep-alive");
            }
            14 if is("content-length") => {
                let bytes = decimal(value).ok_or(BAD)?;
                // Repeated and equal is a sender's mistake that leaves no doubt.
                if length.is_some_and(|known| known != bytes) {
                    return Err(BAD);
                }
                length = Some(bytes);
            }
            17 if is("transfer-encoding") => {
                // A coding before `chunked` would be legal, but nobody reads the body here, and
                // every form but this one is read differently by some server.
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BAD);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    let new = version == Version::Http11;
    let body = match (chunked, length) {
        (false, None) => Body::Empty,
        (false, Some(bytes)) => Body::Length(bytes),
        (true, None) if new => Body::Chunked,
        // With both, or on a version without chunks, two readers disagree on where the body ends.
        (true, _) => return Err(BAD),
    };
    if new && host.is_none() {
        return Err(BAD);
    }
    Ok(Request {
        method,
        target,
        version,
        // An answer of 2xx to CONNECT opens a tunnel; closing is how none comes to be.
        stays: !closes && (new || keeps) && method != "CONNECT",
        body,
        expects_continue: continues && new && !matches!(body, Body::Empty | Body::Length(0)),
        accept,
        host,
    })
}

/// The bytes of a host and its port by RFC 3986. A comma is left out: it joins two hosts.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+;=%:[]";
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
};

/// Whether a comma list contains a token.
fn lists(value: &[u8], token: &str) -> bool {
    // RFC 9110 trims spaces and tabs only; the other blanks that this trims cannot be in a value.
    let mut tokens = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tokens.any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Digits and nothing else, if they fit.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;

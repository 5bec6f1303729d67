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
use httparse::{EMPTY_HEADER, Error, Header, Status};
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
    /// 501: a method or a transfer coding that is not implemented.
    NotImplemented,
    /// 503: the request cannot be counted now.
    Unavailable,
    /// 505: the major version is not 1.
    VersionUnknown,
}

impl Refusal {
    /// Every refusal there is, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::BadRequest,
        Self::TimedOut,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::NotImplemented,
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
            Self::NotImplemented => 501,
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
            Self::NotImplemented => "Not Implemented",
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
    /// HTTP/1.1, or 1 with a later minor version, which is served as 1.1.
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

/// Stands for a target that is not UTF-8. No page of an operator has this name.
pub const NOT_UTF8: &str = "\u{fffd}";

/// A complete and valid head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Any token.
    pub method: &'a str,
    /// As it was sent; [`NOT_UTF8`] for a target that is not UTF-8.
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
        Ok(Status::Complete(bytes)) => {
            let (Some(method), Some(target), Some(minor)) =
                (found.method, found.path, found.version)
            else {
                unreachable!("a complete head has a whole request line");
            };
            let version = version_of(minor);
            complete(method, target.as_bytes(), version, found.headers, bytes)
        }
        Ok(Status::Partial) => Head::Partial,
        Err(Error::Version | Error::Token) => match found.method {
            Some(method) => parse_rare(within, method, limits.headers_max),
            None => Head::Refused(Refusal::BadRequest),
        },
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

/// The verdict on a head whose request line `httparse` rejects: the target may be other than UTF-8, and
/// the minor version later than 1. Such a head is rare, so speed does not matter here.
fn parse_rare<'a>(within: &'a [u8], method: &'a str, headers_max: usize) -> Head<'a> {
    const BAD: Head<'static> = Head::Refused(Refusal::BadRequest);
    let start = target_start(within, method);
    let (target, rest) = within[start..].split_at(open_target_bytes(&within[start..]));
    let tail = match rest {
        [] => return Head::Partial,
        [b' ', tail @ ..] if !target.is_empty() => tail,
        _ => return BAD,
    };
    let (version, fields) = match parse_version(tail) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    let mut storage = [EMPTY_HEADER; HEADERS_LIMIT];
    match httparse::parse_headers(fields, &mut storage[..headers_max]) {
        Ok(Status::Complete((bytes, headers))) => {
            let bytes = within.len() - fields.len() + bytes;
            complete(method, target, version, headers, bytes)
        }
        Ok(Status::Partial) => Head::Partial,
        Err(Error::TooManyHeaders) => Head::Refused(Refusal::HeadTooLarge),
        Err(_) => BAD,
    }
}

/// The version at the end of a request line, and what follows the line; or the verdict: partial, 400 as
/// soon as it has not the form of a version, 505 if the major version is not 1.
fn parse_version(tail: &[u8]) -> Result<(Version, &[u8]), Head<'static>> {
    for (place, &byte) in tail.iter().enumerate() {
        let fits = match place {
            0..5 => byte == b"HTTP/"[place],
            5 | 7 => byte.is_ascii_digit(),
            6 => byte == b'.',
            8 => matches!(byte, b'\r' | b'\n'),
            _ => byte == b'\n',
        };
        if !fits {
            return Err(Head::Refused(Refusal::BadRequest));
        }
        if byte == b'\n' {
            return match tail[5] {
                b'1' => Ok((version_of(tail[7] - b'0'), &tail[place + 1..])),
                _ => Err(Head::Refused(Refusal::VersionUnknown)),
            };
        }
    }
    Err(Head::Partial)
}

const fn version_of(minor: u8) -> Version {
    match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    }
}

/// The verdict on a whole head of so many bytes.
fn complete<'a>(
    method: &'a str,
    target: &'a [u8],
    version: Version,
    headers: &[Header<'a>],
    bytes: usize,
) -> Head<'a> {
    if !fits(method, target) {
        return Head::Refused(Refusal::BadRequest);
    }
    match judge(method, target, version, headers) {
        Ok(request) => Head::Complete { request, bytes },
        Err(refusal) => Head::Refused(refusal),
    }
}

/// Whether a target has a form that its method takes (RFC 9112, section 3.2). No form has a fragment.
fn fits(method: &str, target: &[u8]) -> bool {
    match (method, target) {
        ("CONNECT", _) => is_authority_form(target),
        (_, _) if target.contains(&b'#') => false,
        (_, [b'/', ..]) | ("OPTIONS", b"*") => true,
        _ => is_absolute_form(target),
    }
}

/// `SCHEME://HOST`, perhaps with a port, a path and a query. A user before the host is an error, as
/// section 4.2.4 of RFC 9110 recommends.
fn is_absolute_form(target: &[u8]) -> bool {
    let Some(colon) = target.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let (scheme, rest) = target.split_at(colon);
    let of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let Some(rest) = rest.strip_prefix(b"://") else {
        return false;
    };
    let end = rest.iter().position(|byte| b"/?".contains(byte));
    let authority = &rest[..end.unwrap_or(rest.len())];
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(of_scheme)
        && is_host(authority)
        && !matches!(authority, [] | [b':', ..])
}

/// `HOST:PORT`.
fn is_authority_form(target: &[u8]) -> bool {
    let Some(colon) = target.iter().rposition(|&byte| byte == b':') else {
        return false;
    };
    let (host, port) = (&target[..colon], &target[colon + 1..]);
    is_host(host) && !host.is_empty() && decimal(port).is_some_and(|port| port <= 0xffff)
}

/// What the headers of a whole head say together.
fn judge<'a>(
    method: &'a str,
    target: &'a [u8],
    version: Version,
    headers: &[Header<'a>],
) -> Result<Request<'a>, Refusal> {
    const BAD: Refusal = Refusal::BadRequest;
    let (mut host, mut length, mut coding) = (None, None, None);
    let (mut closes, mut keeps, mut continues) = (false, false, false);
    let mut accept = None;
    for header in headers {
        let value = header.value;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            4 if is("host") => {
                if host.is_some() || !is_host(value) {
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
                // A second length is rejected even if it is equal, as a list of lengths is: RFC 9110,
                // section 8.6, allows that, and servers differ in what is equal.
                let bytes = decimal(value).ok_or(BAD)?;
                if length.replace(bytes).is_some() {
                    return Err(BAD);
                }
            }
            17 if is("transfer-encoding") => {
                for element in value.split(|&byte| byte == b',') {
                    coding = Some(coding_after(coding, element).ok_or(BAD)?);
                }
            }
            _ => {}
        }
    }
    let new = version == Version::Http11;
    let body = match (coding, length) {
        (None, None) => Body::Empty,
        (None, Some(bytes)) => Body::Length(bytes),
        (Some(_), None) if new => Body::Chunked,
        // With both, or on a version without chunks, two readers disagree on where the body ends.
        (Some(_), _) => return Err(BAD),
    };
    if new && host.is_none() {
        return Err(BAD);
    }
    // A 200 to CONNECT would open a tunnel, and to TRACE it would carry the request back.
    if matches!(method, "CONNECT" | "TRACE") || matches!(coding, Some(Coding::Unknown { .. })) {
        return Err(Refusal::NotImplemented);
    }
    Ok(Request {
        method,
        target: std::str::from_utf8(target).unwrap_or(NOT_UTF8),
        version,
        stays: !closes && (new || keeps),
        body,
        expects_continue: continues && new && !matches!(body, Body::Empty | Body::Length(0)),
        accept,
        host,
    })
}

/// The transfer codings of a message so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// `chunked` alone.
    Chunked,
    /// Codings that are not implemented, perhaps with `chunked` behind them.
    Unknown { chunked: bool },
}

/// The codings `before`, and one `element` of the list more; nothing if that is malformed. `chunked` comes
/// last and once, and has no parameters (RFC 9112, sections 6.1 and 7.1).
fn coding_after(before: Option<Coding>, element: &[u8]) -> Option<Coding> {
    let name = element.split(|&byte| byte == b';').next()?;
    let (name, is_bare) = (name.trim_ascii(), name.len() == element.len());
    let chunked = name.eq_ignore_ascii_case(b"chunked");
    match before {
        Some(Coding::Chunked | Coding::Unknown { chunked: true }) => None,
        _ if chunked && !is_bare || name.is_empty() || !name.iter().all(|&byte| is_token(byte)) => {
            None
        }
        None if chunked => Some(Coding::Chunked),
        _ => Some(Coding::Unknown { chunked }),
    }
}

/// Whether a byte may stand in a token: the name of a method, a field or a coding.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether all bytes may stand in a host and its port.
fn is_host(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| HOST_BYTES[byte as usize])
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

//! Rows about heads: request lines, fields, hosts, connections, expectations and limits.
//!
//! Owns what is sent and what has to come of it. Must not know how a row is sent. Invariant: a row's
//! name says the verdict that its columns state.

use super::{After, Row, long};
use After::{Closes, Stays, Waits};

/// Heads that are requests.
#[rustfmt::skip]
pub const GOOD: &[Row] = &[
    ("a plain GET is counted", get!("X: y"), "200", 1, Stays),
    ("line ends of LF alone are taken", "GET / HTTP/1.1\nHost: a\n\n", "200", 1, Stays),
    ("line ends may be mixed", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\n", "200", 1, Stays),
    ("blank lines before a head are no part of it", "\r\n\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("blank lines between heads are no part of either", concat!(get!("X: y"), "\r\n\n\n", get!("X: y")), "200 200", 2, Stays),
    ("pipelined heads are each counted", concat!(get!("X: 1"), get!("X: 2"), get!("X: 3")), "200 200 200", 3, Stays),
    ("an absolute-form target is taken", "GET http://a:80/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("an absolute-form target does not stand for a Host", "GET http://a/ HTTP/1.1\r\n\r\n", "400", 0, Closes),
    ("OPTIONS of everything is taken", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("an absolute-form target may end with its authority", "GET http://[::1]:80 HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("an absolute-form target may be of any scheme", "GET A+b-c.1://a?b HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("HEAD gets the head alone", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "200h", 1, Stays),
    ("HEAD between others leaves them their bodies", concat!(get!("X: y"), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", get!("X: y")), "200 200h 200", 3, Stays),
    ("HEAD of 1.0 gets the head alone", "HEAD / HTTP/1.0\r\n\r\n", "200h", 1, Closes),
    ("a head in small letters is a method of its own", "head / HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("any method is counted", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("every byte of a token may be in a method", "!#$%&'*+-.^_`|~9z / HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("PRI is a method like others in 1.1", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("trace in small letters is a method of its own", "trace / HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("HTTP/1.2 is served as 1.1", concat!("GET / HTTP/1.2\r\nHost: a\r\n\r\n", get!("X: y")), "200 200", 2, Stays),
    ("HTTP/1.9 may close and end its lines with LF", "GET / HTTP/1.9\nHost: a\nConnection: close\n\n", "200", 1, Closes),
    ("HTTP/1.2 may have a body in chunks", "POST / HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200", 1, Stays),
    ("an expectation of HTTP/1.2 is answered", "POST / HTTP/1.2\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "100 200", 1, Stays),
    ("an offer to upgrade is not taken up", get!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"), "200", 1, Stays),
    ("a value may be empty, blank or have tabs", get!("X:\r\nY: \t \r\nZ:\t a\tb \t"), "200", 1, Stays),
    ("a target may have any byte that is seen", "GET /<>\"{}|\\^`%zz? HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("a target may be text beyond ASCII", "GET /\u{fc}\u{20ac} HTTP/1.1\r\nHost: a\r\n\r\n", "200", 1, Stays),
    ("a value may be text beyond ASCII", get!("X: \u{fc}\u{20ac}"), "200", 1, Stays),
];

/// Bytes that are no head, or none of ours.
#[rustfmt::skip]
pub const BAD: &[Row] = &[
    ("the HTTP/2 preface is refused with 505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", 0, Closes),
    ("HTTP/2.0 is refused with 505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", 0, Closes),
    ("HTTP/3.0 is refused with 505", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505", 0, Closes),
    ("HTTP/0.9 by name is refused with 505", "GET / HTTP/0.9\r\n\r\n", "505", 0, Closes),
    ("nothing is counted behind a version that is not ours", concat!("GET / HTTP/2.0\n\n", get!("X: y")), "505", 0, Closes),
    ("HTTP/1.2 without a Host is refused", "GET / HTTP/1.2\r\n\r\n", "400", 0, Closes),
    ("HTTP/1.2 with a malformed field is refused", "GET / HTTP/1.2\r\nHost : a\r\n\r\n", "400", 0, Closes),
    ("HTTP/0.9 is refused with 400", "GET /\r\n", "400", 0, Closes),
    ("a method alone is refused", "GET\r\n\r\n", "400", 0, Closes),
    ("a version of two digits is refused with 400", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a version of 1 and two digits is refused with 400", "GET / HTTP/1.20\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a version without a minor one is refused with 400", "GET / HTTP/2\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a version in small letters is refused", "GET / http/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("another protocol's name is refused", "GET / RTSP/1.0\r\n\r\n", "400", 0, Closes),
    ("a blank behind the version is refused", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a blank before the method is refused", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("two blanks before the target are refused", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("two blanks before the version are refused", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("tabs in the request line are refused", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a blank in the target is refused", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a method that is no token is refused", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a CR alone before a head is refused", concat!("\r", get!("X: y")), "400", 0, Closes),
    ("a CR alone in the request line is refused", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a CR alone behind the version is refused", "GET / HTTP/1.1\rHost: a\r\n\r\n", "400", 0, Closes),
    ("a CR alone in a value is refused", get!("X: a\rb"), "400", 0, Closes),
    ("a CR alone in a name is refused", get!("X\r: a"), "400", 0, Closes),
    ("a CR alone for the last line is refused", "GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\n", "400", 0, Closes),
    ("two CRs before an LF are refused", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "400", 0, Closes),
    ("a NUL in the method is refused", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a NUL in the target is refused", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a NUL in a name is refused", get!("X\0: a"), "400", 0, Closes),
    ("a NUL in a value is refused", get!("X: a\0"), "400", 0, Closes),
    ("a DEL in the target is refused", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a DEL in a value is refused", get!("X: \x7f"), "400", 0, Closes),
    ("a vertical tab in a value is refused", get!("X: \x0b"), "400", 0, Closes),
    ("a blank before the colon is refused", get!("X : y"), "400", 0, Closes),
    ("a tab before the colon is refused", get!("X\t: y"), "400", 0, Closes),
    ("a folded value is refused", get!("X: a\r\n b"), "400", 0, Closes),
    ("a value folded by a tab is refused", get!("X: a\r\n\tb"), "400", 0, Closes),
    ("a value folded from its start is refused", get!("X:\r\n a"), "400", 0, Closes),
    ("a blank before the first name is refused", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400", 0, Closes),
    ("an empty name is refused", get!(": a"), "400", 0, Closes),
    ("a line without a colon is refused", get!("no colon"), "400", 0, Closes),
    ("a name beyond ASCII is refused", get!("\u{fc}: a"), "400", 0, Closes),
    ("a name that is no token is refused", get!("(X): a"), "400", 0, Closes),
    ("what follows a refused head is not counted", concat!(get!("X : y"), get!("X: y")), "400", 0, Closes),
    ("what comes before a refused head is counted", concat!(get!("X: y"), get!("X : y"), get!("X: y")), "200 400", 1, Closes),
    ("an SSH client is refused", "SSH-2.0-OpenSSH_9.2\r\n", "400", 0, Closes),
    ("an SMTP client is refused", "EHLO tallyd\r\nMAIL FROM:<a@b>\r\n", "400", 0, Closes),
    ("a proxy's own line is refused", concat!("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", get!("X: y")), "400", 0, Closes),
    ("a SOCKS client is refused", "\x05\x01\0", "400", 0, Closes),
    ("a method beyond ASCII is refused", "\u{81}\x05hello", "400", 0, Closes),
];

/// Targets that their methods do not take, and methods that are not implemented.
#[rustfmt::skip]
pub const TARGETS: &[Row] = &[
    ("a target without a slash is refused", "GET foo HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a relative path is refused", "GET foo/bar HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a query alone is refused", "GET ?a=b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an asterisk without OPTIONS is refused", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an asterisk is refused in 1.0", "GET * HTTP/1.0\r\n\r\n", "400", 0, Closes),
    ("an asterisk is refused in 1.2", "GET * HTTP/1.2\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an asterisk with more is refused", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an asterisk of options in small letters is refused", "options * HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("PRI of everything is refused in 1.1", "PRI * HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a fragment alone is refused", "GET #/x HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a fragment behind a path is refused", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an empty fragment is refused", "GET /# HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a fragment behind a query is refused", "GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a fragment of an absolute-form target is refused", "GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an authority without CONNECT is refused", "GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a scheme without an authority is refused", "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an empty authority is refused", "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an authority that is a port is refused", "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an authority with a user is refused", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("an empty scheme is refused", "GET ://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a scheme that begins with a digit is refused", "GET 1a://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a scheme with a slash is refused", "GET a/b://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("a URN is refused", "GET urn:a:b HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT is refused with 501", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "501", 0, Closes),
    ("CONNECT of 1.0 is refused with 501", "CONNECT a:443 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "501", 0, Closes),
    ("nothing is counted behind a CONNECT", concat!("CONNECT [::1]:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", get!("X: y")), "501", 0, Closes),
    ("CONNECT to a path is refused", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT without a port is refused", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT to an empty port is refused", "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT to a port past 16 bits is refused", "CONNECT a:65536 HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT to no host is refused", "CONNECT :80 HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("CONNECT without a Host is refused with 400", "CONNECT a:443 HTTP/1.1\r\n\r\n", "400", 0, Closes),
    ("connect in small letters is a method of its own", "connect a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("TRACE is refused with 501", "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "501", 0, Closes),
    ("nothing is counted behind a TRACE", concat!("TRACE http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", get!("X: y")), "501", 0, Closes),
    ("TRACE of everything is refused with 400", "TRACE * HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0, Closes),
    ("what comes before a CONNECT is counted", concat!(get!("X: y"), "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), "200 501", 1, Closes),
];

/// What names the host, and what the connection is to become.
#[rustfmt::skip]
pub const HOST_AND_CONNECTION: &[Row] = &[
    ("a 1.1 head without a Host is refused", "GET / HTTP/1.1\r\n\r\n", "400", 0, Closes),
    ("a Host twice is refused", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", 0, Closes),
    ("an equal Host twice is refused", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "400", 0, Closes),
    ("a Host twice is refused in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400", 0, Closes),
    ("an empty Host is one", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "200", 1, Stays),
    ("a Host may have a port", "GET / HTTP/1.1\r\nHost: a.b-c:8080\r\n\r\n", "200", 1, Stays),
    ("a Host may be an IPv6 address", "GET / HTTP/1.1\r\nHOST: [::1]:80\r\n\r\n", "200", 1, Stays),
    ("a Host with a blank is refused", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400", 0, Closes),
    ("a list of Hosts is refused", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "400", 0, Closes),
    ("a Host with a path is refused", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", 0, Closes),
    ("a Host with a user is refused", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400", 0, Closes),
    ("a Host beyond ASCII is refused", "GET / HTTP/1.1\r\nHost: \u{fc}\r\n\r\n", "400", 0, Closes),
    ("a malformed Host is refused in 1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", "400", 0, Closes),
    ("a blank behind the name of the Host is refused", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400", 0, Closes),
    ("a 1.0 connection ends with its answer", "GET / HTTP/1.0\r\n\r\n", "200", 1, Closes),
    ("nothing is counted behind a 1.0 head", "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", "200", 1, Closes),
    ("a 1.0 connection stays if it is asked to", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", 1, Stays),
    ("keep-alive in a list keeps a 1.0 connection", "GET / HTTP/1.0\r\nConnection: x ,\tKEEP-ALIVE\t, y\r\n\r\n", "200", 1, Stays),
    ("close beside keep-alive ends a 1.0 connection", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "200", 1, Closes),
    ("keep-alive within a word keeps no 1.0 connection", "GET / HTTP/1.0\r\nConnection: keep-alives\r\n\r\n", "200", 1, Closes),
    ("another header keeps no 1.0 connection", "GET / HTTP/1.0\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\n", "200", 1, Closes),
    ("keep-alive is what 1.1 does anyway", get!("Connection: keep-alive"), "200", 1, Stays),
    ("close ends a 1.1 connection", get!("Connection: close"), "200", 1, Closes),
    ("close in a list ends a 1.1 connection", get!("Connection: x,, \tCLOSE ,y"), "200", 1, Closes),
    ("close in a second line ends a 1.1 connection", get!("Connection: keep-alive\r\nConnection: close"), "200", 1, Closes),
    ("close within a word ends nothing", get!("Connection: closed, not-close, \"close\""), "200", 1, Stays),
    ("nothing is counted behind a close", concat!(get!("Connection: close"), get!("X: y")), "200", 1, Closes),
    ("what is malformed behind a close is not answered", concat!(get!("Connection: close"), "\0"), "200", 1, Closes),
    ("versions may change on one connection", concat!(get!("X: y"), "GET / HTTP/1.0\nConnection: keep-alive\n\n", get!("X: y")), "200 200 200", 3, Stays),
    ("an expectation without a body is not answered", get!("Expect: 100-continue"), "200", 1, Stays),
    ("an expectation with an empty body is not answered", post!("Expect: 100-continue\r\nContent-Length: 0", ""), "200", 1, Stays),
    ("an expectation with a body is answered", post!("Expect: 100-continue\r\nContent-Length: 2", "hi"), "100 200", 1, Stays),
    ("an expectation with chunks is answered", post!("Expect: 100-Continue\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), "100 200", 1, Stays),
    ("an expectation is answered before the body comes", post!("Expect: 100-continue\r\nContent-Length: 2", ""), "100 200", 1, Waits),
    ("an expectation of 1.0 is not answered", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "200", 1, Closes),
    ("an unknown expectation is passed over", post!("Expect: the-unexpected\r\nContent-Length: 2", "hi"), "200", 1, Stays),
    ("an expectation of a body past its bound is answered", post!("Expect: 100-continue\r\nContent-Length: 101", ""), "100 200", 1, Waits),
    ("an expectation in a refused head is not answered", post!("Expect: 100-continue\r\nContent-Length: x", ""), "400", 0, Closes),
];

/// Heads that do not end, and those at their limits.
pub fn at_the_limits() -> Vec<(&'static str, Vec<u8>, &'static str, u64, After)> {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice();
    let fields = |count: usize| {
        let others = "X: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{others}\r\n").into_bytes()
    };
    let target = |bytes: usize| {
        let target = "/".to_owned() + &"t".repeat(bytes - 1);
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
    };
    let latin = |before: &str, after: &str| [before.as_bytes(), b"\xfc", after.as_bytes()].concat();
    let hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\xd1\r\n\r\n".to_vec();
    let blanks = [b"\n".repeat(5_000), get!("X: y").into()].concat();
    #[rustfmt::skip]
    let rows = vec![
        ("a TLS client is refused", hello, "400", 0, Closes),
        ("a value of bytes that are no text is taken", latin("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"), "200", 1, Stays),
        ("a target of bytes that are no text is taken", latin("GET /", " HTTP/1.1\r\nHost: a\r\n\r\n"), "200", 1, Stays),
        ("a target of bytes that are no text is taken in 1.2", latin("GET /", " HTTP/1.2\nHost: a\n\n"), "200", 1, Stays),
        ("a target that begins with such a byte is refused", latin("GET ", "/ HTTP/1.1\r\nHost: a\r\n\r\n"), "400", 0, Closes),
        ("an authority with such a byte is refused", latin("GET http://", "/ HTTP/1.1\r\nHost: a\r\n\r\n"), "400", 0, Closes),
        ("a fragment behind such a byte is refused", latin("GET /", "#a HTTP/1.1\r\nHost: a\r\n\r\n"), "400", 0, Closes),
        ("a version that is not ours behind such a byte is refused with 505", latin("GET /", " HTTP/2.0\r\n"), "505", 0, Closes),
        ("headers past their number behind such a byte are refused with 431", [latin("GET /", " HTTP/1.1\r\n"), b"X: y\r\n".repeat(11)].concat(), "431", 0, Closes),
        ("blank lines without end are no head", b"\r\n".repeat(5_000), "", 0, Stays),
        ("blank lines do not count towards a head's bytes", blanks, "200", 1, Stays),
        ("a head of all the bytes there may be is taken", long(head, 1_024 - 4, b"\r\n\r\n"), "200", 1, Stays),
        ("a head of one byte more is refused with 431", long(head, 1_025 - 4, b"\r\n\r\n"), "431", 0, Closes),
        ("a value without end is refused with 431", long(head, 5_000, b""), "431", 0, Closes),
        ("a name without end is refused with 431", long(b"GET / HTTP/1.1\r\nHost: a\r\nX", 5_000, b""), "431", 0, Closes),
        ("a method without end is refused with 431", long(b"GET", 5_000, b""), "431", 0, Closes),
        ("blanks without end in a value are refused with 431", [head, &[b' '; 5_000]].concat(), "431", 0, Closes),
        ("as many headers as there may be are taken", fields(10), "200", 1, Stays),
        ("one header more is refused with 431", fields(11), "431", 0, Closes),
        ("headers without end are refused with 431", fields(300), "431", 0, Closes),
        ("a target of all the bytes there may be is taken", target(512), "200", 1, Stays),
        ("a target of one byte more is refused with 414", target(513), "414", 0, Closes),
        ("a target without end is refused with 414", long(b"GET /", 5_000, b""), "414", 0, Closes),
        ("a long target is refused before a strange version", [&target(600)[..607], b"2.0\r\n"].concat(), "414", 0, Closes),
        ("what is counted before a head without end stays so", [get!("X: y").as_bytes(), head, &[b'x'; 5_000]].concat(), "200 431", 1, Closes),
        ("no bytes at all owe nothing", Vec::new(), "", 0, Stays),
        ("a head cut short is not counted", b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), "", 0, Waits),
        ("a head that lacks its last byte is not counted", b"GET / HTTP/1.1\r\nHost: a\r\n\r".to_vec(), "", 0, Waits),
        ("a head cut short behind another is not counted", [get!("X: y").as_bytes(), b"GET"].concat(), "200", 1, Waits),
        ("half a blank line owes nothing", b"\r".to_vec(), "", 0, Waits),
    ];
    rows
}

//! Heads good and bad, by table and by chance.
//!
//! Owns the verdict on each head that a rule speaks of. Must not know how the verdict is reached.
//!
//! Invariant: every head here is also judged at each of its prefixes, so no case holds for one way
//! of cutting only.

mod cases;
mod chance;

use super::*;
use cases::{BAD_HEADS, GOOD, NOT_IMPLEMENTED, smuggling_heads};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 16 * 1024,
    target_bytes_max: 8 * 1024,
    headers_max: 100,
};

const BAD: Head<'static> = Head::Refused(Refusal::BadRequest);

fn judged(input: &[u8]) -> Head<'_> {
    parse(input, &LIMITS)
}

/// The request of a head that must be complete.
fn complete(head: &[u8]) -> Request<'_> {
    match judged(head) {
        Head::Complete { request, bytes } => {
            assert_eq!(bytes, head.len(), "{}", head.escape_ascii());
            request
        }
        other => panic!("{}: {other:?}", head.escape_ascii()),
    }
}

/// Once there is a verdict it stays, whatever follows.
fn assert_final(input: &[u8], limits: &HeadLimits, cuts: impl Iterator<Item = usize>, note: &str) {
    let whole = parse(input, limits);
    for cut in cuts {
        match parse(&input[..cut], limits) {
            Head::Partial => {}
            early => assert_eq!(early, whole, "{note}: {cut} of {}", input.escape_ascii()),
        }
    }
}

#[test]
fn good_heads_are_complete_and_say_what_they_say() {
    for &(head, stays, body, expects_continue) in GOOD {
        let request = complete(head);
        let found = (request.stays, request.body, request.expects_continue);
        assert_eq!(
            found,
            (stays, body, expects_continue),
            "{}",
            head.escape_ascii()
        );
    }
}

#[test]
fn bad_heads_are_refused_with_400() {
    for head in BAD_HEADS {
        assert_eq!(judged(head), BAD, "{}", head.escape_ascii());
    }
}

#[test]
fn methods_and_codings_that_are_not_implemented_are_refused_with_501() {
    for head in NOT_IMPLEMENTED {
        let refused = Head::Refused(Refusal::NotImplemented);
        assert_eq!(judged(head), refused, "{}", head.escape_ascii());
        assert_final(head, &LIMITS, 0..head.len(), "501");
    }
}

#[test]
fn heads_that_two_servers_may_read_differently_are_refused() {
    for head in smuggling_heads() {
        assert_eq!(judged(&head), BAD, "{}", head.escape_ascii());
    }
}

#[test]
fn chunks_are_refused_before_version_1_1() {
    for line in ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"] {
        let head = format!("POST / HTTP/1.0\r\nHost: a\r\n{line}\r\n\r\n");
        assert_eq!(judged(head.as_bytes()), BAD, "{head:?}");
    }
}

#[test]
fn every_prefix_of_a_good_head_is_partial() {
    for (head, ..) in GOOD {
        for cut in 0..head.len() {
            let prefix = &head[..cut];
            assert_eq!(judged(prefix), Head::Partial, "{}", prefix.escape_ascii());
        }
    }
}

#[test]
fn what_follows_a_good_head_is_left_alone() {
    let mut followers: Vec<&[u8]> = vec![b"\0", b" ", b"\r\n", b"\n", b"\xff\xff", &[b'x'; 20_000]];
    followers.extend(BAD_HEADS);
    followers.extend(GOOD.iter().map(|good| good.0));
    for (head, ..) in GOOD {
        let alone = judged(head);
        for follower in &followers {
            let both = [head, *follower].concat();
            assert_eq!(judged(&both), alone, "{}", both.escape_ascii());
        }
    }
}

#[test]
fn a_refusal_does_not_depend_on_how_the_bytes_were_cut() {
    let smuggling = smuggling_heads();
    let heads = BAD_HEADS.iter().copied();
    for head in heads.chain(smuggling.iter().map(Vec::as_slice)) {
        let followed = [head, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_final(&followed, &LIMITS, 0..followed.len(), "table");
    }
}

#[test]
fn what_can_be_seen_to_be_wrong_is_refused_before_the_head_ends() {
    #[rustfmt::skip]
    let early: &[&[u8]] = &[
        b"\x16", b" ", b"\t", b"\0", b"\rx", b"\xef", b"GET\r", b"GET /\r", b"GET  ", b"GET / x", b"GET / HTTP/x",
        b"GET / HTTP/1x", b"GET / HTTP/2.00", b"GET / HTTP/1.20", b"GET / HTTP/1.2\r\n ", b"GET /\xfc\0", b"GET / HTTP/1.1 ", b"GET / HTTP/1.1\rx", b"GET / HTTP/1.1\r\n ",
        b"GET / HTTP/1.1\r\nHost ", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0", b"GET / HTTP/1.1\r\nHost: a\rx",
        b"GET / HTTP/1.1\r\nHost: a\r\n ", b"GET / HTTP/1.1\r\nHost: a\r\nX\r",
    ];
    for head in early {
        assert_eq!(judged(head), BAD, "{}", head.escape_ascii());
        let before = &head[..head.len() - 1];
        assert_eq!(judged(before), Head::Partial, "{}", before.escape_ascii());
    }
}

#[test]
fn versions_that_are_not_spoken_are_refused_with_505() {
    #[rustfmt::skip]
    let heads: &[&[u8]] = &[
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET / HTTP/2.0\n\n", b"GET / HTTP/3.0\r\n",
        b"GET / HTTP/0.9\r\n", b"GET / HTTP/0.1\n", b"GET /\xfc HTTP/2.1\n", b"GET / HTTP/9.9\r\n", b"\r\nGET / HTTP/2.0\r\n",
        b"\n\nPOST http://a/\xc3\xbc HTTP/0.0\r\nContent-Length: x\r\n",
    ];
    for head in heads {
        let refused = Head::Refused(Refusal::VersionUnknown);
        assert_eq!(judged(head), refused, "{}", head.escape_ascii());
        assert_final(head, &LIMITS, 0..head.len(), "505");
    }
    for cut in 0..b"GET / HTTP/2.0\r\n".len() {
        assert_eq!(judged(&b"GET / HTTP/2.0\r\n"[..cut]), Head::Partial);
    }
}

#[test]
fn method_target_version_and_accept_are_handed_on() {
    let request = complete(b"\r\nPURGE http://a/b?c HTTP/1.0\r\naccept: text/html \xff\r\n\r\n");
    assert_eq!((request.method, request.target), ("PURGE", "http://a/b?c"));
    assert_eq!(request.version, Version::Http10);
    assert_eq!(request.accept, Some(&b"text/html \xff"[..]));
    let request = complete(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept: y\r\n\r\n");
    assert_eq!(request.version, Version::Http11);
    assert_eq!(request.accept, Some(&b"x"[..]), "the first one");
    assert_eq!(complete(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").accept, None);
    let request = complete(b"PUT /\xfc HTTP/1.2\r\nHost: a\r\nAccept: x\r\n\r\n");
    assert_eq!((request.method, request.target), ("PUT", NOT_UTF8));
    assert_eq!(request.version, Version::Http11);
    assert_eq!(request.accept, Some(&b"x"[..]));
}

/// A head with this many headers, `Host` among them.
fn with_headers(count: usize) -> Vec<u8> {
    let others = "X: y\r\n".repeat(count - 1);
    format!("GET / HTTP/1.1\r\nHost: a\r\n{others}\r\n").into_bytes()
}

#[test]
fn a_head_with_more_headers_than_allowed_is_refused_with_431() {
    complete(&with_headers(LIMITS.headers_max));
    let refused = Head::Refused(Refusal::HeadTooLarge);
    let head = with_headers(LIMITS.headers_max + 1);
    assert_eq!(judged(&head), refused);
    assert_eq!(judged(&head[..head.len() - 2]), refused, "before its end");
    assert_eq!(judged(&head[..head.len() - 3]), Head::Partial);
    assert_final(&with_headers(200), &LIMITS, 0..1_000, "headers");
}

#[test]
fn a_head_of_just_the_allowed_bytes_is_complete_and_one_byte_more_is_refused() {
    let mut head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(LIMITS.head_bytes_max - 4, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    complete(&head);
    assert!(
        matches!(judged(&[&head[..], b"more"].concat()), Head::Complete { bytes, .. } if bytes == head.len())
    );
    head.insert(head.len() - 4, b'x');
    let refused = Head::Refused(Refusal::HeadTooLarge);
    assert_eq!(judged(&head), refused, "complete");
    let full = &head[..LIMITS.head_bytes_max];
    assert_eq!(judged(full), refused, "a full buffer is never left partial");
    assert_eq!(judged(&full[1..]), Head::Partial);
}

#[test]
fn endless_blank_lines_methods_and_headers_are_refused_with_431() {
    let refused = Head::Refused(Refusal::HeadTooLarge);
    assert_eq!(judged(&b"\r\n".repeat(10_000)), refused);
    assert_eq!(judged(&b"\n".repeat(16 * 1024)), refused);
    assert_eq!(judged(&b"\n".repeat(16 * 1024 - 1)), Head::Partial);
    assert_eq!(judged(&b"A".repeat(20_000)), refused);
    let name = [b"GET / HTTP/1.1\r\n".as_slice(), &[b'n'; 20_000]].concat();
    assert_eq!(judged(&name), refused);
    let spaces = [b"GET / HTTP/1.1\r\nX:".as_slice(), &[b' '; 20_000]].concat();
    assert_eq!(judged(&spaces), refused);
}

#[test]
fn what_stands_behind_the_limit_changes_no_verdict() {
    let limits = HeadLimits {
        head_bytes_max: 24,
        target_bytes_max: 10,
        headers_max: 100,
    };
    for tail in [&b"\0"[..], b" y", b"\r\n\r\n", b": a\r\n\r\n"] {
        let head = [b"GET / HTTP/1.1\r\nHost: abcd", tail].concat();
        assert_eq!(
            parse(&head, &limits),
            Head::Refused(Refusal::HeadTooLarge),
            "{tail:?}"
        );
    }
}

#[test]
fn a_target_longer_than_allowed_is_refused_with_414_as_soon_as_it_is() {
    let refused = Head::Refused(Refusal::TargetTooLong);
    let longest = "/".to_owned() + &"t".repeat(LIMITS.target_bytes_max - 1);
    complete(format!("GET {longest} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let partial = format!("\r\n\nGET {longest}");
    assert_eq!(judged(partial.as_bytes()), Head::Partial);
    let rests = [
        "t",
        "tt\0",
        "\u{fc}",
        "t HTTP/1.1\r\nHost: a\r\n\r\n",
        "t HTTP/2.0\r\n",
        "t x\r\n",
        "t HTTP/1.1\r\nno header\r\n",
    ];
    for rest in rests {
        let head = partial.clone() + rest;
        assert_eq!(judged(head.as_bytes()), refused, "{rest:?}");
        assert_final(
            head.as_bytes(),
            &LIMITS,
            partial.len()..head.len(),
            "target",
        );
    }
    assert_eq!(
        judged((partial + "\0").as_bytes()),
        BAD,
        "not longer, but wrong"
    );
    for wrong in ["\0", "\x7f", "\t", "\r", "\n"] {
        let head = format!("GET /{wrong}{longest}");
        assert_eq!(judged(head.as_bytes()), BAD, "wrong before it is too long");
    }
}

/// Every byte at every place of a part, so that no width at which `httparse` reads has a gap.
#[track_caller]
fn assert_bytes(before: &[u8], after: &[u8], allowed: impl Fn(u8) -> bool) {
    for length in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 65] {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                let mut part = vec![b'a'; length];
                part[place] = byte;
                let head = [before, &part, after].concat();
                let found = judged(&head);
                let good = matches!(found, Head::Complete { bytes, .. } if bytes == head.len());
                assert_eq!(good, allowed(byte), "{found:?}: {}", head.escape_ascii());
            }
        }
    }
}

#[test]
fn a_method_is_a_token_at_every_place() {
    // A blank line may come before, and a space inside starts the target, which is another fault.
    let allowed = |byte| is_token(byte);
    assert_bytes(b"G", b" / HTTP/1.1\r\nHost: a\r\n\r\n", allowed);
}

#[test]
fn a_target_has_no_control_byte_at_any_place() {
    let allowed = |byte| byte > b' ' && byte != 0x7f && byte != b'#';
    assert_bytes(b"GET /", b" HTTP/1.1\r\nHost: a\r\n\r\n", allowed);
}

#[test]
fn a_header_name_is_a_token_at_every_place() {
    let allowed = |byte| is_token(byte) || byte == b':';
    assert_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nX", b": y\r\n\r\n", allowed);
}

#[test]
fn a_header_value_has_no_control_byte_but_the_tab_at_any_place() {
    let before = b"GET / HTTP/1.1\r\nHost: a\r\nX:";
    // A line feed ends the line; what follows is no header line then.
    let allowed = |byte| byte == b'\t' || byte >= b' ' && byte != 0x7f;
    assert_bytes(before, b"!\x20\r\n\r\n", allowed);
}

#[test]
fn a_host_has_the_bytes_of_a_host_at_every_place() {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(&byte);
    assert_bytes(b"GET / HTTP/1.1\r\nHost: a", b"a\r\n\r\n", allowed);
}

#[test]
fn statuses_have_their_registered_codes_and_reasons() {
    let all = [
        (Refusal::BadRequest, 400, "Bad Request"),
        (Refusal::TimedOut, 408, "Request Timeout"),
        (Refusal::TargetTooLong, 414, "URI Too Long"),
        (
            Refusal::HeadTooLarge,
            431,
            "Request Header Fields Too Large",
        ),
        (Refusal::NotImplemented, 501, "Not Implemented"),
        (Refusal::Unavailable, 503, "Service Unavailable"),
        (Refusal::VersionUnknown, 505, "HTTP Version Not Supported"),
    ];
    for (refusal, code, reason) in all {
        assert_eq!((refusal.code(), refusal.reason()), (code, reason));
    }
}

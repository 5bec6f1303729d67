//! The conversation with a client against a model of it: streams by chance, equal answers and counts.
//!
//! Owns how streams are made: requests put together from parts good and bad, then bytes changed, cut
//! out, repeated and moved, and the whole cut into pieces. Every seed is one stream under one set of
//! limits; `scripts/differential` goes through a million and more.
//!
//! Must not know what is right: that is the model's. Invariant: equal seeds make equal streams.

mod support;

#[path = "differential/model.rs"]
mod model;

use std::cell::RefCell;
use std::collections::BTreeMap;
use support::seed::{Chance, asked_for, count, for_seeds};
use support::talking::tell;
use tallyd::front::pool::limits::Limits;
use tallyd::front::pool::talk::Answer;

/// Streams in a run that nobody has asked more of: a few seconds without optimization.
const STREAMS: u64 = 200_000;

const METHODS: &[&[u8]] = &[
    b"GET", b"POST", b"HEAD", b"CONNECT", b"OPTIONS", b"TRACE", b"G", b"!~", b"(", b"",
];
const TARGETS: &[&[u8]] = &[
    b"/",
    b"http://a/b?c",
    b"*",
    b"a:80",
    b"a:99999",
    b":80",
    b"/a#b",
    b"foo",
    b"?a",
    b"h://[::1]:80",
    b"http://u@a/",
    b"http:///a",
    b"http://\xff/",
    b"urn:a",
    b"/\xc3\xbc",
    b"/\xff",
    b"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"",
];
const VERSIONS: &[&[u8]] = &[
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/1.10",
    b"http/1.1",
    b"",
];
const LINE_ENDS: &[&[u8]] = &[b"\n", b"\r", b"\r\r\n", b"\n\n", b""];
const FIELDS: &[&[u8]] = &[
    b"X: y",
    b"X: y",
    b"X: \xff\t ",
    b"Accept:",
    b"Expect: 100-continue",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Host: a",
    b"Host:",
    b"Host: [::1]:80",
    b"Host: a b",
    b"host: b",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length: 05",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: 21",
    b"Content-Length: 18446744073709551616",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:Chunked ",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: gzip;q=1",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: chunked, x",
    b"Transfer-Encoding: ,",
    b"Transfer-Encoding: identity",
    b"Connection: x ,\tClose",
    b"Connection: keep-alive,close",
    b"Expect: x",
    b"X : y",
    b": y",
    b" folded",
    b"no colon",
    b"X: \0",
];
const BODIES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n",
    b"1\r\na\r\n1\t; x\r\nb\r\n00\r\n\r\n",
    b"hello",
    b"5\r\nhello",
    b"15\r\n012345678901234567890\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"g\r\n",
    b"0\r\n",
    b"0;\r\n\r\n",
    b"0\r\nX: y\r\nY:\r\n\r\n",
    b"000000000000000000000A\r\n0123456789\r\n0\r\n\r\n",
    b"1 \r\na\r\n0\r\n\r\n",
];
const BITS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0",
    b"5",
    b"f",
    b"A",
    b"/",
    b"HTTP/1.1",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n ",
    b"chunked",
];

fn limits(chance: &mut Chance) -> Limits {
    let (head_bytes_max, headers_max, body_bytes_max) = chance.pick(&[
        (4_096, 100, 1_000),
        (400, 10, 40),
        (120, 4, 20),
        (48, 2, 3),
        (200, 3, 0),
    ]);
    Limits {
        head_bytes_max,
        headers_max,
        body_bytes_max,
        ..Limits::DEFAULT
    }
}

/// One of the usual ones, and rarely one of all.
fn mostly(chance: &mut Chance, usual: usize, all: &[&'static [u8]]) -> &'static [u8] {
    let of = if chance.once(30) { all } else { &all[..usual] };
    chance.pick(of)
}

/// A body in chunks whose size is near the largest, or with a long chunk line, or with long trailers.
fn edge(chance: &mut Chance) -> Vec<u8> {
    let fill = |byte: &str, around: u64, chance: &mut Chance| {
        byte.repeat(chance.between(around - 8, around + 2) as usize)
    };
    let body = match chance.upto(3) {
        0 => format!("{}\r\n", fill("1", 18, chance)),
        1 => format!("{}2\r\nhi\r\n0\r\n\r\n", fill("0", 256, chance)),
        2 => format!("0;{}\r\n\r\n", fill("x", 256, chance)),
        _ => format!("0\r\nX:{}\r\n\r\n", fill("y", 4096, chance)),
    };
    body.into_bytes()
}

/// Appends one request: mostly a good one, with a body that mostly is the announced one.
fn request(chance: &mut Chance, stream: &mut Vec<u8>) {
    let line_end = |chance: &mut Chance| match chance.upto(300) {
        0 => chance.pick(LINE_ENDS),
        1..40 => b"\n",
        _ => b"\r\n",
    };
    stream.extend(mostly(chance, 3, METHODS));
    stream.extend(b" ");
    stream.extend(mostly(chance, 2, TARGETS));
    stream.extend(b" ");
    stream.extend(mostly(chance, 4, VERSIONS));
    stream.extend(line_end(chance));
    if !chance.once(40) {
        stream.extend(b"Host: a");
        stream.extend(line_end(chance));
    }
    for _ in 0..chance.span(6) {
        stream.extend(mostly(chance, 7, FIELDS));
        stream.extend(line_end(chance));
    }
    const CHUNKED: &[u8] = b"Transfer-Encoding: chunked";
    let (framing, body): (&[u8], Vec<u8>) = match chance.upto(5) {
        0 => (b"Content-Length: 5", b"hello".to_vec()),
        1 | 2 if chance.once(10) => (CHUNKED, edge(chance)),
        1 | 2 => (CHUNKED, mostly(chance, 4, BODIES).to_vec()),
        _ => (b"", Vec::new()),
    };
    if !framing.is_empty() {
        stream.extend(framing);
        stream.extend(line_end(chance));
    }
    stream.extend(line_end(chance));
    stream.extend(body);
    if chance.once(20) {
        stream.extend(chance.pick(BODIES));
    }
}

/// Changes something somewhere.
fn mutate(chance: &mut Chance, stream: &mut Vec<u8>) {
    let place = chance.upto(stream.len() as u64) as usize;
    let end = stream.len().min(place + chance.span(40) as usize);
    match chance.upto(6) {
        0 => drop(stream.splice(place..end, [])),
        1 => drop(stream.splice(place..place, chance.pick(BITS).iter().copied())),
        2 if place < stream.len() => stream[place] = chance.next() as u8,
        3 if place < stream.len() => {
            drop(stream.splice(place..=place, chance.pick(BITS).iter().copied()))
        }
        4 if chance.once(2) => stream.truncate(place),
        4 => stream.truncate(stream.len().saturating_sub(chance.upto(12) as usize)),
        5 => {
            let piece = stream[place..end].to_vec();
            let times = 1 + chance.span(300) as usize;
            drop(stream.splice(
                place..place,
                piece.repeat(times.min(1 + 5_000 / (piece.len() + 1))),
            ));
        }
        _ => {
            let piece = stream[place..end].to_vec();
            let to = chance.upto(stream.len() as u64) as usize;
            drop(stream.splice(to..to, piece));
        }
    }
}

/// The stream that `chance` makes.
fn stream(chance: &mut Chance) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..chance.between(1, 4) {
        request(chance, &mut stream);
    }
    for _ in 0..chance.span(3) {
        mutate(chance, &mut stream);
    }
    stream
}

/// `stream` in pieces: whole, in bytes, or cut a few times.
fn pieces<'a>(chance: &mut Chance, stream: &'a [u8]) -> Vec<&'a [u8]> {
    if stream.len() < 400 && chance.once(8) {
        return stream.chunks(1).collect();
    }
    let mut pieces = Vec::new();
    let mut rest = stream;
    for _ in 0..chance.upto(3) {
        let (piece, behind) = rest.split_at(chance.upto(rest.len() as u64) as usize);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

#[test]
fn every_stream_is_answered_and_counted_as_the_model_says() {
    let seen: RefCell<BTreeMap<String, u64>> = RefCell::default();
    for_seeds(count(STREAMS), |seed| {
        let mut chance = Chance::new(seed);
        let limits = limits(&mut chance);
        let stream = stream(&mut chance);
        let room = chance.pick(&[1, 2, 3, 64]);
        let told = tell(pieces(&mut chance, &stream), &limits, room);
        let expected = model::expected(&stream, &limits);
        assert_eq!(
            told,
            expected,
            "left: the server, right: the model; {limits:?}: {}",
            stream.escape_ascii()
        );
        let mut seen = seen.borrow_mut();
        let mut see = |what: String| *seen.entry(what).or_default() += 1;
        see(format!("{:?}, closes: {}", told.owes, told.closes));
        for answer in &told.answers {
            see(match answer {
                Answer::Response(form) => format!("hit, stays: {}", form.stays),
                Answer::Continue => "continue".to_owned(),
                Answer::Refused(refusal) => refusal.code().to_string(),
            });
        }
    });
    let seen = seen.into_inner();
    println!("{seen:#?}");
    if asked_for().is_none() && count(STREAMS) >= STREAMS {
        let rarest = seen.values().min().expect("streams");
        assert!(
            seen.len() >= 12 && *rarest >= 50,
            "every verdict is met: {seen:#?}"
        );
    }
}

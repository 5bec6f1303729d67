//! Bodies good and bad, and every way to cut them.
//!
//! Owns the outcome of each body that a rule speaks of. Must not know how it is reached.
//!
//! Invariant: each body is read at once and in pieces, with the same outcome.

use super::*;

/// Feeds pieces until the end of the body or of the bytes.
fn read<'a>(mut drain: Drain, pieces: impl Iterator<Item = &'a [u8]>) -> (usize, Drained) {
    let mut total = 0;
    let mut last = drain.feed(b"").1;
    for piece in pieces {
        let (consumed, drained) = drain.feed(piece);
        total += consumed;
        last = drained;
        if drained != Drained::More {
            break;
        }
        assert_eq!(consumed, piece.len(), "More means that all was taken");
    }
    assert_eq!(drain.is_done(), last == Drained::Done);
    (total, last)
}

/// The outcome at once, in single bytes, and for every cut in two.
#[track_caller]
fn outcome(body: Body, bytes: &[u8]) -> (usize, Drained) {
    let drain = Drain::new(body);
    let whole = read(drain, [bytes].into_iter());
    assert_eq!(
        read(drain, bytes.chunks(1)),
        whole,
        "{}",
        bytes.escape_ascii()
    );
    for cut in 0..=bytes.len() {
        let (front, back) = bytes.split_at(cut);
        let cut_in_two = read(drain, [front, back].into_iter());
        assert_eq!(cut_in_two, whole, "{cut} of {}", bytes.escape_ascii());
    }
    whole
}

#[rustfmt::skip]
const GOOD: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"000\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"a\r\n0123456789\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n",
    b"0000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"1\r\n\r\r\n2\r\n\r\n\r\n0\r\n\r\n",
    b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    b"1\r\n\0\r\n1\r\n\xff\r\n0\r\n\r\n",
    b"5;x\r\nhello\r\n0\r\n\r\n",
    b"5;x=y;z=\"q \t;\"\r\nhello\r\n0;last\r\n\r\n",
    b"5 ;x\r\nhello\r\n0\r\n\r\n",
    b"5\t ; x=\xfc\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\t \t\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\nX:\r\nY: \t\xff\r\n\r\n",
    b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n0\r\n\r\n",
];

#[rustfmt::skip]
const BAD: &[(&[u8], usize)] = &[
    // Sizes.
    (b"\r\n", 0),
    (b"\n", 0),
    (b" 5\r\nhello", 0),
    (b"\t5\r\n", 0),
    (b"+5\r\n", 0),
    (b"-5\r\n", 0),
    (b"-0\r\n\r\n", 0),
    (b"0x5\r\n", 1),
    (b"0X5\r\n", 1),
    (b"x5\r\n", 0),
    (b"5h\r\n", 1),
    (b"5g\r\n", 1),
    (b"g\r\n", 0),
    (b"5_0\r\n", 1),
    (b"5,5\r\n", 1),
    (b"\"5\"\r\n", 0),
    (b";x\r\n", 0),
    (b"\0", 0),
    (b"\xd9\xa5\r\n", 0),
    (b"5 \nhello\r\n0\r\n\r\n", 2),
    (b"zz\r\n", 0),
    (b"5 5\r\n", 2),
    (b"5\t\r\r\n", 3),
    (b"10000000000000000\r\n", 16),
    (b"ffffffffffffffff0\r\n", 16),
    (b"00fffffffffffffffff\r\n", 18),
    // Line ends.
    (b"5\nhello\r\n0\r\n\r\n", 1),
    (b"5\rhello\r\n", 2),
    (b"5\r\r\n", 2),
    (b"0\n\n", 1),
    (b"0\r\n\n", 3),
    (b"0\r\n\r\r\n", 4),
    (b"0\r\n\rX", 4),
    (b"5;x\nhello", 3),
    (b"5;x\ry\r\n", 4),
    (b"5;\0\r\n", 2),
    (b"5;a\x0bb\r\n", 3),
    (b"5;a\x7f\r\n", 3),
    (b"5\r\nhello\n0\r\n\r\n", 8),
    (b"5\r\nhello0\r\n\r\n", 8),
    (b"5\r\nhello!\r\n0\r\n\r\n", 8),
    (b"5\r\nhello\r0\r\n", 9),
    (b"5\r\nhell\r\n0\r\n\r\n", 8),
    // Trailers.
    (b"0\r\nX\r\n\r\n", 4),
    (b"0\r\n: y\r\n\r\n", 3),
    (b"0\r\nX : y\r\n\r\n", 4),
    (b"0\r\n X: y\r\n\r\n", 3),
    (b"0\r\nX: y\r\n z\r\n\r\n", 9),
    (b"0\r\nX: y\n\r\n", 7),
    (b"0\r\nX: y\rz\r\n", 8),
    (b"0\r\nX: \0\r\n\r\n", 6),
    (b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 6),
];

#[test]
fn good_chunked_bodies_end_where_they_end() {
    for body in GOOD {
        let expected = (body.len(), Drained::Done);
        assert_eq!(
            outcome(Body::Chunked, body),
            expected,
            "{}",
            body.escape_ascii()
        );
        for follower in [&b"GET / HTTP/1.1\r\n"[..], b"\r\n", b"0", b"\0"] {
            let both = [body, follower].concat();
            assert_eq!(
                outcome(Body::Chunked, &both),
                expected,
                "{}",
                both.escape_ascii()
            );
        }
        for cut in 0..body.len() {
            let prefix = outcome(Body::Chunked, &body[..cut]);
            assert_eq!(prefix, (cut, Drained::More), "{}", body.escape_ascii());
        }
    }
}

#[test]
fn bad_chunked_bodies_are_malformed_from_the_byte_that_spoils_them() {
    for &(body, spoiled_at) in BAD {
        let expected = (spoiled_at, Drained::Malformed);
        assert_eq!(
            outcome(Body::Chunked, body),
            expected,
            "{}",
            body.escape_ascii()
        );
    }
}

#[test]
fn bodies_without_bytes_are_done_at_once() {
    for body in [Body::Empty, Body::Length(0)] {
        assert!(Drain::new(body).is_done());
        assert_eq!(outcome(body, b"GET /"), (0, Drained::Done));
    }
    assert!(!Drain::new(Body::Chunked).is_done());
}

#[test]
fn a_body_by_length_ends_after_its_length_whatever_is_in_it() {
    assert_eq!(
        outcome(Body::Length(5), b"0\r\n\r\nGET /"),
        (5, Drained::Done)
    );
    assert_eq!(outcome(Body::Length(5), b"0\r\n\r"), (4, Drained::More));
    assert_eq!(outcome(Body::Length(5), b""), (0, Drained::More));
}

#[test]
fn the_largest_sizes_are_read_on() {
    for (body, head) in [
        (Body::Length(u64::MAX), &b""[..]),
        (Body::Chunked, b"ffffffffffffffff\r\n"),
        (Body::Chunked, b"1\r\nx\r\nffffffffffffffff\r\n"),
    ] {
        let mut drain = Drain::new(body);
        assert_eq!(drain.feed(head), (head.len(), Drained::More));
        assert_eq!(drain.feed(&[0; 1_000]), (1_000, Drained::More));
    }
}

#[test]
fn chunk_lines_and_trailers_of_any_length_are_passed_over() {
    for bytes in [0, 1, 250, 256, 257, 4_000, 4_096, 4_097, 100_000] {
        let long = "x".repeat(bytes);
        let zeros = "0".repeat(bytes);
        let blanks = " ".repeat(bytes);
        for body in [
            format!("2;{long}\r\nhi\r\n0;{long}\r\n\r\n"),
            format!("{zeros}2{blanks}\r\nhi\r\n{zeros}0{blanks}\r\n\r\n"),
            format!("0\r\nX:{long}\r\n{long}y: z\r\n\r\n"),
            format!("0\r\n{}\r\n", "X:y\r\n".repeat(bytes / 5)),
        ] {
            let found = read(Drain::new(Body::Chunked), [body.as_bytes()].into_iter());
            assert_eq!(found, (body.len(), Drained::Done), "{bytes}");
        }
    }
}

#[test]
fn any_cut_of_any_bytes_gives_the_same_outcome() {
    let seed = 0x5eed_u64;
    let mut state = seed;
    // Xorshift is enough to choose bytes and cuts.
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % bound
    };
    let mut outcomes = [0u32; 3];
    for _ in 0..200_000 {
        let mut bytes = GOOD[below(GOOD.len())].to_vec();
        for _ in 0..below(4) {
            let place = below(bytes.len());
            let byte = b"\r\n0123456789abcdef;: \t\0xX\x7f\xff+-"[below(29)];
            match below(3) {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(place)),
                _ => {}
            }
        }
        let drain = Drain::new(Body::Chunked);
        let whole = read(drain, [&bytes[..]].into_iter());
        let mut cuts: Vec<usize> = (0..below(6)).map(|_| below(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let cut = read(drain, pieces);
        assert_eq!(
            cut,
            whole,
            "seed {seed:#x}: {cuts:?} of {}",
            bytes.escape_ascii()
        );
        outcomes[whole.1 as usize] += 1;
    }
    let least = *outcomes.iter().min().expect("three");
    assert!(
        least > 500,
        "seed {seed:#x}: every outcome is met: {outcomes:?}"
    );
}

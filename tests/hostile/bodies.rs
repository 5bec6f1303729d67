//! Rows about bodies: lengths, chunks, and requests hidden in what two servers may read differently.
//!
//! Owns what is sent and what has to come of it. Must not know how a row is sent. Invariant: a row's
//! name says the verdict that its columns state; what is hidden in a body is never counted.

use super::{After, Row, long};
use After::{Closes, Stays, Waits};

/// Bodies by length.
#[rustfmt::skip]
pub const LENGTHS: &[Row] = &[
    ("a body by length is passed over", post!("Content-Length: 5", "hello"), "200", 1, Stays),
    ("an empty body is none", post!("Content-Length: 0", ""), "200", 1, Stays),
    ("what follows a body is a head", concat!(post!("Content-Length: 5", "hello"), get!("X: y")), "200 200", 2, Stays),
    ("a GET may have a body", concat!(get!("Content-Length: 2"), "hi", get!("X: y")), "200 200", 2, Stays),
    ("a HEAD may have a body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "200h", 1, Stays),
    ("a 1.0 body is passed over", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", "200", 1, Stays),
    ("a request in a body is not counted", post!("Content-Length: 99", get!("X: y")), "200", 1, Waits),
    ("a whole request in a body is not counted", post!("Content-Length: 33", get!("X: y")), "200", 1, Stays),
    ("a repeated equal length is refused", post!("Content-Length: 5\r\nContent-Length: 5", "hello"), "400", 0, Closes),
    ("repeated lengths of equal value are refused", post!("Content-Length: 5\r\ncontent-length: 05", "hello"), "400", 0, Closes),
    ("a repeated unequal length is refused", post!("Content-Length: 5\r\nContent-Length: 6", "hello!"), "400", 0, Closes),
    ("a list of lengths of equal value is refused", post!("Content-Length: 5, 05", "hello"), "400", 0, Closes),
    ("a list of equal lengths is refused", post!("Content-Length: 5, 5", "hello"), "400", 0, Closes),
    ("a list of lengths is refused", post!("Content-Length: 5,6", "hello!"), "400", 0, Closes),
    ("a length with a plus is refused", post!("Content-Length: +5", "hello"), "400", 0, Closes),
    ("a length with a minus is refused", post!("Content-Length: -5", "hello"), "400", 0, Closes),
    ("minus nothing is refused", post!("Content-Length: -0", ""), "400", 0, Closes),
    ("an empty length is refused", post!("Content-Length:", ""), "400", 0, Closes),
    ("a length of blanks is refused", post!("Content-Length: \t ", ""), "400", 0, Closes),
    ("a hexadecimal length is refused", post!("Content-Length: 0x5", "hello"), "400", 0, Closes),
    ("a length with a letter is refused", post!("Content-Length: 5a", "hello"), "400", 0, Closes),
    ("a length with a blank inside is refused", post!("Content-Length: 5 5", "hello"), "400", 0, Closes),
    ("a fractional length is refused", post!("Content-Length: 5.0", "hello"), "400", 0, Closes),
    ("a quoted length is refused", post!("Content-Length: \"5\"", "hello"), "400", 0, Closes),
    ("a length in digits of another script is refused", post!("Content-Length: \u{665}", "hello"), "400", 0, Closes),
    ("a length past 64 bits is refused", post!("Content-Length: 18446744073709551616", ""), "400", 0, Closes),
    ("a length of many digits is refused", post!("Content-Length: 99999999999999999999999999999999", ""), "400", 0, Closes),
    ("the largest length is waited for", post!("Content-Length: 18446744073709551615", ""), "200", 1, Waits),
    ("a length with zeros before it is taken", post!("Content-Length: 0000000000000000000000005", "hello"), "200", 1, Stays),
    ("blanks around a length are no part of it", post!("Content-Length:\t 5 \t", "hello"), "200", 1, Stays),
    ("a blank behind the name of the length is refused", post!("Content-Length : 5", "hello"), "400", 0, Closes),
    ("a body at its bound is passed over", post!("Content-Length: 100", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"), "200", 1, Stays),
    ("a body past its bound is read to its end and closes", post!("Content-Length: 101", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "200", 1, Closes),
    ("a body past its bound is answered, counted and waited for", post!("Content-Length: 101", "hello"), "200", 1, Waits),
    ("nothing is counted in a body past its bound", post!("Content-Length: 101", get!("X: y")), "200", 1, Waits),
    ("nothing is counted behind a body past its bound", concat!(post!("Content-Length: 101", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), get!("X: y")), "200", 1, Closes),
    ("a body cut short is counted", post!("Content-Length: 5", "hell"), "200", 1, Waits),
    ("a body that does not come is counted", post!("Content-Length: 5", ""), "200", 1, Waits),
    ("a body behind a close is passed over", post!("Connection: close\r\nContent-Length: 5", "hello"), "200", 1, Closes),
    ("nothing is counted behind the body of a close", concat!(post!("Connection: close\r\nContent-Length: 5", "hello"), get!("X: y")), "200", 1, Closes),
    ("nothing is counted in a body that a close leaves open", post!("Connection: close\r\nContent-Length: 50", get!("X: y")), "200", 1, Waits),
];

/// Bodies in chunks.
#[rustfmt::skip]
pub const CHUNKS: &[Row] = &[
    ("a body in chunks is passed over", chunked!("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), "200", 1, Stays),
    ("what follows a body in chunks is a head", concat!(chunked!("5\r\nhello\r\n0\r\n\r\n"), get!("X: y")), "200 200", 2, Stays),
    ("a request in a chunk is not counted", chunked!("21\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\r\n0\r\n\r\n"), "200", 1, Stays),
    ("a chunk's size may have letters of both cases", chunked!("0a\r\n0123456789\r\n0B\r\n01234567890\r\n0\r\n\r\n"), "200", 1, Stays),
    ("a chunk's size may have many zeros", chunked!("000000000000000000000000000002\r\nhi\r\n000\r\n\r\n"), "200", 1, Stays),
    ("the coding's name is of either case", post!("Transfer-Encoding: \t Chunked\t", "0\r\n\r\n"), "200", 1, Stays),
    ("an extension is passed over", chunked!("2;a=b;c=\"d e\"\r\nhi\r\n0;x\r\n\r\n"), "200", 1, Stays),
    ("blanks before an extension are passed over", chunked!("2 \t; a\r\nhi\r\n0\r\n\r\n"), "200", 1, Stays),
    ("trailers are passed over", chunked!("0\r\nX: y\r\nContent-Length: 5\r\nHost: b\r\nY:\r\n\r\n"), "200", 1, Stays),
    ("a size that is no number is malformed", chunked!("g\r\n"), "200", 1, Closes),
    ("an empty size is malformed", chunked!("\r\n\r\n"), "200", 1, Closes),
    ("an extension without a size is malformed", chunked!(";a\r\n"), "200", 1, Closes),
    ("a size with a minus is malformed", chunked!("-1\r\n"), "200", 1, Closes),
    ("a size with a plus is malformed", chunked!("+1\r\n"), "200", 1, Closes),
    ("a size with 0x is malformed", chunked!("0x5\r\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a blank before a size is malformed", chunked!(" 5\r\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("blanks behind a size are passed over", chunked!("5 \r\nhello\r\n0 \t \r\n\r\n"), "200", 1, Stays),
    ("a digit behind blanks is malformed", chunked!("5 5\r\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("two digits that are none are malformed", chunked!("zz\r\n"), "200", 1, Closes),
    ("a size past 64 bits is malformed", chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("the largest size is waited for", chunked!("ffffffffffffffff\r\n"), "200", 1, Waits),
    ("a chunk past the bound is passed over", concat!(chunked!("65\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"), get!("X: y")), "200 200", 2, Stays),
    ("chunks past the bound together are passed over", concat!(chunked!("4\r\nabcd\r\n61\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"), get!("X: y")), "200 200", 2, Stays),
    ("a chunk past the bound is waited for", chunked!("65\r\n"), "200", 1, Waits),
    ("chunks at the bound together are passed over", chunked!("63\r\n012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678\r\n1\r\n!\r\n0\r\n\r\n"), "200", 1, Stays),
    ("a chunk line of LF alone is malformed", chunked!("5\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a chunk's end of LF alone is malformed", chunked!("5\r\nhello\n0\r\n\r\n"), "200", 1, Closes),
    ("a chunk line of CR alone is malformed", chunked!("5\rhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a chunk without its end is malformed", chunked!("5\r\nhello0\r\n\r\n"), "200", 1, Closes),
    ("a chunk with more than its size is malformed", chunked!("5\r\nhello!\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a NUL in an extension is malformed", chunked!("5;a\0\r\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("an LF in an extension is malformed", chunked!("5;a\nhello\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a trailer without a colon is malformed", chunked!("0\r\nX\r\n\r\n"), "200", 1, Closes),
    ("a trailer with a blank before its colon is malformed", chunked!("0\r\nX : y\r\n\r\n"), "200", 1, Closes),
    ("a folded trailer is malformed", chunked!("0\r\nX: y\r\n z\r\n\r\n"), "200", 1, Closes),
    ("trailers of LF alone are malformed", chunked!("0\r\nX: y\n\n"), "200", 1, Closes),
    ("a last line of LF alone is malformed", chunked!("0\r\n\n"), "200", 1, Closes),
    ("a head in the place of the last line is malformed", concat!(chunked!("0\r\n"), get!("X: y")), "200", 1, Closes),
    ("what is malformed behind a close is not answered again", concat!(post!("Connection: close\r\nTransfer-Encoding: chunked", "g\r\n"), get!("X: y")), "200", 1, Closes),
    ("chunks behind a close are read to their end", post!("Connection: close\r\nTransfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n"), "200", 1, Closes),
    ("a chunk cut short is counted", chunked!("5\r\nhell"), "200", 1, Waits),
    ("chunks without their end are counted", chunked!("5\r\nhello\r\n0\r\n"), "200", 1, Waits),
    ("chunks of 1.0 are refused", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", 0, Closes),
    ("chunks that do not come are counted", chunked!(""), "200", 1, Waits),
];

/// Requests hidden in the difference between two readers.
#[rustfmt::skip]
pub const SMUGGLED: &[Row] = &[
    ("a length before chunks hides nothing", post!("Content-Length: 38\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "400", 0, Closes),
    ("a length behind chunks hides nothing", post!("Transfer-Encoding: chunked\r\nContent-Length: 4", "21\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\r\n0\r\n\r\n"), "400", 0, Closes),
    ("an empty length with chunks hides nothing", post!("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), "400", 0, Closes),
    ("chunked twice hides nothing", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "400", 0, Closes),
    ("chunked and then identity hides nothing", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "400", 0, Closes),
    ("a list with chunked twice hides nothing", post!("Transfer-Encoding: chunked, chunked", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "400", 0, Closes),
    ("chunked before another coding hides nothing", post!("Transfer-Encoding: chunked, gzip", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "400", 0, Closes),
    ("a coding before chunked is refused with 501", post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), "501", 0, Closes),
    ("a coding on a line before chunked is refused with 501", post!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), "501", 0, Closes),
    ("a coding with a parameter is refused with 501", post!("Transfer-Encoding: gzip ; q=1, chunked", "0\r\n\r\n"), "501", 0, Closes),
    ("an unknown coding is refused with 501", post!("Transfer-Encoding: brew", ""), "501", 0, Closes),
    ("identity alone is refused with 501", post!("Transfer-Encoding: identity", ""), "501", 0, Closes),
    ("an unknown coding with a length is refused", post!("Transfer-Encoding: gzip, chunked\r\nContent-Length: 5", "0\r\n\r\n"), "400", 0, Closes),
    ("an unknown coding of 1.0 is refused", "POST / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400", 0, Closes),
    ("nothing is counted behind an unknown coding", concat!(post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), get!("X: y")), "501", 0, Closes),
    ("a coding that is no token is refused", post!("Transfer-Encoding: g zip, chunked", "0\r\n\r\n"), "400", 0, Closes),
    ("identity is refused", post!("Transfer-Encoding: identity\r\nContent-Length: 2", "hi"), "400", 0, Closes),
    ("an empty coding is refused", post!("Transfer-Encoding:", "0\r\n\r\n"), "400", 0, Closes),
    ("a word with chunked in it is another coding", post!("Transfer-Encoding: xchunked", "0\r\n\r\n"), "501", 0, Closes),
    ("chunked with a parameter is refused", post!("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"), "400", 0, Closes),
    ("chunked in quotes is refused", post!("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), "400", 0, Closes),
    ("chunked with a comma is refused", post!("Transfer-Encoding: ,chunked", "0\r\n\r\n"), "400", 0, Closes),
    ("chunked behind a vertical tab is refused", post!("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"), "400", 0, Closes),
    ("chunked on a folded line is refused", post!("Transfer-Encoding:\r\n chunked\r\nContent-Length: 2", "hi"), "400", 0, Closes),
    ("chunked behind a blank before the colon is refused", post!("Transfer-Encoding : chunked\r\nContent-Length: 2", "hi"), "400", 0, Closes),
    ("chunked behind a line end before the colon is refused", post!("Transfer-Encoding\r\n: chunked\r\nContent-Length: 2", "hi"), "400", 0, Closes),
    ("chunked behind a CR alone is refused", post!("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 2", "hi"), "400", 0, Closes),
    ("chunked behind an LF alone is a line of its own", post!("X: y\nTransfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n"), "200", 1, Stays),
    ("a length behind an LF alone conflicts with chunks", post!("Transfer-Encoding: chunked\nContent-Length: 5", "0\r\n\r\n"), "400", 0, Closes),
    ("a header of a like name is another one", concat!(post!("Transfer_Encoding: chunked\r\nContent_Length: 9\r\nX-Content-Length: 9", ""), get!("X: y")), "200 200", 2, Stays),
    ("a header whose name is all there is, is another one", concat!(post!("Content-Length2: 9\r\nTransfer-Encodin: chunked", ""), get!("X: y")), "200 200", 2, Stays),
    ("an end in an extension hides nothing", chunked!("0;\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), "200", 1, Closes),
    ("a request behind a body that is malformed is not counted", concat!(chunked!("2\r\nhi!\r\n0\r\n\r\n"), get!("X: y")), "200", 1, Closes),
    ("a request behind an unframed body is taken for what it is", concat!(post!("X: y", ""), get!("X: y")), "200 200", 2, Stays),
];

/// Chunked bodies with lines and trailers of any length.
pub fn long_lines() -> Vec<(&'static str, Vec<u8>, &'static str, u64, After)> {
    let head = chunked!("").as_bytes();
    let then = |end: &str| [end, "0\r\n\r\n", get!("X: y")].concat().into_bytes();
    let last = |end: &str| [end, get!("X: y")].concat().into_bytes();
    #[rustfmt::skip]
    let rows = vec![
        ("an extension of 1 000 bytes is passed over", long(&[head, b"2;"].concat(), head.len() + 1_002, &then("\r\nhi\r\n")), "200 200", 2, Stays),
        ("blanks without end behind a size are passed over", [head, b"2", &[b' '; 1_000], &then("\r\nhi\r\n")[..]].concat(), "200 200", 2, Stays),
        ("a size with 1 000 zeros is passed over", [head, &[b'0'; 1_000], &then("2\r\nhi\r\n")[..]].concat(), "200 200", 2, Stays),
        ("trailers of 5 000 bytes are passed over", long(&[head, b"0\r\nX: "].concat(), head.len() + 5_000, &last("\r\n\r\n")), "200 200", 2, Stays),
        ("1 000 trailers are passed over", [head, b"0\r\n", &b"X: y\r\n".repeat(1_000), &last("\r\n")[..]].concat(), "200 200", 2, Stays),
        ("a trailer without end is waited for", long(&[head, b"0\r\nX: "].concat(), 6_000, b""), "200", 1, Waits),
        ("a chunk line without end is waited for", long(&[head, b"2;"].concat(), 1_000, b""), "200", 1, Waits),
    ];
    rows
}

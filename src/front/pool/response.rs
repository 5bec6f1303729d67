//! Responses: tallies, refusals and whatever else has a status, a type and a body, as bytes.
//!
//! Owns the form of a response. The part of a tally's head that is the same for a whole second is
//! formatted once a second, so that a tally costs two copies and its digits.
//!
//! Must not know what is counted, or of connections. Invariant: every response says its length, and
//! whether the connection stays where its version would have it otherwise; every one, errors too, tells
//! caches not to keep it.

use super::request::{Refusal, Version};
use super::talk::Form;
use crate::front::desk::Page;
use crate::front::gauges::Side;
use crate::front::{ESTIMATED, EVERY_ANSWER};
use crate::notation;
use crate::stamp::SECOND_NS;
use std::io::Write;

/// Asks for a body that waits to be asked for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const PLAIN: &str = "text/plain; charset=utf-8";

/// Writes responses of the present second.
pub struct Responder {
    /// The second of the date, on the wall clock.
    second: i64,
    date: String,
    /// Whether tallies are estimated.
    is_estimated: bool,
    /// A tally's head up to its length.
    tally_head: Vec<u8>,
}

impl Responder {
    /// One whose date is `wall_ns`, in nanoseconds since 1970.
    #[must_use]
    pub fn new(wall_ns: i64) -> Self {
        let mut responder = Self {
            second: i64::MIN,
            date: String::new(),
            is_estimated: false,
            tally_head: Vec::new(),
        };
        responder.set_date(wall_ns);
        responder
    }

    /// Sets the date, which is written anew once a second.
    #[inline]
    pub fn set_date(&mut self, wall_ns: i64) {
        let second = wall_ns.div_euclid(SECOND_NS.cast_signed());
        if second != self.second {
            self.second = second;
            self.date = notation::http_date(wall_ns);
            self.write_tally_head();
        }
    }

    /// Sets whether the tallies to come are estimated, which their heads then say.
    #[inline]
    pub fn set_estimated(&mut self, is_estimated: bool) {
        if is_estimated != self.is_estimated {
            self.is_estimated = is_estimated;
            self.write_tally_head();
        }
    }

    fn write_tally_head(&mut self) {
        let date = &self.date;
        let status = match self.is_estimated {
            true => ESTIMATED,
            false => "",
        };
        self.tally_head.clear();
        let _infallible = write!(
            self.tally_head,
            "HTTP/1.1 200 OK\r\nDate: {date}\r\n{status}Content-Type: {PLAIN}\r\n{EVERY_ANSWER}Content-Length: "
        );
    }

    /// Appends the answer to a hit.
    #[inline]
    pub fn tally(&self, out: &mut Vec<u8>, tally: u64, form: Form) {
        let mut storage = [0; DIGITS_MAX];
        let digits = digits(tally, &mut storage);
        out.extend_from_slice(&self.tally_head);
        // The newline is one more; a u64 and a newline have 21 bytes at the most.
        let length = digits.len() as u8 + 1;
        if length >= 10 {
            out.push(b'0' + length / 10);
        }
        out.push(b'0' + length % 10);
        out.extend_from_slice(end_of_head(form));
        if !form.is_head {
            out.extend_from_slice(digits);
            out.push(b'\n');
        }
    }

    /// Appends what an operator asked for.
    pub fn page(&self, out: &mut Vec<u8>, page: &Page, form: Form) {
        let Page {
            status,
            media,
            headers,
            body,
        } = page;
        let (date, length, server) = (&self.date, body.len(), server_of(Side::Operator));
        let _infallible = write!(
            out,
            "HTTP/1.1 {status}\r\nDate: {date}\r\nServer: {server}\r\nContent-Type: {media}\r\n{EVERY_ANSWER}\
             {headers}Content-Length: {length}"
        );
        out.extend_from_slice(end_of_head(form));
        if !form.is_head {
            out.extend_from_slice(body);
        }
    }

    /// Appends a refusal with `text` for people. The connection does not outlive it.
    pub fn refusal(
        &self,
        out: &mut Vec<u8>,
        side: Side,
        refusal: Refusal,
        text: &str,
        is_head: bool,
    ) {
        let (code, reason, date) = (refusal.code(), refusal.reason(), &self.date);
        let (length, server) = (text.len(), server_of(side));
        let _infallible = write!(
            out,
            "HTTP/1.1 {code} {reason}\r\nDate: {date}\r\nServer: {server}\r\nContent-Type: {PLAIN}\r\n{EVERY_ANSWER}\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        if !is_head {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// What a listener calls itself in all answers but tallies, so that a client can tell who answers.
const fn server_of(side: Side) -> &'static str {
    match side {
        Side::Hits => concat!("tallyd/", env!("CARGO_PKG_VERSION")),
        Side::Operator => concat!("tallyd/", env!("CARGO_PKG_VERSION"), " admin"),
    }
}

/// The rest of a head behind its length.
const fn end_of_head(form: Form) -> &'static [u8] {
    match (form.version, form.stays) {
        (Version::Http11, true) => b"\r\n\r\n",
        (Version::Http10, true) => b"\r\nConnection: keep-alive\r\n\r\n",
        (_, false) => b"\r\nConnection: close\r\n\r\n",
    }
}

const DIGITS_MAX: usize = 20;

/// `number` in decimal, at the end of `storage`.
#[inline]
fn digits(mut number: u64, storage: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut start = DIGITS_MAX;
    loop {
        start -= 1;
        storage[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &storage[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Form = Form {
        version: Version::Http11,
        stays: true,
        is_head: false,
    };

    fn text_of(write: impl FnOnce(&Responder, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&Responder::new(1_795_464_539_739_840_268), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_tally_is_answered_byte_for_byte() {
        assert_eq!(
            text_of(|responder, out| responder.tally(out, 1_234_567_890, STAYS)),
            "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 20:08:59 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: 11\r\n\r\n1234567890\n"
        );
    }

    #[test]
    fn an_estimated_tally_says_so_in_its_head_and_an_exact_one_does_not() {
        let text = text_of(|_, out| {
            let mut responder = Responder::new(0);
            responder.set_estimated(true);
            responder.tally(out, 7, STAYS);
        });
        assert!(text.contains("\r\nTally-Status: estimated\r\n"), "{text}");
        let text = text_of(|_, out| {
            let mut responder = Responder::new(0);
            responder.set_estimated(true);
            responder.set_date(5_000_000_000);
            responder.set_estimated(false);
            responder.tally(out, 7, STAYS);
        });
        assert!(!text.contains("Tally-Status"), "{text}");
    }

    #[test]
    fn a_head_is_answered_without_the_body_whose_length_it_says() {
        let form = Form {
            is_head: true,
            ..STAYS
        };
        let text = text_of(|responder, out| responder.tally(out, 7, form));
        assert!(text.ends_with("\r\nContent-Length: 2\r\n\r\n"), "{text}");
    }

    #[test]
    fn what_the_version_would_have_otherwise_is_said() {
        let (version, stays) = (Version::Http10, false);
        for (form, end) in [
            (STAYS, "\r\n\r\n1\n"),
            (Form { stays, ..STAYS }, "\r\nConnection: close\r\n\r\n1\n"),
            (
                Form { version, ..STAYS },
                "\r\nConnection: keep-alive\r\n\r\n1\n",
            ),
        ] {
            let text = text_of(|responder, out| responder.tally(out, 1, form));
            assert!(text.ends_with(&format!("Content-Length: 2{end}")), "{text}");
        }
    }

    #[test]
    fn a_refusal_closes_the_connection() {
        let text = text_of(|responder, out| {
            responder.refusal(out, Side::Hits, Refusal::BadRequest, "no\n", false);
        });
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        let server = concat!("\r\nServer: tallyd/", env!("CARGO_PKG_VERSION"), "\r\n");
        assert!(text.contains(server), "{text}");
        assert!(
            text.ends_with("Content-Length: 3\r\nConnection: close\r\n\r\nno\n"),
            "{text}"
        );
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 9, 10, 99, 1_000, u64::MAX] {
            assert_eq!(
                digits(number, &mut [0; DIGITS_MAX]),
                number.to_string().as_bytes()
            );
        }
    }

    #[test]
    fn the_date_goes_on_once_a_second() {
        let mut responder = Responder::new(999_999_999);
        let first = responder.date.clone();
        responder.set_date(999_999_998);
        assert_eq!(responder.date, first);
        responder.set_date(1_000_000_000);
        assert_eq!(responder.date, "Thu, 01 Jan 1970 00:00:01 GMT");
    }
}

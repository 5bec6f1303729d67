//! Reads a body and throws it away.
//!
//! Owns the framing of RFC 9112 section 7: where a body by length or in chunks ends, and how much of
//! it is read before the connection is given up instead.
//!
//! Line ends inside a chunked body are CRLF and nothing else. Section 2.2 lets a recipient take a
//! lone LF for the start line and for fields, which covers trailers but neither chunk lines nor the
//! end of the chunk data; two ways to end a line inside one body are two ways to read it, so here
//! trailers get no more than the chunk lines do.
//!
//! Must not know of connections or requests beyond how a body is framed.
//!
//! Invariant: the outcome and the bytes consumed do not depend on how the bytes were cut.

use super::request::Body;

/// Bytes of one chunk line, with its extensions and its CRLF.
const CHUNK_LINE_BYTES_MAX: u16 = 256;
/// Bytes of all trailers, with their line ends and the blank line behind them.
const TRAILER_BYTES_MAX: u16 = 4096;

/// How far a body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// More bytes are to come.
    More,
    /// The next byte belongs to the next request.
    Done,
    /// Where the body ends cannot be known.
    Malformed,
    /// It is longer than what is read and thrown away.
    PastBound,
}

/// A body on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    state: State,
    /// Bytes of the current line, or of all trailers.
    line_bytes: u16,
    /// In a chunk line the size so far, in data what is left of it.
    size: u64,
    /// What chunk data and extensions may still come to.
    budget: u64,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// One of a body by length.
    Plain,
    /// The first digit of a chunk's size.
    SizeFirst,
    /// A later digit, or what ends the size.
    Size,
    /// A blank between the size and an extension.
    Pad,
    /// Of an extension.
    Extension,
    /// The LF of a chunk line.
    LineLf,
    /// Chunk data.
    Data,
    /// The CR behind chunk data.
    DataCr,
    /// The LF behind chunk data.
    DataLf,
    /// The first byte of a trailer, or the CR of the last line.
    TrailerFirst,
    /// Of a trailer's name, or its colon.
    TrailerName,
    /// Of a trailer's value, or its CR.
    TrailerValue,
    /// The LF of a trailer.
    TrailerLf,
    /// The LF of the last line.
    LastLf,
    /// Not of this body.
    Over(Drained),
}

const MALFORMED: State = State::Over(Drained::Malformed);
const PAST_BOUND: State = State::Over(Drained::PastBound);
const DONE: State = State::Over(Drained::Done);

impl Drain {
    /// For a body that is framed like this. `body_bytes_max` bounds the body's length, or the sum
    /// of its chunks and their extensions.
    #[must_use]
    pub fn new(body: Body, body_bytes_max: u64) -> Self {
        let (state, size) = match body {
            Body::Empty | Body::Length(0) => (DONE, 0),
            Body::Length(_) if Self::exceeds(&body, body_bytes_max) => (PAST_BOUND, 0),
            Body::Length(bytes) => (State::Plain, bytes),
            Body::Chunked => (State::SizeFirst, 0),
        };
        Self {
            state,
            line_bytes: 0,
            size,
            budget: body_bytes_max,
        }
    }

    /// Whether the declared length alone is past the bound.
    #[must_use]
    pub fn exceeds(body: &Body, body_bytes_max: u64) -> bool {
        matches!(body, Body::Length(bytes) if *bytes > body_bytes_max)
    }

    /// Whether the body has been read to its end.
    #[cfg(test)]
    pub fn is_done(&self) -> bool {
        self.state == DONE
    }

    /// Reads on. Returns how many of the bytes belong to the body, and how far it is read; the byte
    /// that spoils a body does not belong to it.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Drained) {
        let mut consumed = 0;
        loop {
            if let State::Over(drained) = self.state {
                return (consumed, drained);
            }
            let rest = &bytes[consumed..];
            let Some(&byte) = rest.first() else {
                return (consumed, Drained::More);
            };
            consumed += match self.state {
                State::Plain => self.skip(rest.len(), DONE),
                State::Data => self.skip(rest.len(), State::DataCr),
                _ => {
                    self.state = self.after(byte);
                    usize::from(!matches!(self.state, MALFORMED | PAST_BOUND))
                }
            };
        }
    }

    /// Passes over what is left of the data, or as much of it as there is.
    fn skip(&mut self, there: usize, then: State) -> usize {
        let skipped = usize::try_from(self.size).map_or(there, |left| left.min(there));
        self.size -= skipped as u64;
        if self.size == 0 {
            self.state = then;
        }
        skipped
    }

    /// Takes one byte that is no data.
    fn after(&mut self, byte: u8) -> State {
        let line_bytes_max = match self.state {
            State::TrailerFirst
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::LastLf => TRAILER_BYTES_MAX,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        if self.line_bytes == line_bytes_max {
            return PAST_BOUND;
        }
        self.line_bytes += 1;
        match (self.state, byte) {
            (State::SizeFirst, _) => self.digit(byte),
            (State::Size | State::Extension, b'\r') => State::LineLf,
            (State::Size | State::Pad, b';') => State::Extension,
            // The grammar has blanks only where an extension follows them.
            (State::Size | State::Pad, b' ' | b'\t') => State::Pad,
            (State::Size, _) => self.digit(byte),
            // RFC 9112 wants extensions bounded in all; they come out of what the data may take.
            (State::Extension, _) if is_text(byte) => match self.budget.checked_sub(1) {
                Some(budget) => {
                    self.budget = budget;
                    State::Extension
                }
                None => PAST_BOUND,
            },
            (State::LineLf, b'\n') => self.end_chunk_line(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                State::SizeFirst
            }
            (State::TrailerFirst, b'\r') => State::LastLf,
            (State::TrailerFirst, _) if is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerName, _) if is_token(byte) => State::TrailerName,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_text(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerFirst,
            (State::LastLf, b'\n') => DONE,
            _ => MALFORMED,
        }
    }

    /// Takes one digit of a size.
    fn digit(&mut self, byte: u8) -> State {
        match char::from(byte).to_digit(16) {
            Some(digit) if self.size >> 60 == 0 => {
                self.size = self.size << 4 | u64::from(digit);
                State::Size
            }
            _ => MALFORMED,
        }
    }

    /// Knows a chunk's size.
    fn end_chunk_line(&mut self) -> State {
        self.line_bytes = 0;
        match self.budget.checked_sub(self.size) {
            None => PAST_BOUND,
            Some(_) if self.size == 0 => State::TrailerFirst,
            Some(budget) => {
                self.budget = budget;
                State::Data
            }
        }
    }
}

/// Whether a byte may stand in a field's value or an extension: no control byte but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// Whether a byte may stand in a field's name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;

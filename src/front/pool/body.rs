//! Reads a body and throws it away.
//!
//! Owns the framing of RFC 9112 section 7: where a body by length or in chunks ends. How many bytes it
//! has, and how long its chunk lines and trailers are, does not matter, since nothing of it is kept: the
//! time that a body may take is bounded instead, by the worker.
//!
//! Line ends inside a chunked body are CRLF and nothing else. Section 2.2 lets a recipient take a
//! lone LF for the start line and for fields, which covers trailers but neither chunk lines nor the
//! end of the chunk data; two ways to end a line inside one body are two ways to read it, so here
//! trailers get no more than the chunk lines do.
//!
//! Must not know of connections or requests beyond how a body is framed.
//!
//! Invariant: the outcome and the bytes consumed do not depend on how the bytes were cut.

use super::request::{Body, is_token};

/// How far a body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// More bytes are to come.
    More,
    /// The next byte belongs to the next request.
    Done,
    /// Where the body ends cannot be known.
    Malformed,
}

/// A body on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    state: State,
    /// In a chunk line the size so far, in data what is left of it.
    size: u64,
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
    /// A blank behind the size.
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
const DONE: State = State::Over(Drained::Done);

impl Drain {
    /// For a body that is framed like this.
    #[must_use]
    pub const fn new(body: Body) -> Self {
        let (state, size) = match body {
            Body::Empty | Body::Length(0) => (DONE, 0),
            Body::Length(bytes) => (State::Plain, bytes),
            Body::Chunked => (State::SizeFirst, 0),
        };
        Self { state, size }
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
                    usize::from(self.state != MALFORMED)
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
        match (self.state, byte) {
            (State::SizeFirst, _) => self.digit(byte),
            (State::Size | State::Pad | State::Extension, b'\r') => State::LineLf,
            (State::Size | State::Pad, b';') => State::Extension,
            // The grammar has blanks only where an extension follows them; other servers take them alone.
            (State::Size | State::Pad, b' ' | b'\t') => State::Pad,
            (State::Size, _) => self.digit(byte),
            (State::Extension, _) if is_text(byte) => State::Extension,
            (State::LineLf, b'\n') if self.size == 0 => State::TrailerFirst,
            (State::LineLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeFirst,
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
}

/// Whether a byte may stand in a field's value or an extension: no control byte but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests;

//! One connection: what it has sent that is not used up, what it has not read, and what it may do next.
//!
//! Owns the socket and the two leftovers. While a client keeps up, both are empty and nothing is
//! allocated: bytes are read into the worker's buffer and answered from the worker's buffer, and only
//! what is left of either is kept here, within the limits. A client that does not read its responses
//! is not read from either, and of one that has sent more than it has had turns for, nothing more is
//! read until it has had them. A client that has gone is told nothing any more, but what it had sent
//! is still read. What was read last has its stamp here, for heads that wait for their turn as well.
//!
//! Must not know what a request is worth. Invariant: while output waits, or a request that was read
//! waits for its turn, nothing is read.

use super::arrival::{Arrivals, read_stamped};
use super::limits::{BODY_BYTE_NS, Limits};
use super::talk::{Form, Owes, Talk};
use super::worker::LINGER_NS;
use crate::clock::Clock;
use crate::front::desk::Task;
use crate::front::gauges::Side;
use crate::stamp::Stamp;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, with what was left before.
    Bytes(usize),
    /// The client has closed its side.
    End,
}

/// What a connection is doing, in the order in which connections are closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// No request is under way, or everything was answered and the last answer is given time to arrive.
    Idle,
    /// A head or a body is not complete.
    Receiving,
    /// An answer waits to be read by the client.
    Sending,
    /// There is something to do for it without waiting for the client.
    Working,
}

/// How far a connection is that was to be closed and had sent something that was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reprieve {
    /// It was not to be closed.
    None,
    /// It is to be read first.
    Granted,
    /// It was read, and still does what it did.
    Used,
}

/// A client.
pub struct Connection {
    stream: TcpStream,
    /// Received and not used up.
    input: Vec<u8>,
    /// To be sent.
    output: Vec<u8>,
    /// Which door it came in by.
    pub side: Side,
    /// What it has said so far.
    pub talk: Talk,
    /// What it has asked for and has not been told yet; only an operator asks.
    pub task: Option<Box<dyn Task>>,
    /// How that is to be told.
    pub form: Form,
    /// When it last had its turn: when its read returned, or without one was due.
    pub turn_at: Stamp,
    /// The stamp of the last bytes that were read.
    pub came_at: Stamp,
    /// When it was accepted, or last began or completed a request, or had taken its answer, or was told
    /// that nothing more will be sent: since when it has been doing what it does.
    pub heard_at: Stamp,
    /// When patience ends.
    pub deadline: Stamp,
    /// What a body, or what is sent behind the last answer, may put the deadline off to.
    pub deadline_max: Stamp,
    /// Whether it is read once more before it is closed.
    reprieve: Reprieve,
    /// Whether something that was received waits for its turn.
    pub is_behind: bool,
    /// Whether the system may have more bytes for us.
    pub is_readable: bool,
    /// Whether the client has closed its side, behind whatever is to be read.
    pub is_ending: bool,
    /// Whether it is on the list of the next pass.
    pub is_listed: bool,
    /// Whether the client takes nothing any more.
    pub is_gone: bool,
    /// Whether the client has been told that nothing more will be sent.
    pub has_ended: bool,
    /// Whether it was one too many, and is not one of those that are counted.
    pub is_surplus: bool,
}

impl Connection {
    /// A connection just accepted on a side, to be closed at `deadline` if nothing comes.
    #[must_use]
    pub const fn new(stream: TcpStream, side: Side, now: Stamp, deadline: Stamp) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            side,
            talk: Talk::new(),
            task: None,
            form: Form::LAST,
            turn_at: Stamp::MIN,
            came_at: Stamp::MIN,
            heard_at: now,
            deadline,
            deadline_max: Stamp::MIN,
            reprieve: Reprieve::None,
            is_behind: false,
            is_gone: false,
            is_readable: false,
            is_ending: false,
            is_listed: false,
            has_ended: false,
            is_surplus: false,
        }
    }

    /// The socket, to be registered.
    pub const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether a response waits to be read by the client.
    #[must_use]
    pub const fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether there is something to do without waiting for the client.
    #[must_use]
    pub const fn has_work(&self) -> bool {
        self.is_behind || self.is_readable
    }

    /// Whether it has sent nothing so far, as far as was read.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.came_at == Stamp::MIN
    }

    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        if self.has_output() {
            Activity::Sending
        } else if self.task.is_some() || self.is_listed || self.has_work() {
            Activity::Working
        } else if self.has_ended || self.talk.owes() == Owes::Nothing {
            Activity::Idle
        } else {
            Activity::Receiving
        }
    }

    /// Whether a connection that is to be closed is read first. That happens once: bytes that bring nothing
    /// forward, such as blank lines, keep no connection open.
    pub fn is_to_be_read(&mut self) -> bool {
        if self.reprieve == Reprieve::None && (self.is_listed || self.has_more()) {
            self.reprieve = Reprieve::Granted;
        }
        self.reprieve == Reprieve::Granted
    }

    /// Takes note that it does something else since `now`.
    pub const fn hear(&mut self, now: Stamp) {
        self.heard_at = now;
        self.reprieve = Reprieve::None;
    }

    /// Whether there is something to read that no event has told of.
    #[must_use]
    pub fn has_more(&self) -> bool {
        matches!(self.stream.peek(&mut [0]), Ok(1..))
    }

    /// Puts what was left into `buffer`, and what one read gives behind it, unless a turn is due for
    /// what was left. What it gives is stamped as it came to the kernel if there are `arrivals`, else when
    /// the read returned.
    ///
    /// # Errors
    /// The connection is broken.
    ///
    /// # Panics
    /// If `buffer` has no room behind what was left.
    #[inline]
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        clock: &impl Clock,
        arrivals: Option<&Arrivals>,
    ) -> io::Result<Received> {
        if self.reprieve == Reprieve::Granted {
            self.reprieve = Reprieve::Used;
        }
        let left = self.input.len();
        buffer[..left].copy_from_slice(&self.input);
        self.input.clear();
        // A client that has closed its side, or is gone, has its turns for all that it sent before.
        if self.is_behind || !self.is_readable {
            self.turn_at = clock.now();
            return Ok(Received::Bytes(left));
        }
        let room = &mut buffer[left..];
        assert!(!room.is_empty(), "what is left is bounded");
        let read = match arrivals {
            None => self.stream.read(room).map(|more| (more, None)),
            Some(_) => read_stamped(&self.stream, room),
        };
        self.turn_at = clock.now();
        let more = match read {
            Ok((0, _)) => return Ok(Received::End),
            Ok((more, wall_ns)) => {
                self.came_at = match (arrivals, wall_ns) {
                    (Some(arrivals), Some(wall_ns)) => arrivals.place(wall_ns, self.turn_at),
                    _ => self.turn_at,
                };
                more
            }
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => 0,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {
                return Ok(Received::Bytes(left));
            }
            Err(cause) => return Err(cause),
        };
        // A read that leaves room has emptied the socket: what comes later is a new event. Only the
        // end of the stream, which may have come with the same event, has to be read for.
        self.is_readable = more == room.len() || self.is_ending && more > 0;
        Ok(Received::Bytes(left + more))
    }

    /// Sets the deadline anew when something else is owed since this turn, and puts it off when so many
    /// bytes came of a body, or behind the last answer. A head has its time from its beginning on, however
    /// it trickles in; a body and what nobody uses may not stop, nor trickle.
    pub fn put_off(&mut self, limits: &Limits, has_begun: bool, bytes: usize) {
        let owes = self.talk.owes();
        let patience_ns = match (self.has_ended, owes) {
            (true, _) if self.is_surplus || bytes == 0 => return,
            (true, _) => LINGER_NS,
            (false, _) if has_begun => {
                self.deadline_max = self.turn_at.after(limits.body_ns_max());
                limits.patience_ns(owes)
            }
            (false, Owes::Body) if bytes > 0 => limits.idle_ns_max,
            _ => return,
        };
        self.deadline = self.turn_at.after(patience_ns);
        if self.has_ended || owes == Owes::Body {
            self.deadline_max = self.deadline_max.after(BODY_BYTE_NS * bytes as u64);
            self.deadline = self.deadline.min(self.deadline_max);
        }
    }

    /// Keeps `rest` for the next pass; memory that more has needed is given back.
    pub fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.input = Vec::new();
        } else {
            self.input.reserve_exact(rest.len());
            self.input.extend_from_slice(rest);
        }
    }

    /// Sends `bytes`, or keeps what the client does not take now. To a client that is gone nothing is
    /// sent.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.has_output() {
            self.output.extend_from_slice(bytes);
            return;
        }
        match self.write(bytes) {
            Ok(sent) => {
                self.output.reserve_exact(bytes.len() - sent);
                self.output.extend_from_slice(&bytes[sent..]);
            }
            Err(_) => self.is_gone = true,
        }
    }

    /// Sends what waits; returns whether anything went.
    pub fn flush(&mut self) -> bool {
        let output = std::mem::take(&mut self.output);
        match self.write(&output) {
            Ok(sent) => {
                if sent < output.len() {
                    self.output = output;
                    self.output.drain(..sent);
                }
                sent > 0
            }
            Err(_) => {
                self.is_gone = true;
                false
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_gone {
            return Ok(bytes.len());
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(more) => sent += more,
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => break,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(sent)
    }

    /// Says that nothing more will be sent. Closing at once would make the system drop the response
    /// if the client has sent more than was read.
    pub fn end_output(&mut self, now: Stamp) {
        self.hear(now);
        let _gone = self.stream.shutdown(Shutdown::Write);
        self.talk.end();
        self.has_ended = true;
        self.input = Vec::new();
    }
}

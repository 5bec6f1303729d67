//! Where connections come from: one listening socket, watched by every worker.
//!
//! Owns accepting. An error of `accept` is either the client's, which is gone, or a lack of descriptors
//! or memory, in which case there is a pause; it is said once when it begins and once when it is over,
//! and nothing ever leaves the listener dead.
//!
//! Must not know what becomes of a connection. Invariant: after an event, accepting goes on until the
//! system has nothing more or the pass has had enough.

use crate::clock::Clock;
use crate::error::io_text;
use crate::stamp::{MILLISECOND_NS, Stamp};
use mio::Registry;
use mio::net::{TcpListener, TcpStream};
use std::io::ErrorKind;

/// Connections taken in one pass.
const PASS_ACCEPTS_MAX: usize = 64;
/// How long to wait after a lack of descriptors or memory.
const PAUSE_NS: u64 = 100 * MILLISECOND_NS;

/// What accepting gave.
pub enum Accepted {
    /// A connection.
    Connection(TcpStream),
    /// Nothing more in this pass.
    Nothing,
}

/// A worker's view of the listening socket.
pub struct Listener {
    socket: TcpListener,
    /// Whether the system may have more.
    waits: bool,
    /// Until when there is a pause.
    pause: Option<Stamp>,
    failing: bool,
    taken: usize,
}

impl Listener {
    /// A listener on `socket`, which must not block.
    #[must_use]
    pub const fn new(socket: TcpListener) -> Self {
        Self {
            socket,
            waits: true,
            pause: None,
            failing: false,
            taken: 0,
        }
    }

    /// An event says that there may be connections.
    pub const fn see(&mut self) {
        self.waits = true;
    }

    /// Takes it out of a poll.
    pub fn leave(&mut self, registry: &Registry) {
        // One that is not in it wakes nobody.
        let _left = registry.deregister(&mut self.socket);
    }

    /// When accepting is to be tried without an event.
    #[must_use]
    pub fn due(&self) -> Option<Stamp> {
        self.waits.then(|| self.pause.unwrap_or(Stamp::MIN))
    }

    /// Accepts one connection. A pass calls this until there is nothing more.
    pub fn accept(&mut self, clock: &impl Clock) -> Accepted {
        if !self.waits || self.taken == PASS_ACCEPTS_MAX {
            self.taken = 0;
            return Accepted::Nothing;
        }
        if self.pause.is_some_and(|pause| clock.now() < pause) {
            return Accepted::Nothing;
        }
        self.pause = None;
        // Every client that gives up while it waits costs one call more, and there are only so many
        // that can wait.
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => {
                    if std::mem::take(&mut self.failing) {
                        log::info!("accepting connections again");
                    }
                    self.taken += 1;
                    return Accepted::Connection(stream);
                }
                Err(cause) => match cause.kind() {
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    ErrorKind::WouldBlock => {
                        self.waits = false;
                        self.taken = 0;
                        return Accepted::Nothing;
                    }
                    _ => {
                        if !std::mem::replace(&mut self.failing, true) {
                            log::error!("cannot accept connections: {}", io_text(&cause));
                        }
                        self.pause = Some(clock.now().after(PAUSE_NS));
                        self.taken = 0;
                        return Accepted::Nothing;
                    }
                },
            }
        }
    }
}

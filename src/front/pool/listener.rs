//! Where connections come from: one listening socket, watched by every worker.
//!
//! Owns accepting. An error of `accept` is either the client's, which is gone, or a lack of descriptors
//! or memory. If no connection can be closed to end the lack, accepting pauses; that is logged once when
//! it begins and once when it is over, and nothing ever leaves the listener dead.
//!
//! Must not know what becomes of a connection. Invariant: after an event, accepting is due until the
//! system has nothing more.

use crate::error::io_text;
use crate::stamp::{MILLISECOND_NS, Stamp};
use mio::Registry;
use mio::net::{TcpListener, TcpStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind};

/// How long to wait after a lack of descriptors or memory.
const PAUSE_NS: u64 = 100 * MILLISECOND_NS;

/// What accepting gave.
pub enum Accepted {
    /// A connection.
    Connection(TcpStream),
    /// Nothing waits any more.
    Nothing,
    /// The system has no descriptor or no memory for a connection.
    Lacking(io::Error),
}

/// A worker's view of the listening socket.
pub struct Listener {
    socket: TcpListener,
    /// Whether the system may have more.
    waits: bool,
    /// Until when there is a pause.
    pause: Option<Stamp>,
    failing: bool,
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

    /// Leaves what waits in the kernel's queue until `until`.
    pub const fn pause(&mut self, until: Stamp) {
        self.pause = Some(until);
    }

    /// Accepting has failed for a lack that nothing here can mend: tries again after a pause.
    pub fn fail(&mut self, cause: &io::Error, now: Stamp) {
        if !std::mem::replace(&mut self.failing, true) {
            log::error!("cannot accept connections: {}", io_text(cause));
        }
        self.pause(now.after(PAUSE_NS));
    }

    /// Whether a connection waits to be accepted.
    pub fn has_waiting(&mut self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        // If the system cannot tell, accepting finds out.
        self.waits = poll(&mut polled, Some(&Timespec::default())) != Ok(0);
        self.waits
    }

    /// Accepts one connection.
    pub fn accept(&mut self) -> Accepted {
        self.pause = None;
        // Every client that gives up while it waits costs one call more, and there are only so many
        // that can wait.
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => {
                    if std::mem::take(&mut self.failing) {
                        log::info!("accepting connections again");
                    }
                    return Accepted::Connection(stream);
                }
                Err(cause) => match cause.kind() {
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    ErrorKind::WouldBlock => {
                        self.waits = false;
                        return Accepted::Nothing;
                    }
                    _ => return Accepted::Lacking(cause),
                },
            }
        }
    }
}

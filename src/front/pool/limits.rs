//! What one client may take, and what all together may.
//!
//! Owns the numbers behind promise P7 and their bounds; the flags are formatted from them. The number
//! of connections needs as many descriptors, so the process' limit is raised to what is needed. A start
//! that cannot have them is refused instead of failing later, unless fewer connections will do.
//!
//! Must not know what is served. Invariant: every limit is a number, none is "unlimited".

use super::talk::Owes;
use crate::error::{Error, Result};
use crate::notation::many;
use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most that the bytes of a head may be limited to. A head is parsed again from its beginning with
/// every piece of it that comes, so its length bounds what one trickled byte costs: about 7 µs at
/// 16 KiB, as much as a hit, and four times that here.
pub const HEAD_BYTES_LIMIT: usize = 64 << 10;
/// The most header lines that there is room for, whatever the limit.
pub const HEADERS_LIMIT: usize = 256;
/// Connections above the limit that one worker keeps open until their 503 has arrived.
pub const SURPLUS_MAX: usize = 48;
/// Connections of operators at once; for one more an idle or slow one is closed.
pub const OPERATORS_MAX: usize = 32;
/// Nanoseconds that each byte of a body adds to the time it may take: 500 bytes a second go on for ever.
pub const BODY_BYTE_NS: u64 = 2 * MILLISECOND_NS;
/// Connections of operators that one worker keeps open until their 503 has arrived.
pub const OPERATORS_SURPLUS_MAX: usize = 16;
/// The fewest connections to start with if nobody has said how many.
const CONNECTIONS_MIN: usize = 16;
/// Descriptors for all but workers: segments, listeners, the directory, standard streams.
const DESCRIPTORS_BESIDE: u64 = 64 + OPERATORS_MAX as u64;
/// Descriptors of a worker beside its connections: its poll, what wakes it, its listeners, and one that
/// is refused at once.
const DESCRIPTORS_PER_WORKER: u64 = 5 + (SURPLUS_MAX + OPERATORS_SURPLUS_MAX) as u64;

/// What an operator may do about the hard limit on descriptors.
pub const HOW_TO_RAISE: &str = "raise it with ulimit -Hn or LimitNOFILE=";

/// The limits of a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; for one more the one that has been idle longest is closed, or else it is
    /// refused with 503.
    pub connections_max: usize,
    /// The fewest connections to start with, if the system does not allow descriptors for all of them.
    pub connections_min: usize,
    /// Bytes of a request head; a longer one is refused with 431.
    pub head_bytes_max: usize,
    /// Header lines of a head; one more is refused with 431.
    pub headers_max: usize,
    /// Bytes of a body by length behind which the connection stays; it is told to close before a longer one.
    pub body_bytes_max: u64,
    /// Nanoseconds from the first byte of a head to its last; refused with 408 after that. Also
    /// nanoseconds that a new connection may send nothing.
    pub head_ns_max: u64,
    /// Nanoseconds that a connection may be idle, or a body may stop.
    pub idle_ns_max: u64,
    /// Nanoseconds that a client may leave a response unread.
    pub write_ns_max: u64,
    /// Hits that one connection may have in one pass.
    pub pass_hits_max: usize,
}

impl Limits {
    /// What suits a small board.
    pub const DEFAULT: Self = Self {
        connections_max: 1024,
        connections_min: CONNECTIONS_MIN,
        head_bytes_max: 16 << 10,
        headers_max: 100,
        body_bytes_max: 1 << 20,
        head_ns_max: 10 * SECOND_NS,
        idle_ns_max: 60 * SECOND_NS,
        write_ns_max: 10 * SECOND_NS,
        pass_hits_max: 64,
    };

    /// Bytes of a request's target; a longer one is refused with 414.
    #[must_use]
    pub const fn target_bytes_max(&self) -> usize {
        self.head_bytes_max / 2
    }

    /// Nanoseconds that a body may take in all, besides [`BODY_BYTE_NS`] for each of its bytes.
    #[must_use]
    pub const fn body_ns_max(&self) -> u64 {
        self.idle_ns_max.saturating_mul(10)
    }

    /// Nanoseconds that a client may take for what it owes.
    #[must_use]
    pub const fn patience_ns(&self, owes: Owes) -> u64 {
        match owes {
            Owes::Head => self.head_ns_max,
            Owes::Body | Owes::Nothing => self.idle_ns_max,
        }
    }

    /// Raises the limit on descriptors to what these connections and so many workers need. Where the system
    /// does not allow so many, returns limits with fewer connections.
    ///
    /// # Errors
    /// Not even the fewest connections are possible; the message says what is needed and allowed.
    pub fn raise_descriptors(self, workers: usize) -> Result<Self> {
        let beside = DESCRIPTORS_BESIDE + DESCRIPTORS_PER_WORKER * workers as u64;
        let needed = self.connections_max as u64 + beside;
        let had = getrlimit(Resource::Nofile);
        if had.current.is_none_or(|current| current >= needed) {
            return Ok(self);
        }
        let raised = |current| Rlimit {
            current: Some(current),
            maximum: had.maximum.map(|maximum| maximum.max(current)),
        };
        if setrlimit(Resource::Nofile, raised(needed)).is_ok() {
            return Ok(self);
        }
        let allowed = had.maximum.unwrap_or(needed).min(needed);
        // What is left to connections is no more than was asked for, so it fits.
        let fitting = allowed.saturating_sub(beside) as usize;
        let fewest = self.connections_min.min(self.connections_max);
        if fitting < fewest || setrlimit(Resource::Nofile, raised(allowed)).is_err() {
            return Err(too_few(fewest, beside, allowed));
        }
        Ok(Self {
            connections_max: fitting,
            ..self
        })
    }
}

fn too_few(connections: usize, beside: u64, allowed: u64) -> Error {
    let needed = connections as u64 + beside;
    let way_out = if allowed > beside {
        format!(", or give --connections {} or fewer", allowed - beside)
    } else {
        String::new()
    };
    let cause = format!(
        "{needed} descriptors are needed, the hard limit is {allowed} ({HOW_TO_RAISE}{way_out})"
    );
    Error::found(many(connections as u64, "connection"), cause)
}

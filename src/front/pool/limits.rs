//! What one client may take, and what all together may.
//!
//! Owns the numbers behind promise P7 and their bounds; the flags are formatted from them. The number
//! of connections needs as many descriptors, so the process' limit is raised to what is needed, and
//! a start that cannot have them is refused instead of failing later.
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
/// Connections above the limit that one worker gives time to read their refusal.
pub const SURPLUS_MAX: usize = 64;
/// Connections of operators at once; one more is refused with 503.
pub const OPERATORS_MAX: usize = 32;
/// Nanoseconds that each byte of a body adds to the time it may take: 500 bytes a second go on for ever.
pub const BODY_BYTE_NS: u64 = 2 * MILLISECOND_NS;
/// Descriptors for all but workers: segments, listeners, the directory, standard streams.
const DESCRIPTORS_BESIDE: u64 = 64 + OPERATORS_MAX as u64;
/// Descriptors of a worker beside its connections: its poll, what wakes it, its listeners, and one that
/// is refused at once.
const DESCRIPTORS_PER_WORKER: u64 = 5 + SURPLUS_MAX as u64;

/// The limits of a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; one more is refused with 503.
    pub connections_max: usize,
    /// Bytes of a request head; a longer one is refused with 431.
    pub head_bytes_max: usize,
    /// Header lines of a head; one more is refused with 431.
    pub headers_max: usize,
    /// Bytes of a body by length behind which the connection stays; it is told to close before a longer one.
    pub body_bytes_max: u64,
    /// Nanoseconds from the first byte of a head to its last; refused with 408 after that.
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

    /// Raises the limit on descriptors to what these connections and so many workers need.
    ///
    /// # Errors
    /// The system does not allow so many; the message says how many it does.
    pub fn raise_descriptors(&self, workers: usize) -> Result<()> {
        let beside = DESCRIPTORS_BESIDE + DESCRIPTORS_PER_WORKER * workers as u64;
        let needed = self.connections_max as u64 + beside;
        let had = getrlimit(Resource::Nofile);
        if had.current.is_none_or(|current| current >= needed) {
            return Ok(());
        }
        let raised = Rlimit {
            current: Some(needed),
            maximum: had.maximum.map(|maximum| maximum.max(needed)),
        };
        setrlimit(Resource::Nofile, raised).map_err(|_| {
            let allowed = had.maximum.unwrap_or(needed);
            let cause = format!("{needed} descriptors are needed, the system allows {allowed}");
            Error::found(many(self.connections_max as u64, "connection"), cause)
        })
    }
}

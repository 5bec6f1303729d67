//! What a front is: whatever turns bytes on sockets into batches of stamped hits.
//!
//! Owns the seam. A front is given a bound listener, a number of workers, the funnel's inlet, a clock
//! and the alarm; it answers every request with the tally that its batch came back with, and an error
//! where it came back refused. Which front there is makes no difference to anything behind the inlet.
//!
//! The operator's requests come in by a door of their own, and are served by the pool whichever front
//! takes the hits; what they are answered with is made by an [`desk::Operator`].
//!
//! Must not know of the funnel, the window or the journal: it can only append. Invariant: a request
//! is answered with a tally only after its batch came back counted, and no operator's request counts.

pub mod desk;
pub mod gauges;
pub mod pool;
mod tiny;

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::error::Result;
use crate::hit::Inlet;
use desk::Desk;
use gauges::Gauges;
use pool::limits::Limits;
use std::net::TcpListener;
use std::sync::Arc;

/// What goes with a hit that is not counted.
const REFUSED_TEXT: &str = "not counted: the disk does not take the record\n";

/// The header line of an answer whose numbers are not exact.
pub const ESTIMATED: &str = "Tally-Status: estimated\r\n";

/// Header lines of every answer: no cache keeps it, and no browser takes it for another type.
const EVERY_ANSWER: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// Which front serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fixed threads over many connections, with limits on everything.
    Pool,
    /// A pool of workers on `tiny_http`: the measured baseline.
    TinyHttp,
}

impl Kind {
    /// Every front there is.
    pub const ALL: [Self; 2] = [Self::Pool, Self::TinyHttp];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::TinyHttp => "tiny-http",
        }
    }
}

/// What a hit is stamped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// The return of the read that completed its head.
    Read,
    /// The arrival of the bytes of that read at the kernel, which tells it.
    Kernel,
}

impl Stamping {
    /// Every way there is.
    pub const ALL: [Self; 2] = [Self::Read, Self::Kernel];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Kernel => "kernel",
        }
    }
}

/// What a front is given.
pub struct Plan<C> {
    /// Where connections come from.
    pub listener: TcpListener,
    /// How many threads handle requests.
    pub workers: usize,
    /// The way to the funnel.
    pub inlet: Inlet,
    /// Where stamps come from.
    pub clock: C,
    /// Rung when the front cannot go on.
    pub alarm: Alarm,
    /// What hits are stamped by; kept by the pool alone.
    pub stamping: Stamping,
    /// What clients may take; kept by the pool alone.
    pub limits: Limits,
    /// The operator's door, if there is one.
    pub desk: Option<Desk>,
    /// What is counted besides hits; kept by the pool alone.
    pub gauges: Arc<Gauges>,
}

/// A front that runs.
pub trait Front {
    /// Answers what is under way and ends every worker. After it nothing more reaches the funnel.
    fn stop(self: Box<Self>);
}

/// Two that run beside each other.
struct Both(Box<dyn Front>, Box<dyn Front>);

impl Front for Both {
    fn stop(self: Box<Self>) {
        self.0.stop();
        self.1.stop();
    }
}

/// Starts a front, and the operator's desk with it.
///
/// # Errors
/// A thread or a descriptor cannot be had.
pub fn start<C: Clock>(kind: Kind, mut plan: Plan<C>) -> Result<Box<dyn Front>> {
    match kind {
        Kind::Pool => pool::start(plan),
        Kind::TinyHttp => match plan.desk.take() {
            None => tiny::start(plan),
            Some(desk) => {
                let desk = pool::start_desk(desk, &plan)?;
                Ok(Box::new(Both(tiny::start(plan)?, desk)))
            }
        },
    }
}

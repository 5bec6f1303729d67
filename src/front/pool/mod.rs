//! The pool: a fixed number of workers, each with its own poll over its share of the connections.
//!
//! Owns what all workers share, and starting and stopping them. Every worker watches the one listening
//! socket; whoever is woken takes what waits. Measured against a socket for each of two workers with
//! `SO_REUSEPORT` (two cores, wrk on the same, two runs): one connection has the same latency (p50 29 µs
//! each); 64 connections are shared 3 to 1 and 5 to 1 here, 1 to 1 there; a connection per request costs
//! 26 and 31 µs of CPU here, 22 and 24 there, for the worker that is woken in vain. It was not chosen all
//! the same: two servers started on one port by mistake would then share it without a word, and each
//! would count a part. With one worker, the default, the two are one.
//!
//! Must not know how hits are counted: a [`Count`] takes a pass's batch and gives it back with the
//! tallies. Invariant: threads and buffers are fixed at the start, connections are bounded.

mod body;
mod connection;
pub mod limits;
mod listener;
pub mod request;
mod response;
pub mod talk;
mod worker;

use super::{Front, Plan};
use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hit::{Batch, Gone, Line};
use limits::Limits;
use listener::Listener;
use mio::{Interest, Poll, Token, Waker};
use rustix::net::{listen, sockopt};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use worker::Worker;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// What the system may keep of what a client has sent or not read yet, each way; with its own records it
/// takes twice that. Left to itself it keeps megabytes for everyone who does not read, and calls a client
/// that reads slowly stalled, since it wants a third of that free before it takes more.
const SOCKET_BYTES: usize = 32 << 10;

/// Where the hits of a pass go, and come back from with their tallies.
pub trait Count: Send + 'static {
    /// The batch of the next pass, empty.
    ///
    /// # Errors
    /// Nobody counts any more.
    fn next_batch(&mut self) -> Result<&mut Batch, Gone>;
    /// Has the batch counted.
    ///
    /// # Errors
    /// Nobody counts any more, and whether these were counted is not known.
    fn exchange(&mut self) -> Result<&Batch, Gone>;
}

impl Count for Line {
    fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        Self::next_batch(self)
    }

    fn exchange(&mut self) -> Result<&Batch, Gone> {
        Self::exchange(self)
    }
}

/// What all workers see.
struct Shared {
    limits: Limits,
    alarm: Alarm,
    stopping: AtomicBool,
    /// Connections open, those above the limit not among them.
    open: AtomicUsize,
}

struct PoolFront {
    shared: Arc<Shared>,
    wakers: Vec<Waker>,
    workers: Vec<JoinHandle<Option<()>>>,
}

/// Starts a pool that counts by the funnel.
///
/// # Errors
/// A thread or a descriptor cannot be had, or not so many.
pub fn start<C: Clock>(plan: Plan<C>) -> Result<Box<dyn Front>> {
    let inlet = plan.inlet.clone();
    start_with(plan, || inlet.line())
}

/// Starts a pool whose workers count by what `counter` makes for each.
///
/// # Errors
/// As [`start`].
pub fn start_with<C: Clock, K: Count>(
    plan: Plan<C>,
    counter: impl Fn() -> K,
) -> Result<Box<dyn Front>> {
    plan.limits.raise_descriptors(plan.workers)?;
    let failed = |cause: io::Error| Error::io("serve", "the listener", cause);
    sockopt::set_tcp_nodelay(&plan.listener, true).map_err(|cause| failed(cause.into()))?;
    sockopt::set_socket_send_buffer_size(&plan.listener, SOCKET_BYTES)
        .and_then(|()| sockopt::set_socket_recv_buffer_size(&plan.listener, SOCKET_BYTES))
        .map_err(|cause| failed(cause.into()))?;
    listen(&plan.listener, BACKLOG).map_err(|cause| failed(cause.into()))?;
    plan.listener.set_nonblocking(true).map_err(failed)?;
    let shared = Arc::new(Shared {
        limits: plan.limits,
        alarm: plan.alarm,
        stopping: AtomicBool::new(false),
        open: AtomicUsize::new(0),
    });
    let mut front = PoolFront {
        shared: Arc::clone(&shared),
        wakers: Vec::with_capacity(plan.workers),
        workers: Vec::with_capacity(plan.workers),
    };
    for index in 0..plan.workers {
        let (poll, waker, listener) = watch(&plan.listener).map_err(failed)?;
        let clock = plan.clock.clone();
        let worker = Worker::new(Arc::clone(&shared), poll, listener, clock, counter());
        front.wakers.push(waker);
        let thread = shared
            .alarm
            .spawn(&format!("worker-{index}"), move || worker.run())?;
        front.workers.push(thread);
    }
    Ok(Box::new(front))
}

/// A poll that watches `listener`, and what wakes it.
fn watch(listener: &TcpListener) -> io::Result<(Poll, Waker, Listener)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let mut socket = mio::net::TcpListener::from_std(listener.try_clone()?);
    poll.registry()
        .register(&mut socket, LISTENER, Interest::READABLE)?;
    Ok((poll, waker, Listener::new(socket)))
}

impl Front for PoolFront {
    fn stop(self: Box<Self>) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for waker in &self.wakers {
            // A worker that cannot be woken sees the flag at its next event.
            let _late = waker.wake();
        }
        for worker in self.workers {
            let _alarm_was_raised = worker.join();
        }
    }
}

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

mod admission;
mod arrival;
mod body;
mod connection;
pub mod limits;
mod listener;
mod pass;
pub mod request;
mod response;
pub mod talk;
mod tasks;
mod worker;

use super::desk::{Desk, Operator};
use super::gauges::{Gauges, Side};
use super::{Front, Plan, Stamping};
use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hit::{Batch, Gone, Line};
use limits::{HOW_TO_RAISE, Limits};
use listener::Listener;
use mio::{Interest, Poll, Token, Waker};
use rustix::net::{listen, sockopt};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use worker::{Door, Worker};

const WAKER: Token = Token(usize::MAX);
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
    stamping: Stamping,
    alarm: Alarm,
    stopping: AtomicBool,
    gauges: Arc<Gauges>,
    /// Who answers at the operator's door; there is one just as long as there is that door.
    operator: Option<Arc<dyn Operator>>,
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
    mut plan: Plan<C>,
    counter: impl Fn() -> K,
) -> Result<Box<dyn Front>> {
    let desk = plan.desk.take();
    let shared = share(&plan, desk.as_ref());
    let mut doors = vec![(Side::Hits, plan.listener)];
    doors.extend(desk.map(|desk| (Side::Operator, desk.listener)));
    start_workers(shared, &doors, plan.workers, &plan.clock, counter)
}

/// Starts a pool of one worker for the operator's door alone, beside another front that has the rest of
/// `plan`.
///
/// # Errors
/// As [`start`].
pub fn start_desk<C: Clock>(desk: Desk, plan: &Plan<C>) -> Result<Box<dyn Front>> {
    let shared = share(plan, Some(&desk));
    let doors = [(Side::Operator, desk.listener)];
    start_workers(shared, &doors, 1, &plan.clock, || plan.inlet.line())
}

fn share<C>(plan: &Plan<C>, desk: Option<&Desk>) -> Shared {
    Shared {
        limits: plan.limits,
        stamping: plan.stamping,
        alarm: plan.alarm.clone(),
        stopping: AtomicBool::new(false),
        gauges: Arc::clone(&plan.gauges),
        operator: desk.map(|desk| Arc::clone(&desk.operator)),
    }
}

fn start_workers<C: Clock, K: Count>(
    mut shared: Shared,
    doors: &[(Side, TcpListener)],
    count: usize,
    clock: &C,
    counter: impl Fn() -> K,
) -> Result<Box<dyn Front>> {
    let wanted = shared.limits.connections_max;
    shared.limits = shared.limits.raise_descriptors(count)?;
    let served = shared.limits.connections_max;
    if served < wanted && doors.iter().any(|(side, _)| *side == Side::Hits) {
        log::warn!(
            "serving at most {served} connections instead of {wanted}: the hard limit on descriptors \
             allows no more ({HOW_TO_RAISE})"
        );
    }
    let failed = |cause: io::Error| Error::io("serve", "the listener", cause);
    for (side, listener) in doors {
        prepare(listener).map_err(failed)?;
        let has_arrivals = *side == Side::Hits && shared.stamping == Stamping::Kernel;
        arrival::ask_for(listener, has_arrivals)
            .map_err(|cause| Error::io("have", "kernel stamps", cause))?;
    }
    let shared = Arc::new(shared);
    let mut front = PoolFront {
        shared: Arc::clone(&shared),
        wakers: Vec::with_capacity(count),
        workers: Vec::with_capacity(count),
    };
    for index in 0..count {
        let (poll, waker, doors) = watch(doors).map_err(failed)?;
        let worker = Worker::new(Arc::clone(&shared), poll, doors, clock.clone(), counter());
        front.wakers.push(waker);
        let thread = shared
            .alarm
            .spawn(&format!("worker-{index}"), move || worker.run())?;
        front.workers.push(thread);
    }
    Ok(Box::new(front))
}

/// Sets what every connection inherits from its listener.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_socket_send_buffer_size(listener, SOCKET_BYTES)?;
    sockopt::set_socket_recv_buffer_size(listener, SOCKET_BYTES)?;
    listen(listener, BACKLOG)?;
    listener.set_nonblocking(true)
}

/// A poll that watches `doors`, and what wakes it.
fn watch(doors: &[(Side, TcpListener)]) -> io::Result<(Poll, Waker, Vec<Door>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let mut watched = Vec::with_capacity(doors.len());
    for (place, (side, listener)) in doors.iter().enumerate() {
        let token = Token(WAKER.0 - 1 - place);
        let mut socket = mio::net::TcpListener::from_std(listener.try_clone()?);
        poll.registry()
            .register(&mut socket, token, Interest::READABLE)?;
        watched.push(Door {
            side: *side,
            token,
            listener: Listener::new(socket),
            full_since: None,
        });
    }
    Ok((poll, waker, watched))
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

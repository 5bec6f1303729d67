//! A worker: one thread, one poll, its share of the connections.
//!
//! Owns the loop and its order: wait for readiness; take a pass over what is ready (`pass.rs`); do one
//! piece of what an operator asked for (`tasks.rs`); take new connections (`admission.rs`); see to deadlines. New
//! connections come last, so that no event of this pass can be taken for one of a connection that has got
//! a closed one's place.
//!
//! Must not know how hits are counted, or what is in a request beyond its head. Invariants: a pass does
//! a bounded amount of work for each connection; what one client does, or leaves undone, holds up no
//! other.

use super::admission::Crowd;
use super::arrival::Arrivals;
use super::connection::Connection;
use super::listener::Listener;
use super::pass::{Pass, text_of};
use super::request::Refusal;
use super::response::Responder;
use super::talk::Owes;
use super::{Count, Shared};
use crate::clock::Clock;
use crate::front::Stamping;
use crate::front::gauges::Side;
use crate::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};
use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events taken from the system at once.
const EVENTS_MAX: usize = 256;
/// How long a last response is given to arrive.
pub(super) const LINGER_NS: u64 = 2 * SECOND_NS;
/// How long stopping waits for clients to take their answers.
const STOP_NS: u64 = SECOND_NS;
/// How long a client that was heard lately has for its next request before its connection is closed to make
/// room or to stop, so that the close does not cross with a request.
pub(super) const GRACE_NS: u64 = SECOND_NS / 10;

/// A listening socket, and what comes in by it.
pub struct Door {
    /// What comes in.
    pub side: Side,
    /// Its token in the poll.
    pub token: Token,
    /// The socket.
    pub listener: Listener,
    /// Since when connections have been waiting there while every place is taken.
    pub full_since: Option<Stamp>,
}

impl Door {
    /// Whether it is that of `side`, and connections wait there while every place is taken.
    pub fn is_crowded(&self, side: Side) -> bool {
        self.side == side && self.full_since.is_some()
    }
}

/// One of the pool.
pub struct Worker<C, K> {
    pub(super) shared: Arc<Shared>,
    pub(super) poll: Poll,
    /// None any more once stopping has begun.
    pub(super) doors: Vec<Door>,
    pub(super) clock: C,
    /// What places the kernel's stamps, if hits have those.
    pub(super) arrivals: Option<Arrivals>,
    pub(super) counter: K,
    pub(super) connections: Slab<Connection>,
    /// What admission knows of each side.
    pub(super) crowds: [Crowd; 2],
    /// Connections to read in the next pass.
    pub(super) listed: Vec<usize>,
    pub(super) pass: Pass,
    /// Connections whose operators wait for an answer in the making.
    pub(super) tasks: VecDeque<usize>,
    pub(super) responder: Responder,
    /// What is written comes from here.
    pub(super) out: Vec<u8>,
    next_sweep: Stamp,
}

impl<C: Clock, K: Count> Worker<C, K> {
    /// A worker without connections, whose `poll` watches `doors`.
    pub fn new(shared: Arc<Shared>, poll: Poll, doors: Vec<Door>, clock: C, counter: K) -> Self {
        let responder = Responder::new(clock.wall_ns());
        let pass = Pass::new(&shared.limits);
        let arrivals = (shared.stamping == Stamping::Kernel).then(Arrivals::new);
        Self {
            shared,
            poll,
            doors,
            clock,
            arrivals,
            counter,
            connections: Slab::new(),
            crowds: [Crowd::new(), Crowd::new()],
            listed: Vec::new(),
            pass,
            tasks: VecDeque::new(),
            responder,
            out: Vec::new(),
            next_sweep: Stamp::MIN,
        }
    }

    /// Takes passes until the front stops.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut stop_at: Option<Stamp> = None;
        loop {
            if stop_at.is_none() && self.shared.stopping.load(Ordering::SeqCst) {
                stop_at = Some(self.clock.now().after(STOP_NS));
                self.leave_doors();
            }
            if let Err(cause) = self.poll.poll(&mut events, self.patience(stop_at)) {
                if cause.kind() == ErrorKind::Interrupted {
                    continue;
                }
                let cause = crate::error::io_text(&cause);
                return self.shared.alarm.raise(format!("cannot poll: {cause}"));
            }
            for event in &events {
                self.see(event);
            }
            if self.take_pass().is_err() {
                return self.shared.alarm.raise("the funnel is gone".to_owned());
            }
            self.take_step();
            self.accept();
            let now = self.clock.now();
            if now >= self.next_sweep {
                self.sweep(now);
            }
            if let Some(stop_at) = stop_at {
                self.dismiss(now);
                if now >= stop_at || self.connections.is_empty() {
                    return;
                }
            }
        }
    }

    /// How long the poll may wait.
    fn patience(&self, stop_at: Option<Stamp>) -> Option<Duration> {
        if !self.listed.is_empty() || !self.tasks.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self
            .doors
            .iter()
            .filter_map(|door| door.listener.due())
            .min();
        let sweep = (!self.connections.is_empty()).then_some(self.next_sweep);
        // Stopping takes what has arrived, and what arrives while answers are being taken.
        let stop = stop_at.map(|_| self.clock.now().after(MILLISECOND_NS));
        let due = accept.into_iter().chain(sweep).chain(stop).min()?;
        Some(Duration::from_nanos(due.since(self.clock.now())))
    }

    /// Takes note of what an event says.
    fn see(&mut self, event: &Event) {
        let token = event.token();
        if let Some(door) = self.doors.iter_mut().find(|door| door.token == token) {
            door.listener.see();
            return;
        }
        let Token(key) = token;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.is_ending |= event.is_read_closed() || event.is_error();
        connection.is_readable |= event.is_readable() || connection.is_ending;
        if event.is_writable() && connection.has_output() {
            let limits = &self.shared.limits;
            let moved = connection.flush();
            if !connection.has_output() {
                let patience_ns = limits.patience_ns(connection.talk.owes());
                let now = self.clock.now();
                connection.hear(now);
                connection.deadline = now.after(patience_ns);
                self.settle(key);
            } else if moved {
                connection.deadline = self.clock.now().after(limits.write_ns_max);
            }
        } else if connection.is_readable {
            self.list(key);
        }
    }

    /// Puts a connection on the list of the next pass.
    pub(super) fn list(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_listed
        {
            connection.is_listed = true;
            self.listed.push(key);
        }
    }

    /// Reads a connection in the next pass though no event says that there is anything.
    pub(super) fn read_soon(&mut self, key: usize) {
        self.connections[key].is_readable = true;
        self.list(key);
    }

    /// Gives a connection up.
    pub(super) fn remove(&mut self, key: usize) {
        if let Some(connection) = self.connections.try_remove(key) {
            if connection.is_surplus {
                self.crowds[connection.side as usize].forget(key);
            } else {
                self.shared.gauges.leave(connection.side);
            }
        }
    }

    /// Takes no more connections: what waits is for whoever shares the listening socket. Such a socket
    /// lives on, and would go on waking a poll that it is not taken out of.
    fn leave_doors(&mut self) {
        for mut door in self.doors.drain(..) {
            door.listener.leave(self.poll.registry());
        }
    }

    /// Lets every client go that has nothing under way and has had its time to speak. One that has spoken
    /// since it was last read is heard instead: nothing is between looking and letting go.
    fn dismiss(&mut self, now: Stamp) {
        let at_rest: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, it)| !it.is_listed && !it.has_output() && it.task.is_none())
            .filter(|(_, it)| now.since(it.heard_at) >= GRACE_NS)
            .map(|(key, _)| key)
            .collect();
        for key in at_rest {
            if self.connections[key].has_more() {
                self.read_soon(key);
            } else {
                self.remove(key);
            }
        }
    }

    /// Ends the patience with every connection whose deadline has passed.
    fn sweep(&mut self, now: Stamp) {
        let limits = &self.shared.limits;
        let shortest_ns = limits
            .head_ns_max
            .min(limits.idle_ns_max)
            .min(limits.write_ns_max);
        let period_ns = (shortest_ns / 8).clamp(5 * MILLISECOND_NS, SECOND_NS / 2);
        self.next_sweep = now.after(period_ns);
        let late: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.deadline <= now)
            .map(|(key, _)| key)
            .collect();
        for key in late {
            let connection = &mut self.connections[key];
            // What came in time and was not read yet is read before the connection is closed.
            if !connection.has_output() && !connection.has_ended && connection.is_to_be_read() {
                self.read_soon(key);
                continue;
            }
            if connection.talk.owes() != Owes::Head || connection.has_output() {
                self.remove(key);
                continue;
            }
            let refusal = Refusal::TimedOut;
            let side = connection.side;
            if side == Side::Hits {
                self.shared.gauges.refuse(refusal);
            }
            self.out.clear();
            self.responder.set_date(self.clock.wall_ns());
            self.responder
                .refusal(&mut self.out, side, refusal, text_of(refusal), false);
            connection.talk.end();
            connection.send(&self.out);
            self.settle(key);
        }
    }
}

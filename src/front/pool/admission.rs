//! Admission: which new connections get a place, and which open ones are closed to make room.
//!
//! Owns what happens where every place is taken. New connections wait in the kernel's queue for a moment;
//! meanwhile the connection that has been idle longest is closed and the first that waits gets its place.
//! If after that time none is idle, on the hits side the new connection is answered 503; on the operator's
//! side a client that is slow to send or to read is closed instead, so that a probe always gets through.
//! A connection that has not been answered yet is told 503 before it is closed, and stays open until the
//! 503 has arrived; there is a small number of places for those. A lack of descriptors closes idle
//! connections as well.
//!
//! Must not know what requests are worth. Invariants: on the hits side no connection is closed that has
//! a request under way or bytes that were not read; finding a connection to close looks at all of them at
//! most once for every [`CANDIDATES_MAX`] that are closed, and every [`RETRY_NS`] if there is none.

use super::connection::{Activity, Connection};
use super::limits::{OPERATORS_MAX, OPERATORS_SURPLUS_MAX, SURPLUS_MAX};
use super::listener::Accepted;
use super::request::Refusal;
use super::worker::{GRACE_NS, LINGER_NS, Worker};
use super::{Count, Shared};
use crate::clock::Clock;
use crate::front::gauges::Side;
use crate::stamp::{MILLISECOND_NS, Stamp};
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::collections::VecDeque;
use std::io;

/// Connections taken from one listener in one pass.
const PASS_ACCEPTS_MAX: usize = 64;
/// Connections to close that are found at once.
const CANDIDATES_MAX: usize = 64;
/// How often a place is looked for while connections wait.
const RETRY_NS: u64 = 5 * MILLISECOND_NS;
/// How long operators wait until slow ones are closed. Bytes that are sent right after connecting have
/// come by then.
const OPERATORS_WAIT_NS: u64 = 10 * MILLISECOND_NS;
/// How long a new connection waits for another worker to close an idle one, if its own has none.
const OTHERS_WAIT_NS: u64 = 10 * GRACE_NS;
/// What a client is told that gets no place.
const FULL_TEXT: &str = "too many connections\n";

/// A connection that may be closed to make room, as long as it does the same as when it was found.
struct Candidate {
    activity: Activity,
    heard_at: Stamp,
    key: usize,
}

/// What a worker knows of the connections of one side that may be closed.
pub struct Crowd {
    /// Those found by the last search, the first to be closed at the end.
    candidates: Vec<Candidate>,
    /// When to search again; at once, if the last search was of use.
    search_at: Stamp,
    /// Connections that were told 503 and are open until it has arrived, the oldest first.
    surplus: VecDeque<usize>,
}

impl Crowd {
    /// One of a worker without connections.
    pub const fn new() -> Self {
        Self {
            candidates: Vec::new(),
            search_at: Stamp::MIN,
            surplus: VecDeque::new(),
        }
    }

    /// A connection that was told 503 is gone.
    pub fn forget(&mut self, key: usize) {
        self.surplus.retain(|&other| other != key);
    }
}

/// What a new connection finds.
enum Place {
    /// There is one, or there may be one now.
    Made,
    /// There is none; it is told so.
    Refused,
    /// It has to wait.
    Later,
}

impl Side {
    /// Connections that are open at once.
    fn connections_max(self, shared: &Shared) -> usize {
        match self {
            Self::Hits => shared.limits.connections_max,
            Self::Operator => OPERATORS_MAX,
        }
    }

    /// Connections of one worker that were told 503 and are open until it has arrived.
    const fn surplus_max(self) -> usize {
        match self {
            Self::Hits => SURPLUS_MAX,
            Self::Operator => OPERATORS_SURPLUS_MAX,
        }
    }

    /// How long new connections wait for an idle one to be closed.
    const fn wait_ns(self) -> u64 {
        match self {
            Self::Hits => GRACE_NS,
            Self::Operator => OPERATORS_WAIT_NS,
        }
    }
}

/// Whether a connection may be closed to make room. One that was answered and may ask again has its time
/// for that; others only have it as long as the need is not `urgent`.
fn may_close(connection: &Connection, urgent: bool, now: Stamp) -> bool {
    let is_patient = urgent && (connection.is_silent() || connection.has_ended);
    match connection.activity() {
        Activity::Idle => is_patient || now.since(connection.heard_at) >= GRACE_NS,
        Activity::Receiving | Activity::Sending => urgent && connection.side == Side::Operator,
        Activity::Working => false,
    }
}

impl<C: Clock, K: Count> Worker<C, K> {
    /// Takes new connections.
    pub(super) fn accept(&mut self) {
        for index in 0..self.doors.len() {
            for _ in 0..PASS_ACCEPTS_MAX {
                if !self.accept_one(index) {
                    break;
                }
            }
        }
    }

    /// Takes one new connection; whether there may be more to take now.
    fn accept_one(&mut self, index: usize) -> bool {
        let now = self.clock.now();
        let door = &mut self.doors[index];
        let (side, gauges) = (door.side, &self.shared.gauges);
        if door.listener.due().is_none_or(|due| now < due) {
            return false;
        }
        let has_place = gauges.reserve(side, side.connections_max(&self.shared));
        if !has_place {
            match self.make_place(index, now) {
                Place::Made => return true,
                Place::Refused => {}
                Place::Later => return false,
            }
        }
        let door = &mut self.doors[index];
        let accepted = door.listener.accept();
        if let Accepted::Connection(stream) = accepted {
            self.admit(stream, side, has_place, now);
            return true;
        }
        if has_place {
            self.shared.gauges.leave(side);
        }
        match accepted {
            Accepted::Lacking(cause) => self.spare_descriptor(index, &cause, now),
            _ => {
                door.full_since = None;
                false
            }
        }
    }

    /// Makes room for a connection that waits, if one does.
    fn make_place(&mut self, index: usize, now: Stamp) -> Place {
        let door = &mut self.doors[index];
        let side = door.side;
        if !door.listener.has_waiting() {
            door.full_since = None;
            return Place::Later;
        }
        let waited_ns = now.since(*door.full_since.get_or_insert(now));
        let is_urgent = waited_ns >= side.wait_ns();
        if self.close_one(side, is_urgent, now) {
            return Place::Made;
        }
        // Other workers may have idle connections, and may be slow to get a processor.
        let is_alone = self.open_here(side) >= self.shared.gauges.open(side);
        let has_waited = is_urgent && (is_alone || waited_ns >= OTHERS_WAIT_NS);
        if side == Side::Hits && has_waited && self.has_surplus_place(side, now) {
            return Place::Refused;
        }
        self.doors[index].listener.pause(now.after(RETRY_NS));
        Place::Later
    }

    /// Connections of `side` that this worker has in places.
    fn open_here(&self, side: Side) -> usize {
        let connections = self.connections.iter();
        connections
            .filter(|(_, it)| it.side == side && !it.is_surplus)
            .count()
    }

    /// Closes a connection so that another one can have its descriptor; whether there was one. If not,
    /// accepting pauses.
    fn spare_descriptor(&mut self, index: usize, cause: &io::Error, now: Stamp) -> bool {
        for side in [Side::Hits, Side::Operator] {
            if let Some(&key) = self.crowds[side as usize].surplus.front() {
                self.remove(key);
                return true;
            }
        }
        let is_spared =
            self.close_one(Side::Hits, true, now) || self.close_one(Side::Operator, true, now);
        if !is_spared {
            self.doors[index].listener.fail(cause, now);
        }
        is_spared
    }

    /// Lets a connection in, or tells it that there is no place.
    fn admit(&mut self, stream: TcpStream, side: Side, has_place: bool, now: Stamp) {
        let limits = &self.shared.limits;
        // A client that sends nothing has no more time than for a head.
        let deadline = now.after(limits.head_ns_max.min(limits.idle_ns_max));
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let connection = entry.insert(Connection::new(stream, side, now, deadline));
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = registry.register(connection.stream(), Token(key), interest);
        if has_place {
            self.shared.gauges.enter(side);
        }
        if !has_place || registered.is_err() {
            self.turn_away(key, has_place, now);
        }
        if registered.is_err() {
            self.remove(key);
        }
    }

    /// Tells a connection that there is no place for it, and gives that time to arrive if there is room
    /// for one that is open only for this.
    fn turn_away(&mut self, key: usize, has_place: bool, now: Stamp) {
        let side = self.connections[key].side;
        let has_room = self.has_surplus_place(side, now);
        let connection = &mut self.connections[key];
        self.out.clear();
        self.responder.set_date(self.clock.wall_ns());
        self.responder
            .refusal(&mut self.out, side, Refusal::Unavailable, FULL_TEXT, false);
        connection.send(&self.out);
        connection.end_output(now);
        connection.deadline = now.after(LINGER_NS);
        connection.is_surplus = true;
        self.crowds[side as usize].surplus.push_back(key);
        self.shared.gauges.turn_away(side);
        if has_place {
            self.shared.gauges.leave(side);
        }
        if !has_room || self.connections[key].is_gone {
            self.remove(key);
        }
    }

    /// Whether there is room for one more that is open until its 503 has arrived. The oldest that has sent
    /// its request, or has had some time, makes room.
    fn has_surplus_place(&mut self, side: Side, now: Stamp) -> bool {
        let surplus = &self.crowds[side as usize].surplus;
        if surplus.len() < side.surplus_max() {
            return true;
        }
        let is_done = |key: &&usize| {
            let connection = &self.connections[**key];
            let has_read = !connection.is_silent() || now.since(connection.heard_at) >= GRACE_NS;
            has_read && !connection.has_more()
        };
        let Some(&key) = surplus.iter().find(is_done) else {
            return false;
        };
        self.remove(key);
        true
    }

    /// Closes the connection of a side that has been idle longest, or whatever else may be closed;
    /// whether there was one.
    fn close_one(&mut self, side: Side, urgent: bool, now: Stamp) -> bool {
        let mut has_searched = false;
        loop {
            let crowd = &mut self.crowds[side as usize];
            let Some(candidate) = crowd.candidates.pop() else {
                if has_searched || now < crowd.search_at {
                    return false;
                }
                has_searched = true;
                crowd.search_at = now.after(RETRY_NS);
                self.search(side, urgent, now);
                continue;
            };
            let key = candidate.key;
            let Some(connection) = self.connections.get_mut(key).filter(|it| {
                it.side == side
                    && !it.is_surplus
                    && (it.activity(), it.heard_at) == (candidate.activity, candidate.heard_at)
                    && may_close(it, urgent, now)
            }) else {
                continue;
            };
            // Bytes that are not read yet may be a request, or the rest of one. On the operator's side they
            // are waited for once, so that no bytes keep a place that bring nothing forward.
            let is_read_first = match side {
                Side::Hits => connection.has_more(),
                Side::Operator => {
                    candidate.activity < Activity::Sending && connection.is_to_be_read()
                }
            };
            if is_read_first {
                self.read_soon(key);
                continue;
            }
            let is_unanswered = connection.is_silent() || candidate.activity == Activity::Receiving;
            self.crowds[side as usize].search_at = Stamp::MIN;
            if is_unanswered {
                self.turn_away(key, true, now);
            } else {
                self.remove(key);
            }
            return true;
        }
    }

    /// Finds connections that may be closed, those that have been idle longest before all others.
    fn search(&mut self, side: Side, urgent: bool, now: Stamp) {
        let candidates = &mut self.crowds[side as usize].candidates;
        let rank = |it: &Candidate| (it.activity, it.heard_at);
        for (key, it) in &self.connections {
            if it.side != side || it.is_surplus || !may_close(it, urgent, now) {
                continue;
            }
            let found = Candidate {
                activity: it.activity(),
                heard_at: it.heard_at,
                key,
            };
            // The one that comes first is the last of the list.
            let mut place = candidates.partition_point(|other| rank(other) > rank(&found));
            if candidates.len() == CANDIDATES_MAX {
                if place == 0 {
                    continue;
                }
                candidates.remove(0);
                place -= 1;
            }
            candidates.insert(place, found);
        }
    }
}

//! A worker: one thread, one poll, its share of the connections, one batch.
//!
//! Owns the order of a pass: wait for readiness; read every ready connection once and stamp its hits
//! when that read returns; send all hits of the pass as one batch; write the answers, one write for a
//! connection; take new connections; see to deadlines. New connections come last, so that no event of
//! this pass can be taken for one of a connection that has got a closed one's place.
//!
//! Must not know how hits are counted, or what is in a request beyond its head. Invariants: a pass does
//! a bounded amount of work for each connection; what one client does, or leaves undone, holds up no
//! other.

use super::Shared;
use super::connection::{Connection, Received};
use super::limits::SURPLUS_MAX;
use super::listener::{Accepted, Listener};
use super::request::Refusal;
use super::response::{CONTINUE, Responder};
use super::talk::{Answer, Form, Owes};
use super::{Count, LISTENER};
use crate::clock::Clock;
use crate::front::REFUSED_TEXT;
use crate::hit::{BATCH_HITS_MAX, Batch, Gone, Verdict};
use crate::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events taken from the system at once.
const EVENTS_MAX: usize = 256;
/// How much is read from a connection at once, beside a head that is not complete yet. What one pass
/// has no room for is kept, and copied in the next: it is not much more than a pass can use.
const READ_BYTES: usize = 4 << 10;
/// How long a last response is given to arrive.
const LINGER_NS: u64 = 2 * SECOND_NS;
/// How long stopping waits for clients to take their answers.
const STOP_NS: u64 = SECOND_NS;

/// One of the pool.
pub struct Worker<C, K> {
    shared: Arc<Shared>,
    poll: Poll,
    listener: Option<Listener>,
    clock: C,
    counter: K,
    connections: Slab<Connection>,
    surplus: usize,
    /// Connections to read in this pass.
    listed: Vec<usize>,
    /// What clients are to be told after this pass.
    answers: Vec<Answer>,
    /// Whose answers those are: a connection, and how many.
    spoken: Vec<(usize, usize)>,
    /// Connections that go on after this pass, and whether they are still sound.
    settling: Vec<(usize, bool)>,
    responder: Responder,
    /// What is read goes here first.
    buffer: Vec<u8>,
    /// What is written comes from here.
    out: Vec<u8>,
    next_sweep: Stamp,
}

impl<C: Clock, K: Count> Worker<C, K> {
    /// A worker without connections, whose `poll` watches `listener`.
    pub fn new(shared: Arc<Shared>, poll: Poll, listener: Listener, clock: C, counter: K) -> Self {
        let responder = Responder::new(clock.wall_ns());
        let buffer = vec![0; shared.limits.head_bytes_max + READ_BYTES];
        Self {
            shared,
            poll,
            listener: Some(listener),
            clock,
            counter,
            connections: Slab::new(),
            surplus: 0,
            listed: Vec::new(),
            answers: Vec::new(),
            spoken: Vec::new(),
            settling: Vec::new(),
            responder,
            buffer,
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
                self.listener = None;
            }
            if let Err(cause) = self.poll.poll(&mut events, self.patience(stop_at)) {
                if cause.kind() == ErrorKind::Interrupted {
                    continue;
                }
                let cause = crate::error::io_text(&cause);
                return self.shared.alarm.raise(format!("cannot poll: {cause}"));
            }
            let quiet = events.is_empty() && self.listed.is_empty();
            for event in &events {
                self.see(event);
            }
            if self.count().is_err() {
                return self.shared.alarm.raise("the funnel is gone".to_owned());
            }
            self.accept();
            let now = self.clock.now();
            if now >= self.next_sweep {
                self.sweep(now);
            }
            if let Some(stop_at) = stop_at {
                let owes = self.connections.iter().any(|(_, it)| it.has_output());
                if now >= stop_at || quiet && !owes {
                    return;
                }
            }
        }
    }

    /// How long the poll may wait.
    fn patience(&self, stop_at: Option<Stamp>) -> Option<Duration> {
        if !self.listed.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self.listener.as_ref().and_then(Listener::due);
        let sweep = (!self.connections.is_empty()).then_some(self.next_sweep);
        // Stopping takes what has arrived, and what arrives while answers are being taken.
        let stop = stop_at.map(|_| self.clock.now().after(MILLISECOND_NS));
        let due = accept.into_iter().chain(sweep).chain(stop).min()?;
        Some(Duration::from_nanos(due.since(self.clock.now())))
    }

    /// Takes note of what an event says.
    fn see(&mut self, event: &Event) {
        let Token(key) = event.token();
        if event.token() == LISTENER {
            if let Some(listener) = &mut self.listener {
                listener.see();
            }
            return;
        }
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
                connection.deadline = self.clock.now().after(patience_ns);
                self.settle(key);
            } else if moved {
                connection.deadline = self.clock.now().after(limits.write_ns_max);
            }
        } else if connection.is_readable {
            self.list(key);
        }
    }

    /// Puts a connection on the list of the next pass.
    fn list(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_listed
        {
            connection.is_listed = true;
            self.listed.push(key);
        }
    }

    /// Reads what is listed, has the hits counted and writes the answers.
    fn count(&mut self) -> Result<(), Gone> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let batch = self.counter.next_batch()?;
        let last = self.shared.stopping.load(Ordering::SeqCst);
        let limits = &self.shared.limits;
        let mut listed = std::mem::take(&mut self.listed);
        let mut turns = 0;
        for &key in &listed {
            let room = limits
                .pass_hits_max
                .min(BATCH_HITS_MAX - batch.hits().len());
            if room == 0 {
                break;
            }
            turns += 1;
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.is_listed = false;
            if connection.has_output() {
                // It is read again when it has read what it was sent.
                continue;
            }
            let bytes = match connection.receive(&mut self.buffer) {
                Ok(Received::Bytes(bytes)) => &self.buffer[..bytes],
                Ok(Received::End) | Err(_) => {
                    self.settling.push((key, false));
                    continue;
                }
            };
            let stamp = self.clock.now();
            let before = self.answers.len();
            let owed = connection.talk.owes();
            let heard = connection
                .talk
                .hear(bytes, limits, last, room, &mut self.answers);
            for _ in 0..heard.hit_count {
                batch.push(stamp);
            }
            connection.keep(&bytes[heard.used..]);
            connection.is_behind = heard.more;
            // Whatever is owed has its time from its beginning on, however it trickles in.
            let owes = connection.talk.owes();
            if (owes != owed || heard.hit_count > 0) && !connection.has_ended {
                connection.deadline = stamp.after(limits.patience_ns(owes));
            }
            let answer_count = self.answers.len() - before;
            if answer_count > 0 {
                self.spoken.push((key, answer_count));
            } else if connection.talk.closes() {
                self.settling.push((key, true));
            }
            if connection.has_work() {
                connection.is_listed = true;
                self.listed.push(key);
            }
        }
        // Those for whom the batch had no room come first in the next pass. Its list was begun in a
        // new one; the storage is kept.
        listed.drain(..turns);
        listed.append(&mut self.listed);
        self.listed = listed;
        let outcome = self.answer();
        let mut settling = std::mem::take(&mut self.settling);
        for (key, is_sound) in settling.drain(..) {
            if is_sound {
                self.settle(key)
            } else {
                self.remove(key)
            }
        }
        self.settling = settling;
        outcome
    }

    /// Has the hits of this pass counted and sends all answers, one write for a connection.
    fn answer(&mut self) -> Result<(), Gone> {
        if self.answers.is_empty() {
            return Ok(());
        }
        self.responder.set_date(self.clock.wall_ns());
        let any_hit = self
            .answers
            .iter()
            .any(|answer| matches!(answer, Answer::Hit(_)));
        let (batch, outcome) = match any_hit.then(|| self.counter.exchange()) {
            Some(Ok(batch)) => (Some(batch), Ok(())),
            Some(Err(gone)) => (None, Err(gone)),
            None => (None, Ok(())),
        };
        let hits = batch
            .filter(|batch| batch.verdict() == Verdict::Counted)
            .map(Batch::hits);
        let mut hit = 0;
        let mut answers = self.answers.drain(..);
        for (key, answer_count) in self.spoken.drain(..) {
            self.out.clear();
            let mut refused = false;
            for answer in answers.by_ref().take(answer_count) {
                match (answer, hits) {
                    // Behind a refusal there is nothing more to say.
                    _ if refused => {}
                    (Answer::Hit(form), Some(hits)) => {
                        self.responder.tally(&mut self.out, hits[hit].tally, form);
                    }
                    (Answer::Hit(Form { is_head, .. }), None) => {
                        let refusal = Refusal::Unavailable;
                        self.responder
                            .refusal(&mut self.out, refusal, REFUSED_TEXT, is_head);
                        refused = true;
                    }
                    (Answer::Continue, _) => self.out.extend_from_slice(CONTINUE),
                    (Answer::Refused(refusal), _) => {
                        let text = text_of(refusal);
                        self.responder.refusal(&mut self.out, refusal, text, false);
                    }
                }
                hit += usize::from(matches!(answer, Answer::Hit(_)));
            }
            if let Some(connection) = self.connections.get_mut(key) {
                if refused {
                    connection.talk.end();
                }
                connection.send(&self.out);
                self.settling.push((key, true));
            }
        }
        drop(answers);
        outcome
    }

    /// Goes on with a connection whose answers are on their way.
    fn settle(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.has_output() {
            connection.deadline = self.clock.now().after(self.shared.limits.write_ns_max);
        } else if connection.is_gone && (connection.talk.closes() || !connection.has_work()) {
            self.remove(key);
        } else if !connection.talk.closes() || connection.talk.owes() == Owes::Body {
            // A body is read to its end even if the connection ends with it, for as long as a body
            // may take, so that the system does not take the answer back.
            if connection.has_work() {
                self.list(key);
            }
        } else if connection.talk.ends_cleanly() && !connection.is_readable {
            // Nothing is left that would make the system take the answer back.
            self.remove(key);
        } else if !connection.has_ended {
            connection.end_output();
            connection.deadline = self.clock.now().after(LINGER_NS);
            self.list(key);
        }
    }

    fn remove(&mut self, key: usize) {
        if let Some(connection) = self.connections.try_remove(key) {
            if connection.is_surplus {
                self.surplus -= 1;
            } else {
                self.shared.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes new connections.
    fn accept(&mut self) {
        while let Some(listener) = &mut self.listener {
            match listener.accept(&self.clock) {
                Accepted::Connection(stream) => self.admit(stream),
                Accepted::Nothing => return,
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        let limits = self.shared.limits;
        let now = self.clock.now();
        let mut connection = Connection::new(stream, now.after(limits.idle_ns_max));
        let open = self.shared.open.fetch_add(1, Ordering::Relaxed);
        if open >= limits.connections_max {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            self.out.clear();
            self.responder.set_date(self.clock.wall_ns());
            self.responder.refusal(
                &mut self.out,
                Refusal::Unavailable,
                "too many connections\n",
                false,
            );
            connection.send(&self.out);
            if connection.is_gone || self.surplus >= SURPLUS_MAX {
                return;
            }
            self.surplus += 1;
            connection.is_surplus = true;
            connection.end_output();
            connection.deadline = now.after(LINGER_NS);
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(connection.stream(), Token(key), interest);
        entry.insert(connection);
        if registered.is_err() {
            self.remove(key);
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
            if connection.talk.owes() != Owes::Head || connection.has_output() {
                self.remove(key);
                continue;
            }
            self.out.clear();
            self.responder.set_date(self.clock.wall_ns());
            let refusal = Refusal::TimedOut;
            self.responder
                .refusal(&mut self.out, refusal, text_of(refusal), false);
            connection.talk.end();
            connection.send(&self.out);
            self.settle(key);
        }
    }
}

/// What a refusal says to people.
const fn text_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest => "malformed request\n",
        Refusal::TimedOut => "the request head took too long\n",
        Refusal::TargetTooLong => "the target is too long\n",
        Refusal::HeadTooLarge => "the request head is too large\n",
        Refusal::Unavailable => "too much to do\n",
        Refusal::VersionUnknown => "HTTP/1.0 and HTTP/1.1 are spoken here\n",
    }
}

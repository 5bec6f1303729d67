//! One pass of a worker over the connections that have something to say.
//!
//! Owns its order: read every listed connection once, which stamps its hits; send all hits of the pass as
//! one batch, in the order of their stamps; write the answers, one write for a connection; see what each
//! connection does next. An operator's request is heard in the same pass and leaves it as a task.
//!
//! Must not know how hits are counted, or where connections come from. Invariants: a connection is read
//! once in a pass and has no more than its share of the batch; whoever found the batch full comes first
//! in the next; nothing of an operator is in a batch.

use super::Count;
use super::connection::Received;
use super::limits::Limits;
use super::request::Refusal;
use super::response::{CONTINUE, Responder};
use super::talk::{Answer, Form, Owes};
use super::worker::{LINGER_NS, Worker};
use crate::clock::Clock;
use crate::front::REFUSED_TEXT;
use crate::front::gauges::{Gauges, Side};
use crate::hit::{BATCH_HITS_MAX, Batch, Gone, Hit, Verdict};
use crate::stamp::Stamp;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// How much is read from a connection at once, beside a head that is not complete yet. What one pass
/// has no room for is kept, and copied in the next: it is not much more than a pass can use.
const READ_BYTES: usize = 4 << 10;

/// What a pass gathers. It is empty between two passes; the storage is kept.
pub struct Pass {
    /// What is read goes here first.
    buffer: Vec<u8>,
    /// What clients are to be told.
    answers: Vec<Answer>,
    /// Whose answers those are, in the same order.
    spoken: Vec<Spoken>,
    /// Connections that go on after this pass, and whether they are still sound.
    settling: Vec<(usize, bool)>,
}

/// What one connection has said in a pass.
struct Spoken {
    key: usize,
    /// Where its answers are among those of the pass.
    answers: Range<usize>,
    hit_count: usize,
    /// The stamp of the read that completed its hits.
    stamp: Stamp,
}

impl Pass {
    /// One for heads within `limits`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            buffer: vec![0; limits.head_bytes_max + READ_BYTES],
            answers: Vec::new(),
            spoken: Vec::new(),
            settling: Vec::new(),
        }
    }
}

impl<C: Clock, K: Count> Worker<C, K> {
    /// Reads what is listed, has the hits counted and writes the answers.
    ///
    /// # Errors
    /// Nobody counts any more.
    pub(super) fn take_pass(&mut self) -> Result<(), Gone> {
        if self.listed.is_empty() {
            return Ok(());
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.watch(&self.clock);
        }
        self.read();
        let outcome = self.answer();
        let mut settling = std::mem::take(&mut self.pass.settling);
        for (key, is_sound) in settling.drain(..) {
            if is_sound {
                self.settle(key);
            } else {
                self.remove(key);
            }
        }
        self.pass.settling = settling;
        outcome
    }

    /// Reads every listed connection, as long as the batch has room.
    fn read(&mut self) {
        let last = self.shared.stopping.load(Ordering::SeqCst);
        let pass_hits_max = self.shared.limits.pass_hits_max;
        let mut listed = std::mem::take(&mut self.listed);
        let (mut turns, mut hit_count) = (0, 0);
        for &key in &listed {
            let room = pass_hits_max.min(BATCH_HITS_MAX - hit_count);
            if room == 0 {
                break;
            }
            turns += 1;
            hit_count += self.hear(key, room, last);
        }
        // Those for whom the batch had no room come first in the next pass. Its list was begun in a
        // new one; the storage is kept.
        listed.drain(..turns);
        listed.append(&mut self.listed);
        self.listed = listed;
    }

    /// Reads a connection once and hears what it says, at most `room` heads of it; returns its hits.
    #[inline]
    fn hear(&mut self, key: usize, room: usize, last: bool) -> usize {
        let Self {
            shared,
            pass,
            doors,
            ..
        } = self;
        let Some(connection) = self.connections.get_mut(key) else {
            return 0;
        };
        connection.is_listed = false;
        if connection.has_output() || connection.task.is_some() {
            // It is read again when it has read what it was sent.
            return 0;
        }
        let arrivals = self
            .arrivals
            .as_ref()
            .filter(|_| connection.side == Side::Hits);
        let bytes = match connection.receive(&mut pass.buffer, &self.clock, arrivals) {
            Ok(Received::Bytes(bytes)) => &pass.buffer[..bytes],
            Ok(Received::End) | Err(_) => {
                pass.settling.push((key, false));
                return 0;
            }
        };
        let (before, owed) = (pass.answers.len(), connection.talk.owes());
        let (talk, answers) = (&mut connection.talk, &mut pass.answers);
        let heard = match (connection.side, &shared.operator) {
            (Side::Operator, Some(operator)) => {
                let task = &mut connection.task;
                // While others wait for a place, nobody keeps one for longer than an answer.
                let others_wait = doors.iter().any(|door| door.is_crowded(Side::Operator));
                let closes = last || others_wait;
                talk.hear(bytes, &shared.limits, closes, 1, answers, |request| {
                    *task = Some(operator.take(request, last));
                })
            }
            _ => talk.hear(bytes, &shared.limits, last, room, answers, |_| {}),
        };
        connection.keep(&bytes[heard.used..]);
        connection.is_behind = heard.more;
        // What is known to close now is said in the answer before it, if that was not sent yet.
        if let (true, Some(Answer::Response(form))) =
            (connection.talk.closes(), pass.answers[before..].last_mut())
        {
            form.stays = false;
        }
        let has_begun = connection.talk.owes() != owed || heard.head_count > 0;
        if has_begun && !connection.has_ended {
            connection.hear(connection.turn_at);
        }
        connection.put_off(&shared.limits, has_begun, heard.used);
        let answers = before..pass.answers.len();
        let hit_count = match connection.side {
            Side::Hits => heard.head_count,
            Side::Operator => 0,
        };
        if !answers.is_empty() {
            pass.spoken.push(Spoken {
                key,
                answers,
                hit_count,
                stamp: connection.came_at,
            });
        } else if connection.talk.closes() {
            pass.settling.push((key, true));
        }
        if connection.has_work() {
            connection.is_listed = true;
            self.listed.push(key);
        }
        hit_count
    }

    /// Has the hits of this pass counted and sends all answers, one write for a connection.
    fn answer(&mut self) -> Result<(), Gone> {
        if self.pass.answers.is_empty() {
            return Ok(());
        }
        self.responder.set_date(self.clock.wall_ns());
        // Who was read later may have come earlier, or have waited for this turn.
        if !self.pass.spoken.is_sorted_by_key(|spoken| spoken.stamp) {
            self.pass.spoken.sort_by_key(|spoken| spoken.stamp);
        }
        let (batch, outcome) = match exchange(&mut self.counter, &self.pass.spoken) {
            Ok(batch) => (batch, Ok(())),
            Err(gone) => (None, Err(gone)),
        };
        let is_estimated = batch.is_some_and(|batch| batch.verdict() == Verdict::Estimated);
        self.responder.set_estimated(is_estimated);
        let mut hits = batch.map(|batch| batch.hits().iter());
        for spoken in self.pass.spoken.drain(..) {
            let answers = self.pass.answers[spoken.answers].iter().copied();
            let Some(connection) = self.connections.get_mut(spoken.key) else {
                continue;
            };
            self.out.clear();
            let mut pen = Pen {
                out: &mut self.out,
                responder: &self.responder,
                gauges: &self.shared.gauges,
            };
            if connection.side == Side::Operator {
                if pen.write_for_operator(answers, &mut connection.form) {
                    self.tasks.push_back(spoken.key);
                }
            } else if pen.write_for_client(answers, hits.as_mut()) {
                connection.talk.end_behind_body();
            }
            if !self.out.is_empty() {
                connection.send(&self.out);
            }
            if connection.task.is_none() {
                self.pass.settling.push((spoken.key, true));
            }
        }
        self.pass.answers.clear();
        outcome
    }

    /// Goes on with a connection whose answers are on their way.
    pub(super) fn settle(&mut self, key: usize) {
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
            let now = self.clock.now();
            connection.end_output(now);
            connection.deadline = now.after(LINGER_NS);
            connection.deadline_max = connection.deadline;
            self.list(key);
        }
    }
}

/// Has the hits of a pass counted, if there are any; nothing if they are refused.
fn exchange<'a, K: Count>(
    counter: &'a mut K,
    spoken: &[Spoken],
) -> Result<Option<&'a Batch>, Gone> {
    if spoken.iter().all(|spoken| spoken.hit_count == 0) {
        return Ok(None);
    }
    let batch = counter.next_batch()?;
    for spoken in spoken {
        for _ in 0..spoken.hit_count {
            batch.push(spoken.stamp);
        }
    }
    let batch = counter.exchange()?;
    Ok(batch.verdict().is_counted().then_some(batch))
}

/// Writes the answers to one connection.
struct Pen<'a> {
    out: &'a mut Vec<u8>,
    responder: &'a Responder,
    gauges: &'a Gauges,
}

impl Pen<'_> {
    /// Writes tallies from `hits`, or that they were refused; returns whether that was so.
    #[inline]
    fn write_for_client<'h>(
        &mut self,
        answers: impl Iterator<Item = Answer>,
        mut hits: Option<&mut impl Iterator<Item = &'h Hit>>,
    ) -> bool {
        let mut is_refused = false;
        for answer in answers {
            match answer {
                // Behind a refusal there is nothing more to say.
                _ if is_refused => {}
                Answer::Response(form) => match hits.as_mut().and_then(|hits| hits.next()) {
                    Some(hit) => self.responder.tally(self.out, hit.tally, form),
                    None => {
                        let (refusal, is_head) = (Refusal::Unavailable, form.is_head);
                        self.responder.refusal(
                            self.out,
                            Side::Hits,
                            refusal,
                            REFUSED_TEXT,
                            is_head,
                        );
                        is_refused = true;
                    }
                },
                Answer::Continue => self.out.extend_from_slice(CONTINUE),
                Answer::Refused(refusal) => {
                    self.gauges.refuse(refusal);
                    self.refuse(Side::Hits, refusal);
                }
            }
        }
        is_refused
    }

    /// Writes what can be said before the page is ready; returns whether there is to be one, whose form
    /// is then in `form`.
    fn write_for_operator(
        &mut self,
        answers: impl Iterator<Item = Answer>,
        form: &mut Form,
    ) -> bool {
        let mut is_asked = false;
        for answer in answers {
            match answer {
                // What is wrong behind a request ends the connection, and the page goes first.
                _ if is_asked => form.stays = false,
                Answer::Response(asked) => {
                    self.gauges.ask();
                    *form = asked;
                    is_asked = true;
                }
                Answer::Continue => self.out.extend_from_slice(CONTINUE),
                Answer::Refused(refusal) => self.refuse(Side::Operator, refusal),
            }
        }
        is_asked
    }

    fn refuse(&mut self, side: Side, refusal: Refusal) {
        self.responder
            .refusal(self.out, side, refusal, text_of(refusal), false);
    }
}

/// What a refusal says to people.
pub(super) const fn text_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest => "malformed request\n",
        Refusal::TimedOut => "the request head took too long\n",
        Refusal::TargetTooLong => "the target is too long\n",
        Refusal::HeadTooLarge => "the request head is too large\n",
        Refusal::NotImplemented => "this method or transfer coding is not implemented\n",
        Refusal::Unavailable => "too much to do\n",
        Refusal::VersionUnknown => "HTTP/1.0 and HTTP/1.1 are spoken here\n",
    }
}

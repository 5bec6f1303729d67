//! The sole crossing between front and funnel: hits in batches one way, tallies the other.
//!
//! Owns the channel's ends and everything that travels. A front gets an [`Inlet`], each of its
//! workers a [`Line`]: the worker pushes the stamps of one pass, sends the batch as ONE message and
//! gets the same buffer back with the tallies filled in. A batch holds the only sender of its
//! worker's replies, so a funnel that is gone is noticed at once.
//!
//! Must not know of sockets, files or clocks. Invariant: nothing is allocated per hit once a batch
//! has grown to its worker's pass, and a line has at most one batch under way.

use crate::stamp::Stamp;
use crossbeam_channel::{Receiver, Sender, bounded};

/// The most hits of one batch.
pub const BATCH_HITS_MAX: usize = 4096;
/// Messages that may wait before a sender has to.
pub const CHANNEL_MESSAGES_MAX: usize = 128;

/// A counted request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// When its head was complete; after the funnel, the stamp it was admitted at.
    pub stamp: Stamp,
    /// The number it is answered with; zero before the funnel.
    pub tally: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every hit is counted and its tally filled in.
    Counted,
    /// No hit of it is counted: the disk did not take them.
    Refused,
}

/// The hits of one worker pass.
#[derive(Debug)]
pub struct Batch {
    hits: Vec<Hit>,
    verdict: Verdict,
    reply: Sender<Batch>,
}

impl Batch {
    /// Adds a hit with its stamp.
    ///
    /// # Panics
    /// If the batch is full.
    #[inline]
    pub fn push(&mut self, stamp: Stamp) {
        assert!(
            self.hits.len() < BATCH_HITS_MAX,
            "a batch has at most {BATCH_HITS_MAX} hits"
        );
        self.hits.push(Hit { stamp, tally: 0 });
    }

    /// The hits, in the order of the pass.
    #[must_use]
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The hits, for the funnel to fill in.
    pub fn hits_mut(&mut self) -> &mut [Hit] {
        &mut self.hits
    }

    /// What became of it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Sends the batch back to its worker. A worker that is gone needs no answer.
    pub fn answer(mut self, verdict: Verdict) {
        self.verdict = verdict;
        let reply = self.reply.clone();
        let _gone = reply.try_send(self);
    }
}

/// What can be asked of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Hits in (at - window, at]; `at` defaults to now.
    Count {
        /// Nanoseconds, at most the retention.
        window_ns: u64,
        /// The end of the window.
        at: Option<Stamp>,
    },
    /// Hits in (from, to].
    Between {
        /// The instant before the first that counts.
        from: Stamp,
        /// The last instant that counts.
        to: Stamp,
    },
    /// How things stand.
    Status,
}

/// How things stand at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The instant.
    pub at: Stamp,
    /// Hits in the window.
    pub tally: u64,
    /// Hits of the journal's life.
    pub total: u64,
    /// Segments that hold records.
    pub segment_count: usize,
    /// Whether the window reaches back to hits that the wall clock had to place, or to hits that
    /// are not kept.
    pub estimated: bool,
    /// Why hits are being refused, if they are.
    pub refusing: Option<String>,
    /// Why the promise of the sync policy was withdrawn, if a sync has failed.
    pub sync_failure: Option<String>,
    /// Hits whose stamp was moved up to the last one.
    pub corrected_count: u64,
    /// The largest such correction, in nanoseconds.
    pub correction_ns_max: u64,
    /// All such corrections together, in nanoseconds.
    pub correction_ns_total: u64,
    /// Hits refused since the start.
    pub refused_count: u64,
    /// Damaged records that were given their neighbour's time since the start.
    pub damaged_count: u64,
}

/// What the funnel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number of hits.
    Count(u64),
    /// How things stand.
    Status(Box<Status>),
    /// No right number can be given, and why.
    Failed(String),
}

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Query {
    /// The question.
    pub ask: Ask,
    /// Where the answer goes.
    pub reply: Sender<Answer>,
}

/// Everything that reaches the funnel.
#[derive(Debug)]
pub enum Message {
    /// Hits of one worker pass.
    Batch(Batch),
    /// A question.
    Query(Query),
    /// The sync thread has run a job that covers hits below this number, or has failed to.
    Synced(u64, Result<(), String>),
    /// Finish: answer what came before, sync, close.
    Stop,
}

/// The funnel is gone: the process is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The sending end, for fronts.
#[derive(Clone, Debug)]
pub struct Inlet(Sender<Message>);

/// Makes the channel.
#[must_use]
pub fn channel() -> (Inlet, Receiver<Message>) {
    let (sender, receiver) = bounded(CHANNEL_MESSAGES_MAX);
    (Inlet(sender), receiver)
}

impl Inlet {
    /// A worker's own line.
    #[must_use]
    pub fn line(&self) -> Line {
        let (reply, replies) = bounded(1);
        let batch = Batch {
            hits: Vec::new(),
            verdict: Verdict::Refused,
            reply,
        };
        Line {
            inlet: self.0.clone(),
            batch: Some(batch),
            replies,
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The funnel is gone.
    pub fn ask(&self, ask: Ask) -> Result<Answer, Gone> {
        let (reply, answer) = bounded(1);
        self.send(Message::Query(Query { ask, reply }))?;
        answer.recv().map_err(|_| Gone)
    }

    /// Sends any message.
    ///
    /// # Errors
    /// The funnel is gone.
    pub fn send(&self, message: Message) -> Result<(), Gone> {
        self.0.send(message).map_err(|_| Gone)
    }
}

/// One worker's way to the funnel and back.
#[derive(Debug)]
pub struct Line {
    inlet: Sender<Message>,
    /// Here, or on its way.
    batch: Option<Batch>,
    replies: Receiver<Batch>,
}

impl Line {
    /// The batch to push stamps to, emptied of the pass before.
    ///
    /// # Errors
    /// The funnel is gone.
    pub fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        let batch = self.batch.as_mut().ok_or(Gone)?;
        batch.hits.clear();
        Ok(batch)
    }

    /// Sends the batch and waits until it comes back.
    ///
    /// # Errors
    /// The funnel is gone, and whether the hits were counted is not known.
    pub fn exchange(&mut self) -> Result<&Batch, Gone> {
        self.send()?;
        self.wait()
    }

    /// Sends the batch on its way.
    ///
    /// # Errors
    /// The funnel is gone, or the batch is on its way already.
    pub fn send(&mut self) -> Result<(), Gone> {
        let batch = self.batch.take().ok_or(Gone)?;
        self.inlet.send(Message::Batch(batch)).map_err(|_| Gone)
    }

    /// Whether the batch that was sent has come back, so that [`Line::wait`] will not block.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Waits until the batch that was sent comes back.
    ///
    /// # Errors
    /// The funnel is gone, and whether the hits were counted is not known.
    pub fn wait(&mut self) -> Result<&Batch, Gone> {
        let batch = self.replies.recv().map_err(|_| Gone)?;
        Ok(self.batch.insert(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_in_the_same_buffer() {
        let (inlet, messages) = channel();
        let mut line = inlet.line();
        let funnel = std::thread::spawn(move || {
            for message in messages.iter().take(2) {
                let Message::Batch(mut batch) = message else {
                    panic!("only batches were sent")
                };
                batch.hits_mut()[0].tally = 41;
                batch.answer(Verdict::Counted);
            }
        });
        let mut places = Vec::new();
        for _ in 0..2 {
            line.next_batch().expect("a batch").push(Stamp::from_ns(3));
            let batch = line.exchange().expect("an answer");
            assert_eq!(
                batch.hits(),
                [Hit {
                    stamp: Stamp::from_ns(3),
                    tally: 41
                }]
            );
            places.push(batch.hits().as_ptr());
        }
        assert_eq!(places[0], places[1]);
        funnel.join().expect("the funnel");
    }

    #[test]
    fn a_funnel_that_is_gone_is_noticed_at_once() {
        let (inlet, messages) = channel();
        let mut line = inlet.line();
        let funnel = std::thread::spawn(move || drop(messages.recv()));
        line.next_batch().expect("a batch").push(Stamp::from_ns(1));
        assert_eq!(line.exchange().err(), Some(Gone));
        assert_eq!(line.next_batch().err(), Some(Gone));
        funnel.join().expect("the funnel");
    }
}

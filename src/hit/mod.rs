//! The sole crossing between front and funnel: hits in batches one way, tallies the other.
//!
//! Owns the channel's ends and everything that travels. A front gets an [`Inlet`], each of its
//! workers a [`Line`]: the worker pushes the stamps of one pass, sends the batch as ONE message and
//! gets the same buffer back with the tallies filled in. A batch holds the only sender of its
//! worker's replies, so a funnel that is gone is noticed at once.
//!
//! Whoever waits sleeps until a bell rings. After a batch of one hit it sleeps at once, which
//! saves a quarter of what a lone client costs; after a larger one it first yields the processor a few
//! times, since under load the other side is about to answer, and two threads on one core then pass
//! the work on without waking each other. What is asked, and how, is in `query.rs`.
//!
//! Must not know of sockets, files or clocks. Invariants: nothing is allocated per hit once a batch
//! has grown to its worker's pass; a line has at most one batch under way; whatever is put into a
//! channel, or makes an end of it, is followed by a ring.

mod bell;
mod query;

use crate::handoff::{
    Arc, AtomicBool, Ordering, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError,
    bounded,
};
use crate::stamp::Stamp;
use bell::Bell;
pub use query::{
    Answer, Ask, Query, REFUSALS_MAX, Refusals, Refused, STEPS_MAX, Status, UNREMOVABLE_MAX,
};
use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

/// The most hits of one batch.
pub const BATCH_HITS_MAX: usize = 4096;
/// Messages that may wait before a sender has to.
pub const CHANNEL_MESSAGES_MAX: usize = 128;

/// Hits from which on a batch is a sign of load.
const LOAD_HITS_MIN: usize = 4;
/// How often the processor is yielded under load before falling asleep.
const LOAD_YIELDS: u32 = 4;

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
    /// The same, but the window reaches back to records that may be placed wrongly, or that are lost.
    Estimated,
    /// No hit of it is counted: the disk did not take them.
    Refused,
}

impl Verdict {
    /// Whether the hits are counted.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Refused)
    }
}

/// The hits of one worker pass.
#[derive(Debug)]
pub struct Batch {
    hits: Vec<Hit>,
    verdict: Verdict,
    /// Taken out when the batch goes for ever.
    reply: Option<Sender<Batch>>,
    bell: Bell,
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Its worker then sees that nobody can answer any more.
        self.reply = None;
        self.bell.ring();
    }
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

    /// How often to yield when the next thing to come is waited for.
    fn yields(&self) -> u32 {
        if self.hits.len() >= LOAD_HITS_MIN {
            LOAD_YIELDS
        } else {
            0
        }
    }

    /// What became of it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Sends the batch back to its worker. A worker that is gone needs no answer.
    pub fn answer(mut self, verdict: Verdict) {
        self.verdict = verdict;
        let bell = self.bell.clone();
        if let Some(reply) = self.reply.clone() {
            let _gone = reply.try_send(self);
        }
        bell.ring();
    }
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

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The funnel is gone: the process is about to end.
    Gone,
    /// It has not answered in time.
    Late,
}

/// The sending end, for fronts.
#[derive(Clone, Debug)]
pub struct Inlet {
    /// Taken out when the inlet goes.
    messages: Option<Sender<Message>>,
    bell: Bell,
    /// Whether the outlet is gone.
    gone: Arc<AtomicBool>,
}

/// The receiving end, for the funnel.
#[derive(Debug)]
pub struct Outlet {
    messages: Receiver<Message>,
    bell: Bell,
    /// How often to yield before the next sleep.
    yields: Cell<u32>,
    /// Set when it goes.
    gone: Arc<AtomicBool>,
}

/// Makes the channel.
#[must_use]
pub fn channel() -> (Inlet, Outlet) {
    let (sender, messages) = bounded(CHANNEL_MESSAGES_MAX);
    let (bell, gone) = (Bell::default(), Arc::new(AtomicBool::new(false)));
    let inlet = Inlet {
        messages: Some(sender),
        bell: bell.clone(),
        gone: Arc::clone(&gone),
    };
    let outlet = Outlet {
        messages,
        bell,
        yields: Cell::new(0),
        gone,
    };
    (inlet, outlet)
}

impl Drop for Outlet {
    /// Drops the messages that wait. The channel would keep them, and whoever waits for an answer to one would
    /// wait for ever. Whoever sends a message later finds `gone` set.
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        while self.messages.try_recv().is_ok() {}
    }
}

impl Outlet {
    /// Waits for a message, at most for `patience`, and perhaps for less.
    ///
    /// # Errors
    /// Nothing came, or nothing can come any more.
    pub fn wait(&self, patience: Option<Duration>) -> Result<Message, RecvTimeoutError> {
        self.bell.own();
        let mut yields = self.yields.take();
        let mut is_over = false;
        loop {
            match self.messages.try_recv() {
                Ok(message) => {
                    if let Message::Batch(batch) = &message {
                        self.yields.set(batch.yields());
                    }
                    return Ok(message);
                }
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if is_over => return Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Empty) => {}
            }
            is_over = yields == 0 && patience.is_some();
            Bell::wait(&mut yields, patience);
        }
    }
}

impl Deref for Outlet {
    type Target = Receiver<Message>;

    fn deref(&self) -> &Receiver<Message> {
        &self.messages
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.messages = None;
        self.bell.ring();
    }
}

impl Inlet {
    /// A worker's own line.
    #[must_use]
    pub fn line(&self) -> Line {
        let (reply, replies) = bounded(1);
        let batch = Batch {
            hits: Vec::new(),
            verdict: Verdict::Refused,
            reply: Some(reply),
            bell: Bell::default(),
        };
        Line {
            inlet: self.clone(),
            bell: batch.bell.clone(),
            batch: Some(batch),
            replies,
            yields: 0,
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The funnel is gone.
    pub fn ask(&self, ask: Ask) -> Result<Answer, Gone> {
        let (reply, answer) = bounded(1);
        self.send(Message::Query(Query { ask, reply }))?;
        if self.is_gone() {
            return answer.try_recv().map_err(|_| Gone);
        }
        answer.recv().map_err(|_| Gone)
    }

    /// Asks and waits for the answer, at most for `patience`.
    ///
    /// # Errors
    /// The funnel is gone, or has not answered in time.
    pub fn ask_within(&self, ask: Ask, patience: Duration) -> Result<Answer, Unanswered> {
        let (reply, answer) = bounded(1);
        let messages = self.messages.as_ref().ok_or(Unanswered::Gone)?;
        let message = Message::Query(Query { ask, reply });
        match messages.send_timeout(message, patience) {
            Ok(()) => self.bell.ring(),
            Err(SendTimeoutError::Timeout(_)) => return Err(Unanswered::Late),
            Err(SendTimeoutError::Disconnected(_)) => return Err(Unanswered::Gone),
        }
        if self.is_gone() {
            return answer.try_recv().map_err(|_| Unanswered::Gone);
        }
        answer.recv_timeout(patience).map_err(|cause| match cause {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Gone,
        })
    }

    /// Sends any message.
    ///
    /// # Errors
    /// The funnel is gone.
    pub fn send(&self, message: Message) -> Result<(), Gone> {
        let messages = self.messages.as_ref().ok_or(Gone)?;
        messages.send(message).map_err(|_| Gone)?;
        self.bell.ring();
        Ok(())
    }

    /// Whether the funnel is gone, so that a message that was sent since then is never read.
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// One worker's way to the funnel and back. It stays with the thread that first sends.
#[derive(Debug)]
pub struct Line {
    inlet: Inlet,
    /// Here, or on its way.
    batch: Option<Batch>,
    replies: Receiver<Batch>,
    bell: Bell,
    /// How often to yield before the next sleep.
    yields: u32,
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
        self.bell.own();
        let batch = self.batch.take().ok_or(Gone)?;
        self.yields = batch.yields();
        self.inlet.send(Message::Batch(batch))
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
        let batch = loop {
            match self.replies.try_recv() {
                Ok(batch) => break batch,
                Err(TryRecvError::Disconnected) => return Err(Gone),
                Err(TryRecvError::Empty) if self.inlet.is_gone() => {
                    break self.replies.try_recv().map_err(|_| Gone)?;
                }
                Err(TryRecvError::Empty) => Bell::wait(&mut self.yields, None),
            }
        };
        Ok(self.batch.insert(batch))
    }
}

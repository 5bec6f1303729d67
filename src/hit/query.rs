//! What can be asked of the funnel, and what it answers.
//!
//! Owns the words of both. Must not know who asks, or how an answer is found. Invariant: every answer is of
//! one instant.

use crate::handoff::Sender;
use crate::meter::Meters;
use crate::stamp::Stamp;
use std::collections::VecDeque;

/// The most steps of one question, so that no question takes longer than a pass full of hits.
pub const STEPS_MAX: usize = 16;

/// Files that could not be removed, up to which a server is as it should be.
pub const UNREMOVABLE_MAX: usize = 16;

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
    /// Hits in each of up to [`STEPS_MAX`] steps in turn, of those admitted before the position `end`.
    Steps {
        /// The instant before the first that counts.
        from: Stamp,
        /// Nanoseconds of a step.
        step_ns: u64,
        /// How many steps.
        count: usize,
        /// Hits from here on are not looked at: what is asked for in several pieces is of one instant.
        end: u64,
    },
    /// How things stand.
    Status,
}

/// How things stand at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The instant.
    pub at: Stamp,
    /// Hits in the window; nothing if they cannot be counted now, see [`Status::unreadable`].
    pub tally: Option<u64>,
    /// Hits of the journal's life.
    pub total: u64,
    /// Hits that were found at the start.
    pub recovered_count: u64,
    /// Segments that hold records.
    pub segment_count: usize,
    /// Bytes of these segments.
    pub journal_bytes: u64,
    /// The oldest hit that is kept.
    pub oldest: Option<Stamp>,
    /// Every hit with a later stamp is kept.
    pub complete_after: Stamp,
    /// Whether the window reaches back to records that may be placed wrongly, or to hits that are lost or
    /// not kept.
    pub estimated: bool,
    /// Segment files that were set aside because they cannot be read, as long as they lie there; the first
    /// ones, if there are many.
    pub quarantined: Vec<String>,
    /// Why hits are being refused, if they are.
    pub refusing: Option<String>,
    /// Why the hits in the window cannot be counted, if so.
    pub unreadable: Option<String>,
    /// When hits were refused.
    pub refusals: Refusals,
    /// Why the promise of the sync policy was withdrawn, if a sync has failed.
    pub sync_failure: Option<String>,
    /// Files that should be gone and could not be removed.
    pub unremovable_count: usize,
    /// Why they cannot, once there are more than [`UNREMOVABLE_MAX`].
    pub piling_up: Option<String>,
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
    /// What the funnel has measured of itself.
    pub meters: Meters,
}

/// The most spans that are remembered.
pub const REFUSALS_MAX: usize = 64;

/// When hits were refused, oldest first: the newest [`REFUSALS_MAX`] spans of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    spans: VecDeque<Refused>,
    /// Spans from here on, in time, are all remembered.
    complete_after: Option<Stamp>,
}

/// A span of time in which hits were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the first was refused.
    pub from: Stamp,
    /// When hits were counted again; nothing while they are refused.
    pub to: Option<Stamp>,
    /// Why the first was refused.
    pub cause: String,
}

impl Refusals {
    /// Hits are refused at `at`, unless they were already.
    pub fn begin(&mut self, at: Stamp, cause: &str) {
        if self.spans.back().is_some_and(|span| span.to.is_none()) {
            return;
        }
        if self.spans.len() == REFUSALS_MAX {
            let oldest = self.spans.pop_front();
            self.complete_after = oldest.and_then(|span| span.to);
        }
        self.spans.push_back(Refused {
            from: at,
            to: None,
            cause: cause.to_owned(),
        });
    }

    /// Hits are counted at `at`.
    pub fn end(&mut self, at: Stamp) {
        if let Some(span) = self.spans.back_mut() {
            span.to.get_or_insert(at);
        }
    }

    /// The spans that are remembered.
    pub fn spans(&self) -> impl Iterator<Item = &Refused> {
        self.spans.iter()
    }

    /// The end of the newest span that was forgotten, if any was.
    #[must_use]
    pub const fn complete_after(&self) -> Option<Stamp> {
        self.complete_after
    }
}

/// What the funnel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number of hits.
    Count(u64),
    /// Hits of each step.
    Steps(Vec<u64>),
    /// How things stand.
    Status(Box<Status>),
    /// This, but the span reaches back to records that may be placed wrongly, or that are lost.
    Estimated(Box<Self>),
    /// Hits up to `kept` are no longer kept, and those after `from` were asked for.
    NotKept {
        /// What was asked for.
        from: Stamp,
        /// What is kept.
        kept: Stamp,
    },
    /// No right number can be given, and why.
    Failed(String),
}

impl Answer {
    /// The answer itself, and whether it is estimated.
    #[must_use]
    pub fn split(self) -> (Self, bool) {
        match self {
            Self::Estimated(answer) => (*answer, true),
            answer => (answer, false),
        }
    }
}

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Query {
    /// The question.
    pub ask: Ask,
    /// Where the answer goes.
    pub reply: Sender<Answer>,
}

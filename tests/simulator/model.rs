//! The naive model: every hit that was ever written in one list, and what the promises say of it.
//!
//! Owns, for each position of the journal, the hit that is counted there, every hit that was ever
//! tried there, and whether it is on the device; and what the funnel must therefore answer, keep,
//! hand to the sync thread and tell of itself.
//!
//! Must not know of files, segments or messages. Invariant: stamps never decrease, and a position
//! below `acked` was answered as counted or was found by a start.

use crate::support::ledger::Ledger;
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::{Answer, Ask, Hit, Status};
use tallyd::journal::SyncPolicy;
use tallyd::stamp::{Anchor, BootId, Stamp};

/// A hit as it was written: on the line of its boot, and on the calendar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    pub boot: BootId,
    pub at: Stamp,
    pub wall_ns: i64,
}

/// A position of the journal.
#[derive(Clone, Debug)]
pub struct Place {
    /// What counts here, or was last tried here.
    pub counted: Written,
    /// Everything tried here that may still be somewhere on the device.
    pub tries: Vec<Written>,
    /// Whether a sync has covered it.
    pub durable: bool,
    /// Whether a sync of it has failed: the device may have it or not.
    pub suspect: bool,
    /// Whether a sync of anything tried here has failed.
    pub was_suspect: bool,
    /// Whether bits of it have flipped.
    pub rotten: bool,
}

impl Place {
    /// The device holds this and nothing else.
    pub fn settle(&mut self) {
        self.tries.clear();
        self.tries.push(self.counted);
        self.durable = true;
        self.suspect = false;
        self.was_suspect = false;
    }
}

/// The hits of a turn that is not over yet.
pub struct Trial {
    /// The position of the first.
    pub from: usize,
    /// What each batch is to be answered, if it is counted.
    pub batches: Vec<Vec<Hit>>,
    last: Stamp,
    corrections_ns: Vec<u64>,
}

/// The right answer to a question, as of the instant it was taken up.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The question reaches back behind what is kept for certain.
    reaches_back: bool,
    /// Whether it is estimated, if that is known.
    is_estimated: Option<bool>,
    /// The disk failed meanwhile.
    met_fault: bool,
    answer: Right,
}

#[derive(Clone, Debug)]
enum Right {
    Count(u64),
    Steps(Vec<u64>),
    Status {
        status: Box<Status>,
        estimated: Option<bool>,
        refusing: Option<bool>,
        failed_sync: bool,
        damaged: bool,
    },
}

/// Everything that is promised.
pub struct Model {
    pub settings: Settings,
    pub boot: BootId,
    pub places: Vec<Place>,
    /// The stamps of what counts, on today's line; as many as count.
    pub ledger: Ledger,
    /// Positions below this were answered as counted, or found by the last start.
    pub acked: usize,
    /// Positions below this are taken as synced by the funnel.
    pub synced: usize,
    /// Positions below this were covered by a sync that went well.
    pub covered: usize,
    /// The newest stamp written in this life.
    pub last: Stamp,
    /// Positions below this may have been given up.
    pub gone: usize,
    /// Questions that reach back behind this may be answered by an error, and no others.
    pub kept_from: Stamp,
    /// What was found lost, if anything, was before this.
    pub lost_before: Stamp,
    /// What the newest start found at or before this may be placed wrongly.
    pub doubtful_until: Stamp,
    /// Whether what was refused may still be in a file, in front of no later header.
    pub ghosts: bool,
    /// When the oldest hit was written that no job has taken up.
    pub unsynced_since: Option<Stamp>,
    /// Whether some position was ever found damaged.
    pub damaged: bool,
    /// Slots behind the records of their segment whose bits have flipped: each may count as a hit.
    pub made_up: usize,
    /// Whether the newest start had something to report, and the next may again.
    pub reported: bool,
    /// Hits that were refused and may still be somewhere on the device.
    pub refused: usize,
    /// Whether a file that was to go may have stayed, and is told at the next start.
    pub untidy: bool,
    /// Whether a sync has failed and the funnel does not know yet.
    is_failing: bool,
    /// Whether hits are being refused; not known for a turn in which a sync failed too, nor from a status
    /// whose look at the files met a fault until the next hits.
    pub refusing: Option<bool>,
    pub failed_sync: bool,
    pub status: Status,
}

impl Model {
    pub fn new(settings: Settings, boot: BootId) -> Self {
        Self {
            settings,
            boot,
            places: Vec::new(),
            ledger: Ledger::new(settings.window_ns),
            acked: 0,
            synced: 0,
            covered: 0,
            last: Stamp::from_ns(1),
            gone: 0,
            kept_from: Stamp::MIN,
            lost_before: Stamp::MIN,
            doubtful_until: Stamp::MIN,
            ghosts: false,
            unsynced_since: None,
            damaged: false,
            made_up: 0,
            reported: false,
            refused: 0,
            untidy: false,
            is_failing: false,
            refusing: Some(false),
            failed_sync: false,
            status: Status::default(),
        }
    }

    /// A new process tells of itself from the beginning.
    pub fn begin(&mut self) {
        self.refusing = Some(false);
        self.failed_sync = false;
        self.is_failing = false;
        self.untidy = false;
        self.status = Status::default();
    }

    /// How many hits count.
    pub fn end(&self) -> usize {
        self.ledger.stamps.len()
    }

    fn is_always(&self) -> bool {
        self.settings.policy == SyncPolicy::Always
    }

    /// A turn admits `batches` of hits seen at these stamps: the hits are counted for the moment.
    pub fn admit(&mut self, batches: &[Vec<Stamp>], anchor: Anchor) -> Trial {
        let from = self.end();
        let now = anchor.at.max(self.last);
        let mut last = self.last.max(now.before(LATE_NS_MAX));
        let mut corrections_ns = Vec::new();
        let mut answers = Vec::new();
        for batch in batches {
            let mut hits = Vec::new();
            for &seen in batch {
                let seen = seen.min(now);
                last = last.max(seen);
                if last > seen {
                    corrections_ns.push(last.since(seen));
                }
                self.ledger.stamps.push(last);
                let cutoff = last.before(self.settings.window_ns);
                let tally = self.ledger.total() - self.ledger.upto(cutoff);
                hits.push(Hit { stamp: last, tally });
                let wall_ns = anchor.wall_at(last);
                self.try_at(self.end() - 1, last, wall_ns);
            }
            answers.push(hits);
        }
        Trial {
            from,
            batches: answers,
            last,
            corrections_ns,
        }
    }

    fn try_at(&mut self, position: usize, at: Stamp, wall_ns: i64) {
        let boot = self.boot;
        let written = Written { boot, at, wall_ns };
        match self.places.get_mut(position) {
            Some(place) => {
                place.counted = written;
                place.durable = false;
                place.suspect = self.is_failing;
                place.was_suspect |= self.is_failing;
                place.rotten = false;
                if !place.tries.contains(&written) {
                    place.tries.push(written);
                }
            }
            None => self.places.push(Place {
                counted: written,
                tries: vec![written],
                durable: false,
                suspect: self.is_failing,
                was_suspect: self.is_failing,
                rotten: false,
            }),
        }
    }

    /// How the trial ended: whether its records were handed to the disk, and whether they count.
    pub fn judge(&mut self, trial: &Trial, written: bool, counted: bool, now: Stamp) {
        if written {
            self.last = trial.last;
            let corrections_ns = &trial.corrections_ns;
            self.status.corrected_count += corrections_ns.len() as u64;
            self.status.correction_ns_total += corrections_ns.iter().sum::<u64>();
            let most = corrections_ns.iter().copied().max().unwrap_or(0);
            self.status.correction_ns_max = self.status.correction_ns_max.max(most);
        }
        // A file that could not be looked at is looked at again by the next question.
        self.refusing = (counted || written).then_some(!counted);
        if counted {
            self.ghosts = false;
            if self.settings.policy != SyncPolicy::Never {
                self.unsynced_since.get_or_insert(now);
            }
            if !self.is_always() {
                self.acked = self.end();
            }
        } else {
            self.status.refused_count += (self.end() - trial.from) as u64;
            self.cut(trial.from);
        }
    }

    /// Positions from `end` on count no more.
    pub fn cut(&mut self, end: usize) {
        self.refused += self.end() - end;
        self.ledger.stamps.truncate(end);
    }

    /// Makes a place of every position below `end`; what is there, nobody has tried at it.
    pub fn make_room(&mut self, end: usize) {
        while self.places.len() < end {
            let (boot, at, wall_ns) = (self.boot, Stamp::MIN, 0);
            self.places.push(Place {
                counted: Written { boot, at, wall_ns },
                tries: Vec::new(),
                durable: false,
                suspect: false,
                was_suspect: false,
                rotten: false,
            });
        }
    }

    /// A sync of everything below `covers` went well, whether or not anybody knows yet.
    pub fn sync_went_well(&mut self, covers: usize) {
        self.covered = self.covered.max(covers);
        let covered = covers.min(self.places.len());
        self.places[..covered]
            .iter_mut()
            .for_each(|place| place.durable = true);
    }

    /// A sync failed: what is on the device, nobody can tell, nor of what is written into the same
    /// file before the funnel knows.
    pub fn sync_went_wrong(&mut self) {
        self.is_failing = true;
        let unsynced = self.places.iter_mut().filter(|place| !place.durable);
        unsynced.for_each(|place| {
            place.suspect = true;
            place.was_suspect = true;
        });
    }

    /// The funnel learns that a sync went well.
    pub fn told_of_success(&mut self, covers: usize) {
        self.synced = self.synced.max(covers.min(self.end()));
        self.failed_sync = false;
    }

    /// The funnel learns that a sync failed.
    pub fn told_of_failure(&mut self) {
        self.unsynced_since = None;
        self.failed_sync = true;
        self.sync_went_wrong();
        self.is_failing = false;
        if self.is_always() {
            self.status.refused_count += (self.end() - self.synced) as u64;
            self.cut(self.synced);
        } else {
            self.synced = self.end();
        }
    }

    /// A tick has passed: what is older than everything that is kept may be gone.
    pub fn ticked(&mut self, now: Stamp) {
        let kept_ns = self.settings.retain_ns.saturating_add(LATE_NS_MAX);
        let cutoff = now.before(kept_ns);
        self.kept_from = self.kept_from.max(cutoff);
        self.gone = self.gone.max(self.ledger.upto(cutoff) as usize);
    }

    /// When a sync has to begin at the latest, if nobody is syncing.
    pub fn sync_due(&self) -> Option<Stamp> {
        let since = self.unsynced_since?;
        match self.settings.policy {
            SyncPolicy::Always => Some(since),
            SyncPolicy::Every { period_ns } => Some(since.after(period_ns)),
            SyncPolicy::Never => None,
        }
    }

    /// What a question must be answered, if it is taken up now.
    pub fn expect(&self, ask: Ask, now: Stamp, met_fault: bool) -> Expected {
        let doubt = |from: Stamp| match () {
            () if from < self.doubtful_until => Some(true),
            () if self.damaged => None,
            () => Some(false),
        };
        let count = |from: Stamp, to: Stamp| Expected {
            reaches_back: from < self.kept_from,
            is_estimated: if from < to { doubt(from) } else { Some(false) },
            met_fault,
            answer: Right::Count(self.ledger.between(from, to)),
        };
        match ask {
            Ask::Count { window_ns, at } => {
                let at = at.unwrap_or(now);
                count(at.before(window_ns), at)
            }
            Ask::Between { from, to } => count(from, to),
            Ask::Steps {
                from,
                step_ns,
                count,
                end,
            } => {
                let upto = |step: usize| {
                    let instant = from.after(step_ns * step as u64);
                    self.ledger.upto(instant).min(end)
                };
                Expected {
                    reaches_back: from < self.kept_from,
                    is_estimated: doubt(from),
                    met_fault,
                    answer: Right::Steps(
                        (0..count).map(|step| upto(step + 1) - upto(step)).collect(),
                    ),
                }
            }
            Ask::Status => Expected {
                reaches_back: false,
                is_estimated: None,
                met_fault,
                answer: self.expect_status(now, met_fault),
            },
        }
    }

    fn expect_status(&self, now: Stamp, met_fault: bool) -> Right {
        let cutoff = now.before(self.settings.window_ns);
        let status = Status {
            at: now,
            tally: Some(self.ledger.between(cutoff, now)),
            total: self.ledger.total(),
            ..self.status.clone()
        };
        Right::Status {
            status: Box::new(status),
            estimated: match () {
                () if cutoff < self.doubtful_until.max(self.lost_before) => Some(true),
                () if self.damaged => None,
                () if cutoff >= self.kept_from => Some(false),
                () => None,
            },
            refusing: self.refusing.filter(|_| !met_fault),
            failed_sync: self.failed_sync,
            damaged: self.damaged,
        }
    }
}

impl Expected {
    /// Says so if `answer` is neither right nor an error that may be.
    pub fn check(&self, answer: &Answer, sync_failed: bool) -> Result<(), String> {
        let (answer, given) = match answer {
            Answer::Estimated(answer) => (&**answer, true),
            answer => (answer, false),
        };
        if matches!(answer, Answer::Count(_) | Answer::Steps(_))
            && self.is_estimated.is_some_and(|expected| expected != given)
        {
            return Err(format!("estimated: {given} of {answer:?}"));
        }
        let is_right = match (&self.answer, answer) {
            (Right::Count(count), Answer::Count(given)) => count == given,
            (Right::Steps(counts), Answer::Steps(given)) => counts == given,
            (Right::Count(_) | Right::Steps(_), Answer::NotKept { .. }) => self.reaches_back,
            (_, Answer::Failed(_)) => self.met_fault || sync_failed,
            (Right::Status { .. }, Answer::Status(given)) => self.is_status(given),
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("the answer is {answer:?}, not {:?}", self.answer))
    }

    fn is_status(&self, given: &Status) -> bool {
        let Right::Status {
            status,
            estimated,
            refusing,
            failed_sync,
            damaged,
        } = &self.answer
        else {
            return false;
        };
        // What cannot be read now is said, and has no number.
        let unreadable = given.unreadable.is_some();
        let same = Status {
            tally: if unreadable { None } else { status.tally },
            unreadable: given.unreadable.clone(),
            refusals: given.refusals.clone(),
            segment_count: given.segment_count,
            recovered_count: given.recovered_count,
            journal_bytes: given.journal_bytes,
            unremovable_count: given.unremovable_count,
            piling_up: given.piling_up.clone(),
            quarantined: given.quarantined.clone(),
            oldest: given.oldest,
            complete_after: given.complete_after,
            meters: given.meters.clone(),
            estimated: given.estimated,
            refusing: given.refusing.clone(),
            sync_failure: given.sync_failure.clone(),
            damaged_count: if *damaged { given.damaged_count } else { 0 },
            ..(**status).clone()
        };
        same == *given
            && (self.met_fault || !unreadable)
            && estimated.is_none_or(|estimated| estimated == given.estimated)
            && refusing.is_none_or(|refusing| refusing == given.refusing.is_some())
            && *failed_sync == given.sync_failure.is_some()
    }
}

//! The operator's side: what can be asked of a running server, and the pages that answer.
//!
//! Owns the way from a request to its page: `question` reads the request, `pages` and `metrics`
//! answer in one piece, `history` in as many as it takes. Whatever is asked travels to the funnel by the
//! same channel as the hits, so that every number is exact for the instant it is given with.
//!
//! Must not know how requests come in or pages go out. Invariant: nothing here ever counts; whoever asks
//! gets a right number, or an error that says why there is none.

mod history;
mod host;
mod metrics;
mod pages;
mod process;
mod question;

pub use history::{LATE_NS_MAX, STEPS_MAX};
pub use pages::PAGE;

use crate::clock::{Calendar, SystemClock};
use crate::front::desk::{self, Page, Task};
use crate::front::gauges::Gauges;
use crate::front::pool::request::Request;
use crate::hit::{Answer, Ask, Inlet, Status, Unanswered};
use crate::lives::Gaps;
use crate::notation::instant;
use crate::stamp::{Anchor, Stamp};
use history::History;
use host::Hosts;
use question::{Format, Question};
use std::sync::Arc;
use std::time::Duration;

/// How long the funnel may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What does not change while a server runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The length of the window, in nanoseconds.
    pub window_ns: u64,
    /// How long history is kept, in nanoseconds.
    pub retain_ns: u64,
    /// When records are forced to the device, as it was typed.
    pub sync: String,
    /// When the process started.
    pub began: Stamp,
    /// Host names by which the listener may be addressed, beside `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// When no server ran before this one.
    pub gaps: Gaps,
    /// Why hits may be missing that an earlier server had counted, if so.
    pub doubt: Option<String>,
}

/// Whoever answers operators.
#[derive(Clone)]
pub struct Operator {
    facts: Arc<Facts>,
    hosts: Arc<Hosts>,
    calendar: Calendar,
    inlet: Inlet,
    gauges: Arc<Gauges>,
}

impl Operator {
    /// One that asks the funnel behind `inlet` and gives instants by `calendar`.
    #[must_use]
    pub fn new(mut facts: Facts, calendar: Calendar, inlet: Inlet, gauges: Arc<Gauges>) -> Self {
        Self {
            calendar,
            hosts: Arc::new(Hosts::new(std::mem::take(&mut facts.hosts))),
            facts: Arc::new(facts),
            inlet,
            gauges,
        }
    }

    /// Asks the funnel how things stand.
    fn status(&self, now: Anchor) -> Result<Box<Status>, String> {
        match self.ask(Ask::Status, now)? {
            Answer::Status(status) => Ok(status),
            _ => unreachable!("how things stand was asked for"),
        }
    }

    /// Asks the funnel; instants in an error are given by `now`.
    fn ask(&self, ask: Ask, now: Anchor) -> Result<Answer, String> {
        match self.inlet.ask_within(ask, PATIENCE) {
            Ok(Answer::Failed(cause)) => Err(cause),
            Ok(Answer::NotKept { from, kept }) => Err(format!(
                "hits up to {} are no longer kept, those after {} were asked for",
                instant(now.wall_at(kept)),
                instant(now.wall_at(from))
            )),
            Ok(answer) => Ok(answer),
            Err(Unanswered::Gone) => Err("the server is about to end".to_owned()),
            Err(Unanswered::Late) => {
                let patience = PATIENCE.as_secs();
                Err(format!(
                    "the counting thread has not answered within {patience}s"
                ))
            }
        }
    }
}

impl desk::Operator for Operator {
    fn take(&self, request: &Request<'_>, draining: bool) -> Box<dyn Task> {
        let now = self.calendar.now(&SystemClock);
        match question::read(request, &self.facts, &self.hosts, now) {
            Err(refusal) => Box::new(refusal),
            Ok((Question::History(span), format)) => {
                Box::new(History::new(self.clone(), span, format, now))
            }
            Ok((question, format)) => Box::new(Once {
                operator: self.clone(),
                question,
                format,
                now,
                draining,
            }),
        }
    }
}

/// A page that is made in one piece.
struct Once {
    operator: Operator,
    question: Question,
    format: Format,
    now: Anchor,
    draining: bool,
}

impl Task for Once {
    fn step(&mut self) -> Option<Page> {
        let (operator, format, now) = (&self.operator, self.format, self.now);
        let page = match &self.question {
            Question::Count(span) => pages::count(operator, span, format, now),
            Question::Total => pages::total(operator, format, now),
            Question::Status => Ok(pages::status(operator, format, now, self.draining)),
            Question::Metrics => Ok(metrics::page(operator, now, self.draining)),
            Question::Live => Ok(pages::plain("ok\n".to_owned())),
            Question::Ready => Ok(pages::ready(operator, format, now, self.draining)),
            Question::Page => Ok(PAGE),
            Question::History(_) => unreachable!("a history is made in pieces"),
        };
        Some(page.unwrap_or_else(|cause| pages::unavailable(&cause, format)))
    }
}

//! `tallyd count`: the number of hits in a span of time, of each source and of all together.
//!
//! Owns what a span is over a journal: a window ends now on the boot-time clock, as the server's does;
//! an interval between two instants is taken by each segment's own anchor, so that it holds the very
//! hits that `tallyd dump` writes for it.
//!
//! Must not know how a journal is read. Invariant: a number is exact or an error; where it may
//! have counted hits whose place in time is in doubt, it is called estimated.

use super::{Looked, Out, now, remote};
use crate::error::{Error, Result};
use crate::journal::disk::{FileId, ReadDisk};
use crate::journal::{Missed, Part, View};
use crate::notation::{duration, instant};
use crate::options::tasks::{Interval, Source, Span, WINDOW_NS};
use crate::stamp::{Anchor, Stamp};

/// Counts, and prints the number; of several sources each, and the sum.
pub fn run(sources: &[Source], span: Span) -> Result<()> {
    let now = now();
    let mut counted = Vec::with_capacity(sources.len());
    for source in sources {
        counted.push(match source {
            Source::Directory(directory) => {
                let mut looked = Looked::open(directory)?;
                let (span, window_ns) = span_of(&looked, span, now)?;
                let (count, of) = (count(&mut looked, span, now)?, looked.shown());
                Counted {
                    count,
                    of,
                    // What is gone meanwhile is no other's.
                    journal: looked.disk.id().map(Identity::Directory),
                    window_ns,
                }
            }
            Source::Url(address) => ask(address, span, now)?,
        });
    }
    let mut out = Out::new();
    if let [only] = &counted[..] {
        out.line(&only.count.to_string());
        return out.flush();
    }
    check_distinct(&counted)?;
    if span == Span::Default {
        check_windows(&counted)?;
    }
    let sum: u128 = counted.iter().map(|it| u128::from(it.count)).sum();
    let width = sum.to_string().len();
    for Counted { count, of, .. } in &counted {
        out.line(&format!("{count:width$} {of}"));
    }
    out.line(&format!("{sum} in all"));
    out.flush()
}

/// What was counted of a source.
struct Counted {
    count: u64,
    /// How people call the source.
    of: String,
    /// Which journal that is.
    journal: Option<Identity>,
    /// The time between the two instants.
    window_ns: u64,
}

/// What tells one journal from another.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Directory(FileId),
    Url(String),
}

/// Asserts that no source is named twice: its hits would count twice.
fn check_distinct(counted: &[Counted]) -> Result<()> {
    for (index, it) in counted.iter().enumerate() {
        let is_same = |other: &&Counted| it.journal.is_some() && other.journal == it.journal;
        if let Some(first) = counted[..index].iter().find(is_same) {
            let cause = format!(
                "the same journal as {}, its hits would count twice",
                first.of
            );
            return Err(Error::found(&*it.of, cause));
        }
    }
    Ok(())
}

/// Asserts that all windows that nothing was said of are the same: the sum of different ones is no number of
/// anything.
fn check_windows(counted: &[Counted]) -> Result<()> {
    let first = &counted[0];
    match counted.iter().find(|it| it.window_ns != first.window_ns) {
        None => Ok(()),
        Some(other) => {
            let [own, others] = [other, first].map(|it| duration(it.window_ns));
            let cause = format!(
                "its window is {own}, that of {} is {others}: --window counts the same of both",
                first.of
            );
            Err(Error::found(&*other.of, cause))
        }
    }
}

/// What is counted of a directory, and how long that is. Nothing is counted of the future: its number would
/// be another one when it has come.
fn span_of(looked: &Looked, span: Span, now: Anchor) -> Result<(Span, u64)> {
    let interval = match span {
        Span::Default => return Ok((Span::Window(WINDOW_NS), WINDOW_NS)),
        Span::Window(window_ns) => return Ok((span, window_ns)),
        Span::Between(interval) => interval,
    };
    let from_ns = interval.from_ns.unwrap_or(i64::MIN);
    if from_ns > now.wall_ns {
        let [from, now] = [from_ns, now.wall_ns].map(instant);
        return Err(Error::found(
            "--from",
            format!("{from} is later than now, {now}"),
        ));
    }
    let to_ns = interval.to_ns.unwrap_or(now.wall_ns);
    if to_ns > now.wall_ns {
        say_clamped(&looked.shown(), now.wall_ns, to_ns);
    }
    let to_ns = interval.to_ns.map(|_| to_ns.min(now.wall_ns));
    Ok((Span::Between(Interval { to_ns, ..interval }), 0))
}

/// Logs that what is still to come was left out.
fn say_clamped(shown: &str, now_ns: i64, to_ns: i64) {
    let [now, to] = [now_ns, to_ns].map(instant);
    log::warn!("{shown}: counted up to {now}, which is now; {to} is still to come");
}

/// The hits of a data directory.
fn count(looked: &mut Looked, span: Span, now: Anchor) -> Result<u64> {
    let shown = looked.shown();
    looked.look(|view| match span {
        Span::Default => unreachable!("a directory has a window"),
        Span::Window(window_ns) => {
            let from = now.at.before(window_ns);
            check_window(&shown, view, window_ns, now)?;
            let (begin, end) = (
                view.upper_bound(from)?,
                view.upper_bound(end_of(view, now))?,
            );
            if !(begin.is_exact && end.is_exact) {
                say_damaged(&shown);
            }
            Ok(end.position - begin.position)
        }
        Span::Between(interval) => {
            let from_ns = interval.from_ns.unwrap_or(i64::MIN);
            if is_cut(view, from_ns, now) {
                return Err(no_longer_kept(&shown, view, from_ns, now).into());
            }
            if view.damaged_until > Stamp::MIN && from_ns < now.wall_at(view.damaged_until) {
                log::warn!(
                    "{shown}: estimated: the span reaches back to hits that are damaged or lost"
                );
            }
            let mut sum = 0;
            for part in &view.parts {
                let places = places(view, part, interval)?;
                sum += places.end - places.start;
            }
            Ok(sum)
        }
    })
}

/// Asserts that a window is kept whole, and logs if it is only estimated.
pub fn check_window(
    shown: &str,
    view: &View<'_, ReadDisk>,
    window_ns: u64,
    now: Anchor,
) -> Result<()> {
    let from = now.at.before(window_ns);
    if from < view.complete_after {
        return Err(no_longer_kept(shown, view, now.wall_at(from), now));
    }
    if from < view.doubtful_until {
        let window = duration(window_ns);
        log::warn!(
            "{shown}: estimated: {window} reach back to hits that are damaged, or that another boot or machine placed by its wall clock"
        );
    }
    Ok(())
}

/// Where a window that ends `now` ends in `view`. Hits in doubt may lie as late as the instant of the view, which
/// was taken after `now`: they count.
pub fn end_of(view: &View<'_, ReadDisk>, now: Anchor) -> Stamp {
    now.at.max(view.doubtful_until)
}

/// Logs that a number is estimated since a damaged record may lie on either side of an end of its span.
pub fn say_damaged(shown: &str) {
    log::warn!("{shown}: estimated: a damaged record lies next to an end of the span");
}

/// Whether hits after `from_ns` on the wall clock may have been retired.
pub fn is_cut(view: &View<'_, ReadDisk>, from_ns: i64, now: Anchor) -> bool {
    view.complete_after > Stamp::MIN && from_ns < complete_after_ns(view, now)
}

fn no_longer_kept(shown: &str, view: &View<'_, ReadDisk>, from_ns: i64, now: Anchor) -> Error {
    let kept = instant(complete_after_ns(view, now));
    let from = instant(from_ns);
    Error::found(
        shown,
        format!("hits up to {kept} are no longer kept, those after {from} were asked for"),
    )
}

fn complete_after_ns(view: &View<'_, ReadDisk>, now: Anchor) -> i64 {
    match view.parts.first() {
        Some(oldest) => oldest.wall_at(view.complete_after),
        None => now.wall_at(view.complete_after),
    }
}

/// The places in `part` whose instants lie in `interval`.
pub fn places(
    view: &View<'_, ReadDisk>,
    part: &Part,
    interval: Interval,
) -> Result<std::ops::Range<u64>, Missed> {
    let segment = &part.segment;
    let bound = |wall_ns: Option<i64>, otherwise: u64| -> Result<u64, Missed> {
        let Some(wall_ns) = wall_ns else {
            return Ok(otherwise);
        };
        match part.at_wall(wall_ns) {
            at if at <= segment.base => Ok(0),
            at if at >= segment.last => Ok(segment.count),
            at => {
                let file = view.open_part(part)?;
                let bound = file.upper_bound(at)?;
                if !bound.is_exact {
                    say_damaged(file.path());
                }
                Ok(bound.position)
            }
        }
    };
    let start = bound(interval.from_ns, 0)?;
    let end = bound(interval.to_ns, segment.count)?;
    Ok(start..end.max(start))
}

/// What a running server answers.
fn ask(address: &str, span: Span, now: Anchor) -> Result<Counted> {
    let query = match span {
        Span::Default => String::new(),
        Span::Window(window_ns) => format!("?window={}", duration(window_ns)),
        Span::Between(interval) => {
            let from = instant(interval.from_ns.unwrap_or(0));
            // A server refuses questions about the future; without an end it counts up to its own present.
            let to = interval.to_ns.filter(|to_ns| *to_ns <= now.wall_ns);
            let to = to.map(|to_ns| format!("&to={}", instant(to_ns)));
            format!("?from={from}{}", to.unwrap_or_default())
        }
    };
    let target = format!("/count{query}");
    let answer = remote::get(address, &target)?;
    let of = remote::shown(address);
    let fields = || {
        let (from_ns, to_ns) = (answer.instant_ns("from")?, answer.instant_ns("to")?);
        let asked = match span {
            Span::Default => true,
            Span::Window(window_ns) => to_ns.abs_diff(from_ns) == window_ns,
            Span::Between(interval) => {
                let is_to = |asked_ns: i64| to_ns == asked_ns || is_clamped(to_ns, asked_ns, now);
                interval.from_ns == Some(from_ns) && interval.to_ns.is_none_or(is_to)
            }
        };
        if from_ns > to_ns || !asked {
            let [from, to] = [from_ns, to_ns].map(instant);
            return Err(format!(
                "answered for {from} to {to}, which was not asked for"
            ));
        }
        Ok((from_ns, to_ns, answer.number("count")?))
    };
    let (from_ns, to_ns, count) =
        fields().map_err(|cause| Error::found(of.clone() + &target, cause))?;
    if let Span::Between(Interval {
        to_ns: Some(asked_ns),
        ..
    }) = span
        && to_ns != asked_ns
    {
        say_clamped(&of, to_ns, asked_ns);
    }
    let window_ns = to_ns.abs_diff(from_ns);
    Ok(Counted {
        journal: Some(Identity::Url(address.to_owned())),
        count,
        of,
        window_ns,
    })
}

/// Whether a server has left out what is still to come.
fn is_clamped(to_ns: i64, asked_ns: i64, now: Anchor) -> bool {
    asked_ns > now.wall_ns && to_ns < asked_ns
}

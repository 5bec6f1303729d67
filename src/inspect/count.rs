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
use crate::journal::disk::ReadDisk;
use crate::journal::{Missed, Part, View};
use crate::notation::{duration, instant};
use crate::options::tasks::{Interval, Source, Span};
use crate::stamp::{Anchor, Stamp};
use std::io::Write;

/// Counts, and prints the number; of several sources each, and the sum.
pub fn run(sources: &[Source], span: Span) -> Result<()> {
    let now = now();
    let mut counts = Vec::with_capacity(sources.len());
    for source in sources {
        counts.push(match source {
            Source::Directory(directory) => {
                let mut looked = Looked::open(directory)?;
                (count(&mut looked, span, now)?, looked.shown())
            }
            Source::Url(address) => (ask(address, span)?, remote::shown(address)),
        });
    }
    let mut out = Out::new();
    if let [(count, _)] = &counts[..] {
        let _infallible = writeln!(out.buffer(), "{count}");
        return out.flush();
    }
    let sum: u128 = counts.iter().map(|(count, _)| u128::from(*count)).sum();
    let width = sum.to_string().len();
    for (count, of) in &counts {
        let _infallible = writeln!(out.buffer(), "{count:width$} {of}");
    }
    let _infallible = writeln!(out.buffer(), "{sum} in all");
    out.flush()
}

/// The hits of a data directory.
fn count(looked: &mut Looked, span: Span, now: Anchor) -> Result<u64> {
    let shown = looked.shown();
    looked.look(|view| match span {
        Span::Window(window_ns) => {
            let from = now.at.before(window_ns);
            check_window(&shown, view, window_ns, now)?;
            Ok(view.upper_bound(now.at)? - view.upper_bound(from)?)
        }
        Span::Between(interval) => {
            let from_ns = interval.from_ns.unwrap_or(i64::MIN);
            if is_cut(view, from_ns, now) {
                return Err(no_longer_kept(&shown, view, from_ns, now).into());
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
            "{shown}: estimated: {window} reach back to an earlier boot or another machine, whose hits the wall clock placed"
        );
    }
    Ok(())
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
    let bound = |wall_ns: Option<i64>, otherwise: u64| {
        let Some(wall_ns) = wall_ns else {
            return Ok(otherwise);
        };
        match part.at_wall(wall_ns) {
            at if at <= segment.base => Ok(0),
            at if at >= segment.last => Ok(segment.count),
            at => view.open_part(part)?.upper_bound(at),
        }
    };
    let start = bound(interval.from_ns, 0)?;
    let end = bound(interval.to_ns, segment.count)?;
    Ok(start..end.max(start))
}

/// What a running server answers.
fn ask(address: &str, span: Span) -> Result<u64> {
    let query = match span {
        Span::Window(window_ns) => format!("window={}", duration(window_ns)),
        Span::Between(interval) => {
            let from = instant(interval.from_ns.unwrap_or(0));
            let to = interval
                .to_ns
                .map(|to_ns| format!("&to={}", instant(to_ns)));
            format!("from={from}{}", to.unwrap_or_default())
        }
    };
    let target = format!("/count?{query}");
    let answer = remote::get(address, &target)?;
    let number = answer.strip_suffix('\n').unwrap_or(&answer).parse();
    number.map_err(|_| {
        let found = remote::line_of(&answer);
        Error::found(
            remote::shown(address) + &target,
            format!("answered '{found}', which is no number"),
        )
    })
}

//! What a start finds, held to the promises: nothing lost, nothing invented, everything in its place
//! in time.
//!
//! Owns the reading of a recovered journal, record by record, beside the headers on the disk, and where
//! the documented rule for boots places them. What cannot be known beforehand,
//! which of the unsynced hits survived, is taken over into the model once it was found to be possible.
//!
//! Must not know how the process ended, but for what that end may take away. Invariant: a position
//! that had to survive holds the very hit that was written there.

use crate::life::{End, Figures, Outcome, promise};
use crate::model::{Model, Place, Written};
use crate::support::boots::{Lines, Reading, lines};
use crate::support::disk::SimDisk;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::disk::Disk;
use tallyd::journal::record::{HEADER_BYTES, Header};
use tallyd::journal::{Journal, Reader, Recovered, SyncPolicy, WALL_STEP_NS_MIN, name};
use tallyd::stamp::{Anchor, Stamp};

/// What an end of a process leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Left {
    /// Everything that was written.
    Written,
    /// Everything that was written, and it is on the device.
    Unmounted,
    /// What was synced, and of the rest what chance says.
    Synced,
}

/// What must be there, and what may.
pub struct Bounds {
    pub left: Left,
    /// Whether the process ended inside of a turn.
    pub in_turn: bool,
}

impl Bounds {
    fn must(&self, model: &Model, position: usize) -> bool {
        let Some(place) = model.places.get(position) else {
            return false;
        };
        if place.rotten {
            return false;
        }
        let written = position < model.acked || !self.in_turn && position < model.end();
        match self.left {
            Left::Written => written,
            Left::Unmounted => written && !place.suspect,
            Left::Synced => place.durable && !place.suspect,
        }
    }

    fn most(&self, model: &Model) -> usize {
        if self.left == Left::Synced || self.in_turn || model.ghosts {
            // A refused tail that comes back may lie below a newer segment whose header is lost.
            let refused = if self.left == Left::Synced {
                model.refused
            } else {
                0
            };
            model.places.len() + refused
        } else {
            model.end()
        }
    }
}

/// A recovered journal, read from its first record to its last.
struct Found {
    recovered: Recovered,
    headers: Vec<Header>,
    stamps: Vec<Stamp>,
    first: usize,
    /// Records that failed their check on the way.
    damaged_count: u64,
}

/// Opens the journal on a copy of `disk` and takes it over into the model.
pub fn adopt(
    disk: &SimDisk,
    model: &mut Model,
    now: Anchor,
    bounds: &Bounds,
    figures: &mut Figures,
) -> Outcome {
    let found = read(&disk.kill(), model, now)?;
    let end = found.recovered.end as usize;
    let positions = 0..model.places.len();
    let mut must: Vec<bool> = positions.map(|p| bounds.must(model, p)).collect();
    let is_suspect = model.places.iter().any(|place| place.suspect);
    if bounds.left != Left::Written && is_suspect {
        // A later life may have taken a file for synced whose sync had failed in an earlier one, and
        // have given up what was before it: the failure was told, and the count is that file's to tell.
        must.iter_mut()
            .take(model.gone)
            .for_each(|must| *must = false);
    }
    let survivors = must.iter().rposition(|&must| must);
    let floor = survivors.map_or(0, |last| last + 1);
    promise(floor <= end, || {
        format!("{floor} hits had to survive, {end} did")
    })?;
    if bounds.left == Left::Synced {
        // What was given up may have been in the file that was about to be recycled.
        must.iter_mut()
            .take(model.gone)
            .for_each(|must| *must = false);
    }
    // A stale slot of a recycled file whose bits have flipped cannot be told from a damaged record.
    let most = bounds.most(model) + model.made_up;
    promise(end <= most, || {
        format!("{most} hits were sent, {end} are found")
    })?;
    model.make_room(end);
    must.resize(model.places.len(), false);
    figures.lost += model.end().saturating_sub(end) as u64;
    figures.rotations += found.headers.len().saturating_sub(1) as u64;
    figures.retired += u64::from(found.first > 0);
    figures.ghosts += end.saturating_sub(model.end()) as u64;
    let lost = must
        .iter()
        .take(found.first)
        .skip(model.gone)
        .position(|&must| must);
    promise(lost.is_none(), || {
        let (first, gone) = (found.first, model.gone);
        format!("hits below {first} are not kept, only those below {gone} are old enough")
    })?;
    let chosen = choose(&found, model, &must, figures)?;
    let lines = by_the_rule(&found, model, now);
    check_places_in_time(&found, model, &lines)?;
    // Places between what is there and what was refused and could not be removed are told as lost,
    // and so is a header of which a full disk took a part before the process died.
    let mut behind = model.places.iter().skip(end);
    let is_unsynced = match bounds.left {
        Left::Written => false,
        // What a failed sync has given up may leave a torn header.
        Left::Unmounted => behind.any(|place| place.suspect),
        Left::Synced => behind.next().is_some(),
    };
    let is_whole = !model.ghosts && !model.untidy && !bounds.in_turn && !is_unsynced;
    let was_sound = is_whole && !model.damaged && !model.reported;
    let is_sound = was_sound && must[..end].iter().all(|&must| must);
    let (findings, damaged_count) = (&found.recovered.findings, found.damaged_count);
    promise(
        !is_sound || findings.is_empty() && damaged_count == 0,
        || format!("nothing is damaged, yet {damaged_count} records are, {findings:?}"),
    )?;
    // A record may be lost and take the very time it had.
    model.damaged |= damaged_count > 0;
    model.reported = !findings.is_empty();
    take_over(&found, model, now, &lines, bounds.left, chosen);
    Ok(())
}

fn read(disk: &SimDisk, model: &Model, now: Anchor) -> Outcome<Found> {
    let settings = model.settings;
    let opened = Journal::open(
        disk.clone(),
        settings.limits,
        model.boot,
        now,
        settings.policy,
    );
    let (journal, recovered) = opened.map_err(|error| End::Broken(format!("no start: {error}")))?;
    let first = journal.first();
    let mut reader = Reader::new();
    let mut stamps: Vec<Stamp> = Vec::new();
    let readable = first..first + recovered.hit_count();
    promise(
        recovered.segments.is_empty() || readable.end == journal.end(),
        || {
            format!(
                "segments hold {readable:?}, the journal ends at {}",
                journal.end()
            )
        },
    )?;
    while (stamps.len() as u64) < recovered.hit_count() {
        let position = first + stamps.len() as u64;
        let read = journal.read_ahead(&mut reader, position);
        read.map_err(|error| End::Broken(format!("unreadable: {error}")))?;
        stamps.extend_from_slice(reader.ahead(position));
    }
    promise(stamps.is_sorted(), || "stamps go back in time".to_owned())?;
    let mut headers = Vec::new();
    for segment in &recovered.segments {
        let file = name::segment(segment.number);
        // A file that ends within its header is sound if what is missing would be zeros.
        let mut bytes = disk.content(&file).unwrap_or_default();
        bytes.resize(HEADER_BYTES, 0);
        let header = bytes
            .first_chunk()
            .and_then(|bytes| Header::decode(bytes).ok());
        let header = header.filter(|header| header.number == segment.number);
        headers.push(
            header.ok_or_else(|| End::Broken(format!("{} has no header", disk.path(&file))))?,
        );
    }
    Ok(Found {
        first: first as usize,
        damaged_count: reader.damaged_count() + recovered.damaged_count,
        recovered,
        headers,
        stamps,
    })
}

/// Which of the hits tried at each position is there; that it is one of them is the promise.
fn choose(
    found: &Found,
    model: &mut Model,
    must: &[bool],
    figures: &mut Figures,
) -> Outcome<Vec<Written>> {
    let mut chosen = Vec::new();
    for (segment, header) in found.recovered.segments.iter().zip(&found.headers) {
        // A header may be all that is left of hits that were lost, and hold the places of others.
        if segment.count > 0 && must[segment.sequence as usize] {
            check_header(header, model)?;
        }
        let base = Stamp::from_ns(header.base_ns as i64);
        let first = base.after(1);
        let mut earlier = first;
        let places = segment.sequence as usize..segment.end() as usize;
        for (position, &must) in must.iter().enumerate().take(places.end).skip(places.start) {
            let stamp = found.stamps[position - found.first];
            let at = base.after(stamp.since(segment.base));
            let hit = Written {
                boot: header.boot,
                at,
                wall_ns: header.wall_ns + (at.ns() - base.ns()),
            };
            let place = &model.places[position];
            if must {
                check_survivor(position, place, &hit)?;
            } else if !place
                .tries
                .iter()
                .any(|it| it.boot == hit.boot && it.at == at)
            {
                // A record that is lost takes the time of its neighbour before, or of the first hit.
                promise(at == earlier || at == first, || {
                    format!("hit {position} at {at} was never sent: {place:?}")
                })?;
                figures.damaged += 1;
                model.damaged = true;
            }
            earlier = at;
            chosen.push(if must { place.counted } else { hit });
        }
    }
    Ok(chosen)
}

/// The very hit that was written must be there, and the calendar may be off by less than a step.
fn check_survivor(position: usize, place: &Place, found: &Written) -> Outcome {
    let Place { counted, .. } = place;
    promise(counted.boot == found.boot && counted.at == found.at, || {
        format!("hit {position} had to survive as {counted:?}, {found:?} is there")
    })?;
    let drift_ns = found.wall_ns.abs_diff(counted.wall_ns);
    promise(drift_ns < WALL_STEP_NS_MIN, || {
        format!("the calendar of hit {position} is {drift_ns} ns off")
    })
}

/// A header says of the first hit of its segment what was true when that was written.
fn check_header(header: &Header, model: &Model) -> Outcome {
    let base = Stamp::from_ns(header.base_ns as i64);
    let Some(place) = model.places.get(header.sequence as usize) else {
        return Ok(());
    };
    let is_it = |hit: &Written| {
        hit.boot == header.boot && hit.at == base.after(1) && hit.wall_ns == header.wall_ns + 1
    };
    promise(place.tries.iter().any(is_it) || model.damaged, || {
        format!("{header:?} fits no hit that was sent: {place:?}")
    })
}

/// Where the segments lie by the documented rule.
fn by_the_rule(found: &Found, model: &Model, now: Anchor) -> Lines {
    let segments = found.recovered.segments.iter().zip(&found.headers);
    let readings = segments.map(|(segment, header)| {
        let base = Reading {
            boot: header.boot,
            line_ns: header.base_ns as i64,
            wall_ns: header.wall_ns,
        };
        let last_ns = segment.last.since(segment.base) as i64;
        (base.after(1), base.after(last_ns))
    });
    let now = Reading {
        boot: model.boot,
        line_ns: now.at.ns(),
        wall_ns: now.wall_ns,
    };
    lines(&readings.collect::<Vec<_>>(), now)
}

fn check_places_in_time(found: &Found, model: &Model, lines: &Lines) -> Outcome {
    let segments = &found.recovered.segments;
    let headers = found.headers.iter().zip(&lines.shifts_ns);
    for (index, (segment, (header, shift_ns))) in segments.iter().zip(headers).enumerate() {
        let placed_ns = header.base_ns as i64 + shift_ns;
        let is_moved = || {
            let earlier = index
                .checked_sub(1)
                .map(|index| segments[index].last.before(1));
            model.damaged && earlier == Some(segment.base) && segment.base.ns() >= placed_ns
        };
        promise(segment.base.ns() == placed_ns || is_moved(), || {
            format!(
                "segment {} lies at {}, not at {placed_ns} ns",
                segment.number, segment.base
            )
        })?;
    }
    let (given, expected) = (found.recovered.doubtful_until, lines.doubtful_until);
    // What is damaged is in doubt as well, and what a power cut has torn.
    let is_damaged = found.recovered.damaged_count > 0 || !found.recovered.findings.is_empty();
    let is_right = given == expected || (model.damaged || is_damaged) && given > expected;
    promise(is_right, || {
        format!("in doubt until {given}, not until {expected}")
    })
}

fn take_over(
    found: &Found,
    model: &mut Model,
    now: Anchor,
    lines: &Lines,
    left: Left,
    chosen: Vec<Written>,
) {
    let (end, first) = (found.recovered.end as usize, found.first);
    let before = model.ledger.stamps.clone();
    let mut stamps = vec![Stamp::MIN; end];
    let readable = first..first + chosen.len();
    stamps[readable.clone()].copy_from_slice(&found.stamps);
    let is_one_line = lines.certain_from == 0 && !found.headers.is_empty();
    let span_ns = model.settings.window_ns + LATE_NS_MAX;
    let is_past = (1..before.len()).contains(&first) && before[first - 1] <= now.at.before(span_ns);
    if first <= model.gone && is_past && is_one_line {
        // What was given up on this line lies where it lay. What an earlier boot gave up has no place
        // any more; that, and what a longer window reaches back to, is told as not kept.
        stamps[..first].copy_from_slice(&before[..first]);
    }
    let oldest = match found.recovered.segments.first() {
        Some(oldest) if first > 0 => oldest.base.after(1),
        None if end > 0 => now.at,
        _ => Stamp::MIN,
    };
    let is_lost = first > model.gone;
    model.kept_from = oldest;
    model.lost_before = if is_lost { oldest } else { Stamp::MIN };
    model.ledger.stamps = stamps;
    let is_device = left != Left::Written;
    for (position, hit) in readable.zip(chosen) {
        let place = &mut model.places[position];
        place.counted = hit;
        // What comes back unanswered may be what an earlier sync has failed for.
        place.suspect |= position >= model.acked && place.was_suspect;
        if !place.tries.contains(&hit) {
            place.tries.push(hit);
        }
    }
    if is_device {
        model.refused = 0;
        model.places.truncate(end);
        model.places.iter_mut().for_each(Place::settle);
    }
    if model.settings.policy == SyncPolicy::Never {
        model
            .places
            .iter_mut()
            .for_each(|place| place.durable = false);
    }
    model.gone = model.gone.max(first).min(end);
    (model.acked, model.synced, model.covered) = (end, end, 0);
    model.ghosts &= left == Left::Written;
    // A header without a record is of a hit that was cut short; no hit goes behind it either.
    let newest = found.recovered.segments.last();
    let newest = newest.map_or(Stamp::MIN, |newest| newest.last);
    model.last = newest.max(Stamp::from_ns(1));
    let running = found.headers.get(lines.running_from);
    let from = running.map_or(end, |header| header.sequence as usize);
    model.unsynced_since = (from < end).then_some(now.at);
    model.doubtful_until = found.recovered.doubtful_until;
}

//! A look into a journal from outside, on a simulated disk: against what its owner recovers, while it
//! moves on, and by chance.
//!
//! Owns the lives that are looked into: hits, pauses, rotations, retirements, recycled files, crashes
//! and damage, drawn from a seed.
//!
//! Must not know how a look is taken. Invariant tested: a look sees what a restart would, changes no
//! byte, and what it reads later on is right or known to be retired.

use crate::support::disk::SimDisk;
use crate::support::ledger::Ledger;
use crate::support::rig::{BOOT, Rig, WINDOW_NS, clock_at, settings};
use crate::support::seed::{Chance, count, for_seeds};
use std::collections::BTreeMap;
use tallyd::clock::Clock;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::{Journal, Missed, SyncPolicy, View};
use tallyd::stamp::{SECOND_NS, Stamp};

const START: i64 = 10_000_000_000;

fn contents(disk: &SimDisk) -> BTreeMap<String, Option<Vec<u8>>> {
    let names = disk.names().into_iter();
    names
        .map(|name| (name.clone(), disk.content(&name)))
        .collect()
}

/// A life that begins with segments of so many records, and its model.
pub fn begun(records: u64) -> (Rig, Ledger) {
    let rig = Rig::open(
        &SimDisk::default(),
        &clock_at(START),
        settings(SyncPolicy::Every { period_ns: 1000 }, records, WINDOW_NS),
    );
    (rig, Ledger::new(WINDOW_NS))
}

/// One step of a life: hits after a pause that is short, or long enough for one segment or for all
/// to retire.
pub fn step(rig: &mut Rig, ledger: &mut Ledger, chance: &mut Chance) {
    let pause_ns = match chance.upto(9) {
        0 => chance.span(2 * (WINDOW_NS + LATE_NS_MAX)),
        1 => 0,
        2..=4 => chance.upto((WINDOW_NS + LATE_NS_MAX) / 3),
        _ => chance.span(WINDOW_NS),
    };
    rig.clock.advance(pause_ns);
    let answer = rig.hit_now(1 + chance.upto(6) as usize);
    ledger.enter(&answer).expect("a right tally");
    rig.tick();
    rig.run_jobs();
}

#[test]
fn a_look_sees_what_a_restart_recovers_and_changes_nothing() {
    for_seeds(count(600), |seed| {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(4);
        for _ in 0..chance.upto(40) {
            step(&mut rig, &mut ledger, &mut chance);
        }
        let now = rig.clock.anchor();
        let disk = match chance.upto(2) {
            0 => rig.disk.kill(),
            _ => rig.disk.crash(&mut chance),
        };
        let names = disk.names();
        if !names.is_empty() && chance.once(2) {
            for _ in 0..=chance.upto(2) {
                let name = chance.pick(&names.iter().collect::<Vec<_>>());
                let Some(mut bytes) = disk.content(name) else {
                    continue;
                };
                match (chance.upto(4), bytes.len()) {
                    (0, _) | (_, 0) => drop(disk.take(name)),
                    (1, length) => bytes.truncate(chance.upto(length as u64) as usize),
                    (_, length) => {
                        bytes[chance.upto(length as u64 - 1) as usize] ^= 1 << chance.upto(7);
                    }
                }
                if disk.content(name).is_some() {
                    disk.put(name, bytes);
                }
            }
        }
        let before = contents(&disk);
        let view = View::open(&disk, BOOT, || now).map_err(|error| error.to_string());
        assert_eq!(contents(&disk), before, "a look changed the directory");
        let limits = settings(SyncPolicy::Never, 4, WINDOW_NS).limits;
        let opened = Journal::open(disk.kill(), limits, BOOT, now, SyncPolicy::Never);
        let recovered = opened.map(|(_, recovered)| recovered);
        match (view, recovered.map_err(|error| error.to_string())) {
            (Ok(view), Ok(recovered)) => {
                let segments = view.parts.iter().map(|part| part.segment);
                assert_eq!(segments.collect::<Vec<_>>(), recovered.segments);
                assert_eq!(view.end, recovered.end);
                assert_eq!(view.complete_after, recovered.complete_after);
                assert_eq!(view.tail_bytes, recovered.trimmed_bytes);
            }
            (Err(view), Err(recovered)) => assert_eq!(view, recovered),
            (view, recovered) => panic!("{view:?}, but {recovered:?}"),
        }
    });
}

#[test]
fn a_look_counts_every_span_as_the_model_does_at_every_instant() {
    for_seeds(count(40), |seed| {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(4);
        for _ in 0..60 {
            step(&mut rig, &mut ledger, &mut chance);
            let now = rig.clock.anchor();
            let view = View::open(&rig.disk, BOOT, || now).expect("a look");
            assert_eq!(view.end, ledger.total());
            assert_eq!(view.findings, [""; 0]);
            for _ in 0..10 {
                let to = now.at.before(chance.span(2 * WINDOW_NS));
                let from = to.before(chance.span(2 * (WINDOW_NS + LATE_NS_MAX)));
                if from < view.complete_after {
                    continue;
                }
                let bound = |stamp| view.upper_bound(stamp).expect("a bound").position;
                assert_eq!(bound(to) - bound(from), ledger.between(from, to));
            }
        }
    });
}

#[test]
fn what_is_kept_is_seen_to_be_complete_for_as_long_as_it_is_kept() {
    for_seeds(count(60), |seed| {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(4);
        for _ in 0..80 {
            step(&mut rig, &mut ledger, &mut chance);
            let now = rig.clock.anchor();
            let view = View::open(&rig.disk, BOOT, || now).expect("a look");
            let cutoff = now.at.before(WINDOW_NS);
            assert!(
                view.complete_after <= cutoff,
                "the window begins at {cutoff}, complete after {}",
                view.complete_after
            );
            assert!(!rig.status().estimated);
        }
        let (clock, disk) = (rig.clock.clone(), rig.kill());
        let limits = settings(SyncPolicy::Never, 4, WINDOW_NS);
        let mut again = Rig::open(&disk, &clock, limits);
        assert!(!again.status().estimated, "a restart loses nothing either");
    });
}

/// All that an old look still yields: right, or known to be retired. Returns how often it was that.
fn assert_right_or_retired(view: &View<'_, SimDisk>, ledger: &Ledger, chance: &mut Chance) -> u64 {
    let mut retired = 0;
    for part in &view.parts {
        let file = match view.open_part(part) {
            Ok(file) => file,
            Err(Missed::Retired) => {
                retired += 1;
                continue;
            }
            Err(Missed::Failed(error)) => panic!("{error}"),
        };
        let mut stamps = Vec::new();
        match file.read(0, &mut stamps) {
            Ok(damage) => {
                assert_eq!(damage, None);
                let first = part.segment.sequence as usize;
                let expected = &ledger.stamps[first..first + part.segment.count as usize];
                assert_eq!(stamps, expected);
            }
            Err(Missed::Retired) => retired += 1,
            Err(Missed::Failed(error)) => panic!("{error}"),
        }
    }
    for _ in 0..4 {
        let stamp = chance.pick(&ledger.stamps);
        match view.upper_bound(stamp) {
            Ok(bound) if stamp >= view.complete_after => {
                assert_eq!(bound.position, ledger.upto(stamp).min(view.end));
            }
            Ok(_) => {}
            Err(Missed::Retired) => retired += 1,
            Err(Missed::Failed(error)) => panic!("{error}"),
        }
    }
    retired
}

#[test]
fn segment_that_is_recycled_under_a_look_is_known_to_be_retired() {
    let mut retired = 0;
    for seed in 0..count(100) {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(4);
        for _ in 0..chance.between(5, 30) {
            step(&mut rig, &mut ledger, &mut chance);
        }
        let disk = rig.disk.clone();
        let view = View::open(&disk, BOOT, || rig.clock.anchor()).expect("a look");
        for _ in 0..30 {
            step(&mut rig, &mut ledger, &mut chance);
            retired += assert_right_or_retired(&view, &ledger, &mut chance);
        }
    }
    assert!(retired > 1000, "segments were retired: {retired}");
}

#[test]
fn open_file_that_is_recycled_never_yields_a_wrong_stamp() {
    let mut retired = 0;
    for seed in 0..count(100) {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(4);
        for _ in 0..chance.between(5, 30) {
            step(&mut rig, &mut ledger, &mut chance);
        }
        let disk = rig.disk.clone();
        let view = View::open(&disk, BOOT, || rig.clock.anchor()).expect("a look");
        let open = |part| view.open_part(part).expect("a segment");
        let files: Vec<_> = view.parts.iter().map(open).collect();
        for _ in 0..30 {
            step(&mut rig, &mut ledger, &mut chance);
            for (part, file) in view.parts.iter().zip(&files) {
                let first = part.segment.sequence as usize;
                let expected = &ledger.stamps[first..first + part.segment.count as usize];
                let (mut stamps, mut slots) = (Vec::new(), Vec::new());
                for index in 0..part.segment.count {
                    match file.read(index, &mut stamps) {
                        Ok(damage) => {
                            assert_eq!((damage, &*stamps), (None, &expected[index as usize..]))
                        }
                        Err(Missed::Retired) => retired += 1,
                        Err(Missed::Failed(error)) => panic!("{error}"),
                    }
                    match file.slots(index, &mut slots) {
                        Ok(()) => assert!(!slots.contains(&None)),
                        Err(Missed::Retired) => retired += 1,
                        Err(Missed::Failed(error)) => panic!("{error}"),
                    }
                }
                match file.upper_bound(expected[0]) {
                    Ok(bound) => {
                        let equal = expected.iter().take_while(|&&other| other == expected[0]);
                        assert_eq!(bound.position, equal.count() as u64);
                    }
                    Err(Missed::Retired) => retired += 1,
                    Err(Missed::Failed(error)) => panic!("{error}"),
                }
            }
        }
    }
    assert!(retired > 1000, "files were recycled: {retired}");
}

#[test]
fn hits_before_the_first_rotation_have_no_beginning_to_miss() {
    let (mut rig, _) = begun(4);
    rig.hit_at(&[START + 5]);
    let view = View::open(&rig.disk, BOOT, || rig.clock.anchor()).expect("a look");
    assert_eq!(view.complete_after, Stamp::MIN);
    let later = rig.clock.anchor();
    let bound = view.upper_bound(later.at.after(SECOND_NS));
    assert_eq!(bound.ok().map(|bound| bound.position), Some(1));
}

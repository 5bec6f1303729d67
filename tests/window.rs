//! The window to the nanosecond: what a tally counts at and around the cutoff, and what it answers
//! when stamps come late, early or equal.
//!
//! Owns the boundary cases, each by a hand-made line of hits; `model.rs` goes through the rest by
//! chance.
//!
//! Must not know how a journal is laid out. Invariant tested: the answer to a hit at t is the number
//! of hits in (t - window, t] admitted up to it, and no question changes a later one.

mod support;

use support::disk::SimDisk;
use support::fault::{EMFILE, Op};
use support::rig::{Rig, WINDOW_NS, clock_at, settings};
use tallyd::funnel::LATE_NS_MAX;
use tallyd::hit::{Answer, Ask};
use tallyd::journal::SyncPolicy;
use tallyd::stamp::{SECOND_NS, Stamp};

const W: i64 = WINDOW_NS as i64;
const START: i64 = 1_000_000_000;

fn rig() -> Rig {
    rig_with(WINDOW_NS, 10 * WINDOW_NS)
}

fn rig_with(window_ns: u64, retain_ns: u64) -> Rig {
    let mut settings = settings(SyncPolicy::Never, 4, retain_ns);
    settings.window_ns = window_ns;
    Rig::open(&SimDisk::default(), &clock_at(START), settings)
}

fn between(from: i64, to: i64) -> Ask {
    Ask::Between {
        from: Stamp::from_ns(from),
        to: Stamp::from_ns(to),
    }
}

#[test]
fn hit_exactly_at_cutoff_is_not_counted() {
    let mut rig = rig();
    assert_eq!(rig.hit_at(&[START]).tallies(), [1]);
    assert_eq!(rig.hit_at(&[START + W]).tallies(), [1]);
}

#[test]
fn hit_one_nanosecond_after_cutoff_is_counted() {
    let mut rig = rig();
    assert_eq!(rig.hit_at(&[START]).tallies(), [1]);
    assert_eq!(rig.hit_at(&[START + W - 1]).tallies(), [2]);
}

#[test]
fn hits_leave_one_by_one_as_the_cutoff_passes_them() {
    let mut rig = rig();
    let stamps: Vec<i64> = (0..10).map(|step| START + step).collect();
    rig.hit_at(&stamps);
    rig.clock.advance(WINDOW_NS - 9);
    for left in (0..10).rev() {
        assert_eq!(rig.status().tally, Some(left));
        rig.clock.advance(1);
    }
    // Now as many come as go, until none is left to go.
    let stamps: Vec<i64> = (1..=10).map(|step| START + W + step).collect();
    let tallies = rig.hit_at(&stamps).tallies();
    assert_eq!(tallies, [9, 9, 9, 9, 9, 9, 9, 9, 9, 10]);
}

#[test]
fn equal_stamps_get_every_number_once() {
    let mut rig = rig();
    assert_eq!(rig.hit_at(&[START; 5]).tallies(), [1, 2, 3, 4, 5]);
    assert_eq!(rig.hit_at(&[START; 2]).tallies(), [6, 7]);
}

#[test]
fn equal_stamps_leave_together() {
    let mut rig = rig();
    rig.hit_at(&[START; 9]);
    assert_eq!(rig.hit_at(&[START + W - 1]).tallies(), [10]);
    assert_eq!(rig.hit_at(&[START + W]).tallies(), [2]);
}

#[test]
fn batches_that_wait_together_are_counted_in_one_line() {
    let mut rig = rig();
    let now = Stamp::from_ns(START);
    let mut lines = [rig.send(&[now; 2]), rig.send(&[now]), rig.send(&[now; 3])];
    rig.turns();
    let mut tallies = Vec::new();
    for line in &mut lines {
        let batch = line.wait().expect("an answer");
        tallies.extend(batch.hits().iter().map(|hit| hit.tally));
    }
    assert_eq!(tallies, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn late_hit_is_moved_up_to_the_last_and_the_correction_is_measured() {
    let mut rig = rig();
    rig.hit_at(&[START + 100]);
    let late = rig.hit(&[Stamp::from_ns(START + 40), Stamp::from_ns(START + 90)]);
    assert_eq!(late.tallies(), [2, 3]);
    assert!(late.hits.iter().all(|hit| hit.stamp.ns() == START + 100));
    let status = rig.status();
    assert_eq!(status.corrected_count, 2);
    assert_eq!(status.correction_ns_max, 60);
    assert_eq!(status.correction_ns_total, 70);
}

#[test]
fn stamp_in_the_future_is_clamped_to_now() {
    let mut rig = rig();
    let early = rig.hit(&[Stamp::from_ns(START + 1), Stamp::MAX]);
    assert!(early.hits.iter().all(|hit| hit.stamp.ns() == START));
    assert_eq!(rig.status().corrected_count, 0, "it was moved down, not up");
    assert_eq!(rig.hit_at(&[START + W]).tallies(), [1]);
}

#[test]
fn every_window_length_cuts_at_its_own_nanosecond() {
    let minute_ns = 60 * SECOND_NS;
    for window_ns in [
        WINDOW_NS,
        WINDOW_NS + 1,
        SECOND_NS,
        minute_ns - 1,
        minute_ns,
    ] {
        for retain_ns in [window_ns, minute_ns] {
            let mut rig = rig_with(window_ns, retain_ns);
            let window = window_ns as i64;
            rig.hit_at(&[START, START + 1]);
            assert_eq!(rig.hit_at(&[START + window - 1]).tallies(), [3]);
            assert_eq!(rig.hit_at(&[START + window]).tallies(), [3]);
            assert_eq!(rig.hit_at(&[START + window + 1]).tallies(), [3]);
        }
    }
}

#[test]
fn late_hit_still_counts_what_only_the_present_has_left_behind() {
    // A turn at START + W + 5 may give up what is at or before START + 5. A hit that was stamped
    // three nanoseconds earlier and is admitted after that turn still has START + 5 in its window.
    let mut rig = rig_with(WINDOW_NS, WINDOW_NS);
    rig.hit_at(&[START, START, START, START + 5]);
    rig.clock.advance(WINDOW_NS);
    rig.tick();
    let late = rig.hit(&[Stamp::from_ns(START + W + 2)]);
    assert_eq!(late.tallies(), [2]);
    assert_eq!(late.hits[0].stamp.ns(), START + W + 2);
}

#[test]
fn hit_later_than_any_may_be_is_moved_up_and_the_correction_is_measured() {
    let mut rig = rig_with(WINDOW_NS, WINDOW_NS);
    rig.hit_at(&[START; 4]);
    rig.clock.advance(5 * SECOND_NS);
    rig.tick();
    let late = rig.hit(&[Stamp::from_ns(START + 1)]);
    assert_eq!(late.tallies(), [1]);
    let moved_ns = late.hits[0].stamp.ns() - (START + 1);
    assert_eq!(late.hits[0].stamp, rig.now().before(LATE_NS_MAX));
    assert_eq!(rig.status().correction_ns_max, moved_ns as u64);
}

#[test]
fn hit_stamped_before_a_long_suspend_is_counted() {
    // The clock counts suspend: the machine may sleep for days between the stamp and its turn.
    const DAY_NS: u64 = 86_400 * SECOND_NS;
    let mut rig = rig();
    let line = rig.send(&[Stamp::from_ns(START)]);
    rig.clock.advance(5 * DAY_NS);
    let now = rig.now();
    let mut lines = [line, rig.send(&[now; 3])];
    rig.turns();
    for line in &mut lines {
        line.wait().expect("an answer");
    }
    assert_eq!(rig.status().total, 4);
    let (clock, disk) = (rig.clock.clone(), rig.kill());
    let rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, WINDOW_NS));
    assert_eq!(rig.recovered.end, 4);
    assert_eq!(rig.recovered.findings, [""; 0]);
}

#[test]
fn questions_count_any_window_and_any_interval() {
    let mut rig = rig();
    let stamps: Vec<i64> = (0..40).map(|step| START + step * 10).collect();
    for some in stamps.chunks(3) {
        rig.hit_at(some);
    }
    for from in START - 5..START + 400 {
        for to in [from, from + 1, from + 9, from + 10, from + 123, START + 390] {
            let expected = stamps.iter().filter(|&&at| from < at && at <= to).count();
            let answer = rig.ask(between(from, to));
            assert_eq!(answer, Answer::Count(expected as u64), "({from}, {to}]");
            if from <= to && from >= START {
                let count = Ask::Count {
                    window_ns: (to - from) as u64,
                    at: Some(Stamp::from_ns(to)),
                };
                assert_eq!(rig.ask(count), answer);
            }
        }
    }
}

#[test]
fn question_behind_the_newest_hit_opens_no_file() {
    let mut rig = rig();
    rig.hit_at(&[START, START + 1, START + 2]);
    rig.disk.faults(|faults| faults.sticky(Op::Open, 1, EMFILE));
    let later = rig.ask(between(START + 2, START + 9));
    assert_eq!(later, Answer::Count(0));
    // That of the active segment is open.
    let earlier = rig.ask(between(START + 1, START + 9));
    assert_eq!(earlier, Answer::Count(1));
    // In a sealed one it has to be looked up.
    let mut rig = Rig::open(
        &rig.disk.kill(),
        &rig.clock,
        settings(SyncPolicy::Never, 4, 10 * WINDOW_NS),
    );
    rig.disk.faults(|faults| faults.sticky(Op::Open, 1, EMFILE));
    let earlier = rig.ask(between(START + 1, START + 9));
    assert!(matches!(earlier, Answer::Failed(_)), "{earlier:?}");
}

#[test]
fn hits_that_leave_one_segment_are_read_through_one_open_file() {
    let mut settings = settings(SyncPolicy::Never, 3000, 10 * WINDOW_NS);
    settings.limits.seal_bytes_min = settings.limits.segment_bytes_max;
    let mut rig = Rig::open(&SimDisk::default(), &clock_at(START), settings);
    let mut opened = 0;
    for step in 0..2000 {
        rig.hit_at(&[START + step]);
    }
    // A new life finds them sealed.
    let mut rig = Rig::open(&rig.disk.kill(), &rig.clock, settings);
    let before = rig.disk.faults(|faults| faults.calls(Op::Open));
    for step in 0..2000 {
        let tallies = rig.hit_at(&[START + W + step]).tallies();
        assert_eq!(tallies, [2000]);
        opened = rig.disk.faults(|faults| faults.calls(Op::Open));
    }
    assert_eq!(opened - before, 1);
}

#[test]
fn interval_that_ends_before_it_begins_is_empty() {
    let mut rig = rig();
    rig.hit_at(&[START, START + 1]);
    assert_eq!(rig.ask(between(START + 1, START)), Answer::Count(0));
}

#[test]
fn question_past_what_is_kept_is_an_error() {
    let mut rig = rig();
    rig.hit_at(&[START; 4]);
    rig.hit_at(&[START + 1; 4]);
    rig.clock.advance(60 * SECOND_NS);
    rig.hit_now(1);
    rig.tick();
    match rig.ask(between(START - 1, START + 1)) {
        Answer::NotKept { from, kept } => assert!(from < kept, "{from} {kept}"),
        other => panic!("hits that are gone cannot be counted: {other:?}"),
    }
    let now = rig.now().ns();
    assert_eq!(rig.ask(between(now - 10 * W, now)), Answer::Count(1));
}

#[test]
fn question_behind_all_that_is_kept_no_longer_is_answered() {
    let mut rig = rig();
    rig.hit_at(&[START, START, START, START + 1]);
    rig.hit_at(&[START + 2; 4]);
    rig.clock.advance(60 * SECOND_NS);
    rig.hit_now(1);
    rig.tick();
    // Everything behind the last hit that was given up is kept, and an empty span needs nothing.
    let steps = |from| Ask::Steps {
        from: Stamp::from_ns(from),
        step_ns: 1,
        count: 2,
        end: u64::MAX,
    };
    assert_eq!(rig.ask(between(START + 1, START + 9)), Answer::Count(4));
    assert_eq!(rig.ask(steps(START + 1)), Answer::Steps(vec![4, 0]));
    for ask in [between(START, START + 9), steps(START)] {
        assert!(matches!(rig.ask(ask), Answer::NotKept { .. }));
    }
    assert_eq!(rig.ask(between(START, START)), Answer::Count(0));
}

#[test]
fn question_past_what_is_kept_is_an_error_after_a_restart() {
    // Equal stamps lie on both sides of a rotation; the older side is retired, then the process
    // restarts and may not take the younger side for the whole.
    let mut rig = rig_with(WINDOW_NS, WINDOW_NS);
    for _ in 0..3 {
        rig.hit_at(&[START; 4]);
    }
    rig.clock.advance(60 * SECOND_NS);
    rig.tick();
    let (clock, disk) = (rig.clock.clone(), rig.kill());
    disk.take("0000000000000000.seg");
    let mut rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, WINDOW_NS));
    match rig.ask(between(START - 1, START)) {
        Answer::Count(count) => panic!("{count} of 12 hits were taken for all"),
        answer => assert!(matches!(answer, Answer::NotKept { .. }), "{answer:?}"),
    }
}

#[test]
fn restart_after_a_quiet_window_still_knows_the_whole_of_it() {
    // The first life's hits leave the window while nobody comes; the second life may give them up only
    // when what it has left tells a third one that nothing is missing.
    let settings = settings(SyncPolicy::Never, 4, WINDOW_NS);
    let mut rig = Rig::open(&SimDisk::default(), &clock_at(START), settings);
    rig.hit_at(&[START]);
    for expected in 1..=3 {
        let (clock, disk) = (rig.clock.clone(), rig.kill());
        clock.advance(if expected == 1 { 60 * SECOND_NS } else { 1 });
        rig = Rig::open(&disk, &clock, settings);
        rig.tick();
        assert!(!rig.status().estimated, "before hit {expected}");
        assert_eq!(rig.hit_now(1).tallies(), [expected]);
    }
    let now = rig.now().ns();
    assert_eq!(rig.ask(between(now - W, now)), Answer::Count(3));
}

#[test]
fn no_question_changes_a_later_tally() {
    let mut asked = rig();
    let mut quiet = rig();
    for step in 0..200_i64 {
        let at = START + step * W / 40;
        let answers = asked.hit_at(&[at, at + 1]).tallies();
        assert_eq!(answers, quiet.hit_at(&[at, at + 1]).tallies());
        for reach in [0, 1, W / 3, W, 3 * W] {
            let _answer = asked.ask(between(at - reach, at));
        }
        let _answer = asked.ask(between(0, i64::MAX));
        asked.status();
    }
    assert_eq!(asked.status(), quiet.status());
}

#[test]
fn status_tells_the_tally_of_now() {
    let mut rig = rig();
    rig.hit_at(&[START, START + 5]);
    rig.clock.advance(WINDOW_NS - 5);
    let status = rig.status();
    assert_eq!((status.tally, status.total), (Some(1), 2));
    assert!(!status.estimated);
}

#[test]
fn empty_batch_is_answered_under_every_policy() {
    for policy in [
        SyncPolicy::Always,
        SyncPolicy::Every { period_ns: 1 },
        SyncPolicy::Never,
    ] {
        let settings = settings(policy, 4, WINDOW_NS);
        let mut rig = Rig::open(&SimDisk::default(), &clock_at(START), settings);
        assert_eq!(rig.hit(&[]).tallies(), [0; 0]);
        assert_eq!(rig.hit_at(&[START]).tallies(), [1]);
        assert_eq!(rig.hit(&[]).tallies(), [0; 0]);
    }
}

#[test]
fn the_first_instant_after_boot_can_be_recorded() {
    let settings = settings(SyncPolicy::Never, 4, WINDOW_NS);
    let mut rig = Rig::open(&SimDisk::default(), &clock_at(0), settings);
    assert_eq!(rig.hit(&[Stamp::MIN, Stamp::from_ns(0)]).tallies(), [1, 2]);
}

//! When segments are sealed, opened, given up and handed on, and what of them stays open.
//!
//! Owns the limits: each case has sizes of its own, of a few records, and stands one record or one
//! nanosecond before the limit and then at it.
//!
//! Must not know how a segment is laid out. Invariant tested: a segment is sealed when it is full, or old
//! and large enough, and sealed files are closed.

mod support;

use support::disk::SimDisk;
use support::fault::{EIO, Faults, Op};
use support::rig::{Rig, WINDOW_NS, clock_at, settings};
use tallyd::clock::Clock;
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::Verdict;
use tallyd::journal::record::OFFSET_NS_MAX;
use tallyd::journal::{Limits, SyncPolicy, name};

const START: i64 = 1_000_000_000;
const EVERY: SyncPolicy = SyncPolicy::Every { period_ns: 1000 };

/// Segments of at most `most` records, sealed at a window's age if they have `least`.
fn limits(policy: SyncPolicy, least: u64, most: u64) -> Settings {
    let mut settings = settings(policy, most, 10 * WINDOW_NS);
    settings.limits.seal_bytes_min = 64 + 8 * least;
    settings
}

fn open(settings: Settings) -> Rig {
    Rig::open(&SimDisk::default(), &clock_at(START), settings)
}

/// How many segments there are when one more hit has come.
fn segments_with_one_more(rig: &mut Rig) -> usize {
    rig.hit_now(1);
    rig.status().segment_count
}

#[test]
fn segment_is_sealed_at_its_age_to_the_nanosecond() {
    let mut rig = open(limits(SyncPolicy::Never, 3, 100));
    rig.hit_now(3);
    // Its base is one nanosecond before its first hit.
    rig.clock.advance(WINDOW_NS - 2);
    rig.tick();
    assert_eq!(segments_with_one_more(&mut rig), 1);
    rig.clock.advance(1);
    rig.tick();
    assert_eq!(segments_with_one_more(&mut rig), 2);
}

#[test]
fn segment_is_not_sealed_by_age_before_it_is_large_enough() {
    let mut rig = open(limits(SyncPolicy::Never, 3, 100));
    rig.hit_now(2);
    rig.clock.advance(5 * WINDOW_NS);
    rig.tick();
    // The third record makes it large enough; it is sealed behind it.
    assert_eq!(segments_with_one_more(&mut rig), 1);
    assert_eq!(segments_with_one_more(&mut rig), 2);
}

#[test]
fn limits_of_users_are_16_mib_or_64_kib_and_one_window() {
    let limits = Limits::for_window(WINDOW_NS);
    assert_eq!(limits.segment_bytes_max, 16_777_216);
    assert_eq!(limits.seal_bytes_min, 65_536);
    assert_eq!(limits.seal_age_ns, WINDOW_NS);
}

#[test]
fn turn_that_fills_a_segment_to_its_last_place_is_not_kept_from_it() {
    // However small a segment may be, the largest turn has room in it.
    let mut rig = open(limits(SyncPolicy::Never, 20_000, 8193));
    rig.hit_now(4096);
    rig.hit_now(4096);
    assert_eq!(segments_with_one_more(&mut rig), 1);
    let mut rig = open(limits(SyncPolicy::Never, 20_000, 8193));
    rig.hit_now(4096);
    rig.hit_now(4095);
    rig.hit_now(3);
    assert_eq!(rig.status().segment_count, 2, "two of them had no room");
}

#[test]
fn segment_takes_hits_as_far_as_a_record_reaches_and_no_further() {
    let mut settings = limits(SyncPolicy::Never, 20_000, 20_000);
    settings.retain_ns = 4 * OFFSET_NS_MAX;
    let mut rig = open(settings);
    rig.hit_now(1);
    // Its base is one nanosecond before its first hit.
    rig.clock.advance(OFFSET_NS_MAX - 1);
    assert_eq!(segments_with_one_more(&mut rig), 1);
    rig.clock.advance(1);
    assert_eq!(segments_with_one_more(&mut rig), 2);
}

#[test]
fn wall_clock_that_has_drifted_by_100_ms_begins_a_segment() {
    for (drift_ns, segments) in [(99_999_999, 1), (100_000_000, 2)] {
        for sign in [1, -1] {
            let mut rig = open(limits(SyncPolicy::Never, 100, 100));
            rig.hit_now(1);
            rig.clock
                .step_wall_to(rig.clock.wall_ns() + sign * drift_ns);
            assert_eq!(segments_with_one_more(&mut rig), segments, "{drift_ns}");
            rig.clock.advance(1);
            assert_eq!(segments_with_one_more(&mut rig), segments, "{drift_ns}");
        }
    }
}

#[test]
fn turn_that_is_refused_leaves_its_segment_to_the_next_unless_it_had_begun_it() {
    // What of a first turn a power cut brings back would lie elsewhere under another header.
    for (counted, refused, number) in [(1, 200, 0), (0, 1, 1), (0, 57, 1), (60, 200, 0)] {
        let mut rig = open(limits(SyncPolicy::Never, 300, 300));
        if counted > 0 {
            rig.hit_now(counted);
        }
        rig.disk.faults(|faults| faults.once(Op::Write, 1, EIO));
        assert_eq!(rig.hit_now(refused).verdict, Verdict::Refused);
        assert_eq!(segments_with_one_more(&mut rig), 1);
        let case = format!("{refused} refused behind {counted}");
        assert_eq!(rig.disk.names(), [name::segment(number)], "{case}");
    }
}

#[test]
fn file_of_a_segment_long_ago_is_not_recycled_and_no_slot_of_it_counts_after_a_kill() {
    // Rejected first turns use up a number each.
    for (rejected, is_recycled) in [(1000, true), (1100, false), (40_000, false)] {
        let mut rig = open(limits(SyncPolicy::Never, 1, 4));
        rig.hit_now(6);
        rig.disk
            .faults(|faults| faults.some(Op::Write, 1, rejected, EIO));
        for _ in 0..rejected {
            assert_eq!(rig.hit_now(1).verdict, Verdict::Refused, "{rejected}");
        }
        for _ in 0..2 {
            rig.hit_now(4);
            rig.clock.advance(11 * WINDOW_NS + LATE_NS_MAX);
            rig.tick();
        }
        let bytes = |rig: &Rig| {
            let newest = rig.disk.names().pop().expect("a file");
            rig.disk.content(&newest).expect("its content").len()
        };
        rig.hit_now(1);
        assert_eq!(bytes(&rig) > 64 + 8, is_recycled, "{rejected}");
        let (clock, end) = (rig.clock.clone(), rig.status().total);
        let again = Rig::open(&rig.kill(), &clock, limits(SyncPolicy::Never, 1, 4));
        assert_eq!(again.recovered.end, end, "{rejected}");
        assert_eq!(again.recovered.findings, [""; 0], "{rejected}");
    }
}

#[test]
fn segment_is_sealed_when_it_is_full_however_young_it_is() {
    let mut rig = open(limits(SyncPolicy::Never, 3, 5));
    rig.hit_now(4);
    assert_eq!(segments_with_one_more(&mut rig), 1);
    assert_eq!(segments_with_one_more(&mut rig), 2);
}

#[test]
fn few_files_stay_open_however_many_are_sealed() {
    for policy in [SyncPolicy::Never, EVERY, SyncPolicy::Always] {
        let mut rig = open(limits(policy, 1, 4));
        let at_first = rig.disk.handle_count();
        for _ in 0..50 {
            rig.hit_now(3);
            rig.clock.advance(WINDOW_NS / 10);
            rig.tick();
            rig.run_jobs();
        }
        assert!(rig.status().segment_count > 20);
        // That which is read at the head of the window, and what was sealed while the last sync was
        // under way, which the next one covers.
        let more = rig.disk.handle_count() - at_first;
        assert!(more <= 4, "{more} handles more under {policy:?}");
    }
}

#[test]
fn file_that_was_synced_as_a_whole_is_closed_when_it_is_sealed() {
    let mut rig = open(limits(EVERY, 1, 100));
    rig.hit_now(3);
    rig.clock.advance(1000);
    rig.tick();
    assert_eq!(rig.run_jobs(), Some(3));
    let before = rig.disk.handle_count();
    rig.clock.advance(WINDOW_NS);
    rig.tick();
    assert_eq!(rig.disk.names().len(), 2, "it was sealed");
    assert_eq!(
        rig.disk.handle_count(),
        before + 1,
        "the next one is open, and it only for whoever reads it"
    );
}

#[test]
fn old_bytes_behind_the_records_that_cannot_be_cut_off_hinder_nothing() {
    let mut settings = limits(SyncPolicy::Never, 1, 100);
    settings.retain_ns = WINDOW_NS;
    let mut rig = open(settings);
    rig.hit_now(50);
    rig.disk.faults(|faults| faults.sticky(Op::SetLen, 1, EIO));
    for round in 0..20 {
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
        rig.hit_now(1);
        let names = rig.disk.names();
        assert!(names.len() <= 4, "round {round}: {names:?}");
    }
    assert_eq!(rig.status().refused_count, 0);
}

#[test]
fn number_that_somebody_has_taken_is_left_out() {
    let mut rig = open(limits(SyncPolicy::Never, 1, 4));
    rig.hit_now(3);
    rig.disk.put(&name::segment(1), b"not ours".to_vec());
    assert_eq!(segments_with_one_more(&mut rig), 1);
    // The turn that comes upon it may be refused, the next one has another number.
    rig.hit_now(1);
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    let kept = rig.disk.content(&name::segment(1));
    assert_eq!(kept.as_deref(), Some(b"not ours".as_slice()));
    assert!(rig.disk.content(&name::segment(2)).is_some());
}

#[test]
fn number_that_no_file_was_created_for_is_not_used_up() {
    let mut rig = open(limits(SyncPolicy::Never, 1, 4));
    rig.disk.faults(|faults| faults.some(Op::Create, 1, 3, EIO));
    for _ in 0..3 {
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
    }
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert_eq!(rig.disk.names(), [name::segment(0)]);
}

#[test]
fn segment_that_is_synced_is_given_up_whatever_else_waits() {
    let mut rig = open(limits(SyncPolicy::Always, 1, 4));
    rig.hit_now(4);
    rig.clock.advance(1);
    let _waits = rig.send(&[rig.now()]);
    rig.turns();
    let leaves = rig.now().after(10 * WINDOW_NS + LATE_NS_MAX);
    assert_eq!(rig.due(), Some(leaves), "with the first hit behind it");
}

#[test]
fn segment_that_somebody_has_removed_keeps_no_other_from_being_removed() {
    let mut settings = limits(SyncPolicy::Never, 1, 4);
    settings.retain_ns = WINDOW_NS;
    let mut rig = open(settings);
    for _ in 0..5 {
        rig.hit_now(4);
    }
    rig.disk.take(&name::segment(1)).expect("a sealed segment");
    rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
    rig.tick();
    // The newest that is given up is the spare, and behind it stands what is kept or active.
    assert_eq!(rig.disk.names(), [3, 4, 5].map(name::segment));
}

#[test]
fn files_that_cannot_be_removed_are_counted_told_and_gone_once_they_can() {
    let mut settings = limits(SyncPolicy::Never, 1, 4);
    settings.retain_ns = WINDOW_NS;
    let mut rig = open(settings);
    // As in a directory that is append-only.
    rig.disk.faults(Faults::names_stay);
    let mut before = 0;
    for _ in 0..30 {
        rig.hit_now(4);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        let calls = rig.disk.faults(|faults| faults.calls(Op::Remove));
        rig.tick();
        let calls = rig.disk.faults(|faults| faults.calls(Op::Remove)) - calls;
        assert!(calls <= 1, "{calls} attempts in one turn");
        let status = rig.status();
        assert!(status.unremovable_count >= before);
        assert_eq!(status.piling_up.is_some(), status.unremovable_count > 16);
        before = status.unremovable_count;
    }
    assert!((25..=30).contains(&before), "{before} of 30 files");
    let cause = rig.status().piling_up.expect("why");
    let expected =
        "at most 16 are allowed: cannot remove sim/0000000000000000.seg: operation not permitted";
    assert!(cause.contains(expected), "{cause}");
    rig.disk.faults(Faults::heal);
    rig.tick();
    let status = rig.status();
    assert_eq!((status.unremovable_count, status.piling_up), (0, None));
    assert!(rig.disk.names().len() <= 3, "{:?}", rig.disk.names());
}

#[test]
fn many_files_that_can_be_removed_again_go_in_several_turns() {
    let mut settings = limits(SyncPolicy::Never, 1, 4);
    settings.retain_ns = WINDOW_NS;
    let mut rig = open(settings);
    rig.disk.faults(Faults::names_stay);
    for _ in 0..200 {
        rig.hit_now(4);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
    }
    rig.disk.faults(Faults::heal);
    let mut turns = 0;
    while rig.disk.names().len() > 3 {
        let before = rig.disk.names().len();
        rig.tick();
        let removed = before - rig.disk.names().len();
        assert!((1..=64).contains(&removed), "{removed} in one turn");
        turns += 1;
    }
    assert!(turns >= 3, "{turns} turns");
}

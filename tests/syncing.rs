//! What a sync is asked to force to the device, and what it says when it cannot.
//!
//! Owns the count of calls: each case says how many files a job syncs. That what is synced outlives a power
//! cut is a matter of `tests/power.rs`.
//!
//! Must not know when a sync is due. Invariant tested: a job syncs every file with hits that may not be on
//! the device, no other, and covers nothing where one of them fails.

mod support;

use support::disk::SimDisk;
use support::fault::{EINVAL, EIO, EMFILE, EOPNOTSUPP, Op};
use support::rig::{BOOT, Rig, WINDOW_NS, answered, clock_at, settings};
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::{SyncPolicy, name};
use tallyd::stamp::{BootId, SECOND_NS};

const START: i64 = 1_000_000_000;
const EVERY: SyncPolicy = SyncPolicy::Every { period_ns: 1000 };

fn open_in(boot: BootId, disk: &SimDisk, now_ns: i64, policy: SyncPolicy) -> Rig {
    let settings = settings(policy, 4, 10 * WINDOW_NS);
    Rig::try_open(disk, &clock_at(now_ns), boot, settings).expect("a sound disk")
}

fn open(policy: SyncPolicy) -> Rig {
    open_in(BOOT, &SimDisk::default(), START, policy)
}

/// Files that were synced so far.
fn synced(rig: &Rig) -> u64 {
    rig.disk.faults(|faults| faults.calls(Op::SyncFile))
}

/// Lets the time come for a sync and runs it; returns what it covers and how many files it synced.
fn sync(rig: &mut Rig) -> (Option<u64>, u64) {
    let before = synced(rig);
    rig.clock.advance(1000);
    rig.tick();
    (rig.run_jobs(), synced(rig) - before)
}

#[test]
fn job_syncs_each_file_with_unsynced_hits_once() {
    let mut rig = open(EVERY);
    rig.hit_now(3);
    assert_eq!(sync(&mut rig), (Some(3), 1));
    // The first is full now; the next is open and holds nothing yet.
    rig.hit_now(1);
    assert_eq!(sync(&mut rig), (Some(4), 1));
    rig.hit_now(1);
    assert_eq!(sync(&mut rig), (Some(5), 1));
    for _ in 0..2 {
        rig.hit_now(4);
    }
    assert_eq!(sync(&mut rig), (Some(13), 2));
    assert_eq!(sync(&mut rig), (None, 0), "nothing is left to sync");
}

#[test]
fn life_that_finds_nothing_unsynced_asks_for_no_sync() {
    let mut rig = open(EVERY);
    assert_eq!(rig.due(), None);
    assert_eq!(sync(&mut rig), (None, 0));
    rig.hit_now(4);
    // What an earlier boot has left was on the device, or it would not be there.
    let mut next = open_in(BootId([8; 16]), &rig.kill(), START / 2, EVERY);
    assert_eq!(sync(&mut next), (None, 0));
    // A segment of this boot, and none of the one before.
    next.hit_now(2);
    let mut last = open_in(BootId([8; 16]), &next.kill(), START + 1000, EVERY);
    assert_eq!(sync(&mut last), (Some(6), 1));
    last.hit_now(4);
    assert_eq!(sync(&mut last), (Some(10), 1));
}

#[test]
fn what_may_be_of_the_running_boot_under_another_id_is_synced() {
    let mut rig = open(EVERY);
    rig.hit_now(4);
    // Boot time goes on, so the power may not have been away.
    let mut next = open_in(BootId([8; 16]), &rig.kill(), START, EVERY);
    assert_eq!(sync(&mut next), (Some(4), 1));
}

#[test]
fn empty_batch_asks_for_no_sync() {
    let mut rig = open(SyncPolicy::Always);
    rig.hit_now(1);
    let before = synced(&rig);
    let mut line = rig.send(&[]);
    rig.turns();
    assert!(rig.next_job().is_none());
    assert_eq!(answered(&mut line).expect("an answer").tallies(), [0; 0]);
    assert_eq!(synced(&rig), before);
}

#[test]
fn job_of_a_killed_life_passes_over_what_is_gone_and_over_nothing_else() {
    for gone in [true, false] {
        let mut rig = open(EVERY);
        for _ in 0..3 {
            rig.hit_now(4);
        }
        let mut rig = open_in(BOOT, &rig.kill(), START + 1, EVERY);
        rig.clock.advance(SECOND_NS);
        rig.tick();
        let job = rig.next_job().expect("a job");
        if gone {
            rig.disk.take(&name::segment(0)).expect("a segment");
            assert_eq!(rig.run_job(job), Some(12));
            assert_eq!(synced(&rig), 2);
        } else {
            rig.disk.faults(|faults| faults.once(Op::Open, 2, EMFILE));
            assert_eq!(rig.run_job(job), None);
            let cause = rig.status().sync_failure.expect("the failure");
            assert!(cause.starts_with("cannot sync sim/0000000000000001.seg"));
        }
    }
}

#[test]
fn failed_sync_covers_nothing_and_is_not_taken_up_by_the_next() {
    let mut rig = open(EVERY);
    for _ in 0..2 {
        rig.hit_now(4);
    }
    rig.disk.faults(|faults| faults.once(Op::SyncFile, 2, EIO));
    assert_eq!(sync(&mut rig), (None, 2));
    rig.hit_now(1);
    assert_eq!(sync(&mut rig), (Some(9), 1), "the others are suspect");
}

#[test]
fn segment_whose_sync_has_failed_takes_no_more_hits() {
    let mut rig = open(EVERY);
    rig.hit_now(2);
    rig.disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    assert_eq!(sync(&mut rig), (None, 1));
    assert_eq!(sync(&mut rig), (None, 0), "it is never tried again");
    rig.hit_now(1);
    assert_eq!(rig.status().segment_count, 2);
    assert_eq!(sync(&mut rig), (Some(3), 1));
}

#[test]
fn policy_of_never_asks_for_no_sync() {
    let mut rig = open(SyncPolicy::Never);
    for _ in 0..3 {
        rig.hit_now(4);
        assert_eq!(sync(&mut rig), (None, 0));
    }
    let retires = START + 1 + (10 * WINDOW_NS + LATE_NS_MAX) as i64;
    assert!(rig.due().is_some_and(|due| due.ns() >= retires));
}

#[test]
fn file_system_that_cannot_sync_names_is_served_and_its_files_are_synced() {
    for errno in [EINVAL, EOPNOTSUPP] {
        for policy in [EVERY, SyncPolicy::Always] {
            let mut rig = open(policy);
            rig.disk
                .faults(|faults| faults.sticky(Op::SyncNames, 1, errno));
            for counted in 1..=3 {
                let before = synced(&rig);
                // A new file each time.
                assert_eq!(rig.hit_now(4).tallies().last(), Some(&(4 * counted)));
                sync(&mut rig);
                assert!(synced(&rig) > before, "{policy:?}");
            }
            assert_eq!(rig.status().sync_failure, None);
            let (outcome, _) = rig.stop();
            outcome.expect("nothing has failed");
        }
    }
}

#[test]
fn directory_whose_sync_fails_is_an_error_all_the_same() {
    let mut rig = open(EVERY);
    rig.disk.faults(|faults| faults.once(Op::SyncNames, 1, EIO));
    rig.hit_now(1);
    assert_eq!(sync(&mut rig), (None, 1));
    assert!(rig.status().sync_failure.is_some());
}

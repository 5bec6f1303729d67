//! What the funnel does when the disk fails it: which hits it refuses, and that it counts again.
//!
//! Owns the walk: one fault is led through every call of an operation during one script, which
//! rotates, retires and recycles, so that every place where the engine touches the disk fails once.
//!
//! Must not know where those places are. Invariant tested: what was answered as counted is in the
//! total, in every later tally and in the count after a restart; what was refused is in none.

mod support;

use support::disk::SimDisk;
use support::fault::{EINTR, EIO, EMFILE, ENOSPC, Faults, Op};
use support::ledger::Ledger;
use support::rig::{Answered, Rig, WINDOW_NS, answered, clock_at, settings};
use support::seed::{Chance, for_seeds};
use tallyd::funnel::LATE_NS_MAX;
use tallyd::hit::{Answer, Ask, Verdict};
use tallyd::journal::SyncPolicy;
use tallyd::stamp::SECOND_NS;

const START: i64 = 1_000_000_000;
const EVERY: SyncPolicy = SyncPolicy::Every { period_ns: 1000 };

fn open(disk: &SimDisk, rig: Option<&Rig>, policy: SyncPolicy) -> Rig {
    let clock = rig.map_or_else(|| clock_at(START), |rig| rig.clock.clone());
    Rig::open(disk, &clock, settings(policy, 4, WINDOW_NS))
}

/// Sixty turns of one to five hits over four windows and two retentions; segments of four records.
fn script(rig: &mut Rig, ledger: &mut Ledger) -> Vec<Answered> {
    let mut answers = Vec::new();
    for turn in 0..60_u64 {
        let pause_ns = match turn % 20 {
            19 => WINDOW_NS + LATE_NS_MAX,
            _ => WINDOW_NS / 5,
        };
        rig.clock.advance(pause_ns);
        let answer = rig.hit_now(1 + (turn % 5) as usize);
        ledger.enter(&answer).expect("a right tally or none");
        answers.push(answer);
        rig.tick();
        rig.run_jobs();
    }
    answers
}

fn refused_in(answers: &[Answered]) -> usize {
    let refused = answers.iter().filter(|one| one.verdict == Verdict::Refused);
    refused.count()
}

/// Leads a fault through the script: `arrange` puts it at the nth call, until one is not met.
fn walk(policy: SyncPolicy, arrange: impl Fn(&mut Faults, u64), check: impl Fn(Walked)) -> u64 {
    for nth in 1.. {
        let disk = SimDisk::default();
        let (mut rig, mut ledger) = (open(&disk, None, policy), Ledger::new(WINDOW_NS));
        disk.faults(|faults| arrange(faults, nth));
        let answers = script(&mut rig, &mut ledger);
        let met = disk.faults(|faults| {
            let met = faults.is_over();
            faults.heal();
            met
        });
        let refused = refused_in(&answers);
        if !met {
            assert_eq!(refused, 0, "nothing failed");
            return nth - 1;
        }
        check(Walked {
            nth,
            rig,
            ledger,
            refused,
        });
    }
    unreachable!("the script ends")
}

struct Walked {
    nth: u64,
    rig: Rig,
    ledger: Ledger,
    refused: usize,
}

impl Walked {
    /// The total agrees, hits count again, and after a kill everything is as it was.
    fn agrees(mut self) {
        let nth = self.nth;
        let total = self.ledger.total();
        assert_eq!(self.rig.status().total, total, "at call {nth}");
        let answer = self.rig.hit_now(3);
        assert_eq!(answer.verdict, Verdict::Counted, "at call {nth}");
        self.ledger.enter(&answer).expect("a right tally");
        let clock = self.rig.clock.clone();
        let disk = self.rig.kill();
        let mut again = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, WINDOW_NS));
        assert_eq!(again.recovered.end, total + 3, "at call {nth}");
        assert_eq!(again.recovered.findings, [""; 0], "at call {nth}");
        self.ledger.enter(&again.hit_now(1)).expect("a right tally");
    }
}

#[test]
fn short_reads_and_writes_and_interruptions_are_invisible() {
    for_seeds(20, |seed| {
        let disk = SimDisk::default();
        let (mut rig, mut ledger) = (open(&disk, None, EVERY), Ledger::new(WINDOW_NS));
        disk.faults(|faults| {
            faults.short(seed);
            for op in [Op::Read, Op::Write] {
                for nth in 1..20 {
                    faults.some(op, nth * 40, 1 + nth % 9, EINTR);
                }
            }
        });
        assert_eq!(refused_in(&script(&mut rig, &mut ledger)), 0);
        assert_eq!(rig.status().total, 180);
        let disk = rig.disk.kill();
        assert_eq!(open(&disk, Some(&rig), EVERY).recovered.end, 180);
    });
}

#[test]
fn call_that_is_interrupted_without_end_is_given_up() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, EVERY);
    assert_eq!(rig.hit_now(1).tallies(), [1]);
    let calls = |op| disk.faults(|faults| faults.calls(op));
    for (op, pause_ns) in [(Op::Write, 0), (Op::Read, WINDOW_NS)] {
        rig.clock.advance(pause_ns);
        let before = calls(op);
        disk.faults(|faults| faults.some(op, 1, 100, EINTR));
        assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
        assert_eq!(calls(op) - before, 101, "{op:?}");
        disk.faults(|faults| faults.some(op, 1, 101, EINTR));
        rig.clock.advance(pause_ns);
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused, "{op:?}");
    }
    assert_eq!(rig.status().total, 3);
}

#[test]
fn failed_write_refuses_exactly_that_turn() {
    for errno in [EIO, ENOSPC] {
        for short in [false, true] {
            let arrange = |faults: &mut Faults, nth| {
                if short {
                    faults.short(nth);
                }
                faults.once(Op::Write, nth, errno);
            };
            let calls = walk(SyncPolicy::Never, arrange, |walked| {
                assert_eq!(walked.refused, 1);
                walked.agrees();
            });
            assert!(calls >= 60, "every turn writes: {calls}");
        }
    }
}

#[test]
fn failed_cut_after_a_failed_write_is_cut_off_by_the_next_header() {
    for times in 1..4 {
        let arrange = |faults: &mut Faults, nth| {
            // Part of the turn is written, then the rest fails, and so does cutting it off.
            faults.short(nth);
            faults.once(Op::Write, nth, EIO);
        };
        walk(SyncPolicy::Never, arrange, Walked::agrees);
        let disk = SimDisk::default();
        let (mut rig, mut ledger) = (open(&disk, None, SyncPolicy::Never), Ledger::new(WINDOW_NS));
        for round in 0..40 {
            rig.clock.advance(WINDOW_NS / 3);
            disk.faults(|faults| {
                faults.short(round);
                faults.once(Op::Write, 2, EIO);
                faults.some(Op::SetLen, 1, times, EIO);
                faults.some(Op::Remove, 1, times, EIO);
            });
            let first = rig.hit_now(50);
            ledger.enter(&first).expect("a right tally or none");
            disk.faults(Faults::heal);
            ledger.enter(&rig.hit_now(1)).expect("a right tally");
            assert_eq!(rig.status().total, ledger.total(), "round {round}");
            let disk = disk.kill();
            let again = open(&disk, Some(&rig), SyncPolicy::Never);
            assert_eq!(again.recovered.end, ledger.total(), "round {round}");
        }
    }
}

#[test]
fn full_disk_refuses_until_there_is_room_again() {
    for room in 0..400 {
        let disk = SimDisk::default();
        let (mut rig, mut ledger) = (open(&disk, None, SyncPolicy::Never), Ledger::new(WINDOW_NS));
        disk.faults(|faults| faults.room(room));
        let mut verdicts = Vec::new();
        for _ in 0..30 {
            rig.clock.advance(WINDOW_NS / 10);
            let answer = rig.hit_now(2);
            ledger.enter(&answer).expect("a right tally or none");
            verdicts.push(answer.verdict);
        }
        assert_eq!(verdicts.last(), Some(&Verdict::Refused));
        let status = rig.status();
        let cause = status.refusing.expect("why hits are refused");
        assert!(cause.contains("no space left on device"), "{cause}");
        assert_eq!(status.refused_count + status.total, 60);
        let (nth, refused) = (room as u64, 0);
        disk.faults(Faults::heal);
        assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
        assert_eq!(rig.status().refusing, None);
        ledger.stamps.push(rig.now());
        Walked {
            nth,
            rig,
            ledger,
            refused,
        }
        .agrees();
    }
}

#[test]
fn failed_step_of_a_rotation_is_taken_again() {
    for op in [Op::Create, Op::Rename, Op::Remove, Op::SetLen] {
        let arrange = |faults: &mut Faults, nth| faults.once(op, nth, EIO);
        let calls = walk(SyncPolicy::Never, arrange, |walked| {
            // Only the very first segment is opened by the turn that needs it.
            assert!(walked.refused <= usize::from(walked.nth == 1));
            walked.agrees();
        });
        assert!(calls > 0, "{op:?} is never used");
    }
}

#[test]
fn failed_read_or_open_refuses_and_never_answers_wrongly() {
    for (op, errno) in [(Op::Read, EIO), (Op::Open, EMFILE), (Op::Open, EIO)] {
        let arrange = |faults: &mut Faults, nth| faults.once(op, nth, errno);
        let calls = walk(SyncPolicy::Never, arrange, |walked| {
            assert!(walked.refused <= 1, "at call {}", walked.nth);
            walked.agrees();
        });
        assert!(calls > 3, "{op:?} was met {calls} times");
    }
}

#[test]
fn unreadable_head_refuses_until_it_can_be_read() {
    let disk = SimDisk::default();
    let (mut rig, mut ledger) = (open(&disk, None, SyncPolicy::Never), Ledger::new(WINDOW_NS));
    for _ in 0..3 {
        ledger.enter(&rig.hit_now(4)).expect("a right tally");
        rig.clock.advance(1);
    }
    rig.clock.advance(WINDOW_NS - 2);
    disk.faults(|faults| faults.sticky(Op::Read, 1, EIO));
    for _ in 0..3 {
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
        let everything = Ask::Count {
            window_ns: WINDOW_NS,
            at: None,
        };
        // The window begins where the third segment does, which its header tells.
        assert!(matches!(
            rig.ask(everything),
            Answer::Failed(_) | Answer::Count(4)
        ));
    }
    disk.faults(Faults::heal);
    ledger.enter(&rig.hit_now(1)).expect("a right tally");
    assert_eq!(rig.status().total, 13);
}

#[test]
fn failed_sync_under_always_refuses_what_waits_and_counts_again() {
    for op in [Op::SyncFile, Op::SyncNames] {
        let arrange = |faults: &mut Faults, nth| {
            faults.seed(nth);
            faults.once(op, nth, EIO);
        };
        let calls = walk(SyncPolicy::Always, arrange, |mut walked| {
            assert_eq!(walked.refused, 1, "call {}", walked.nth);
            walked.rig.hit_now(1);
            walked.ledger.stamps.push(walked.rig.now());
            assert_eq!(walked.rig.status().sync_failure, None, "it syncs again");
            walked.agrees();
        });
        assert!(calls > 10, "{op:?}: {calls}");
    }
}

#[test]
fn failed_sync_under_always_refuses_every_batch_that_waits() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    assert_eq!(rig.hit_now(2).tallies(), [1, 2]);
    let now = rig.now();
    let mut first = rig.send(&[now; 3]);
    rig.turns();
    let job = rig.next_job().expect("a job for the first");
    let mut second = rig.send(&[now; 6]);
    rig.turns();
    assert!(answered(&mut first).is_none() && answered(&mut second).is_none());
    disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    assert_eq!(rig.run_job(job), None);
    for line in [&mut first, &mut second] {
        let answer = answered(line).expect("an answer");
        assert_eq!(answer.verdict, Verdict::Refused);
    }
    let status = rig.status();
    assert_eq!((status.total, status.refused_count), (2, 9));
    assert!(status.sync_failure.is_some());
    assert_eq!(rig.hit_now(1).tallies(), [3]);
    let disk = rig.disk.crash(&mut Chance::new(1));
    assert_eq!(open(&disk, Some(&rig), EVERY).recovered.end, 3);
}

#[test]
fn failed_sync_that_outlasts_the_retention_leaves_nothing_of_what_it_refuses() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    let now = rig.now();
    let mut line = rig.send(&[now; 4]);
    rig.turns();
    let job = rig.next_job().expect("a job");
    disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    // The segment is full and old enough to be given up before anybody knows that its sync failed.
    rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
    rig.tick();
    assert_eq!(rig.run_job(job), None);
    let answer = answered(&mut line).expect("an answer");
    assert_eq!(answer.verdict, Verdict::Refused);
    assert_eq!(rig.status().total, 0);
    let again = open(&rig.disk.kill(), Some(&rig), EVERY);
    assert_eq!(again.recovered.end, 0);
}

#[test]
fn segments_that_wait_for_their_sync_are_not_given_up_and_are_refused_with_it() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    let now = rig.now();
    let mut first = rig.send(&[now; 4]);
    rig.turns();
    let job = rig.next_job().expect("a job");
    let mut second = rig.send(&[now; 4]);
    rig.turns();
    let mut third = rig.send(&[now]);
    rig.turns();
    disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    // All are older than all that is kept when the sync fails.
    rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
    rig.tick();
    assert_eq!(rig.run_job(job), None);
    for line in [&mut first, &mut second, &mut third] {
        let answer = answered(line).expect("an answer");
        assert_eq!(answer.verdict, Verdict::Refused);
    }
    let again = open(&rig.disk.kill(), Some(&rig), EVERY);
    assert_eq!(again.recovered.end, 0);
}

#[test]
fn refused_file_that_could_not_be_removed_goes_before_its_successor() {
    for kept_over_a_start in [false, true] {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, SyncPolicy::Always);
        rig.hit_now(4);
        disk.faults(|faults| {
            faults.once(Op::SyncFile, 1, EIO);
            faults.once(Op::Remove, 1, EIO);
        });
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
        rig.clock.advance(WINDOW_NS);
        // The header of the next file cuts the refused one off, as long as that file is there.
        rig.hit_now(4);
        if kept_over_a_start {
            let disk = rig.disk.kill();
            disk.faults(|faults| faults.once(Op::Remove, 1, EIO));
            rig = open(&disk, Some(&rig), SyncPolicy::Always);
        }
        rig.hit_now(1);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
        let disk = rig.disk.kill();
        let again = open(&disk, Some(&rig), SyncPolicy::Always);
        assert_eq!(again.recovered.end, 9);
        assert_eq!(again.recovered.findings, [""; 0]);
    }
}

#[test]
fn recycled_file_that_could_be_neither_opened_nor_removed_is_no_finding() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Never);
    // The first segment goes when the second has begun outside of all windows, and is the spare that
    // is handed on when the third is full.
    for _ in 0..2 {
        rig.hit_now(4);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
    }
    rig.hit_now(3);
    disk.faults(|faults| {
        faults.once(Op::Open, 1, EIO);
        faults.once(Op::Remove, 1, EIO);
    });
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert!(disk.faults(|faults| faults.is_over()), "it was recycled");
    rig.hit_now(4);
    rig.hit_now(1);
    let again = open(&rig.disk.kill(), Some(&rig), SyncPolicy::Never);
    assert_eq!(again.recovered.end, 17);
    assert_eq!(again.recovered.findings, [""; 0]);
}

#[test]
fn failed_write_never_harms_the_only_file_that_tells_the_total() {
    for errno in [EIO, ENOSPC] {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, SyncPolicy::Never);
        rig.hit_now(3);
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig = open(&rig.disk.kill(), Some(&rig), SyncPolicy::Never);
        rig.tick();
        rig.disk.faults(|faults| faults.once(Op::Write, 1, errno));
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
        let mut again = open(&rig.disk.kill(), Some(&rig), SyncPolicy::Never);
        assert_eq!(again.recovered.end, 3);
        again.hit_now(1);
        assert_eq!(again.status().total, 4);
    }
}

#[test]
fn file_that_tells_the_total_alone_after_a_failed_sync_is_not_handed_on() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    assert_eq!(rig.hit_now(4).tallies(), [1, 2, 3, 4]);
    let _refused = rig.send(&[rig.now()]);
    rig.turns();
    let job = rig.next_job().expect("a job");
    // It is given up for the first hit of its successor, which then is refused.
    rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
    rig.tick();
    disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    assert_eq!(rig.run_job(job), None);
    disk.faults(|faults| faults.once(Op::Write, 1, EIO));
    assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
    let again = open(&disk.kill(), Some(&rig), SyncPolicy::Always);
    assert_eq!(again.recovered.end, 4);
}

#[test]
fn synced_hits_stay_on_the_device_until_later_ones_are_there_however_old_they_are() {
    for_seeds(50, |seed| {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, EVERY);
        rig.hit_now(4);
        rig.clock.advance(1000);
        rig.tick();
        assert_eq!(rig.run_jobs(), Some(4));
        rig.hit_now(4);
        disk.faults(|faults| {
            faults.seed(seed);
            faults.once(Op::SyncFile, 1, EIO);
        });
        rig.clock.advance(1000);
        rig.tick();
        assert_eq!(rig.run_jobs(), None, "these are suspect");
        rig.hit_now(1);
        // Both segments are given up, but for the total only the first can be relied upon.
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
        let again = open(&disk.crash(&mut Chance::new(seed)), Some(&rig), EVERY);
        assert!((4..=9).contains(&again.recovered.end));
    });
}

#[test]
fn refused_tail_that_could_not_be_cut_off_goes_with_the_header_that_hid_it() {
    for pause_ns in [0, WINDOW_NS + LATE_NS_MAX] {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, SyncPolicy::Always);
        assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
        disk.faults(|faults| {
            faults.once(Op::SyncFile, 1, EIO);
            faults.once(Op::Open, 1, EIO);
        });
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
        // After the longer pause that segment is given up meanwhile.
        rig.clock.advance(pause_ns);
        rig.tick();
        disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
        assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
        let again = open(&rig.disk.kill(), Some(&rig), EVERY);
        assert_eq!(again.recovered.end, 1, "after {pause_ns} ns");
    }
}

#[test]
fn refused_tail_that_could_not_be_cut_off_is_cut_off_before_the_next_hit() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    let length = |disk: &SimDisk| disk.content(&disk.names()[0]).map(|content| content.len());
    let counted = length(&disk);
    disk.faults(|faults| {
        faults.once(Op::SyncFile, 1, EIO);
        // Once when the sync has failed, and once when the turn ends.
        faults.once(Op::Open, 1, EIO);
        faults.once(Op::Open, 2, EIO);
    });
    assert_eq!(rig.hit_now(2).verdict, Verdict::Refused);
    assert_ne!(length(&disk), counted, "the refused hits are still there");
    // That the next header hides them is worth nothing before it is on the device.
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert_eq!(length(&disk), counted);
}

#[test]
fn refused_first_turn_never_comes_back_at_another_time() {
    for_seeds(300, |seed| {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, EVERY);
        let now = rig.now();
        let mut stamps = vec![now; 200];
        stamps[0] = now.before(1000);
        disk.faults(|faults| {
            faults.short(seed);
            faults.once(Op::Write, 3, EIO);
        });
        let first = rig.hit(&stamps);
        disk.faults(Faults::heal);
        assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
        rig.clock.advance(SECOND_NS);
        let mut chance = Chance::new(seed);
        for _ in 0..20 {
            if first.verdict == Verdict::Refused {
                let disk = disk.crash(&mut chance);
                let mut again = open(&disk, Some(&rig), EVERY);
                let (from, to) = (now, now.after(SECOND_NS));
                // Where nothing is left, the question reaches back too far.
                let later = again.ask(Ask::Between { from, to });
                assert!(!matches!(later, Answer::Count(1..)), "{later:?}");
            }
        }
    });
}

#[test]
fn question_behind_a_waiting_hit_is_answered_after_its_sync() {
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, SyncPolicy::Always);
    let now = rig.now();
    let mut line = rig.send(&[now; 3]);
    let everything = Ask::Count {
        window_ns: WINDOW_NS,
        at: None,
    };
    // The driver runs the job when the question has been taken up.
    assert_eq!(rig.ask(everything), Answer::Count(3));
    assert_eq!(answered(&mut line).expect("an answer").tallies(), [1, 2, 3]);
}

#[test]
fn failed_sync_under_every_is_told_and_taken_back_by_the_next() {
    for op in [Op::SyncFile, Op::SyncNames] {
        let arrange = |faults: &mut Faults, nth| faults.once(op, nth, EIO);
        let calls = walk(EVERY, arrange, |walked| {
            assert_eq!(walked.refused, 0, "call {}", walked.nth);
            walked.agrees();
        });
        assert!(calls > 10, "{op:?}: {calls}");
    }
    let disk = SimDisk::default();
    let mut rig = open(&disk, None, EVERY);
    disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    rig.hit_now(1);
    rig.clock.advance(1000);
    rig.tick();
    assert_eq!(rig.run_jobs(), None);
    let cause = rig.status().sync_failure.expect("the failure");
    assert!(cause.starts_with("cannot sync sim/"), "{cause}");
    rig.hit_now(1);
    rig.clock.advance(1000);
    rig.tick();
    assert_eq!(rig.run_jobs(), Some(2));
    assert_eq!(rig.status().sync_failure, None);
}

#[test]
fn stop_syncs_everything_under_every_policy() {
    for policy in [SyncPolicy::Always, EVERY, SyncPolicy::Never] {
        for_seeds(20, |seed| {
            let disk = SimDisk::default();
            let (mut rig, mut ledger) = (open(&disk, None, policy), Ledger::new(WINDOW_NS));
            script(&mut rig, &mut ledger);
            let clock = rig.clock.clone();
            let (outcome, disk) = rig.stop();
            outcome.expect("a sound disk");
            let disk = disk.crash(&mut Chance::new(seed));
            let again = Rig::open(&disk, &clock, settings(policy, 4, WINDOW_NS));
            assert_eq!(again.recovered.end, ledger.total());
            assert_eq!(again.recovered.findings, [""; 0]);
            assert_eq!(again.recovered.trimmed_bytes, 0);
        });
    }
}

#[test]
fn stop_also_syncs_what_is_given_up_and_still_there() {
    for_seeds(50, |seed| {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, SyncPolicy::Never);
        for hits in [1, 3, 2] {
            rig.hit_now(hits);
        }
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.tick();
        let clock = rig.clock.clone();
        let (outcome, disk) = rig.stop();
        outcome.expect("a sound disk");
        let disk = disk.crash(&mut Chance::new(seed));
        let again = Rig::open(&disk, &clock, settings(EVERY, 4, WINDOW_NS));
        assert_eq!(again.recovered.end, 6);
        assert_eq!(again.recovered.findings, [""; 0]);
    });
}

#[test]
fn hits_of_a_killed_life_are_synced_by_the_next() {
    for_seeds(50, |seed| {
        let disk = SimDisk::default();
        let mut rig = open(&disk, None, EVERY);
        for _ in 0..3 {
            rig.hit_now(3);
        }
        let clock = rig.clock.clone();
        let disk = rig.kill();
        let mut rig = Rig::open(&disk, &clock, settings(EVERY, 4, WINDOW_NS));
        assert!(rig.due().is_some(), "nobody may have synced those hits");
        rig.clock.advance(SECOND_NS);
        rig.tick();
        assert_eq!(rig.run_jobs(), Some(9));
        let disk = disk.crash(&mut Chance::new(seed));
        let again = Rig::open(&disk, &clock, settings(EVERY, 4, WINDOW_NS));
        assert_eq!(again.recovered.end, 9);
    });
}

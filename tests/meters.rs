//! What the funnel tells of itself: how things stand, what it has measured and what it writes to the log.
//!
//! Owns the figures, each brought about once or twice and then read; that the server shows them is a
//! matter of `tests/metrics.rs`. Every line of the log has its row in `meters/lines.rs`.
//!
//! Must not know how they are kept. Invariant tested: every figure of a status is exact for its instant, and
//! one line in the log says when something goes wrong, one when it is over.

mod support;

#[path = "meters/lines.rs"]
mod lines;

use std::cell::RefCell;
use support::disk::SimDisk;
use support::fault::{EIO, Faults, Op};
use support::rig::{BOOT, Rig, WINDOW_NS, answered, clock_at, settings};
use tallyd::clock::Clock;
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::{BATCH_HITS_MAX, CHANNEL_MESSAGES_MAX, Status, Verdict};
use tallyd::journal::{SyncPolicy, name};
use tallyd::stamp::{BootId, Stamp};

const START: i64 = 1_000_000_000;
const EVERY: SyncPolicy = SyncPolicy::Every { period_ns: 1000 };
const KEPT_NS: u64 = 10 * WINDOW_NS;

fn open(settings: Settings) -> Rig {
    Rig::open(&SimDisk::default(), &clock_at(START), settings)
}

/// Segments of four records.
fn small(policy: SyncPolicy) -> Settings {
    settings(policy, 4, KEPT_NS)
}

thread_local! {
    static SAID: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what a thread says, for the test that runs on it.
struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        SAID.with_borrow_mut(|said| said.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}

fn listen() {
    // Whichever test is first.
    let _is_set = log::set_logger(&Listener);
    log::set_max_level(log::LevelFilter::Trace);
}

/// What was said since the last time.
fn said() -> Vec<String> {
    SAID.take().into_iter().map(|(_, line)| line).collect()
}

#[test]
fn status_tells_every_figure_of_its_instant() {
    let mut rig = open(small(SyncPolicy::Never));
    assert_eq!(
        rig.status(),
        Status {
            at: Stamp::from_ns(START),
            tally: Some(0),
            complete_after: Stamp::MIN,
            ..Status::default()
        }
    );
    rig.hit_at(&[START + 1, START + 2, START + 3, START + 4]);
    rig.hit_at(&[START + 5, START + 6]);
    let status = rig.status();
    assert_eq!(
        (status.at, status.tally),
        (Stamp::from_ns(START + 6), Some(6))
    );
    assert_eq!((status.total, status.segment_count), (6, 2));
    assert_eq!(status.journal_bytes, 2 * 64 + 6 * 8);
    assert_eq!(status.oldest, Some(Stamp::from_ns(START + 1)));
    assert_eq!(status.complete_after, Stamp::MIN);
    assert_eq!((status.recovered_count, status.damaged_count), (0, 0));
    assert!(!status.estimated);
    // Another life finds all of them, the spare's too, and gives up what nobody can ask for.
    rig.clock.advance(KEPT_NS + LATE_NS_MAX);
    rig.tick();
    let clock = rig.clock.clone();
    let mut again = Rig::open(&rig.kill(), &clock, small(SyncPolicy::Never));
    again.tick();
    let status = again.status();
    assert_eq!((status.recovered_count, status.total), (6, 6));
    assert_eq!((status.tally, status.segment_count), (Some(0), 1));
    assert_eq!(status.oldest, Some(Stamp::from_ns(START + 5)));
    assert_eq!(status.complete_after, Stamp::from_ns(START + 4));
}

#[test]
fn status_is_estimated_until_the_window_is_behind_what_is_not_kept() {
    let mut rig = open(settings(SyncPolicy::Never, 4, WINDOW_NS));
    let disk = {
        rig.hit_at(&[START, START, START, START + 5]);
        rig.hit_at(&[START + 9]);
        rig.kill()
    };
    // The first segment is lost, so that nobody knows what came before the second.
    disk.take(&name::segment(0));
    let mut rig = Rig::open(
        &disk,
        &clock_at(START + 9),
        settings(SyncPolicy::Never, 4, WINDOW_NS),
    );
    let complete_after = rig.status().complete_after;
    let until_then_ns = complete_after.after(WINDOW_NS).since(rig.now());
    rig.clock.advance(until_then_ns - 1);
    assert!(rig.status().estimated);
    rig.clock.advance(1);
    assert!(!rig.status().estimated);
}

#[test]
fn status_is_estimated_until_the_machine_runs_for_a_window_after_a_reboot() {
    let mut rig = open(small(SyncPolicy::Never));
    rig.hit_now(1);
    let disk = rig.kill();
    for (up_ns, is_estimated) in [(1, true), (WINDOW_NS - 1, true), (WINDOW_NS, false)] {
        let clock = clock_at(up_ns as i64);
        let boot = BootId([8; 16]);
        let again = Rig::try_open(&disk.kill(), &clock, boot, small(SyncPolicy::Never));
        let mut again = again.expect("a sound disk");
        assert_eq!(again.status().estimated, is_estimated, "{up_ns} ns");
        assert_eq!(again.status().total, 1);
    }
    // In the same boot nothing has to be placed.
    let clock = clock_at(1 + WINDOW_NS as i64 / 2);
    let mut first = Rig::try_open(&SimDisk::default(), &clock, BOOT, small(SyncPolicy::Never))
        .expect("a sound disk");
    first.hit_now(1);
    assert!(!first.status().estimated);
}

#[test]
fn damage_found_at_the_start_and_damage_read_later_are_added() {
    let mut rig = open(small(SyncPolicy::Never));
    for hit in 0..7 {
        rig.hit_at(&[START + hit]);
    }
    let clock = rig.clock.clone();
    let disk = rig.kill();
    // Two records of a sealed segment, and one of the newest, which is read through at the start.
    disk.flip(&name::segment(0), 64 + 8, 1);
    disk.flip(&name::segment(0), 64 + 16, 1);
    disk.flip(&name::segment(1), 64 + 8, 1);
    let mut rig = Rig::open(&disk, &clock, small(SyncPolicy::Never));
    assert_eq!(rig.status().damaged_count, 1);
    // The window has passed three records of the sealed segment then, and looked no further.
    rig.clock.advance(WINDOW_NS - 4);
    rig.hit_now(1);
    assert_eq!(rig.status().damaged_count, 3);
}

#[test]
fn batches_that_wait_are_one_turn_as_long_as_there_is_room() {
    let mut rig = open(settings(SyncPolicy::Never, 100_000, KEPT_NS));
    let now = rig.now();
    let _lines = [3, 2, 4].map(|count| rig.send(&vec![now; count]));
    rig.turns();
    let meters = rig.status().meters;
    assert_eq!((meters.turn_ns.count(), meters.batch_hits.count()), (1, 3));
    assert_eq!((meters.batch_hits.sum(), meters.flush_ns.count()), (9, 1));
    // A third batch of that size might be more than a turn can hold.
    let _lines = [(); 3].map(|()| rig.send(&vec![now; BATCH_HITS_MAX]));
    rig.turns();
    let meters = rig.status().meters;
    assert_eq!((meters.turn_ns.count(), meters.batch_hits.count()), (3, 6));
    assert_eq!(rig.status().total, 9 + 3 * BATCH_HITS_MAX as u64);
}

#[test]
fn turn_takes_no_more_batches_than_the_channel_holds_however_fast_they_come() {
    let mut rig = open(settings(SyncPolicy::Never, 100_000, KEPT_NS));
    let one = [rig.now()];
    let mut lines: Vec<_> = (0..CHANNEL_MESSAGES_MAX).map(|_| rig.send(&one)).collect();
    rig.turn_while(|rig| lines.push(rig.send(&one)));
    let answers = lines.iter_mut().filter_map(answered).count();
    assert_eq!(answers, CHANNEL_MESSAGES_MAX);
    assert_eq!(rig.status().total, CHANNEL_MESSAGES_MAX as u64 + 1);
}

#[test]
fn spans_are_measured_from_their_beginning() {
    let mut rig = open(small(SyncPolicy::Always));
    for _ in 0..3 {
        rig.hit_now(4);
    }
    // The clock by hand stands still unless it is moved.
    let meters = rig.status().meters;
    assert_eq!((meters.turn_ns.count(), meters.turn_ns.sum()), (3, 0));
    assert_eq!((meters.flush_ns.count(), meters.flush_ns.sum()), (3, 0));
    assert_eq!((meters.rotate_ns.count(), meters.rotate_ns.sum()), (3, 0));
    assert_eq!((meters.sync_ns.count(), meters.sync_ns.sum()), (3, 0));
    let _waits = rig.send(&[rig.now()]);
    rig.turns();
    let job = rig.next_job().expect("a job");
    rig.clock.advance(77);
    rig.run_job(job);
    let meters = rig.status().meters;
    assert_eq!((meters.sync_ns.count(), meters.sync_ns.sum()), (4, 77));
}

#[test]
fn every_failure_is_counted_once() {
    let mut rig = open(small(SyncPolicy::Never));
    let figures = |rig: &mut Rig| {
        let status = rig.status();
        let meters = &status.meters;
        [
            meters.append_failures,
            meters.read_failures,
            meters.rotate_failures,
            status.refused_count,
        ]
    };
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert_eq!(figures(&mut rig), [0; 4]);
    rig.disk.faults(|faults| faults.some(Op::Write, 1, 2, EIO));
    for count in [2, 3] {
        assert_eq!(rig.hit_now(count).verdict, Verdict::Refused);
    }
    assert_eq!(figures(&mut rig), [2, 0, 0, 5]);
    // The first turn without anything read ahead has to read.
    rig.disk.faults(|faults| {
        faults.sticky(Op::Read, 1, EIO);
        faults.sticky(Op::Open, 1, EIO);
    });
    rig.clock.advance(WINDOW_NS);
    let refused = [1, 1].map(|count| rig.hit_now(count).verdict);
    assert_eq!(refused, [Verdict::Refused; 2]);
    rig.disk.faults(Faults::heal);
    // The file of the rejected turns takes no more: the next turn creates one.
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert_eq!(figures(&mut rig), [2, 2, 0, 7]);
    rig.disk.faults(|faults| faults.some(Op::Create, 1, 2, EIO));
    rig.hit_now(4);
    assert_eq!(figures(&mut rig), [2, 2, 1, 7]);
    assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    assert_eq!(figures(&mut rig), [3, 2, 1, 8]);
}

#[test]
fn no_sync_is_asked_for_before_it_is_due_or_while_one_is_under_way() {
    let mut rig = open(settings(EVERY, 100, KEPT_NS));
    rig.hit_now(1);
    rig.clock.advance(999);
    rig.tick();
    assert!(rig.next_job().is_none(), "it is not due yet");
    rig.clock.advance(1);
    rig.tick();
    let job = rig.next_job().expect("a job");
    rig.hit_now(1);
    rig.clock.advance(1000);
    rig.tick();
    assert!(rig.next_job().is_none(), "one is under way");
    assert_eq!(rig.run_job(job), Some(1));
    assert_eq!(rig.run_jobs(), Some(2));
}

#[test]
fn failed_sync_is_said_once_with_what_it_means_for_how_many_hits() {
    listen();
    for (policy, meaning) in [
        (EVERY, "may now be lost by a power cut"),
        (SyncPolicy::Always, "are refused for it"),
    ] {
        let mut rig = open(settings(policy, 100, KEPT_NS));
        rig.hit_now(2);
        rig.clock.advance(1000);
        rig.tick();
        rig.run_jobs();
        rig.disk
            .faults(|faults| faults.some(Op::SyncFile, 1, 2, EIO));
        let _said_before = said();
        for _ in 0..2 {
            rig.hit_now(3);
            rig.clock.advance(1000);
            rig.tick();
            rig.run_jobs();
        }
        let lines = said();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let expected = format!("; 3 hits {meaning}");
        assert!(lines[0].ends_with(&expected), "{lines:?}");
        assert_eq!(rig.status().meters.sync_failures, 2);
        rig.hit_now(1);
        rig.clock.advance(1000);
        rig.tick();
        rig.run_jobs();
        assert_eq!(said(), ["syncing again"]);
    }
}

#[test]
fn refusal_is_said_once_and_its_end_with_how_many_were_refused() {
    listen();
    let mut rig = open(small(SyncPolicy::Never));
    rig.disk.faults(|faults| faults.some(Op::Write, 1, 2, EIO));
    let _said_before = said();
    rig.hit_now(2);
    rig.hit_now(3);
    let lines = said();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("refusing hits: cannot append to sim/"));
    rig.hit_now(1);
    rig.hit_now(1);
    assert_eq!(said(), ["counting again; 5 hits were refused so far"]);
}

#[test]
fn damage_is_said_once_for_each_segment_with_its_place() {
    listen();
    let mut rig = open(small(SyncPolicy::Never));
    for hit in 0..12 {
        rig.hit_at(&[START + hit]);
    }
    let disk = rig.kill();
    for (number, record) in [(0, 1), (0, 2), (1, 3)] {
        disk.flip(&name::segment(number), 64 + 8 * record, 1);
    }
    let mut rig = Rig::open(&disk, &clock_at(START + 12), small(SyncPolicy::Never));
    let _said_before = said();
    // What is read ahead is damaged as well when it is read again, a record further on.
    for step in 0..12 {
        rig.hit_at(&[START + WINDOW_NS as i64 + step]);
        rig.disk.faults(|faults| faults.once(Op::Write, 1, EIO));
        rig.hit_now(1);
    }
    let mut lines = said();
    lines.retain(|line| line.contains("check failed"));
    assert_eq!(
        lines,
        [
            "sim/0000000000000000.seg: record 1 at byte 72: check failed; it keeps its place",
            "sim/0000000000000001.seg: record 3 at byte 88: check failed; it keeps its place",
        ]
    );
}

#[test]
fn jump_of_the_wall_clock_is_said_once_by_a_hit_a_question_or_a_tick() {
    listen();
    for (see, step_s) in [
        ((|rig: &mut Rig| drop(rig.hit_now(1))) as fn(&mut Rig), 3600),
        (|rig| drop(rig.status()), -3600),
        (Rig::tick, 1),
    ] {
        let mut rig = open(small(SyncPolicy::Never));
        rig.hit_now(1);
        assert_eq!(said(), [""; 0]);
        rig.clock.advance(1000);
        rig.clock
            .step_wall_to(rig.clock.wall_ns() + step_s * 1_000_000_000);
        see(&mut rig);
        let sign = if step_s < 0 { '-' } else { '+' };
        let size = step_s.abs();
        let line = format!(
            "the wall clock jumped by {sign}{size}.000 s against boot time; hits are counted by boot time"
        );
        assert_eq!(said(), [line]);
        rig.clock.advance(1000);
        rig.hit_now(1);
        assert_eq!(said(), [""; 0]);
    }
}

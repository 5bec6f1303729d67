//! Starts in the same boot, in another one and on another machine: the server and whoever looks into its
//! directory.
//!
//! Owns the cases of the design's section 4 over a whole journal. Must not know how a segment is placed;
//! `src/journal/boots/tests.rs` has the rows of that table. Invariant tested: server and look give one
//! number, and that number is the true one or estimated, until no doubt is left in the window.

mod support;

use support::disk::SimDisk;
use support::rig::{BOOT, Rig, settings};
use tallyd::clock::{Clock, HandClock};
use tallyd::funnel::Settings;
use tallyd::journal::{SyncPolicy, View};
use tallyd::stamp::{BootId, SECOND_NS, Stamp};

const SECOND: i64 = SECOND_NS.cast_signed();
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A day of 2027, and one in 1970.
const SET: i64 = 1_800_000_000 * SECOND;
const UNSET: i64 = HOUR;
const OTHER: BootId = BootId([8; 16]);
/// Uptimes below a window of a minute and far above it.
const UPTIMES: [i64; 2] = [30 * SECOND, 100 * DAY];

/// How the next start finds things, against the end of the first life.
struct Next {
    boot: BootId,
    uptime: i64,
    wall: i64,
}

fn minute() -> Settings {
    let mut settings = settings(SyncPolicy::Never, 100, 10 * MINUTE.unsigned_abs());
    settings.window_ns = MINUTE.unsigned_abs();
    settings
}

/// Five hits at this uptime, and a start after them; what a server says there, and a tool says the same.
fn found(uptime: i64, wall: i64, next: &Next) -> (u64, bool) {
    let clock = HandClock::new(Stamp::from_ns(uptime), wall);
    let mut rig = Rig::open(&SimDisk::default(), &clock, minute());
    rig.hit_now(5);
    let disk = rig.kill();
    let clock = HandClock::new(Stamp::from_ns(next.uptime), next.wall);
    let server = Rig::try_open(&disk, &clock, next.boot, minute());
    let mut server = server.expect("a sound disk");
    let status = server.status();
    looks_the_same(
        &disk,
        &clock,
        next.boot,
        (status.tally.expect("a number"), status.estimated),
    );
    // A hit counts itself and what the status has said.
    let answer = server.hit_now(1);
    let tallies = match status.estimated {
        true => answer.estimates(),
        false => answer.tallies(),
    };
    assert_eq!(tallies, [status.tally.expect("a number") + 1]);
    // Whoever looks beside the server may have another id than it.
    let disk = server.kill();
    for boot in [next.boot, BootId([77; 16])] {
        if boot == next.boot || next.wall == SET {
            let view = (status.tally.expect("a number") + 1, status.estimated);
            looks_the_same(&disk, &clock, boot, view);
        }
    }
    (status.tally.expect("a number"), status.estimated)
}

fn looks_the_same(disk: &SimDisk, clock: &HandClock, boot: BootId, expected: (u64, bool)) {
    let view = View::open(disk, boot, || clock.anchor()).expect("a sound disk");
    let from = clock.now().before(minute().window_ns);
    let count = view.end - view.upper_bound(from).expect("a bound").position;
    assert_eq!((count, from < view.doubtful_until), expected, "{boot:?}");
}

#[test]
fn same_boot_is_exact_whatever_the_wall_clock_shows() {
    for uptime in UPTIMES {
        for wall in [SET + 10 * SECOND, SET - DAY, SET + DAY, UNSET] {
            let next = |gap| Next {
                boot: BOOT,
                uptime: uptime + gap,
                wall,
            };
            assert_eq!(found(uptime, SET, &next(10 * SECOND)), (5, false));
            assert_eq!(found(uptime, SET, &next(2 * MINUTE)), (0, false));
        }
    }
}

#[test]
fn same_boot_under_another_id_is_exact() {
    for boot in [OTHER, BootId::unknown(5)] {
        for uptime in UPTIMES {
            for (gap, tally) in [(0, 5), (10 * SECOND, 5), (2 * MINUTE, 0)] {
                let (uptime, wall) = (uptime + gap, SET + gap);
                let next = Next { boot, uptime, wall };
                assert_eq!(found(uptime - gap, SET, &next), (tally, false));
            }
        }
    }
}

#[test]
fn reboot_is_estimated_until_the_machine_has_run_for_a_window() {
    for (uptime, gap, expected) in [
        (20 * SECOND, 30 * SECOND, (5, true)),
        (20 * SECOND, 2 * MINUTE, (0, true)),
        (2 * MINUTE, 3 * MINUTE, (0, false)),
        (100 * DAY, 200 * DAY, (0, false)),
    ] {
        let wall = SET + gap;
        let next = Next {
            boot: OTHER,
            uptime,
            wall,
        };
        assert_eq!(found(900 * DAY, SET, &next), expected, "{uptime} {gap}");
    }
}

#[test]
fn reboot_without_a_wall_clock_counts_until_the_machine_has_run_for_a_window() {
    for (then, now) in [(SET, UNSET), (UNSET, SET), (UNSET, UNSET)] {
        for (uptime, expected) in [(20 * SECOND, (5, true)), (2 * MINUTE, (0, false))] {
            let next = Next {
                boot: OTHER,
                uptime,
                wall: now,
            };
            assert_eq!(found(900 * DAY, then, &next), expected, "{then} {now}");
        }
    }
}

#[test]
fn another_machine_is_estimated_whatever_its_uptime() {
    for line in [SECOND, 900 * DAY] {
        for uptime in [2 * HOUR, 100 * DAY] {
            for (gap, tally) in [(30 * SECOND, 5), (HOUR, 0), (-HOUR, 5)] {
                let wall = SET + gap;
                let next = Next {
                    boot: OTHER,
                    uptime,
                    wall,
                };
                assert_eq!(found(line, SET, &next), (tally, true), "{line} {gap}");
            }
        }
    }
}

#[test]
fn wall_clock_stepped_under_another_id_loses_no_hit() {
    for uptime in [2 * HOUR, 100 * DAY] {
        for step in [-DAY, -MINUTE, MINUTE, HOUR] {
            let (gap, boot) = (10 * SECOND, OTHER);
            let wall = SET + gap + step;
            let next = Next {
                boot,
                uptime: uptime + gap,
                wall,
            };
            assert_eq!(found(uptime, SET, &next), (5, true), "{uptime} {step}");
        }
    }
}

#[test]
fn restored_snapshot_is_estimated_and_loses_no_hit() {
    for uptime in [2 * MINUTE, 100 * DAY] {
        for wall in [SET + 10 * SECOND, SET - MINUTE, UNSET] {
            let next = Next {
                boot: BOOT,
                uptime: uptime - MINUTE,
                wall,
            };
            assert_eq!(found(uptime, SET, &next), (5, true), "{uptime} {wall}");
        }
    }
}

#[test]
fn doubt_heals_within_one_window_of_the_server() {
    let clock = HandClock::new(Stamp::from_ns(HOUR), SET);
    let mut rig = Rig::open(&SimDisk::default(), &clock, minute());
    rig.hit_now(5);
    // The wall clock goes back by a day under another id: these five may be of any time before now.
    let clock = HandClock::new(Stamp::from_ns(HOUR + SECOND), SET - DAY);
    let server = Rig::try_open(&rig.kill(), &clock, OTHER, minute());
    let mut server = server.expect("a sound disk");
    server.hit_now(1);
    for (passed, expected) in [(0, (6, true)), (MINUTE - 1, (6, true)), (1, (0, false))] {
        clock.advance(passed.unsigned_abs());
        let status = server.status();
        assert_eq!(
            (status.tally.expect("a number"), status.estimated),
            expected,
            "{passed}"
        );
    }
}

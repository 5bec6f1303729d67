//! Each row of the table, with uptimes below and far above the window, and chains of boots.

use super::*;

const RUNNING: BootId = BootId([1; 16]);
const OTHER: BootId = BootId([2; 16]);
const SECOND: i64 = SECOND_NS.cast_signed();
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// What the wall clock shows at present in most tests.
const PLAUSIBLE: i64 = RELEASED_WALL_NS + 1000 * DAY;
/// A wall clock that was not set, and shows how long the machine has run since 1970.
const UNSET: i64 = 5 * SECOND;
/// Uptimes below a window of a minute and far above it.
const UPTIMES: [i64; 3] = [20 * SECOND, HOUR, 300 * DAY];

/// A segment of `boot` with one hit at `ns` of its line, at `wall_ns` on the wall clock.
fn hit_at(boot: BootId, ns: i64, wall_ns: i64) -> (Header, u64) {
    let header = Header {
        number: 0,
        sequence: 0,
        base_ns: ns.unsigned_abs() - 1,
        wall_ns: wall_ns - 1,
        boot,
    };
    (header, 1)
}

/// Where the hits come to lie, in a boot that has run for `now_ns`.
fn placed(segments: &[(Header, u64)], now_ns: i64, wall_ns: i64) -> (Vec<i64>, Placed) {
    let now = Anchor {
        at: Stamp::from_ns(now_ns),
        wall_ns,
    };
    let placed = place(segments, RUNNING, now);
    let last = |(base, (_, last)): (&Stamp, &(Header, u64))| base.after(*last).ns();
    let stamps = placed.bases.iter().zip(segments).map(last).collect();
    (stamps, placed)
}

/// How old the only hit is taken to be, and how old what is doubtful is at the least, if anything is.
fn age(segment: (Header, u64), now_ns: i64, wall_ns: i64) -> (i64, Option<i64>) {
    let (stamps, placed) = placed(&[segment], now_ns, wall_ns);
    let doubt = (placed.doubtful_until > Stamp::MIN).then(|| now_ns - placed.doubtful_until.ns());
    (now_ns - stamps[0], doubt)
}

#[test]
fn in_the_same_boot_the_wall_clock_is_not_asked() {
    for uptime in UPTIMES {
        for wall_ns in [i64::MIN, -1, 0, PLAUSIBLE - DAY, PLAUSIBLE + DAY, i64::MAX] {
            let hit = hit_at(RUNNING, uptime - 10 * SECOND, PLAUSIBLE);
            assert_eq!(age(hit, uptime, wall_ns), (10 * SECOND, None));
        }
    }
}

#[test]
fn the_same_boot_under_another_id_is_placed_by_boot_time() {
    for uptime in UPTIMES {
        for gap in [0, SECOND, 15 * SECOND, uptime - 1] {
            for drift in [-SECOND, -gap / 2000, 0, gap / 2000, SECOND + gap / 2000] {
                let hit = hit_at(OTHER, uptime - gap, PLAUSIBLE - gap + drift);
                assert_eq!(age(hit, uptime, PLAUSIBLE), (gap, None), "{gap} {drift}");
                let (_, placed) = placed(&[hit], uptime, PLAUSIBLE);
                assert_eq!(placed.running_from, 0, "a power cut can still take it");
            }
        }
    }
}

#[test]
fn clocks_that_were_set_apart_by_more_than_a_second_and_500_ppm_are_not_the_same() {
    let gap = 10 * MINUTE;
    for drift in [SECOND + gap / 2000 + 1, -SECOND - gap / 2000 - 1] {
        let hit = hit_at(OTHER, DAY - gap, PLAUSIBLE - gap + drift);
        let (_, doubt) = age(hit, DAY, PLAUSIBLE);
        assert_eq!(doubt, Some(0), "{drift}");
    }
}

#[test]
fn a_board_whose_wall_clock_starts_at_1970_with_each_boot_is_not_taken_for_the_same_boot() {
    // Wall time less boot time is the same in every boot.
    let hit = hit_at(OTHER, 5 * SECOND, UNSET + 5 * SECOND);
    for uptime in UPTIMES {
        let line_gap = uptime - 5 * SECOND;
        assert_eq!(
            age(hit, uptime, UNSET + uptime),
            (uptime, Some(line_gap)),
            "it is at least as old as this boot"
        );
    }
    // The longer the earlier boot has run, the less it can be this one.
    let hit = hit_at(OTHER, 900 * DAY, UNSET);
    for uptime in UPTIMES {
        assert_eq!(age(hit, uptime, UNSET), (uptime, Some(uptime)));
    }
}

#[test]
fn before_a_reboot_a_hit_is_as_old_as_the_wall_clock_says() {
    for uptime in UPTIMES {
        for off in [0, SECOND, DAY] {
            let hit = hit_at(OTHER, 900 * DAY, PLAUSIBLE - uptime - off);
            // Doubt ends where this boot begins.
            assert_eq!(age(hit, uptime, PLAUSIBLE), (uptime + off, Some(uptime)));
            let (_, placed) = placed(&[hit], uptime, PLAUSIBLE);
            assert_eq!(placed.running_from, 1, "what is there is on the device");
        }
    }
}

#[test]
fn before_a_reboot_with_an_unset_clock_a_hit_is_at_least_as_old_as_this_boot() {
    for uptime in UPTIMES {
        for (then, now) in [
            (PLAUSIBLE, UNSET),
            // Set since: how long the power was away, no clock has measured.
            (UNSET, PLAUSIBLE),
            (UNSET, UNSET),
            (UNSET, i64::MIN),
        ] {
            let hit = hit_at(OTHER, 900 * DAY, then);
            assert_eq!(age(hit, uptime, now), (uptime, Some(uptime)));
        }
        // A clock that runs on from 1970 while the power is off.
        let hit = hit_at(OTHER, 900 * DAY, UNSET);
        let now = UNSET + uptime + DAY;
        assert_eq!(age(hit, uptime, now), (uptime + DAY, Some(uptime)));
    }
}

#[test]
fn hits_of_another_machine_are_as_old_as_the_wall_clock_says_and_doubtful() {
    let moved = 30 * SECOND;
    // That machine has run for longer or for less than this one, by far.
    for line in [2 * SECOND, 900 * DAY] {
        for uptime in [HOUR, 300 * DAY] {
            let hit = hit_at(OTHER, line, PLAUSIBLE - moved);
            assert_eq!(age(hit, uptime, PLAUSIBLE), (moved, Some(0)));
        }
    }
    // Its wall clock was ahead of this one's.
    for uptime in UPTIMES {
        let hit = hit_at(OTHER, 900 * DAY, PLAUSIBLE + MINUTE);
        assert_eq!(age(hit, uptime, PLAUSIBLE), (0, Some(0)));
    }
}

#[test]
fn a_clock_stepped_under_another_id_takes_no_hit_out_of_the_window() {
    let true_age = 10 * SECOND;
    for uptime in UPTIMES {
        for step in [-DAY, -HOUR, -5 * SECOND, 5 * SECOND] {
            let hit = hit_at(OTHER, uptime - true_age, PLAUSIBLE - true_age);
            let (age, doubt) = age(hit, uptime, PLAUSIBLE + step);
            assert!((0..=true_age).contains(&age), "{uptime} {step}: {age}");
            assert_eq!(doubt, Some(0), "{uptime} {step}");
        }
    }
    // By more than the uptime, it looks like a reboot; until the hit has left the window, it may be none.
    let hit = hit_at(OTHER, HOUR - true_age, PLAUSIBLE - true_age);
    assert_eq!(
        age(hit, HOUR, PLAUSIBLE + DAY),
        (DAY + true_age, Some(true_age))
    );
}

#[test]
fn a_restored_snapshot_is_doubtful_and_no_record_lies_in_the_future() {
    for uptime in UPTIMES {
        for ahead in [1, SECOND, DAY] {
            let hit = |wall_ns| hit_at(RUNNING, uptime + ahead, wall_ns);
            // The wall clock was set again after the restore, or it was restored too, or was never set.
            let set = hit(PLAUSIBLE - 10 * SECOND);
            assert_eq!(age(set, uptime, PLAUSIBLE), (10 * SECOND, Some(0)));
            let restored = hit(PLAUSIBLE + ahead);
            assert_eq!(age(restored, uptime, PLAUSIBLE), (0, Some(0)));
            assert_eq!(age(hit(UNSET), uptime, PLAUSIBLE), (0, Some(0)));
            assert_eq!(age(hit(PLAUSIBLE), uptime, UNSET), (0, Some(0)));
            let (_, placed) = placed(&[set], uptime, PLAUSIBLE);
            assert_eq!(placed.running_from, 0, "it may be of this very boot");
        }
    }
}

#[test]
fn without_boot_ids_boot_time_decides_unless_it_went_back() {
    for unknown in [BootId::unknown(7), BootId::unknown(PLAUSIBLE)] {
        for uptime in UPTIMES {
            let gap = 10 * SECOND;
            // With a plausible wall clock that agrees it is exact.
            let hit = hit_at(unknown, uptime - gap, PLAUSIBLE - gap);
            assert_eq!(age(hit, uptime, PLAUSIBLE), (gap, None));
            // Else it may be a reboot, and then the hit would be older.
            let hit = hit_at(unknown, uptime - gap, UNSET - gap);
            assert_eq!(age(hit, uptime, UNSET), (gap, Some(gap)));
            let hit = hit_at(unknown, 900 * DAY, UNSET);
            assert_eq!(age(hit, uptime, UNSET), (uptime, Some(uptime)));
        }
    }
}

#[test]
fn boots_are_placed_one_behind_the_other() {
    let oldest = hit_at(BootId([3; 16]), DAY, PLAUSIBLE - 3000);
    let middle = hit_at(OTHER, 50, PLAUSIBLE - 2000);
    let newest = hit_at(RUNNING, 10, PLAUSIBLE - 1000);
    let (stamps, placed) = placed(&[oldest, middle, newest], 1010, PLAUSIBLE);
    assert_eq!(stamps, [-1990, -990, 10]);
    assert_eq!(
        (placed.doubtful_until, placed.running_from),
        (Stamp::from_ns(0), 2)
    );
}

#[test]
fn starts_of_one_boot_with_an_id_each_are_one_line() {
    let hits: Vec<_> = (0..5_u8)
        .map(|start| {
            let ago = (5 - i64::from(start)) * 20 * SECOND;
            hit_at(BootId([10 + start; 16]), HOUR - ago, PLAUSIBLE - ago)
        })
        .collect();
    let (stamps, placed) = placed(&hits, HOUR, PLAUSIBLE);
    let ages: Vec<i64> = stamps.iter().map(|stamp| (HOUR - stamp) / SECOND).collect();
    assert_eq!(ages, [100, 80, 60, 40, 20]);
    assert_eq!(
        (placed.doubtful_until, placed.running_from),
        (Stamp::MIN, 0)
    );
}

#[test]
fn a_doubt_between_two_segments_lasts_until_the_newer_one_begins() {
    // An hour was set back between two starts with an id each; the newer start has a segment by now.
    let older = hit_at(OTHER, DAY - 90 * SECOND, PLAUSIBLE - 90 * SECOND + HOUR);
    let newer = hit_at(BootId([3; 16]), DAY - 80 * SECOND, PLAUSIBLE - 80 * SECOND);
    let (stamps, placed) = placed(&[older, newer], DAY, PLAUSIBLE);
    assert_eq!(stamps[1], DAY - 80 * SECOND);
    assert_eq!(stamps[0], stamps[1], "it is not later");
    assert_eq!(placed.doubtful_until.ns(), stamps[1]);
    assert_eq!(placed.running_from, 0);
}

#[test]
fn a_reboot_between_two_segments_is_doubtful_until_that_boot_began() {
    let older = hit_at(OTHER, 900 * DAY, PLAUSIBLE - 50 * SECOND);
    let newer = hit_at(RUNNING, 20 * SECOND, PLAUSIBLE - 10 * SECOND);
    let (stamps, placed) = placed(&[older, newer], 30 * SECOND, PLAUSIBLE);
    assert_eq!(stamps, [-20 * SECOND, 20 * SECOND]);
    assert_eq!((placed.doubtful_until.ns(), placed.running_from), (0, 1));
}

#[test]
fn a_server_and_a_look_later_on_place_hits_alike() {
    let later = 25 * SECOND;
    for uptime in UPTIMES {
        for hit in [
            hit_at(RUNNING, 5 * SECOND, PLAUSIBLE - 10 * SECOND),
            hit_at(OTHER, uptime - 10 * SECOND, PLAUSIBLE - 10 * SECOND),
            hit_at(OTHER, 900 * DAY, PLAUSIBLE - uptime - DAY),
            hit_at(OTHER, 900 * DAY, PLAUSIBLE - SECOND),
            hit_at(OTHER, 900 * DAY, UNSET),
        ] {
            let (now, _) = placed(&[hit], uptime, PLAUSIBLE);
            let (then, _) = placed(&[hit], uptime + later, PLAUSIBLE + later);
            assert_eq!(now, then, "{uptime} {hit:?}");
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    for wall_ns in [i64::MIN + 1, -1, RELEASED_WALL_NS, i64::MAX] {
        for boot in [RUNNING, BootId::unknown(0)] {
            for ns in [1, i64::MAX] {
                let mut segments = [hit_at(OTHER, ns, wall_ns), hit_at(boot, 1, -wall_ns)];
                segments[0].0.base_ns = u64::MAX;
                let (stamps, _) = placed(&segments, ns, wall_ns);
                assert!(stamps.is_sorted() && stamps[1] <= ns, "{stamps:?}");
            }
        }
    }
}

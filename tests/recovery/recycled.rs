//! Of a restart: files that were recycled when the crash came.
//!
//! Owns such cases of the table of verdicts; must not know how recovery goes about them.

use crate::*;

#[test]
fn blank_file_above_all_others_is_removed_without_a_word() {
    for length in [0, 1, 64, 65, 4096] {
        let written = written();
        written.disk.put(&named(4), vec![0; length]);
        let rig = written.open();
        assert!(!rig.disk.names().contains(&named(4)), "{length}");
        assert_counts(rig, TOTAL, &[], &format!("{length} zeros"));
    }
}

#[test]
fn old_records_in_a_recycled_file_do_not_count() {
    // The newest file once was segment 1 and still has its fourth record.
    let mut written = written();
    let mut stale = written.disk.content(&named(SEALED)).expect("a segment");
    let newest = written.disk.content(&named(NEWEST)).expect("a segment");
    stale[..newest.len()].copy_from_slice(&newest);
    written.disk.put(&named(NEWEST), stale);
    let rig = written.open();
    assert_eq!(rig.recovered.trimmed_bytes, 8);
    assert_counts(rig, TOTAL, &[], "stale tail");
    // The same by the engine itself, through many rotations and a restart in each.
    written = Written {
        disk: SimDisk::default(),
        clock: clock_at(START),
    };
    for life in 0..40 {
        let mut rig = Rig::open(
            &written.disk,
            &written.clock,
            settings(SyncPolicy::Never, 4, WINDOW_NS),
        );
        assert_eq!(rig.recovered.end, life * 13);
        assert_eq!(rig.recovered.findings, [""; 0]);
        for hits in [5, 1, 6, 1] {
            rig.hit_now(hits);
            rig.clock.advance(SECOND_NS + WINDOW_NS);
        }
        written.disk = rig.kill();
    }
}

#[test]
fn records_of_a_number_that_a_crash_has_taken_back_do_not_count_when_it_is_given_again() {
    // Segment 2 was recycled as 4 when power went: its new name and header were lost, not so a sector
    // with records. It is the spare again when the next life gives the number 4.
    let written = written();
    written.harm(2, |bytes| {
        bytes.resize(512, 0);
        for offset_ns in 1_000_000..1_000_064 {
            bytes.extend_from_slice(&encode(offset_ns, Key::of(4)));
        }
    });
    let limits = settings(SyncPolicy::Never, 4, WINDOW_NS);
    let mut rig = Rig::open(&written.disk, &written.clock, limits);
    rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
    rig.tick();
    assert_eq!(rig.disk.names(), [named(2), named(NEWEST)]);
    rig.hit_now(1);
    let clock = rig.clock.clone();
    let again = Rig::open(&rig.kill(), &clock, limits);
    assert_eq!(again.recovered.end, TOTAL + 1);
    assert_eq!(again.recovered.findings, [""; 0]);
}

#[test]
fn recycled_file_that_was_never_written_is_removed_without_a_word() {
    // Renamed from 0, which is retired, to 4: power or process went before the first turn.
    let written = written();
    let spare = written.disk.take(&named(0)).expect("a segment");
    written.disk.put(&named(4), spare);
    let rig = written.open();
    assert!(!rig.disk.names().contains(&named(4)));
    assert_counts(rig, TOTAL, &[], "renamed, not written");
}

#[test]
fn recycled_file_whose_new_header_alone_was_lost_keeps_the_places_of_its_records() {
    // The sector with the header of segment 4 is still that of 0, and a later one has its records.
    let written = written();
    let mut bytes = written.disk.take(&named(0)).expect("a segment");
    bytes.resize(512, 0);
    for offset_ns in 57..=58 {
        bytes.extend_from_slice(&encode(offset_ns, Key::of(4)));
    }
    written.disk.put(&named(4), bytes);
    let words = ["header is that of 0000000000000000.seg", "set aside"];
    assert_counts(written.open(), TOTAL + 58, &words, "header lost");
}

/// A recycled file under its old name 0, with the header and two records of segment 4.
fn written_under_its_old_name() -> Written {
    let written = written();
    let mut bytes = written.disk.content(&named(0)).expect("a segment");
    let header = Header {
        number: 4,
        sequence: TOTAL,
        base_ns: (START + 139) as u64,
        ..written.header(NEWEST)
    };
    bytes[..64].copy_from_slice(&header.encode());
    bytes[64..72].copy_from_slice(&encode(1, Key::of(4)));
    bytes[72..80].copy_from_slice(&encode(1, Key::of(4)));
    written.disk.put(&named(0), bytes);
    written
}

#[test]
fn recycled_file_whose_new_name_was_lost_gets_it_back() {
    let rig = written_under_its_old_name().open();
    assert!(rig.disk.names().contains(&named(4)));
    assert!(!rig.disk.names().contains(&named(0)));
    assert_counts(rig, TOTAL + 2, &[], "written, not renamed");
}

#[test]
fn recycled_file_whose_new_name_was_lost_is_found_above_retired_ones_too() {
    // The power cut has also brought back the name of a segment that was retired before it.
    let (written, lost) = (written(), written_under_its_old_name());
    let bytes = lost.disk.content(&named(0)).expect("a segment");
    written.disk.put(&named(1), bytes);
    let rig = written.open();
    assert_counts(
        rig,
        TOTAL + 2,
        &[],
        "written, not renamed, and one more below",
    );
}

#[test]
fn recycled_files_whose_new_names_were_all_lost_get_them_back() {
    // Segment 0 was recycled as 4 and segment 1 as 5, and both names are back.
    let lost = written_under_its_old_name();
    lost.harm(1, |bytes| {
        let header = Header {
            number: 5,
            sequence: TOTAL + 2,
            ..lost.header(NEWEST)
        };
        bytes[..64].copy_from_slice(&header.encode());
        bytes[64..72].copy_from_slice(&encode(20, Key::of(5)));
    });
    let rig = lost.open();
    let kept: Vec<_> = (2..=5).map(named).collect();
    assert_eq!(rig.disk.names(), kept);
    assert_counts(rig, TOTAL + 3, &[], "two written, not renamed");
}

#[test]
fn recycled_file_that_cannot_get_its_new_name_refuses_the_start() {
    let lost = written_under_its_old_name();
    lost.disk.faults(|faults| faults.sticky(Op::Rename, 1, EIO));
    let words = lost.refusal();
    assert!(words.contains("sim/0000000000000000.seg"), "{words}");
}

#[test]
fn recycled_file_alone_still_knows_the_total() {
    // Segment 3 is the spare and was given the name 5; segment 4 never reached the device.
    let written = written();
    for number in 0..NEWEST {
        written.disk.take(&named(number));
    }
    let spare = written.disk.take(&named(NEWEST)).expect("a segment");
    written.disk.put(&named(5), spare);
    assert_counts(written.open(), TOTAL, &[], "renamed, alone");
    // And the other way round: segment 5 was written under the old name.
    let lost = written_under_its_old_name();
    for number in 1..=NEWEST {
        lost.disk.take(&named(number));
    }
    assert_counts(lost.open(), TOTAL + 2, &[], "written, alone");
}

#[test]
fn recycled_file_whose_new_header_was_torn_is_not_corrected_into_one() {
    let lost = written_under_its_old_name();
    for number in 1..=NEWEST {
        lost.disk.take(&named(number));
    }
    lost.harm(0, |bytes| {
        bytes[63] ^= 1;
        for slot in bytes[64..].chunks_exact_mut(8) {
            slot.copy_from_slice(&encode(1, Key::of(0)));
        }
    });
    let mut rig = lost.open();
    let end = rig.recovered.end;
    rig.hit_now(2);
    let limits = settings(SyncPolicy::Never, 4, RETAIN_NS);
    let again = Rig::open(&rig.kill(), &lost.clock, limits);
    assert_eq!(again.recovered.end, end + 2, "{:?}", again.recovered);
}

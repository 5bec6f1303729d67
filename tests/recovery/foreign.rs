//! Of a restart: segments that are missing, of somebody else, or of another version.
//!
//! Owns such cases of the table of verdicts; must not know how recovery goes about them.

use crate::*;

#[test]
fn missing_segment_keeps_its_places_and_is_reported() {
    for number in 1..NEWEST {
        let written = written();
        written.disk.take(&named(number));
        let places = format!(
            "sim/{}: record 4 at byte 96: 4 records are missing before {}; their places are kept",
            named(number - 1),
            named(number + 1)
        );
        assert_counts(written.open(), TOTAL, &[&places], &places);
    }
}

#[test]
fn missing_oldest_segment_is_history_that_is_no_longer_kept() {
    let written = written();
    written.disk.take(&named(0));
    let mut rig = written.open();
    assert!(matches!(between(&mut rig, -1, 140), Answer::NotKept { .. }));
    assert_eq!(between(&mut rig, 40, 140), Answer::Count(10));
    assert_counts(rig, TOTAL, &[], "oldest");
}

#[test]
fn segment_copied_under_another_number_is_set_aside() {
    for (from, to) in [(0, 9), (1, 9), (3, 9), (1, 3), (3, 0)] {
        let written = written();
        let bytes = written.disk.content(&named(from)).expect("a segment");
        let lost = written.disk.content(&named(to)).is_some();
        written.disk.put(&named(to), bytes);
        let rig = written.open();
        let words = format!("sim/{}: header is that of {}", named(to), named(from));
        let total = if lost && to == NEWEST { 12 } else { TOTAL };
        assert_counts(rig, total, &[&words], &words);
    }
}

/// A segment of another journal and another boot.
fn foreign(number: u64, sequence: u64, records: u64) -> Vec<u8> {
    let header = Header {
        number,
        sequence,
        base_ns: 77,
        wall_ns: 88,
        boot: BootId([9; 16]),
    };
    let mut bytes = header.encode().to_vec();
    for offset_ns in 1..=records {
        bytes.extend_from_slice(&encode(offset_ns, Key::of(number)));
    }
    bytes
}

/// A journal with a foreign segment between segments 2 and 4.
fn with_foreign_segment() -> Written {
    // Number 3 was given up by a step that failed half-way, so ours go on with 4.
    let written = written();
    written.disk.put(&named(NEWEST), foreign(NEWEST, 1000, 4));
    let header = Header {
        number: 4,
        sequence: 12,
        base_ns: (START + 119) as u64,
        ..written.header(2)
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&encode(1, Key::of(4)));
    written.disk.put(&named(4), bytes);
    written
}

#[test]
fn foreign_segment_among_ours_is_set_aside() {
    let written = with_foreign_segment();
    let words = "sim/0000000000000003.seg: sequence fits neither neighbour; set aside";
    assert_counts(written.open(), 13, &[words], words);
}

#[test]
fn every_file_that_a_start_sets_aside_is_named_by_the_status_of_the_same_life() {
    let with_stray = || {
        let written = written();
        let stray = vec![1; HEADER_BYTES + RECORD_BYTES];
        written.disk.put(&named(name::NUMBER_MAX + 1), stray);
        written
    };
    for (case, written, number) in [
        ("impossible number", with_stray(), name::NUMBER_MAX + 1),
        ("fits neither neighbour", with_foreign_segment(), NEWEST),
    ] {
        let mut rig = written.open();
        let path = format!("sim/{}", name::aside(&named(number)));
        assert_eq!(rig.status().quarantined, [path], "{case}");
    }
}

#[test]
fn foreign_segment_in_the_place_of_one_of_ours_refuses_the_start() {
    let written = written();
    written.disk.put(&named(2), foreign(2, 1000, 4));
    let words = written.refusal();
    let file = "sim/0000000000000003.seg: begins at hit 12, before 0000000000000002.seg";
    assert!(words.starts_with(file), "{words}");
}

#[test]
fn foreign_segment_that_leaves_no_order_refuses_the_start() {
    let written = written();
    written.disk.put(&named(9), foreign(9, 0, 4));
    let words = written.refusal();
    assert!(
        words.starts_with("sim/0000000000000009.seg: begins at hit 0"),
        "{words}"
    );
    assert!(words.contains("0000000000000003.seg at hit 12"), "{words}");
    let names = written.disk.names();
    assert_eq!(names.len(), 5, "nothing may be touched: {names:?}");
}

#[test]
fn future_version_refuses_the_start_and_names_the_file() {
    for number in 0..=NEWEST {
        let sealed = Written::harmed(number, |bytes| reseal(bytes, 7, 2));
        let words = sealed.refusal();
        let file = format!("sim/{}: format version 2", named(number));
        assert!(words.starts_with(&file), "{words}");
        assert_eq!(sealed.disk.names().len(), 4, "nothing may be touched");
    }
}

#[test]
fn unknown_flags_refuse_the_start_and_name_the_file() {
    for place in 56..60 {
        let sealed = Written::harmed(SEALED, |bytes| reseal(bytes, place, 0x80));
        let words = sealed.refusal();
        let file = "sim/0000000000000001.seg: flags 0x";
        assert!(words.starts_with(file), "{words}");
    }
}

/// Changes one byte of a header and puts the right check behind it.
fn reseal(bytes: &mut [u8], place: usize, value: u8) {
    bytes[place] = value;
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[..60]);
    bytes[60..64].copy_from_slice(&check.to_be_bytes());
}

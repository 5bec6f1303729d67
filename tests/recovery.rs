//! What a restart makes of damaged, torn, missing and foreign files: the table of verdicts in
//! `journal/recover.rs`, row by row, bit by bit.
//!
//! Owns the damage: every case takes a journal that the engine itself has written, harms it, opens
//! it again and looks at the count and at what is reported.
//!
//! Must not know how recovery goes about it. Invariant tested: the count is exact and the damage
//! reported with file and position, or the start is refused with the file's name; never silence.

mod support;

use support::disk::SimDisk;
use support::fault::{EIO, EROFS, Op};
use support::rig::{Rig, WINDOW_NS, clock_at, settings};
use tallyd::clock::HandClock;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::hit::{Answer, Ask, Verdict};
use tallyd::journal::record::{HEADER_BYTES, Header, Key, RECORD_BYTES, encode};
use tallyd::journal::{SyncPolicy, name};
use tallyd::stamp::{BootId, SECOND_NS, Stamp};

const START: i64 = 1_000_000_000;
const RETAIN_NS: u64 = 100 * SECOND_NS;

/// Segments of four records: 0 to 2 sealed, 3 the newest with three, stamps 10 ns apart.
struct Written {
    disk: SimDisk,
    clock: HandClock,
}

const SEALED: u64 = 1;
const NEWEST: u64 = 3;
const TOTAL: u64 = 15;

fn written() -> Written {
    let (disk, clock) = (SimDisk::default(), clock_at(START));
    let mut rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, RETAIN_NS));
    for hit in 0..TOTAL as i64 {
        rig.hit_at(&[START + 10 * hit]);
    }
    let disk = rig.kill();
    assert_eq!(disk.names().len(), 4);
    Written { disk, clock }
}

fn named(number: u64) -> String {
    name::segment(number)
}

impl Written {
    fn open(&self) -> Rig {
        Rig::open(
            &self.disk,
            &self.clock,
            settings(SyncPolicy::Never, 4, RETAIN_NS),
        )
    }

    /// The words with which a start is refused.
    fn refusal(&self) -> String {
        let settings = settings(SyncPolicy::Never, 4, RETAIN_NS);
        let boot = support::rig::BOOT;
        match Rig::try_open(&self.disk, &self.clock, boot, settings) {
            Err(error) => error.to_string(),
            Ok(rig) => panic!("started, with {:?}", rig.recovered),
        }
    }

    fn harmed(number: u64, harm: impl FnOnce(&mut Vec<u8>)) -> Self {
        let written = written();
        written.harm(number, harm);
        written
    }

    fn harm(&self, number: u64, harm: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.disk.content(&named(number)).expect("a segment");
        harm(&mut bytes);
        self.disk.put(&named(number), bytes);
    }

    fn header(&self, number: u64) -> Header {
        let bytes = self.disk.content(&named(number)).expect("a segment");
        let header = bytes[..HEADER_BYTES].try_into().expect("a header");
        Header::decode(header).expect("a sound header")
    }
}

/// Hits in (from, to], `from` and `to` in ns after the first hit.
fn between(rig: &mut Rig, from: i64, to: i64) -> Answer {
    rig.ask(Ask::Between {
        from: Stamp::from_ns(START + from),
        to: Stamp::from_ns(START + to),
    })
}

/// A journal that counts `total`, reports what `finding` names and goes on counting.
fn assert_counts(mut rig: Rig, total: u64, finding: &[&str], case: &str) {
    let recovered = &rig.recovered;
    assert_eq!(recovered.end, total, "{case}: {recovered:?}");
    let found = recovered.findings.join("\n");
    let named = finding.iter().all(|words| found.contains(words));
    assert!(named, "{case}: {finding:?} is not in {found:?}");
    if finding.is_empty() {
        assert_eq!(found, "", "{case}");
    }
    assert_eq!(rig.hit_now(2).hits.len(), 2);
    assert_eq!(rig.status().total, total + 2, "{case}");
    let (clock, disk) = (rig.clock.clone(), rig.kill());
    let again = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, RETAIN_NS));
    assert_eq!(again.recovered.end, total + 2, "{case}, once more");
}

#[test]
fn a_restart_finds_every_hit_and_reports_nothing() {
    let rig = written().open();
    assert_eq!(rig.recovered.trimmed_bytes, 0);
    assert_counts(rig, TOTAL, &[], "sound");
}

#[test]
fn equal_stamps_on_both_sides_of_a_rotation_stay_equal() {
    let (disk, clock) = (SimDisk::default(), clock_at(START));
    let mut rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, RETAIN_NS));
    for _ in 0..5 {
        rig.hit_at(&[START; 4]);
    }
    let written = Written {
        disk: rig.kill(),
        clock,
    };
    let mut rig = written.open();
    assert_eq!(rig.recovered.segments.len(), 5);
    assert_eq!(between(&mut rig, -1, 0), Answer::Count(20));
    assert_eq!(between(&mut rig, 0, 100), Answer::Count(0));
    let tallies = rig.hit_at(&[START + WINDOW_NS as i64]).tallies();
    assert_eq!(tallies, [1], "all twenty left at once");
}

#[test]
fn newest_segment_without_records_is_no_earlier_than_its_predecessor() {
    // Its base is one before its first stamp, which was that of the last record before it.
    for segments in 1..=5 {
        let (disk, clock) = (SimDisk::default(), clock_at(START));
        let mut rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 4, RETAIN_NS));
        for _ in 0..=segments {
            rig.hit_at(&[START; 4]);
        }
        let written = Written {
            disk: rig.kill(),
            clock,
        };
        written.harm(segments, |bytes| bytes.truncate(HEADER_BYTES));
        let mut rig = written.open();
        assert_eq!(between(&mut rig, -10, -1), Answer::Count(0), "{segments}");
        assert_eq!(between(&mut rig, -1, 0), Answer::Count(4 * segments));
        assert_eq!(rig.hit_at(&[START]).tallies(), [4 * segments + 1]);
    }
}

#[test]
fn torn_tail_is_trimmed_and_reported() {
    let whole = written().disk.content(&named(NEWEST)).expect("a segment");
    for length in HEADER_BYTES..=whole.len() {
        let cut = Written::harmed(NEWEST, |bytes| bytes.truncate(length));
        let rig = cut.open();
        let records = (length - HEADER_BYTES) / RECORD_BYTES;
        let torn = (length - HEADER_BYTES) % RECORD_BYTES;
        assert_eq!(rig.recovered.trimmed_bytes, torn as u64, "cut at {length}");
        let kept = rig.disk.content(&named(NEWEST)).expect("a segment");
        assert_eq!(kept.len(), length - torn, "cut at {length}");
        let total = 12 + records as u64;
        assert_counts(rig, total, &[], &format!("cut at {length}"));
    }
}

#[test]
fn newest_segment_cut_within_its_header_holds_nothing() {
    // No record is in such a file, so nothing was ever answered from it.
    for length in 0..HEADER_BYTES {
        let cut = Written::harmed(NEWEST, |bytes| bytes.truncate(length));
        let finding: &[&str] = if length == 0 {
            &[]
        } else {
            &["sim/0000000000000003.seg"]
        };
        assert_counts(cut.open(), 12, finding, &format!("cut at {length}"));
    }
}

#[test]
fn sealed_segment_cut_anywhere_keeps_its_places_and_is_reported() {
    let whole = written().disk.content(&named(SEALED)).expect("a segment");
    for length in 0..whole.len() {
        let cut = Written::harmed(SEALED, |bytes| bytes.truncate(length));
        // Without a header its predecessor keeps its places and is named.
        let file = if length < HEADER_BYTES {
            "sim/0000000000000000.seg: record 4 at byte 96"
        } else {
            "sim/0000000000000001.seg: record"
        };
        assert_counts(cut.open(), TOTAL, &[file], &format!("cut at {length}"));
    }
}

#[test]
fn zeros_behind_the_newest_record_are_trimmed() {
    for page in [1, 7, 512, 4096] {
        let grown = Written::harmed(NEWEST, |bytes| bytes.resize(bytes.len() + page, 0));
        let rig = grown.open();
        assert_eq!(rig.recovered.trimmed_bytes, page as u64);
        let kept = rig.disk.content(&named(NEWEST)).expect("a segment");
        assert_eq!(kept.len(), HEADER_BYTES + 3 * RECORD_BYTES);
        assert_counts(rig, TOTAL, &[], &format!("{page} zeros"));
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_record_keeps_the_count_and_is_reported_when_read() {
    for bit in HEADER_BYTES * 8..(HEADER_BYTES + 4 * RECORD_BYTES) * 8 {
        let flipped = Written::harmed(SEALED, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let mut rig = flipped.open();
        assert_eq!(rig.recovered.end, TOTAL);
        assert_eq!(
            rig.recovered.findings, [""; 0],
            "only the newest is scanned"
        );
        // The cursor passes every record on its way out of the window.
        assert_eq!(rig.hit_at(&[START + 10 * WINDOW_NS as i64]).tallies(), [1]);
        assert_eq!(rig.status().damaged_count, 1, "bit {bit}");
        assert_eq!(rig.status().total, TOTAL + 1, "bit {bit}");
    }
}

#[test]
fn damaged_record_takes_the_time_of_its_earlier_neighbour() {
    // Record 6 of the journal, at 60, is the third of its segment.
    let flipped = Written::harmed(SEALED, |bytes| bytes[HEADER_BYTES + 16] ^= 1);
    let mut rig = flipped.open();
    assert_eq!(between(&mut rig, 50, 60), Answer::Count(0));
    assert_eq!(between(&mut rig, 49, 50), Answer::Count(2));
    assert_eq!(between(&mut rig, 0, 140), Answer::Count(14));
}

#[test]
fn damaged_first_record_keeps_its_time_since_the_header_tells_it() {
    for number in 0..=NEWEST {
        let damaged = Written::harmed(number, |bytes| bytes[64] ^= 1);
        let first = 40 * number as i64;
        let mut rig = damaged.open();
        assert_eq!(between(&mut rig, first - 1, first), Answer::Count(1));
        assert_eq!(between(&mut rig, -1, first), Answer::Count(4 * number + 1));
    }
}

#[test]
fn header_without_a_record_lets_no_hit_go_back_in_time() {
    // The last hit of segment 2 and the only one of segment 3 had the same stamp.
    let written = written();
    let header = Header {
        base_ns: (START + 109) as u64,
        ..written.header(NEWEST)
    };
    written.disk.put(&named(NEWEST), header.encode().to_vec());
    let mut rig = written.open();
    let answer = rig.hit(&[Stamp::from_ns(START)]);
    assert_eq!(answer.hits[0].stamp, Stamp::from_ns(START + 110));
    let last = between(&mut rig, 109, 110);
    assert_eq!(last, Answer::Count(2));
}

#[test]
fn header_that_alone_tells_the_count_outlives_a_refusal() {
    let written = written();
    written.harm(2, |bytes| bytes.truncate(bytes.len() - 8));
    written.harm(NEWEST, |bytes| bytes.truncate(HEADER_BYTES));
    let limits = settings(SyncPolicy::Always, 4, RETAIN_NS);
    let mut rig = Rig::open(&written.disk, &written.clock, limits);
    rig.disk.faults(|faults| faults.once(Op::SyncFile, 1, EIO));
    assert_eq!(rig.hit_now(1).verdict, Verdict::Refused);
    let again = Rig::open(&rig.kill(), &written.clock, limits);
    assert_eq!(again.recovered.end, 12);
}

#[test]
fn every_flipped_bit_of_a_newest_record_keeps_the_count_and_is_reported() {
    let records = (TOTAL % 4) as usize;
    for bit in HEADER_BYTES * 8..(HEADER_BYTES + records * RECORD_BYTES) * 8 {
        let flipped = Written::harmed(NEWEST, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let record = bit / 8 / RECORD_BYTES - HEADER_BYTES / RECORD_BYTES;
        let case = format!("bit {bit}");
        if record + 1 == records {
            // The last one cannot be told from a torn tail.
            let rig = flipped.open();
            assert_eq!(rig.recovered.trimmed_bytes, 8, "{case}");
            assert_counts(rig, TOTAL - 1, &[], &case);
            continue;
        }
        let place = format!(
            "sim/0000000000000003.seg: record {record} at byte {}: check failed",
            HEADER_BYTES + record * RECORD_BYTES
        );
        assert_counts(flipped.open(), TOTAL, &[&place], &case);
    }
}

#[test]
fn every_flipped_bit_of_a_header_keeps_the_count_and_is_reported() {
    for number in 0..=NEWEST {
        for bit in 0..HEADER_BYTES * 8 {
            let flipped = Written::harmed(number, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let file = format!("sim/{}: ", named(number));
            let rig = flipped.open();
            let damaged = rig.recovered.damaged_count;
            let case = format!("bit {bit} of segment {number}");
            // What lies below the oldest that is left is outside of it, not damaged in it.
            let lost = [0, 4, 4, 3][number as usize];
            assert_eq!(damaged, lost, "{case}");
            assert_counts(rig, TOTAL, &[&file, "set aside"], &case);
        }
    }
}

/// The newest segment alone, as the first ever, with a header that fails its check.
fn only_header_is_damaged() -> Written {
    let written = written();
    for number in 0..NEWEST {
        written.disk.take(&named(number));
    }
    let header = written.header(NEWEST);
    written.harm(NEWEST, |bytes| {
        bytes[..64].copy_from_slice(
            &Header {
                sequence: 0,
                ..header
            }
            .encode(),
        );
        bytes[40] ^= 1;
    });
    written
}

#[test]
fn damaged_header_of_the_only_segment_keeps_the_count() {
    let written = only_header_is_damaged();
    assert_counts(written.open(), 3, &["header check failed"], "only segment");
}

#[test]
fn hits_that_no_header_places_in_time_make_an_error_of_every_span_they_may_lie_in() {
    let mut rig = only_header_is_damaged().open();
    assert_eq!(rig.recovered.complete_after, rig.now());
    assert!(matches!(between(&mut rig, 0, 140), Answer::Failed(_)));
    assert!(rig.status().estimated);
}

#[test]
fn zeroed_page_of_a_sealed_segment_keeps_the_count() {
    let (disk, clock) = (SimDisk::default(), clock_at(START));
    let mut rig = Rig::open(&disk, &clock, settings(SyncPolicy::Never, 2000, RETAIN_NS));
    for turn in 0..4 {
        rig.hit_at(&vec![START + turn; 1000]);
    }
    let sound = rig.kill();
    for number in 0..2 {
        let name = named(number);
        let whole = sound.content(&name).expect("a segment");
        for page in [512, 4096] {
            for at in (0..whole.len()).step_by(page) {
                let disk = sound.kill();
                let mut bytes = whole.clone();
                let end = (at + page).min(bytes.len());
                bytes[at..end].fill(0);
                disk.put(&name, bytes);
                let settings = settings(SyncPolicy::Never, 2000, RETAIN_NS);
                let mut rig = Rig::open(&disk, &clock_at(START + 3), settings);
                let newest_tail = number == 1 && end == whole.len();
                let case = format!("{page} zeros at {at} of {name}");
                if newest_tail && at > 0 {
                    let records = 2000 + (at - HEADER_BYTES) as u64 / 8;
                    assert_eq!(rig.recovered.end, records, "{case}");
                } else {
                    assert_eq!(rig.recovered.end, 4000, "{case}");
                    rig.clock.advance(2 * WINDOW_NS);
                    rig.hit_now(1);
                    let damaged = rig.status().damaged_count;
                    assert!(damaged > 0 || number == 0 && at == 0, "{case}");
                }
            }
        }
    }
}

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
    assert!(matches!(between(&mut rig, -1, 140), Answer::Failed(_)));
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

#[test]
fn foreign_segment_among_ours_is_set_aside() {
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
    let words = "sim/0000000000000003.seg: sequence fits neither neighbour; set aside";
    assert_counts(written.open(), 13, &[words], words);
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
        bytes[64..72].copy_from_slice(&encode(200, Key::of(5)));
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
fn refused_segments_that_could_not_be_removed_are_not_counted() {
    // Segments 2 and 3 were refused as a whole and the last two of segment 1 with them.
    let written = written();
    let header = Header {
        number: 4,
        sequence: 6,
        base_ns: (START + 140) as u64,
        ..written.header(NEWEST)
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&encode(1, Key::of(4)));
    written.disk.put(&named(4), bytes);
    written
        .disk
        .faults(|faults| faults.once(Op::Remove, 1, EIO));
    assert_counts(written.open(), 7, &[], "refused");
}

#[test]
fn oldest_segment_that_was_refused_as_a_whole_is_removed() {
    // Of segments 1 and 2 alone, the second begins before the first does.
    let written = written();
    written.disk.take(&named(0));
    written.disk.take(&named(NEWEST));
    let header = written.header(2);
    let earlier = Header {
        sequence: 3,
        ..header
    };
    written.harm(2, |bytes| {
        bytes[..HEADER_BYTES].copy_from_slice(&earlier.encode());
    });
    assert_counts(written.open(), 7, &[], "refused, and the oldest");
    assert!(!written.disk.names().contains(&named(1)));
}

#[test]
fn directory_that_cannot_be_changed_gives_the_same_count() {
    let harmed = [
        Written::harmed(NEWEST, |bytes| bytes.resize(200, 0)),
        Written::harmed(SEALED, |bytes| bytes[9] ^= 1),
        Written::harmed(NEWEST, |bytes| bytes[9] ^= 1),
    ];
    for written in harmed {
        written.disk.faults(|faults| {
            for op in [Op::Rename, Op::Remove, Op::SetLen, Op::Create, Op::Write] {
                faults.sticky(op, 1, EROFS);
            }
        });
        for _ in 0..2 {
            let mut rig = written.open();
            assert_eq!(rig.recovered.end, TOTAL);
            assert_eq!(rig.status().total, TOTAL);
        }
    }
}

#[test]
fn unreadable_directory_or_file_refuses_the_start() {
    for op in [Op::List, Op::Open, Op::Read] {
        for nth in 1..100 {
            let written = written();
            written.disk.faults(|faults| faults.once(op, nth, EIO));
            let settings = settings(SyncPolicy::Never, 4, RETAIN_NS);
            let boot = support::rig::BOOT;
            match Rig::try_open(&written.disk, &written.clock, boot, settings) {
                Err(error) => {
                    let words = error.to_string();
                    assert!(words.starts_with("cannot "), "{words}");
                    assert!(words.contains(" sim/"), "{words}");
                }
                Ok(_) => {
                    assert!(nth > 1 && !written.disk.faults(|faults| faults.is_over()));
                    break;
                }
            }
        }
    }
}

//! Of a restart: bits, records, headers and pages that are not what was written.
//!
//! Owns such cases of the table of verdicts; must not know how recovery goes about them.

use crate::*;

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
fn damage_of_any_length_takes_the_time_of_the_neighbour_before_it() {
    let (disk, clock) = (SimDisk::default(), clock_at(START));
    let settings = settings(SyncPolicy::Never, 2000, RETAIN_NS);
    let mut rig = Rig::open(&disk, &clock, settings);
    let stamps: Vec<_> = (0..2000).map(|hit| START + 10 * hit).collect();
    rig.hit_at(&stamps);
    rig.hit_at(&[START + 20_000]);
    let sound = rig.kill();
    for damaged in [100..101, 100..612, 100..613, 100..1400, 0..1300, 700..2000] {
        let disk = sound.kill();
        let mut bytes = disk.content(&named(0)).expect("a segment");
        let place = |record: usize| HEADER_BYTES + RECORD_BYTES * record;
        bytes[place(damaged.start)..place(damaged.end)].fill(0);
        disk.put(&named(0), bytes);
        let mut rig = Rig::open(&disk, &clock, settings);
        // Those at the beginning take the time of the first hit, which the header tells.
        let time = 10 * (damaged.start as i64 - 1).max(0);
        let count = damaged.len() as u64 + u64::from(damaged.start > 0);
        let end = 10 * damaged.end as i64;
        let case = format!("{damaged:?}");
        assert_eq!(
            between(&mut rig, time - 1, time),
            Answer::Count(count),
            "{case}"
        );
        assert_eq!(between(&mut rig, time, end - 1), Answer::Count(0), "{case}");
        let left = 2001 - damaged.end as u64;
        assert_eq!(
            between(&mut rig, end - 1, 20_000),
            Answer::Count(left),
            "{case}"
        );
    }
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
        let place = HEADER_BYTES + record * RECORD_BYTES;
        let place = format!("sim/0000000000000003.seg: record {record} at byte {place}: ");
        let mut rig = flipped.open();
        assert!(rig.status().estimated, "{case}");
        // Two flips make the last one look like a record of segment 1 or 2 in a recycled file.
        let is_told_apart = rig.recovered.end == TOTAL;
        assert!(
            is_told_apart || record + 1 == records && bit % 64 / 8 < 2,
            "{case}"
        );
        let total = TOTAL - u64::from(!is_told_apart);
        assert_counts(rig, total, &[&place], &case);
    }
}

#[test]
fn every_flipped_bit_of_a_header_keeps_the_count_and_is_reported() {
    for number in 0..=NEWEST {
        for bit in 0..HEADER_BYTES * 8 {
            let flipped = Written::harmed(number, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let file = format!("sim/{}: ", named(number));
            let mut rig = flipped.open();
            let case = format!("bit {bit} of segment {number}");
            assert_eq!(rig.recovered.damaged_count, 0, "{case}");
            assert!(!rig.status().estimated, "{case}");
            assert_counts(rig, TOTAL, &[&file, "corrected by its checksum"], &case);
        }
    }
}

/// Damage to the header of one segment that its checksum alone does not determine.
const HEADER_DAMAGE: [(&str, std::ops::Range<usize>); 4] = [
    ("sequence and boot", 16..24),
    ("boot", 40..56),
    ("the checksum", 60..64),
    ("all that tells the time", 16..64),
];

#[test]
fn header_that_its_neighbours_determine_is_corrected() {
    for number in 0..=NEWEST {
        for (what, range) in &HEADER_DAMAGE[..2] {
            let damaged = Written::harmed(number, |bytes| bytes[range.clone()].fill(0xa5));
            let mut rig = damaged.open();
            let case = format!("{what} of segment {number}");
            assert!(!rig.status().estimated, "{case}");
            let said = &["header check failed; corrected by its neighbours"];
            assert_counts(rig, TOTAL, said, &case);
        }
    }
}

#[test]
fn header_of_which_only_the_checksum_is_lost_is_taken_as_estimated() {
    for number in 0..=NEWEST {
        let (what, range) = &HEADER_DAMAGE[2];
        let damaged = Written::harmed(number, |bytes| bytes[range.clone()].fill(0xa5));
        let mut rig = damaged.open();
        let case = format!("{what} of segment {number}");
        assert_eq!(rig.hit_now(1).estimates(), [TOTAL + 1], "{case}");
        rig.clock.advance(2 * WINDOW_NS);
        assert_eq!(rig.hit_now(1).verdict, Verdict::Counted, "{case}");
    }
}

#[test]
fn header_with_a_time_out_of_order_is_not_taken_as_it_stands() {
    // The first byte of the base, and the one that is 2^40 ns: years and minutes too early or too late.
    for number in 1..=NEWEST {
        for (places, flips) in [([24, 26, 62], [0x40, 1, 1]), ([26, 27, 61], [1, 9, 1])] {
            let damaged = Written::harmed(number, |bytes| {
                for (place, flip) in places.into_iter().zip(flips) {
                    bytes[place] ^= flip;
                }
            });
            let mut rig = damaged.open();
            let case = format!("{places:?} of segment {number}");
            assert_eq!(rig.status().quarantined.len(), 1, "{case}");
            assert_eq!(rig.hit_now(1).estimates(), [TOTAL + 1], "{case}");
        }
    }
}

#[test]
fn header_that_nothing_determines_keeps_the_count_and_is_set_aside() {
    for number in 0..=NEWEST {
        let (what, range) = &HEADER_DAMAGE[3];
        let damaged = Written::harmed(number, |bytes| bytes[range.clone()].fill(0xa5));
        let mut rig = damaged.open();
        let case = format!("{what} of segment {number}");
        // What lies below the oldest that is left is outside of it, not damaged in it.
        let lost = [0, 4, 4, 3][number as usize];
        assert_eq!(rig.recovered.damaged_count, lost, "{case}");
        let path = format!("sim/{}.aside", named(number));
        assert_eq!(
            rig.status().quarantined,
            std::slice::from_ref(&path),
            "{case}"
        );
        assert_eq!(rig.hit_now(1).verdict, Verdict::Estimated, "{case}");
        assert_eq!(rig.status().total, TOTAL + 1, "{case}");
        // The file is named as long as it lies there, also by the next start.
        let next = Rig::open(
            &rig.kill(),
            &damaged.clock,
            settings(SyncPolicy::Never, 4, RETAIN_NS),
        );
        let mut next = next;
        assert_eq!(next.status().quarantined, [path], "{case}");
        next.disk.take(&name::aside(&named(number)));
        assert_eq!(next.status().quarantined, [""; 0], "{case}");
    }
}

#[test]
fn damaged_record_of_the_newest_segment_makes_answers_estimated_until_it_has_left_the_window() {
    let second = HEADER_BYTES + RECORD_BYTES;
    let damaged = Written::harmed(NEWEST, |bytes| bytes[second] ^= 1);
    let mut rig = damaged.open();
    let hit_at = |rig: &mut Rig, ns: i64| {
        let now = rig.now();
        rig.clock.advance(Stamp::from_ns(START + ns).since(now));
        rig.hit_at(&[START + ns])
    };
    // Segment 3 holds hits at 120, 130 and 140. The one at 130 passes for one at 120.
    let window_ns = WINDOW_NS as i64;
    assert_eq!(hit_at(&mut rig, 129 + window_ns).estimates(), [2]);
    assert_eq!(
        hit_at(&mut rig, 139 + window_ns).verdict,
        Verdict::Estimated
    );
    let answer = hit_at(&mut rig, 140 + window_ns);
    assert_eq!(answer.verdict, Verdict::Counted);
    assert_eq!(answer.tallies(), [3]);
}

#[test]
fn damaged_record_of_a_sealed_segment_makes_answers_estimated_when_it_passes() {
    let damaged = Written::harmed(SEALED, |bytes| bytes[HEADER_BYTES + 16] ^= 1);
    let mut rig = damaged.open();
    assert_eq!(rig.hit_now(1).verdict, Verdict::Counted);
    let window_ns = WINDOW_NS as i64;
    // Record 6, at 60, passes for one at 50; the next is at 70.
    for (ns, verdict) in [(55, Verdict::Estimated), (70, Verdict::Counted)] {
        let now = rig.now();
        let at = START + ns + window_ns;
        rig.clock.advance(Stamp::from_ns(at).since(now));
        assert_eq!(rig.hit_at(&[at]).verdict, verdict, "{ns}");
    }
}

#[test]
fn question_whose_end_lies_at_a_damaged_record_is_answered_as_estimated() {
    let damaged = Written::harmed(SEALED, |bytes| bytes[HEADER_BYTES + 16] ^= 1);
    let mut rig = damaged.open();
    let mut ask = |from: i64, to: i64| {
        rig.ask(Ask::Between {
            from: Stamp::from_ns(START + from),
            to: Stamp::from_ns(START + to),
        })
    };
    let estimate = |count| Answer::Estimated(Box::new(Answer::Count(count)));
    // Record 6, at 60, passes for one at 50.
    assert_eq!(ask(-1, 55), estimate(7));
    assert_eq!(ask(55, 140), estimate(8));
    assert_eq!(ask(-1, 70), Answer::Count(8));
    assert_eq!(ask(45, 70), Answer::Count(3));
}

#[test]
fn record_later_than_now_is_not_believed_and_keeps_its_place() {
    let hour_ns = 3600 * SECOND_NS;
    let forged = Written::harmed(NEWEST, |bytes| {
        bytes.extend_from_slice(&encode(hour_ns, Key::of(NEWEST)));
    });
    let mut rig = forged.open();
    assert_eq!(rig.recovered.findings.len(), 1, "{:?}", rig.recovered);
    assert_eq!(rig.hit_now(1).estimates(), [TOTAL + 2]);
    // A sealed segment ends with a record that is later than its successor's first.
    let forged = Written::harmed(SEALED, |bytes| {
        let last = bytes.len() - RECORD_BYTES;
        bytes[last..].copy_from_slice(&encode(hour_ns, Key::of(SEALED)));
    });
    let mut rig = forged.open();
    assert_eq!(rig.hit_now(1).estimates(), [TOTAL + 1]);
}

#[test]
fn one_bit_in_a_tail_of_zeros_is_no_record_and_is_reported() {
    for (slot, word) in [(1, 3_u64 << 48), (0, 3 << 48), (2, 1 << 20), (0, 1)] {
        let forged = Written::harmed(NEWEST, |bytes| {
            let end = bytes.len();
            bytes.resize(end + 5 * RECORD_BYTES, 0);
            let at = end + slot * RECORD_BYTES;
            bytes[at..at + RECORD_BYTES].copy_from_slice(&word.to_be_bytes());
        });
        let mut rig = forged.open();
        let case = format!("{word:#x} in slot {slot}");
        let found = rig.recovered.findings.join("\n");
        assert!(found.contains("they are not counted"), "{case}: {found}");
        assert_eq!(rig.hit_now(1).estimates(), [TOTAL + 1], "{case}");
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
        bytes[20..60].fill(0xa5);
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
    assert!(matches!(between(&mut rig, 0, 140), Answer::NotKept { .. }));
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

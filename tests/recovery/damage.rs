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

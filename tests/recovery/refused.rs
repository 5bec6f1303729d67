//! Of a restart: segments that were refused, and directories that refuse.
//!
//! Owns such cases of the table of verdicts; must not know how recovery goes about them.

use crate::*;
use tallyd::journal::disk::Disk;

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
fn file_that_cannot_be_set_aside_is_said_to_be_where_it_is() {
    for (fails, said) in [(false, "; set aside as "), (true, "; left where it is")] {
        let written = Written::harmed(SEALED, |bytes| bytes[16..64].fill(0xa5));
        if fails {
            written
                .disk
                .faults(|faults| faults.once(Op::Rename, 1, EIO));
        }
        let rig = written.open();
        let finding = rig.recovered.findings.join("\n");
        assert!(finding.contains(said), "{finding}");
        assert_eq!(rig.disk.names().contains(&named(SEALED)), fails);
        assert_eq!(rig.recovered.end, TOTAL);
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

#[test]
fn segment_whose_first_batch_was_rejected_is_never_written_again() {
    // Seeds 1430450, 2220853 and 64474 of the simulator. The first batch is rejected after a part of it was
    // written, the second has another base and reaches over several sectors, and the power cut keeps what it
    // likes of both writes. The boot stays the same, so that stamps can be compared.
    const LATER: i64 = START + 1_000_000;
    let settings = settings(SyncPolicy::Never, 1000, RETAIN_NS);
    let mut compared = 0;
    for seed in 0..200 {
        let (disk, clock) = (SimDisk::default(), clock_at(START));
        let mut rig = Rig::open(&disk, &clock, settings);
        disk.faults(|faults| faults.room(HEADER_BYTES + 2 * RECORD_BYTES + seed as usize % 9));
        assert_eq!(rig.hit_at(&[START; 4]).verdict, Verdict::Refused, "{seed}");
        disk.faults(|faults| {
            faults.heal();
            if seed % 2 == 0 {
                faults.short(seed);
            }
        });
        let stamps: Vec<_> = (0..200).map(|nth| LATER + 10 * nth).collect();
        assert_eq!(rig.hit_at(&stamps).verdict, Verdict::Counted, "{seed}");
        Disk::sync(&disk).expect("names can be synced");

        let mut again = Rig::open(&disk.crash(&mut Chance::new(seed)), &rig.clock, settings);

        let all = again.status().total;
        let mut at = |from, to| match between(&mut again, from, to) {
            Answer::Count(count) => Some(count),
            // Of a segment without a header no record can be placed.
            Answer::NotKept { .. } => None,
            other => panic!("seed {seed}: a count, not {other:?}"),
        };
        let (Some(rejected), Some(counted)) =
            (at(-1, 0), at(LATER - START - 1, LATER - START + 2000))
        else {
            continue;
        };
        compared += u64::from(all > 0);
        assert!(rejected <= 4, "seed {seed}: {rejected} of 4 hits came back");
        assert!(counted <= 200, "seed {seed}: {counted} of 200 hits");
        assert_eq!(
            rejected + counted,
            all,
            "seed {seed}: hits at no hit's time"
        );
    }
    assert!(compared > 50, "only {compared} states hold hits");
}

#[test]
fn file_that_was_set_aside_is_reported_once_whatever_a_power_cut_takes_back() {
    // Seed 1105157 of the simulator: two bytes are all that a full disk took of a header.
    let written = written();
    let written = Written {
        disk: written.disk.unmount(),
        ..written
    };
    written.disk.put(&named(4), b"ta".to_vec());
    let first = written.open();
    let reported = first.recovered.findings.join("\n");
    assert!(reported.contains("set aside as"), "{reported}");
    let disk = first.kill();
    for seed in 0..40 {
        let written = Written {
            disk: disk.crash(&mut Chance::new(seed)),
            clock: written.clock.clone(),
        };
        let mut next = written.open();
        assert_eq!(next.recovered.findings, [""; 0], "seed {seed}");
        let path = format!("sim/{}", name::aside(&named(4)));
        assert_eq!(next.status().quarantined, [path], "seed {seed}");
    }
}

//! What a restart makes of damaged, torn, missing and foreign files: the table of verdicts in
//! `journal/recover.rs`, row by row, bit by bit.
//!
//! Owns the damage: every case takes a journal that the engine itself has written, harms it, opens
//! it again and looks at the count and at what is reported.
//!
//! Must not know how recovery goes about it. Invariant tested: the count is exact and the damage
//! reported with file and position, or the start is refused with the file's name; never silence.

#[path = "recovery/damage.rs"]
mod damage;
#[path = "recovery/foreign.rs"]
mod foreign;
#[path = "recovery/recycled.rs"]
mod recycled;
#[path = "recovery/refused.rs"]
mod refused;
mod support;

use support::disk::SimDisk;
use support::fault::{EIO, EROFS, Op};
use support::rig::{Rig, WINDOW_NS, clock_at, settings};
use support::seed::Chance;
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

/// Hits in (from, to], `from` and `to` in ns after the first hit, estimated or not.
fn between(rig: &mut Rig, from: i64, to: i64) -> Answer {
    rig.ask(Ask::Between {
        from: Stamp::from_ns(START + from),
        to: Stamp::from_ns(START + to),
    })
    .split()
    .0
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
    assert!(rig.hit_now(2).verdict.is_counted(), "{case}");
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
    // A full disk leaves such a file, but so does whoever cuts off records: that is not known.
    for length in 0..HEADER_BYTES {
        let cut = Written::harmed(NEWEST, |bytes| bytes.truncate(length));
        let finding: &[&str] = if length == 0 {
            &[]
        } else {
            &["sim/0000000000000003.seg"]
        };
        let mut rig = cut.open();
        assert_eq!(rig.status().estimated, length > 0, "cut at {length}");
        assert_counts(rig, 12, finding, &format!("cut at {length}"));
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

//! Damaged, torn, foreign and empty directories: what each tool says of them.
//!
//! Owns the damage, bit by bit where it is cheap. Must not know how recovery goes about it. Invariant
//! tested: a fault is named with file, position and cause; what a kill leaves is none; the count keeps
//! the place of what is lost; and the server, started on the same bytes, says the same.

use crate::support::client::hit;
use crate::support::server::Server;
use crate::written::{Written, write, written};
use crate::{run, run_on};
use std::fs;
use tallyd::clock::{Clock, SystemClock, boot_id};
use tallyd::journal::record::{Key, encode};
use tallyd::notation::instant;
use tallyd::stamp::{Anchor, BootId, SECOND_NS, Stamp};

const HEADER_BYTES: usize = 64;

/// What `verify` says of a damaged journal but for its last line, which must say how many faults.
fn faults(written: &Written, count: usize) -> Vec<String> {
    let ran = run_on(written.path(), &["verify"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), ""), "{ran:?}");
    let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    let last = lines.pop().expect("a last line");
    let noun = if count == 1 { "fault" } else { "faults" };
    assert!(
        last.ends_with(&format!(" records, {count} {noun}: damaged")),
        "{last}"
    );
    lines
}

fn count(written: &Written) -> u64 {
    let ran = run_on(written.path(), &["count", "--window", "1h"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out.trim_end().parse().expect("a number")
}

#[test]
fn flipped_bits_of_a_sealed_record_are_named_by_verify() {
    let written = written(3, 4);
    for bit in (HEADER_BYTES * 8..(HEADER_BYTES + 4 * 8) * 8).step_by(3) {
        written.harm(1, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let record = bit / 64 - 8;
        let byte = HEADER_BYTES + 8 * record;
        let expected = format!(
            "{}: record {record} at byte {byte}: check failed",
            written.segment(1).display()
        );
        assert_eq!(faults(&written, 1), [expected], "bit {bit}");
        assert_eq!(count(&written), 12);
        written.harm(1, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    run_on(written.path(), &["verify"]).printed();
}

#[test]
fn flipped_bits_of_a_header_are_named_by_verify() {
    for number in 0..3 {
        let written = written(3, 4);
        // Every bit is flipped on the simulated disk, in tests/recovery.rs.
        for bit in (0..HEADER_BYTES * 8).step_by(11) {
            written.harm(number, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let ran = run_on(written.path(), &["verify"]);
            assert_eq!(ran.code, Some(1), "bit {bit} of {number}: {ran:?}");
            let file = written.segment(number).display().to_string();
            let first = ran.out.lines().next().expect("a line").to_owned();
            assert!(first.starts_with(&format!("{file}: ")), "{first}");
            assert!(
                ["not a segment of tallyd", "header check failed"]
                    .iter()
                    .any(|it| first.ends_with(&format!("{it}; corrected by its checksum"))),
                "{first}"
            );
            written.harm(number, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        run_on(written.path(), &["verify"]).printed();
    }
}

#[test]
fn the_places_of_what_is_lost_still_count_and_the_server_agrees() {
    type Harm = fn(&Written);
    let harms: [(&str, u64, Harm); 5] = [
        ("a record", 12, |it| it.harm(1, |bytes| bytes[70] ^= 1)),
        ("a sealed header", 12, |it| {
            it.harm(1, |bytes| bytes[16..64].fill(0xa5))
        }),
        ("the newest header", 12, |it| {
            it.harm(2, |bytes| bytes[16..64].fill(0xa5))
        }),
        ("a sealed tail", 12, |it| {
            it.harm(1, |bytes| bytes.truncate(75))
        }),
        ("a sealed segment", 12, |it| {
            fs::remove_file(it.segment(1)).expect("a file")
        }),
    ];
    for (what, expected, harm) in harms {
        let written = written(3, 4);
        harm(&written);
        let found = run_on(written.path(), &["verify"]);
        assert_eq!(found.code, Some(1), "{what}: {found:?}");
        assert_eq!(count(&written), expected, "{what}");
        let dumped = run_on(written.path(), &["dump"]);
        assert_eq!(
            (dumped.code, dumped.out.lines().count()),
            (Some(0), 12),
            "{what}: {dumped:?}"
        );
        assert!(
            dumped.out.lines().is_sorted() && dumped.err.contains(".seg: "),
            "{what}: {dumped:?}"
        );
        let server = Server::start(written.path(), &[]);
        assert_eq!(hit(server.address), expected + 1, "{what}");
        server.stop();
        // What the server has set aside is reported as long as it lies there.
        let after = run_on(written.path(), &["verify"]);
        assert_eq!(
            after
                .out
                .contains(".seg.aside: set aside by an earlier start\n"),
            what.ends_with("header"),
            "{what}: {after:?}"
        );
    }
}

#[test]
fn a_damaged_record_is_dumped_with_its_earlier_neighbours_instant() {
    let written = written(3, 4);
    written.harm(0, |bytes| bytes[HEADER_BYTES + 8 * 2 + 3] ^= 0x10);
    written.harm(1, |bytes| bytes[HEADER_BYTES + 8 + 3] ^= 0x10);
    let ran = run_on(written.path(), &["dump"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    let neighbour = instant(written.walls_ns[1]);
    assert_eq!(
        lines[1..4],
        [&neighbour, &neighbour, &instant(written.walls_ns[3])]
    );
    let said: Vec<&str> = ran.err.lines().collect();
    assert_eq!(said.len(), 2, "one line for each segment: {}", ran.err);
    for (line, (segment, place)) in said
        .iter()
        .zip([(0, "record 2 at byte 80"), (1, "record 1 at byte 72")])
    {
        let file = written.segment(segment).display().to_string();
        let finding = format!(" warn: {file}: {place}: check failed; it keeps its place");
        assert!(line.ends_with(&finding), "{line}");
    }
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_torn_tail_is_noted_and_is_no_fault() {
    for (torn, records) in [
        (1, 12),
        (7, 12),
        (8, 12),
        (4096, 12),
        (-1, 11),
        (-8, 11),
        (-31, 8),
    ] {
        let written = written(3, 4);
        written.harm(2, |bytes| {
            bytes.resize(bytes.len().saturating_add_signed(torn), 0)
        });
        let said = run_on(written.path(), &["verify"]).printed();
        let shown = written.shown();
        let summary = format!("{shown}: 3 segments, {records} records, 0 faults: sound");
        let left = torn.rem_euclid(if torn < 0 { 8 } else { isize::MAX });
        let note = match left {
            0 => String::new(),
            1 => format!(
                "{shown}: note: 1 byte behind the newest record, as a running server and a kill leave them\n"
            ),
            more => format!(
                "{shown}: note: {more} bytes behind the newest record, as a running server and a kill leave them\n"
            ),
        };
        assert_eq!(said, format!("{note}{summary}\n"), "{torn}");
        assert_eq!(count(&written), records);
    }
}

#[test]
fn a_report_is_bounded_and_says_how_many_more() {
    let written = written(2, 2000);
    written.harm(0, |bytes| bytes[HEADER_BYTES..].fill(0xff));
    let lines = faults(&written, 2000);
    assert_eq!(lines.len(), 101);
    assert_eq!(
        lines[100],
        format!("{}: and 1900 more faults", written.shown())
    );
    assert_eq!(count(&written), 4000);
}

#[test]
fn a_span_that_ends_at_a_damaged_record_is_counted_with_a_warning() {
    let written = written(1, 9);
    written.harm(0, |bytes| bytes[HEADER_BYTES + 8 * 4 + 3] ^= 0x10);
    let warning = format!(
        " warn: {}: estimated: a damaged record lies next to an end of the span\n",
        written.segment(0).display()
    );
    for (from, to, count, is_estimated) in [(0, 2, "2\n", false), (0, 4, "4\n", true)] {
        let [from, to] = [from, to].map(|index| instant(written.walls_ns[index]));
        let ran = run_on(written.path(), &["count", "--from", &from, "--to", &to]);
        assert_eq!((ran.code, &*ran.out), (Some(0), count), "{ran:?}");
        assert_eq!(
            ran.err.matches(&warning).count() == 1,
            is_estimated,
            "{ran:?}"
        );
    }
}

#[test]
fn warnings_of_a_damaged_directory_are_bounded_and_say_how_many_more() {
    let written = written(15, 4);
    for segment in 1..13 {
        written.harm(segment, |bytes| bytes[16..64].fill(0xa5));
    }
    for tool in ["count", "dump", "plot"] {
        let ran = run_on(written.path(), &[tool]);
        let findings = ran.err.lines().filter(|line| !line.contains("estimated"));
        let findings: Vec<&str> = findings.collect();
        assert_eq!(
            (ran.code, findings.len()),
            (Some(0), 11),
            "{tool}: {}",
            ran.err
        );
        let of = written.shown();
        let more = format!(" warn: {of}: 3 more findings; tallyd verify lists them");
        assert!(findings[10].ends_with(&more), "{tool}: {}", ran.err);
    }
}

#[test]
fn records_that_go_back_in_time_are_named() {
    let written = written(2, 4);
    written.harm(0, |bytes| {
        bytes.copy_within(HEADER_BYTES..HEADER_BYTES + 8, HEADER_BYTES + 16)
    });
    let expected = format!(
        "{}: record 2 at byte 80: goes back in time",
        written.segment(0).display()
    );
    assert_eq!(faults(&written, 1), [expected]);
}

#[test]
fn a_segment_of_another_journal_is_an_error_that_names_it() {
    let written = written(3, 4);
    let start = Anchor {
        at: Stamp::from_ns(1_000),
        wall_ns: written.walls_ns[0],
    };
    let other = write(3, 9, 10, start, BootId([9; 16]));
    fs::copy(other.segment(2), written.segment(1)).expect("a copy");
    // Its header bears its own number, and its records the key of it.
    let ran = run_on(written.path(), &["verify"]);
    let file = written.segment(1).display().to_string();
    assert!(
        ran.code == Some(1) && ran.out.starts_with(&format!("{file}: header is that of ")),
        "{ran:?}"
    );
    fs::copy(other.segment(1), written.segment(1)).expect("a copy");
    for tool in ["verify", "count", "dump", "plot"] {
        let said = run_on(written.path(), &[tool]).complaint(1);
        assert!(said.contains("one of the two is from elsewhere"), "{said}");
    }
}

#[test]
fn a_segment_of_a_future_version_is_an_error_that_names_it() {
    let written = written(2, 4);
    written.harm(1, |bytes| {
        bytes[7] = 2;
        let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[..60]);
        bytes[60..64].copy_from_slice(&check.to_be_bytes());
    });
    for tool in ["verify", "count", "dump", "plot"] {
        let said = run_on(written.path(), &[tool]).complaint(1);
        let file = written.segment(1).display().to_string();
        assert_eq!(
            said,
            format!("tallyd: {file}: format version 2 is not known, at most 1 is\n")
        );
    }
}

#[test]
fn directories_that_no_server_ever_had_are_refused_by_every_tool() {
    let empty = tempfile::tempdir().expect("a directory");
    let foreign = tempfile::tempdir().expect("a directory");
    for name in ["a.txt", "7.seg", "000000000000000A.seg", "lock.old"] {
        fs::write(foreign.path().join(name), "nothing of ours").expect("a file");
    }
    for tool in ["verify", "count", "dump", "plot"] {
        for directory in [&empty, &foreign] {
            let said = run_on(directory.path(), &[tool]).complaint(1);
            let shown = directory.path().display();
            assert_eq!(
                said,
                format!("tallyd: {shown}: not a tallyd data directory: no segment is in it\n")
            );
        }
        let file = foreign.path().join("a.txt").display().to_string();
        let said = run(&[tool, &file]).complaint(1);
        assert_eq!(
            said,
            format!("tallyd: cannot read data directory {file}: not a directory\n")
        );
        let said = run(&[tool, "/nowhere/at/all"]).complaint(1);
        assert_eq!(
            said,
            "tallyd: cannot read data directory /nowhere/at/all: no such file or directory\n"
        );
    }
    // Beside segments, foreign files are nobody's business.
    let written = written(1, 4);
    fs::write(written.path().join("a.txt"), "nothing of ours").expect("a file");
    assert_eq!(count(&written), 4);
}

#[test]
fn stray_bytes_behind_a_sealed_segment_stay_a_fault() {
    let written = written(3, 4);
    written.harm(1, |bytes| {
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
    });
    let expected = format!(
        "{}: record 6 at byte 112: bytes behind the last record that no crash leaves there; they are not counted",
        written.segment(1).display()
    );
    assert_eq!(faults(&written, 1), [expected]);
}

#[test]
fn what_a_crash_or_a_rejected_batch_leaves_behind_a_sealed_segment_is_no_fault() {
    for slots in [
        vec![0; 24],
        encode(7, Key::of(1)).to_vec(),
        encode(u64::from(u32::MAX), Key::of(1)).to_vec(),
        [encode(9, Key::of(0)), encode(9, Key::of(0))].concat(),
    ] {
        let written = written(3, 4);
        written.harm(1, |bytes| bytes.extend_from_slice(&slots));
        let said = run_on(written.path(), &["verify"]).printed();
        assert!(said.ends_with("12 records, 0 faults: sound\n"), "{said}");
    }
}

#[test]
fn every_span_that_reaches_back_to_a_damaged_record_is_called_estimated() {
    let written = written(2, 4);
    written.harm(1, |bytes| bytes[HEADER_BYTES + 8 * 3 + 7] ^= 1);
    for arguments in [
        &["count", "--window", "1h"][..],
        &["count", "--from", "2026-11-02T00:00:00Z"],
        &["plot", "--window", "1h"],
    ] {
        let ran = run_on(written.path(), arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.err.contains("estimated"), "{arguments:?}: {ran:?}");
        let is_interval = arguments.contains(&"--from");
        let reaches_back = ": estimated: the span reaches back to hits that are damaged or lost";
        assert_eq!(ran.err.contains(reaches_back), is_interval, "{ran:?}");
    }
}

#[test]
fn hits_whose_age_is_not_known_count_in_every_window() {
    // A restored snapshot: boot time and wall clock are behind the newest hit.
    let now = SystemClock.anchor();
    let at = now.at.after(1000 * SECOND_NS);
    let wall_ns = now.wall_at(now.at.after(50 * SECOND_NS));
    let written = write(
        1,
        5,
        1000,
        Anchor { at, wall_ns },
        boot_id().expect("a boot"),
    );
    for arguments in [["count", "--window", "60s"], ["plot", "--window", "60s"]] {
        let ran = run_on(written.path(), &arguments);
        assert!(ran.err.contains("estimated"), "{ran:?}");
        assert!(ran.out.starts_with('5'), "{ran:?}");
    }
}

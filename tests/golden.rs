//! The journal's bytes against those that another program wrote: `scripts/golden`, in another language,
//! from nothing but the page on format version 1.
//!
//! Owns both directions: what lies in `tests/golden` is read and every hit is where `stamps.txt` says,
//! and the same hits, appended in the same turns, leave the same bytes. Run on a machine of another byte
//! order and word size (`scripts/powerpc`) it is the proof that files move between machines; and while
//! version 1 is read at all, these files must be.
//!
//! Must not know the byte table. Invariant: the fixtures are read, never written, by a test.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use support::disk::SimDisk;
use tallyd::journal::{Journal, Limits, Reader, SyncPolicy, name};
use tallyd::stamp::{Anchor, BootId, Stamp};

/// Segments are full with five records.
const LIMITS: Limits = Limits {
    segment_bytes_max: 64 + 8 * 5,
    seal_bytes_min: u64::MAX,
    seal_age_ns: u64::MAX,
};

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name]
        .iter()
        .collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).expect("text")
}

/// Every segment of the fixture, by its name.
fn segments() -> BTreeMap<String, Vec<u8>> {
    let mut names: Vec<String> = text("stamps.txt")
        .lines()
        .map(|line| line.split(' ').nth(1).expect("a segment").parse())
        .map(|number| name::segment(number.expect("a number")))
        .collect();
    names.dedup();
    let read = names.into_iter().map(|name| (name.clone(), fixture(&name)));
    read.collect()
}

/// A line of `turns.txt`: what it is, and its fields.
struct Line {
    kind: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn all() -> Vec<Self> {
        let text = text("turns.txt");
        let line = |line: &str| {
            let (kind, fields) = line.split_once(' ').expect("a kind and fields");
            let field = |word: &str| {
                let (name, value) = word.split_once('=').expect("a field");
                (name.to_owned(), value.to_owned())
            };
            Self {
                kind: kind.to_owned(),
                fields: fields.split(' ').map(field).collect(),
            }
        };
        text.lines().map(line).collect()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> T {
        let value = &self.fields[name];
        value
            .parse()
            .unwrap_or_else(|_| panic!("{value} is no number"))
    }

    fn anchor(&self) -> Anchor {
        Anchor {
            at: Stamp::from_ns(self.number("at")),
            wall_ns: self.number("wall"),
        }
    }

    fn boot(&self) -> BootId {
        let hex = &self.fields["boot"];
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
        BootId(std::array::from_fn(byte))
    }

    fn hits(&self) -> Vec<Stamp> {
        let hits = self.fields["hits"].split(',');
        hits.map(|ns| Stamp::from_ns(ns.parse().expect("ns")))
            .collect()
    }

    fn open(&self, disk: &SimDisk) -> Journal<SimDisk> {
        let policy = SyncPolicy::Never;
        let opened = Journal::open(disk.clone(), LIMITS, self.boot(), self.anchor(), policy);
        let (journal, recovered) = opened.expect("a sound journal");
        assert_eq!(recovered.findings, [""; 0]);
        assert_eq!((recovered.trimmed_bytes, recovered.damaged_count), (0, 0));
        journal
    }
}

#[test]
fn every_hit_that_another_program_wrote_is_where_it_says() {
    let disk = SimDisk::default();
    let segments = segments();
    assert!(segments.len() >= 10, "{:?}", segments.keys());
    for (name, content) in &segments {
        disk.put(name, content.clone());
    }
    let lines = Line::all();
    let read = lines.last().expect("a line");
    assert_eq!(read.kind, "read");
    let journal = read.open(&disk);
    let mut expected = Vec::new();
    for line in text("stamps.txt").lines() {
        let fields: Vec<i64> = line
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        assert_eq!(
            fields[0],
            expected.len() as i64,
            "positions follow each other"
        );
        expected.push(Stamp::from_ns(fields[2]));
    }
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    while journal.first() + (found.len() as u64) < journal.end() {
        let position = journal.first() + found.len() as u64;
        journal
            .read_ahead(&mut reader, position)
            .expect("a readable journal");
        found.extend_from_slice(reader.ahead(position));
    }
    assert_eq!((journal.first(), reader.damaged_count()), (0, 0));
    assert_eq!(found, expected);
    // And a search for each of them ends behind the last that is equal.
    for stamp in &expected {
        let behind = expected.partition_point(|other| other <= stamp) as u64;
        assert_eq!(
            journal
                .upper_bound(*stamp)
                .expect("a readable journal")
                .position,
            behind
        );
    }
}

#[test]
fn same_hits_leave_the_same_bytes_that_another_program_wrote() {
    let disk = SimDisk::default();
    let mut journal: Option<Journal<SimDisk>> = None;
    for line in Line::all() {
        match &*line.kind {
            "life" => {
                if let Some(mut ended) = journal.take() {
                    ended.close();
                }
                // A number below the one to begin with is taken, by a file without a hit.
                if let Some(taken) = line.number::<u64>("number").checked_sub(1) {
                    disk.put(&name::aside(&name::segment(taken)), Vec::new());
                }
                journal = Some(line.open(&disk));
            }
            "turn" => {
                let journal = journal.as_mut().expect("a life before a turn");
                let (anchor, hits) = (line.anchor(), line.hits());
                let newest = *hits.last().expect("a hit");
                journal
                    .begin(hits.len(), newest, anchor)
                    .expect("a segment");
                journal.append_all(hits.iter().copied());
                journal.flush().expect("room");
                journal.rotate_if_due(anchor.at).expect("a segment");
            }
            _ => {}
        }
    }
    journal.expect("a life").close();
    let mut written: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for name in disk.names() {
        let content = disk.content(&name).expect("a file");
        if name::number_of(&name).is_some() && !content.is_empty() {
            written.insert(name, content);
        }
    }
    let golden = segments();
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        golden.keys().collect::<Vec<_>>()
    );
    for (name, content) in &written {
        assert_eq!(content, &golden[name], "{name}");
    }
}

//! What becomes of a journal whose directory is moved away, removed or replaced while it is open; in
//! `directory/`, whose files are, and which directories and files are refused.
//!
//! Owns the hands of a person who does so, on real directories: the journal is driven by itself, with
//! instants that are given to it.
//!
//! Must not know how the journal notices. Invariant tested: hits are refused and nothing is touched
//! until the directory is back, and the count then goes on as if nothing had been.

#[path = "directory/refused.rs"]
mod refused;
#[path = "directory/running.rs"]
mod running;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tallyd::error::Result;
use tallyd::journal::disk::RealDisk;
use tallyd::journal::record::{HEADER_BYTES, RECORD_BYTES};
use tallyd::journal::{Journal, LOOK_NS, Limits, SyncPolicy};
use tallyd::stamp::{Anchor, BootId, Stamp};
use tempfile::TempDir;

/// Segments of four hits.
const LIMITS: Limits = Limits {
    segment_bytes_max: (HEADER_BYTES + 4 * RECORD_BYTES) as u64,
    seal_bytes_min: (HEADER_BYTES + 4 * RECORD_BYTES) as u64,
    seal_age_ns: 0,
};
/// How long a test waits for a lock.
const PATIENCE: Duration = Duration::from_secs(30);
/// Further apart than looks at the directory.
const STEP_NS: u64 = LOOK_NS + 1;

/// A journal and the instant of its last hit.
struct Written {
    journal: Journal<RealDisk>,
    at: Stamp,
}

/// Opens `directory`, whose journal's last hit was at `at`.
fn open(directory: &Path, at: Stamp) -> Written {
    let disk = locked(directory);
    let (journal, recovered) = Journal::open(
        disk,
        LIMITS,
        BootId([7; 16]),
        anchor(at),
        SyncPolicy::Always,
    )
    .expect("a sound journal");
    assert_eq!(recovered.findings, [""; 0]);
    Written { journal, at }
}

/// Locks `directory`. A process that another test is starting has a copy of every descriptor until it runs its
/// program, and with it holds a lock that was given up here: that is waited for.
fn locked(directory: &Path) -> RealDisk {
    let until = Instant::now() + PATIENCE;
    loop {
        match RealDisk::open(directory) {
            Ok(disk) => return disk,
            Err(error) => {
                let is_held = error.to_string().contains("is in use by process");
                assert!(is_held && Instant::now() < until, "{error}");
            }
        }
        std::thread::yield_now();
    }
}

fn anchor(at: Stamp) -> Anchor {
    let wall_ns = at.ns();
    Anchor { at, wall_ns }
}

impl Written {
    /// One more hit; refused as the funnel refuses one that cannot be written.
    fn hit(&mut self) -> Result<()> {
        let at = self.at.after(STEP_NS);
        let written = self.journal.begin(1, at, anchor(at)).and_then(|()| {
            self.journal.append_all([at].into_iter());
            self.journal.flush()
        });
        match written {
            Ok(()) => self.at = at,
            Err(_) => self.journal.cut(),
        }
        let _next_turn = self.journal.rotate_if_due(at);
        written
    }

    fn hits(&mut self, count: u64) {
        for _ in 0..count {
            self.hit().expect("a directory in its place");
        }
    }

    fn sync(&mut self) -> Result<()> {
        let job = self.journal.sync_job().expect("hits to sync");
        let covers = job.covers();
        job.run().map(|()| self.journal.synced(covers))
    }

    fn refuses(&mut self) {
        let end = self.journal.end();
        for _ in 0..3 {
            let error = self.hit().expect_err("nobody would find this hit again");
            let error = error.to_string();
            assert!(error.contains("moved, removed or replaced"), "{error}");
        }
        assert_eq!(self.journal.end(), end);
    }
}

fn start() -> Stamp {
    Stamp::from_ns(1_000_000_000)
}

/// A directory for the journal and one that it is moved to.
fn places() -> (TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let (data, away) = (root.path().join("data"), root.path().join("away"));
    (root, data, away)
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

#[test]
fn moved_directory_refuses_until_it_is_back() {
    let (_root, data, away) = places();
    for written_before in [0, 1, 3, 4, 5] {
        let mut written = open(&data, start());
        written.hits(written_before);
        fs::rename(&data, &away).expect("a move");
        written.refuses();
        fs::rename(&away, &data).expect("a move");
        written.hits(2);
        assert_eq!(written.journal.end(), written_before + 2);
        let at = written.at;
        drop(written);
        assert_eq!(open(&data, at).journal.end(), written_before + 2);
        fs::remove_dir_all(&data).expect("a removal");
    }
}

#[test]
fn sync_of_a_moved_directory_fails() {
    let (_root, data, away) = places();
    let mut written = open(&data, start());
    written.hits(2);
    written.sync().expect("a directory in its place");
    written.hits(1);
    fs::rename(&data, &away).expect("a move");
    let error = written.sync().expect_err("nobody would find those hits");
    assert!(error.to_string().starts_with("cannot sync "), "{error}");
}

#[test]
fn journal_in_its_place_is_neither_read_nor_touched() {
    let (_root, data, away) = places();
    // Older hits in segments of the same numbers, which pass the same checks.
    let mut other = open(&away, Stamp::from_ns(1));
    other.hits(11);
    drop(other);
    let before = contents(&away);
    let mut written = open(&data, start());
    written.hits(10);
    written.sync().expect("a directory in its place");
    let mine = data.with_extension("mine");
    fs::rename(&data, &mine).expect("a move");
    fs::rename(&away, &data).expect("a move");
    written.refuses();
    let sought = start().after(3 * STEP_NS);
    assert!(written.journal.upper_bound(sought).is_err());
    // Both sealed segments are given up, and the oldest would be removed.
    written.journal.retire(written.at);
    assert_eq!(contents(&data), before);
    fs::rename(&data, &away).expect("a move");
    fs::rename(&mine, &data).expect("a move");
    written.hits(5);
    assert_eq!(written.journal.end(), 15);
    let at = written.at;
    drop(written);
    assert_eq!(open(&data, at).journal.end(), 15);
    assert_eq!(contents(&away), before);
}

#[test]
fn removed_directory_is_not_taken_up_again_by_its_name() {
    let (_root, data, _) = places();
    let mut written = open(&data, start());
    written.hits(2);
    fs::remove_dir_all(&data).expect("a removal");
    written.refuses();
    let mut next = open(&data, start());
    next.hits(1);
    let before = contents(&data);
    written.refuses();
    assert_eq!(contents(&data), before);
}

#[test]
fn snapshot_of_hard_links_stays_as_it_is_when_files_are_handed_on() {
    let (_root, data, snapshot) = places();
    let mut written = open(&data, start());
    written.hits(5);
    written.sync().expect("a directory in its place");
    // As `cp -al` does, but for the lock.
    fs::create_dir(&snapshot).expect("a directory");
    for name in contents(&data).keys().filter(|name| *name != "lock") {
        fs::hard_link(data.join(name), snapshot.join(name)).expect("a link");
    }
    let oldest = snapshot.join("0000000000000000.seg");
    let before = fs::read(&oldest).expect("a file");
    // Each segment is given up by itself and is then the one to be handed on.
    for _ in 0..24 {
        written.hits(1);
        written.sync().expect("a directory in its place");
        written.journal.retire(written.at);
    }
    assert!(
        !data.join("0000000000000000.seg").exists(),
        "it was given up"
    );
    assert_eq!(fs::read(&oldest).expect("a file"), before);
    assert_eq!(written.journal.end(), 29);
}

//! Journals as the engine writes them, in as many segments as a test wants, and what is in them.
//!
//! Owns a directory and the list of its hits: sequence numbers, instants on the calendar, stamps.
//!
//! Must not know of the tools. Invariant: the list was written through the journal, with nothing else.

use std::path::Path;
use tallyd::clock::{Clock, SystemClock, boot_id};
use tallyd::journal::disk::RealDisk;
use tallyd::journal::{Journal, Limits, SyncPolicy};
use tallyd::stamp::{Anchor, BootId, SECOND_NS, Stamp};
use tempfile::TempDir;

/// A directory with a journal.
pub struct Written {
    pub directory: TempDir,
    /// The instant of each hit, in ns since 1970.
    pub walls_ns: Vec<i64>,
    /// The stamp of each hit, in ns after its boot.
    pub stamps_ns: Vec<i64>,
}

/// `segments` segments of `records` records each, the last of which came in the present second.
pub fn written(segments: u64, records: u64) -> Written {
    let now = SystemClock.anchor();
    let step_ns = SECOND_NS / (segments * records + 1);
    let at = now.at.before(SECOND_NS);
    let start = Anchor {
        at,
        wall_ns: now.wall_at(at),
    };
    write(
        segments,
        records,
        step_ns,
        start,
        boot_id().expect("a boot"),
    )
}

/// The same from `start` on, `step_ns` apart, in a boot.
pub fn write(segments: u64, records: u64, step_ns: u64, start: Anchor, boot: BootId) -> Written {
    let directory = tempfile::tempdir().expect("a directory");
    let mut written = Written {
        directory,
        walls_ns: Vec::new(),
        stamps_ns: Vec::new(),
    };
    written.append(segments, records, step_ns, start, boot);
    written
}

impl Written {
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The file of a segment.
    pub fn segment(&self, number: u64) -> std::path::PathBuf {
        self.path().join(format!("{number:016x}.seg"))
    }

    /// How people call it.
    pub fn shown(&self) -> String {
        self.path().display().to_string()
    }

    /// Another life, which writes more segments.
    pub fn append(
        &mut self,
        segments: u64,
        records: u64,
        step_ns: u64,
        start: Anchor,
        boot: BootId,
    ) {
        let limits = Limits {
            segment_bytes_max: 64 + 8 * records,
            seal_bytes_min: u64::MAX,
            seal_age_ns: u64::MAX,
        };
        let disk = RealDisk::open(self.path()).expect("a directory");
        let opened = Journal::open(disk, limits, boot, start, SyncPolicy::Never);
        let (mut journal, recovered) = opened.expect("a journal");
        assert_eq!(recovered.findings, [""; 0]);
        for segment in 0..segments {
            let stamp = |record: u64| start.at.after((segment * records + record) * step_ns);
            let stamps: Vec<Stamp> = (0..records).map(stamp).collect();
            for turn in stamps.chunks(1000) {
                let anchor = Anchor {
                    at: turn[0],
                    wall_ns: start.wall_at(turn[0]),
                };
                let newest = *turn.last().expect("a stamp");
                journal.begin(turn.len(), newest, anchor).expect("a turn");
                journal.append_all(turn.iter().copied());
                journal.flush().expect("a write");
                journal.rotate_if_due(newest).expect("a rotation");
                self.walls_ns
                    .extend(turn.iter().map(|&at| start.wall_at(at)));
                self.stamps_ns.extend(turn.iter().map(|at| at.ns()));
            }
        }
        journal.close();
    }

    /// Changes the bytes of a segment.
    pub fn harm(&self, number: u64, harm: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.segment(number)).expect("a segment");
        harm(&mut bytes);
        std::fs::write(self.segment(number), bytes).expect("a segment");
    }
}

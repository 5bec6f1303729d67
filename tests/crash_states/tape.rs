//! A disk in memory that writes down every operation done to it, in order.
//!
//! Owns the tape: one event for each create, rename, remove, write, cut and sync. What a cut of the
//! power could have left at any of them is worked out from the tape later, in `device.rs`; what a
//! killed process leaves is what the disk holds.
//!
//! Must not know what the bytes mean, nor what survives. Invariant: the events, applied in order to
//! the files that the disk began with, give what the disk holds.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tallyd::journal::disk::{Disk, DiskFile};

/// Every file that has a name: what it holds, shared among the many states that have it in common.
pub type Files = Vec<(String, Arc<Content>)>;

/// What a file holds, and a hash of it, by which states are told apart.
#[derive(Debug)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub hash: u64,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        Arc::new(Self { bytes, hash })
    }
}

/// A change of the directory.
#[derive(Clone, Debug)]
pub enum NameChange {
    Set(String, usize),
    Move(String, String),
    Gone(String),
}

/// A change of one file.
#[derive(Clone, Debug)]
pub enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// One operation, done.
#[derive(Clone, Debug)]
pub enum Event {
    Named(NameChange),
    NamesSynced,
    Changed(usize, Change),
    Synced(usize),
    /// A sync that failed: what it was to cover may or may not be on the device, for good.
    SyncFailed(usize),
}

impl NameChange {
    pub fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Move(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Gone(name) => {
                names.remove(name);
            }
        }
    }
}

impl Change {
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

#[derive(Debug, Default)]
struct Tape {
    names: BTreeMap<String, usize>,
    contents: Vec<Vec<u8>>,
    events: Vec<Event>,
    /// Files that were changed since their last sync.
    dirty: BTreeSet<usize>,
    sync_fails: bool,
}

/// A handle to the disk; its clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct TapeDisk {
    tape: Arc<Mutex<Tape>>,
}

/// An open file of a [`TapeDisk`].
#[derive(Debug)]
pub struct TapeFile {
    tape: Arc<Mutex<Tape>>,
    inode: usize,
}

impl TapeDisk {
    /// A disk that holds `files` and has nothing on its tape.
    pub fn holding(files: &Files) -> Self {
        let mut tape = Tape::default();
        for (inode, (name, content)) in files.iter().enumerate() {
            tape.names.insert(name.clone(), inode);
            tape.contents.push(content.bytes.clone());
        }
        let tape = Arc::new(Mutex::new(tape));
        Self { tape }
    }

    fn lock(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().expect("no test panics with the disk")
    }

    /// How many events are on the tape.
    pub fn event_count(&self) -> usize {
        self.lock().events.len()
    }

    /// Everything on the tape.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// The next sync of a file that was changed since its last one fails.
    pub fn fail_sync(&self) {
        self.lock().sync_fails = true;
    }
}

impl Tape {
    fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.events.push(Event::Named(change));
    }
}

impl Disk for TapeDisk {
    type File = TapeFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let tape = self.lock();
        let length = |inode: &usize| tape.contents[*inode].len() as u64;
        let names = tape.names.iter();
        Ok(names.map(|(name, at)| (name.clone(), length(at))).collect())
    }

    fn create(&self, name: &str) -> io::Result<TapeFile> {
        let mut tape = self.lock();
        if tape.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = tape.contents.len();
        tape.contents.push(Vec::new());
        tape.name(NameChange::Set(name.to_owned(), inode));
        let tape = Arc::clone(&self.tape);
        Ok(TapeFile { tape, inode })
    }

    fn open(&self, name: &str) -> io::Result<TapeFile> {
        let inode = self.lock().find(name)?;
        let tape = Arc::clone(&self.tape);
        Ok(TapeFile { tape, inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tape = self.lock();
        tape.find(from)?;
        tape.name(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut tape = self.lock();
        tape.find(name)?;
        tape.name(NameChange::Gone(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.lock().events.push(Event::NamesSynced);
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        format!("tape/{name}")
    }
}

impl TapeFile {
    fn lock(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().expect("no test panics with the disk")
    }

    fn change(&self, change: Change) {
        let mut tape = self.lock();
        change.apply(&mut tape.contents[self.inode]);
        tape.dirty.insert(self.inode);
        tape.events.push(Event::Changed(self.inode, change));
    }
}

impl DiskFile for TapeFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let tape = self.lock();
        let content = &tape.contents[self.inode];
        let from = (offset as usize).min(content.len());
        let length = bytes.len().min(content.len() - from);
        bytes[..length].copy_from_slice(&content[from..from + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.change(Change::Write(offset as usize, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(bytes as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut tape = self.lock();
        let is_dirty = tape.dirty.remove(&self.inode);
        if is_dirty && std::mem::take(&mut tape.sync_fails) {
            tape.events.push(Event::SyncFailed(self.inode));
            return Err(io::Error::from_raw_os_error(5));
        }
        tape.events.push(Event::Synced(self.inode));
        Ok(())
    }
}

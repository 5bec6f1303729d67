//! A simulated disk: one directory in memory, with everything that a real one may do to a journal.
//!
//! Owns what is written and, apart from it, what is on the device. Each file keeps the changes since
//! its last sync, the directory keeps its own; [`SimDisk::crash`] lets chance decide, for each sector
//! of 512 bytes, each length and the names, how far down its list of changes the device had come.
//! [`SimDisk::kill`] keeps everything written. A file sync that fails settles its changes by chance
//! and forgets them, as kernels do: a later sync that succeeds says nothing about them.
//!
//! Must not know what the bytes mean. Invariant: what a successful sync covered survives every crash.

use super::fault::{Faults, Op};
use super::seed::Chance;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyd::journal::disk::{Disk, DiskFile, FileId};

/// What a device writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Changes of one file that wait at the most; the kernel writes older ones back by itself.
const CHANGES_MAX: usize = 128;

/// A handle to the disk; its clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    name_changes: Vec<NameChange>,
    faults: Faults,
}

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Move(String, String),
    Gone(String),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
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

impl NameChange {
    fn apply(&self, names: &mut Names) {
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

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.changes.push(change);
        if self.changes.len() > CHANGES_MAX {
            self.changes.remove(0).apply(&mut self.durable);
        }
    }

    /// What the device holds if power fails now.
    fn torn(&self, chance: &mut Chance) -> Vec<u8> {
        let steps = self.changes.len() as u64;
        let mood = chance.upto(3);
        let mut reached = || match mood {
            0 => 0,
            1 => steps,
            2 => chance.pick(&[0, steps]),
            _ => chance.upto(steps),
        };
        let length_at = reached();
        let most = self.durable.len().max(self.content.len());
        let longest = self.changes.iter().fold(most, |most, change| match change {
            Change::Write(offset, bytes) => most.max(offset + bytes.len()),
            Change::Length(length) => most.max(*length),
        });
        let sectors = (0..longest.div_ceil(SECTOR_BYTES))
            .map(|_| reached())
            .collect::<Vec<_>>();
        let mut torn = vec![0; longest];
        let mut length = self.durable.len();
        let mut content = self.durable.clone();
        for step in 0..=steps {
            if step > 0 {
                self.changes[step as usize - 1].apply(&mut content);
            }
            if step == length_at {
                length = content.len();
            }
            for (sector, _) in sectors.iter().enumerate().filter(|(_, at)| **at == step) {
                let from = (sector * SECTOR_BYTES).min(content.len());
                let to = (from + SECTOR_BYTES).min(content.len());
                torn[from..to].copy_from_slice(&content[from..to]);
            }
        }
        torn.resize(length, 0);
        torn
    }
}

/// A process that dies at a call leaves the disk as it is at that instant.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The faults to come, for a test to arrange.
    pub fn faults<T>(&self, arrange: impl FnOnce(&mut Faults) -> T) -> T {
        arrange(&mut self.lock().faults)
    }

    /// As after `kill -9`: everything written stays, and the dead process touches it no more.
    pub fn kill(&self) -> Self {
        let mut state = self.lock().clone();
        state.faults = Faults::default();
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// As after an orderly end of the system: everything written is on the device, but for what a
    /// failed sync has given up.
    pub fn unmount(&self) -> Self {
        let mut after = self.lock().clone();
        after.faults = Faults::default();
        for inode in &mut after.inodes {
            for change in inode.changes.drain(..) {
                change.apply(&mut inode.durable);
            }
            inode.content.clone_from(&inode.durable);
        }
        after.durable_names.clone_from(&after.names);
        after.name_changes.clear();
        Self {
            state: Arc::new(Mutex::new(after)),
        }
    }

    /// As after a power cut: what was synced stays, of the rest chance decides. Names come back as
    /// they were after some number of the changes since the directory's last sync, in their order,
    /// which is what journaling file systems promise.
    pub fn crash(&self, chance: &mut Chance) -> Self {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        let steps = state.name_changes.len() as u64;
        let reached = match chance.upto(2) {
            0 => 0,
            1 => steps,
            _ => chance.upto(steps),
        };
        for change in &state.name_changes[..reached as usize] {
            change.apply(&mut names);
        }
        let mut after = State::default();
        for (name, inode) in names {
            let content = state.inodes[inode].torn(chance);
            after.names.insert(name, after.inodes.len());
            after.inodes.push(Inode {
                durable: content.clone(),
                content,
                changes: Vec::new(),
            });
        }
        after.durable_names = after.names.clone();
        Self {
            state: Arc::new(Mutex::new(after)),
        }
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// The content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let inode = *state.names.get(name)?;
        Some(state.inodes[inode].content.clone())
    }

    /// Puts a file there, on the device, whatever was there before.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            durable: content.clone(),
            content,
            changes: Vec::new(),
        });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// Flips bits of a byte, in what is written and on the device.
    pub fn flip(&self, name: &str, byte: usize, bits: u8) {
        let mut state = self.lock();
        if let Some(inode) = state.names.get(name).copied() {
            let Inode {
                content, durable, ..
            } = &mut state.inodes[inode];
            for bytes in [content, durable] {
                if let Some(byte) = bytes.get_mut(byte) {
                    *byte ^= bits;
                }
            }
        }
    }

    /// Takes a file away, on the device.
    pub fn take(&self, name: &str) -> Option<Vec<u8>> {
        let content = self.content(name);
        let mut state = self.lock();
        state.names.remove(name);
        state.durable_names.remove(name);
        content
    }

    /// How many handles there are: this one, its clones and the open files.
    pub fn handle_count(&self) -> usize {
        Arc::strong_count(&self.state)
    }

    fn file(&self, inode: usize) -> SimFile {
        SimFile {
            state: Arc::clone(&self.state),
            inode,
        }
    }
}

impl State {
    fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.lock();
        state.faults.meet(Op::List)?;
        let inodes = &state.inodes;
        let length = |inode: &usize| inodes[*inode].content.len() as u64;
        let names = state.names.iter();
        Ok(names
            .map(|(name, inode)| (name.clone(), length(inode)))
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock();
        state.faults.meet(Op::Create)?;
        if state.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(NameChange::Set(name.to_owned(), inode));
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock();
        state.faults.meet(Op::Open)?;
        Ok(self.file(state.find(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.faults.meet(Op::Rename)?;
        state.find(from)?;
        state.rename(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.faults.meet(Op::Remove)?;
        let freed = state.find(name)?;
        let freed_bytes = state.inodes[freed].content.len();
        state.faults.give_back(freed_bytes);
        state.rename(NameChange::Gone(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.faults.meet(Op::SyncNames)?;
        let State {
            durable_names,
            name_changes,
            ..
        } = &mut *state;
        for change in name_changes.drain(..) {
            change.apply(durable_names);
        }
        Ok(())
    }

    fn check(&self, name: &str, id: Option<FileId>, bytes: u64) -> io::Result<()> {
        let state = self.lock();
        let inode = state.find(name)?;
        let is_same = id.is_none_or(|id| id == FileId(0, inode as u64));
        if is_same && state.inodes[inode].content.len() as u64 >= bytes {
            return Ok(());
        }
        Err(io::Error::other("the file was replaced or truncated"))
    }

    fn path(&self, name: &str) -> String {
        format!("sim/{name}")
    }
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Inode, &mut Faults) -> T) -> T {
        let mut state = locked(&self.state);
        let State { inodes, faults, .. } = &mut *state;
        work(&mut inodes[self.inode], faults)
    }
}

impl DiskFile for SimFile {
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId(0, self.inode as u64))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|inode, faults| {
            faults.meet(Op::Read)?;
            let from = (offset as usize).min(inode.content.len());
            let inside = bytes.len().min(inode.content.len() - from);
            let length = faults.shorten(inside);
            bytes[..length].copy_from_slice(&inode.content[from..from + length]);
            Ok(length)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|inode, faults| {
            let offset = offset as usize;
            if faults.is_dying() {
                // A write that is cut short by the end has done some sectors of its work.
                let last = offset + faults.chance().upto(bytes.len() as u64) as usize;
                let done = (last - last % SECTOR_BYTES).saturating_sub(offset);
                let growth = (offset + done).saturating_sub(inode.content.len());
                if done > 0 && faults.grow(growth) == growth {
                    inode.change(Change::Write(offset, bytes[..done].to_vec()));
                }
            }
            faults.meet(Op::Write)?;
            let length = faults.shorten(bytes.len());
            let growth = (offset + length).saturating_sub(inode.content.len());
            let length = length - (growth - faults.grow(growth)).min(length);
            if length == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(super::fault::ENOSPC));
            }
            inode.change(Change::Write(offset, bytes[..length].to_vec()));
            Ok(length)
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|inode, faults| {
            faults.meet(Op::SetLen)?;
            faults.give_back(inode.content.len().saturating_sub(bytes as usize));
            inode.change(Change::Length(bytes as usize));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inode, faults| {
            if let Err(cause) = faults.meet(Op::SyncFile) {
                inode.durable = inode.torn(faults.chance());
                inode.changes.clear();
                return Err(cause);
            }
            let Inode {
                durable, changes, ..
            } = inode;
            for change in changes.drain(..) {
                change.apply(durable);
            }
            Ok(())
        })
    }
}

//! The few file operations the journal needs, and the real ones.
//!
//! Owns every touch of the file system: our own directory, locked, and somebody else's, only read.
//! The two traits are the seam for a simulated disk: each
//! method is one operation of the kernel, may do part of its work (`read_at` and `write_at` may be
//! short, anything may fail), and what is not followed by a `sync` may be lost.
//!
//! Must not know what the bytes mean. Invariants: nothing here retries, loops or hides an error; no
//! file of a directory that was put in the place of ours is opened, renamed or removed.

use super::name;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One directory of files.
pub trait Disk: Send + Sync + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// Names and lengths in bytes of the files.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Creates an empty file that must not exist yet.
    ///
    /// # Errors
    /// The operating system's.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; what had that name is gone.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file's name away.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Forces names to the device.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
    /// Whether the directory is where it was. Open files stay sound when it is not, but nobody would
    /// find again what is written to them.
    ///
    /// # Errors
    /// It was moved away, removed or replaced.
    fn is_in_place(&self) -> io::Result<()> {
        Ok(())
    }
    /// How people call the file `name`.
    fn path(&self, name: &str) -> String;
}

/// One open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at most `bytes.len()` bytes at `offset`; 0 is the end of the file.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most `bytes.len()` bytes at `offset`.
    ///
    /// # Errors
    /// The operating system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or stretches the file to `bytes`.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Forces contents and length to the device.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system, locked for this process.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    /// The lock lasts as long as this file is open: a killed process leaves none behind.
    _lock: File,
    /// Device and inode of the lock's file, by which the directory is known.
    identity: (u64, u64),
}

impl RealDisk {
    /// Opens `directory`, creating it if need be, and locks it.
    ///
    /// # Errors
    /// It cannot be created or written to, or another process holds it; the message names that one.
    pub fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        create_lasting(directory)
            .map_err(|cause| Error::io("create data directory", &shown, cause))?;
        let path = directory.join(name::LOCK);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|cause| Error::io("open", path.display().to_string(), cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unknown = lock.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(Error::found(
                    shown,
                    format!("data directory is in use by {holder}"),
                ));
            }
            Err(fs::TryLockError::Error(cause)) => return Err(Error::io("lock", shown, cause)),
        }
        // The process id is a courtesy to whom we turn away. On a full disk it cannot be written,
        // which must not keep a server from starting: the lock itself holds without it.
        let pid = format!("{}\n", std::process::id());
        let _courtesy = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(pid.as_bytes()));
        let identity = lock
            .metadata()
            .map(|lock| (lock.dev(), lock.ino()))
            .map_err(|cause| Error::io("look at", path.display().to_string(), cause))?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            identity,
        })
    }
}

/// Creates `directory` and what is missing above it, and forces the new names to the device: a
/// synced record is worth nothing in a directory that a power cut takes away.
fn create_lasting(directory: &Path) -> io::Result<()> {
    let gaining = gaining(directory);
    fs::create_dir_all(directory)?;
    gaining
        .iter()
        .try_for_each(|gaining| File::open(gaining)?.sync_all())
}

/// Where names are new when `directory` is created with what is missing above it.
fn gaining(directory: &Path) -> Vec<&Path> {
    directory
        .ancestors()
        .take_while(|above| !above.exists())
        .filter_map(named)
        .collect()
}

/// The directory that the name of `path` is in.
fn named(path: &Path) -> Option<&Path> {
    let above = path.parent()?;
    Some(if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    })
}

/// What an operation on a file has given; nothing, if its owner has taken the file away since.
fn unless_gone<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

/// Names and lengths of the files in `directory`.
fn list(directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A name that is not text is none of ours.
        if let Ok(name) = entry.file_name().into_string() {
            let length = unless_gone(entry.metadata())?.map(|metadata| metadata.len());
            files.extend(length.map(|length| (name, length)));
        }
    }
    Ok(files)
}

impl Disk for RealDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        list(&self.directory)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.is_in_place()?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.is_in_place()?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.is_in_place()?;
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.is_in_place()?;
        fs::remove_file(self.directory.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.is_in_place()?;
        File::open(&self.directory)?.sync_all()
    }

    fn is_in_place(&self) -> io::Result<()> {
        let moved = || io::Error::other("the data directory was moved, removed or replaced");
        match fs::metadata(self.directory.join(name::LOCK)) {
            Ok(lock) if (lock.dev(), lock.ino()) == self.identity => Ok(()),
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => Err(moved()),
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

/// A directory that belongs to somebody else, who may be writing to it: there is no lock, nothing is
/// created, and every change is refused.
#[derive(Debug)]
pub struct ReadDisk {
    directory: PathBuf,
}

impl ReadDisk {
    /// Looks into `directory`.
    ///
    /// # Errors
    /// It cannot be read, or a server never had it.
    pub fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        let files =
            list(directory).map_err(|cause| Error::io("read data directory", &shown, cause))?;
        let is_ours = |name: &str| name == name::LOCK || name::used_number_of(name).is_some();
        if !files.iter().any(|(name, _)| is_ours(name)) {
            return Err(Error::found(shown, "no journal of tallyd is in it"));
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }
}

impl Disk for ReadDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        list(&self.directory)
    }

    fn create(&self, _: &str) -> io::Result<File> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.directory.join(name))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

/// How the directory of a trial is called, before the process id.
const SCRATCH: &str = "tallyd-clock-";

/// A directory for a trial, on the device that a data directory is on or would be. It goes with all
/// that is in it when this is dropped; what a killed trial has left goes when the next one begins.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Creates one in `data`, or in the directory above it if there is no `data` yet.
    ///
    /// # Errors
    /// There is no directory to create one in, or it cannot be created.
    pub fn open(data: &Path) -> Result<Self> {
        let shown = data.display().to_string();
        let place = match unless_gone(fs::metadata(data)) {
            Ok(None) => named(data).unwrap_or(data),
            _ => data,
        };
        let names = list(place).map_err(|cause| Error::io("use data directory", shown, cause))?;
        for (name, _) in names.iter().filter(|(name, _)| name.starts_with(SCRATCH)) {
            let left = place.join(name);
            // Whoever lives holds the lock of a journal in it.
            let is_held = |journal: &str| {
                File::open(left.join(journal).join(name::LOCK))
                    .is_ok_and(|lock| lock.try_lock().is_err())
            };
            let journals = list(&left).unwrap_or_default();
            if !journals.iter().any(|(journal, _)| is_held(journal)) {
                let _next_time = fs::remove_dir_all(&left);
            }
        }
        let directory = place.join(format!("{SCRATCH}{}", std::process::id()));
        fs::create_dir(&directory)
            .map_err(|cause| Error::io("create", directory.display().to_string(), cause))?;
        Ok(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// The operating system's; something may be left.
    pub fn remove(self) -> Result<()> {
        let shown = self.directory.display().to_string();
        fs::remove_dir_all(&self.directory).map_err(|cause| Error::io("remove", shown, cause))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone_or_next_time = fs::remove_dir_all(&self.directory);
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests;

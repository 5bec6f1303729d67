//! The few file operations the journal needs, and the real ones.
//!
//! Owns every touch of the file system: our own directory, locked, and somebody else's, only read.
//! The two traits are the seam for a simulated disk: each
//! method is one operation of the kernel, may do part of its work (`read_at` and `write_at` may be
//! short, anything may fail), and what is not followed by a `sync` may be lost.
//!
//! Must not know what the bytes mean. Invariants: nothing here retries, loops or hides an error; no
//! file of a directory that was put in the place of ours is opened, renamed or removed; no file is
//! opened through a link (`files.rs`).

mod files;
mod scratch;

pub use scratch::Scratch;

use super::name;
use crate::error::{Error, Result};
use files::{FILE_MODE, kind_of, list, named};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of a data directory that is created here.
const DIRECTORY_MODE: u32 = 0o700;
/// Bytes of a lock file that are read for a message.
const HOLDER_BYTES_MAX: u64 = 32;

/// Which file it is, whatever its name: the device and the inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId(pub u64, pub u64);

impl FileId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

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
    /// The operating system's. [`cannot_sync_names`] tells a file system that cannot do it.
    fn sync(&self) -> io::Result<()>;
    /// Checks that `name` still leads to the file `id`, if one is given, and that this file has at
    /// least `bytes`: nobody has removed, replaced or truncated it.
    ///
    /// # Errors
    /// It does not, or the operating system's.
    fn check(&self, name: &str, id: Option<FileId>, bytes: u64) -> io::Result<()> {
        let _a_disk_that_nobody_else_changes = (name, id, bytes);
        Ok(())
    }
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
    /// Cuts the file to `bytes` if it is longer: a file that somebody else has truncated must not
    /// be filled up with zeros.
    ///
    /// # Errors
    /// The operating system's.
    fn shorten(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
    /// Forces contents and length to the device.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
    /// Which file it is, for [`Disk::check`].
    ///
    /// # Errors
    /// The operating system's.
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::default())
    }
    /// Whether the file has a second name, as in a snapshot made of hard links.
    ///
    /// # Errors
    /// The operating system's.
    fn is_linked_elsewhere(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Whether `cause` says that this file system cannot sync a directory at all.
#[must_use]
pub fn cannot_sync_names(cause: &io::Error) -> bool {
    let unsupported = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP];
    Errno::from_io_error(cause).is_some_and(|errno| unsupported.contains(&errno))
}

/// A directory of the operating system, locked for this process.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    /// The lock lasts as long as this file is open: a killed process leaves none behind.
    _lock: File,
    /// The lock's file, by which the directory is known.
    identity: FileId,
}

impl RealDisk {
    /// Opens `directory`, creating it if need be, and locks it.
    ///
    /// # Errors
    /// It cannot be created or written to, holds anything else than a journal, or another process
    /// holds it; the message names that one.
    pub fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        create_lasting(directory)
            .map_err(|cause| Error::io("create data directory", &shown, cause))?;
        // Nothing is written to a directory that is somebody else's.
        if let Some(foreign) = files::look_through(directory)?.foreign {
            let cause = format!(
                "holds {foreign:?}, which is not a file of tallyd; a data directory must hold nothing \
                 else (choose a new or empty directory, or move the file away)"
            );
            return Err(Error::found(shown, cause));
        }
        let lock = lock(directory, &shown)?;
        let identity = lock
            .metadata()
            .map(|lock| FileId::of(&lock))
            .map_err(|cause| Error::io("look at", shown.clone() + "/lock", cause))?;
        let disk = Self {
            directory: directory.to_owned(),
            _lock: lock,
            identity,
        };
        disk.is_in_place()
            .map_err(|cause| Error::io("lock", shown, cause))?;
        Ok(disk)
    }
}

/// Creates the lock file in `directory` if need be, locks it and puts the process id into it.
fn lock(directory: &Path, shown: &str) -> Result<File> {
    let path = directory.join(name::LOCK);
    let named = || path.display().to_string();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let mut lock = files::open(&path, options.mode(FILE_MODE))
        .map_err(|cause| Error::io("open", named(), cause))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = Vec::new();
            let _unknown = (&lock).take(HOLDER_BYTES_MAX).read_to_end(&mut holder);
            let holder = match String::from_utf8_lossy(&holder).trim() {
                "" => "another process".to_owned(),
                pid => format!("process {}", pid.escape_debug()),
            };
            return Err(Error::found(
                shown,
                format!("data directory is in use by {holder}"),
            ));
        }
        Err(fs::TryLockError::Error(cause)) => return Err(Error::io("lock", shown, cause)),
    }
    let metadata = lock
        .metadata()
        .map_err(|cause| Error::io("look at", named(), cause))?;
    // What has another name is somebody else's file, or will be.
    if metadata.nlink() > 1 {
        let cause = format!(
            "has {} hard links, 1 is allowed (remove it; tallyd creates a new one)",
            metadata.nlink()
        );
        return Err(Error::found(named(), cause));
    }
    // Who can open the file can hold the lock. That its mode can be changed is no condition.
    if metadata.mode() & 0o077 != 0 {
        let _its_owner_can = lock.set_permissions(Permissions::from_mode(FILE_MODE));
    }
    // The process id is a courtesy to whom we turn away. On a full disk it cannot be written,
    // which must not keep a server from starting: the lock itself holds without it.
    let pid = format!("{}\n", std::process::id());
    let _courtesy = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| lock.write_all(pid.as_bytes()));
    Ok(lock)
}

/// Creates `directory` and what is missing above it, and forces the new names to the device: a
/// synced record is worth nothing in a directory that a power cut takes away.
fn create_lasting(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = missing(directory).collect();
    let created = create_all(directory);
    if created.is_err() {
        // The innermost first. What was not created, or is not empty, stays as it is.
        for made in missing {
            let _not_ours = fs::remove_dir(made);
        }
    }
    created
}

fn create_all(directory: &Path) -> io::Result<()> {
    let gaining = gaining(directory);
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
        created => created?,
    }
    gaining.iter().try_for_each(|gaining| {
        match File::open(gaining)?.sync_all() {
            // The first sync of the data directory, on the same file system, says so.
            Err(cause) if cannot_sync_names(&cause) => Ok(()),
            synced => synced,
        }
    })
}

/// `directory` and what is missing above it, the innermost first.
fn missing(directory: &Path) -> impl Iterator<Item = &Path> {
    directory.ancestors().take_while(|above| !above.exists())
}

/// Where names are new when `directory` is created with what is missing above it.
fn gaining(directory: &Path) -> Vec<&Path> {
    missing(directory).filter_map(named).collect()
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
            .mode(FILE_MODE)
            .open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.is_in_place()?;
        let mut options = OpenOptions::new();
        files::open(&self.directory.join(name), options.read(true).write(true))
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

    fn check(&self, name: &str, id: Option<FileId>, bytes: u64) -> io::Result<()> {
        let cause = match fs::symlink_metadata(self.directory.join(name)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                "the file was removed under the server".to_owned()
            }
            Err(cause) => return Err(cause),
            Ok(found)
                if kind_of(&found).is_some() || id.is_some_and(|id| id != FileId::of(&found)) =>
            {
                "the file was replaced under the server".to_owned()
            }
            Ok(found) if found.len() < bytes => format!(
                "the file was truncated under the server: it has {} bytes, {bytes} were written",
                found.len()
            ),
            Ok(_) => return Ok(()),
        };
        Err(io::Error::other(
            cause + " (put it back, or restart to count on with what is there)",
        ))
    }

    fn is_in_place(&self) -> io::Result<()> {
        match fs::symlink_metadata(self.directory.join(name::LOCK)) {
            Ok(lock) if FileId::of(&lock) == self.identity => Ok(()),
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => Err(io::Error::other(
                "the data directory or its lock file was moved, removed or replaced",
            )),
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
        let contents = files::look_through(directory)?;
        // Many programs call a file `lock`.
        if !contents.has_segments && (!contents.has_lock || contents.foreign.is_some()) {
            let cause = "not a tallyd data directory: no segment is in it";
            return Err(Error::found(shown, cause));
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Which directory it is, by whatever path; nothing if it is gone.
    #[must_use]
    pub fn id(&self) -> Option<FileId> {
        fs::metadata(&self.directory).ok().as_ref().map(FileId::of)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
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
        let mut options = OpenOptions::new();
        files::open(&self.directory.join(name), options.read(true))
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

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        if self.metadata()?.len() > bytes {
            Self::set_len(self, bytes)?;
        }
        Ok(())
    }

    fn id(&self) -> io::Result<FileId> {
        self.metadata().map(|metadata| FileId::of(&metadata))
    }

    fn is_linked_elsewhere(&self) -> io::Result<bool> {
        self.metadata().map(|metadata| metadata.nlink() > 1)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests;

//! A directory for a trial, on the device that a data directory is on or would be.
//!
//! Owns its name and its removal. Must not know what the trial does. Invariant: nothing is removed that
//! this process has not created.

use super::super::name;
use super::files::{named, unless_gone};
use super::{DIRECTORY_MODE, FileId};
use crate::error::{Error, Result};
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory for a trial. It goes with all that is in it when this is dropped; what a killed trial
/// has left stays, since nobody can tell whose it is, and is named when the next one begins.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    id: FileId,
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
        let failed = |cause| Error::io("use data directory", &shown, cause);
        for entry in fs::read_dir(place).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name.to_string_lossy().starts_with(name::SCRATCH) {
                log::warn!(
                    "{}: {name:?} is of another run; remove it if that has ended",
                    place.display()
                );
            }
        }
        // No two runs have the same, whatever process ids come round.
        let random = RandomState::new().hash_one(std::process::id());
        let name = format!("{}{}-{random:016x}", name::SCRATCH, std::process::id());
        let directory = place.join(name);
        let failed = |cause| Error::io("create", directory.display().to_string(), cause);
        DirBuilder::new()
            .mode(DIRECTORY_MODE)
            .create(&directory)
            .map_err(failed)?;
        let created = fs::symlink_metadata(&directory).map_err(failed)?;
        let id = FileId::of(&created);
        Ok(Self { directory, id })
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
        self.clear()
            .map_err(|cause| Error::io("remove", shown, cause))
    }

    fn clear(&self) -> io::Result<()> {
        if FileId::of(&fs::symlink_metadata(&self.directory)?) != self.id {
            return Err(io::Error::other("it was replaced by another directory"));
        }
        fs::remove_dir_all(&self.directory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone_already = self.clear();
    }
}

//! The files of a data directory: which there are, and how one is opened.
//!
//! Owns what protects them and us from whoever else can write there: no link is followed, nothing
//! that is not a regular file is waited for, and a directory that holds anything else than a journal
//! is told apart before a file is created in it.
//!
//! Must not know what the bytes mean. Invariant: what is opened is a regular file under this very name.

use super::super::name::{self, Role};
use crate::error::{Error, Result};
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The mode of a file that is created here.
pub const FILE_MODE: u32 = 0o600;

/// Opens `path` as `options` say, if it is a regular file.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Opening a FIFO or a device may wait for somebody at its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let metadata = match &opened {
        Ok(file) => file.metadata()?,
        // The system's own words do not say what is wrong.
        Err(_) => match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(_) => return opened,
        },
    };
    match kind_of(&metadata) {
        Some(kind) => Err(io::Error::other(irregular(kind))),
        None => opened,
    }
}

/// What it is if it is no regular file.
pub fn kind_of(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    let irregular = [
        (kind.is_symlink(), "a symbolic link"),
        (kind.is_dir(), "a directory"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (!kind.is_file(), "a device"),
    ];
    irregular.iter().find(|it| it.0).map(|it| it.1)
}

fn irregular(kind: &str) -> String {
    format!("it is {kind}, a regular file is required")
}

/// What is in a directory.
#[derive(Debug, Default)]
pub struct Contents {
    /// Whether there is a lock file.
    pub has_lock: bool,
    /// Whether there is any segment, be it one that was set aside.
    pub has_segments: bool,
    /// The first name, in the order of names, that is none of a journal.
    pub foreign: Option<OsString>,
}

/// Looks through `directory` before it is used.
///
/// # Errors
/// It cannot be read, or something in it has the name of one of our files and is no regular file.
pub fn look_through(directory: &Path) -> Result<Contents> {
    let shown = directory.display().to_string();
    let failed = |cause| Error::io("read data directory", &shown, cause);
    let mut contents = Contents::default();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        // A name that is not text is none of ours.
        match name.to_str().map_or(Role::Foreign, name::role) {
            Role::Lock => contents.has_lock = true,
            Role::Segment => contents.has_segments = true,
            Role::Lives | Role::Ignored => continue,
            Role::Foreign => {
                let is_first = contents.foreign.as_ref().is_none_or(|first| name < *first);
                if is_first {
                    contents.foreign = Some(name);
                }
                continue;
            }
        }
        let metadata = unless_gone(entry.metadata()).map_err(failed)?;
        if let Some(kind) = metadata.as_ref().and_then(kind_of) {
            let cause = irregular(kind) + " (move it away)";
            return Err(Error::found(entry.path().display().to_string(), cause));
        }
    }
    Ok(contents)
}

/// Names and lengths of the files in `directory`.
pub fn list(directory: &Path) -> io::Result<Vec<(String, u64)>> {
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

/// What an operation on a file has given; nothing, if its owner has taken the file away since.
pub fn unless_gone<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

/// The directory that the name of `path` is in.
pub fn named(path: &Path) -> Option<&Path> {
    let above = path.parent()?;
    Some(if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    })
}

//! The file `lives`: read whole, replaced whole.
//!
//! Owns its bytes on disk. The directory is held open, so that nothing of a directory that is put in its place
//! is touched; no link is followed, and what is no regular file with one name is not read. A replacement is
//! written under another name, forced to the device and renamed.
//!
//! Must not know what the text says. Invariant: after a crash the file is the old one or the new one, whole.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;
use std::path::Path;

/// Its name.
const NAME: &str = "lives";
/// The name of its replacement while that is written.
const NEW: &str = "lives.new";
/// More than the longest list takes.
const BYTES_MAX: usize = 128 << 10;
/// Interrupted calls in a row that are taken up again before giving up.
const INTERRUPTIONS_MAX: u32 = 100;

/// The file in its directory, whether it is there or not.
#[derive(Debug)]
pub struct ListFile {
    directory: OwnedFd,
    shown: String,
}

impl ListFile {
    /// That of `directory`.
    pub fn at(directory: &Path) -> Result<Self, String> {
        let shown = directory.join(NAME).display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(directory, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, shown }),
            Err(cause) => Err(failed("open", &shown, cause)),
        }
    }

    /// Its path.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Its text and its birth time in ns since 1970, 0 if that is not known; nothing if there is no file.
    pub fn read(&self) -> Result<Option<(String, i64)>, String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, NAME, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err("a symbolic link".to_owned()),
            opened => opened.map_err(|cause| failed("open", "it", cause))?,
        };
        let found = rustix::fs::fstat(&file).map_err(|cause| failed("look at", "it", cause))?;
        let kind = FileType::from_raw_mode(found.st_mode as RawMode);
        if kind != FileType::RegularFile || found.st_nlink != 1 {
            return Err("not a regular file with one name".to_owned());
        }
        let mut bytes = vec![0; BYTES_MAX];
        let mut length = 0;
        loop {
            match rustix::io::read(&file, &mut bytes[length..]) {
                Err(Errno::INTR) => {}
                Err(cause) => return Err(failed("read", "it", cause)),
                Ok(0) if length == BYTES_MAX => {
                    return Err(format!("longer than {BYTES_MAX} bytes"));
                }
                Ok(0) => break,
                Ok(more) => length += more,
            }
        }
        bytes.truncate(length);
        let text = String::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        Ok(Some((text, birth_ns(&file))))
    }

    /// Replaces it by the text that is made for the birth time of the new file.
    pub fn replace(&self, text: impl FnOnce(i64) -> String) -> Result<(), String> {
        let directory = &self.directory;
        // What a killed process has left.
        let _not_there = rustix::fs::unlinkat(directory, NEW, AtFlags::empty());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let written = rustix::fs::openat(directory, NEW, flags, mode).and_then(|file| {
            write_all(&file, text(birth_ns(&file)).as_bytes())?;
            force(&file)?;
            rustix::fs::renameat(directory, NEW, directory, NAME)
        });
        if let Err(cause) = written {
            let _not_there = rustix::fs::unlinkat(directory, NEW, AtFlags::empty());
            return Err(failed("write", &self.shown, cause));
        }
        // Some file systems cannot force names; the file is whole under either.
        let _as_far_as_it_can = rustix::fs::fsync(directory);
        Ok(())
    }
}

/// Forces the bytes of a file to the device.
fn force(file: &OwnedFd) -> Result<(), Errno> {
    #[cfg(not(target_vendor = "apple"))]
    use rustix::fs::fdatasync as force;
    #[cfg(target_vendor = "apple")]
    use rustix::fs::fsync as force;
    for _ in 0..INTERRUPTIONS_MAX {
        match force(file) {
            Err(Errno::INTR) => {}
            forced => return forced,
        }
    }
    Err(Errno::INTR)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// When a file was created, which no copy of it shares.
#[cfg(target_os = "linux")]
fn birth_ns(file: &OwnedFd) -> i64 {
    use rustix::fs::{StatxFlags, statx};
    let Ok(found) = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME) else {
        return 0;
    };
    if found.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return 0;
    }
    let birth = found.stx_btime;
    birth
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(birth.tv_nsec.into())
}

/// When a file was created is not known here.
#[cfg(not(target_os = "linux"))]
fn birth_ns(_: &OwnedFd) -> i64 {
    0
}

fn failed(operation: &str, path: &str, cause: Errno) -> String {
    let cause = crate::error::io_text(&cause.into());
    format!("cannot {operation} {path}: {cause}")
}

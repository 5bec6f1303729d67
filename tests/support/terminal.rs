//! A terminal for a process under test, and the side of it that a person sees.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens one: what the process gets, and the other side.
pub fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("its owner");
    unlockpt(&ours).expect("its lock");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let path = Path::new(OsStr::from_bytes(name.as_bytes()));
    let theirs = OpenOptions::new().read(true).write(true).open(path);
    (theirs.expect("a terminal"), ours)
}

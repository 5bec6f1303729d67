//! What the kernel tells of this machine: the bytes that this process and the device have written, the
//! source of its clocks, and when it writes back by itself.
//!
//! Owns the reading of `/proc` and `/sys`, which are there on Linux; elsewhere, and where a file cannot be
//! read or is not understood, a figure is missing.
//!
//! Must not know what is written. Invariant: nothing here is guessed.

use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use rustix::fs::{Mode, OFlags, open, stat};
use std::path::Path;

/// Bytes of a file that are looked at.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// What the kernel counts a device's writes in.
const SECTOR_BYTES: u64 = 512;
/// How old what is written may become before it is written back, where the kernel does not say.
const WRITE_BACK_NS: u64 = 30 * SECOND_NS;

/// A block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// As the kernel calls it.
    pub name: String,
    /// Its numbers, as a line of `/proc/diskstats` begins with them.
    numbers: (u32, u32),
}

impl Device {
    /// The one that `directory` is on, if there is one and the kernel counts its writes.
    #[cfg(target_os = "linux")]
    pub fn of(directory: &Path) -> Option<Self> {
        let device = stat(directory).ok()?.st_dev;
        let numbers = (rustix::fs::major(device), rustix::fs::minor(device));
        let counted = |numbers| {
            let diskstats = text("/proc/diskstats")?;
            let name = fields_of(&diskstats, numbers)?.first()?.to_string();
            Some(Self { name, numbers })
        };
        counted(numbers).or_else(|| {
            // Some file systems have numbers of their own, and name the device they are on.
            let mounts = text("/proc/self/mountinfo")?;
            let device = stat(source_of(&mounts, numbers)?).ok()?.st_rdev;
            counted((rustix::fs::major(device), rustix::fs::minor(device)))
        })
    }

    /// The one that `directory` is on: nothing here tells.
    #[cfg(not(target_os = "linux"))]
    pub fn of(directory: &Path) -> Option<Self> {
        stat(directory).ok().and(None)
    }

    /// Bytes it has written, by whomever.
    pub fn written_bytes(&self) -> Option<u64> {
        let diskstats = text("/proc/diskstats")?;
        let sectors = fields_of(&diskstats, self.numbers)?.get(7)?.parse::<u64>();
        Some(sectors.ok()? * SECTOR_BYTES)
    }
}

/// Bytes that this process has caused to be written, in whole pages as the kernel counts.
pub fn process_written_bytes() -> Option<u64> {
    let io = text("/proc/self/io")?;
    let count = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    count?.parse().ok()
}

/// What all clocks are derived from.
pub fn clock_source() -> Option<String> {
    let source = text("/sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    Some(source.trim().to_owned())
}

/// How old what is written may become before the kernel writes it back by itself, in nanoseconds.
pub fn write_back_ns() -> u64 {
    let centiseconds = text("/proc/sys/vm/dirty_expire_centisecs");
    let centiseconds = centiseconds.and_then(|text| text.trim().parse::<u64>().ok());
    centiseconds.map_or(WRITE_BACK_NS, |count| count * 10 * MILLISECOND_NS)
}

/// The fields of a device's line, from its name on.
fn fields_of(diskstats: &str, (major, minor): (u32, u32)) -> Option<Vec<&str>> {
    diskstats.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let numbers = (fields.next()?.parse(), fields.next()?.parse());
        (numbers == (Ok(major), Ok(minor))).then(|| fields.collect())
    })
}

/// The device that a mount with these numbers says it is of.
fn source_of(mounts: &str, (major, minor): (u32, u32)) -> Option<&str> {
    let numbers = format!("{major}:{minor}");
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&*numbers))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
    source.starts_with("/dev/").then_some(source)
}

fn text(path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < TEXT_BYTES_MAX {
        match rustix::io::read(&file, &mut chunk[..]).ok()? {
            0 => break,
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_device_is_found_by_its_numbers() {
        let diskstats = "   8       0 sda 9 9 9 9 9 9 9 9 9\n\
                         \x20254       1 vda1 134 11 86 54 188 38 173 176 0 6 7\n";
        let fields = fields_of(diskstats, (254, 1)).expect("its line");
        assert_eq!((fields[0], fields[7]), ("vda1", "173"));
        assert_eq!(fields_of(diskstats, (254, 0)), None);
    }

    #[test]
    fn a_mount_tells_the_device_it_is_of() {
        let mounts = "27 1 0:31 / /data rw,relatime - btrfs /dev/sda2 rw\n\
                      25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n";
        assert_eq!(source_of(mounts, (0, 31)), Some("/dev/sda2"));
        assert_eq!(source_of(mounts, (0, 23)), None);
        assert_eq!(source_of(mounts, (0, 1)), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_cannot_be_read_is_missing() {
        assert_eq!(text("/proc/self/nothing"), None);
        assert_eq!(Device::of(Path::new("/nowhere/at/all")), None);
        assert_eq!(Device::of(Path::new("/proc")), None);
        assert!(clock_source().is_some_and(|source| !source.contains('\n')));
    }
}

//! What the operating system says of this process: memory and descriptors.
//!
//! Owns the reading of `/proc/self`, which is there on Linux; elsewhere, or when it cannot be read, a figure
//! is left out.
//!
//! Must not know who asks. Invariant: nothing here is guessed.

use rustix::fs::{Dir, Mode, OFlags, open};
use rustix::process::{Resource, getrlimit};

/// Bytes of a page of memory.
fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Bytes of memory: virtual and resident.
pub fn memory_bytes() -> Option<(u64, u64)> {
    let file = open(
        "/proc/self/statm",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut text = [0; 128];
    let length = rustix::io::read(&file, &mut text[..]).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    let mut pages = text.split(' ').map(str::parse::<u64>);
    let (all, resident) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some((all * page_bytes(), resident * page_bytes()))
}

/// Descriptors that are open, without the one this takes.
pub fn descriptor_count() -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open("/proc/self/fd", flags, Mode::empty()).ok()?;
    let entries = Dir::read_from(&folder).ok()?;
    let named = entries.filter_map(Result::ok);
    let numbered = named.filter(|entry| {
        entry.file_name().to_bytes() != b"." && entry.file_name().to_bytes() != b".."
    });
    // Reading the folder takes two: this one and that of the reader.
    Some((numbered.count() as u64).saturating_sub(2))
}

/// How many descriptors it may have; nothing where there is no limit.
pub fn descriptor_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_has_memory_and_descriptors() {
        let (all, resident) = memory_bytes().expect("memory");
        assert!(all >= resident && resident > 100_000, "{all} {resident}");
        assert!(descriptor_max().is_none_or(|most| most >= 40));
        let before = descriptor_count().expect("descriptors");
        let more: Vec<_> = (0..40)
            .map(|_| tempfile::tempfile().expect("a file"))
            .collect();
        let after = descriptor_count().expect("descriptors");
        // Other tests open and close files meanwhile, though not so many.
        assert!(after >= before + 20, "{before} {after}");
        drop(more);
    }
}

//! Segment number <-> file name: sixteen hexadecimal digits and `.seg`, so that names sort as
//! numbers do.
//!
//! Owns the names of all files in the data directory. Must not know what is in them. Invariant:
//! `number_of(&segment(n)) == Some(n)` up to [`NUMBER_MAX`], and no other name yields a number.

/// The file that holds the lock and the holder's process id.
pub const LOCK: &str = "lock";
/// The list of the lives of servers, and its replacement while that is written.
pub const LIVES: [&str; 2] = ["lives", "lives.new"];
/// How the directory of a trial (`tallyd clock`) is called, before the process id.
pub const SCRATCH: &str = "tallyd-clock-";
/// The largest number of a segment: at a thousand new segments a second, 8 900 years. A file with a
/// larger one is from elsewhere, and the number behind it must not be used.
pub const NUMBER_MAX: u64 = (1 << 48) - 1;

/// What a name in a data directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The lock file.
    Lock,
    /// A segment, also one that was set aside or whose number is impossible.
    Segment,
    /// The list of the lives of servers.
    Lives,
    /// Not of the journal, and expected in its directory.
    Ignored,
    /// Anything else: the directory is not one of tallyd alone.
    Foreign,
}

/// Names that file systems and people put into a directory that is otherwise empty.
const IGNORED: [&str; 7] = [
    "lost+found",
    ".DS_Store",
    ".Trash-0",
    ".gitignore",
    ".gitkeep",
    ".keep",
    ".snapshot",
];
/// The same, where something follows: the scratch directory, and open files that were removed on NFS
/// and FUSE.
const IGNORED_PREFIXES: [&str; 3] = [SCRATCH, ".nfs", ".fuse_hidden"];

/// What `name` stands for in a data directory: the one list of the names that may be in it.
#[must_use]
pub fn role(name: &str) -> Role {
    if name == LOCK {
        Role::Lock
    } else if LIVES.contains(&name) {
        Role::Lives
    } else if digits_of(name.strip_suffix(ASIDE).unwrap_or(name)).is_some() {
        Role::Segment
    } else if IGNORED.contains(&name) || IGNORED_PREFIXES.iter().any(|it| name.starts_with(it)) {
        Role::Ignored
    } else {
        Role::Foreign
    }
}

/// The file name of segment `number`.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{number:016x}.seg")
}

const ASIDE: &str = ".aside";

/// The name an unreadable segment is set aside under.
#[must_use]
pub fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

/// What stands in a segment's file name, possible or not.
fn digits_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment(number) == name).then_some(number)
}

/// The number in a segment's file name; nothing for any other file.
#[must_use]
pub fn number_of(name: &str) -> Option<u64> {
    digits_of(name).filter(|number| *number <= NUMBER_MAX)
}

/// The number of a segment, also of one set aside: no number is ever used again.
#[must_use]
pub fn used_number_of(name: &str) -> Option<u64> {
    number_of(name.strip_suffix(ASIDE).unwrap_or(name))
}

/// Whether it is the name of a segment whose number is impossible.
#[must_use]
pub fn is_impossible(name: &str) -> bool {
    digits_of(name).is_some_and(|number| number > NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_as_numbers() {
        for number in [0, 1, 255, NUMBER_MAX] {
            assert_eq!(number_of(&segment(number)), Some(number));
            assert_eq!(used_number_of(&aside(&segment(number))), Some(number));
            assert!(!is_impossible(&segment(number)));
        }
        for number in [NUMBER_MAX + 1, u64::MAX] {
            assert_eq!(number_of(&segment(number)), None);
            assert!(is_impossible(&segment(number)));
        }
        assert!(segment(9) < segment(10) && segment(255) < segment(256));
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            "lock",
            "7.seg",
            "+000000000000007.seg",
            "000000000000000A.seg",
            "x",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn every_name_of_a_data_directory_has_its_role_and_others_are_foreign() {
        for name in [segment(7), aside(&segment(7)), segment(u64::MAX)] {
            assert_eq!(role(&name), Role::Segment, "{name}");
        }
        assert_eq!(role(LOCK), Role::Lock);
        for name in ["lost+found", ".gitkeep", "tallyd-clock-7", ".nfs0000001"] {
            assert_eq!(role(name), Role::Ignored, "{name}");
        }
        for name in ["passwd", "lock.old", ".bashrc", "7.seg", "0.aside", ""] {
            assert_eq!(role(name), Role::Foreign, "{name}");
        }
    }
}

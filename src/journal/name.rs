//! Segment number <-> file name: sixteen hexadecimal digits and `.seg`, so that names sort as
//! numbers do.
//!
//! Owns the names of all files in the data directory. Must not know what is in them. Invariant:
//! `number_of(&segment(n)) == Some(n)`, and no other name yields a number.

/// The file that holds the lock and the holder's process id.
pub const LOCK: &str = "lock";

/// The file name of segment `number`.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{number:016x}.seg")
}

/// The name an unreadable segment is set aside under.
#[must_use]
pub fn aside(name: &str) -> String {
    format!("{name}.aside")
}

/// The number in a segment's file name; nothing for any other file.
#[must_use]
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment(number) == name).then_some(number)
}

/// The number of a segment, also of one set aside: no number is ever used again.
#[must_use]
pub fn used_number_of(name: &str) -> Option<u64> {
    number_of(name.strip_suffix(".aside").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_as_numbers() {
        for number in [0, 1, 255, u64::MAX] {
            assert_eq!(number_of(&segment(number)), Some(number));
            assert_eq!(used_number_of(&aside(&segment(number))), Some(number));
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
}

//! Durations and instants <-> text.
//!
//! Owns how time is written for people and read from them. A duration carries its unit (`60s`,
//! `250ms`) and is written back in the largest unit that says it exactly. An instant is RFC 3339 in
//! UTC with always nine digits behind the point, so that it sorts as text and loses nothing.
//!
//! Must not know what the time is of. Invariant: `parse_duration(&duration(ns)) == Ok(ns)`.

use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes of an instant from 1970 on.
const INSTANT_BYTES: usize = 30;
const DAY_NS: u64 = 86_400 * SECOND_NS;
const UNITS: [(&str, u64); 4] = [
    ("s", SECOND_NS),
    ("ms", MILLISECOND_NS),
    ("us", 1_000),
    ("ns", 1),
];

/// The nanoseconds of a duration with its unit, such as `60s`, `250ms` or `1h 30m`.
///
/// # Errors
/// The text is no duration, or one beyond 584 years; the cause is worded for an error message.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|cause| cause.to_string())?;
    u64::try_from(duration.as_nanos()).map_err(|_| "more than 584 years".to_owned())
}

/// `ns` nanoseconds in the largest unit up to seconds that says them exactly.
#[must_use]
pub fn duration(ns: u64) -> String {
    let fits = UNITS
        .iter()
        .find(|(_, unit_ns)| ns.is_multiple_of(*unit_ns));
    let (unit, unit_ns) = fits.copied().unwrap_or(("ns", 1));
    format!("{}{unit}", ns / unit_ns)
}

/// The instant `wall_ns` nanoseconds after 1970, in RFC 3339. Earlier ones, which only a clock that
/// was never set can show, are written as the nanoseconds they are.
#[must_use]
pub fn instant(wall_ns: i64) -> String {
    match u64::try_from(wall_ns) {
        Ok(ns) => {
            humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
        }
        Err(_) => format!("{wall_ns} ns"),
    }
}

/// The nanoseconds from 1970 to an instant in RFC 3339 and UTC, as [`instant`] writes it or with fewer
/// digits.
///
/// # Errors
/// The text is no such instant, or one beyond 2262; the cause is worded for an error message.
pub fn parse_instant(text: &str) -> Result<i64, String> {
    // Where words have 32 bits, humantime ends in 2038. So it is asked for the instant in a year of the
    // same length near 1970, and the days between the two years are added.
    let year = text.get(..4).and_then(|digits| digits.parse().ok());
    let (asked, days) = match year {
        Some(year @ 1970..) => {
            let is_leap = days_before(year + 1) - days_before(year) == 366;
            let near = if is_leap { 1972 } else { 1970 };
            let days = days_before(year) - days_before(near);
            (format!("{near}{}", &text[4..]), days)
        }
        _ => (text.to_owned(), 0),
    };
    let instant = humantime::parse_rfc3339(&asked).map_err(|cause| cause.to_string())?;
    let since = instant
        .duration_since(UNIX_EPOCH)
        .map_err(|_| "before 1970".to_owned())?;
    let since = since.as_nanos() + u128::from(days) * u128::from(DAY_NS);
    i64::try_from(since).map_err(|_| "after 2262".to_owned())
}

/// Days before a year, which is not 0, in the calendar that is used today.
const fn days_before(year: u32) -> u32 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

/// A number with its noun: `1 hit`, `2 hits`.
#[must_use]
pub fn many(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Writes instants one behind the other. Within a second only the digits behind the point change,
/// which makes it a tenth of the work.
#[derive(Debug, Default)]
pub struct Rfc3339Writer {
    text: Vec<u8>,
    /// The second the text is of, in nanoseconds after 1970.
    second_ns: i64,
}

impl Rfc3339Writer {
    /// The same as [`instant`].
    pub fn write(&mut self, wall_ns: i64) -> &[u8] {
        let second_ns = SECOND_NS.cast_signed();
        let mut digits = wall_ns.wrapping_sub(self.second_ns);
        if self.text.len() != INSTANT_BYTES || !(0..second_ns).contains(&digits) {
            self.text = instant(wall_ns).into_bytes();
            self.second_ns = wall_ns.saturating_sub(wall_ns.rem_euclid(second_ns));
            return &self.text;
        }
        // Two digits at a time halve the divisions.
        let fraction = &mut self.text[INSTANT_BYTES - 10..INSTANT_BYTES - 1];
        for pair in fraction.rchunks_mut(2) {
            let value = (digits % 100) as u8;
            digits /= 100;
            match pair {
                [tens, ones] => (*tens, *ones) = (b'0' + value / 10, b'0' + value % 10),
                [one] => *one = b'0' + value,
                _ => unreachable!("chunks of one or two"),
            }
        }
        &self.text
    }
}

/// The instant `wall_ns` nanoseconds after 1970 as HTTP writes it, to the second. A clock that shows
/// an earlier one was never set, and has nothing to say but 1970.
#[must_use]
pub fn http_date(wall_ns: i64) -> String {
    let ns = u64::try_from(wall_ns).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_nanos(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_back_as_typed() {
        for text in ["60s", "250ms", "1ns", "1500us", "0s"] {
            assert_eq!(parse_duration(text).map(duration).as_deref(), Ok(text));
        }
        assert_eq!(parse_duration("1m 30s"), Ok(90 * SECOND_NS));
    }

    #[test]
    fn a_duration_without_a_unit_or_beyond_reason_is_refused() {
        for text in ["", "60", "s", "-1s", "6000y", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_have_nine_digits_and_sort_as_text() {
        let instants = [0, 1, 999_999_999, 1_000_000_000, 1_795_464_539_739_840_268].map(instant);
        assert_eq!(instants[4], "2026-11-23T20:08:59.739840268Z");
        assert!(instants.is_sorted());
        assert_eq!(instant(-5), "-5 ns");
    }

    #[test]
    fn an_instant_is_read_back_to_the_nanosecond() {
        for wall_ns in [0, 1, 1_795_464_539_739_840_268, i64::MAX] {
            assert_eq!(parse_instant(&instant(wall_ns)), Ok(wall_ns));
        }
        assert_eq!(parse_instant("1970-01-01T00:00:01.5Z"), Ok(1_500_000_000));
        for year in 1970..2262 {
            // The first and the last day of each year, and the one that only leap years have.
            let new_year = format!("{year}-01-01T00:00:00.000000000Z");
            let first = parse_instant(&new_year).expect("an instant");
            assert_eq!(instant(first), new_year);
            let last = first + 365 * DAY_NS.cast_signed() - 1;
            let eve = instant(last);
            assert_eq!(parse_instant(&eve), Ok(last));
            let is_leap = eve.contains("-12-30T");
            assert_eq!(
                parse_instant(&format!("{year}-02-29T00:00:00Z")).is_ok(),
                is_leap
            );
        }
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T20:08:59+01:00",
            "+1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2263-01-01T00:00:00Z",
        ] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_writer_of_instants_writes_what_an_instant_is() {
        let mut writer = Rfc3339Writer::default();
        let second_ns = SECOND_NS.cast_signed();
        for wall_ns in [
            -1,
            0,
            1,
            9,
            123_456_789,
            second_ns - 1,
            second_ns,
            second_ns + 5,
            0,
            1_795_464_539_739_840_268,
            1_795_464_539_000_000_000,
            i64::MAX,
            -5,
            i64::MIN,
            7,
        ] {
            assert_eq!(writer.write(wall_ns), instant(wall_ns).as_bytes());
        }
    }
}

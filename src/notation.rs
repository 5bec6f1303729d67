//! Durations and instants <-> text, and text <-> what a terminal may be given.
//!
//! Owns how time is written for people and read from them. A duration carries its unit (`60s`,
//! `250ms`) and is written back in the largest unit that says it exactly. An instant is written in RFC 3339
//! in UTC with always nine digits behind the point, so that it sorts as text and loses nothing; it is read
//! in RFC 3339 with any offset, or as epoch seconds.
//!
//! Must not know what the time is of. Invariants: `parse_duration(&duration(ns)) == Ok(ns)` and
//! `parse_instant(&instant(ns)) == Ok(ns)`.

use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

/// Bytes of an instant.
const INSTANT_BYTES: usize = 30;
const DAY_S: i64 = 86_400;
/// Days from the first of March of the year 0 to 1970.
const EPOCH_DAYS: i64 = 719_468;
const UNITS: [(&str, u64); 4] = [
    ("s", SECOND_NS),
    ("ms", MILLISECOND_NS),
    ("us", 1_000),
    ("ns", 1),
];

/// What is wanted where an instant is read.
const EXPECTED: &str = "expected RFC 3339 such as 2026-11-27T00:00:00Z, or epoch seconds";

/// Whether a terminal may rather act on such a character than show it: control characters, also those
/// above 127, and what turns the direction of text. All of them are below 65536.
#[must_use]
pub fn is_acted_on(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` in one line that no terminal acts on: control characters, and those that turn the direction of
/// text, are written as escapes such as `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_acted_on) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_acted_on(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

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

/// The instant `wall_ns` nanoseconds after 1970, in RFC 3339.
#[must_use]
pub fn instant(wall_ns: i64) -> String {
    let second_ns = SECOND_NS.cast_signed();
    let (second, ns) = (wall_ns.div_euclid(second_ns), wall_ns.rem_euclid(second_ns));
    let (day, time) = (second.div_euclid(DAY_S), second.rem_euclid(DAY_S));
    // The calendar repeats after 400 years of 146097 days. A year that begins in March has the day that only
    // leap years have at its end, and its months follow a pattern of 153 days in five.
    let day = day + EPOCH_DAYS;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

/// The nanoseconds from 1970 to an instant: RFC 3339 with any offset, either case, a blank in place of the
/// `T` and up to nine digits of a second; or epoch seconds with up to nine digits behind a point, which may
/// be negative. A leap second is the second behind it, as in every Unix time.
///
/// # Errors
/// The text is no such instant, or one before 1677 or after 2262; the cause is worded for an error message.
pub fn parse_instant(text: &str) -> Result<i64, String> {
    let wrong = |cause: &str| format!("invalid time '{text}': {cause}");
    let is_epoch = text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && !text[1..].contains(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let read = if is_epoch { epoch } else { rfc3339 };
    let (seconds, fraction) = read(text).map_err(wrong)?;
    let ns = i128::from(seconds) * i128::from(SECOND_NS) + i128::from(fraction);
    i64::try_from(ns).map_err(|_| wrong("it must lie between the years 1677 and 2262"))
}

/// Whole seconds and nanoseconds beyond of epoch seconds.
fn epoch(text: &str) -> Result<(i64, i64), &'static str> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, digits)) => (whole, fraction_ns(digits)?),
        None => (text, 0),
    };
    if !whole.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    // So many seconds are beyond the years that are known, whatever else they are.
    let seconds = whole.parse().unwrap_or(i64::MAX);
    let is_negative = whole.starts_with('-');
    Ok((seconds, if is_negative { -fraction } else { fraction }))
}

/// The same of an instant in RFC 3339.
fn rfc3339(text: &str) -> Result<(i64, i64), &'static str> {
    let bytes = text.as_bytes();
    let fits =
        |&(place, marks): &(usize, &[u8])| bytes.get(place).is_some_and(|it| marks.contains(it));
    let marks: [(usize, &[u8]); 5] = [(4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
    if !text.is_ascii() || bytes.len() < 20 || !marks.iter().all(fits) {
        return Err(EXPECTED);
    }
    let number = |from: usize, to: usize| digits(&text[from..to]).ok_or(EXPECTED);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (time, zone) = match bytes[bytes.len() - 1] {
        b'Z' | b'z' => (&text[19..text.len() - 1], 0),
        _ => {
            let (rest, zone) = text[19..]
                .split_at_checked(text.len().saturating_sub(25))
                .ok_or(EXPECTED)?;
            (rest, offset_s(zone)?)
        }
    };
    let fraction = match time.strip_prefix('.') {
        Some(digits) => fraction_ns(digits)?,
        None if time.is_empty() => 0,
        None => return Err(EXPECTED),
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if !(1..=days).contains(&day) {
        return Err("there is no such day");
    }
    let time = hour * 3600 + minute * 60 + second - zone;
    let is_leap_second = second == 60 && time.rem_euclid(DAY_S) == 0;
    if hour > 23 || minute > 59 || (second > 59 && !is_leap_second) {
        return Err("there is no such time of day");
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - EPOCH_DAYS;
    Ok((days * DAY_S + time, fraction))
}

/// Seconds of an offset such as `+02:00`.
fn offset_s(zone: &str) -> Result<i64, &'static str> {
    let (hours, minutes) = zone[1..].split_once(':').ok_or(EXPECTED)?;
    let (hours, minutes) = (
        digits(hours).ok_or(EXPECTED)?,
        digits(minutes).ok_or(EXPECTED)?,
    );
    if zone.len() != 6 {
        return Err(EXPECTED);
    }
    if hours > 23 || minutes > 59 {
        return Err("an offset lies between -23:59 and +23:59");
    }
    match zone.as_bytes()[0] {
        b'+' => Ok(hours * 3600 + minutes * 60),
        b'-' => Ok(-hours * 3600 - minutes * 60),
        _ => Err(EXPECTED),
    }
}

/// Nanoseconds of the digits behind a point.
fn fraction_ns(text: &str) -> Result<i64, &'static str> {
    let number = digits(text).ok_or(EXPECTED)?;
    match 9_usize.checked_sub(text.len()) {
        Some(missing) => Ok(number * 10_i64.pow(missing as u32)),
        None => Err("a second has at most nine digits"),
    }
}

/// The number that digits and nothing else stand for.
fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The digits of a second may be too many for any number; that is told by their length.
    is_number.then(|| text.parse().unwrap_or(i64::MAX))
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
    /// The second the text is of, in nanoseconds after 1970, if there is one.
    second_ns: Option<i64>,
}

impl Rfc3339Writer {
    /// The same as [`instant`].
    pub fn write(&mut self, wall_ns: i64) -> &[u8] {
        let second_ns = SECOND_NS.cast_signed();
        let digits = self
            .second_ns
            .and_then(|second| wall_ns.checked_sub(second));
        let Some(mut digits) = digits.filter(|digits| (0..second_ns).contains(digits)) else {
            self.text = instant(wall_ns).into_bytes();
            // The very first second that can be written begins before all that can be counted.
            self.second_ns = wall_ns.checked_sub(wall_ns.rem_euclid(second_ns));
            return &self.text;
        };
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
        assert_eq!(instant(-5), "1969-12-31T23:59:59.999999995Z");
        assert_eq!(instant(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(instant(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn an_instant_is_read_back_to_the_nanosecond() {
        for wall_ns in [
            i64::MIN,
            -1,
            0,
            1,
            1_795_464_539_739_840_268,
            i64::MAX - 1,
            i64::MAX,
        ] {
            assert_eq!(parse_instant(&instant(wall_ns)), Ok(wall_ns));
        }
        let day_ns = DAY_S * SECOND_NS.cast_signed();
        for year in 1678..2262 {
            // The first and the last day of each year, and the one that only leap years have.
            let new_year = format!("{year}-01-01T00:00:00.000000000Z");
            let first = parse_instant(&new_year).expect("an instant");
            assert_eq!(instant(first), new_year);
            let last = first + 365 * day_ns - 1;
            let eve = instant(last);
            assert_eq!(parse_instant(&eve), Ok(last));
            let is_leap = eve.contains("-12-30T");
            assert_eq!(
                parse_instant(&format!("{year}-02-29T00:00:00Z")).is_ok(),
                is_leap
            );
            let march = parse_instant(&format!("{year}-03-01T00:00:00Z")).expect("an instant");
            assert_eq!(march - first, (59 + i64::from(is_leap)) * day_ns);
        }
    }

    #[test]
    fn any_offset_either_case_and_epoch_seconds_are_read() {
        const WALL_NS: i64 = 1_795_464_539_739_840_268;
        for text in [
            "2026-11-23T20:08:59.739840268Z",
            "2026-11-23t20:08:59.739840268z",
            "2026-11-23 20:08:59.739840268Z",
            "2026-11-23T20:08:59.739840268+00:00",
            "2026-11-23T20:08:59.739840268-00:00",
            "2026-11-23T22:08:59.739840268+02:00",
            "2026-11-24T01:53:59.739840268+05:45",
            "2026-11-23T10:38:59.739840268-09:30",
            "2026-11-24T20:07:59.739840268+23:59",
            "1795464539.739840268",
        ] {
            assert_eq!(parse_instant(text), Ok(WALL_NS), "{text}");
        }
        for (text, wall_ns) in [
            ("0", 0),
            ("-1", -1_000_000_000),
            ("-0.5", -500_000_000),
            ("1.5", 1_500_000_000),
            ("1970-01-01T00:00:01.5Z", 1_500_000_000),
            ("1970-01-01T01:00:00+02:00", -3_600_000_000_000),
            ("9223372036.854775807", i64::MAX),
            // Of the leap second Unix time knows no other instant than that of the second behind it.
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
            ("2016-12-31T15:59:60.25-08:00", 1_483_228_800_250_000_000),
        ] {
            assert_eq!(parse_instant(text), Ok(wall_ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused_with_what_is_wanted() {
        for text in [
            "",
            "now",
            "-",
            ".",
            "1.",
            ".5",
            "1.5.5",
            "--1",
            "1e9",
            "2026-11-23",
            "2026-11-23T20:08Z",
            "2026-11-23T20:08:59",
            "2026-11-23_20:08:59Z",
            "2026-11-23T20:08:59.Z",
            "2026-11-23T20:08:59,5Z",
            "2026-11-23T20:08:59+01",
            "2026-11-23T20:08:59+0100",
            "2026-11-23T20:08:59+1:00",
            "2026-11-23T20:08:59.5 01:00",
            "2026-11-23T20:08:59Z ",
            " 2026-11-23T20:08:59Z",
            "2026-11-23T20:08:59ZZ",
            "+1970-01-01T00:00:00Z",
            "2026-11-23T2\u{661}:08:59Z",
        ] {
            let expected = "expected RFC 3339 such as 2026-11-27T00:00:00Z, or epoch seconds";
            let said = format!("invalid time '{text}': {expected}");
            assert_eq!(parse_instant(text), Err(said));
        }
        for (text, cause) in [
            ("2026-13-01T00:00:00Z", "there is no such day"),
            ("2026-11-31T00:00:00Z", "there is no such day"),
            ("2026-11-23T24:00:00Z", "there is no such time of day"),
            ("2026-11-23T23:60:00Z", "there is no such time of day"),
            ("2026-11-23T20:08:60Z", "there is no such time of day"),
            ("2016-12-31T23:59:61Z", "there is no such time of day"),
            (
                "2026-11-23T20:08:59+24:00",
                "an offset lies between -23:59 and +23:59",
            ),
            (
                "2026-11-23T20:08:59-01:60",
                "an offset lies between -23:59 and +23:59",
            ),
            (
                "2026-11-23T20:08:59.1234567890Z",
                "a second has at most nine digits",
            ),
            (
                "1.0000000000000000000000",
                "a second has at most nine digits",
            ),
            (
                "1677-09-21T00:12:43Z",
                "it must lie between the years 1677 and 2262",
            ),
            (
                "9999-12-31T23:59:59Z",
                "it must lie between the years 1677 and 2262",
            ),
            (
                "0000-01-01T00:00:00Z",
                "it must lie between the years 1677 and 2262",
            ),
            (
                "9223372036.854775808",
                "it must lie between the years 1677 and 2262",
            ),
            // Milliseconds and nanoseconds are taken for seconds that are out of reach.
            (
                "1795464539739",
                "it must lie between the years 1677 and 2262",
            ),
            (
                "99999999999999999999999",
                "it must lie between the years 1677 and 2262",
            ),
            (
                "-99999999999999999999999",
                "it must lie between the years 1677 and 2262",
            ),
        ] {
            assert_eq!(
                parse_instant(text),
                Err(format!("invalid time '{text}': {cause}"))
            );
        }
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        for (text, expected) in [
            ("tallyd-data/\u{e9} 7.seg", "tallyd-data/\u{e9} 7.seg"),
            ("a\u{1b}[31mX\u{7}", r"a\u{1b}[31mX\u{7}"),
            ("two\nlines\r\t\u{7f}", r"two\nlines\r\t\u{7f}"),
            ("\u{9b}2J\u{202e}txt", r"\u{9b}2J\u{202e}txt"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(printable(&printable(text)), expected);
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
            i64::MIN + 1,
            i64::MAX,
            i64::MIN,
            7,
        ] {
            assert_eq!(writer.write(wall_ns), instant(wall_ns).as_bytes());
        }
    }
}

//! Points in time.

use serde_json::{Value, json};

use super::measure::Day;
use super::{Scalar, Wrong, wrong};

/// A point in time, in Unix seconds: a day, which begins at midnight in UTC, or a day with a time of day (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Moment(pub(in crate::policy) u64);

impl Scalar for Moment {
    const EXPECTED: &'static str = "a day such as 2027-12-31, or a time such as 2027-12-31T23:00:00Z";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (day, time) = text
            .split_once(['T', 't'])
            .map_or((text, None), |(day, time)| (day, Some(time)));
        let Day(day) = Day::parse(day)?;
        let seconds = match time {
            None => 0,
            Some(time) => match seconds_of(time) {
                Some(seconds) => seconds,
                None => return wrong("has no time of day that can be", "write it as in 2027-12-31T23:00:00Z"),
            },
        };
        match days_since_1970(&day).and_then(|days| u64::try_from(days * DAY + seconds).ok()) {
            Some(seconds) => Ok(Self(seconds)),
            None => wrong("is before 1970", "write a time to come"),
        }
    }

    fn grammar() -> Value {
        json!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([Zz]|[+-][0-9]{2}:[0-9]{2}))?$",
            "examples": ["2027-12-31", "2027-12-31T23:00:00Z"],
        })
    }
}

/// Seconds in a day.
const DAY: i64 = 86_400;

/// Seconds in UTC since midnight, of `23:00:00Z` or `23:00:00+01:00`; may reach into the day before or after.
fn seconds_of(time: &str) -> Option<i64> {
    let (clock, zone) = time.split_at_checked(8)?;
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [b'+', ..] => -minutes_of(&zone[1..])?,
        [b'-', ..] => minutes_of(&zone[1..])?,
        _ => return None,
    };
    let (minutes, seconds) = clock.split_at_checked(5)?;
    let seconds = two_digits(seconds.strip_prefix(':')?, 60)?;
    Some((minutes_of(minutes)? + offset) * 60 + seconds)
}

/// Minutes of `23:00`.
fn minutes_of(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    Some(two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?)
}

/// A number of two digits below `end`.
fn two_digits(text: &str, end: i64) -> Option<i64> {
    let is_sound = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_sound && *number < end)
}

/// Days since 1970-01-01 of a day that exists, in the Gregorian calendar; before it negative.
///
/// Years are counted from March, so that the odd day of a leap year is a year's last; 400 of them have 146 097 days.
fn days_since_1970(day: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| day.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    // Months from March have 31, 30, 31, 30, 31 days, again and again, which is what this adds up to.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(365 * year + leap_days + day_of_year - DAYS_BEFORE_1970)
}

/// From the first of March of the year 0 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_its_unix_seconds() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01Z", 1),
            ("2000-02-29", 951_782_400),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-20T19:45:07Z", 1_795_203_907),
            ("2026-11-20T20:45:07+01:00", 1_795_203_907),
            ("2026-11-20T14:15:07-05:30", 1_795_203_907),
            ("2100-03-01", 4_107_542_400),
        ] {
            assert_eq!(Moment::parse(text), Ok(Moment(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_in_no_calendar_or_on_no_clock_is_no_moment() {
        for text in [
            "",
            "T",
            "2027-02-29",
            "1969-12-31",
            "2027-01-01T",
            "2027-01-01T00:00:00",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:60:00Z",
            "2027-01-01T00:00:60Z",
            "2027-01-01T00:00:00.5Z",
            "2027-01-01T00:00:00+1:00",
            "2027-01-01T0:00:000Z",
            "2027-01-01 00:00:00Z",
            "2027-01-01Té0:00:00Z",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}

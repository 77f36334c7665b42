//! Numbers, sizes, lengths of time, shares and days.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::checked::Enforce;
use super::super::yaml::Kind;
use super::{Scalar, Wrong, is_plain_digits, wrong};

/// A whole number from `MIN` to `MAX`, in plain decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Whole<const MIN: u64, const MAX: u64>(pub(in crate::policy) u64);

impl<const MIN: u64, const MAX: u64> Scalar for Whole<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";

    fn kind(_text: &str) -> Kind {
        Kind::Number
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let range = || format!("write a whole number from {MIN} to {MAX} in plain digits");
        // `007` is seven to one reader and octal to another, `1_000` a text to most.
        if !is_plain_digits(text) {
            return wrong("is not a whole number", range());
        }
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(number) if number < MIN => wrong(format!("is below the least, {MIN}"), range()),
            _ => wrong(format!("is above the most, {MAX}"), range()),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A size in bytes from `MIN` to `MAX`, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Size<const MIN: u64, const MAX: u64>(pub(in crate::policy) u64);

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    const EXPECTED: &'static str = "a size such as 64MiB";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (digits, unit) = split_unit(text);
        if !is_plain_digits(digits) {
            return wrong("is not a size", "write a whole number and a unit, as in 64MiB");
        }
        let Some((_, bytes_per_unit)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            let problem = if unit.is_empty() {
                "has no unit".to_owned()
            } else {
                "has no known unit".to_owned()
            };
            return wrong(problem, "use B, KiB, MiB, GiB, kB, MB or GB");
        };
        let bytes = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*bytes_per_unit));
        match bytes {
            Some(bytes) if bytes < MIN => wrong(
                format!("is below the least, {}", size(MIN)),
                format!("write {} or more", size(MIN)),
            ),
            Some(bytes) if bytes <= MAX => Ok(Self(bytes)),
            _ => wrong(
                format!("is above the most, {}", size(MAX)),
                format!("write {} or less", size(MAX)),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*) ?(B|KiB|MiB|GiB|kB|MB|GB)$" })
    }
}

/// The larger units last, so that a size is shown in the largest that divides it.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

fn size(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Digits and what follows them, a blank between them aside.
fn split_unit(text: &str) -> (&str, &str) {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits, unit.strip_prefix(' ').unwrap_or(unit))
}

/// A size, or `unbounded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct SizeOrUnbounded(pub(in crate::policy) Option<u64>);

impl Scalar for SizeOrUnbounded {
    const EXPECTED: &'static str = "a size such as 10MiB, or unbounded";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "unbounded" {
            return Ok(Self(None));
        }
        // 1 EiB: no body is larger, and sums of sizes stay within 64 bits.
        Size::<0, { 1 << 60 }>::parse(text).map(|size| Self(Some(size.0)))
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "unbounded" }, Size::<0, { 1 << 60 }>::grammar()] })
    }
}

/// A length of time from `MIN` to `MAX` milliseconds, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Span<const MIN: u64, const MAX: u64>(pub(in crate::policy) Duration);

impl<const MIN: u64, const MAX: u64> Scalar for Span<MIN, MAX> {
    const EXPECTED: &'static str = "a length of time such as 30s";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (digits, unit) = split_unit(text);
        if !is_plain_digits(digits) {
            return wrong("is not a length of time", "write a whole number and a unit, as in 30s");
        }
        let Some((_, ms_per_unit)) = SPAN_UNITS.iter().find(|(name, _)| *name == unit) else {
            return wrong(
                if unit.is_empty() {
                    "has no unit"
                } else {
                    "has no known unit"
                },
                "use ms, s, min or h",
            );
        };
        match digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*ms_per_unit))
        {
            Some(ms) if ms < MIN => wrong(
                format!("is below the least, {}", span(MIN)),
                format!("write {} or more", span(MIN)),
            ),
            Some(ms) if ms <= MAX => Ok(Self(Duration::from_millis(ms))),
            _ => wrong(
                format!("is above the most, {}", span(MAX)),
                format!("write {} or less", span(MAX)),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*) ?(ms|s|min|h)$" })
    }
}

const SPAN_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

fn span(ms: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| ms > 0 && ms.is_multiple_of(*unit);
    match SPAN_UNITS.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// A length of time from `MIN` to `MAX` milliseconds, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct SpanOrOff<const MIN: u64, const MAX: u64>(pub(in crate::policy) Option<Duration>);

impl<const MIN: u64, const MAX: u64> Scalar for SpanOrOff<MIN, MAX> {
    const EXPECTED: &'static str = "a length of time such as 10s, or off";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            return Ok(Self(None));
        }
        Span::<MIN, MAX>::parse(text).map(|span| Self(Some(span.0)))
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "off" }, Span::<MIN, MAX>::grammar()] })
    }
}

/// A part of a whole, `0%` to `100%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Percent(pub(in crate::policy) u8);

impl Scalar for Percent {
    const EXPECTED: &'static str = "a share such as 40%";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Enforce::parse(text)
            .map(|share| Self(share.as_percent()))
            .map_err(|wrong| Wrong {
                remedy: "write a whole share from 0% to 100%".to_owned(),
                ..wrong
            })
    }

    fn grammar() -> Value {
        Enforce::grammar()
    }
}

impl Scalar for Enforce {
    const EXPECTED: &'static str = "a share such as 10%";

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a whole share from 0% to 100%; 0% is shadow mode";
        let Some(digits) = text.strip_suffix('%') else {
            return wrong("is not a share", REMEDY);
        };
        if !is_plain_digits(digits) {
            return wrong("is not a whole share", REMEDY);
        }
        match digits.parse().ok().and_then(Self::percent) {
            Some(share) => Ok(share),
            None => wrong("is above 100%", REMEDY),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^([0-9]|[1-9][0-9]|100)%$" })
    }
}

/// A day, `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Day(pub(in crate::policy) String);

impl Scalar for Day {
    const EXPECTED: &'static str = "a day as YYYY-MM-DD";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| text.get(range).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = |range| digits(range).and_then(|d| d.parse::<u32>().ok());
        let parts = (bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-')
            .then(|| Some((number(0..4)?, number(5..7)?, number(8..10)?)))
            .flatten();
        let Some((year, month, day)) = parts else {
            return wrong("is not a day", "write it as YYYY-MM-DD");
        };
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        if (1..=days).contains(&day) {
            Ok(Self(text.to_owned()))
        } else {
            wrong("is in no calendar", "write a day that exists")
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
    }
}

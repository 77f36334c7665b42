//! The text of a limit: `COUNT/UNIT [burst N]` or `COUNT per [N]UNIT [burst N]`.

use alloc::string::{String, ToString};
use core::fmt;
use core::num::NonZeroU64;
use core::ops::Range;
use core::time::Duration;

use super::Limit;

/// Why a text is not a limit: the fault, the part of the text it is about, and where that part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseLimitError {
    fault: LimitFault,
    found: String,
    span: Range<usize>,
}

impl ParseLimitError {
    /// What is wrong.
    pub const fn fault(&self) -> LimitFault {
        self.fault
    }

    /// What to write instead.
    pub const fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }

    /// Which bytes of the text are at fault; empty at its end where something is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for ParseLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            write!(f, "{}", self.fault)
        } else {
            write!(f, "{:?}: {}", self.found, self.fault)
        }
    }
}

impl core::error::Error for ParseLimitError {}

/// What can be wrong with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitFault {
    /// There is no text.
    Empty,
    /// Something else stands where a whole number belongs.
    NotANumber,
    /// The number is above `u64::MAX`.
    NumberTooLarge,
    /// The count is zero.
    ZeroCount,
    /// The period is zero.
    ZeroPeriod,
    /// The burst is zero.
    ZeroBurst,
    /// Neither `/` nor `per` follows the count.
    NoPeriod,
    /// There is no such unit of time.
    UnknownUnit,
    /// `m` could be minutes or months.
    AmbiguousUnit,
    /// A number stands after `/`.
    NumberAfterSlash,
    /// The period is above [`Limit::PERIOD_MAX`].
    PeriodTooLong,
    /// The rate is above [`Limit::UNITS_PER_SECOND_MAX`].
    RateTooHigh,
    /// Something follows the limit's end.
    Trailing,
    /// A rate or burst stands where a bare count of permits belongs.
    NotACount,
}

impl LimitFault {
    /// What to write instead.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Empty | Self::NoPeriod => "write a count and a period, as in 100/min or 10 per 15min",
            Self::NotANumber => "write a whole number; k and M may follow it (20k, 1M)",
            Self::NumberTooLarge => "the largest number is 18446744073709551615",
            Self::ZeroCount => {
                "the least count is 1; to refuse everything remove the route, to lift the limit the rule"
            }
            Self::ZeroPeriod => "the least period is 1ms",
            Self::ZeroBurst => "the least burst is 1; leave it out for a burst of the count",
            Self::UnknownUnit => "use ms, s, min, h, d or w, or their long names",
            Self::AmbiguousUnit => "write min for minutes; for months write days, as in 100 per 30d",
            Self::NumberAfterSlash => "with a number of units write per, as in 10 per 15min",
            Self::PeriodTooLong => "the longest period is 3660d",
            Self::RateTooHigh => "the highest rate is 1000000000/s",
            Self::Trailing => "after the period only burst N may follow, as in 5/s burst 10",
            Self::NotACount => "write how many may be held at once and nothing else, as in 100",
        }
    }
}

impl fmt::Display for LimitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a limit is missing",
            Self::NotANumber => "not a whole number",
            Self::NumberTooLarge => "the number is too large",
            Self::ZeroCount => "a limit of zero",
            Self::ZeroPeriod => "a period of zero",
            Self::ZeroBurst => "a burst of zero",
            Self::NoPeriod => "the period is missing",
            Self::UnknownUnit => "no such unit of time",
            Self::AmbiguousUnit => "could be minutes or months",
            Self::NumberAfterSlash => "a number of units after the slash",
            Self::PeriodTooLong => "the period is too long",
            Self::RateTooHigh => "the rate is too high",
            Self::Trailing => "not part of a limit",
            Self::NotACount => "permits have neither period nor burst",
        })
    }
}

impl core::error::Error for LimitFault {}

/// Units of time, the shortest first: canonical name, other names, nanoseconds.
const UNITS: [(&str, &[&str], u64); 6] = [
    ("ms", &["millisecond", "milliseconds"], 1_000_000),
    ("s", &["sec", "second", "seconds"], 1_000_000_000),
    ("min", &["minute", "minutes"], 60_000_000_000),
    ("h", &["hour", "hours"], 3_600_000_000_000),
    ("d", &["day", "days"], 86_400_000_000_000),
    ("w", &["week", "weeks"], 604_800_000_000_000),
];

pub(super) fn parse(text: &str) -> Result<Limit, ParseLimitError> {
    let mut reader = Reader { text, at: 0 };
    let start = reader.skip_blanks();
    if reader.rest().is_empty() {
        return Err(reader.error(LimitFault::Empty, 0..0));
    }
    let count = reader.number()?;
    let count_span = start..reader.at;
    reader.skip_blanks();
    let (multiple, unit) = if reader.eat("/") {
        let at = reader.skip_blanks();
        if reader.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Err(reader.error(LimitFault::NumberAfterSlash, at..text.len()));
        }
        (1, reader.unit()?)
    } else if reader.eat_word("per") {
        reader.skip_blanks();
        let multiple = if reader.rest().starts_with(|c: char| c.is_ascii_digit()) {
            reader.number_alone()?
        } else {
            1
        };
        reader.skip_blanks();
        (multiple, reader.unit()?)
    } else {
        let at = reader.at;
        return Err(reader.error(LimitFault::NoPeriod, at..text.len()));
    };
    let period_span = count_span.end..reader.at;
    reader.skip_blanks();
    let mut burst_span = 0..0;
    let burst = if reader.eat_word("burst") {
        let at = reader.skip_blanks();
        let burst = reader.number()?;
        burst_span = at..reader.at;
        burst
    } else {
        count
    };
    let end = reader.skip_blanks();
    if !reader.rest().is_empty() {
        return Err(reader.error(LimitFault::Trailing, end..text.len()));
    }
    let too_long = || reader.error(LimitFault::PeriodTooLong, period_span.clone());
    let period = Duration::from_nanos(unit.checked_mul(multiple).ok_or_else(too_long)?);
    Limit::new(count, period, burst).map_err(|fault| {
        let span = match fault {
            LimitFault::ZeroBurst if burst_span.is_empty() => return reader.error(LimitFault::ZeroCount, count_span),
            LimitFault::ZeroBurst => burst_span,
            LimitFault::ZeroPeriod | LimitFault::PeriodTooLong => period_span,
            LimitFault::RateTooHigh => count_span.start..period_span.end,
            _ => count_span,
        };
        reader.error(fault, span)
    })
}

/// The text of a bare count: `COUNT`, with nothing after it.
pub(super) fn parse_count(text: &str) -> Result<NonZeroU64, ParseLimitError> {
    let mut reader = Reader { text, at: 0 };
    let start = reader.skip_blanks();
    if reader.rest().is_empty() {
        return Err(reader.error(LimitFault::Empty, 0..0));
    }
    let count = reader.number()?;
    let span = start..reader.at;
    let end = reader.skip_blanks();
    if !reader.rest().is_empty() {
        return Err(reader.error(LimitFault::NotACount, end..text.len()));
    }
    NonZeroU64::new(count).ok_or_else(|| reader.error(LimitFault::ZeroCount, span))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips blanks and tells where the next word begins.
    fn skip_blanks(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.at
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes `word` if it stands here as a whole word.
    fn eat_word(&mut self, word: &str) -> bool {
        let follows = self.rest().strip_prefix(word);
        let found = follows.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
        if found {
            self.at += word.len();
        }
        found
    }

    /// The length in bytes of the run of letters, digits and the like that stands here.
    fn word_len(&self) -> usize {
        let rest = self.rest();
        rest.find([' ', '\t', '/']).unwrap_or(rest.len())
    }

    /// A whole number, which `k` or `M` may follow, as a word of its own.
    fn number(&mut self) -> Result<u64, ParseLimitError> {
        let span = self.at..self.at + self.word_len();
        let word = &self.rest()[..span.len()];
        let (digits, factor) = match word.as_bytes().last() {
            Some(b'k') => (&word[..word.len() - 1], 1_000),
            Some(b'M') => (&word[..word.len() - 1], 1_000_000),
            _ => (word, 1),
        };
        let number = self.digits(digits, span.clone())?;
        let number = number
            .checked_mul(factor)
            .ok_or_else(|| self.error(LimitFault::NumberTooLarge, span.clone()))?;
        self.at = span.end;
        Ok(number)
    }

    /// A whole number that a unit may follow directly.
    fn number_alone(&mut self) -> Result<u64, ParseLimitError> {
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let span = self.at..self.at + len;
        let number = self.digits(&rest[..len], span.clone())?;
        self.at = span.end;
        Ok(number)
    }

    fn digits(&self, digits: &str, span: Range<usize>) -> Result<u64, ParseLimitError> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error(LimitFault::NotANumber, span));
        }
        digits.parse().map_err(|_| self.error(LimitFault::NumberTooLarge, span))
    }

    fn unit(&mut self) -> Result<u64, ParseLimitError> {
        let span = self.at..self.at + self.word_len();
        let word = &self.rest()[..span.len()];
        if word.is_empty() {
            return Err(self.error(LimitFault::NoPeriod, span));
        }
        if word == "m" {
            return Err(self.error(LimitFault::AmbiguousUnit, span));
        }
        let unit = UNITS
            .iter()
            .find(|(name, names, _)| *name == word || names.contains(&word));
        let (.., nanos) = unit.ok_or_else(|| self.error(LimitFault::UnknownUnit, span.clone()))?;
        self.at = span.end;
        Ok(*nanos)
    }

    fn error(&self, fault: LimitFault, span: Range<usize>) -> ParseLimitError {
        let found = self.text.get(span.clone()).unwrap_or_default();
        let blanks = found.len() - found.trim_start().len();
        let span = span.start + blanks..span.end;
        ParseLimitError {
            fault,
            found: found.trim().to_string(),
            span,
        }
    }
}

pub(super) fn write(limit: &Limit, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let period = limit.period_nanos().get();
    write!(f, "{}", limit.count())?;
    if let Some((name, ..)) = UNITS.iter().find(|(.., nanos)| *nanos == period) {
        write!(f, "/{name}")?;
    } else if let Some((name, _, nanos)) = UNITS.iter().rev().find(|(.., nanos)| period.is_multiple_of(*nanos)) {
        write!(f, " per {}{name}", period / nanos)?;
    } else {
        // Only a program can make a period that is no whole number of milliseconds; no text has a unit for it.
        write!(f, " per {period}ns")?;
    }
    if limit.burst() != limit.count() {
        write!(f, " burst {}", limit.burst())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, count: u64, period_ms: u64, burst: u64, canonical: &str) {
        let limit: Limit = text.parse().expect(text);
        assert_eq!(
            limit,
            Limit::new(count, Duration::from_millis(period_ms), burst).expect(text)
        );
        assert_eq!(limit.to_string(), canonical);
        assert_eq!(canonical.parse::<Limit>().expect(canonical), limit);
    }

    #[test]
    fn every_form_reads_and_its_canonical_text_reads_back() {
        check("5/s", 5, 1_000, 5, "5/s");
        check("5/s burst 10", 5, 1_000, 10, "5/s burst 10");
        check("  20k / min  ", 20_000, 60_000, 20_000, "20000/min");
        check(
            "1M per week burst 2M",
            1_000_000,
            604_800_000,
            2_000_000,
            "1000000/w burst 2000000",
        );
        check("10 per 15min", 10, 900_000, 10, "10 per 15min");
        check("10 per 15 minutes", 10, 900_000, 10, "10 per 15min");
        check("3 per 120s", 3, 120_000, 3, "3 per 2min");
        check("1 per 3650d", 1, 3_650 * 86_400_000, 1, "1 per 3650d");
        check("7/hour burst 1", 7, 3_600_000, 1, "7/h burst 1");
        check("1000/ms", 1_000, 1, 1_000, "1000/ms");
        check("1 per 1500ms", 1, 1_500, 1, "1 per 1500ms");
    }

    #[track_caller]
    fn check_fault(text: &str, fault: LimitFault, span: Range<usize>, message: &str) {
        let error = text.parse::<Limit>().expect_err(text);
        assert_eq!((error.fault(), error.span()), (fault, span), "{text:?}");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn every_fault_names_its_place_and_value() {
        use LimitFault as F;
        check_fault("", F::Empty, 0..0, "a limit is missing");
        check_fault("   ", F::Empty, 0..0, "a limit is missing");
        check_fault("five/s", F::NotANumber, 0..4, "\"five\": not a whole number");
        check_fault("-5/s", F::NotANumber, 0..2, "\"-5\": not a whole number");
        check_fault("+5/s", F::NotANumber, 0..2, "\"+5\": not a whole number");
        check_fault("1.5/s", F::NotANumber, 0..3, "\"1.5\": not a whole number");
        check_fault("1e3/s", F::NotANumber, 0..3, "\"1e3\": not a whole number");
        check_fault("٣/s", F::NotANumber, 0..2, "\"٣\": not a whole number");
        check_fault("5K/s", F::NotANumber, 0..2, "\"5K\": not a whole number");
        check_fault("k/s", F::NotANumber, 0..1, "\"k\": not a whole number");
        check_fault(
            "18446744073709551616/w",
            F::NumberTooLarge,
            0..20,
            "\"18446744073709551616\": the number is too large",
        );
        check_fault(
            "18446744073709551615M/w",
            F::NumberTooLarge,
            0..21,
            "\"18446744073709551615M\": the number is too large",
        );
        check_fault("0/s", F::ZeroCount, 0..1, "\"0\": a limit of zero");
        check_fault("5/s burst 0", F::ZeroBurst, 10..11, "\"0\": a burst of zero");
        check_fault("5", F::NoPeriod, 1..1, "the period is missing");
        check_fault("5 burst 10", F::NoPeriod, 2..10, "\"burst 10\": the period is missing");
        check_fault("5/", F::NoPeriod, 2..2, "the period is missing");
        check_fault(
            "5/fortnight",
            F::UnknownUnit,
            2..11,
            "\"fortnight\": no such unit of time",
        );
        check_fault("5/m", F::AmbiguousUnit, 2..3, "\"m\": could be minutes or months");
        check_fault(
            "5/15min",
            F::NumberAfterSlash,
            2..7,
            "\"15min\": a number of units after the slash",
        );
        check_fault("5 per 0min", F::ZeroPeriod, 2..10, "\"per 0min\": a period of zero");
        check_fault(
            "5 per 3661d",
            F::PeriodTooLong,
            2..11,
            "\"per 3661d\": the period is too long",
        );
        check_fault(
            "5 per 18446744073709551615w",
            F::PeriodTooLong,
            2..27,
            "\"per 18446744073709551615w\": the period is too long",
        );
        check_fault("2000M/s", F::RateTooHigh, 0..7, "\"2000M/s\": the rate is too high");
        check_fault(
            "5/s bursts 10",
            F::Trailing,
            4..13,
            "\"bursts 10\": not part of a limit",
        );
        check_fault(
            "5/s burst 10 please",
            F::Trailing,
            13..19,
            "\"please\": not part of a limit",
        );
        check_fault("5/s burst", F::NotANumber, 9..9, "not a whole number");
    }

    #[test]
    fn a_limit_ten_times_over_stops_at_the_highest_rate() {
        let ten = core::num::NonZeroU64::new(10).expect("ten");
        let limit: Limit = "900M/s burst 18446744073709551615".parse().expect("a limit");
        assert_eq!(limit.times(ten).to_string(), "1000000000/s burst 18446744073709551615");
        let limit: Limit = "5/s burst 7".parse().expect("a limit");
        assert_eq!(limit.times(ten).to_string(), "50/s burst 70");
    }
}

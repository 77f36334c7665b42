//! How many units one request takes.

use core::fmt;

/// Units that one request takes from a limit: whole, from 0 to `u64::MAX`.
///
/// Zero asks without charging. A cost above the burst can never pass ([`crate::Retry::Never`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

impl Cost {
    /// Asks without charging.
    pub const ZERO: Self = Self(0);
    /// What a request costs where nothing else is said.
    pub const ONE: Self = Self(1);

    /// A cost of `units`.
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// The cost in units.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// Reads a cost that a client or an upstream wrote: decimal digits and nothing else, not even blanks around them.
    ///
    /// ```
    /// use sluicegate_core::{Cost, CostFault};
    /// assert_eq!(Cost::parse(b"250"), Ok(Cost::new(250)));
    /// assert_eq!(Cost::parse("-1"), Err(CostFault::NotANumber));
    /// ```
    ///
    /// # Errors
    ///
    /// If there is nothing, anything but digits (a sign, a fraction, an exponent), or a number above `u64::MAX`.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, CostFault> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(CostFault::Empty);
        }
        if !text.iter().all(u8::is_ascii_digit) {
            return Err(CostFault::NotANumber);
        }
        let digit = |units: u64, byte: &u8| units.checked_mul(10)?.checked_add(u64::from(byte - b'0'));
        let units = text.iter().try_fold(0, digit).ok_or(CostFault::TooLarge)?;
        Ok(Self(units))
    }
}

/// Why a text is not a cost. It tells nothing of the text, which a client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostFault {
    /// There is no text.
    Empty,
    /// Something else than decimal digits.
    NotANumber,
    /// A number above `u64::MAX`.
    TooLarge,
}

impl fmt::Display for CostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a cost is missing",
            Self::NotANumber => "the cost is not a whole number",
            Self::TooLarge => "the cost is too large",
        })
    }
}

impl core::error::Error for CostFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_to_the_last_unit() {
        for (text, units) in [("0", 0), ("1", 1), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(Cost::parse(text), Ok(Cost::new(units)), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_units_is_no_cost() {
        for text in [
            "-1", "+5", "1.0", "1.5", "1,000", "1e3", "1e309", "NaN", "Infinity", "-0", "0x10", "1_000", " 1", "1 ",
            "1\n", "٣", "５", "5k", "1\0",
        ] {
            assert_eq!(Cost::parse(text), Err(CostFault::NotANumber), "{text:?}");
        }
        assert_eq!(Cost::parse(""), Err(CostFault::Empty));
        assert_eq!(Cost::parse(b"\xff"), Err(CostFault::NotANumber));
    }

    #[test]
    fn a_cost_that_does_not_fit_is_refused_never_wrapped() {
        for text in ["18446744073709551616", "99999999999999999999999999999999999999999"] {
            assert_eq!(Cost::parse(text), Err(CostFault::TooLarge), "{text}");
        }
    }

    #[test]
    fn a_fault_says_what_is_wrong_and_nothing_of_the_text() {
        for (text, said) in [
            ("", "a cost is missing"),
            ("secret", "the cost is not a whole number"),
            ("99999999999999999999", "the cost is too large"),
        ] {
            let fault = Cost::parse(text).expect_err("no cost");
            assert_eq!(alloc::string::ToString::to_string(&fault), said);
        }
    }
}

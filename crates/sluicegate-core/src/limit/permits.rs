//! How many permits may be held at once.

use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

use super::grammar;
use super::{LimitFault, ParseLimitError};

/// How many permits may be held at once, at least 1: what `concurrency` has for a limit.
///
/// Its text is a bare count, which may end in `k` (thousand) or `M` (million): `100`, `2k`.
///
/// ```
/// use sluicegate_core::Permits;
/// assert_eq!("2k".parse::<Permits>()?.get(), 2_000);
/// assert!("100/s".parse::<Permits>().is_err());
/// # Ok::<(), sluicegate_core::ParseLimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permits(NonZeroU64);

impl Permits {
    /// So many.
    pub const fn new(count: NonZeroU64) -> Self {
        Self(count)
    }

    /// How many, at least 1.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl TryFrom<u64> for Permits {
    type Error = LimitFault;

    fn try_from(count: u64) -> Result<Self, LimitFault> {
        NonZeroU64::new(count).map(Self).ok_or(LimitFault::ZeroCount)
    }
}

impl FromStr for Permits {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        grammar::parse_count(text).map(Self)
    }
}

impl fmt::Display for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_bare_count_reads_and_its_text_reads_back() {
        for (text, count) in [("1", 1), (" 100 ", 100), ("2k", 2_000), ("3M", 3_000_000)] {
            let permits: Permits = text.parse().expect(text);
            assert_eq!(permits.get(), count);
            assert_eq!(permits.to_string().parse(), Ok(permits));
        }
    }

    #[test]
    fn whatever_else_stands_there_is_named_in_its_place() {
        for (text, fault, span) in [
            ("", LimitFault::Empty, 0..0),
            ("0", LimitFault::ZeroCount, 0..1),
            ("ten", LimitFault::NotANumber, 0..3),
            ("10/s", LimitFault::NotACount, 2..4),
            ("10 per min", LimitFault::NotACount, 3..10),
            ("10 burst 5", LimitFault::NotACount, 3..10),
            ("18446744073709551616", LimitFault::NumberTooLarge, 0..20),
        ] {
            let error = text.parse::<Permits>().expect_err(text);
            assert_eq!((error.fault(), error.span()), (fault, span), "{text:?}");
        }
    }
}

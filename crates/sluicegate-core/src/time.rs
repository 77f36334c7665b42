//! Points in time, as a clock of the caller's counts them.

use core::time::Duration;

/// Nanoseconds since a clock's start, at most [`Timestamp::MAX`].
///
/// Which clock, and when it started, is the caller's affair; only differences matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// 2⁶² − 1 ns, 146 years after the start: later times read as this one. The two bits above leave room for a
    /// bucket's debt, so that no sum of the two overflows.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// `nanos` after the clock's start, or [`Timestamp::MAX`].
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 { Self::MAX } else { Self(nanos) }
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `span` later, or [`Timestamp::MAX`].
    #[must_use]
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self::from_nanos(self.0.saturating_add(saturating_nanos(span)))
    }

    /// How long before `self` the `earlier` point lies; zero if it does not.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The whole nanoseconds of a span, or `u64::MAX` (584 years).
pub(crate) const fn saturating_nanos(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "compared with u64::MAX one line above")]
        let nanos = nanos as u64;
        nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_past_the_horizon_reads_as_the_horizon() {
        assert_eq!(Timestamp::from_nanos(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn time_that_went_back_reads_as_no_time() {
        assert_eq!(Timestamp::ZERO.saturating_since(Timestamp::MAX), Duration::ZERO);
    }
}

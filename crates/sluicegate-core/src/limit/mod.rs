//! A rate and a burst together, and the text they are written in.

mod grammar;
mod permits;

use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;
use core::time::Duration;

pub use grammar::{LimitFault, ParseLimitError};
pub use permits::Permits;

/// `count` units per `period`, of which up to `burst` may pass at once.
///
/// The text form is the same everywhere: `100/min`, `10 per 15min`, `5/s burst 10`, `20k/h`. Counts may end in `k`
/// (thousand) or `M` (million); the burst is the count unless said. `Display` writes the shortest text that reads back
/// as the same limit.
///
/// ```
/// use sluicegate_core::Limit;
/// let limit: Limit = "10 per 15min burst 3".parse()?;
/// assert_eq!((limit.count().get(), limit.burst().get()), (10, 3));
/// assert_eq!(limit.to_string(), "10 per 15min burst 3");
/// # Ok::<(), sluicegate_core::ParseLimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    count: NonZeroU64,
    period_nanos: NonZeroU64,
    burst: NonZeroU64,
}

impl Limit {
    /// The longest period: 3 660 days, a little over ten years. Longer ones say "never again" and are better said so.
    pub const PERIOD_MAX: Duration = Duration::from_hours(3_660 * 24);

    /// The highest rate: one unit per nanosecond, finer than any clock that a decision could read.
    pub const UNITS_PER_SECOND_MAX: u64 = 1_000_000_000;

    /// `count` units per `period`, up to `burst` at once.
    ///
    /// # Errors
    ///
    /// If a number is zero, the period is above [`Self::PERIOD_MAX`], or the rate above
    /// [`Self::UNITS_PER_SECOND_MAX`].
    pub fn new(count: u64, period: Duration, burst: u64) -> Result<Self, LimitFault> {
        let count = NonZeroU64::new(count).ok_or(LimitFault::ZeroCount)?;
        let burst = NonZeroU64::new(burst).ok_or(LimitFault::ZeroBurst)?;
        if period > Self::PERIOD_MAX {
            return Err(LimitFault::PeriodTooLong);
        }
        let period_nanos = crate::time::saturating_nanos(period);
        let period_nanos = NonZeroU64::new(period_nanos).ok_or(LimitFault::ZeroPeriod)?;
        if count > period_nanos {
            return Err(LimitFault::RateTooHigh);
        }
        Ok(Self {
            count,
            period_nanos,
            burst,
        })
    }

    /// Units per period.
    pub const fn count(&self) -> NonZeroU64 {
        self.count
    }

    /// The period, at least 1 ns.
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.period_nanos.get())
    }

    /// Most units that may pass at once.
    pub const fn burst(&self) -> NonZeroU64 {
        self.burst
    }

    /// The same limit `factor` times over, rate and burst, as far as [`Self::UNITS_PER_SECOND_MAX`] allows.
    #[must_use]
    pub fn times(&self, factor: NonZeroU64) -> Self {
        Self {
            count: self.count.saturating_mul(factor).min(self.period_nanos),
            period_nanos: self.period_nanos,
            burst: self.burst.saturating_mul(factor),
        }
    }

    pub(crate) const fn period_nanos(&self) -> NonZeroU64 {
        self.period_nanos
    }
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        grammar::parse(text)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        grammar::write(self, f)
    }
}

//! A limit in the numbers that travel to the store with every exchange.

use core::time::Duration;

use crate::Limit;

/// What the store counts time from, 2024-01-01T00:00:00Z, in microseconds of the Unix time: so that a microsecond of today
/// is a whole number far below 2⁵³.
pub const EPOCH_UNIX_US: f64 = 1_704_067_200_000_000.0;

/// Which of the store's arithmetics keeps a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A token bucket.
    Bucket = 0,
    /// Two windows, the former weighed by what of it still counts.
    SlidingWindow = 1,
    /// Windows aligned to the Unix epoch.
    FixedWindow = 2,
}

/// A limit in the numbers that travel: they go with every exchange, so that a changed limit needs no agreement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Which arithmetic.
    pub kind: Kind,
    /// Microseconds in which one unit comes back: the emission interval. Of a window, its length divided by its count.
    pub interval: f64,
    /// Most units at once. Of a window, its count.
    pub burst: f64,
    /// How long one lease epoch lasts, in whole microseconds: a lease is good for one to two of them. Of a window, its length.
    pub ttl: f64,
    /// The time constant over which demand is averaged, in microseconds.
    pub theta: f64,
    /// Units that the debt may exceed the burst by, since nodes may let so many through before they report them. More
    /// than that in the store is damage, and is cut.
    pub overdraft: f64,
    /// Whether requests put right what they took when they end, so that it is outstanding until then: see [`Ask::holds`](super::Ask::holds).
    pub holds: bool,
    /// For how long a bucket that is used up for good is locked, in microseconds; zero if it is not.
    pub lock: f64,
}

/// The shortest and the longest lease epoch: below a quarter of a second renewals would cost more than leases save; above ten
/// seconds the units of a node that died would be missed for too long.
const TTL_US: (f64, f64) = (250_000.0, 10_000_000.0);

/// The shortest and the longest time over which demand is averaged: half a second sees a burst in time, ten seconds smooth out
/// a limit that refills in minutes.
const THETA_US: (f64, f64) = (500_000.0, 10_000_000.0);

/// The longest lock, in microseconds: ten years, as far as any limit reaches.
const LOCK_MAX_US: f64 = 10.0 * 365.25 * 86_400.0 * 1e6;

impl Terms {
    /// Highest rate of a limit that nodes share, in units a second. Above it, rounding would reach a hundredth of a unit
    /// within one exchange.
    pub const UNITS_PER_SECOND_MAX: u64 = 10_000_000;

    /// The terms of a limit. `overdraft` is at least zero.
    #[expect(clippy::cast_precision_loss, reason = "rounding to 53 bits is 10⁻¹⁶ of the limit")]
    pub fn new(kind: Kind, limit: &Limit, overdraft: f64) -> Self {
        let period = limit.period().as_nanos() as f64 / 1_000.0;
        let count = limit.count().get() as f64;
        let interval = period / count;
        let (burst, ttl) = match kind {
            Kind::Bucket => {
                let burst = limit.burst().get() as f64;
                // Whole, so that epochs can be told by their numbers: sums of whole numbers are exact.
                (burst, libm::floor((0.5 * burst * interval).clamp(TTL_US.0, TTL_US.1)))
            }
            Kind::SlidingWindow | Kind::FixedWindow => (count, period),
        };
        Self {
            kind,
            interval,
            burst,
            ttl,
            theta: (burst * interval).clamp(THETA_US.0, THETA_US.1),
            overdraft,
            holds: false,
            lock: 0.0,
        }
    }

    /// The same of requests that put right what they took, when they end.
    #[must_use]
    pub const fn held(self) -> Self {
        Self { holds: true, ..self }
    }

    /// The same of a bucket that locks for so long who uses it up; of a window, nothing else.
    #[must_use]
    pub fn locking(self, lock: Duration) -> Self {
        let lock = match self.kind {
            Kind::Bucket => (lock.as_secs_f64() * 1e6).min(LOCK_MAX_US),
            Kind::SlidingWindow | Kind::FixedWindow => 0.0,
        };
        Self { lock, ..self }
    }

    /// Units that come back in a microsecond.
    pub fn rate(&self) -> f64 {
        1.0 / self.interval
    }

    /// Microseconds in which everything comes back.
    pub fn whole(&self) -> f64 {
        self.burst * self.interval
    }
}

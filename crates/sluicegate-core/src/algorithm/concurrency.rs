//! Concurrency: permits that requests hold until they are done, counted in one word.

use core::time::Duration;

use super::answer::{Answer, Ruling};
use crate::{Cost, Permits, Retry};

/// The permits of a key that are held now: all that a concurrency limit remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Held(u64);

impl Held {
    /// No permit is held, as for a key never seen.
    pub const NONE: Self = Self(0);

    /// Most permits that are ever counted, 2⁶³ − 1.
    const MAX: u64 = (1 << 63) - 1;

    /// A count read back from where it was kept. One above 2⁶³ − 1 reads as that.
    #[inline]
    pub const fn from_u64(permits: u64) -> Self {
        if permits > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(permits)
        }
    }

    /// The count as a number to keep, below 2⁶³.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether forgetting this loses nothing. Time does not make it so: only releases do.
    #[inline]
    pub const fn is_idle(self) -> bool {
        self.0 == 0
    }
}

/// A limit on permits held at once, made ready to decide by.
///
/// With `n` permits, of which `held` are out, a request of cost `c` passes if `held + c ≤ n`. It holds its `c` permits
/// until they are released; so at no time are more than `n` out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    permits: Permits,
}

impl Concurrency {
    /// What a refused request, and one that asks when all permits will be back, is told: nobody knows when others will
    /// be done, and this is the least that can be told in whole seconds.
    pub const UNKNOWN_AFTER: Duration = Duration::from_secs(1);

    /// Keeps to so many permits at once.
    pub const fn new(permits: Permits) -> Self {
        Self { permits }
    }

    /// How many permits there are.
    pub const fn permits(self) -> Permits {
        self.permits
    }

    /// Decides one request. Permits know no time.
    #[inline]
    pub const fn decide(self, held: Held, cost: Cost) -> Ruling<Held> {
        let max = self.max();
        let cost = cost.units();
        let (held, retry) = if cost > max {
            (held, Some(Retry::Never))
        } else if held.0 > max - cost {
            (held, Some(Retry::After(Self::UNKNOWN_AFTER)))
        } else {
            (Held(held.0 + cost), None)
        };
        Ruling {
            state: held,
            answer: Answer {
                remaining: max.saturating_sub(held.0),
                reset_after: if held.0 == 0 {
                    Duration::ZERO
                } else {
                    Self::UNKNOWN_AFTER
                },
                retry,
                delay: Duration::ZERO,
            },
        }
    }

    /// What is held after `cost` permits have come back. More than were out leave none out, never fewer.
    #[inline]
    #[must_use]
    pub const fn release(self, held: Held, cost: Cost) -> Held {
        Held(held.0.saturating_sub(cost.units()))
    }

    /// The permits, as far as a word counts them.
    const fn max(self) -> u64 {
        Held::from_u64(self.permits.get()).0
    }
}

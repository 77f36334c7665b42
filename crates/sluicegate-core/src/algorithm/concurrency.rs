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

#[cfg(test)]
mod tests {
    use super::*;

    fn concurrency(permits: u64) -> Concurrency {
        Concurrency::new(permits.try_into().expect("permits"))
    }

    #[test]
    fn permits_are_held_until_they_are_released() {
        let concurrency = concurrency(3);
        let two = concurrency.decide(Held::NONE, Cost::new(2));
        assert!(two.answer.passes());
        assert_eq!(
            (two.answer.remaining, two.answer.reset_after),
            (1, Concurrency::UNKNOWN_AFTER)
        );
        let refused = concurrency.decide(two.state, Cost::new(2));
        assert_eq!(refused.answer.retry, Some(Retry::After(Concurrency::UNKNOWN_AFTER)));
        assert_eq!(refused.state, two.state);
        let one = concurrency.release(two.state, Cost::ONE);
        assert!(concurrency.decide(one, Cost::new(2)).answer.passes());
        let none = concurrency.release(one, Cost::ONE);
        assert!(none.is_idle());
        assert_eq!(concurrency.decide(none, Cost::ZERO).answer.reset_after, Duration::ZERO);
    }

    #[test]
    fn more_than_there_are_is_refused_for_ever() {
        let answer = concurrency(3).decide(Held::NONE, Cost::new(4)).answer;
        assert_eq!((answer.retry, answer.remaining), (Some(Retry::Never), 3));
    }

    #[test]
    fn releasing_more_than_is_held_leaves_none_held() {
        let concurrency = concurrency(3);
        let held = concurrency.decide(Held::NONE, Cost::ONE).state;
        assert_eq!(concurrency.release(held, Cost::new(u64::MAX)), Held::NONE);
    }

    #[test]
    fn a_count_never_reaches_the_highest_bit() {
        let concurrency = concurrency(u64::MAX);
        let held = concurrency.decide(Held::NONE, Cost::new(Held::MAX)).state;
        assert_eq!(held.as_u64(), Held::MAX);
        assert!(!concurrency.decide(held, Cost::ONE).answer.passes());
        assert!(!concurrency.decide(Held::from_u64(u64::MAX), Cost::ONE).answer.passes());
    }

    #[test]
    fn a_lowered_limit_refuses_until_enough_are_released() {
        let held = Held::from_u64(5);
        let lowered = concurrency(3);
        assert!(!lowered.decide(held, Cost::ZERO).answer.passes());
        assert!(
            lowered
                .decide(lowered.release(held, Cost::new(2)), Cost::ZERO)
                .answer
                .passes()
        );
    }
}

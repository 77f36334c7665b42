//! A bucket's own unit of time, in which its emission interval is a whole number.

#![expect(
    clippy::cast_possible_truncation,
    reason = "each cast of a 128-bit product names the bound that makes it safe"
)]

use core::time::Duration;

use crate::Timestamp;

/// A point in time, in one bucket's ticks since the clock's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub(crate) u64);

impl Tick {
    /// Ticks since the clock's start, at most 2⁶².
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// How many ticks a nanosecond has, for a bucket that gains `count` units per `period`.
///
/// Counting in nanoseconds would round the emission interval of `3/s` to 333 333 333 ns and drift by one unit in 10⁹.
/// So the tick is chosen instead: the interval is `T` whole ticks, a period is exactly `count × T` of them, and a tick
/// lasts `period / (count × T)`, 1 to 2 ns unless the burst asks for coarser ones. The clock's nanoseconds are turned
/// into ticks by one multiplication and one shift. The factor is rounded up by at most one part in 2⁶², so that after
/// exactly `k` periods exactly `k × count × T` ticks have passed; over the clock's 146 years it is at most one tick
/// ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickScale {
    /// `ticks = nanos × factor / 2^(63 + shift)`, rounded down. In (2⁶², 2⁶³].
    factor: u64,
    shift: u32,
    /// `nanos = ticks × inverse / 2^(63 − shift)`, rounded up.
    inverse: u64,
}

impl TickScale {
    /// A scale on which `count` intervals of `interval` ticks each take `period` nanoseconds.
    ///
    /// Requires `1 ≤ count × interval ≤ period`, so that a tick lasts at least one nanosecond; the caller's arithmetic
    /// shows it.
    pub(crate) const fn new(count: u64, period: u64, interval: u64) -> Self {
        let (factor, shift) = ratio_up_to_one(count as u128 * interval as u128, period);
        // The inverse of the rounded factor, not of the exact ratio: a span made by it, scaled down again, never falls
        // short, which is what makes `retry_after` honest. The factor is above 2⁶², so the quotient fits 64 bits.
        let inverse = (1u128 << 126).div_ceil(factor as u128) as u64;
        Self { factor, shift, inverse }
    }

    /// The last tick that has begun at `now`.
    #[inline]
    pub const fn tick(&self, now: Timestamp) -> Tick {
        Self::tick_by(self.factor, self.shift, now)
    }

    /// The scale as two numbers, for whoever keeps it where no value of this type can be kept; [`TickScale::tick_by`] takes them.
    pub const fn to_parts(self) -> (u64, u32) {
        (self.factor, self.shift)
    }

    /// What [`TickScale::tick`] says, by the numbers of [`TickScale::to_parts`]. By a factor of zero all time is tick zero.
    #[inline]
    pub const fn tick_by(factor: u64, shift: u32, now: Timestamp) -> Tick {
        // A timestamp is below 2⁶², so doubling it is safe; it saves shifting a number of 128 bits. A scale's shift is below 64;
        // another's is taken as if it were.
        let doubled = now.as_nanos() << 1;
        Tick((((doubled as u128 * factor as u128) >> 64) as u64) >> (shift & 63))
    }

    /// The first tick that has not begun before `now`, for what must never come too early; at most one above
    /// [`Self::tick`].
    #[inline]
    pub(crate) const fn tick_up(&self, now: Timestamp) -> Tick {
        let Tick(begun) = self.tick(now);
        if self.first_nano(begun) == now.as_nanos() {
            Tick(begun)
        } else {
            Tick(begun + 1)
        }
    }

    /// The very first nanosecond at which [`Self::tick`] says at least `ticks`. Saturates.
    #[inline]
    pub(crate) const fn first_nano(&self, ticks: u64) -> u64 {
        let back = 63 - self.shift;
        let nanos = (ticks as u128 * self.inverse as u128 + ((1 << back) - 1)) >> back;
        let nanos = if nanos > u64::MAX as u128 {
            u64::MAX
        } else {
            nanos as u64
        };
        // The inverse is rounded up too: for all that the clock can reach that adds less than half a nanosecond, which
        // the rounding of the product can make a whole one.
        match nanos.checked_sub(1) {
            Some(before) if self.tick(Timestamp::from_nanos(before)).0 >= ticks => before,
            _ => nanos,
        }
    }

    /// The very first nanosecond at which [`Self::tick_up`] says at least `ticks`. Saturates.
    #[inline]
    pub(crate) const fn first_nano_up(&self, ticks: u64) -> u64 {
        // It says less for as long as the tick before has not begun, and at the moment when that begins.
        match ticks.checked_sub(1) {
            Some(last) => self.first_nano(last).saturating_add(1),
            None => 0,
        }
    }

    /// The shortest span after which at least `ticks` have passed, from whatever point in time it is counted; whole
    /// nanoseconds. Saturates at [`Duration::MAX`].
    #[inline]
    pub(crate) const fn span(&self, ticks: u64) -> Duration {
        match self.span_nanos(ticks) {
            Some(nanos) => Duration::from_nanos(nanos),
            None => Duration::MAX,
        }
    }

    /// The same in nanoseconds; `None` if those are 2⁶⁴ and more.
    #[inline]
    pub(crate) const fn span_nanos(&self, ticks: u64) -> Option<u64> {
        // A tick is shorter than 2⁵⁹ ns, the longest period, so the shift back stays above zero.
        let back = 63 - self.shift;
        let nanos = (ticks as u128 * self.inverse as u128 + ((1 << back) - 1)) >> back;
        if nanos > u64::MAX as u128 {
            None
        } else {
            Some(nanos as u64)
        }
    }
}

/// `numerator / denominator`, above zero and at most 1, as `factor / 2^(63 + shift)`, rounded up.
const fn ratio_up_to_one(numerator: u128, denominator: u64) -> (u64, u32) {
    debug_assert!(0 < numerator && numerator <= denominator as u128);
    // Doubled until it is more than half the denominator, the numerator gives a quotient in (2⁶², 2⁶³].
    let mut shift = 0;
    let mut scaled = numerator;
    while scaled << 1 <= denominator as u128 {
        scaled <<= 1;
        shift += 1;
    }
    // At most 2⁶³, since scaled ≤ denominator.
    ((scaled << 63).div_ceil(denominator as u128) as u64, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scales with ticks of 1 ns, a little more, and some seconds.
    fn scales() -> [TickScale; 3] {
        [
            TickScale::new(1, 1_000_000_000, 1_000_000_000),
            TickScale::new(3, 1_000_000_000, 333_333_333),
            TickScale::new(1, 10_000_000_000, 2),
        ]
    }

    const NANOS: [u64; 7] = [0, 1, 2, 999_999_999, 5_000_000_000, 10_000_000_001, 1 << 61];

    #[test]
    fn a_scale_given_away_as_numbers_says_the_same() {
        for scale in scales() {
            let (factor, shift) = scale.to_parts();
            for now in NANOS.map(Timestamp::from_nanos) {
                assert_eq!(TickScale::tick_by(factor, shift, now), scale.tick(now));
            }
        }
        assert_eq!(TickScale::tick_by(0, 0, Timestamp::MAX), Tick(0));
    }

    #[test]
    fn a_tick_rounded_up_is_the_first_that_has_not_begun_before() {
        for scale in scales() {
            for now in NANOS.map(Timestamp::from_nanos) {
                let (Tick(begun), Tick(up)) = (scale.tick(now), scale.tick_up(now));
                let begins_now = scale.first_nano(begun) == now.as_nanos();
                assert_eq!(up, if begins_now { begun } else { begun + 1 });
            }
        }
    }

    #[test]
    fn a_span_is_the_shortest_that_is_long_enough_whenever_it_begins() {
        for scale in scales() {
            for ticks in [0, 1, 7, 1_000_000] {
                let span = scale.span(ticks);
                for now in NANOS.map(Timestamp::from_nanos) {
                    let Tick(passed) = scale.tick(now.saturating_add(span));
                    assert!(passed - scale.tick(now).0 >= ticks);
                }
                // From the start of the clock a nanosecond less than one tick less is not enough.
                let less = span
                    .saturating_sub(scale.span(1))
                    .saturating_sub(Duration::from_nanos(1));
                let Tick(passed) = scale.tick(Timestamp::ZERO.saturating_add(less));
                assert!(ticks == 0 || passed < ticks, "{span:?} for {ticks} ticks");
            }
        }
        let [_, _, coarse] = scales();
        assert_eq!(coarse.span(u64::MAX), Duration::MAX);
    }
}

//! How much more than its bound one key was given, in the worst of all windows.

use std::time::Duration;

/// What any window of time may admit at most: `burst + tokens × (its length / per)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    burst: u64,
    tokens: u128,
    per_ns: u128,
}

impl Bound {
    /// A burst and a rate of so many tokens a period, as exact as integers are for up to 10¹² tokens, periods up to ten years and
    /// 10¹⁵ admitted tokens in all. A period of zero counts as a nanosecond.
    pub const fn new(burst: u64, tokens: u64, per: Duration) -> Self {
        let per_ns = per.as_nanos();
        Self {
            burst,
            tokens: tokens as u128,
            per_ns: if per_ns == 0 { 1 } else { per_ns },
        }
    }

    /// A burst and a rate in tokens a second, from 0 to 10¹², rounded up to millionths.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    pub fn per_second(burst: u64, rate: f64) -> Self {
        let millionths = (rate * 1e6).ceil().clamp(0.0, 1e18) as u64;
        Self::new(burst, millionths, Duration::from_secs(1_000_000))
    }

    /// The same rate and so many tokens more in any window: the excess that a mode is allowed.
    #[must_use]
    pub const fn plus(mut self, tokens: u64) -> Self {
        self.burst = self.burst.saturating_add(tokens);
        self
    }

    /// The same burst and a rate that is so many thousandths higher.
    #[must_use]
    pub const fn faster_by(mut self, permille: u32) -> Self {
        self.tokens = self.tokens.saturating_mul(1000 + permille as u128);
        self.per_ns = self.per_ns.saturating_mul(1000);
        self
    }

    /// Into how many parts a token is divided so that a nanosecond's refill is a whole number of them.
    pub const fn parts_per_token(&self) -> u128 {
        self.per_ns
    }

    /// What drains in a time, in parts of a token.
    const fn drained(&self, ns: u64) -> u128 {
        self.tokens.saturating_mul(ns as u128)
    }

    #[expect(clippy::cast_precision_loss, reason = "told to people, and in error by 2⁻⁵²")]
    fn to_tokens(self, parts: i128) -> f64 {
        parts as f64 / self.per_ns as f64
    }
}

/// Follows one key whose admissions come in the order of time.
///
/// The debt `D = max(0, D − R·dt) + cost` after an admission is the largest surplus `admitted − R·w` of all windows that end with it,
/// so its maximum over all admissions, less the burst, is the worst excess of all windows: one pass instead of all pairs.
///
/// Source: the leaky bucket as a meter, ITU-T I.371, Annex A, read as a maximum over windows (Cruz, "A calculus for network delay",
/// 1991, part I).
#[derive(Debug, Clone)]
pub struct Meter {
    bound: Bound,
    /// In parts of a token.
    debt: u128,
    /// The window whose surplus the debt is: it began with the first admission after the debt was zero.
    open: Window,
    worst: Option<Worst>,
}

/// A closed window of time and what it admitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// When its first admission was.
    pub from_ns: u64,
    /// When its last admission was.
    pub to_ns: u64,
    /// How many tokens it admitted.
    pub admitted: u64,
}

/// The window that came closest to its bound, or went farthest beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// The window.
    pub window: Window,
    /// How much more it admitted than its bound, in [parts of a token](Bound::parts_per_token); negative if it stayed below.
    pub excess_parts: i128,
    /// The same in tokens, rounded.
    pub excess: f64,
}

impl Worst {
    /// Whether the window admitted more than its bound, by however little.
    pub const fn is_beyond(&self) -> bool {
        self.excess_parts > 0
    }
}

impl Meter {
    /// A key that has been idle for ever.
    pub const fn new(bound: Bound) -> Self {
        Self {
            bound,
            debt: 0,
            open: Window {
                from_ns: 0,
                to_ns: 0,
                admitted: 0,
            },
            worst: None,
        }
    }

    /// Counts an admission of `cost` tokens. One that comes before the last is counted at the last's time.
    pub fn admit(&mut self, at_ns: u64, cost: u64) {
        let since_ns = at_ns.saturating_sub(self.open.to_ns);
        self.debt = self.debt.saturating_sub(self.bound.drained(since_ns));
        let at_ns = self.open.to_ns.saturating_add(since_ns);
        if self.debt == 0 {
            self.open = Window {
                from_ns: at_ns,
                to_ns: at_ns,
                admitted: 0,
            };
        }
        self.debt = self.debt.saturating_add(self.in_parts(cost));
        self.open.to_ns = at_ns;
        self.open.admitted = self.open.admitted.saturating_add(cost);
        let excess_parts = signed(self.debt).saturating_sub(signed(self.in_parts(self.bound.burst)));
        if self.worst.is_none_or(|worst| excess_parts > worst.excess_parts) {
            self.worst = Some(Worst {
                window: self.open,
                excess_parts,
                excess: self.bound.to_tokens(excess_parts),
            });
        }
    }

    /// The worst window so far; `None` before the first admission.
    pub const fn worst(&self) -> Option<Worst> {
        self.worst
    }

    /// By how many tokens the worst window was beyond its bound; 0 if none was.
    pub fn excess(&self) -> f64 {
        self.worst.map_or(0.0, |worst| worst.excess.max(0.0))
    }

    const fn in_parts(&self, tokens: u64) -> u128 {
        (tokens as u128).saturating_mul(self.bound.per_ns)
    }
}

fn signed(parts: u128) -> i128 {
    i128::try_from(parts).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[track_caller]
    fn check(bound: Bound, admissions: &[(u64, u64)], excess: f64) {
        let mut meter = Meter::new(bound);
        for (at_ns, cost) in admissions {
            meter.admit(*at_ns, *cost);
        }
        let found = meter.worst().map_or(f64::NEG_INFINITY, |worst| worst.excess);
        assert!((found - excess).abs() < 1e-9, "{found} is not {excess}");
    }

    #[test]
    fn a_burst_and_then_the_rate_is_no_excess() {
        let bound = Bound::new(3, 10, Duration::from_secs(1));
        check(bound, &[(0, 3), (100 * MS, 1), (200 * MS, 1)], 0.0);
        check(bound, &[(0, 3), (99 * MS, 1)], 0.01);
        check(bound, &[(0, 1)], -2.0);
    }

    #[test]
    fn the_worst_window_is_told() {
        let mut meter = Meter::new(Bound::per_second(2, 1.0));
        for at_ns in [0, 10_000 * MS, 10_000 * MS, 10_500 * MS, 30_000 * MS] {
            meter.admit(at_ns, 1);
        }
        let worst = meter.worst().expect("there were admissions");
        let window = Window {
            from_ns: 10_000 * MS,
            to_ns: 10_500 * MS,
            admitted: 3,
        };
        assert_eq!((worst.window, worst.is_beyond()), (window, true));
        assert!((meter.excess() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn an_allowance_and_a_higher_rate_are_taken_off() {
        let bound = Bound::new(3, 10, Duration::from_secs(1));
        check(bound.plus(2), &[(0, 5)], 0.0);
        check(bound.faster_by(50), &[(0, 3), (100 * MS, 2)], 0.95);
    }

    #[test]
    fn the_largest_numbers_saturate() {
        let mut meter = Meter::new(Bound::new(0, u64::MAX, Duration::MAX).faster_by(u32::MAX));
        for at_ns in [0, u64::MAX, 0, u64::MAX] {
            meter.admit(at_ns, u64::MAX);
        }
        assert!(meter.excess() > 0.0);
    }
}

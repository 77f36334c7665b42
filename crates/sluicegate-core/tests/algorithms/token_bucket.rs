//! The token bucket against exact arithmetic: whatever the limit, the clock and the costs, what it admits stays within
//! one unit of an ideal bucket's bound, on both sides.

use num_bigint::BigUint;
use proptest::prelude::*;
use sluicegate_core::algorithm::{Tat, TokenBucket};
use sluicegate_core::{Cost, Limit, Retry, Timestamp};
use std::time::Duration;

use crate::histories::histories;

/// The exact debt of a stream of admissions: in units times period, so that no division is ever needed.
struct ExactDebt {
    count: BigUint,
    period: BigUint,
    burst: BigUint,
    debt: BigUint,
    at: u64,
}

impl ExactDebt {
    fn new(limit: &Limit) -> Self {
        Self {
            count: limit.count().get().into(),
            period: limit.period().as_nanos().into(),
            burst: limit.burst().get().into(),
            debt: 0u8.into(),
            at: 0,
        }
    }

    fn advance(&mut self, now: u64) {
        let refill = &self.count * (now.saturating_sub(self.at));
        self.debt = if refill > self.debt {
            0u8.into()
        } else {
            &self.debt - refill
        };
        self.at = self.at.max(now);
    }

    /// Whether the debt, after `cost` more, is at most `burst + slack` units.
    fn fits(&self, cost: u64, slack: u8) -> bool {
        &self.debt + &self.period * cost <= (&self.burst + slack) * &self.period
    }

    /// Whether the debt, after `cost` more, would leave at least a whole unit unused.
    fn fits_easily(&self, cost: u64) -> bool {
        &self.debt + &self.period * cost + &self.period <= &self.burst * &self.period
    }

    fn charge(&mut self, cost: u64) {
        self.debt += &self.period * cost;
    }
}

fn limits() -> impl Strategy<Value = Limit> {
    let magnitudes = (0u32..30, 0u32..58, 0u32..64, any::<[u64; 3]>());
    magnitudes.prop_filter_map("the rate is above the highest", |(count, period, burst, noise)| {
        // Every order of magnitude is as likely as the next, with odd numbers in each.
        let spread = |bits: u32, noise: u64| (1u64 << bits) | (noise & ((1u64 << bits) - 1));
        let period = Duration::from_nanos(spread(period, noise[1]));
        Limit::new(spread(count, noise[0]), period, spread(burst, noise[2])).ok()
    })
}

/// Steps of the clock as parts of an emission interval or of a whole burst, and costs as parts of the burst.
fn steps() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    proptest::collection::vec((0u8..6, any::<u64>(), any::<u64>()), 1..60)
}

fn step_nanos(limit: &Limit, kind: u8, noise: u64) -> u64 {
    let interval = u64::try_from(limit.period().as_nanos()).expect("a period fits") / limit.count();
    match kind {
        0 => 0,
        1 => noise % interval.saturating_add(1),
        2 => interval,
        3 => interval + 1,
        4 => noise % interval.saturating_mul(limit.burst().get().min(64)).max(1),
        _ => noise % (1 << 58),
    }
}

fn step_cost(limit: &Limit, noise: u64) -> u64 {
    match noise % 5 {
        0 => noise,
        1 => noise % limit.burst().get().saturating_add(2),
        _ => noise % 3,
    }
}

proptest! {
    #![proptest_config(histories(20_000))]

    /// Over any interval Δ at most B + nΔ/P + 1 units pass, and nothing is refused that an ideal bucket with one unit
    /// less would admit.
    #[test]
    fn admissions_stay_within_one_unit_of_the_exact_bound(limit in limits(), steps in steps()) {
        let bucket = TokenBucket::new(limit);
        let mut model = ExactDebt::new(&limit);
        let mut tat = Tat::UNSEEN;
        let mut now = 0u64;
        // A burst above 2⁶¹ units is held as 2⁶¹, as the bucket's documentation says.
        let burst_held = limit.burst().get().min(1 << 61);
        for (kind, time_noise, cost_noise) in steps {
            now = now.saturating_add(step_nanos(&limit, kind, time_noise)).min(Timestamp::MAX.as_nanos());
            let cost = step_cost(&limit, cost_noise);
            model.advance(now);
            let verdict = bucket.decide(tat, bucket.tick(Timestamp::from_nanos(now)), Cost::new(cost));
            if verdict.passes() {
                prop_assert!(model.fits(cost, 1), "{limit}: {cost} at {now} passed beyond the bound");
                model.charge(cost);
            } else if burst_held == limit.burst().get() {
                prop_assert!(!model.fits_easily(cost), "{limit}: {cost} at {now} refused with room to spare");
            }
            prop_assert!(verdict.passes() || verdict.tat() == tat, "a refusal left a trace");
            tat = verdict.tat();
        }
    }

    /// A client that comes back after exactly `retry_after` is admitted, and one interval earlier is not.
    #[test]
    fn retry_after_is_honest(limit in limits(), at in 0u64..(1 << 60), costs in proptest::collection::vec(any::<u64>(), 1..8)) {
        let bucket = TokenBucket::new(limit);
        let now = Timestamp::from_nanos(at);
        let mut tat = Tat::UNSEEN;
        for noise in costs {
            let cost = Cost::new(step_cost(&limit, noise));
            let verdict = bucket.decide(tat, bucket.tick(now), cost);
            tat = verdict.tat();
            let Some(Retry::After(wait)) = bucket.retry(&verdict) else { continue };
            let then = now.saturating_add(wait);
            prop_assume!(then < Timestamp::MAX);
            prop_assert!(bucket.decide(tat, bucket.tick(then), cost).passes(), "{limit}: refused after {wait:?}");
            // Two nanoseconds are a tick; a coarse tick is at most one emission interval.
            let early = wait.saturating_sub(Duration::from_nanos(2)).saturating_sub(limit.period() / 1_000_000);
            let interval = limit.period().as_nanos() / u128::from(limit.count().get());
            if early.as_nanos() > interval {
                let interval = Duration::from_nanos(u64::try_from(interval).expect("an interval fits"));
                let early = early.saturating_sub(interval);
                prop_assert!(!bucket.decide(tat, bucket.tick(now.saturating_add(early)), cost).passes());
            }
        }
    }

    /// The clock may jump anywhere: no answer panics, and the bound holds over the time that passed forwards.
    #[test]
    fn a_clock_that_jumps_about_never_admits_more(limit in limits(), jumps in proptest::collection::vec(any::<u64>(), 1..40)) {
        let bucket = TokenBucket::new(limit);
        let mut model = ExactDebt::new(&limit);
        let mut tat = Tat::UNSEEN;
        for now in jumps {
            model.advance(Timestamp::from_nanos(now).as_nanos());
            let verdict = bucket.decide(tat, bucket.tick(Timestamp::from_nanos(now)), Cost::ONE);
            if verdict.passes() {
                prop_assert!(model.fits(1, 1), "{limit}: passed beyond the bound");
                model.charge(1);
            }
            tat = verdict.tat();
        }
    }
}

/// Walks 10⁹ requests, each sent at the very moment that the one before was promised, and compares the time that took
/// with exact arithmetic: drift of one unit in 10⁹ would show.
///
/// The burst is above one, since a client that can only come at whole nanoseconds loses their fractions for good when
/// it has no burst to come early by: that is its clock's doing, and an ideal bucket would not do better.
#[track_caller]
fn check_drift(limit: &str) {
    const REQUESTS: u64 = 1_000_000_000;
    let limit: Limit = limit.parse().expect("a limit");
    let bucket = TokenBucket::new(limit);
    let mut tat = Tat::UNSEEN;
    let mut now = Timestamp::ZERO;
    let mut admitted = 0u64;
    while admitted < REQUESTS {
        let verdict = bucket.decide(tat, bucket.tick(now), Cost::ONE);
        tat = verdict.tat();
        match bucket.retry(&verdict) {
            None => admitted += 1,
            Some(Retry::After(wait)) => now = now.saturating_add(wait),
            Some(Retry::Never) => unreachable!("a cost of one never exceeds a burst"),
        }
    }
    // admitted = burst + count × now / period, to one unit.
    let period = limit.period().as_nanos();
    let refilled = u128::from(REQUESTS - limit.burst().get()) * period;
    let passed = u128::from(now.as_nanos()) * u128::from(limit.count().get());
    assert!(
        passed.abs_diff(refilled) <= period + u128::from(limit.count().get()),
        "{limit}: {passed} against {refilled}"
    );
}

#[test]
fn three_a_second_do_not_drift_over_a_thousand_million_requests() {
    check_drift("3/s");
}

#[test]
fn three_hundred_thousand_a_second_do_not_drift_over_a_thousand_million_requests() {
    check_drift("300k/s burst 7");
}

#[test]
fn seven_hundred_million_a_second_do_not_drift_over_a_thousand_million_requests() {
    check_drift("700M/s burst 1000");
}

#[test]
fn one_a_day_admits_exactly_one_a_day() {
    let bucket = TokenBucket::new("1/d".parse().expect("a limit"));
    let day = 86_400_000_000_000;
    let mut tat = Tat::UNSEEN;
    for request in 0..48 * 400u64 {
        let verdict = bucket.decide(tat, bucket.tick(Timestamp::from_nanos(request * (day / 48))), Cost::ONE);
        assert_eq!(verdict.passes(), request.is_multiple_of(48), "half-hour {request}");
        tat = verdict.tat();
    }
}

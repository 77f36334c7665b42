//! Sliding windows against the counts of all windows there ever were.

use std::collections::BTreeMap;

use num_bigint::BigUint;
use proptest::prelude::*;
use sluicegate_core::algorithm::{SlidingWindow, Wide};
use sluicegate_core::{Cost, Limit, Timestamp};

use crate::histories::{epochs, histories, limits, nanos, small_limits, steps};

/// What was counted in each window, by its number since the Unix epoch.
struct Counts {
    period: u128,
    epoch_at_start: u128,
    by_number: BTreeMap<u128, BigUint>,
    /// The window of the last charge, until nothing of it and the one before is counted.
    last: Option<u128>,
}

impl Counts {
    fn new(limit: &Limit, epoch_at_start: u64) -> Self {
        Self {
            period: limit.period().as_nanos(),
            epoch_at_start: epoch_at_start.into(),
            by_number: BTreeMap::new(),
            last: None,
        }
    }

    fn number(&self, now: u64) -> u128 {
        (self.epoch_at_start + u128::from(now)) / self.period
    }

    /// The window that counts at `now`: a clock that goes back does not leave the one that was last charged.
    fn current(&self, now: u64) -> u128 {
        self.number(now).max(self.last.unwrap_or(0))
    }

    fn count(&self, number: Option<u128>) -> BigUint {
        number
            .and_then(|number| self.by_number.get(&number))
            .cloned()
            .unwrap_or_default()
    }

    /// `previous·(P − elapsed) + current·P`.
    fn counted(&self, now: u64) -> BigUint {
        let current = self.current(now);
        let elapsed = (self.epoch_at_start + u128::from(now)).saturating_sub(current * self.period);
        self.count(current.checked_sub(1)) * (self.period - elapsed) + self.count(Some(current)) * self.period
    }

    fn charge(&mut self, now: u64, cost: u64) {
        let current = self.current(now);
        if cost > 0 {
            *self.by_number.entry(current).or_default() += cost;
            self.last = Some(current);
            // What is older is over for good, even if this charge is given back and the clock goes back.
            self.by_number.retain(|number, _| number + 1 >= current);
        }
    }

    fn refund(&mut self, cost: u64, charged_at: u64) {
        let number = self.number(charged_at);
        let Some(last) = self.last else { return };
        if (last.saturating_sub(1)..=last).contains(&number)
            && let Some(count) = self.by_number.get_mut(&number)
        {
            *count -= count.clone().min(cost.into());
        }
        if self.count(Some(last)) + self.count(last.checked_sub(1)) == 0u8.into() {
            self.last = None;
            self.by_number.clear();
        }
    }
}

proptest! {
    #![proptest_config(histories(15_000))]

    #[test]
    fn verdicts_are_those_of_exact_shares(limit in limits(), epoch_at_start in epochs(), steps in steps()) {
        let window = SlidingWindow::new(limit, epoch_at_start);
        let mut model = Counts::new(&limit, epoch_at_start);
        let max = BigUint::from(limit.count().get());
        let mut state = Wide::UNSEEN;
        let mut now = 0;
        let mut charged: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            now = step.time(&limit, now);
            let cost = step.cost(limit.count().get());
            match step.pick(8) {
                0 => if let Some((cost, charged_at)) = charged.pop() {
                    state = window.give_back(state, Cost::new(cost), Timestamp::from_nanos(charged_at));
                    model.refund(cost, charged_at);
                },
                1 => {
                    let cost = cost >> 32;
                    state = window.overdraw(state, Timestamp::from_nanos(now), Cost::new(cost));
                    model.charge(now, cost);
                }
                _ => {
                    let ruling = window.decide(state, Timestamp::from_nanos(now), Cost::new(cost));
                    state = ruling.state;
                    let fits = model.counted(now) + BigUint::from(cost) * model.period <= &max * model.period;
                    prop_assert_eq!(ruling.answer.passes(), fits, "{} at {}", cost, now);
                    if fits {
                        model.charge(now, cost);
                        charged.push((cost, now));
                    }
                    let (counted, whole) = (model.counted(now), &max * model.period);
                    let left = if counted > whole { 0u8.into() } else { (whole - counted) / model.period };
                    prop_assert_eq!(BigUint::from(ruling.answer.remaining), left);
                }
            }
        }
    }

    /// Any window of length P, wherever it begins, admits less than 2n.
    #[test]
    fn any_window_admits_less_than_twice_the_count(limit in small_limits(), epoch_at_start in epochs(), steps in steps()) {
        let window = SlidingWindow::new(limit, epoch_at_start);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let mut state = Wide::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.later(&limit, now);
            let cost = step.cost(limit.count().get());
            let ruling = window.decide(state, Timestamp::from_nanos(now), Cost::new(cost));
            state = ruling.state;
            if ruling.answer.passes() {
                admitted.push((now, cost));
            }
        }
        prop_assert!(most_in_any_window(&admitted, nanos(limit.period())) < 2 * limit.count().get());
    }
}

/// The most units that any window of length `period` admitted.
fn most_in_any_window(admitted: &[(u64, u64)], period: u64) -> u64 {
    let mut most = 0;
    let mut within = 0;
    let mut oldest = 0;
    for (at, cost) in admitted {
        within += cost;
        while admitted[oldest].0 + period <= *at {
            within -= admitted[oldest].1;
            oldest += 1;
        }
        most = most.max(within);
    }
    most
}

/// The most units that any second admits of 100 a second, when a request of one unit comes at each of `arrivals`.
fn most_admitted(arrivals: impl Iterator<Item = u64>) -> u64 {
    let window = SlidingWindow::new("100/s".parse().expect("a limit"), 0);
    let mut state = Wide::UNSEEN;
    let mut admitted = Vec::new();
    for now in arrivals {
        let ruling = window.decide(state, Timestamp::from_nanos(now), Cost::ONE);
        state = ruling.state;
        if ruling.answer.passes() {
            admitted.push((now, 1));
        }
    }
    most_in_any_window(&admitted, 1_000_000_000)
}

/// A burst at the end of a window, and then as much as is let through.
#[test]
fn the_worst_true_window_holds_one_unit_less_than_twice_the_count() {
    let burst = std::iter::repeat_n(999_999_999, 100);
    let then = (1_000_000_000..1_999_999_999).step_by(99_999);
    let last = std::iter::repeat_n(1_999_999_998, 2);
    assert_eq!(most_admitted(burst.chain(then).chain(last)), 199);
}

/// Ten times too much, evenly, for a minute.
#[test]
fn steady_overload_is_admitted_at_the_count_and_no_more() {
    let most = most_admitted((0..60_000_000_000).step_by(1_000_000));
    assert_eq!(most, 100);
}

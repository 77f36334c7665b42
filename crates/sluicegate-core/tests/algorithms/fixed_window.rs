//! Fixed windows against windows in big numbers, on a time line that starts at the Unix epoch.

use num_bigint::BigUint;
use proptest::prelude::*;
use sluicegate_core::algorithm::{Align, FixedWindow, Wide};
use sluicegate_core::{Cost, Limit, Timestamp};

use crate::histories::{epochs, histories, limits, nanos, steps};

/// The last window that was charged, on a time line that starts at the Unix epoch; those before it are over for good.
struct Windows {
    align: Align,
    period: BigUint,
    epoch_at_start: BigUint,
    last: Option<Window>,
}

#[derive(Clone)]
struct Window {
    begins_at: BigUint,
    ends_at: BigUint,
    count: BigUint,
}

impl Windows {
    fn new(limit: &Limit, align: Align, epoch_at_start: u64) -> Self {
        Self {
            align,
            period: limit.period().as_nanos().into(),
            epoch_at_start: epoch_at_start.into(),
            last: None,
        }
    }

    /// The window that a charge at `now` counts in: the last one, unless it is over.
    fn at(&self, now: u64) -> Window {
        let now = &self.epoch_at_start + now;
        match &self.last {
            Some(last) if now < last.ends_at => last.clone(),
            _ => {
                let begins_at = match self.align {
                    Align::Epoch => &now / &self.period * &self.period,
                    Align::FirstHit => now,
                };
                Window {
                    ends_at: &begins_at + &self.period,
                    begins_at,
                    count: 0u8.into(),
                }
            }
        }
    }

    fn charge(&mut self, now: u64, cost: u64) {
        if cost > 0 {
            let mut window = self.at(now);
            window.count += cost;
            self.last = Some(window);
        }
    }

    fn refund(&mut self, cost: u64, charged_at: u64) {
        let charged_at = &self.epoch_at_start + charged_at;
        if let Some(last) = &mut self.last
            && (&last.begins_at..&last.ends_at).contains(&&charged_at)
        {
            last.count -= last.count.clone().min(cost.into());
        }
        self.last = self.last.take().filter(|last| last.count > 0u8.into());
    }
}

proptest! {
    #![proptest_config(histories(15_000))]

    #[test]
    fn verdicts_are_those_of_windows_since_the_epoch(
        limit in limits(), first_hit in any::<bool>(), epoch_at_start in epochs(), steps in steps(),
    ) {
        let align = if first_hit { Align::FirstHit } else { Align::Epoch };
        let window = FixedWindow::new(limit, align, epoch_at_start);
        let mut model = Windows::new(&limit, align, epoch_at_start);
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
                    let fits = model.at(now).count + cost <= max;
                    prop_assert_eq!(ruling.answer.passes(), fits, "{} at {}", cost, now);
                    if fits {
                        model.charge(now, cost);
                        charged.push((cost, now));
                    }
                    let left = &max - model.at(now).count.min(max.clone());
                    prop_assert_eq!(BigUint::from(ruling.answer.remaining), left);
                }
            }
        }
    }

    /// No window admits more than n, and no two that meet more than 2n.
    #[test]
    fn no_window_admits_more_than_the_count(limit in limits(), epoch_at_start in epochs(), steps in steps()) {
        let window = FixedWindow::new(limit, Align::Epoch, epoch_at_start);
        let (max, period) = (u128::from(limit.count().get()), u128::from(nanos(limit.period())));
        let mut admitted: Vec<(u128, u128)> = Vec::new();
        let mut state = Wide::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.later(&limit, now);
            let cost = step.cost(limit.count().get());
            let ruling = window.decide(state, Timestamp::from_nanos(now), Cost::new(cost));
            state = ruling.state;
            if ruling.answer.passes() {
                admitted.push((u128::from(now) + u128::from(epoch_at_start), u128::from(cost)));
            }
        }
        for (at, _) in &admitted {
            let same: u128 = admitted.iter().filter(|(other, _)| other / period == at / period).map(|(_, cost)| cost).sum();
            prop_assert!(same <= max);
            let within: u128 = admitted.iter().filter(|(other, _)| (*at..at + period).contains(other)).map(|(_, cost)| cost).sum();
            prop_assert!(within <= 2 * max);
        }
    }
}

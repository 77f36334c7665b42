//! The leaky bucket against a queue in exact fractions.

use std::time::Duration;

use num_bigint::BigInt;
use proptest::prelude::*;
use sluicegate_core::algorithm::{LeakyBucket, Tat};
use sluicegate_core::{Cost, Limit, Timestamp};

use crate::histories::{histories, limits, nanos, small_limits, steps, whole_limits};

/// The queue of a bucket, with times in nanoseconds × count, so that an interval is the period and nothing is rounded.
struct Queue {
    count: BigInt,
    interval: BigInt,
    burst: BigInt,
    free: BigInt,
    max_wait: BigInt,
    end: BigInt,
}

impl Queue {
    fn new(limit: &Limit, max_wait: u64, free: u64) -> Self {
        let count = BigInt::from(limit.count().get());
        Self {
            interval: limit.period().as_nanos().into(),
            burst: limit.burst().get().into(),
            free: free.into(),
            max_wait: &count * max_wait,
            end: 0.into(),
            count,
        }
    }

    /// The wait of a request at `now`; `None` if the queue or the wait would be too long.
    fn wait(&self, now: u64, cost: u64) -> Option<BigInt> {
        let now = &self.count * now;
        let debt = (&self.end - &now).max(0.into());
        let wait = if cost == 0 {
            0.into()
        } else {
            (&debt - &self.free * &self.interval).max(0.into())
        };
        let fits = debt + &self.interval * cost <= &self.burst * &self.interval;
        (fits && wait <= self.max_wait).then_some(wait)
    }

    fn join(&mut self, now: u64, cost: u64, leaves_after: u64) {
        if cost > 0 {
            let leaves = &self.count * (now + leaves_after);
            self.end = self.end.clone().max(leaves) + &self.interval * cost;
        }
    }
}

proptest! {
    #![proptest_config(histories(15_000))]

    /// Where ticks are nanoseconds nothing is rounded, and every verdict and wait is the exact one.
    #[test]
    fn verdicts_and_waits_are_those_of_an_exact_queue(
        limit in whole_limits(), max_wait in 0u64..1 << 45, free in 0u64..5, steps in steps(), elsewhere in any::<u64>(),
    ) {
        let leaky = LeakyBucket::new(limit, Duration::from_nanos(max_wait), free);
        let mut model = Queue::new(&limit, max_wait, free);
        let mut tat = Tat::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.time(&limit, now);
            let cost = step.cost(limit.burst().get());
            let depart_after = if step.pick(4) == 0 { elsewhere % (max_wait + 1) } else { 0 };
            let ruling = leaky.decide_departing(
                tat, Timestamp::from_nanos(now), Cost::new(cost), Duration::from_nanos(depart_after),
            );
            tat = ruling.state;
            let wait = model.wait(now, cost);
            prop_assert_eq!(ruling.answer.passes(), wait.is_some(), "{} at {}", cost, now);
            if let Some(wait) = wait {
                model.join(now, cost, depart_after);
                let expected = if cost == 0 { wait } else { wait.max(&model.count * depart_after) };
                prop_assert_eq!(&model.count * nanos(ruling.answer.delay), expected);
            }
        }
    }

    /// Whatever the limit: what leaves is never closer together than its units ask for, nobody waits longer than the
    /// longest wait, and nobody is refused whom a queue of one unit less would take.
    #[test]
    fn what_leaves_is_spaced_and_nobody_is_refused_for_nothing(
        limit in prop_oneof![limits(), small_limits()], max_wait in 0u64..1 << 56, steps in steps(),
    ) {
        let leaky = LeakyBucket::new(limit, Duration::from_nanos(max_wait), 0);
        let mut model = Queue::new(&limit, max_wait, 0);
        let period = limit.period().as_nanos();
        let count = u128::from(limit.count().get());
        let mut last: Option<(u64, u64)> = None;
        let mut tat = Tat::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.later(&limit, now);
            let cost = step.cost(limit.burst().get());
            let ruling = leaky.decide(tat, Timestamp::from_nanos(now), Cost::new(cost));
            tat = ruling.state;
            if !ruling.answer.passes() {
                // One unit less of queue, and one unit less of wait: a tick is at most an interval.
                let unit = BigInt::from(1) * &model.interval;
                let debt = (&model.end - &model.count * now).max(0.into());
                let wait = (&model.end + &unit - &model.count * now).max(0.into());
                let easily = &debt + &model.interval * cost + &unit <= &model.burst * &model.interval
                    && (cost == 0 || wait <= model.max_wait);
                prop_assert!(!easily || limit.burst().get() > 1 << 61, "{} at {} refused with room to spare", cost, now);
                continue;
            }
            prop_assert!(nanos(ruling.answer.delay) <= max_wait);
            if cost == 0 {
                continue;
            }
            let leaves_at = now + nanos(ruling.answer.delay);
            if let Some((before, cost)) = last {
                // To the nanosecond that a clock shows.
                let spacing = u128::from(leaves_at - before);
                prop_assert!((spacing + 1) * count >= u128::from(cost) * period, "{} after a cost of {}", spacing, cost);
            }
            last = Some((leaves_at, cost));
            model.join(now, cost, 0);
        }
    }

    /// Over any interval Δ at most B + nΔ/P + 1 units join, delayed or not.
    #[test]
    fn any_interval_admits_at_most_burst_and_refill(limit in limits(), free in 0u64..1 << 40, steps in steps()) {
        let leaky = LeakyBucket::new(limit, Duration::MAX, free);
        let (count, period) = (BigInt::from(limit.count().get()), BigInt::from(limit.period().as_nanos()));
        let burst = BigInt::from(limit.burst().get()) + 1;
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let mut tat = Tat::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.later(&limit, now);
            let cost = step.cost(limit.burst().get());
            let ruling = leaky.decide(tat, Timestamp::from_nanos(now), Cost::new(cost));
            tat = ruling.state;
            if !ruling.answer.passes() {
                continue;
            }
            admitted.push((now, cost));
            let mut within = BigInt::from(0);
            for (from, cost) in admitted.iter().rev() {
                within += *cost;
                prop_assert!(&within * &period <= &burst * &period + &count * (now - from), "from {} to {}", from, now);
            }
        }
    }
}

//! The log against a plain list of everything that was ever admitted.

use num_bigint::BigUint;
use proptest::prelude::*;
use sluicegate_core::algorithm::{Log, SlidingLog};
use sluicegate_core::{Cost, Timestamp};

use crate::cell::Entries;
use crate::histories::{fewer, histories, limits, nanos, steps};

proptest! {
    #![proptest_config(histories(15_000))]

    #[test]
    fn verdicts_are_those_of_a_list_of_all_charges(limit in limits(), few in 1u64..30, steps in steps()) {
        let limit = fewer(&limit, few);
        let log_of = SlidingLog::new(limit);
        let period = nanos(limit.period());
        let max = BigUint::from(limit.count().get());
        let mut log = Entries::default();
        // What was admitted: when, by the latest time that any clock has read at a charge, and how much.
        let mut charges: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for step in steps {
            now = step.time(&limit, now);
            let cost = step.cost(limit.count().get());
            let seen = charges.last().map_or(now, |(newest, _)| now.max(*newest));
            if step.pick(6) == 0 && !charges.is_empty() {
                let index = usize::try_from(step.pick(charges.len() as u64)).expect("a small index");
                let (at, cost) = charges[index];
                // Of charges alike, the oldest goes; and only one that still counts is there to go.
                let alike = charges.iter().position(|other| *other == (at, cost)).expect("itself");
                if log_of.give_back(&mut log, Cost::new(cost), Timestamp::from_nanos(at), Timestamp::from_nanos(now)) {
                    charges.remove(alike);
                } else {
                    prop_assert!(at + period <= seen, "a charge that counts was not found");
                }
                log.assert_invariants();
                continue;
            }
            let answer = log_of.decide(&mut log, Timestamp::from_nanos(now), Cost::new(cost)).expect("room without end");
            log.assert_invariants();
            prop_assert!(log.len() as u64 <= limit.count().get());
            let counting = |charges: &[(u64, u64)]| {
                let counts = charges.iter().filter(|(at, _)| at + period > seen);
                counts.map(|(_, cost)| BigUint::from(*cost)).sum::<BigUint>()
            };
            let used = counting(&charges);
            prop_assert_eq!(answer.passes(), &used + cost <= max, "{} at {}", cost, now);
            if answer.passes() && cost > 0 {
                // What counts no more is gone for good, even if the next is given back and the clock goes back.
                charges.retain(|(at, _)| at + period > seen);
                charges.push((seen, cost));
            }
            prop_assert_eq!(BigUint::from(answer.remaining), &max - counting(&charges));
        }
    }

    /// Any window of length P admits at most n, exactly; and nothing that would keep to that is refused.
    #[test]
    fn any_window_admits_at_most_the_count(limit in limits(), few in 1u64..30, steps in steps()) {
        let limit = fewer(&limit, few);
        let log_of = SlidingLog::new(limit);
        let (period, max) = (nanos(limit.period()), u128::from(limit.count().get()));
        let mut log = Entries::default();
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        let within = |admitted: &[(u64, u64)], from: u64| -> u128 {
            let window = admitted.iter().filter(|(at, _)| (from..from + period).contains(at));
            window.map(|(_, cost)| u128::from(*cost)).sum()
        };
        for step in steps {
            now = step.later(&limit, now);
            let cost = step.cost(limit.count().get());
            let answer = log_of.decide(&mut log, Timestamp::from_nanos(now), Cost::new(cost)).expect("room without end");
            admitted.push((now, cost));
            let all_hold = admitted.iter().all(|(from, _)| within(&admitted, *from) <= max);
            prop_assert_eq!(answer.passes(), all_hold, "{} at {}", cost, now);
            if !answer.passes() {
                admitted.pop();
            }
        }
    }
}

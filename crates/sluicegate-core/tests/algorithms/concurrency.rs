//! Permits against a list of who holds how many.

use proptest::prelude::*;
use sluicegate_core::algorithm::{Concurrency, Held};
use sluicegate_core::{Cost, Permits, Retry};

use crate::histories::{histories, steps};

proptest! {
    #![proptest_config(histories(10_000))]

    /// Never are more than n held at once, a free permit is never refused, and none is held after the last has come back.
    #[test]
    fn never_more_than_there_are_and_none_after_the_last(permits in prop_oneof![1u64..20, 1u64..=u64::MAX], steps in steps()) {
        let concurrency = Concurrency::new(Permits::try_from(permits).expect("at least one"));
        let counted = u128::from(permits).min(1 << 63) - u128::from(permits >= 1 << 63);
        let mut held = Held::NONE;
        let mut holders: Vec<u64> = Vec::new();
        for step in steps {
            let all: u128 = holders.iter().map(|cost| u128::from(*cost)).sum();
            prop_assert_eq!(u128::from(held.as_u64()), all);
            if step.pick(3) == 0 && !holders.is_empty() {
                let index = usize::try_from(step.pick(holders.len() as u64)).expect("a small index");
                held = concurrency.release(held, Cost::new(holders.swap_remove(index)));
                continue;
            }
            let cost = step.cost(permits);
            let ruling = concurrency.decide(held, Cost::new(cost));
            let fits = all + u128::from(cost) <= counted;
            prop_assert_eq!(ruling.answer.passes(), fits);
            prop_assert_eq!(ruling.answer.retry == Some(Retry::Never), u128::from(cost) > counted);
            if fits {
                holders.push(cost);
            }
            held = ruling.state;
            prop_assert_eq!(u128::from(ruling.answer.remaining), counted - u128::from(held.as_u64()));
        }
        for cost in holders {
            held = concurrency.release(held, Cost::new(cost));
        }
        prop_assert!(held.is_idle());
    }
}

//! The meter against every window of small random histories.

use std::time::Duration;

use proptest::prelude::*;
use sluicegate_testkit::history::{Admissions, Bound, Meter};

/// Every closed window that begins and ends with an admission, one by one: no other admits more in less time.
fn worst_by_trying_all(admissions: &[(u64, u64)], burst: u64, tokens: u64, per_ns: u64) -> Option<i128> {
    let windows = admissions
        .iter()
        .flat_map(|from| admissions.iter().map(move |to| (from.0, to.0)));
    let excess = windows.filter(|(from, to)| from <= to).map(|(from, to)| {
        let inside = admissions.iter().filter(|(at, _)| (from..=to).contains(at));
        let admitted: u64 = inside.map(|(_, cost)| cost).sum();
        i128::from(admitted) * i128::from(per_ns)
            - i128::from(tokens) * i128::from(to - from)
            - i128::from(burst) * i128::from(per_ns)
    });
    excess.max()
}

fn history() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..60, 0_u64..5), 0..14)
}

fn recorded(admissions: &[(u64, u64)]) -> Admissions {
    let record = Admissions::new();
    for (at_ns, cost) in admissions {
        record.admit(*at_ns, *cost);
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_worst_excess_is_that_of_every_window_tried(
        admissions in history(),
        burst in 0_u64..8,
        tokens in 0_u64..5,
        per_ns in 1_u64..9,
    ) {
        let bound = Bound::new(burst, tokens, Duration::from_nanos(per_ns));
        let record = recorded(&admissions);
        let found = record.worst(bound);
        prop_assert_eq!(found.map(|worst| worst.excess_parts), worst_by_trying_all(&admissions, burst, tokens, per_ns));

        if let Some(worst) = found {
            let window = worst.window;
            prop_assert_eq!(window.admitted, record.within(window.from_ns, window.to_ns + 1), "of the window it names");
            let alone = i128::from(window.admitted) * i128::from(per_ns)
                - i128::from(tokens) * i128::from(window.to_ns - window.from_ns)
                - i128::from(burst) * i128::from(per_ns);
            prop_assert_eq!(worst.excess_parts, alone, "is what the window itself exceeds by");
        }
    }

    #[test]
    fn the_order_in_which_admissions_are_told_does_not_matter(
        admissions in history(),
        shuffled in history().prop_shuffle(),
    ) {
        let bound = Bound::new(2, 1, Duration::from_nanos(3));
        let both: Vec<_> = admissions.iter().chain(&shuffled).copied().collect();
        let record = recorded(&both);
        let mut in_order = both;
        in_order.sort_unstable();
        let mut meter = Meter::new(bound);
        for (at_ns, cost) in in_order {
            meter.admit(at_ns, cost);
        }
        prop_assert_eq!(record.worst(bound), meter.worst());
    }

    #[test]
    fn the_most_of_a_sliding_window_is_that_of_every_place_tried(admissions in history(), length_ns in 0_u64..70) {
        let record = recorded(&admissions);
        let every = (0..60).map(|from| record.within(from, from + length_ns)).max().unwrap_or_default();
        prop_assert_eq!(record.most_within(length_ns), every);
    }
}

#[test]
fn threads_tell_one_record() {
    let record = Admissions::new();
    std::thread::scope(|scope| {
        for node in 0..4 {
            let record = &record;
            scope.spawn(move || (0..1000).for_each(|at| record.admit(at * 4 + node, 1)));
        }
    });
    assert_eq!(record.within(0, 4000), 4000);
    let worst = record
        .worst(Bound::new(1, 1, Duration::from_nanos(1)))
        .expect("there were admissions");
    assert_eq!(worst.excess_parts, 0, "one a nanosecond, as allowed");
}

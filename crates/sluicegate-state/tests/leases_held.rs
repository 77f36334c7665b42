//! Charges of shared limits that are held until their requests end, and locks: over a store in memory, in simulated time.

mod node;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_core::{Cost, Limit, Mode, Report, Retry, RuleState, Timestamp};
use sluicegate_state::leases::{
    Patience, SharedBucket, SharedBucketSpec, SharedCharge, SharedHolding, SharedLimit, SharedMades, SharedTaken,
    Waited,
};
use sluicegate_state::store::{Lane, MemoryStore, StoreGeneration};
use sluicegate_state::{BucketIdentity, Clock as _, Hold, ManualClock, WhenRefused};

use node::{Node, ROUND_TRIP, poll};

fn bucket(limit: &str, sharing: Sharing, lock: Option<Duration>) -> Arc<SharedBucket> {
    of_kind(Kind::Bucket, limit, sharing, lock)
}

fn of_kind(kind: Kind, limit: &str, sharing: Sharing, lock: Option<Duration>) -> Arc<SharedBucket> {
    let limit: Limit = limit.parse().expect("a limit");
    let terms = Terms::new(kind, &limit, 0.0).held();
    Arc::new(SharedBucket::new(SharedBucketSpec {
        identity: BucketIdentity(77),
        limit: SharedLimit::Units(Plan {
            terms: lock.map_or(terms, |lock| terms.locking(lock)),
            sharing,
            on_store_loss: OnStoreLoss::Local,
            cost_max: 1.0,
            fanout: 0.0,
            spacing: None,
        }),
        overflow: None,
    }))
}

/// Two nodes of one store.
fn two() -> [Node; 2] {
    let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
    let store = MemoryStore::at(1e12);
    [Node::beside(&store, &clock), Node::beside(&store, &clock)]
}

fn charge(bucket: &Arc<SharedBucket>, cost: u64) -> SharedCharge<'_> {
    SharedCharge {
        hold: Hold::UntilTheEnd,
        ..Node::charge(bucket, 0, 1, cost)
    }
}

/// Reserves, and waits for the store where the node has to ask it.
fn reserve(node: &Node, bucket: &Arc<SharedBucket>, cost: u64) -> Option<SharedHolding> {
    let charges = [charge(bucket, cost)];
    let mut mades = SharedMades::new();
    let taken = node.leases.take(
        &charges,
        Patience::Waits,
        node.clock.now(),
        &mut Report::new(),
        &mut mades,
    );
    match taken {
        SharedTaken::All => mades.first().map(sluicegate_state::leases::SharedMade::hold),
        SharedTaken::Nothing => None,
        SharedTaken::Waits(mut waiting) => {
            node.sync(ROUND_TRIP);
            match poll(&mut waiting) {
                Poll::Ready(Waited::All(holdings)) => holdings.into_iter().next(),
                _ => None,
            }
        }
    }
}

fn settle(node: &Node, held: SharedHolding, actual: u64) {
    node.leases.settle(held, Cost::new(actual), node.clock.now());
}

/// Lets time pass on all nodes; each says what is due, every ten milliseconds.
fn pass(nodes: &[Node], span: Duration) {
    const STEP: Duration = Duration::from_millis(10);
    let mut passed = Duration::ZERO;
    while passed < span {
        nodes[0].pass(STEP);
        for node in nodes {
            node.sync(Duration::ZERO);
        }
        passed += STEP;
    }
}

const MODES: [Sharing; 2] = [Sharing::Leased, Sharing::Exact];

#[test]
fn what_one_node_reserves_the_other_has_when_it_turns_out_to_cost_less() {
    for sharing in MODES {
        let nodes = two();
        let bucket = bucket("100 per 1d", sharing, None);
        let held = reserve(&nodes[0], &bucket, 90).expect("nothing is used yet");
        assert!(held.is_held() && !held.is_permit());
        assert!(reserve(&nodes[1], &bucket, 50).is_none(), "{sharing:?}");
        settle(&nodes[0], held, 20);
        // Until the node no longer expects the like of it again.
        pass(&nodes, Duration::from_secs(10));
        assert!(reserve(&nodes[1], &bucket, 80).is_some(), "{sharing:?}");
    }
}

#[test]
fn what_turns_out_to_cost_more_is_owed_by_all_nodes() {
    for sharing in MODES {
        let nodes = two();
        let bucket = bucket("100/s", sharing, None);
        let held = reserve(&nodes[0], &bucket, 10).expect("nothing is used yet");
        settle(&nodes[0], held, 1_100);
        pass(&nodes, Duration::from_secs(2));
        assert!(reserve(&nodes[1], &bucket, 1).is_none(), "{sharing:?}");
        pass(&nodes, Duration::from_secs(10));
        assert!(reserve(&nodes[1], &bucket, 1).is_some(), "{sharing:?}");
    }
}

#[test]
fn a_reservation_that_lasts_for_minutes_comes_back_whole() {
    for sharing in MODES {
        let nodes = two();
        let bucket = bucket("100 per 7d", sharing, None);
        let held = reserve(&nodes[0], &bucket, 100).expect("nothing is used yet");
        pass(&nodes, Duration::from_mins(3));
        assert!(reserve(&nodes[1], &bucket, 1).is_none(), "{sharing:?}");
        settle(&nodes[0], held, 0);
        pass(&nodes, Duration::from_secs(1));
        assert!(reserve(&nodes[1], &bucket, 100).is_some(), "{sharing:?}");
    }
}

#[test]
fn what_is_given_back_late_revives_nothing_that_came_back_meanwhile() {
    let nodes = two();
    let bucket = bucket("10 per 100s", Sharing::Exact, None);
    let held = reserve(&nodes[0], &bucket, 10).expect("nothing is used yet");
    pass(&nodes, Duration::from_secs(90));
    assert!(
        reserve(&nodes[1], &bucket, 1).is_none(),
        "nothing comes back for what is reserved"
    );
    settle(&nodes[0], held, 0);
    pass(&nodes, Duration::from_millis(500));
    assert!(reserve(&nodes[1], &bucket, 10).is_some());
    assert!(reserve(&nodes[0], &bucket, 1).is_none());
}

#[test]
fn a_window_gets_back_what_was_counted_in_it() {
    for kind in [Kind::SlidingWindow, Kind::FixedWindow] {
        let nodes = two();
        let bucket = of_kind(kind, "100/min", Sharing::Leased, None);
        let held = reserve(&nodes[0], &bucket, 90).expect("nothing is used yet");
        settle(&nodes[0], held, 20);
        pass(&nodes, Duration::from_secs(10));
        assert!(reserve(&nodes[1], &bucket, 81).is_none(), "{kind:?}");
        pass(&nodes, Duration::from_millis(500));
        assert!(reserve(&nodes[1], &bucket, 80).is_some(), "{kind:?}");
    }
}

#[test]
fn who_leaves_while_it_waits_keeps_nothing() {
    let nodes = two();
    let bucket = bucket("100 per 1d", Sharing::Exact, None);
    let charges = [charge(&bucket, 100)];
    let SharedTaken::Waits(waiting) = nodes[0].take(&charges, Patience::Waits, &mut Report::new()) else {
        unreachable!("an exact limit asks");
    };
    drop(waiting);
    pass(&nodes, Duration::from_millis(100));
    assert!(reserve(&nodes[1], &bucket, 100).is_some());
}

#[test]
fn what_a_refused_request_is_charged_for_good_is_not_held() {
    let nodes = two();
    let bucket = bucket("100 per 1d", Sharing::Exact, None);
    let penalty = SharedCharge {
        when_refused: WhenRefused::Charge,
        ..charge(&bucket, 30)
    };
    for granted_first in [true, false] {
        let SharedTaken::Waits(waiting) = nodes[0].take(&[penalty], Patience::Waits, &mut Report::new()) else {
            unreachable!("an exact limit asks");
        };
        if granted_first {
            nodes[0].sync(ROUND_TRIP);
        }
        waiting.refuse();
        pass(&nodes, Duration::from_secs(30));
        assert!(nodes[0].leases.status().held < 1e-9, "held by nobody");
    }
    assert!(reserve(&nodes[1], &bucket, 60).is_none(), "it is charged");
}

#[test]
fn a_rule_in_shadow_mode_puts_right_what_it_counted() {
    let nodes = two();
    let bucket = bucket("100 per 1d", Sharing::Hybrid, None);
    let shadow = SharedCharge {
        mode: Mode::Shadow,
        ..charge(&bucket, 10)
    };
    let charges = [shadow];
    let mut mades = SharedMades::new();
    let taken = nodes[0].leases.take(
        &charges,
        Patience::Waits,
        nodes[0].clock.now(),
        &mut Report::new(),
        &mut mades,
    );
    assert!(matches!(taken, SharedTaken::All));
    let held = mades.first().expect("it is held").hold();
    settle(&nodes[0], held, 0);
    pass(&nodes, Duration::from_secs(1));
    assert!(reserve(&nodes[1], &bucket, 10).is_some());
}

const LOCK: Duration = Duration::from_mins(15);

/// An attempt that fails; whether it was let through.
fn fail(node: &Node, bucket: &Arc<SharedBucket>) -> bool {
    let attempt = reserve(node, bucket, 1);
    let was_let_through = attempt.is_some();
    if let Some(held) = attempt {
        settle(node, held, 1);
    }
    was_let_through
}

#[test]
fn failures_on_two_nodes_lock_the_key_on_both_and_nobody_makes_that_longer() {
    for sharing in MODES {
        let nodes = two();
        let bucket = bucket("5 per 15min", sharing, Some(LOCK));
        for failure in 0..5 {
            assert!(fail(&nodes[failure % 2], &bucket), "{sharing:?}: {failure}");
            pass(&nodes, Duration::from_millis(100));
        }
        for minutes in 0..14 {
            for node in &nodes {
                assert!(!fail(node, &bucket), "{sharing:?}: after {minutes} minutes");
                let mut report = Report::new();
                let _ = node.take(&[charge(&bucket, 1)], Patience::Waits, &mut report);
                let left = LOCK.saturating_sub(Duration::from_mins(minutes));
                let Some(Retry::After(wait)) = report.states().first().and_then(RuleState::retry) else {
                    unreachable!("it is refused");
                };
                assert!(wait.abs_diff(left) < Duration::from_secs(2), "{wait:?} of {left:?}");
            }
            pass(&nodes, Duration::from_mins(1));
        }
        pass(&nodes, Duration::from_mins(1));
        for failure in 0..4 {
            assert!(
                fail(&nodes[failure % 2], &bucket),
                "{sharing:?}: as never seen, {failure}"
            );
            pass(&nodes, Duration::from_millis(100));
        }
    }
}

#[test]
fn guesses_that_are_still_open_are_refused_plainly_and_lock_nobody() {
    let nodes = two();
    let bucket = bucket("5 per 15min", Sharing::Leased, Some(LOCK));
    let guess = |guess: usize| {
        pass(&nodes, Duration::from_millis(300));
        reserve(&nodes[guess % 2], &bucket, 1).map(|held| (guess % 2, held))
    };
    let mut open: Vec<_> = (0..5).filter_map(guess).collect();
    assert_eq!(open.len(), 5);
    assert!(!nodes.iter().any(|node| reserve(node, &bucket, 1).is_some()));
    let (node, succeeded) = open.pop().expect("five are open");
    for (node, failed) in open {
        settle(&nodes[node], failed, 1);
    }
    pass(&nodes, Duration::from_secs(1));
    settle(&nodes[node], succeeded, 0);
    pass(&nodes, Duration::from_secs(1));
    let left = nodes.iter().filter_map(|node| reserve(node, &bucket, 1)).count();
    assert_eq!(left, 1, "what succeeded came back, and nothing is locked");
}

#[test]
fn a_success_on_one_node_clears_what_failed_on_both_but_not_a_lock() {
    let nodes = two();
    let bucket = bucket("5 per 15min", Sharing::Leased, Some(LOCK));
    for failure in 0..4 {
        assert!(fail(&nodes[failure % 2], &bucket));
        pass(&nodes, Duration::from_millis(300));
    }
    let succeeds = reserve(&nodes[1], &bucket, 1).expect("a fifth");
    nodes[1].leases.clear(succeeds, nodes[1].clock.now());
    pass(&nodes, Duration::from_secs(1));
    for failure in 0..4 {
        assert!(fail(&nodes[failure % 2], &bucket), "{failure} after the success");
        pass(&nodes, Duration::from_millis(300));
    }
    let late = reserve(&nodes[0], &bucket, 1).expect("a fifth");
    let copy = late.clone();
    settle(&nodes[0], late, 1);
    pass(&nodes, Duration::from_secs(1));
    nodes[1].leases.clear(copy, nodes[1].clock.now());
    pass(&nodes, Duration::from_secs(1));
    assert!(!nodes.iter().any(|node| fail(node, &bucket)), "it is locked");
}

#[test]
fn a_lock_outlives_the_stores_data() {
    let nodes = two();
    let bucket = bucket("5 per 15min", Sharing::Leased, Some(LOCK));
    for _ in 0..5 {
        assert!(fail(&nodes[0], &bucket));
        pass(&nodes, Duration::from_millis(100));
    }
    nodes[0].store.wipe();
    // Some call about another key has found other data.
    let surroundings = nodes[0].leases.surroundings();
    surroundings.answered(Lane(0), 500.0, StoreGeneration(2));
    nodes[0].leases.wake(Lane(0), nodes[0].clock.now());
    pass(&nodes[..1], Duration::from_secs(1));
    for attempt in 0..3 {
        assert!(!fail(&nodes[1], &bucket), "{attempt}");
        pass(&nodes, Duration::from_millis(100));
    }
}

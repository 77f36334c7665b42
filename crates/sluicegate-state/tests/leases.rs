//! What a node holds of shared limits, against a store in memory and in simulated time.

mod node;

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate_core::sharing::{OnStoreLoss, Sharing};
use sluicegate_state::Clock as _;
use sluicegate_state::leases::{Haste, LaneSet, SharedTaken, Waited};
use sluicegate_state::store::Lane;

use node::{Node, ROUND_TRIP, poll, waits};

#[test]
fn a_cold_key_of_a_leased_limit_waits_for_one_answer_and_passes() {
    let node = Node::alone();
    let bucket = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(node.sync(ROUND_TRIP), 1);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
}

#[test]
fn a_leased_limit_admits_its_burst_and_not_one_more() {
    let node = Node::alone();
    let bucket = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let mut admitted = 0;
    for _ in 0..20 {
        match node.ask(&[&bucket], 1, 1) {
            SharedTaken::All => admitted += 1,
            SharedTaken::Nothing => {}
            SharedTaken::Waits(mut waiting) => {
                node.sync(ROUND_TRIP);
                admitted += usize::from(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
            }
        }
    }
    assert_eq!(admitted, 5);
}

#[test]
fn a_key_at_its_limit_costs_the_store_nothing() {
    let node = Node::alone();
    let bucket = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    for _ in 0..6 {
        if let SharedTaken::Waits(mut waiting) = node.ask(&[&bucket], 1, 1) {
            node.sync(ROUND_TRIP);
            let _ = poll(&mut waiting);
        }
    }
    let keys: usize = (0..1_000)
        .map(|_| {
            assert!(!node.passes(&bucket, 1));
            node.sync(ROUND_TRIP)
        })
        .sum();
    assert_eq!(keys, 0, "exchanges for a thousand refusals within half a second");
}

#[test]
fn a_hybrid_limit_never_waits() {
    let node = Node::alone();
    let bucket = Node::bucket("100/s burst 200", Sharing::Hybrid, OnStoreLoss::Local);
    for round in 0..2_000 {
        let taken = node.ask(&[&bucket], 1, 1);
        assert!(!matches!(taken, SharedTaken::Waits(_)), "request {round} waits");
        if round % 7 == 0 {
            node.sync(ROUND_TRIP);
        }
    }
}

#[test]
fn a_report_may_gather_and_who_waits_or_is_refused_may_not() {
    let node = Node::alone();
    let hastes = || node.leases.due_lanes(node.clock.now()).collect::<Vec<_>>();
    let trusting = Node::bucket("100/s burst 200", Sharing::Hybrid, OnStoreLoss::Local);
    // The twentieth is the last on trust, and the report of three is due at once.
    for _ in 0..20 {
        assert!(node.passes(&trusting, 1));
    }
    assert_eq!(hastes(), [(Lane(0), Haste::MayGather)]);
    assert!(!node.passes(&trusting, 1));
    assert_eq!(hastes(), [(Lane(0), Haste::Urgent)]);
    node.sync(ROUND_TRIP);
    assert_eq!(hastes(), []);

    let patient = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let _waiting = waits(node.ask(&[&patient], 2, 1));
    assert_eq!(hastes(), [(Lane(0), Haste::Urgent)]);
}

#[test]
fn a_driver_that_gathers_is_woken_by_what_is_urgent_and_by_nothing_else() {
    let node = Node::alone();
    let trusting = Node::bucket("100/s burst 200", Sharing::Hybrid, OnStoreLoss::Local);
    let mut gathers = pin!(node.leases.due_before(0.0, LaneSet::default()));
    let mut poll = || gathers.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    for _ in 0..20 {
        assert!(node.passes(&trusting, 1));
        assert!(poll().is_pending());
    }
    assert!(!node.passes(&trusting, 1));
    assert!(poll().is_ready());
}

#[test]
fn a_waiter_whose_time_is_over_is_refused() {
    let node = Node::alone();
    let bucket = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Closed);
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    node.pass(Duration::from_millis(6));
    node.leases.expire(node.clock.now());
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::Nothing { .. })));
}

#[test]
fn what_was_taken_for_a_request_that_left_is_given_back() {
    let node = Node::alone();
    let bucket = Node::bucket("1/h", Sharing::Leased, OnStoreLoss::Local);
    let waiting = waits(node.ask(&[&bucket], 1, 1));
    drop(waiting);
    node.sync(ROUND_TRIP);
    // The token that nobody waited for goes back with the next exchange.
    node.pass(Duration::from_millis(10));
    assert_eq!(node.sync(ROUND_TRIP), 1);
    node.pass(Duration::from_secs(3));
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    node.sync(ROUND_TRIP);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
}

#[test]
fn a_wiped_store_is_told_before_it_gives_anything_away() {
    let node = Node::alone();
    let bucket = Node::bucket("1/h burst 10", Sharing::Leased, OnStoreLoss::Local);
    let ask = || match node.ask(&[&bucket], 1, 1) {
        SharedTaken::All => true,
        SharedTaken::Nothing => false,
        SharedTaken::Waits(mut waiting) => {
            for _ in 0..3 {
                node.sync(ROUND_TRIP);
            }
            matches!(poll(&mut waiting), Poll::Ready(Waited::All(_)))
        }
    };
    let before = (0..10).filter(|_| ask()).count();
    assert_eq!(before, 10);
    node.store.wipe();
    node.pass(Duration::from_secs(20));
    let after = (0..10).filter(|_| ask()).count();
    assert_eq!(after, 0, "admitted again after the store was wiped");
}

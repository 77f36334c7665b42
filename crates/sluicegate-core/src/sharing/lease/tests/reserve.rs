//! What requests hold until they end.

use alloc::vec::Vec;
use core::time::Duration;

use super::*;

fn of_requests_that_settle(limit: &str, sharing: Sharing) -> World {
    let mut world = World::of(limit, sharing);
    world.plan.terms = world.plan.terms.held();
    world
}

impl World {
    /// Reserves, and waits for the store where it has to; `None` if it is refused.
    fn reserve(&mut self, lease: &mut Lease, cost: f64) -> Option<Spent> {
        lease.note(&self.plan.view(self.at), cost);
        let look = self.look(lease, cost);
        if look == Look::Wait {
            let _ = lease.spend(&self.plan.view(self.at), look, cost);
            let _ = self.sync(lease);
        }
        let look = self.look(lease, cost);
        look.passes()
            .then(|| lease.reserve(&self.plan.view(self.at), look, cost))
    }

    fn settle(&self, lease: &mut Lease, spent: &Spent, cost: f64, actual: f64) {
        lease.settle(&self.plan.view(self.at), spent, cost, actual);
    }

    /// Lets time pass, and has the node say what is due.
    fn drive(&mut self, lease: &mut Lease, span: f64) {
        let ends_at = self.at.time + span;
        while lease.due_at() <= ends_at {
            self.at.time = self.at.time.max(lease.due_at());
            let _ = self.sync(lease);
        }
        self.at.time = ends_at;
    }

    /// Units that the store and the node have left.
    fn left(&mut self, lease: &Lease) -> f64 {
        self.answer(&Ask::default()).available + lease.held(self.at.time)
    }
}

#[test]
fn less_is_given_back_and_more_is_owed() {
    for sharing in [Sharing::Leased, Sharing::Exact] {
        for (actual, left) in [(0.0, 100.0), (30.0, 70.0), (40.0, 60.0), (90.0, 10.0), (150.0, -50.0)] {
            let mut world = of_requests_that_settle("100 per 1d", sharing);
            let mut lease = world.lease();
            let spent = world.reserve(&mut lease, 40.0).expect("it is not refused");
            assert_eq!(lease.reserved(world.at.time), 40.0);
            world.settle(&mut lease, &spent, 40.0, actual);
            world.drive(&mut lease, SECOND);
            assert!(
                (world.left(&lease) - left).abs() < 0.01,
                "{sharing:?}, {actual}: {}",
                world.left(&lease)
            );
        }
    }
}

#[test]
fn a_long_request_gets_its_refund_and_costs_the_store_one_exchange_an_epoch() {
    let mut world = of_requests_that_settle("100 per 1d", Sharing::Leased);
    let mut lease = world.lease();
    let spent = world.reserve(&mut lease, 100.0).expect("it is not refused");
    let before = lease.asks;
    let epochs = 360.0;
    world.drive(&mut lease, epochs * world.plan.terms.ttl);
    assert!(
        f64::from(lease.asks - before) <= epochs + 2.0,
        "{}",
        lease.asks - before
    );
    assert!(world.left(&lease) < 1.0, "an hour's refill went to others");
    world.settle(&mut lease, &spent, 100.0, 10.0);
    world.drive(&mut lease, SECOND);
    assert!((world.left(&lease) - 90.0).abs() < 0.01, "{}", world.left(&lease));
}

#[test]
fn a_lost_reply_costs_no_refund_and_a_dead_epoch_does() {
    for (epochs, left) in [(0.3, 100.0), (3.0, 60.0)] {
        let mut world = of_requests_that_settle("100 per 1d", Sharing::Exact);
        let mut lease = world.lease();
        let spent = world.reserve(&mut lease, 40.0).expect("it is not refused");
        world.pass(1.6 * world.plan.terms.ttl);
        let view = world.plan.view(world.at);
        let ask = lease.build(&view, 0.5).expect("what is reserved has to move");
        assert_eq!(ask.settled.iter().map(|settled| settled.reserved).sum::<f64>(), 40.0);
        let _ = world.answer(&ask);
        lease.lost(&world.plan.view(world.at));
        world.pass(epochs * world.plan.terms.ttl);
        world.settle(&mut lease, &spent, 40.0, 0.0);
        world.drive(&mut lease, SECOND);
        assert!(
            (world.left(&lease) - left).abs() < 0.1,
            "{epochs}: {}",
            world.left(&lease)
        );
    }
}

#[test]
fn of_two_requests_the_one_whose_units_died_takes_no_refund_from_the_other() {
    let mut world = of_requests_that_settle("100 per 1d", Sharing::Exact);
    let mut lease = world.lease();
    let died = world.reserve(&mut lease, 40.0).expect("it is not refused");
    world.pass(3.0 * world.plan.terms.ttl);
    let lives = world.reserve(&mut lease, 30.0).expect("it is not refused");
    world.settle(&mut lease, &died, 40.0, 0.0);
    assert_eq!(lease.reserved(world.at.time), 30.0);
    world.settle(&mut lease, &lives, 30.0, 0.0);
    world.drive(&mut lease, SECOND);
    assert!((world.left(&lease) - 60.0).abs() < 0.1, "{}", world.left(&lease));
}

#[test]
fn a_key_with_open_requests_is_not_forgotten() {
    let mut world = of_requests_that_settle("100/s", Sharing::Exact);
    let mut lease = world.lease();
    let spent = world.reserve(&mut lease, 1.0).expect("it is not refused");
    assert!(!lease.is_idle(&world.plan.view(world.at)));
    world.settle(&mut lease, &spent, 1.0, 0.0);
    world.drive(&mut lease, 60.0 * SECOND);
    assert!(lease.is_idle(&world.plan.view(world.at)));
}

#[test]
fn what_passed_on_trust_is_corrected_before_it_is_reported_and_given_back_after_that() {
    let mut world = of_requests_that_settle("100/s burst 1000", Sharing::Hybrid);
    let mut lease = world.lease();
    let spent = world.reserve(&mut lease, 10.0).expect("the allowance has room");
    assert_eq!(lease.unreported(), 10.0);
    world.settle(&mut lease, &spent, 10.0, 4.0);
    assert_eq!(lease.unreported(), 4.0);
    let _ = world.sync(&mut lease);
    let mut lease = world.lease();
    let told = world.reserve(&mut lease, 6.0).expect("the allowance has room");
    let _ = world.sync(&mut lease);
    world.pass(20.0 * MS);
    world.settle(&mut lease, &told, 6.0, 0.0);
    // Two have come back by themselves.
    assert!((lease.refund - 4.0).abs() < 1e-9, "{}", lease.refund);
}

#[test]
fn a_window_gets_its_units_back_after_it_is_over_and_the_next_one_does_not() {
    let mut world = World::of_kind(Kind::SlidingWindow, "100/min", Sharing::Leased);
    world.plan.terms = world.plan.terms.held();
    let mut lease = world.lease();
    let spent = world.reserve(&mut lease, 40.0).expect("it is not refused");
    world.drive(&mut lease, 60.0 * SECOND);
    world.settle(&mut lease, &spent, 40.0, 10.0);
    world.drive(&mut lease, SECOND);
    let _ = world.answer(&Ask::default());
    let window = world.window.expect("it was kept");
    assert_eq!((window.previous, window.current), (10.0, 0.0));
}

#[test]
fn a_success_that_clears_is_told_at_once_and_again_if_it_was_not_sent() {
    let mut world = of_requests_that_settle("5 per 15min", Sharing::Exact);
    let mut lease = world.lease();
    for _ in 0..3 {
        let failed = world.reserve(&mut lease, 1.0).expect("it is not refused");
        world.settle(&mut lease, &failed, 1.0, 1.0);
    }
    let succeeds = world.reserve(&mut lease, 1.0).expect("it is not refused");
    world.settle(&mut lease, &succeeds, 1.0, 0.0);
    lease.clear(&world.plan.view(world.at));
    assert!(lease.due_at() <= world.at.time);
    let ask = lease.build(&world.plan.view(world.at), 0.5).expect("it clears");
    assert!(ask.clear);
    lease.unsent(&world.plan.view(world.at), &ask);
    assert!(lease.due_at() <= world.at.time + SECOND);
    world.drive(&mut lease, SECOND);
    assert!(world.left(&lease) > 4.99, "{}", world.left(&lease));
}

/// A node that has used up five failures, and with them has locked the key for ten seconds.
fn locked() -> (World, Lease) {
    let mut world = of_requests_that_settle("5 per 15min", Sharing::Leased);
    world.plan.terms = world.plan.terms.locking(Duration::from_secs(10));
    let mut lease = world.lease();
    for _ in 0..5 {
        let failed = world.reserve(&mut lease, 1.0).expect("it is not refused");
        world.settle(&mut lease, &failed, 1.0, 1.0);
    }
    world.drive(&mut lease, 10.0 * MS);
    (world, lease)
}

#[test]
fn nodes_deny_while_a_key_is_locked_and_know_it_as_never_seen_afterwards() {
    let (mut world, mut lease) = locked();
    let mut other = world.lease();
    assert!(
        world.reserve(&mut other, 1.0).is_none(),
        "the other node asks, and is told"
    );
    for lease in [&lease, &other] {
        for cost in [0.0, 1.0] {
            let Look::Deny { retry_after } = world.look(lease, cost) else {
                unreachable!("it is locked");
            };
            assert!((retry_after - 10.0 * SECOND).abs() < 20.0 * MS, "{retry_after}");
        }
        assert_eq!(lease.outlook(&world.plan.view(world.at)).remaining, 0.0);
    }
    world.pass(5.0 * SECOND);
    world.at.is_down = true;
    assert!(
        is_refused(world.look(&other, 1.0)),
        "known locks hold while the store is away"
    );
    world.at.is_down = false;
    world.pass(5.1 * SECOND);
    assert_eq!(lease.outlook(&world.plan.view(world.at)).remaining, 5.0);
    for _ in 0..4 {
        assert!(world.reserve(&mut lease, 1.0).is_some());
    }
}

#[test]
fn a_node_brings_a_lock_back_to_a_store_that_lost_it() {
    let (mut world, mut lease) = locked();
    world.bucket = None;
    world.at.generation = 2;
    lease.wake(world.at.time);
    world.drive(&mut lease, SECOND);
    assert!(world.bucket.is_some_and(|kept| kept.locked_until > 0.0));
}

#[test]
fn during_an_outage_the_share_limits_and_a_late_refund_revives_none_of_it() {
    let mut world = of_requests_that_settle("10/s burst 10", Sharing::Leased);
    world.at.nodes = 1.0;
    world.at.is_down = true;
    let mut lease = world.lease();
    let spent = world.reserve(&mut lease, 10.0).expect("the share has room");
    world.pass(0.9 * SECOND);
    assert!(world.reserve(&mut lease, 9.0).is_some());
    world.settle(&mut lease, &spent, 10.0, 0.0);
    assert!(world.reserve(&mut lease, 2.0).is_none());
}

/// Regression: long requests that had been forgotten, and then turned out to have cost nothing, took what others owed with them.
#[test]
fn what_was_forgotten_of_a_request_takes_nothing_with_it_of_what_others_owe() {
    // Of its ten units a node may forget one every two seconds.
    let mut world = of_requests_that_settle("100/s burst 1000", Sharing::Hybrid);
    let mut lease = world.lease();
    let mut forgotten = Vec::new();
    for _ in 0..20 {
        forgotten.push(world.reserve(&mut lease, 1.0).expect("it is not refused"));
        world.drive(&mut lease, 3.0 * SECOND);
    }
    for _ in 0..5 {
        world.reserve(&mut lease, 1.0).expect("it is not refused");
    }
    assert_eq!(lease.unreported(), 5.0);
    for spent in &forgotten[..19] {
        world.settle(&mut lease, spent, 1.0, 0.0);
    }
    assert_eq!(lease.unreported(), 5.0);
}

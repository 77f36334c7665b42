//! Requests that leave one after another.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::sharing::{Place, Spacing, TooLate};

/// A world whose requests wait up to so many milliseconds, and the first `free` units not at all.
fn spaced(limit: &str, sharing: Sharing, max_wait_ms: u64, free: u64) -> World {
    let mut world = World::of(limit, sharing);
    world.plan = world
        .plan
        .spaced(Spacing::new(Duration::from_millis(max_wait_ms), free));
    world
}

/// How long a request waits that stands there, in milliseconds.
fn wait(world: &World, place: Option<&Place>) -> f64 {
    let departs_at = place.and_then(Place::waits_until);
    ((departs_at.unwrap_or(world.at.time) - world.at.time) / MS).round()
}

/// A request of one unit on a node that needs no answer: what it waits, in milliseconds, or nothing if it is refused.
fn request(world: &World, lease: &mut Lease) -> Option<f64> {
    let view = world.plan.view(world.at);
    lease.note(&view, 1.0);
    let look = lease.look(&view, 1.0);
    let spent = lease.spend(&view, look, 1.0);
    look.passes().then(|| wait(world, spent.place()))
}

/// The same of an exact limit, and of any cost: the store is asked, and answers at once.
fn ask(world: &mut World, lease: &mut Lease, cost: f64) -> Result<Place, TooLate> {
    let view = world.plan.view(world.at);
    lease.note(&view, cost);
    let look = lease.look(&view, cost);
    if let Look::Deny { retry_after } = look {
        return Err(TooLate { retry_after });
    }
    assert_eq!(look, Look::Wait);
    let _ = lease.spend(&view, look, cost);
    let (_, reply) = world.sync(lease).expect("somebody waits for it");
    let view = world.plan.view(world.at);
    if reply.taken < cost {
        return Err(TooLate {
            retry_after: reply.ready_after,
        });
    }
    let turn_at = Lease::turn(&view, &view.terms(), &reply);
    let joined = lease.join(&view, cost, turn_at);
    if joined.is_err() {
        lease.return_taken(&view, cost);
    }
    joined.map(|place| place.expect("it is spaced"))
}

fn waits_of(world: &mut World, lease: &mut Lease, cost: f64) -> Option<f64> {
    let place = ask(world, lease, cost).ok()?;
    Some(wait(world, Some(&place)))
}

#[test]
fn an_exact_queue_is_one_queue_for_all_nodes() {
    let mut world = spaced("10/s burst 20", Sharing::Exact, 500, 0);
    let (mut one, mut other) = (world.lease(), world.lease());
    let mut waits = Vec::new();
    for turn in 0..8 {
        let lease = if turn % 3 == 0 { &mut one } else { &mut other };
        waits.push(waits_of(&mut world, lease, 1.0));
    }
    assert_eq!(
        waits,
        [
            Some(0.0),
            Some(100.0),
            Some(200.0),
            Some(300.0),
            Some(400.0),
            Some(500.0),
            None,
            None
        ]
    );
    world.pass(100.0 * MS);
    assert_eq!(waits_of(&mut world, &mut one, 1.0), Some(500.0));
    assert_eq!(waits_of(&mut world, &mut other, 1.0), None);
}

#[test]
fn free_units_of_an_exact_queue_are_free_once_for_all_nodes() {
    let mut world = spaced("10/s burst 20", Sharing::Exact, 200, 2);
    let (mut one, mut other) = (world.lease(), world.lease());
    let mut ask = |which: bool| waits_of(&mut world, if which { &mut one } else { &mut other }, 1.0);
    let waits = [true, false, true, false, true, false].map(&mut ask);
    assert_eq!(waits, [Some(0.0), Some(0.0), Some(0.0), Some(100.0), Some(200.0), None]);
}

#[test]
fn who_would_wait_too_long_in_an_exact_queue_is_refused_by_the_store_and_until_then_without_it() {
    let mut world = spaced("10/s burst 20", Sharing::Exact, 200, 0);
    let mut lease = world.lease();
    for _ in 0..3 {
        assert!(ask(&mut world, &mut lease, 1.0).is_ok());
    }
    let refused = ask(&mut world, &mut lease, 1.0).expect_err("the fourth would wait 300 ms");
    assert!((refused.retry_after - 100.0 * MS).abs() < 1.0, "{refused:?}");
    world.pass(99.0 * MS);
    let look = world.look(&lease, 1.0);
    assert!(
        matches!(look, Look::Deny { retry_after } if (retry_after - MS).abs() < 1.0),
        "{look:?}"
    );
    world.pass(MS);
    assert_eq!(world.look(&lease, 1.0), Look::Wait);
}

#[test]
fn an_exact_queue_has_as_many_units_at_once_as_leave_in_time() {
    for (limit, max_wait_ms, free, cost_max, units) in [
        ("10/s burst 20", 500, 0, 1.0, 6.0),
        ("10/s burst 20", 250, 0, 1.0, 3.5),
        ("10/s burst 20", 500, 3, 1.0, 9.0),
        ("10/s burst 20", 0, 0, 1.0, 1.0),
        ("10/s burst 20", 60_000, 0, 1.0, 20.0),
        ("10/s burst 20", 0, 0, 8.0, 8.0),
        ("10/s burst 20", 0, 0, f64::INFINITY, 20.0),
    ] {
        let spacing = Spacing::new(Duration::from_millis(max_wait_ms), free);
        let plan = Plan {
            cost_max,
            ..World::of(limit, Sharing::Exact).plan
        };
        assert_eq!(
            plan.spaced(spacing).terms.burst,
            units,
            "{limit}, {max_wait_ms} ms, {free} free"
        );
        let leased = Plan {
            sharing: Sharing::Leased,
            ..plan
        };
        assert_eq!(
            leased.spaced(spacing).terms.burst,
            20.0,
            "leases are of the whole limit"
        );
    }
}

/// A larger request may stand where a smaller one would be too late, so that the store takes units for both.
#[test]
fn a_small_request_behind_large_ones_is_refused_and_gives_its_unit_back() {
    let mut world = World::of("10/s burst 20", Sharing::Exact);
    world.plan.cost_max = 5.0;
    world.plan = world.plan.spaced(Spacing::new(Duration::ZERO, 0));
    let (mut one, mut other) = (world.lease(), world.lease());
    assert_eq!(waits_of(&mut world, &mut one, 3.0), Some(0.0));
    let refused = ask(&mut world, &mut other, 1.0).expect_err("300 ms are more than nothing");
    assert!((refused.retry_after - 295.0 * MS).abs() < 1.0, "{refused:?}");
    world.pass(10.0 * MS);
    let (ask, reply) = world.sync(&mut other).expect("a unit to give back");
    assert!(ask.refund > 0.8 && ask.refund <= 1.0, "{ask:?}");
    assert!((1.99..2.2).contains(&reply.available), "{reply:?}");
}

#[test]
fn a_node_spaces_what_it_lets_go_by_its_share() {
    let mut world = spaced("10/s burst 200", Sharing::Hybrid, 500, 0);
    world.at.nodes = 2.0;
    let mut lease = world.lease();
    let cold: Vec<_> = (0..5).map(|_| request(&world, &mut lease)).collect();
    // As one of two, until the store has said what it is.
    assert_eq!(cold, [Some(0.0), Some(200.0), Some(400.0), None, None]);
    world.pass(600.0 * MS);
    let (_, reply) = world.sync(&mut lease).expect("three units to report");
    assert!(reply.share > 0.7, "{reply:?}");
    assert_eq!(request(&world, &mut lease), Some(0.0));
    let second = request(&world, &mut lease).expect("little is used");
    assert!(
        (100.0..150.0).contains(&second),
        "{second} ms as the only one that asks"
    );
}

#[test]
fn a_share_that_seems_tiny_makes_nobody_wait_longer_than_an_even_one() {
    let mut world = spaced("10/s burst 200", Sharing::Hybrid, 60_000, 0);
    world.at.nodes = 4.0;
    let (mut busy, mut quiet) = (world.lease(), world.lease());
    for _ in 0..100 {
        let _ = request(&world, &mut busy);
    }
    let _ = world.sync(&mut busy);
    let _ = request(&world, &mut quiet);
    let (_, reply) = world.sync(&mut quiet).expect("a unit to report");
    assert!(reply.share < 0.05, "{reply:?}");
    let first_is_there_for = 400.0;
    assert_eq!(request(&world, &mut quiet), Some(first_is_there_for));
    assert_eq!(request(&world, &mut quiet), Some(2.0 * first_is_there_for));
}

#[test]
fn a_place_is_free_again_only_if_it_was_the_last() {
    let world = spaced("10/s burst 200", Sharing::Hybrid, 5_000, 0);
    let view = world.plan.view(Now { nodes: 1.0, ..world.at });
    let mut lease = world.lease();
    let mut join = || {
        let look = lease.look(&view, 1.0);
        lease.spend(&view, look, 1.0)
    };
    let (first, second) = (join(), join());
    lease.unspend(&view, &first, 1.0);
    let waits = |lease: &mut Lease| {
        let look = lease.look(&view, 1.0);
        let spent = lease.spend(&view, look, 1.0);
        lease.unspend(&view, &spent, 1.0);
        wait(&world, spent.place())
    };
    assert_eq!(waits(&mut lease), 200.0, "somebody stands behind the first");
    lease.unspend(&view, &second, 1.0);
    assert_eq!(waits(&mut lease), 100.0);
    assert_eq!(lease.unreported(), 0.0, "the units came back all the same");
}

#[test]
fn who_is_held_up_elsewhere_holds_up_those_behind_and_a_queue_in_use_is_not_forgotten() {
    let world = spaced("10/s burst 200", Sharing::Hybrid, 5_000, 0);
    let view = world.plan.view(Now { nodes: 1.0, ..world.at });
    let mut lease = world.lease();
    let mut spent = lease.spend(&view, Look::Allowance, 1.0);
    let place = spent.place_mut().expect("it is spaced");
    lease.hold_up(place, world.at.time + 350.0 * MS);
    assert_eq!(wait(&world, Some(place)), 350.0);
    let next = lease.spend(&view, Look::Allowance, 1.0);
    assert_eq!(wait(&world, next.place()), 450.0);
    lease.unspend(&view, &next, 1.0);
    lease.unspend(&view, &spent, 1.0);
    assert!(!lease.is_idle(&view), "whoever comes now has to wait");
    let later = Now {
        time: world.at.time + 400.0 * MS,
        ..view.at
    };
    assert!(lease.is_idle(&world.plan.view(later)));
}

#[test]
fn while_the_store_is_away_a_node_lets_its_part_go_at_its_pace() {
    for sharing in [Sharing::Exact, Sharing::Leased, Sharing::Hybrid] {
        let mut world = spaced("10/s burst 20", sharing, 1_000, 0);
        world.at.nodes = 2.0;
        world.at.is_down = true;
        let mut lease = world.lease();
        let waits: Vec<_> = (0..7).filter_map(|_| request(&world, &mut lease)).collect();
        let mut expected = vec![0.0, 200.0, 400.0, 600.0, 800.0, 1_000.0];
        if sharing == Sharing::Exact {
            // Half of the eleven that leave in time.
            expected.truncate(5);
        }
        assert_eq!(waits, expected, "{sharing:?}");
    }
    let mut open = spaced("10/s burst 2", Sharing::Leased, 0, 0);
    open.plan.on_store_loss = OnStoreLoss::Open;
    open.at.is_down = true;
    let mut lease = open.lease();
    assert!((0..9).all(|_| request(&open, &mut lease) == Some(0.0)));
}

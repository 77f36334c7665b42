//! Limits of a few requests on many nodes.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::history::Tally;
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

/// At sixty times the speed of 5/min, so that it comes back a few times. Whether all of it is admitted, but for one unit, hangs on whether
/// the machine answers within the five milliseconds that requests wait, in one of five runs at least; what is not admitted hangs on nothing.
#[test]
fn five_on_a_hundred_nodes_are_five_in_one_moment_and_under_ten_times_the_load() -> Tested {
    const NODES: usize = 100;
    let server = RedisServer::start()?;
    let leased = Shared::new("5/s", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(NODES, leased, &ring(&[server.address()]));
    let load = Load::new(50, NODES);
    let is_enough = |(in_one_moment, in_three_seconds): &(u64, u64)| *in_one_moment >= 4 && *in_three_seconds >= 19;
    let mut seen = Vec::new();
    for run in 0..5 {
        let in_one_moment = fleet.send((0..15).map(|node| (node, 1 + run))).allowed;
        // From a full bucket: five, and five in each of the three seconds.
        let in_three_seconds = fleet.run(&load.clone().of_key(100 + run), ms(3_000)).allowed;
        fleet.assert_holds(Mishaps::default());
        seen.push((in_one_moment, in_three_seconds));
        if seen.iter().any(is_enough) {
            break;
        }
    }
    assert!(seen.iter().any(is_enough), "of 5 and 20 were admitted {seen:?}");
    Ok(())
}

#[test]
fn a_leased_limit_on_a_hundred_nodes_admits_it_all_and_asks_a_third_as_often_as_it_is_asked() -> Tested {
    const NODES: usize = 100;
    let server = RedisServer::start()?;
    let leased = Shared::new("100/s burst 200", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(NODES, leased, &ring(&[server.address()]));
    let load = Load::new(1_000, NODES);
    let first = fleet.run(&load, ms(3_000));
    let before = fleet.keys_asked();
    let requests = fleet.run(&load, ms(2_000)).all();
    let asked = fleet.keys_asked() - before;
    assert!(
        asked * 100 <= requests * 35,
        "{asked} keys asked for {requests} requests"
    );
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps::default());
    // Of two hundred, and three seconds of a hundred.
    assert!(first.allowed >= 400, "{first:?}");
    Ok(())
}

/// Each time of a full bucket. Nine tenths of it are admitted where the machine answers quickly enough, in one of ten bursts at least.
#[test]
fn three_bursts_within_fifty_milliseconds_on_all_nodes_are_one() -> Tested {
    const NODES: usize = 100;
    let server = RedisServer::start()?;
    for mode in [Mode::Leased, Mode::Hybrid] {
        let limit = Shared::new("100/s burst 200", mode).on_store_loss(OnStoreLoss::Closed);
        let fleet = Fleet::start(NODES, limit, &ring(&[server.address()]));
        let burst = Load::new(12_000, NODES);
        let mut seen = Vec::new();
        for key in 0..10 {
            let admitted = fleet.run(&burst.clone().of_key(key), ms(50)).allowed;
            seen.push(admitted);
            if admitted >= 180 {
                break;
            }
        }
        fleet.assert_holds(Mishaps::default());
        assert!(seen.iter().any(|admitted| *admitted >= 180), "{mode:?} {seen:?}");
    }
    Ok(())
}

/// At nine tenths of the limit. A machine that is slow to answer costs requests wherever a node sees the key for the first time; in one of
/// three rounds at least it is not.
#[test]
fn a_client_that_moves_from_node_to_node_has_nearly_all_of_its_limit_at_each_within_a_second() -> Tested {
    const NODES: usize = 10;
    let server = RedisServer::start()?;
    for mode in [Mode::Leased, Mode::Hybrid] {
        let limit = Shared::new("100/s burst 200", mode).on_store_loss(OnStoreLoss::Closed);
        let fleet = Fleet::start(NODES, limit, &ring(&[server.address()]));
        let is_good = |seconds: &Vec<Tally>| {
            let denied: u64 = seconds.iter().map(|second| second.denied).sum();
            denied * 200 <= 3 * 90 && seconds.iter().all(|second| second.denied_share() <= 0.05)
        };
        let mut seen = Vec::new();
        for key in 0..3 {
            let on = |node| Load {
                nodes: node..node + 1,
                ..Load::new(90, NODES).of_key(key)
            };
            seen.push((0..3).map(|node| fleet.run(&on(node), ms(1_000))).collect());
            if seen.iter().any(is_good) {
                break;
            }
        }
        fleet.assert_holds(Mishaps::default());
        assert!(seen.iter().any(is_good), "{mode:?}: {seen:?}");
    }
    Ok(())
}

#[test]
fn a_key_that_is_asked_for_once_costs_the_store_one_call_at_most_and_none_with_an_allowance() -> Tested {
    const NODES: usize = 5;
    let server = RedisServer::start()?;
    for (limit, most) in [("10/s burst 200", 0), ("10/s burst 10", 1)] {
        let fleet = Fleet::start(NODES, Shared::new(limit, Mode::Hybrid), &ring(&[server.address()]));
        let once = Load::new(2_000, NODES).each_key_once();
        let sent = fleet.run(&once, ms(1_500));
        assert_eq!(sent.denied, 0, "{sent:?}");
        let asked = fleet.keys_asked();
        assert!(
            asked <= most * sent.all(),
            "{asked} keys asked for {sent:?} with {limit}"
        );
        assert_eq!(fleet.waited(), 0, "nothing ever waits");
        fleet.assert_holds(Mishaps::default());
    }
    Ok(())
}

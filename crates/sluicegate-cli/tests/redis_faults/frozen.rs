//! Nodes that stand still for longer than their leases last, and nodes that die with them.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_node_that_stood_still_for_longer_than_its_leases_last_has_none_left() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(6, LEASED, &ring(&[server.address()]));
    let (all, awake) = (Load::new(1_800, 6), Load::new(1_800, 3));
    fleet.run(&all, ms(1_000));
    for _ in 0..2 {
        (3..6).for_each(|node| fleet.freeze(node));
        fleet.run(&awake, ms(1_500));
        // What was held then is worth nothing, and is not given out again all at once.
        (3..6).for_each(|node| fleet.thaw(node));
        fleet.run(&all, ms(700));
    }
    fleet.run_until_accurate(&all);
    fleet.assert_holds(Mishaps::default());
    Ok(())
}

#[test]
fn half_the_nodes_die_with_their_leases_and_the_others_have_the_whole_limit_soon() -> Tested {
    let server = RedisServer::start()?;
    let mut fleet = Fleet::start(10, LEASED, &ring(&[server.address()]));
    fleet.run(&Load::new(1_800, 10), ms(1_000));
    (5..10).for_each(|node| fleet.kill(node));
    let rest = Load::new(1_800, 5);
    // What the dead held is back after two epochs, of half a second each.
    fleet.run(&rest, ms(1_000));
    fleet.run_until_accurate(&rest);
    fleet.assert_holds(Mishaps::default());
    Ok(())
}

/// Asked for three times as much; an epoch is half a second.
const LEASED: Shared = Shared::new("600/s burst 600", Mode::Leased).on_store_loss(OnStoreLoss::Closed);

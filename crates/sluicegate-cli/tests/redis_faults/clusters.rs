//! Limits whose keys are spread over several servers.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_redis::Addresses;
use sluicegate_testkit::redis::{RedisCluster, RedisServer};

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_cluster_that_fails_over_under_load_loses_no_limit() -> Tested {
    let cluster = RedisCluster::start()?;
    let seeds = cluster
        .addresses()
        .iter()
        .map(|node| format!("redis://{node}"))
        .collect();
    let fleet = Fleet::start(5, LEASED, &Addresses::Cluster(seeds));
    let load = Load::new(2_000, 5).keys(20);
    fleet.run(&load, ms(1_000));
    let slot = cluster.slot_of(b"{00}")?;
    let dead = cluster.kill_master_of(slot)?;
    fleet.run(&load, ms(2_500));
    cluster.wait_for_new_master(slot, dead)?;
    fleet.run_until_together(&load);
    fleet.run(&load, ms(1_000));
    fleet.assert_holds(Mishaps { outages: 0, lost: 30 });
    Ok(())
}

#[test]
fn a_ring_that_loses_one_of_three_servers_keeps_the_limits_of_the_others_as_they_were() -> Tested {
    let servers = [RedisServer::start()?, RedisServer::start()?, RedisServer::start()?];
    let addresses = servers.each_ref().map(RedisServer::address);
    let fleet = Fleet::start(5, LEASED, &ring(&addresses));
    let load = Load::new(2_000, 5).keys(20);
    fleet.run(&load, ms(1_000));
    servers[0].kill()?;
    fleet.run(&load, ms(500));
    let status = fleet.statuses()[0];
    assert_eq!((status.lanes_up, status.lanes), (2, 3), "two answer");
    fleet.run(&load, ms(1_000));
    servers[0].restart_empty()?;
    fleet.run_until_together(&load);
    fleet.run(&load, ms(1_000));
    fleet.assert_holds(Mishaps { outages: 0, lost: 30 });
    Ok(())
}

/// Twenty keys of it are asked for three times as much by the loads above.
const LEASED: Shared = Shared::new("30/s burst 60", Mode::Leased).on_store_loss(OnStoreLoss::Closed);

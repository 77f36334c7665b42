//! Limits whose keys are spread over several servers.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_redis::Addresses;
use sluicegate_testkit::redis::{RedisCluster, RedisServer, Reply};

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_cluster_that_fails_over_under_load_loses_no_limit() -> Tested {
    let cluster = RedisCluster::start()?;
    let fleet = Fleet::start(5, LEASED, &seeds(&cluster));
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
fn slots_that_move_within_a_cluster_under_load_take_their_limits_along() -> Tested {
    let cluster = RedisCluster::start()?;
    let fleet = Fleet::start(5, LEASED, &seeds(&cluster));
    let load = Load::new(2_000, 5).keys(20);
    fleet.run(&load, ms(1_000));
    for moved in 0..3 {
        let masters: Vec<_> = cluster.servers().take(3).collect();
        let (from, to) = (masters[moved % 3], masters[(moved + 1) % 3]);
        let name = a_key_under_load(from)?;
        let migration = cluster.begin_migration(cluster.slot_of(&name)?, to)?;
        // A call is about a key and its slot's generation. Once one of the two has moved it is refused, once both have it is sent to
        // where the slot goes, and once the slot is there it is sent on for good.
        for (word, keys_moved) in [("TRYAGAIN", 1), ("ASK", 100)] {
            let before = from.errors_of(word)?;
            migration.move_keys(keys_moved)?;
            run_until_refused(&fleet, &load, from, word, before)?;
        }
        let before = from.errors_of("MOVED")?;
        migration.finish()?;
        run_until_refused(&fleet, &load, from, "MOVED", before)?;
    }
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps::default());
    Ok(())
}

/// A key of a limit that a server holds.
fn a_key_under_load(server: &RedisServer) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    // `sg:{7f}:` and sixteen bytes; what else is kept has another length.
    let names = server.command(&["KEYS", "sg:{??}:????????????????"])?;
    let name = names.elements().first().and_then(Reply::bytes).ok_or("a key")?;
    Ok(name.to_vec())
}

/// Goes on with `load` until a server has refused more calls with this word than `before`. The test itself sends it none that it
/// could refuse so.
fn run_until_refused(fleet: &Fleet, load: &Load, server: &RedisServer, word: &str, before: u64) -> Tested {
    for _ in 0..TENTHS_TRIED {
        fleet.run(load, ms(100));
        if server.errors_of(word)? > before {
            return Ok(());
        }
    }
    Err(format!("no call was answered with {word}").into())
}

/// Each key is asked about several times in one.
const TENTHS_TRIED: usize = 100;

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

/// All of its nodes.
fn seeds(cluster: &RedisCluster) -> Addresses {
    let nodes = cluster.addresses();
    Addresses::Cluster(nodes.iter().map(|node| format!("redis://{node}")).collect())
}

/// Twenty keys of it are asked for three times as much by the loads above.
const LEASED: Shared = Shared::new("30/s burst 60", Mode::Leased).on_store_loss(OnStoreLoss::Closed);

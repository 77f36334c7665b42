//! The store on a Redis Cluster of six processes: who has a shard changes, and what is done is done once.

mod redis_world;

use std::error::Error;

use redis_world::{PATIENCE, item, key, patient, started, take, takes, takes_at_last, wait_until_connected};
use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
use sluicegate_state::store::{Call, Exchanged, Lane, Presence, Store, StoreError, StoreKey};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisCluster;

fn connected(cluster: &RedisCluster) -> RedisStore {
    let nodes = cluster
        .addresses()
        .iter()
        .map(|node| format!("redis://{node}"))
        .collect();
    let store = started(&patient(StoreConfig::new(Addresses::Cluster(nodes), 7)));
    wait_until_connected(&store);
    store
}

/// Where the keys of [`key`] are.
const SHARD: &[u8] = b"sg:{00}:";

#[tokio::test(flavor = "multi_thread")]
async fn every_shard_of_a_cluster_is_a_lane_and_is_reached_where_it_is() -> Result<(), Box<dyn Error>> {
    let cluster = RedisCluster::start()?;
    let store = connected(&cluster);
    assert_eq!((store.lanes(), store.lane(0x7f)), (256, Lane(0x7f)));
    for shard in [0, 1, 2, 77, 0x7f, 0xff] {
        let key = StoreKey { shard, hash: [9; 16] };
        let (taken, _) = takes(&store, key, 60.0).await?;
        let (rest, _) = takes(&store, key, 60.0).await?;
        assert!(
            (taken - 60.0).abs() < 1e-9 && (rest - 40.0).abs() < 1e-9,
            "{taken} {rest}"
        );
    }
    let servers = store.servers();
    assert_eq!(servers.len(), 3);
    let presence = Presence { node: 1, secret: 5 };
    assert_eq!(store.heartbeat(presence).await?.nodes, 1);
    let elsewhere = Call {
        lane: Lane(1),
        generation: None,
        items: &[item(key(1), take(1.0))],
    };
    assert!(matches!(
        store.exchange(elsewhere).await,
        Err(StoreError::Refused { .. })
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_takes_its_state_along_and_is_another_generation() -> Result<(), Box<dyn Error>> {
    let cluster = RedisCluster::start()?;
    let store = connected(&cluster);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    let slot = cluster.slot_of(SHARD)?;
    let from = cluster.master_of(slot)?;
    let mut others = Vec::new();
    for other in [0, 5_461, 10_923, 16_383] {
        others.push(cluster.master_of(other)?);
    }
    let to = others
        .into_iter()
        .find(|other| other.port() != from.port())
        .ok_or("another")?;

    let migration = cluster.begin_migration(slot, to)?;
    // Half way: what has moved and what has not cannot be asked about in one call. It is not done, and says so.
    migration.move_keys(1)?;
    let between = takes(&store, key(1), 1.0).await;
    assert!(between.as_ref().is_err_and(StoreError::is_undone), "{between:?}");
    migration.finish()?;

    let (taken, after) = takes_at_last(&store, key(1), 100.0).await;
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    assert_ne!(before, after);
    let items = [item(key(2), take(1.0))];
    let call = Call {
        lane: store.lane(0),
        generation: Some(before),
        items: &items,
    };
    let changed = store.exchange(call).await?;
    assert!(
        matches!(changed, Exchanged::Changed { generation } if generation == after),
        "{changed:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_is_found_and_is_another_generation() -> Result<(), Box<dyn Error>> {
    let cluster = RedisCluster::start()?;
    let store = connected(&cluster);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    let slot = cluster.slot_of(SHARD)?;
    let old = cluster.kill_master_of(slot)?;
    let (_, after) = takes_at_last(&store, key(1), 1.0).await;
    assert_ne!(before, after);
    let new = cluster.wait_for_new_master(slot, old)?;
    poll::until_true("the store goes by the new map", PATIENCE, || {
        let names: Vec<_> = store.servers().into_iter().map(|(name, _)| name).collect();
        names.contains(&new.address().to_string()) && !names.contains(&old.address().to_string())
    })?;
    wait_until_connected(&store);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_forgot_the_script_gets_it_in_the_same_call() -> Result<(), Box<dyn Error>> {
    let cluster = RedisCluster::start()?;
    let store = connected(&cluster);
    for server in cluster.servers() {
        server.command(&["SCRIPT", "FLUSH"])?;
    }
    for shard in 0..=u8::MAX {
        let key = StoreKey { shard, hash: [1; 16] };
        takes(&store, key, 1.0).await?;
    }
    let reloads: u64 = store.servers().iter().map(|(_, health)| health.reloads.get()).sum();
    assert_eq!(reloads, 3);
    Ok(())
}

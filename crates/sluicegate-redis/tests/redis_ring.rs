//! The store on several servers that know nothing of each other.

mod redis_world;

use std::collections::BTreeSet;
use std::error::Error;

use redis_world::{PATIENCE, connected, takes, takes_at_last};
use sluicegate_state::store::{Lane, Presence, Store, StoreError, StoreKey};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_loses_a_server_loses_only_its_shards() -> Result<(), Box<dyn Error>> {
    let servers = [RedisServer::start()?, RedisServer::start()?, RedisServer::start()?];
    let addresses = [0, 1, 2].map(|number: usize| servers[number].address());
    let store = connected(&addresses);
    assert_eq!(store.lanes(), 3);
    let keys: Vec<_> = (0..=u8::MAX).map(|shard| StoreKey { shard, hash: [1; 16] }).collect();
    let lanes: BTreeSet<_> = keys.iter().map(|key| store.lane(key.shard)).collect();
    assert_eq!(lanes, [Lane(0), Lane(1), Lane(2)].into());
    for key in &keys {
        takes(&store, *key, 1.0).await?;
    }
    for (lane, server) in (0..).map(Lane).zip(&servers) {
        let held = keys.iter().filter(|key| store.lane(key.shard) == lane).count();
        // And the generation.
        assert_eq!(server.command(&["DBSIZE"])?.integer(), Some(i64::try_from(held)? + 1));
    }

    servers[1].kill()?;
    poll::until_true("it is gone", PATIENCE, || !store.is_connected(Lane(1)))?;
    for key in &keys {
        let took = takes(&store, *key, 1.0).await;
        if store.lane(key.shard) == Lane(1) {
            assert!(matches!(took, Err(StoreError::NotSent(_))), "{took:?}");
        } else {
            took?;
        }
    }
    // Nodes go on counting each other wherever the first server that lives is.
    for node in [1, 2] {
        store.heartbeat(Presence { node, secret: 5 }).await?;
    }
    let told = store.heartbeat(Presence { node: 3, secret: 5 }).await?;
    assert!(told.nodes == 3 && told.same_secret, "{told:?}");

    servers[1].restart_empty()?;
    for key in &keys {
        takes_at_last(&store, *key, 1.0).await;
    }
    Ok(())
}

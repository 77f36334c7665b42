//! Fifty nodes lose their store at one moment, and do not come back as one.

mod redis_world;

use std::error::Error;

use redis_world::{PATIENCE, ring, started, wait_until_connected};
use sluicegate_redis::{RedisStore, StoreConfig};
use sluicegate_state::store::{Lane, Store};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisServer;

const NODES: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_nodes_that_lost_their_store_all_come_back_with_one_connection_each() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let config = ring(&[server.address()]);
    let nodes: Vec<RedisStore> = (0..NODES)
        .map(|seed| started(&StoreConfig { seed, ..config.clone() }))
        .collect();
    nodes.iter().for_each(wait_until_connected);
    server.kill()?;
    let is_connected = |node: &RedisStore| node.is_connected(Lane(0));
    poll::until_true("all have lost it", PATIENCE, || !nodes.iter().any(is_connected))?;
    server.restart_empty()?;
    nodes.iter().for_each(wait_until_connected);
    let connections: u64 = nodes
        .iter()
        .filter_map(|node| node.health_of(node.lane(0)))
        .map(|health| health.connections.get())
        .sum();
    assert_eq!(connections, 2 * NODES);
    // Each connection loads the two scripts once, and the server keeps them once.
    // Before version 7 it counts them with all that concerns scripts.
    let loads = server.stats_of("script|load")?.calls + server.stats_of("script")?.calls;
    assert_eq!(loads, 2 * NODES);
    assert_eq!(server.info("number_of_cached_scripts")?.as_deref(), Some("2"));
    Ok(())
}

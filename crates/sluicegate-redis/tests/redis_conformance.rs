//! Redis is a store like any other, however its servers stand together.

mod redis_world;

use std::error::Error;

use redis_world::{connected, patient, started, wait_until_connected};
use sluicegate_redis::{Addresses, StoreConfig};
use sluicegate_testkit::redis::{RedisCluster, RedisServer};
use sluicegate_testkit::store_conformance;

fn wipe<'s>(servers: impl IntoIterator<Item = &'s RedisServer>) {
    for server in servers {
        // A replica refuses, and forgets what its master does.
        let _ = server.command(&["FLUSHALL"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_to_what_every_store_keeps_to() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    store_conformance::check(&store, || wipe([&server])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_keeps_to_what_every_store_keeps_to() -> Result<(), Box<dyn Error>> {
    let servers = [RedisServer::start()?, RedisServer::start()?, RedisServer::start()?];
    let store = connected(&servers.each_ref().map(RedisServer::address));
    store_conformance::check(&store, || wipe(&servers)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_to_what_every_store_keeps_to() -> Result<(), Box<dyn Error>> {
    let cluster = RedisCluster::start()?;
    let nodes = cluster
        .addresses()
        .iter()
        .map(|node| format!("redis://{node}"))
        .collect();
    let store = started(&patient(StoreConfig::new(Addresses::Cluster(nodes), 7)));
    wait_until_connected(&store);
    store_conformance::check(&store, || wipe(cluster.servers())).await?;
    Ok(())
}

//! The store behind sentinels: whoever they name is the store.

mod redis_world;

use std::error::Error;

use redis_world::{key, patient, started, takes, takes_at_last, wait_until_connected};
use sluicegate_redis::{Addresses, StoreConfig};
use sluicegate_state::store::Store;
use sluicegate_testkit::redis::RedisSentinel;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_sentinels_name_is_the_store_and_another_is_another_generation() -> Result<(), Box<dyn Error>> {
    let watched = RedisSentinel::start(3)?;
    let sentinels = watched
        .addresses()
        .iter()
        .map(|address| format!("redis://{address}"))
        .collect();
    let store = started(&patient(StoreConfig::new(
        Addresses::Sentinel {
            sentinels,
            primary: "sluicegate".to_owned(),
        },
        7,
    )));
    wait_until_connected(&store);
    assert_eq!(store.lanes(), 1);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    // One sentinel less: the others are asked.
    watched.sentinels()[0].kill()?;
    let old = watched.primary()?;
    old.kill()?;
    let (_, after) = takes_at_last(&store, key(1), 1.0).await;
    assert_ne!(before, after);
    watched.wait_for_new_primary(old)?;
    Ok(())
}

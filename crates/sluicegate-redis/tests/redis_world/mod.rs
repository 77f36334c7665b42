//! What the tests of the store share: a store of some servers, keys, and limits that give back too slowly to matter.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::net::SocketAddr;
use std::time::Duration;

use sluicegate_core::sharing::{Ask, Kind, Terms, permits};
use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
use sluicegate_state::SystemClock;
use sluicegate_state::store::{
    Answer, Call, Exchanged, Item, Lane, Question, Store, StoreError, StoreGeneration, StoreKey,
};
use sluicegate_testkit::poll;
use tokio::runtime::Handle;

/// How long anything may take that has to happen some time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A ring of these servers, all of them connected.
pub(crate) fn connected(servers: &[SocketAddr]) -> RedisStore {
    let store = started(&ring(servers));
    wait_until_connected(&store);
    store
}

pub(crate) fn ring(servers: &[SocketAddr]) -> StoreConfig {
    let addresses = servers.iter().map(|server| format!("redis://{server}")).collect();
    patient(StoreConfig::new(Addresses::Ring(addresses), 7))
}

/// With the longest deadline: the tests' machine is busy, and what is late is tested by itself.
pub(crate) fn patient(mut config: StoreConfig) -> StoreConfig {
    config.deadline = sluicegate_redis::DEADLINE_MAX;
    config
}

pub(crate) fn started(config: &StoreConfig) -> RedisStore {
    RedisStore::start(config, SystemClock::new().into(), Handle::current()).expect("a configuration")
}

pub(crate) fn wait_until_connected(store: &RedisStore) {
    let all = || (0..store.lanes()).all(|lane| store.is_connected(Lane(lane)));
    poll::until_true("all lanes are connected", PATIENCE, all).expect("connected");
}

/// A key of shard 0.
pub(crate) fn key(number: u8) -> StoreKey {
    StoreKey {
        shard: 0,
        hash: [number; 16],
    }
}

/// A bucket of a hundred a day.
pub(crate) fn terms() -> Terms {
    Terms::new(Kind::Bucket, &"100/day".parse().expect("a limit"), 0.0)
}

pub(crate) fn item(key: StoreKey, ask: Ask) -> Item {
    Item {
        key,
        question: Question::Units { terms: terms(), ask },
    }
}

pub(crate) fn take(count: f64) -> Ask {
    Ask {
        take: count,
        ..Ask::default()
    }
}

/// Takes units of a key, and says how many it got, by which generation.
pub(crate) async fn takes(store: &RedisStore, key: StoreKey, count: f64) -> Result<(f64, StoreGeneration), StoreError> {
    let call = Call {
        lane: store.lane(key.shard),
        generation: None,
        items: &[item(key, take(count))],
    };
    match store.exchange(call).await? {
        Exchanged::Done { generation, answers } => match &answers[..] {
            [Answer::Units(reply)] => Ok((reply.taken, generation)),
            _ => Err(StoreError::BadReply),
        },
        Exchanged::Changed { .. } => Err(StoreError::BadReply),
    }
}

/// As [`takes`], until it is done.
pub(crate) async fn takes_at_last(store: &RedisStore, key: StoreKey, count: f64) -> (f64, StoreGeneration) {
    let tried = async {
        loop {
            if let Ok(taken) = takes(store, key, count).await {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tried)
        .await
        .expect("an answer some time")
}

/// One unit of a sliding window of a hundred a day.
pub(crate) fn sliding(key: StoreKey) -> Item {
    let limit = "100/day".parse().expect("a limit");
    Item {
        key,
        question: Question::Units {
            terms: Terms::new(Kind::SlidingWindow, &limit, 0.0),
            ask: take(1.0),
        },
    }
}

/// Two of ten permits.
pub(crate) fn permits(key: StoreKey) -> Item {
    Item {
        key,
        question: Question::Permits(permits::Ask {
            node: 1.0,
            in_use: 1.0,
            target: 2.0,
            limit: 10.0,
            ttl: 10e6,
            learning: false,
        }),
    }
}

//! The nodes of a Redis Cluster: which of them has each shard now.
//!
//! The client library's own cluster connection is not used: it sends a call again when the connection breaks, although the call
//! may have been done, and it does not tell which node has answered, which is what a changed generation is known by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::Value;
use sluicegate_state::store::SHARDS;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::endpoint::Endpoint;
use crate::server::{Around, Origin, Server, ask_once};

/// A cluster, whose map is kept up to date until this is dropped.
pub(crate) struct Cluster {
    inner: Arc<Inner>,
    keeper: AbortHandle,
}

struct Inner {
    seeds: Vec<Endpoint>,
    map: ArcSwap<Map>,
    /// Somebody found the map wrong.
    doubted: Notify,
    around: Around,
}

/// Which master has each shard, as last told.
#[derive(Clone)]
struct Map {
    /// All masters, by `host:port`.
    masters: BTreeMap<String, Arc<Server>>,
    shards: Vec<Option<Arc<Server>>>,
}

impl Cluster {
    /// Begins to ask the seeds; returns before one has answered.
    pub(crate) fn start(seeds: Vec<Endpoint>, around: Around) -> Self {
        let runtime = around.runtime.clone();
        let inner = Arc::new(Inner {
            seeds,
            map: ArcSwap::from_pointee(Map {
                masters: BTreeMap::new(),
                shards: vec![None; SHARDS],
            }),
            doubted: Notify::new(),
            around,
        });
        let keeper = runtime.spawn(keep(Arc::clone(&inner))).abort_handle();
        Self { inner, keeper }
    }

    /// Who has a shard, if anybody is known to.
    pub(crate) fn master_of(&self, shard: u8) -> Option<Arc<Server>> {
        self.inner.map.load().shards[usize::from(shard)].clone()
    }

    /// All masters.
    pub(crate) fn masters(&self) -> Vec<Arc<Server>> {
        self.inner.map.load().masters.values().cloned().collect()
    }

    /// The master at `host:port`, which some other master named; `None` if it is not known yet.
    pub(crate) fn named(&self, to: &str) -> Option<Arc<Server>> {
        self.doubt();
        self.inner.map.load().masters.get(to).cloned()
    }

    /// A master said that a shard is now another's: goes by that until the whole map is asked for again.
    pub(crate) fn moved(&self, shard: u8, to: &Arc<Server>) {
        self.inner.map.rcu(|map| {
            let mut map = Map::clone(map);
            map.shards[usize::from(shard)] = Some(Arc::clone(to));
            map
        });
    }

    /// Something went wrong that another map may mend.
    pub(crate) fn doubt(&self) {
        self.inner.doubted.notify_one();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Keeps the map for as long as the cluster is wanted.
async fn keep(inner: Arc<Inner>) {
    let mut attempt = 0;
    loop {
        let is_known = inner.refresh(attempt).await;
        attempt += 1;
        let chance = inner.around.chance.fraction();
        sleep(REFRESH_LEAST.mul_f64(0.5 + chance)).await;
        let most = if is_known { REFRESH_MOST } else { Duration::ZERO };
        // Whether somebody doubted it or time is up: both mean to ask.
        let _ = timeout(most, inner.doubted.notified()).await;
    }
}

impl Inner {
    /// Asks one node, another at each attempt: one that is cut off from the others has an old map.
    async fn refresh(&self, attempt: usize) -> bool {
        let told = match self.connected(attempt) {
            Some(server) => server.slots().await,
            None => self.ask_seed(attempt).await,
        };
        let Some((asked, slots)) = told else {
            debug!("no node of the cluster tells who has which slot");
            return false;
        };
        let Some(ranges) = Range::read(&slots, &asked) else {
            debug!("what a node of the cluster tells of its slots cannot be read");
            return false;
        };
        self.take(&ranges);
        true
    }

    fn connected(&self, attempt: usize) -> Option<Arc<Server>> {
        // Every other time a seed is asked, so that nodes nobody else knows any more cannot keep us among themselves.
        if attempt % 2 == 1 {
            return None;
        }
        let map = self.map.load();
        let connected: Vec<_> = map.masters.values().filter(|server| server.is_connected()).collect();
        connected
            .get((attempt / 2) % connected.len().max(1))
            .map(|server| Arc::clone(server))
    }

    async fn ask_seed(&self, attempt: usize) -> Option<(Endpoint, Value)> {
        let seed = &self.seeds[attempt % self.seeds.len()];
        ask_once(seed, redis::cmd("CLUSTER").arg("SLOTS"))
            .await
            .map_err(|error| debug!(server = seed.label(), %error, "a node of the cluster does not answer"))
            .ok()
            .map(|slots| (seed.clone(), slots))
    }

    /// Goes by what was told. Connections to masters that stay are kept.
    fn take(&self, ranges: &[Range]) {
        let known = self.map.load_full();
        let mut map = Map {
            masters: BTreeMap::new(),
            shards: vec![None; SHARDS],
        };
        for range in ranges {
            let name = range.master.label();
            let master = known.masters.get(&name).map_or_else(
                || {
                    let origin = Origin::Fixed(range.master.clone());
                    Arc::new(Server::start(origin, self.around.clone()))
                },
                Arc::clone,
            );
            let master = Arc::clone(map.masters.entry(name).or_insert(master));
            for (shard, place) in (0_u8..=u8::MAX).zip(&mut map.shards) {
                if (range.first..=range.last).contains(&slot_of(shard)) {
                    *place = Some(Arc::clone(&master));
                }
            }
            if map.masters.len() >= MASTERS_MAX {
                break;
            }
        }
        self.map.store(Arc::new(map));
    }
}

/// Some slots in a row and who has them.
struct Range {
    first: u16,
    last: u16,
    master: Endpoint,
}

impl Range {
    /// Reads what `CLUSTER SLOTS` answered. A node that does not know its own name is at the address where it was `asked`.
    fn read(slots: &Value, asked: &Endpoint) -> Option<Vec<Self>> {
        let Value::Array(ranges) = slots else { return None };
        let read = |range: &Value| {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else {
                return None;
            };
            let host = match host {
                Value::BulkString(name) if !name.is_empty() => std::str::from_utf8(name).ok()?,
                _ => asked.host.as_str(),
            };
            Some(Self {
                first: u16::try_from(*first).ok()?,
                last: u16::try_from(*last).ok()?,
                master: asked.at(host, u16::try_from(*port).ok()?),
            })
        };
        ranges.iter().map(read).collect()
    }
}

/// The slot of all keys of a shard: that of what stands in their braces.
fn slot_of(shard: u8) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(format!("{shard:02x}").as_bytes()) % SLOTS
}

/// Slots of every cluster.
const SLOTS: u16 = 16_384;

/// Masters that are spoken to: no more can have one of our shards.
const MASTERS_MAX: usize = SHARDS;

/// How long the map is gone by at least, on average: a fail-over takes seconds, and a thousand nodes asking more often would be
/// load.
const REFRESH_LEAST: Duration = Duration::from_millis(200);

/// How long it is gone by when nobody doubts it, so that a new master gets its part.
const REFRESH_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_slot_is_that_of_its_two_digits() {
        // As `CLUSTER KEYSLOT sg:{00}:generation` and `sg:{7f}:` answer.
        assert_eq!((slot_of(0), slot_of(0x7f)), (13_254, 4_194));
    }

    #[test]
    fn what_a_node_tells_of_slots_is_read_or_refused_and_never_a_panic() {
        let asked = Endpoint::for_tests("seed", 7000);
        let text = |text: &str| Value::BulkString(text.into());
        let node = |host: Value| Value::Array(vec![host, Value::Int(7001), text("id")]);
        let range = |host| Value::Array(vec![Value::Int(0), Value::Int(99), node(host)]);
        let names = |slots: Value| {
            Range::read(&slots, &asked)
                .map(|ranges| ranges.iter().map(|range| range.master.label()).collect::<Vec<_>>())
        };
        assert_eq!(
            names(Value::Array(vec![
                range(text("one")),
                range(text("")),
                range(Value::Nil)
            ])),
            Some(vec![
                "one:7001".to_owned(),
                "seed:7001".to_owned(),
                "seed:7001".to_owned()
            ])
        );
        for nonsense in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(-1),
                Value::Int(99),
                node(text("one")),
            ])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(99),
                Value::Array(vec![]),
            ])]),
        ] {
            assert_eq!(names(nonsense), None);
        }
    }
}

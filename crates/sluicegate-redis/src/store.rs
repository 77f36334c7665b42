//! The store: lanes, and what is believed of each.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluicegate_core::Timestamp;
use sluicegate_state::store::{Call, Exchanged, Heartbeat, Lane, Presence, SHARDS, Store, StoreError, StoreGeneration};
use sluicegate_state::{AnyClock, Clock};
use tokio::runtime::Handle;

use crate::chance::{Chance, mix};
use crate::cluster::Cluster;
use crate::config::{ConfigError, StoreConfig};
use crate::endpoint::Servers;
use crate::health::Health;
use crate::script::{Generation, Said, records};
use crate::server::{Around, Exchange, Failure, Link, Origin, Server};
use crate::{names, ring};

/// A store in Redis or Valkey. Clones share the connections, which are kept until the last is dropped.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    /// Of each lane, what was last heard of it.
    heard: Vec<Mutex<Heard>>,
    clock: AnyClock,
    chance: Arc<Chance>,
}

/// Where shards are.
enum Layout {
    /// A lane is a server.
    Servers {
        servers: Vec<Arc<Server>>,
        lanes: Box<[u16; SHARDS]>,
    },
    /// A lane is a shard.
    Cluster(Cluster),
}

/// What was last heard of a lane, and by which server. The two only mean something together.
#[derive(Debug, Default)]
struct Heard {
    by: Option<(u64, Generation)>,
    /// When the generation's life is to be prolonged.
    prolong_at: Timestamp,
}

impl RedisStore {
    /// Begins to connect, on this runtime, and returns at once: a store that is away is joined when it comes. The runtime moves the
    /// bytes of all calls: it must have its timers and sockets enabled, and nobody may block it.
    ///
    /// # Errors
    ///
    /// If the configuration can belong to no store. It does not matter whether anybody answers.
    pub fn start(config: &StoreConfig, clock: AnyClock, runtime: Handle) -> Result<Self, ConfigError> {
        let chance = Arc::new(Chance::new(config.seed));
        let around = Around {
            clock: clock.clone(),
            chance: Arc::clone(&chance),
            deadline: config.deadline,
            runtime,
        };
        let servers = |origins: Vec<Origin>| {
            let names: Vec<String> = origins.iter().map(Origin::label).collect();
            Layout::Servers {
                lanes: Box::new(ring::lanes(&names)),
                servers: origins
                    .into_iter()
                    .map(|origin| Arc::new(Server::start(origin, around.clone())))
                    .collect(),
            }
        };
        let layout = match config.check()? {
            Servers::Ring(endpoints) => servers(endpoints.into_iter().map(Origin::Fixed).collect()),
            Servers::Sentinel {
                sentinels,
                primary,
                name,
            } => servers(vec![Origin::Sentinel {
                sentinels,
                name,
                primary,
            }]),
            Servers::Cluster(seeds) => Layout::Cluster(Cluster::start(seeds, around.clone())),
        };
        let lanes = match &layout {
            Layout::Servers { servers, .. } => servers.len(),
            Layout::Cluster(_) => SHARDS,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                heard: (0..lanes).map(|_| Mutex::default()).collect(),
                clock,
                chance,
            }),
        })
    }

    /// How each server does, with its name: `host:port`, or what sentinels call it. Of a cluster, the masters known now.
    pub fn servers(&self) -> Vec<(String, Arc<Health>)> {
        let named = |server: &Arc<Server>| (server.label().to_owned(), Arc::clone(server.health()));
        match &self.inner.layout {
            Layout::Servers { servers, .. } => servers.iter().map(named).collect(),
            Layout::Cluster(cluster) => cluster.masters().iter().map(named).collect(),
        }
    }

    /// How the server does that has a lane now; `None` if none is known.
    pub fn health_of(&self, lane: Lane) -> Option<Arc<Health>> {
        self.inner.server(lane).map(|server| Arc::clone(server.health()))
    }

    /// Whether calls to a lane are sent now.
    pub fn is_connected(&self, lane: Lane) -> bool {
        self.inner.server(lane).is_some_and(|server| server.is_connected())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers().into_iter().map(|(name, _)| name).collect();
        f.debug_struct("RedisStore").field("servers", &servers).finish()
    }
}

impl Store for RedisStore {
    fn lanes(&self) -> u16 {
        u16::try_from(self.inner.heard.len()).unwrap_or(u16::MAX)
    }

    fn lane(&self, shard: u8) -> Lane {
        match &self.inner.layout {
            Layout::Servers { lanes, .. } => Lane(lanes[usize::from(shard)]),
            Layout::Cluster(_) => Lane(u16::from(shard)),
        }
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Exchanged, StoreError> {
        if call.items.iter().any(|item| self.lane(item.key.shard) != call.lane) {
            return Err(unfit());
        }
        let records = records(call.items).map_err(|_| unfit())?;
        let inner = &self.inner;
        let mut server = inner.server(call.lane).ok_or(StoreError::NotSent(None))?;
        let mut asking = false;
        for _ in 0..=REDIRECTS_MAX {
            let to = match inner.attempt(&server, &call, &records, asking).await {
                Ok(exchanged) => return Ok(exchanged),
                Err(Failure::Store(error)) => {
                    inner.doubt();
                    return Err(error);
                }
                Err(Failure::Moved { to }) => {
                    asking = false;
                    to
                }
                Err(Failure::Ask { to }) => {
                    asking = true;
                    to
                }
            };
            server = inner.follow(call.lane, &to, asking).ok_or(StoreError::NotSent(None))?;
        }
        Err(StoreError::NotSent(None))
    }

    /// Told in the first shard whose server is connected, from shard 0 on: all nodes that reach it count each other there. While
    /// some reach it and some do not, each part counts only itself, and takes a larger share of what it cannot have by itself.
    async fn heartbeat(&self, presence: Presence) -> Result<Heartbeat, StoreError> {
        let inner = &self.inner;
        let is_connected = |shard: &u8| self.is_connected(self.lane(*shard));
        let shard = (0..=u8::MAX).find(is_connected).unwrap_or_default();
        let server = inner.server(self.lane(shard)).ok_or(StoreError::NotSent(None))?;
        let link = server.link()?;
        let told = server.presence(&link, shard, presence).await;
        told.map_err(|failure| {
            inner.doubt();
            match failure {
                Failure::Store(error) => error,
                // The next one finds the shard where it is now.
                Failure::Moved { .. } | Failure::Ask { .. } => StoreError::NotSent(None),
            }
        })
    }
}

impl Inner {
    fn server(&self, lane: Lane) -> Option<Arc<Server>> {
        match &self.layout {
            Layout::Servers { servers, .. } => servers.get(usize::from(lane.0)).cloned(),
            Layout::Cluster(cluster) => cluster.master_of(u8::try_from(lane.0).ok()?),
        }
    }

    fn generation_key(&self, lane: Lane) -> Vec<u8> {
        match &self.layout {
            Layout::Servers { .. } => names::generation_of_server(),
            Layout::Cluster(_) => names::generation_of_shard(u8::try_from(lane.0).unwrap_or(u8::MAX)),
        }
    }

    fn doubt(&self) {
        if let Layout::Cluster(cluster) = &self.layout {
            cluster.doubt();
        }
    }

    /// The server that another named.
    fn follow(&self, lane: Lane, to: &str, asking: bool) -> Option<Arc<Server>> {
        let Layout::Cluster(cluster) = &self.layout else {
            // A server of a cluster that is configured as if it were alone.
            return None;
        };
        let server = cluster.named(to)?;
        if !asking {
            cluster.moved(u8::try_from(lane.0).ok()?, &server);
        }
        Some(server)
    }

    /// One call to one server, unless that is known to hold other data than the node believes.
    async fn attempt(
        &self,
        server: &Server,
        call: &Call<'_>,
        records: &[u8],
        asking: bool,
    ) -> Result<Exchanged, Failure> {
        let link = server.link()?;
        let heard = self.heard.get(usize::from(call.lane.0)).ok_or_else(unfit)?;
        let generation_key = self.generation_key(call.lane);
        let exchange = |items, records, expected, prolong| Exchange {
            generation_key: &generation_key,
            items,
            records,
            expected,
            fresh: self.fresh(),
            prolong,
            asking,
        };
        let expected = match call.generation {
            None => None,
            Some(believed) => {
                let mut known = lock(heard).by_server(link.identity());
                if known.is_none() {
                    // Nothing has been heard from this server yet: asked about no key, it tells what it holds.
                    let said = server.exchange(&link, &exchange(&[], &[], None, false)).await?;
                    known = hear(heard, &link, &said);
                }
                let known = known.ok_or(StoreError::Late)?;
                let found = number_of(link.identity(), known);
                if found != believed {
                    return Ok(Exchanged::Changed { generation: found });
                }
                Some(known)
            }
        };
        let prolong = lock(heard).is_to_be_prolonged(self.clock.now());
        let said = server
            .exchange(&link, &exchange(call.items, records, expected, prolong))
            .await?;
        let generation = hear(heard, &link, &said).map(|generation| number_of(link.identity(), generation));
        match (said, generation) {
            (Said::Done { answers, .. }, Some(generation)) => Ok(Exchanged::Done { generation, answers }),
            (Said::Changed { .. }, Some(generation)) => Ok(Exchanged::Changed { generation }),
            _ => Err(StoreError::Late.into()),
        }
    }

    fn fresh(&self) -> Generation {
        loop {
            if let Some(fresh) = Generation::new(self.chance.number()) {
                return fresh;
            }
        }
    }
}

impl Heard {
    /// What this server said that the lane holds; `None` if another was heard last.
    fn by_server(&self, identity: u64) -> Option<Generation> {
        self.by
            .filter(|(by, _)| *by == identity)
            .map(|(_, generation)| generation)
    }

    fn is_to_be_prolonged(&mut self, now: Timestamp) -> bool {
        let is_due = now >= self.prolong_at;
        if is_due {
            self.prolong_at = now.saturating_add(PROLONG_EVERY);
        }
        is_due
    }
}

/// Remembers what a server said that a lane holds.
fn hear(heard: &Mutex<Heard>, link: &Link, said: &Said) -> Option<Generation> {
    let (Said::Done { generation, .. } | Said::Changed { generation, .. }) = said else {
        return None;
    };
    lock(heard).by = Some((link.identity(), *generation));
    Some(*generation)
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    // It is written whole.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The node's number for what a lane holds: another one if the server is another or was started anew, or if its data is.
fn number_of(identity: u64, generation: Generation) -> StoreGeneration {
    StoreGeneration(mix(identity ^ mix(generation.number())).max(1))
}

/// A call that the caller should not have made. Nothing was sent.
fn unfit() -> StoreError {
    StoreError::Refused {
        code: "UNFIT".to_owned(),
    }
}

/// How often one call may be sent to another node of a cluster: once to where the shard has moved, and once to where its keys are
/// just moving.
const REDIRECTS_MAX: usize = 2;

/// How often a node prolongs the week that a lane's generation lives.
const PROLONG_EVERY: Duration = Duration::from_hours(1);

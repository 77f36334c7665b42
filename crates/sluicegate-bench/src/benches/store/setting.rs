//! A Redis of the bench's own, and limiters that share limits by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::policy::Policy;
use sluicegate::{AnyClock, Limiter, Secret, Sharer};
use sluicegate_redis::{Addresses, DEADLINE_MAX, RedisStore, StoreConfig};
use sluicegate_state::store::Lane;
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::{CommandStats, RedisOptions, RedisServer, Reply};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::child::is_there;
use crate::error::BenchError;
use crate::report::{Figure, Report, Unit};
use crate::spread::Spread;
use crate::stopwatch::cpu_of;

/// A Redis of the bench's own, and a thread that moves the bytes of all connections to it.
#[derive(Debug)]
pub(in super::super) struct Setting {
    server: RedisServer,
    handle: Handle,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

/// What the system calls the thread of all connections.
pub(super) const CONNECTIONS: &str = "bench-links";

/// What the system calls the thread that shares a node's limits; it knows fifteen letters of each name.
pub(super) const SHARING: &str = "sluicegate-shar";

/// A call that takes longer than that is in the server's list of slow ones, in microseconds: the goal.
pub(super) const SLOW_US: u64 = 500;

/// One node: its limiter, and what keeps it in step with the others.
pub(in super::super) struct Node {
    pub(in super::super) limiter: Arc<Limiter>,
    /// Kept for what it does until it is dropped.
    _sharer: Sharer,
}

impl Setting {
    /// Starts a server; `None` if there is none on this machine.
    ///
    /// # Errors
    ///
    /// If it does not start, or the system has no thread.
    pub(in super::super) fn start() -> Result<Option<Self>, BenchError> {
        if !is_there("redis-server") {
            return Ok(None);
        }
        let options = RedisOptions::new()
            .line(&format!("slowlog-log-slower-than {SLOW_US}"))
            .line("slowlog-max-len 100000");
        let server = options.start().map_err(failed)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(CONNECTIONS.to_owned())
            .spawn(move || {
                // Either way it is over.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Some(Self {
            server,
            handle,
            _stop: stop,
        }))
    }

    /// What is reported where there is no server.
    pub(in super::super) fn left_out(report: &mut Report) {
        report.figures.push(Figure {
            scenario: "left out".to_owned(),
            subject: "redis-server is missing".to_owned(),
            spread: Spread::once(0.0),
            unit: Unit::Count,
        });
    }

    /// Where the server listens.
    pub(in super::super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A connection of one node, made.
    ///
    /// # Errors
    ///
    /// If there is none after [`PATIENCE`].
    pub(in super::super) fn store(&self, seed: u64, clock: AnyClock) -> Result<RedisStore, BenchError> {
        let started = RedisStore::start(&self.config(seed), clock, self.handle.clone());
        let store = started.map_err(|error| BenchError::set_up("a store", &error))?;
        wait("a connection", || store.is_connected(Lane(0)))?;
        Ok(store)
    }

    fn config(&self, seed: u64) -> StoreConfig {
        let addresses = Addresses::Ring(vec![format!("redis://{}", self.address())]);
        let mut config = StoreConfig::new(addresses, seed);
        // A machine of two processors, with a server and a hundred nodes on it, is late now and then.
        config.deadline = DEADLINE_MAX;
        config
    }

    /// So many nodes that share one rule by its `terms`, and know of each other.
    ///
    /// # Errors
    ///
    /// If one cannot be made, or they do not find each other within [`PATIENCE`].
    pub(in super::super) fn nodes(&self, count: u32, terms: &str, clock: &AnyClock) -> Result<Vec<Node>, BenchError> {
        let memory = LEASES_MIB * 4;
        let text = format!(
            "version: 1\nstate: {{memory: {memory}MiB, secret_file: secret, share: {{redis: \"redis://{}\"}}}}\n\
             rules:\n  - {{name: {RULE}, key: program, {terms}}}\n",
            self.address()
        );
        let (policy, _) = Policy::parse("bench.yaml", &text).map_err(|error| BenchError::set_up("a policy", &error))?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let made = Limiter::new(&policy, &Secret::from_bytes([7; 32]), clock.clone());
            let limiter = made.map_err(|error| BenchError::set_up("sluicegate", &error))?;
            let config = self.config(number.into());
            // As the gateway does: the thread that shares limits moves the connection's bytes.
            let sharer = limiter
                .share(|runtime, clock| RedisStore::start(&config, clock, runtime))
                .map_err(|error| BenchError::set_up("sluicegate", &error))?;
            nodes.push(Node {
                limiter: Arc::new(limiter),
                _sharer: sharer,
            });
        }
        for node in &nodes {
            wait("all nodes know of each other", || {
                node.limiter
                    .sharing()
                    .is_some_and(|sharing| sharing.lanes_up == 1 && sharing.nodes >= f64::from(count) - 0.5)
            })?;
        }
        Ok(nodes)
    }

    /// Processor time that the server has had.
    pub(in super::super) fn server_time(&self) -> Result<Duration, BenchError> {
        cpu_of(self.server.pid()).ok_or_else(|| BenchError::NoFigure {
            bench: "store",
            what: "this system does not tell a process's time".to_owned(),
        })
    }

    /// Has the server forget what it counted.
    pub(super) fn reset(&self) -> Result<(), BenchError> {
        for words in [&["CONFIG", "RESETSTAT"], &["SLOWLOG", "RESET"]] {
            self.server.command(words).map_err(failed)?;
        }
        Ok(())
    }

    /// What the server counted of scripts.
    pub(super) fn scripts(&self) -> Result<CommandStats, BenchError> {
        self.server.stats_of("evalsha").map_err(failed)
    }

    /// How many calls were slower than [`SLOW_US`], and the longest of them in microseconds.
    pub(super) fn slow(&self) -> Result<(u64, u64), BenchError> {
        let list = self.server.command(&["SLOWLOG", "GET", "-1"]).map_err(failed)?;
        let took = |entry: &Reply| entry.elements().get(2).and_then(Reply::integer);
        let mut spans: Vec<_> = list.elements().iter().filter_map(took).collect();
        spans.sort_unstable();
        let longest = spans.last().copied().unwrap_or_default();
        Ok((spans.len() as u64, u64::try_from(longest).unwrap_or_default()))
    }
}

/// Memory of a node's leases, of which a policy's memory has four times as much: room for 10 000 keys, of which none is to be forgotten.
const LEASES_MIB: u32 = 16;

/// The rule of all these nodes.
pub(in super::super) const RULE: &str = "limit";

/// Waits for what a server or another thread does.
///
/// # Errors
///
/// If it is not so after [`PATIENCE`].
pub(super) fn wait(what: &str, is_so: impl FnMut() -> bool) -> Result<(), BenchError> {
    poll::until_true(what, PATIENCE, is_so).map_err(|error| BenchError::set_up("sluicegate", &error))
}

/// A bound for what hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: sluicegate_testkit::redis::RedisError) -> BenchError {
    BenchError::set_up("redis-server", &error)
}

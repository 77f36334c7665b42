//! Every request asks the store: ours, and a plain script.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sluicegate::SystemClock;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::setting::SHARING;
use super::{Load, RULE, Setting};
use crate::error::BenchError;
use crate::spread::number;
use crate::stopwatch::{Stopwatch, cpu_of_threads};

/// Clients of each of the two nodes that ask at the same time.
const CLIENTS: u32 = 512;

/// Keys, taken in turn.
const KEYS: u32 = 10_000;

/// A limit that nobody reaches: what is measured is the asking.
const LIMIT: &str = "limit: 1000000/s burst 1000000, sharing: exact";

/// Ours, on two nodes with a connection each.
pub(super) fn ours(setting: &Setting, span: Duration) -> Result<Load, BenchError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let nodes = setting.nodes(2, LIMIT, &SystemClock::new().into())?;
    let limiters: [_; 2] = std::array::from_fn(|node| Arc::clone(&nodes[node].limiter));
    let loaded = limiters.clone();
    let asked = move || -> u64 {
        let counts = loaded.iter().filter_map(|limiter| Some(limiter.sharing()?.counts.keys));
        counts.sum()
    };
    let before = asked();
    let mut load = measure(setting, &runtime, span, move |connection, key| {
        let limiter = Arc::clone(&limiters[connection]);
        async move {
            let checked = limiter.check_waiting(RULE, key, 1).await;
            Ok(checked
                .map_err(|error| BenchError::set_up("sluicegate", &error))?
                .passes())
        }
    })?;
    // Who waits for too long is answered by the node's share: only what the store was asked counts. No two clients ask for one key.
    load.done = load.done.min(number(asked() - before));
    Ok(load)
}

/// A script of one key for each request, over two connections.
pub(super) fn plain(setting: &Setting, span: Duration) -> Result<Load, BenchError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let links = [
        runtime.block_on(Link::open(setting, GCRA))?,
        runtime.block_on(Link::open(setting, GCRA))?,
    ];
    measure(setting, &runtime, span, move |connection, key| {
        let mut link = links[connection].clone();
        async move {
            let mut call = link.call();
            call.arg(1).arg(key).arg(1).arg(1_000_000);
            let passes: u8 = link.ask(&call).await?;
            Ok(passes == 1)
        }
    })
}

/// A connection of a rival, and its script.
#[derive(Clone)]
pub(in super::super) struct Link {
    connection: MultiplexedConnection,
    script: Rc<str>,
}

impl Link {
    /// Connects, and gives the server the script.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub(in super::super) async fn open(setting: &Setting, script: &str) -> Result<Self, BenchError> {
        let client = redis::Client::open(format!("redis://{}", setting.address())).map_err(failed)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(failed)?;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script);
        let name: String = load.query_async(&mut connection).await.map_err(failed)?;
        Ok(Self {
            connection,
            script: name.into(),
        })
    }

    /// The beginning of a call of the script.
    pub(in super::super) fn call(&self) -> redis::Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&*self.script);
        call
    }

    /// What the server says to a call.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub(in super::super) async fn ask<T: redis::FromRedisValue>(&mut self, call: &redis::Cmd) -> Result<T, BenchError> {
        call.query_async(&mut self.connection).await.map_err(failed)
    }
}

/// A token bucket as one time: microseconds in which a unit comes back, and most units at once.
pub(in super::super) const GCRA: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
if tat < now then tat = now end
local new = tat + ARGV[1]
if new - now > ARGV[1] * ARGV[2] then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
return 1
";

/// Lets clients ask for so long, each for one key after the other.
fn measure<F>(
    setting: &Setting,
    runtime: &Runtime,
    span: Duration,
    ask: impl Fn(usize, u32) -> F + Clone + 'static,
) -> Result<Load, BenchError>
where
    F: Future<Output = Result<bool, BenchError>> + 'static,
{
    clients(runtime, span / 10, ask.clone())?;

    setting.reset()?;
    let before = setting.server_time()?;
    let shared = cpu_of_threads(SHARING).unwrap_or_default();
    let watch = Stopwatch::start();
    let decided = clients(runtime, span, ask)?;
    let taken = watch.read();
    let sharing = cpu_of_threads(SHARING).unwrap_or_default().saturating_sub(shared);
    let server = setting.server_time()?.saturating_sub(before);
    let scripts = setting.scripts()?;
    Ok(Load {
        done: number(decided),
        wall: taken.wall,
        server,
        sharing,
        asking: taken.cpu,
        scripts: scripts.took.as_secs_f64() * 1e6,
        calls: number(scripts.calls),
        slow: setting.slow()?,
    })
}

/// All clients, for so long; how many requests were decided.
fn clients<F>(
    runtime: &Runtime,
    span: Duration,
    ask: impl Fn(usize, u32) -> F + Clone + 'static,
) -> Result<u64, BenchError>
where
    F: Future<Output = Result<bool, BenchError>> + 'static,
{
    let watch = Stopwatch::start();
    let next = Rc::new(Cell::new(0));
    let tasks = LocalSet::new();
    let clients: Vec<_> = (0..2 * CLIENTS)
        .map(|client| {
            let (ask, next) = (ask.clone(), Rc::clone(&next));
            tasks.spawn_local(async move {
                let mut decided = 0;
                while watch.read().wall < span {
                    let key = next.get();
                    next.set((key + 1) % KEYS);
                    // The limit allows all of them: what is refused was answered too late, and is no decision of the store's.
                    decided += u64::from(ask((client % 2) as usize, key).await?);
                }
                Ok::<u64, BenchError>(decided)
            })
        })
        .collect();
    tasks.block_on(runtime, async {
        let mut decided = 0;
        for client in clients {
            decided += client.await.map_err(|_| BenchError::panicked("a client"))??;
        }
        Ok(decided)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: redis::RedisError) -> BenchError {
    BenchError::set_up("redis", &error)
}

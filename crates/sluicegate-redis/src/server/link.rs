//! The calls over one connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use sluicegate_core::Timestamp;
use sluicegate_core::sharing::EPOCH_UNIX_US;
use sluicegate_state::store::{Answer, HEARTBEAT_MEMORY, Heartbeat, Item, Presence, StoreError};
use sluicegate_state::{AnyClock, Clock};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::greeting::{Facts, Scripts, greet};
use super::silence::Silence;
use super::stream::Unanswered;
use super::{Failure, LinkError, Server};
use crate::config::DEADLINE_MAX;
use crate::health::Health;
use crate::names;
use crate::script::{self, Generation, Header, Said};

/// A connection that works.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    unanswered: Unanswered,
    identity: u64,
    scripts: Scripts,
    /// The store's clock less ours, in microseconds, as the bits of a number.
    offset: AtomicU64,
    /// When that was seen, in nanoseconds of our clock.
    offset_at: AtomicU64,
    silence: Silence,
    is_cut: AtomicBool,
    cut: Notify,
}

/// One call of the exchange script.
pub(crate) struct Exchange<'c> {
    /// Where the lane keeps its generation.
    pub(crate) generation_key: &'c [u8],
    pub(crate) items: &'c [Item],
    /// Of the items.
    pub(crate) records: &'c [u8],
    pub(crate) expected: Option<Generation>,
    /// What the lane holds from now on, if nothing.
    pub(crate) fresh: Generation,
    pub(crate) prolong: bool,
    /// Whether the server is asked for keys that are just coming to it.
    pub(crate) asking: bool,
}

impl Link {
    /// Asks a fresh connection whether it will do, and how long it takes.
    pub(super) async fn probe(
        mut connection: MultiplexedConnection,
        unanswered: Unanswered,
        clock: &AnyClock,
    ) -> Result<(Self, Facts, Duration), LinkError> {
        let (facts, scripts) = greet(&mut connection).await?;
        let sent_at = clock.now();
        let probe = redis::cmd("TIME");
        let shown = timeout(DEADLINE_MAX, probe.query_async::<(f64, f64)>(&mut connection)).await;
        let (seconds, micros) = shown
            .map_err(|_| LinkError::Silent(DEADLINE_MAX))?
            .map_err(|error| LinkError::of(&error))?;
        let answered_at = clock.now();
        unanswered.answered();
        let link = Self {
            connection,
            unanswered,
            identity: facts.identity,
            scripts,
            offset: AtomicU64::default(),
            offset_at: AtomicU64::default(),
            silence: Silence::default(),
            is_cut: AtomicBool::default(),
            cut: Notify::new(),
        };
        link.set_clock(seconds * 1e6 + micros - EPOCH_UNIX_US, answered_at);
        Ok((link, facts, answered_at.saturating_since(sent_at)))
    }

    /// Another number after each start of the server.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Ends the connection, since it is of no use.
    pub(crate) fn cut(&self) {
        // The waiting keeper is woken by the permit below; the flag only keeps others from sending in between.
        self.is_cut.store(true, Ordering::Relaxed);
        self.cut.notify_one();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    pub(super) async fn until_cut(&self) {
        self.cut.notified().await;
    }

    /// Takes what the store's clock showed before it answered for what it shows now: it shows at least that, however long the answer took,
    /// and whatever our clock did meanwhile.
    fn set_clock(&self, shown: f64, answered_at: Timestamp) {
        let offset = shown - micros(answered_at);
        self.offset.store(offset.to_bits(), Ordering::Relaxed);
        self.offset_at.store(answered_at.as_nanos(), Ordering::Relaxed);
    }

    /// What the store's clock shows when ours shows `now`.
    fn store_time(&self, now: Timestamp) -> f64 {
        micros(now) + f64::from_bits(self.offset.load(Ordering::Relaxed))
    }

    /// The same, if it may be held against the store's clock: else zero, which claims nothing. A clock of ours that jumps is found out by the
    /// next answer, and until then it would move the store's.
    fn estimate(&self, now: Timestamp) -> f64 {
        let seen_at = Timestamp::from_nanos(self.offset_at.load(Ordering::Relaxed));
        if now.saturating_since(seen_at) > ESTIMATE_LASTS {
            return 0.0;
        }
        self.store_time(now)
    }

    async fn run(&self, command: &Cmd, asking: bool) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        let value = if asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").ignore().add_command(command.clone());
            let values = connection.req_packed_commands(&both, 1, 1).await?;
            values.into_iter().next().unwrap_or(Value::Nil)
        } else {
            connection.req_packed_command(command).await?
        };
        self.unanswered.answered();
        value.extract_error()
    }
}

impl Server {
    /// Does one call. `link` is of this server.
    pub(crate) async fn exchange(&self, link: &Link, exchange: &Exchange<'_>) -> Result<Said, Failure> {
        let clock = &self.inner.around.clock;
        let deadline = self.deadline();
        let sent_at = clock.now();
        let header = Header {
            expected: exchange.expected,
            fresh: exchange.fresh,
            deadline: link.store_time(sent_at) + deadline.as_secs_f64() * 1e6,
            estimate: link.estimate(sent_at),
            prolong: exchange.prolong,
        };
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(&link.scripts.exchange)
            .arg(exchange.items.len() + 1)
            .arg(exchange.generation_key);
        for item in exchange.items {
            command.arg(&names::item(&item.key)[..]);
        }
        command.arg(&header.to_bytes()[..]).arg(exchange.records);
        let called = self.call(link, &command, script::EXCHANGE, exchange.asking, deadline);
        let said = called.await.and_then(|value| {
            let said = whole(value).and_then(|bytes| script::read(&bytes, exchange.items));
            said.ok_or_else(|| StoreError::BadReply.into())
        });
        let said = self.judge(link, said)?;
        let answered_at = clock.now();
        let (Said::Done { now, .. } | Said::Changed { now, .. } | Said::Late { now }) = &said;
        link.set_clock(*now, answered_at);
        self.inner.health.round_trip(answered_at.saturating_since(sent_at));
        self.inner.health.count(&said);
        Ok(said)
    }

    /// Says that a node lives, in a shard.
    pub(crate) async fn presence(&self, link: &Link, shard: u8, presence: Presence) -> Result<Heartbeat, Failure> {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(&link.scripts.presence)
            .arg(2)
            .arg(names::nodes(shard))
            .arg(names::secret(shard))
            .arg(presence.node)
            .arg(&presence.secret.to_le_bytes()[..])
            .arg(HEARTBEAT_MEMORY.as_millis().to_string());
        let called = self.call(link, &command, script::PRESENCE, false, self.deadline());
        let told = called.await.and_then(|value| {
            let told: RedisResult<(u32, u8)> = redis::from_redis_value(value).map_err(RedisError::from);
            let (nodes, same) = told.map_err(|_| StoreError::BadReply)?;
            Ok(Heartbeat {
                nodes,
                same_secret: same == 1,
            })
        });
        self.judge(link, told)
    }

    /// Asks anything else, within the deadline.
    pub(crate) async fn ask(&self, link: &Link, command: &Cmd) -> Result<Value, Failure> {
        let answered = self.call(link, command, "", false, self.deadline()).await;
        self.judge(link, answered)
    }

    /// Sends a command, and the script first where the server has lost it. The deadline covers both.
    async fn call(
        &self,
        link: &Link,
        command: &Cmd,
        script: &str,
        asking: bool,
        deadline: Duration,
    ) -> Result<Value, Failure> {
        let health = &self.inner.health;
        let _under_way = health.enter(CALLS_MAX).ok_or(StoreError::NotSent(None))?;
        health.calls.add(1);
        let answered = timeout(deadline, async {
            match link.run(command, asking).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    health.reloads.add(1);
                    let mut load = redis::cmd("SCRIPT");
                    load.arg("LOAD").arg(script);
                    link.run(&load, false).await?;
                    link.run(command, asking).await
                }
                answered => answered,
            }
        });
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(StoreError::TimedOut { waited: deadline }.into()),
        }
    }

    /// What a call's end says of the connection, and counts.
    fn judge<T>(&self, link: &Link, ended: Result<T, Failure>) -> Result<T, Failure> {
        match &ended {
            Ok(_) => link.silence.ends(),
            Err(Failure::Store(StoreError::TimedOut { waited })) => {
                if link.silence.goes_on(self.inner.around.clock.now(), *waited) {
                    link.cut();
                }
            }
            Err(failure) if failure.ends_connection() => link.cut(),
            Err(_) => {}
        }
        if let Err(Failure::Store(error)) = &ended {
            self.inner.health.trouble(error);
        }
        ended
    }

    /// How long a call may take: what the configuration says, or three round trips where those are longer.
    fn deadline(&self) -> Duration {
        let trips = self.inner.health.rtt_mean().unwrap_or_default().saturating_mul(3);
        self.inner.around.deadline.max(trips.min(DEADLINE_MAX))
    }
}

/// The script's answer, which comes in two pieces where it is long.
fn whole(answer: Value) -> Option<Vec<u8>> {
    let pieces = match answer {
        Value::BulkString(bytes) => return Some(bytes),
        Value::Array(pieces) => <[Value; 2]>::try_from(pieces).ok()?,
        _ => return None,
    };
    let [Value::BulkString(mut bytes), Value::BulkString(rest)] = pieces else {
        return None;
    };
    bytes.extend_from_slice(&rest);
    Some(bytes)
}

impl Health {
    fn count(&self, said: &Said) {
        match said {
            Said::Done { answers, .. } => {
                self.keys.add(answers.len() as u64);
                let damaged = answers.iter().filter(|answer| match answer {
                    Answer::Units(reply) => reply.damaged,
                    Answer::Permits(reply) => reply.damaged,
                });
                self.damaged.add(damaged.count() as u64);
            }
            Said::Late { .. } => self.trouble(&StoreError::Late),
            Said::Changed { .. } => {}
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2⁵³ ns are 104 days, and beyond them a microsecond is exact"
)]
fn micros(at: Timestamp) -> f64 {
    at.as_nanos() as f64 / 1_000.0
}

/// Calls under way over one connection, each with up to 128 keys: at 0.4 ms each they fill the deadline. More would only wait.
pub(crate) const CALLS_MAX: u32 = 128;

/// For how long after an answer our clock is held against the store's. Keys in use are asked about ten times a second; and by no more
/// than this does a clock of ours that jumps ahead move the store's.
const ESTIMATE_LASTS: Duration = Duration::from_millis(250);

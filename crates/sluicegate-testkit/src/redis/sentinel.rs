//! A primary and a replica, watched by sentinels.

use std::net::SocketAddr;
use std::time::Duration;

use super::{RedisError, RedisOptions, RedisServer};
use crate::poll;

/// A primary, its replica, and sentinels that make one the other when it fails, which takes one to four seconds.
///
/// A killed primary that is started again takes itself for one until the sentinels look at it, ten to twenty seconds later.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [RedisServer; 2],
    sentinels: Vec<RedisServer>,
}

/// Under which name the sentinels know the two.
const NAME: &str = "sluicegate";

/// After how long without an answer a server is believed to be down. Shorter, and a loaded machine makes servers fail.
const DOWN_AFTER: Duration = Duration::from_millis(700);

/// A second fail-over may begin twice this after the first.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A bound for what hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl RedisSentinel {
    /// Starts the two servers and so many sentinels, one at the least, of which more than half have to agree; waits until each of
    /// them knows the replica and the others.
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::start`]; if they do not know one another after thirty seconds.
    pub fn start(sentinels: usize) -> Result<Self, RedisError> {
        let primary = RedisServer::start()?;
        let replica = RedisServer::replica_of(&primary)?;
        let sentinels = sentinels.max(1);
        let options = RedisOptions::new()
            .sentinel()
            .line(&format!(
                "sentinel monitor {NAME} 127.0.0.1 {} {}",
                primary.port(),
                sentinels / 2 + 1
            ))
            .line(&format!(
                "sentinel down-after-milliseconds {NAME} {}",
                DOWN_AFTER.as_millis()
            ))
            .line(&format!(
                "sentinel failover-timeout {NAME} {}",
                FAILOVER_TIMEOUT.as_millis()
            ));
        let watched = Self {
            servers: [primary, replica],
            sentinels: (0..sentinels)
                .map(|_| options.clone().start())
                .collect::<Result<_, _>>()?,
        };
        let know_all = || {
            watched
                .sentinels
                .iter()
                .all(|sentinel| watched.knows_all(sentinel).unwrap_or(false))
        };
        poll::until_true("the sentinels know whom they watch", PATIENCE, know_all)?;
        Ok(watched)
    }

    fn knows_all(&self, sentinel: &RedisServer) -> Result<bool, RedisError> {
        let status = sentinel.info("master0")?.unwrap_or_default();
        let says = |word: String| status.split(',').any(|field| field == word);
        let replica = sentinel.command(&["SENTINEL", "REPLICAS", NAME])?;
        let link_is_up = replica.elements().first().is_some_and(|replica| {
            let fields = replica.elements();
            let value = |name| {
                fields
                    .iter()
                    .position(|field| field.text().as_deref() == Some(name))
                    .and_then(|at| fields.get(at + 1))
            };
            value("master-link-status").is_some_and(|status| status.text().as_deref() == Some("ok"))
        });
        Ok(link_is_up
            && says("status=ok".to_owned())
            && says("slaves=1".to_owned())
            && says(format!("sentinels={}", self.sentinels.len())))
    }

    /// Under which name the sentinels know the two servers.
    pub const fn name(&self) -> &'static str {
        NAME
    }

    /// Where a client may ask who is the primary.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(RedisServer::address).collect()
    }

    /// The sentinels, each a process of its own.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The two servers, the one that began as primary first.
    pub const fn servers(&self) -> &[RedisServer; 2] {
        &self.servers
    }

    /// The primary, by the word of the first sentinel that answers.
    ///
    /// # Errors
    ///
    /// If none answers, or names somebody else.
    pub fn primary(&self) -> Result<&RedisServer, RedisError> {
        let sentinel = self.sentinels.iter().find(|sentinel| sentinel.is_running());
        let sentinel = sentinel.ok_or(RedisError::NoNode { what: "answers" })?;
        self.primary_by(sentinel)
    }

    fn primary_by(&self, sentinel: &RedisServer) -> Result<&RedisServer, RedisError> {
        let told = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let port = told.elements().get(1).and_then(super::Reply::integer);
        let primary = self
            .servers
            .iter()
            .find(|server| port == Some(i64::from(server.port())));
        primary.ok_or_else(|| RedisError::Unexpected {
            command: "SENTINEL GET-MASTER-ADDR-BY-NAME".to_owned(),
            found: told,
        })
    }

    /// Waits until every sentinel that answers names another primary than `old`, and it is one, and returns it.
    ///
    /// # Errors
    ///
    /// If that is not so after thirty seconds.
    pub fn wait_for_new_primary(&self, old: &RedisServer) -> Result<&RedisServer, RedisError> {
        let new = || {
            let mut answering = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
            let first = self.primary_by(answering.next()?).ok()?;
            let says_the_same = |sentinel| {
                self.primary_by(sentinel)
                    .is_ok_and(|other| other.port() == first.port())
            };
            let is_primary = || first.info("role").is_ok_and(|role| role.as_deref() == Some("master"));
            (first.port() != old.port() && answering.all(says_the_same) && is_primary()).then_some(first)
        };
        Ok(poll::until("the sentinels name another primary", PATIENCE, new)?)
    }
}

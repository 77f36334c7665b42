//! What is said first on a connection: who answers, whether it will do, and the scripts it is to run.

use redis::aio::MultiplexedConnection;
use tracing::{debug, info, warn};

use super::LinkError;
use crate::chance;
use crate::script;

/// What a server said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// Another number after each start of the server.
    pub(super) identity: u64,
    is_replica: bool,
    version: Option<(u32, u32)>,
    eviction: Option<String>,
}

/// By which names the server runs the scripts.
#[derive(Debug, Clone)]
pub(super) struct Scripts {
    pub(super) exchange: String,
    pub(super) presence: String,
}

/// Asks who answers, and gives it the scripts: one round trip.
pub(super) async fn greet(connection: &mut MultiplexedConnection) -> Result<(Facts, Scripts), LinkError> {
    let mut greeting = redis::pipe();
    greeting.cmd("INFO");
    for text in [script::EXCHANGE, script::PRESENCE] {
        greeting.cmd("SCRIPT").arg("LOAD").arg(text);
    }
    let (said, exchange, presence): (String, String, String) = greeting
        .query_async(connection)
        .await
        .map_err(|error| LinkError::of(&error))?;
    let facts = Facts::read(&said);
    if facts.is_replica {
        return Err(LinkError::Replica);
    }
    Ok((facts, Scripts { exchange, presence }))
}

impl Facts {
    /// Reads what `INFO` said. What is missing is unknown.
    fn read(said: &str) -> Self {
        let field = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let version = field("redis_version").and_then(|version| {
            let mut parts = version.split('.').map(str::parse);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        });
        Self {
            identity: chance::hash(field("run_id").unwrap_or_default().as_bytes()),
            is_replica: field("role") == Some("slave"),
            version,
            eviction: field("maxmemory_policy")
                .filter(|policy| *policy != "noeviction")
                .map(str::to_owned),
        }
    }

    /// Whether it forgets what was used when its memory is full.
    pub(super) fn may_evict(&self) -> bool {
        self.eviction.is_some()
    }

    /// Tells the operator, once a connection, what of the server weakens the limits.
    pub(super) fn tell(&self, server: &str) {
        info!(server, "connected to the store");
        if let Some((major, minor)) = self.version {
            if (major, minor) < VERSION_LEAST {
                warn!(server, major, minor, "the store is older than Redis 6.2");
            }
        } else {
            debug!(server, "the store does not tell its version");
        }
        if let Some(policy) = &self.eviction {
            warn!(
                server,
                policy, "the store may evict keys, and then forgets what was used; set maxmemory-policy noeviction"
            );
        }
    }
}

/// The first with all that the scripts need.
const VERSION_LEAST: (u32, u32) = (6, 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read_whatever_it_says() {
        let said = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n# Memory\r\nmaxmemory_policy:allkeys-lru\r\n# Replication\r\nrole:master\r\n";
        let facts = Facts::read(said);
        assert_eq!(facts.version, Some((7, 0)));
        assert_eq!(facts.eviction.as_deref(), Some("allkeys-lru"));
        assert!(facts.may_evict());
        assert!(!facts.is_replica);
        assert_ne!(facts.identity, Facts::read(&said.replace("abc", "abd")).identity);
        assert!(Facts::read("role:slave\r\n").is_replica);
        assert_eq!(Facts::read("redis_version:x.y\nrun_id\n:::\n").version, None);
        assert_eq!(Facts::read("maxmemory_policy:noeviction").eviction, None);
    }
}

//! Where the store is and how it is spoken to.

use std::fmt;
use std::time::Duration;

use sluicegate_state::store::SHARDS;

/// Where the store is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The servers.
    pub addresses: Addresses,
    /// Who we are, where the address does not say it; `None` for the default user.
    pub username: Option<String>,
    /// What proves it, where the address does not say it.
    pub password: Option<Password>,
    /// Whom to trust behind `rediss://`.
    pub tls: TlsConfig,
    /// How long a call may take, from 1 ms to [`DEADLINE_MAX`]; where the round trip is long, three of them.
    pub deadline: Duration,
    /// What jitter and fresh generations are drawn from. Another at each start.
    pub seed: u64,
}

impl StoreConfig {
    /// With the default user, public authorities, a deadline of 50 ms, and this seed.
    pub fn new(addresses: Addresses, seed: u64) -> Self {
        Self {
            addresses,
            username: None,
            password: None,
            tls: TlsConfig::default(),
            deadline: DEADLINE,
            seed,
        }
    }
}

/// What servers there are. Each is `redis://host:port` or, with TLS, `rediss://host:port`, also with `user:password@` in front
/// of the host and, but in a cluster, `/database` behind it.
#[derive(Clone)]
pub enum Addresses {
    /// Servers that do not know of each other. Shards are spread over them by rendezvous hashing of these addresses: losing or
    /// adding one moves only its share.
    Ring(Vec<String>),
    /// Some nodes of a Redis Cluster; the others are learned from them.
    Cluster(Vec<String>),
    /// One server, which sentinels name.
    Sentinel {
        /// The sentinels. Who they name is spoken to with TLS if the first of them is, in the database that its address names.
        sentinels: Vec<String>,
        /// What they call the primary.
        primary: String,
    },
}

// Addresses may hold passwords.
impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = match self {
            Self::Ring(servers) => ("Ring", servers.len()),
            Self::Cluster(nodes) => ("Cluster", nodes.len()),
            Self::Sentinel { sentinels, .. } => ("Sentinel", sentinels.len()),
        };
        f.debug_tuple(name).field(&count).finish()
    }
}

/// A password, which nothing prints.
#[derive(Clone)]
pub struct Password(pub(crate) String);

impl Password {
    /// This one.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Whom to trust behind `rediss://`, and who we are there. All in PEM.
#[derive(Clone, Default)]
pub struct TlsConfig {
    /// The authorities that servers' certificates must come from; `None` for the public ones.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate with those that lead to its authority, and its key, where servers ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Why there can be no store of this configuration. Never holds an address, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no address.
    #[error("there is no address of a server")]
    NoAddress,
    /// There are more servers than shards.
    #[error("{0} servers; more than {SHARDS} would have no shard")]
    TooMany(usize),
    /// An address cannot be read.
    #[error("address {index} is not redis://host:port or rediss://host:port")]
    BadAddress {
        /// Which, from 0.
        index: usize,
    },
    /// An address is there twice.
    #[error("address {index} is there twice")]
    Twice {
        /// Which, from 0.
        index: usize,
    },
    /// A node of a cluster has one database.
    #[error("address {index} names a database; a cluster has only one")]
    Database {
        /// Which, from 0.
        index: usize,
    },
    /// Certificates or their key cannot be used.
    #[error("the TLS {what} cannot be used")]
    Tls {
        /// Which part.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The deadline is out of range.
    #[error("a deadline of {0:?}; it is at least 1 ms and at most {DEADLINE_MAX:?}")]
    Deadline(Duration),
}

/// How long a call may take unless the configuration says otherwise: a hundred round trips within a data centre, and little
/// enough that a node goes on by its own share before anybody notices.
pub const DEADLINE: Duration = Duration::from_millis(50);

/// The longest deadline, also of a call over a long round trip: beyond it, answers are about leases half over.
pub const DEADLINE_MAX: Duration = Duration::from_millis(500);

//! What nodes share limits by: the store, and how it is reached.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::SecretSource;

/// What nodes share limits by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Where the store is.
    pub store: StoreAddress,
    /// How its certificates are judged, where it is spoken to over TLS.
    pub tls: StoreTls,
    /// How many nodes can see one key, 1 to 100 000, unless a rule says otherwise; `None` means as many as run.
    pub fanout: Option<NonZeroU32>,
}

impl Share {
    /// Every path that the file may give relative to its own folder.
    pub(in crate::policy) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let (servers, behind) = match &mut self.store {
            StoreAddress::Ring(servers) | StoreAddress::Cluster(servers) => (servers, None),
            StoreAddress::Sentinel {
                servers, credentials, ..
            } => (servers, Some(credentials)),
        };
        let credentials = servers.iter_mut().map(|server| &mut server.credentials).chain(behind);
        let passwords = credentials.filter_map(|credentials| credentials.password.as_mut()?.path_mut());
        let client = self.tls.client.iter_mut();
        let client = client.flat_map(|client| [&mut client.certificate, &mut client.private_key]);
        passwords.chain(&mut self.tls.ca_file).chain(client).collect()
    }
}

/// Where a store is: Redis or Valkey, from version 6.2 of Redis on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// Independent servers, at least one, all different: each has a part of the keys, and losing one moves only its part.
    Ring(Vec<StoreUrl>),
    /// Some nodes of a Redis Cluster, at least one; the others are found through them. All in database 0, and all with TLS
    /// or none.
    Cluster(Vec<StoreUrl>),
    /// A server with replicas that sentinels watch.
    Sentinel {
        /// The sentinels, at least one, with what they themselves ask for. All in database 0, and all with TLS or none;
        /// the servers that they name are spoken to in the same way.
        servers: Vec<StoreUrl>,
        /// What the sentinels call the server.
        master: String,
        /// What the server and its replicas ask for.
        credentials: Credentials,
    },
}

impl StoreAddress {
    /// The servers that the policy names, of whatever part.
    pub fn servers(&self) -> &[StoreUrl] {
        match self {
            Self::Ring(servers) | Self::Cluster(servers) | Self::Sentinel { servers, .. } => servers,
        }
    }

    pub(in crate::policy) fn servers_mut(&mut self) -> &mut [StoreUrl] {
        match self {
            Self::Ring(servers) | Self::Cluster(servers) | Self::Sentinel { servers, .. } => servers,
        }
    }
}

/// Most servers that a policy names: as many independent ones as share 256 parts of the keys evenly, eight each, and more
/// than anyone needs to find a cluster by.
pub const STORE_SERVERS_MAX: usize = 32;

/// One server of a store.
///
/// `Display` writes it as `redis://gate@10.0.0.7:6379/2`. It knows no password, and shows not even where that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreUrl {
    /// A name, resolved whenever a connection is made, or an address; one of IPv6 without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
    /// Whether it is spoken to over TLS (`rediss://`).
    pub tls: bool,
    /// Its database; 0 unless said.
    pub database: u16,
    /// What it asks for.
    pub credentials: Credentials,
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss://" } else { "redis://" })?;
        if let Some(username) = &self.credentials.username {
            write!(f, "{username}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

/// What a server asks for before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Whose password it is; `None` means the user `default`. Never without a password.
    pub username: Option<String>,
    /// Where the password is; `None` means that nothing is asked.
    pub password: Option<SecretSource>,
}

/// How the certificates of a store are judged, and what this node shows it. Without meaning where no server is spoken to over
/// TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreTls {
    /// A file of certificates (PEM) that the server's must go back to; `None` means the public authorities.
    pub ca_file: Option<PathBuf>,
    /// What this node shows of itself; `None` shows nothing.
    pub client: Option<ClientCertificate>,
}

/// A certificate with its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A file of certificates (PEM), this node's first.
    pub certificate: PathBuf,
    /// A file with its private key (PEM).
    pub private_key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_without_its_password_and_where_that_is() {
        let url = |host: &str, database, credentials| StoreUrl {
            host: host.to_owned(),
            port: 6379,
            tls: true,
            database,
            credentials,
        };
        let of = |username: Option<&str>| Credentials {
            username: username.map(str::to_owned),
            password: Some(SecretSource::Variable("REDIS_PASSWORD".to_owned())),
        };
        for (url, shown) in [
            (url("a.internal", 0, Credentials::default()), "rediss://a.internal:6379"),
            (url("10.0.0.7", 2, of(Some("gate"))), "rediss://gate@10.0.0.7:6379/2"),
            (url("2001:db8::1", 0, of(None)), "rediss://[2001:db8::1]:6379"),
        ] {
            assert_eq!(url.to_string(), shown);
        }
    }
}

//! The configuration, checked: how each server is reached, and who we say we are there.

use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};
use sluicegate_state::store::SHARDS;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Addresses, ConfigError, DEADLINE_MAX, Password, StoreConfig, TlsConfig};

/// How one server is reached and who we say we are there.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: i64,
    username: Option<String>,
    password: Option<Password>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// As addresses are written, without secrets. It tells servers apart in the ring and in logs.
    pub(crate) fn label(&self) -> String {
        let Self {
            host, port, database, ..
        } = self;
        if *database == 0 {
            format!("{host}:{port}")
        } else {
            format!("{host}:{port}/{database}")
        }
    }

    /// Another server of the same installation.
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            database: 0,
            username: None,
            password: None,
            tls: None,
        }
    }

    pub(crate) fn login(&self) -> redis::RedisConnectionInfo {
        let mut login = redis::RedisConnectionInfo::default()
            .set_protocol(redis::ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(self.database);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(Password(password)) = &self.password {
            login = login.set_password(password);
        }
        login
    }
}

/// The servers.
pub(crate) enum Servers {
    Ring(Vec<Endpoint>),
    Cluster(Vec<Endpoint>),
    Sentinel {
        sentinels: Vec<Endpoint>,
        primary: Endpoint,
        name: String,
    },
}

impl StoreConfig {
    pub(crate) fn check(&self) -> Result<Servers, ConfigError> {
        if self.deadline < Duration::from_millis(1) || self.deadline > DEADLINE_MAX {
            return Err(ConfigError::Deadline(self.deadline));
        }
        let tls = Arc::new(self.tls.check()?);
        match &self.addresses {
            Addresses::Ring(servers) => {
                let endpoints = self.endpoints(servers, &tls)?;
                if endpoints.len() > SHARDS {
                    return Err(ConfigError::TooMany(endpoints.len()));
                }
                Ok(Servers::Ring(endpoints))
            }
            Addresses::Cluster(nodes) => {
                let endpoints = self.endpoints(nodes, &tls)?;
                match endpoints.iter().position(|endpoint| endpoint.database != 0) {
                    Some(index) => Err(ConfigError::Database { index }),
                    None => Ok(Servers::Cluster(endpoints)),
                }
            }
            Addresses::Sentinel { sentinels, primary } => {
                let mut named = self.clone();
                // Sentinels have users of their own, in their addresses.
                (named.username, named.password) = (None, None);
                let mut sentinels = named.endpoints(sentinels, &tls)?;
                let first = sentinels.first().ok_or(ConfigError::NoAddress)?;
                let named = Endpoint {
                    username: self.username.clone(),
                    password: self.password.clone(),
                    ..first.clone()
                };
                // A database is of the server; sentinels have none.
                for sentinel in &mut sentinels {
                    sentinel.database = 0;
                }
                Ok(Servers::Sentinel {
                    sentinels,
                    primary: named,
                    name: primary.clone(),
                })
            }
        }
    }

    fn endpoints(&self, addresses: &[String], tls: &Arc<ClientConfig>) -> Result<Vec<Endpoint>, ConfigError> {
        if addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let endpoints: Vec<Endpoint> = addresses
            .iter()
            .enumerate()
            .map(|(index, address)| self.endpoint(index, address, tls))
            .collect::<Result<_, _>>()?;
        for (index, endpoint) in endpoints.iter().enumerate() {
            if endpoints[..index].iter().any(|other| other.label() == endpoint.label()) {
                return Err(ConfigError::Twice { index });
            }
        }
        Ok(endpoints)
    }

    fn endpoint(&self, index: usize, address: &str, tls: &Arc<ClientConfig>) -> Result<Endpoint, ConfigError> {
        let bad = || ConfigError::BadAddress { index };
        let (scheme, rest) = address.split_once("://").ok_or_else(bad)?;
        let tls = match scheme {
            "redis" | "valkey" => None,
            "rediss" | "valkeys" => Some(Arc::clone(tls)),
            _ => return Err(bad()),
        };
        // The library reads `#insecure` as not to verify certificates.
        if rest.contains('#') {
            return Err(bad());
        }
        // What it says of an address that it cannot read may repeat it.
        let info = format!("redis://{rest}").into_connection_info().map_err(|_| bad())?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(bad());
        };
        let login = info.redis_settings();
        Ok(Endpoint {
            host: host.clone(),
            port: *port,
            database: login.db(),
            username: login.username().map(str::to_owned).or_else(|| self.username.clone()),
            password: login.password().map(Password::new).or_else(|| self.password.clone()),
            tls,
        })
    }
}

impl TlsConfig {
    fn check(&self) -> Result<ClientConfig, ConfigError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for authority in certificates(pem, "authorities")? {
                    roots.add(authority).map_err(unusable("authorities"))?;
                }
            }
        }
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable("protocol"))?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                let chain = certificates(chain, "certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(unusable("key"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(unusable("certificate with its key"))
            }
        }
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(unusable(what))?;
    if found.is_empty() {
        return Err(unusable(what)("there is no certificate in it"));
    }
    Ok(found)
}

fn unusable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> ConfigError {
    move |source| ConfigError::Tls {
        what,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(addresses: Addresses) -> ConfigError {
        let mut config = StoreConfig::new(addresses, 1);
        config.password = Some(Password::new("hunter2"));
        let error = config.check().map(|_| ()).expect_err("refused");
        let printed = format!("{error} {error:?} {config:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("secret"), "{printed}");
        error
    }

    fn ring(addresses: &[&str]) -> Addresses {
        Addresses::Ring(addresses.iter().map(|&address| address.to_owned()).collect())
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_and_never_repeated() {
        assert!(matches!(refused(ring(&[])), ConfigError::NoAddress));
        for address in [
            "",
            "http://u:secret@h",
            "redis+unix:///u:secret",
            "redis://u:secret@h:99999",
            "h:secret",
            "rediss://u:secret@h/#insecure",
            "redis://0.0.0.0",
        ] {
            assert!(
                matches!(
                    refused(ring(&["redis://h", address])),
                    ConfigError::BadAddress { index: 1 }
                ),
                "{address}"
            );
        }
        assert!(matches!(
            refused(ring(&["redis://h", "redis://u:secret@h:6379"])),
            ConfigError::Twice { index: 1 }
        ));
        assert!(matches!(
            refused(Addresses::Cluster(vec!["redis://h/3".to_owned()])),
            ConfigError::Database { index: 0 }
        ));
    }

    #[test]
    fn an_addresss_own_user_comes_before_the_common_one() {
        let mut config = StoreConfig::new(ring(&["redis://ann:one@h", "redis://h:7/2"]), 1);
        config.username = Some("bob".to_owned());
        config.password = Some(Password::new("two"));
        let servers = match config.check() {
            Ok(Servers::Ring(servers)) => servers,
            _ => Vec::new(),
        };
        let who: Vec<_> = servers
            .iter()
            .map(|server| (server.username.clone(), server.label()))
            .collect();
        assert_eq!(
            who,
            [
                (Some("ann".to_owned()), "h:6379".to_owned()),
                (Some("bob".to_owned()), "h:7/2".to_owned())
            ]
        );
    }

    #[test]
    fn sentinels_have_users_of_their_own_and_no_database() {
        let mut config = StoreConfig::new(
            Addresses::Sentinel {
                sentinels: vec!["redis://ann:one@s/3".to_owned(), "redis://t:5".to_owned()],
                primary: "main".to_owned(),
            },
            1,
        );
        config.username = Some("bob".to_owned());
        let Ok(Servers::Sentinel { sentinels, primary, .. }) = config.check() else {
            unreachable!("a configuration of sentinels");
        };
        let users: Vec<_> = sentinels
            .iter()
            .map(|one| (one.username.as_deref(), one.database))
            .collect();
        assert_eq!(users, [(Some("ann"), 0), (None, 0)]);
        assert_eq!((primary.username.as_deref(), primary.database), (Some("bob"), 3));
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        for tls in [
            TlsConfig {
                authorities: Some(b"nothing".to_vec()),
                identity: None,
            },
            TlsConfig {
                authorities: None,
                identity: Some((Vec::new(), Vec::new())),
            },
        ] {
            let mut config = StoreConfig::new(ring(&["rediss://h"]), 1);
            config.tls = tls;
            assert!(matches!(config.check(), Err(ConfigError::Tls { .. })));
        }
    }
}

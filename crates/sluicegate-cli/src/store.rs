//! The store that nodes share limits by: from what the policy says to one that is spoken with.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context;
use sluicegate::policy::checked::{Credentials, Share, StoreAddress, StoreTls, StoreUrl};
use sluicegate::{Limiter, News, Sharer, StoreStanding, certificate, password, secret};
use sluicegate_admin::{Breaker, SharingView, StoreServer, StoreServers};
use sluicegate_redis::{Addresses, Health, Password, RedisStore, StoreConfig, TlsConfig};

use crate::environment::Environment;

/// Limits that are shared, until this is dropped: then what this node holds is given back.
#[derive(Debug)]
pub(crate) struct Sharing {
    store: RedisStore,
    sharer: Option<Sharer>,
}

impl Sharing {
    /// Begins to share limits as the policy says. Waits for no server: until the store answers, and whenever it does not, each rule goes
    /// by its `on_store_loss`.
    ///
    /// # Errors
    ///
    /// When a password or certificate is not where the policy says, or is none, or the system has no thread.
    pub(crate) fn start(limiter: &Limiter, share: &Share, environment: &dyn Environment) -> anyhow::Result<Self> {
        let config = config(share, environment).context("limits cannot be shared")?;
        let mut kept = None;
        let sharer = limiter.share_telling(
            |runtime, clock| {
                let store = RedisStore::start(&config, clock, runtime)?;
                kept = Some(store.clone());
                Ok::<_, sluicegate_redis::ConfigError>(store)
            },
            tell,
        );
        let sharer = sharer.context("limits cannot be shared")?;
        let store = kept.context("there is a sharer without a store; please report this")?;
        Ok(Self {
            store,
            sharer: Some(sharer),
        })
    }

    /// What the admin listener tells of it.
    pub(crate) fn view(&self, limiter: &Arc<Limiter>) -> SharingView {
        SharingView::new(Arc::clone(limiter), Arc::new(Servers(self.store.clone())))
    }

    /// Gives back what this node holds, as far as the store takes it within a quarter of a second. To be called when there are no more
    /// requests.
    pub(crate) async fn finish(&mut self) {
        let Some(sharer) = self.sharer.take() else { return };
        // Dropping it waits for its thread, which is not for this one.
        let _ = tokio::task::spawn_blocking(move || drop(sharer)).await;
    }
}

/// Says how the node stands with the store. Each line tells what became of limits, since that is what whoever reads it has to decide by;
/// the lines about connections are beside it.
fn tell(news: News) {
    let nodes = news.nodes;
    match (news.standing, news.before) {
        (StoreStanding::Unmet, _) => {
            tracing::warn!("no store yet: until it comes, this node goes by the on_store_loss of each shared rule");
        }
        (StoreStanding::Together, None | Some(StoreStanding::Unmet)) => tracing::info!(nodes, "limits are shared"),
        (StoreStanding::Together, _) => tracing::info!(nodes, "limits are shared again"),
        (StoreStanding::Partly, _) => {
            tracing::warn!("a part of the store is away: its keys go by the on_store_loss of each shared rule");
        }
        (StoreStanding::Away, _) => {
            tracing::warn!(
                "the store is away: until it is back, this node goes by the on_store_loss of each shared rule"
            );
        }
        (StoreStanding::Foreign, _) => tracing::error!(
            remedy = "give all nodes of this store the same state.secret_file, or this one a store of its own",
            "the store is used by nodes with another secret; limits are kept by this node alone until they are gone or have the same"
        ),
    }
}

/// The servers, for the admin listener. Here because it and the store's client do not know each other.
#[derive(Debug)]
struct Servers(RedisStore);

impl StoreServers for Servers {
    fn servers(&self) -> Vec<StoreServer> {
        let servers = self.0.servers().into_iter();
        servers.map(|(name, health)| server(name, &health)).collect()
    }
}

fn server(name: String, health: &Health) -> StoreServer {
    StoreServer {
        server: name,
        breaker: match health.breaker() {
            sluicegate_redis::Breaker::Closed => Breaker::Closed,
            sluicegate_redis::Breaker::HalfOpen => Breaker::HalfOpen,
            sluicegate_redis::Breaker::Open => Breaker::Open,
        },
        round_trip_ms: health.rtt_mean().map(|mean| mean.as_secs_f64() * 1e3),
        in_flight: health.in_flight(),
        connections: health.connections.get(),
        script_loads: health.reloads.get(),
        calls: health.calls.get(),
        unknown: health.unknown.get(),
        late: health.late.get(),
        refused: health.refused.get(),
        not_sent: health.not_sent.get(),
        may_evict: health.may_evict(),
    }
}

/// What the policy says, in the words of the client, with all that is read from files and from the environment.
fn config(share: &Share, environment: &dyn Environment) -> anyhow::Result<StoreConfig> {
    let given = |credentials: &Credentials| -> anyhow::Result<Option<String>> {
        let Some(source) = &credentials.password else {
            return Ok(None);
        };
        let password = password::read(source, |name| environment.variable(name))?;
        Ok(Some(password.expose().to_owned()))
    };
    let urls = |servers: &[StoreUrl]| -> anyhow::Result<Vec<String>> {
        let url = |server: &StoreUrl| Ok::<_, anyhow::Error>(url(server, given(&server.credentials)?.as_deref()));
        servers.iter().map(url).collect()
    };
    let addresses = match &share.store {
        StoreAddress::Ring(servers) => Addresses::Ring(urls(servers)?),
        StoreAddress::Cluster(servers) => Addresses::Cluster(urls(servers)?),
        StoreAddress::Sentinel { servers, master, .. } => Addresses::Sentinel {
            sentinels: urls(servers)?,
            primary: master.clone(),
        },
    };
    let mut config = StoreConfig::new(addresses, secret::node_number());
    if let StoreAddress::Sentinel { credentials, .. } = &share.store {
        config.username.clone_from(&credentials.username);
        config.password = given(credentials)?.map(Password::new);
    }
    config.tls = tls(&share.tls)?;
    Ok(config)
}

fn tls(tls: &StoreTls) -> anyhow::Result<TlsConfig> {
    let identity = tls.client.as_ref().map(|client| {
        let certificate = certificate::read(&client.certificate)?;
        Ok::<_, certificate::CertificateError>((certificate, certificate::read_key(&client.private_key)?))
    });
    Ok(TlsConfig {
        authorities: tls.ca_file.as_deref().map(certificate::read).transpose()?,
        identity: identity.transpose()?,
    })
}

/// A server's address with what it asks for. It holds a password, and goes nowhere but to the client.
fn url(server: &StoreUrl, password: Option<&str>) -> String {
    let mut url = String::from(if server.tls { "rediss://" } else { "redis://" });
    if let Some(password) = password {
        encode(server.credentials.username.as_deref().unwrap_or_default(), &mut url);
        url.push(':');
        encode(password, &mut url);
        url.push('@');
    }
    let is_v6 = server.host.contains(':');
    let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
    // Writing to a string does not fail.
    let _ = write!(url, "{open}{}{close}:{}", server.host, server.port);
    if server.database != 0 {
        let _ = write!(url, "/{}", server.database);
    }
    url
}

/// Everything but letters and digits by its bytes (RFC 3986, section 2.1): a password may hold what ends it.
fn encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            // As above.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate::policy::checked::SecretSource;

    use super::*;

    struct Nothing;

    impl Environment for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn at(host: &str, username: Option<&str>) -> StoreUrl {
        StoreUrl {
            host: host.to_owned(),
            port: 6379,
            tls: host.contains(':'),
            database: u16::from(host.contains(':')) * 3,
            credentials: Credentials {
                username: username.map(str::to_owned),
                password: None,
            },
        }
    }

    #[test]
    fn a_servers_address_holds_what_it_asks_for_whatever_that_is_made_of() {
        for (server, password, expected) in [
            (at("10.0.0.7", None), None, "redis://10.0.0.7:6379"),
            (
                at("a.b", None),
                Some("p:/@?#%ä"),
                "redis://:p%3A%2F%40%3F%23%25%C3%A4@a.b:6379",
            ),
            (at("::1", Some("ga te")), Some("x"), "rediss://ga%20te:x@[::1]:6379/3"),
        ] {
            assert_eq!(url(&server, password), expected);
        }
    }

    #[test]
    fn a_password_that_is_not_there_is_told_by_where_it_was_looked_for() {
        let mut asked = at("a", None);
        asked.credentials.password = Some(SecretSource::Variable("REDIS_PASSWORD".to_owned()));
        let share = Share {
            store: StoreAddress::Ring(vec![asked]),
            tls: StoreTls::default(),
            fanout: None,
        };
        let error = config(&share, &Nothing).expect_err("no such variable");
        assert!(error.to_string().contains("REDIS_PASSWORD"), "{error:#}");
    }
}

//! Who the store is and who we are: certificates, passwords, and a user that may do no more than the documents say.

mod redis_world;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redis_world::{PATIENCE, key, patient, ring, started, takes, takes_at_last, wait_until_connected};
use sluicegate_redis::{Addresses, Password, RedisStore, StoreConfig, TlsConfig};
use sluicegate_state::store::Store;
use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::FaultProxy;
use sluicegate_testkit::redis::tls::{self, Identity};
use sluicegate_testkit::redis::{RedisOptions, RedisServer};
use sluicegate_testkit::store_conformance;

/// As docs/sharing.md writes it.
const ACL: &str = include_str!("../../../docs/sharing.md");

/// A server that speaks TLS, and a proxy before it that counts who comes.
struct Secured {
    _server: RedisServer,
    proxy: FaultProxy,
}

impl Secured {
    fn start(options: RedisOptions) -> Result<Self, Box<dyn Error>> {
        let server = options.start()?;
        let proxy = FaultProxy::before(server.tls_address().ok_or("it speaks TLS")?)?;
        Ok(Self { _server: server, proxy })
    }

    fn store(&self, tls: TlsConfig) -> RedisStore {
        let port = self.proxy.address().port();
        let mut config = patient(StoreConfig::new(
            Addresses::Ring(vec![format!("rediss://localhost:{port}")]),
            7,
        ));
        config.tls = tls;
        started(&config)
    }

    /// Tries until it is clear that it will never be one.
    fn assert_refused(&self, tls: TlsConfig) -> Result<(), Box<dyn Error>> {
        let before = self.proxy.counts().accepted;
        let store = self.store(tls);
        poll::until_true("it has tried a few times", PATIENCE, || {
            self.proxy.counts().accepted >= before + 3
        })?;
        let health = store.health_of(store.lane(0)).ok_or("health")?;
        assert_eq!(health.connections.get(), 0);
        Ok(())
    }
}

fn trusting() -> TlsConfig {
    TlsConfig {
        authorities: Some(tls::AUTHORITY.into()),
        identity: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_spoken_to_if_our_authority_vouches_for_it_and_its_name() -> Result<(), Box<dyn Error>> {
    let secured = Secured::start(RedisOptions::new().tls(tls::SERVER))?;
    takes_at_last(&secured.store(trusting()), key(1), 1.0).await;
    // The public authorities do not vouch for it.
    secured.assert_refused(TlsConfig::default())?;
    for identity in [tls::EXPIRED, tls::STRANGER] {
        Secured::start(RedisOptions::new().tls(identity))?.assert_refused(trusting())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() -> Result<(), Box<dyn Error>> {
    let secured = Secured::start(RedisOptions::new().tls(tls::SERVER).line("tls-auth-clients yes"))?;
    let Identity {
        certificate,
        key: secret,
    } = tls::CLIENT;
    let mut config = trusting();
    config.identity = Some((certificate.into(), secret.into()));
    takes_at_last(&secured.store(config), key(1), 1.0).await;
    secured.assert_refused(trusting())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_the_documents_write_may_do_all_that_is_needed() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let line = ACL
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER sluicegate"))
        .ok_or("the documents tell a user")?;
    let mut command = vec!["ACL", "SETUSER", "sluicegate"];
    command.extend(line.split_ascii_whitespace());
    let password = line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix('>'))
        .ok_or("a password")?;
    server.command(&command)?;
    let mut config = ring(&[server.address()]);
    config.username = Some("sluicegate".to_owned());
    config.password = Some(Password::new(password));
    let store = started(&config);
    wait_until_connected(&store);

    store_conformance::check(&store, || {
        server.command(&["FLUSHALL"]).expect("wiped");
    })
    .await?;
    let denied = server.command(&["ACL", "LOG"])?;
    assert!(denied.elements().is_empty(), "{denied:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_key_is_ever_logged() -> Result<(), Box<dyn Error>> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    tracing::subscriber::set_global_default(subscriber)?;
    let server = RedisOptions::new().password("hunter2-right").start()?;
    let address = server.address();
    let right = StoreConfig::new(Addresses::Ring(vec![format!("redis://:hunter2-right@{address}")]), 7);
    let mut wrong = ring(&[address]);
    wrong.password = Some(Password::new("hunter2-wrong"));
    let store = started(&patient(right));
    let refused = started(&wrong);
    takes_at_last(&store, key(b'K'), 1.0).await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])?;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"])?;
    takes_at_last(&store, key(b'K'), 1.0).await;
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    poll::until_true("it has connected again", PATIENCE, || health.connections.get() >= 2)?;
    let error = takes(&refused, key(b'K'), 1.0).await.expect_err("a wrong password");
    let said = format!("{}{error}{error:?}{store:?}{refused:?}", log.text());
    assert!(said.contains("may evict") && said.contains("WRONGPASS"), "{said}");
    for secret in ["hunter2", "KKKKKKKK", "75, 75, 75"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    Ok(())
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

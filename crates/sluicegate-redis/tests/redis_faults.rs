//! The store behind a network that loses, bends and withholds: what was possibly done is never called undone, and a server that
//! does not behave costs neither memory nor a panic.

mod redis_world;

use std::error::Error;
use std::fs;
use std::time::Duration;

use redis_world::{PATIENCE, key, ring, started, takes, takes_at_last, wait_until_connected};
use sluicegate_redis::{Breaker, RedisStore};
use sluicegate_state::store::{Store, StoreError};
use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::{FaultProxy, Mode, Replies};
use sluicegate_testkit::redis::RedisServer;

struct Faulty {
    server: RedisServer,
    proxy: FaultProxy,
    store: RedisStore,
}

impl Faulty {
    fn start() -> Result<Self, Box<dyn Error>> {
        let server = RedisServer::start()?;
        let proxy = FaultProxy::before(server.address())?;
        let store = started(&ring(&[proxy.address()]));
        wait_until_connected(&store);
        Ok(Self { server, proxy, store })
    }

    fn answers_to_calls() -> Replies {
        Replies::to(&["EVALSHA"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_its_charge_stands_once() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { proxy, store, .. } = &faulty;
    proxy.set(Mode::Lose(Faulty::answers_to_calls()))?;
    let lost = takes(store, key(1), 10.0).await;
    assert!(lost.as_ref().is_err_and(|error| !error.is_undone()), "{lost:?}");
    proxy.set(Mode::Pass)?;
    let (taken, _) = takes_at_last(store, key(1), 100.0).await;
    assert!((taken - 90.0).abs() < 1e-9, "{taken}");
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert_eq!(health.unknown.get(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_errors_and_the_store_comes_back() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { proxy, store, .. } = &faulty;
    let picked = Faulty::answers_to_calls;
    for round in 0..3 {
        for mode in [
            Mode::Garble(picked()),
            Mode::Mistype(picked()),
            Mode::Cut(picked()),
            Mode::Replace(picked(), b"-LOADING Redis is loading\r\n".to_vec()),
            Mode::Replace(picked(), b"-WEIRD {secret} text\r\n".to_vec()),
            Mode::Replace(picked(), b"$3\r\nabc\r\n".to_vec()),
            Mode::Reset,
        ] {
            proxy.set(mode.clone())?;
            let bent = takes(store, key(1), 0.0).await;
            let error = bent.expect_err("no answer");
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains("secret"), "{round} {mode:?}: {printed}");
            proxy.set(Mode::Pass)?;
            takes_at_last(store, key(1), 0.0).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_a_gigabyte_is_not_listened_to() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { proxy, store, .. } = &faulty;
    // What the proxy itself needs, and the first of everything.
    let flood = || Mode::Flood(Faulty::answers_to_calls());
    for _ in 0..2 {
        proxy.set(flood())?;
        let flooded = takes(store, key(1), 1.0).await;
        assert!(flooded.is_err_and(|error| !error.is_undone()));
        proxy.set(Mode::Pass)?;
        takes_at_last(store, key(1), 0.0).await;
    }
    let before = resident()?;
    for _ in 0..5 {
        proxy.set(flood())?;
        assert!(takes(store, key(1), 1.0).await.is_err());
        proxy.set(Mode::Pass)?;
        takes_at_last(store, key(1), 0.0).await;
    }
    let grown = resident()?.saturating_sub(before);
    assert!(grown <= 8 << 20, "grown by {grown} bytes");
    Ok(())
}

/// Regression: servers before version 7 tell why a script could not write at the end of a longer text, so that a primary that had become a
/// replica was not left.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_scripts_write_is_understood_as_servers_before_version_7_tell_it() -> Result<(), Box<dyn Error>>
{
    let faulty = Faulty::start()?;
    let Faulty { proxy, store, .. } = &faulty;
    for (told, understood, is_left) in [
        ("-OOM command not allowed when used memory > 'maxmemory'.", "OOM", false),
        (
            "-READONLY You can't write against a read only replica.",
            "READONLY",
            true,
        ),
        ("-Whatever else", "ERR", false),
        ("no code at all", "ERR", false),
    ] {
        let text = format!("-ERR Error running script (call to f_00): @user_script:1: @user_script: 1: {told}\r\n");
        proxy.set(Mode::Replace(Faulty::answers_to_calls(), text.into_bytes()))?;
        let refused = takes(store, key(1), 0.0).await;
        assert!(
            matches!(&refused, Err(StoreError::Refused { code }) if code == understood),
            "{told}: {refused:?}"
        );
        assert_eq!(store.is_connected(store.lane(0)), !is_left, "{told}");
        proxy.set(Mode::Pass)?;
        takes_at_last(store, key(1), 0.0).await;
    }
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Result<u64, Box<dyn Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split_ascii_whitespace().nth(1).ok_or("a field")?.parse()?;
    Ok(pages * 4_096)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_is_probed_by_one_connection_at_a_time() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { proxy, store, .. } = &faulty;
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    proxy.set(Mode::Blackhole)?;
    // Many callers wait in vain together, and one after them; then nobody waits any more.
    let callers: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { takes(&store, key(number), 1.0).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await?.is_err());
    }
    let one_more = async {
        while health.breaker() == Breaker::Closed {
            assert!(takes(store, key(1), 1.0).await.is_err());
        }
    };
    tokio::time::timeout(PATIENCE, one_more).await?;
    let accepted = proxy.counts().accepted;
    for _ in 0..100 {
        let refused = takes(store, key(1), 1.0).await;
        assert!(matches!(refused, Err(StoreError::NotSent(_))), "{refused:?}");
    }
    // Three more attempts, each only when the one before has ended.
    poll::until_true("it has tried again", PATIENCE, || {
        let counts = proxy.counts();
        assert!(counts.open <= 1, "{counts:?}");
        counts.accepted >= accepted + 3
    })?;
    proxy.set(Mode::Reset)?;
    proxy.set(Mode::Pass)?;
    takes_at_last(store, key(1), 1.0).await;
    assert_eq!(health.breaker(), Breaker::Closed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_store_gets_three_round_trips_where_those_are_longer_than_the_deadline() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    proxy.set(Mode::late(Duration::from_millis(80)))?;
    let mut config = ring(&[proxy.address()]);
    config.deadline = Duration::from_millis(20);
    let store = started(&config);
    wait_until_connected(&store);
    takes_at_last(&store, key(1), 1.0).await;
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert!(
        health.rtt_least() >= Some(Duration::from_millis(80)),
        "{:?}",
        health.rtt_least()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_moved_is_found_at_the_next_connection() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { server, proxy, store } = &faulty;
    let (_, before) = takes_at_last(store, key(1), 1.0).await;
    let other = RedisServer::start()?;
    proxy.point_to(other.address());
    server.kill()?;
    let (_, after) = takes_at_last(store, key(1), 1.0).await;
    assert_ne!(before, after);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_write_is_told_from_one_that_is_gone() -> Result<(), Box<dyn Error>> {
    let faulty = Faulty::start()?;
    let Faulty { server, store, .. } = &faulty;
    takes_at_last(store, key(1), 1.0).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"])?;
    let refused = takes(store, key(2), 1.0).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused { code }) if code == "OOM"),
        "{refused:?}"
    );
    assert!(store.is_connected(store.lane(0)));
    server.command(&["CONFIG", "SET", "maxmemory", "0"])?;
    let (taken, _) = takes(store, key(2), 200.0).await?;
    assert!((taken - 100.0).abs() < 1e-9, "{taken}");
    // A replica takes no writes; it is left for whoever the address leads to next.
    let primary = RedisServer::start()?;
    server.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()])?;
    let readonly = takes(store, key(1), 1.0).await;
    assert!(
        matches!(&readonly, Err(StoreError::Refused { code }) if code == "READONLY"),
        "{readonly:?}"
    );
    assert!(!store.is_connected(store.lane(0)));
    server.promote()?;
    takes_at_last(store, key(1), 1.0).await;
    Ok(())
}

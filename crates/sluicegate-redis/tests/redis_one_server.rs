//! The store on one real server: what is done, what is not, and what is never believed.

mod redis_world;

use std::error::Error;
use std::thread;
use std::time::Duration;

use redis_world::{PATIENCE, connected, item, key, take, takes, takes_at_last};
use sluicegate_redis::{Breaker, Trouble};
use sluicegate_state::store::{Call, Exchanged, Store, StoreError};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_never_kept_without_an_expiry() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let (taken, _) = takes(&store, key(1), 3.0).await?;
    assert!((taken - 3.0).abs() < 1e-9);
    let names = server.command(&["KEYS", "*"])?;
    assert_eq!(names.elements().len(), 2);
    for name in names.elements() {
        let name = name.bytes().ok_or("a name")?;
        assert!(name.starts_with(b"sg:"));
        let lives = server.command(&[&b"PTTL"[..], name])?.integer().ok_or("a number")?;
        assert!(lives > 0, "{lives}");
    }
    // Of a hundred a day, three come back in 43 minutes; beyond those, two epochs of ten seconds and a second.
    let name = [&b"sg:{00}:"[..], &[1; 16]].concat();
    let lives = server.command(&[b"PTTL".to_vec(), name])?.integer().ok_or("a number")?;
    let expected = 3 * 864_000 + 21_000;
    assert!((expected - 5_000..=expected + 250).contains(&lives), "{lives}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_the_server_forgot_is_loaded_in_the_same_call() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    server.command(&["SCRIPT", "FLUSH"])?;
    let (taken, after) = takes(&store, key(1), 100.0).await?;
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    assert_eq!(before, after);
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert_eq!(
        (health.reloads.get(), health.unknown.get(), health.refused.get()),
        (1, 0, 0)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_data_is_another_generation_and_nothing_is_done_to_it() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    server.command(&["FLUSHALL"])?;
    let items = [item(key(1), take(1.0))];
    let call = Call {
        lane: store.lane(0),
        generation: Some(before),
        items: &items,
    };
    let Exchanged::Changed { generation } = store.exchange(call).await? else {
        return Err("done".into());
    };
    assert_ne!(generation, before);
    let (taken, now) = takes(&store, key(1), 100.0).await?;
    assert!((taken - 100.0).abs() < 1e-9, "{taken}");
    assert_eq!(now, generation);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_to_the_same_server_is_the_same_generation() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"])?;
    poll::until_true("it has connected again", PATIENCE, || {
        health.connections.get() == 2 && health.breaker() == Breaker::Closed
    })?;
    let (taken, after) = takes_at_last(&store, key(1), 100.0).await;
    assert_eq!(before, after);
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_anew_is_another_generation() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let (_, before) = takes(&store, key(1), 1.0).await?;
    server.kill()?;
    poll::until_true("it is gone", PATIENCE, || !store.is_connected(store.lane(0)))?;
    let gone = takes(&store, key(1), 1.0).await;
    assert!(matches!(gone, Err(StoreError::NotSent(_))), "{gone:?}");
    server.restart_empty()?;
    let (_, after) = takes_at_last(&store, key(1), 1.0).await;
    assert_ne!(before, after);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_the_start_is_joined_when_it_comes() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    server.kill()?;
    let store = redis_world::started(&redis_world::ring(&[server.address()]));
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert!(matches!(takes(&store, key(1), 1.0).await, Err(StoreError::NotSent(_))));
    assert_eq!((health.calls.get(), health.last_error()), (0, Some(Trouble::NotSent)));
    server.restart_empty()?;
    takes_at_last(&store, key(1), 1.0).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_stopped_server_reaches_too_late_charges_nothing() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut config = redis_world::ring(&[server.address()]);
    config.deadline = Duration::from_millis(50);
    let store = redis_world::started(&config);
    redis_world::wait_until_connected(&store);
    takes_at_last(&store, key(1), 1.0).await;
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    let before = health.unknown.get();
    server.pause()?;
    let stopped = takes(&store, key(1), 10.0).await;
    assert!(matches!(stopped, Err(StoreError::TimedOut { .. })), "{stopped:?}");
    assert!(!stopped.is_err_and(|error| error.is_undone()));
    assert_eq!(health.unknown.get(), before + 1);
    server.resume()?;
    // It has run the call by now, if it ever does: connections are served in turn.
    let (taken, _) = takes_at_last(&store, key(1), 100.0).await;
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_none_is_refused_before_anything_is_sent() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let twice = [item(key(1), take(1.0)), item(key(1), take(1.0))];
    let call = Call {
        lane: store.lane(0),
        generation: None,
        items: &twice,
    };
    let refused = store.exchange(call).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert_eq!(health.calls.get(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_none_is_refused_and_nothing_is_written() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let items = [item(key(1), take(1.0)), item(key(2), take(bad))];
        let call = Call {
            lane: store.lane(0),
            generation: None,
            items: &items,
        };
        let refused = store.exchange(call).await;
        assert!(
            matches!(&refused, Err(StoreError::Refused { code }) if code == "SGARG"),
            "{bad}: {refused:?}"
        );
    }
    assert_eq!(server.command(&["DBSIZE"])?.integer(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_busy_with_anothers_script_refuses_and_is_not_given_up() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    takes(&store, key(1), 1.0).await?;
    server.command(&["CONFIG", "SET", "lua-time-limit", "1"])?;
    let mut other = server.client()?;
    let endless = thread::spawn(move || {
        // It ends when it is killed, with an error.
        let _ = other.command(&["EVAL", "while true do end", "0"]);
    });
    let busy = || server.command(&["PING"]).is_err();
    poll::until_true("the server is busy", PATIENCE, busy)?;
    let refused = takes(&store, key(1), 1.0).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused { code }) if code == "BUSY"),
        "{refused:?}"
    );
    server.command(&["SCRIPT", "KILL"])?;
    endless.join().map_err(|_| "the other client")?;
    let (taken, _) = takes(&store, key(1), 100.0).await?;
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert_eq!(health.connections.get(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_idle_connections_is_joined_again_without_a_failed_call() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    server.command(&["CONFIG", "SET", "timeout", "1"])?;
    poll::until_true("it was ended twice", PATIENCE, || health.connections.get() >= 3)?;
    server.command(&["CONFIG", "SET", "timeout", "0"])?;
    takes_at_last(&store, key(1), 1.0).await;
    assert_eq!(health.unknown.get(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_charges_nothing_of_what_nobody_waits_for_any_more() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut config = redis_world::ring(&[server.address()]);
    config.deadline = Duration::from_millis(50);
    let store = redis_world::started(&config);
    redis_world::wait_until_connected(&store);
    takes_at_last(&store, key(1), 1.0).await;
    server.command(&["CLIENT", "PAUSE", "600", "WRITE"])?;
    let paused = takes(&store, key(1), 10.0).await;
    assert!(paused.is_err(), "{paused:?}");
    let (taken, _) = takes_at_last(&store, key(1), 100.0).await;
    assert!((taken - 99.0).abs() < 1e-9, "{taken}");
    Ok(())
}

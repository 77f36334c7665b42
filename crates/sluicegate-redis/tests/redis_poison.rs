//! What somebody else wrote into the store, and names that were chosen to do harm.

mod redis_world;

use std::error::Error;

use redis_world::{connected, item, key, permits, sliding, take, takes};
use sluicegate_state::store::{Answer, Call, Exchanged, Item, Presence, Question, Store, StoreKey};
use sluicegate_testkit::redis::RedisServer;

/// Numbers as they are kept.
fn numbers(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_bad_values_of_each_kind_are_answered_counted_and_forgotten() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let mut bad: Vec<Vec<u8>> = vec![
        b"foreign".to_vec(),
        Vec::new(),
        vec![0xff; 48],
        vec![0xff; 40],
        vec![0xff; 24],
        vec![0; 4_096],
    ];
    for number in [f64::NAN, f64::INFINITY, -1.0, 1e18, 1e300, f64::MAX] {
        bad.push(numbers(&[number; 6]));
    }
    assert_eq!(bad.len(), 12);
    let kinds: [fn(StoreKey) -> Item; 3] = [|key| item(key, take(1.0)), sliding, permits];
    for kind in kinds {
        for (number, value) in (1..).zip(&bad) {
            let asked = kind(key(number));
            let name = [&b"sg:{00}:"[..], &asked.key.hash].concat();
            let length = [48, 40, 24]
                .into_iter()
                .find(|length| *length < value.len())
                .unwrap_or(48);
            for value in [&value[..], &value[..value.len().min(length)]] {
                server.command(&[&b"SET"[..], &name, value])?;
                answered(&store, asked).await?;
                // Whatever it was, it is kept as one of ours again.
                answered(&store, asked).await?;
            }
            server.command(&[&b"DEL"[..], &name])?;
            server.command(&[&b"RPUSH"[..], &name, b"of another type"])?;
            assert!(answered(&store, asked).await?, "a list in its place");
            assert!(!answered(&store, asked).await?);
            server.command(&[&b"DEL"[..], &name])?;
        }
    }
    let health = store.health_of(store.lane(0)).ok_or("health")?;
    assert!(health.damaged.get() >= 36, "{}", health.damaged.get());
    assert_eq!((health.unknown.get(), health.refused.get()), (0, 0));
    Ok(())
}

/// Asks, and says whether what was kept made no sense. Nobody is shut out for longer than the limit takes to come back.
async fn answered(store: &impl Store, asked: Item) -> Result<bool, Box<dyn Error>> {
    let call = Call {
        lane: store.lane(asked.key.shard),
        generation: None,
        items: &[asked],
    };
    let Exchanged::Done { answers, .. } = store.exchange(call).await? else {
        return Err("changed".into());
    };
    match (&answers[..], asked.question) {
        ([Answer::Units(reply)], Question::Units { terms, .. }) => {
            let whole = 2.0 * terms.burst * terms.interval;
            assert!(reply.is_sane() && reply.ready_after <= whole, "{reply:?}");
            Ok(reply.damaged)
        }
        ([Answer::Permits(reply)], Question::Permits(_)) => {
            assert!(reply.granted >= 0.0 && reply.free >= 0.0, "{reply:?}");
            Ok(reply.damaged)
        }
        _ => Err("another answer".into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_generation_is_replaced_once_and_for_all() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    for foreign in [&b"short"[..], &[0; 8], b"far too long to be one"] {
        server.command(&[&b"SET"[..], b"sg:generation", foreign])?;
        let (_, first) = takes(&store, key(1), 0.0).await?;
        let (_, second) = takes(&store, key(1), 0.0).await?;
        assert_eq!(first, second);
    }
    server.command(&["DEL", "sg:generation"])?;
    server.command(&["RPUSH", "sg:generation", "x"])?;
    let (_, first) = takes(&store, key(1), 0.0).await?;
    assert_eq!(first, takes(&store, key(1), 0.0).await?.1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_look_like_commands_or_tags_are_keys_and_nothing_else() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let config = server.command(&["CONFIG", "GET", "maxmemory"])?;
    let evil: [&[u8; 16]; 6] = [
        b"\r\nFLUSHALL\r\n\0\0\0\0",
        b"\"] redis.call('x",
        b"{slot}{slot}{slo",
        b"****************",
        &[0; 16],
        b"}:sg:{01}:\r\n*1\r\n",
    ];
    for (number, hash) in (1..).zip(evil) {
        let key = StoreKey { shard: 0, hash: *hash };
        takes(&store, key, 1.0).await?;
        assert_eq!(server.command(&["DBSIZE"])?.integer(), Some(number + 1));
        let name = [&b"sg:{00}:"[..], hash].concat();
        assert_eq!(server.command(&[&b"EXISTS"[..], &name])?.integer(), Some(1));
    }
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory"])?, config);
    for command in ["eval", "flushall", "config|set"] {
        assert_eq!(server.stats_of(command)?.calls, 0, "{command}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_count_of_nodes_mends_itself() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let store = connected(&[server.address()]);
    let ask = || store.heartbeat(Presence { node: 1, secret: 2 });
    server.command(&["SET", "sg:{00}:nodes", "x"])?;
    server.command(&["RPUSH", "sg:{00}:secret", "x"])?;
    assert_eq!(ask().await?.nodes, 1);
    server.command(&["ZADD", "sg:{00}:nodes", "1e300", "liar", "-1", "dead"])?;
    let told = ask().await?;
    assert!(told.nodes == 1 && told.same_secret, "{told:?}");
    let other = store.heartbeat(Presence { node: 2, secret: 3 }).await?;
    assert!(other.nodes == 2 && !other.same_secret, "{other:?}");
    Ok(())
}

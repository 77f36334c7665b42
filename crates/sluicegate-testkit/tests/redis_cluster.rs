//! A cluster of six forms, fails over, and moves slots.

use std::error::Error;
use std::net::SocketAddr;

use sluicegate_testkit::proxy::Mode;
use sluicegate_testkit::redis::{Client, RedisCluster, RedisError, RedisServer, Reply};

type Outcome = Result<(), Box<dyn Error>>;

/// What a server says when it refuses.
fn refusal(result: Result<Reply, RedisError>) -> Option<String> {
    match result {
        Err(RedisError::Refused { said, .. }) => Some(said),
        _ => None,
    }
}

/// A master that does not serve the slot.
fn another(cluster: &RedisCluster, slot: u16) -> Result<&RedisServer, RedisError> {
    cluster.master_of((slot + 16_384 / 2) % 16_384)
}

#[test]
fn three_masters_with_a_replica_each_serve_all_slots_and_are_gone_when_dropped() -> Outcome {
    let cluster = RedisCluster::start()?;
    let addresses = cluster.addresses();
    assert_eq!(addresses.len(), 6);
    let mut masters = Vec::new();
    for slot in [0, 5461, 5462, 10_922, 10_923, 16_383] {
        let (master, replica) = (cluster.master_of(slot)?, cluster.replica_of(slot)?);
        assert_ne!(master.port(), replica.port());
        masters.push(master.port());
    }
    masters.dedup();
    assert_eq!(masters.len(), 3);

    let slot = cluster.slot_of(b"key")?;
    assert_eq!(slot, cluster.slot_of(b"{key}other")?);
    let master = cluster.master_of(slot)?;
    master.command(&["SET", "key", "value"])?;
    let said = refusal(another(&cluster, slot)?.command(&["GET", "key"]));
    assert_eq!(said, Some(format!("MOVED {slot} {}", master.address())));

    drop(cluster);
    for address in addresses {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} listens");
    }
    Ok(())
}

#[test]
fn a_killed_masters_slots_go_to_its_replica_and_it_comes_back_as_one() -> Outcome {
    let cluster = RedisCluster::start()?;
    let slot = cluster.slot_of(b"key")?;
    let replica = cluster.replica_of(slot)?.port();
    let mut client = cluster.master_of(slot)?.client()?;
    client.command(&["SET", "key", "value"])?;
    assert_eq!(client.command(&["WAIT", "1", "5000"])?, Reply::Integer(1));
    let dead = cluster.kill_master_of(slot)?;
    let master = cluster.wait_for_new_master(slot, dead)?;
    assert_eq!(master.port(), replica);
    assert_eq!(master.command(&["GET", "key"])?.text().as_deref(), Some("value"));

    dead.restart_empty()?;
    cluster.wait_until_whole()?;
    assert_eq!(cluster.replica_of(slot)?.port(), dead.port());
    Ok(())
}

#[test]
fn a_stopped_master_is_replaced_too() -> Outcome {
    let cluster = RedisCluster::start()?;
    let old = cluster.master_of(0)?;
    old.pause()?;
    let new = cluster.wait_for_new_master(0, old)?;
    assert_ne!(new.port(), old.port());
    old.resume()?;
    cluster.wait_until_whole()?;
    assert_eq!(cluster.master_of(0)?.port(), new.port());
    Ok(())
}

#[test]
fn a_slot_half_on_its_way_is_asked_for_and_once_it_has_arrived_is_moved() -> Outcome {
    let cluster = RedisCluster::start()?;
    let slot = cluster.slot_of(b"{tag}")?;
    let (from, to) = (cluster.master_of(slot)?, another(&cluster, slot)?);
    for number in 0..10 {
        from.command(&["SET", &format!("{{tag}}{number}"), "value", "PX", "600000"])?;
    }
    let migration = cluster.begin_migration(slot, to)?;
    assert_eq!(migration.move_keys(4)?, 4);

    let ask = format!("ASK {slot} {}", to.address());
    let moved = format!("MOVED {slot} {}", from.address());
    let mut asked = 0;
    for number in 0..10 {
        let get = ["GET".to_owned(), format!("{{tag}}{number}")];
        match refusal(from.command(&get)) {
            None => {}
            Some(said) => {
                assert_eq!(said, ask);
                assert_eq!(
                    refusal(to.command(&get)),
                    Some(moved.clone()),
                    "to whoever does not say ASKING"
                );
                let mut client = to.client()?;
                client.command(&["ASKING"])?;
                assert_eq!(client.command(&get)?.text().as_deref(), Some("value"));
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 4);

    migration.finish()?;
    assert_eq!(cluster.master_of(slot)?.port(), to.port());
    let said = refusal(from.command(&["GET", "{tag}0"]));
    assert_eq!(said, Some(format!("MOVED {slot} {}", to.address())));
    let left = to.command(&["PTTL", "{tag}9"])?.integer().unwrap_or_default();
    assert!(left > 0, "it keeps its expiry");

    cluster.migrate_slot(slot, from)?;
    assert_eq!(
        from.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])?,
        Reply::Integer(10)
    );
    Ok(())
}

#[test]
fn clients_are_sent_to_the_proxies_and_a_node_is_cut_off_from_them_alone() -> Outcome {
    let cluster = RedisCluster::behind_proxies()?;
    let slot = cluster.slot_of(b"key")?;
    let master = cluster.master_of(slot)?;
    let proxy = cluster.proxy_of(master).expect("each node has one");
    let said = refusal(another(&cluster, slot)?.command(&["GET", "key"]));
    assert_eq!(said, Some(format!("MOVED {slot} {}", proxy.address())));
    assert!(cluster.addresses().contains(&proxy.address()));

    proxy.set(Mode::Refuse)?;
    assert!(Client::connect(proxy.address(), None).is_err());
    assert_eq!(
        cluster.master_of(slot)?.port(),
        master.port(),
        "the others still hear from it"
    );
    proxy.set(Mode::Pass)?;
    cluster.wait_until_whole()?;
    let address: SocketAddr = proxy.address();
    assert_eq!(Client::connect(address, None)?.command(&["GET", "key"])?, Reply::Nil);
    Ok(())
}

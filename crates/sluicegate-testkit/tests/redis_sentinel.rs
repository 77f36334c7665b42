//! Sentinels replace a primary that fails.

use std::error::Error;

use sluicegate_testkit::redis::{RedisSentinel, Reply};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn a_sentinel_makes_the_replica_of_a_killed_primary_a_primary() -> Outcome {
    let watched = RedisSentinel::start(1)?;
    let old = watched.primary()?;
    assert_eq!(old.port(), watched.servers()[0].port());
    let mut client = old.client()?;
    client.command(&["SET", "key", "value"])?;
    assert_eq!(client.command(&["WAIT", "1", "5000"])?, Reply::Integer(1));
    old.kill()?;
    let new = watched.wait_for_new_primary(old)?;
    assert_eq!(new.command(&["GET", "key"])?.text().as_deref(), Some("value"));
    new.command(&["SET", "key", "other"])?;
    Ok(())
}

#[test]
fn of_three_sentinels_two_are_enough() -> Outcome {
    let watched = RedisSentinel::start(3)?;
    assert_eq!(watched.addresses().len(), 3);
    let old = watched.primary()?;
    watched.sentinels()[0].kill()?;
    old.pause()?;
    let new = watched.wait_for_new_primary(old)?;
    assert_ne!(new.port(), old.port());
    assert_eq!(watched.primary()?.port(), new.port());
    Ok(())
}

//! Servers that forget.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::proxy::FaultProxy;
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_store_that_is_killed_and_comes_back_empty_gives_no_second_burst() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, 10).keys(2);
    fleet.run(&load, ms(1_500));
    server.kill()?;
    fleet.run(&load, ms(500));
    server.restart_empty()?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    fleet.assert_holds(ONE_LOSS);
    Ok(())
}

#[test]
fn a_thousand_drained_keys_stay_drained_when_the_store_is_flushed() -> Tested {
    const NODES: usize = 4;
    let server = RedisServer::start()?;
    let leased = Shared::new("4/h burst 4", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(NODES, leased, &ring(&[server.address()]));
    let load = Load::new(4_000, NODES).keys(1_000);
    fleet.run_until_drained(&load);
    let before = fleet.assert_holds(NO_MISHAP).tally.allowed;
    assert!(before > 3_500, "{before} of a thousand keys");
    server.command(&["FLUSHALL"])?;
    fleet.run_until_drained(&load);
    fleet.assert_holds(NO_MISHAP);
    Ok(())
}

/// The only one that knew the key is silent, so that nobody tells the store: what is lost then is the burst that had been used.
#[test]
fn a_node_that_never_saw_a_key_hands_out_one_more_burst_at_most_once_the_store_forgot_it() -> Tested {
    let server = RedisServer::start()?;
    let leased = Shared::new("4/h burst 4", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(2, leased, &ring(&[server.address()]));
    let on = |node| Load {
        nodes: node..node + 1,
        ..Load::new(4_000, 2).keys(1_000)
    };
    fleet.run_until_drained(&on(0));
    let before = fleet.assert_holds(NO_MISHAP).tally.allowed;
    assert!(before > 3_500, "{before} of a thousand keys");
    server.command(&["FLUSHALL"])?;
    // Keys that the first remembers are as used up as they were, whatever the store has forgotten.
    fleet.run_until_drained(&on(1));
    assert_eq!(fleet.run(&on(0), ms(500)).allowed, 0, "who saw them stays within them");
    fleet.assert_holds(Mishaps { outages: 0, lost: 4 });
    Ok(())
}

#[test]
fn a_store_that_is_flushed_under_load_gives_a_quarter_of_a_burst_at_most() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(20, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, 20).keys(2);
    fleet.run(&load, ms(1_500));
    server.command(&["FLUSHALL"])?;
    fleet.run(&load, ms(500));
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps { outages: 0, lost: 250 });
    Ok(())
}

#[test]
fn a_replica_that_lacks_the_last_second_gives_no_second_burst() -> Tested {
    let primary = RedisServer::start()?;
    let replica = RedisServer::replica_of(&primary)?;
    let proxy = FaultProxy::before(primary.address())?;
    let leased = Shared::new("600/s burst 600", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(6, leased, &ring(&[proxy.address()]));
    let load = Load::new(1_800, 6);
    // What was copied is a full bucket; all that is then spent is not copied any more.
    replica.pause()?;
    fleet.run(&load, ms(1_000));
    primary.kill()?;
    replica.resume()?;
    replica.promote()?;
    proxy.point_to(replica.address());
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps { outages: 0, lost: 150 });
    Ok(())
}

#[test]
fn a_name_that_leads_elsewhere_is_followed() -> Tested {
    let (old, new) = (RedisServer::start()?, RedisServer::start()?);
    let proxy = FaultProxy::before(old.address())?;
    let fleet = Fleet::start(6, HYBRID, &ring(&[proxy.address()]));
    let load = Load::new(3_000, 6).keys(2);
    fleet.run(&load, ms(700));
    proxy.point_to(new.address());
    old.kill()?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert!(new.stats_of("evalsha")?.calls > 0, "they speak with the other");
    fleet.assert_holds(ONE_LOSS);
    Ok(())
}

#[test]
fn a_store_without_room_is_a_store_that_is_away() -> Tested {
    for policy in ["noeviction", "allkeys-lru"] {
        let server = RedisServer::start()?;
        let fleet = Fleet::start(6, HYBRID, &ring(&[server.address()]));
        let load = Load::new(3_000, 6).keys(2);
        fleet.run(&load, ms(700));
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy])?;
        server.command(&["CONFIG", "SET", "maxmemory", "1"])?;
        fleet.run(&load, ms(600));
        server.command(&["CONFIG", "SET", "maxmemory", "0"])?;
        fleet.run_until_together(&load);
        fleet.run_until_accurate(&load);
        assert_eq!(fleet.waited(), 0, "nothing ever waits");
        fleet.assert_holds(ONE_LOSS);
    }
    Ok(())
}

/// Asked for three times as much by the loads above.
const HYBRID: Shared = Shared::new("500/s burst 1000", Mode::Hybrid);

/// With healing, a quarter of the burst.
const ONE_LOSS: Mishaps = Mishaps { outages: 1, lost: 250 };

const NO_MISHAP: Mishaps = Mishaps { outages: 0, lost: 0 };

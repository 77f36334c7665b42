//! Networks that break between nodes and their store.

use sluicegate_core::sharing::Mode;
use sluicegate_testkit::proxy::{FaultProxy, Mode as Fault};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn however_the_network_breaks_nodes_go_on_by_their_shares_and_come_back() -> Tested {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[proxy.address()]));
    fleet.run(&LOAD, ms(500));
    for fault in [
        Fault::Blackhole,
        Fault::Refuse,
        Fault::Reset,
        Fault::OneWay,
        Fault::Stall,
    ] {
        proxy.set(fault)?;
        fleet.run(&LOAD, ms(800));
        proxy.set(Fault::Pass)?;
        fleet.run_until_together(&LOAD);
    }
    fleet.run_until_accurate(&LOAD);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    // Of five outages one after another, each is paid back before the next.
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

#[test]
fn a_network_that_comes_and_goes_lets_no_more_through_than_one_that_goes_once() -> Tested {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[proxy.address()]));
    fleet.run(&LOAD, ms(500));
    for _ in 0..6 {
        proxy.set(Fault::Reset)?;
        fleet.run(&LOAD, ms(300));
        proxy.set(Fault::Pass)?;
        fleet.run(&LOAD, ms(500));
    }
    fleet.run_until_together(&LOAD);
    fleet.run_until_accurate(&LOAD);
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

/// Where attempts are answered at once by a reset, nothing but the back-off holds them back. Its means are 38, 75, 150, 300, 600 and
/// then 750 ms, so that six or seven attempts fit into two seconds.
#[test]
fn a_store_that_resets_every_connection_is_tried_a_few_times_a_second_by_each_node() -> Tested {
    const NODES: usize = 20;
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(NODES, HYBRID, &ring(&[proxy.address()]));
    proxy.set(Fault::Reset)?;
    let load = Load::new(2_000, NODES);
    let before = proxy.counts().accepted;
    fleet.run(&load, ms(2_000));
    let tried = proxy.counts().accepted - before;
    // Twice that would be another back-off.
    assert!(tried <= 12 * NODES as u64, "{tried} attempts of {NODES} nodes");
    assert!(tried >= 2 * NODES as u64, "{tried} attempts of {NODES} nodes");
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

/// Asked for three times as much.
const HYBRID: Shared = Shared::new("500/s burst 1000", Mode::Hybrid);
const LOAD: Load = Load {
    per_second: 3_000,
    key: 0,
    keys: 2,
    is_each_once: false,
    nodes: 0..10,
};

const ONE_OUTAGE: Mishaps = Mishaps { outages: 1, lost: 0 };

//! Many nodes that all lost the same store.

use std::time::Duration;

use sluicegate::{Clock as _, SystemClock};
use sluicegate_core::sharing::Mode;
use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::{FaultProxy, Mode as Fault};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, PATIENCE, Shared, Tested, ms, ring};

#[test]
fn fifty_nodes_that_lost_their_store_do_not_come_back_in_one_moment() -> Tested {
    const NODES: u64 = 50;
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let hybrid = Shared::new("1000/s burst 2000", Mode::Hybrid);
    let fleet = Fleet::start(50, hybrid, &ring(&[proxy.address()]));
    let load = Load::new(2_000, 50);
    proxy.set(Fault::Refuse)?;
    fleet.run(&load, ms(2_000));
    let clock = SystemClock::new();
    let before = proxy.counts().accepted;
    proxy.set(Fault::Pass)?;
    let back_at = clock.now();
    let mut came: Vec<(Duration, u64)> = Vec::new();
    poll::until_true("all nodes are back", PATIENCE, || {
        let accepted = proxy.counts().accepted - before;
        came.push((clock.now().saturating_since(back_at), accepted));
        accepted >= NODES
    })?;
    let most = most_within(&came, ms(100));
    assert!(
        most * 4 <= NODES,
        "{most} of {NODES} came back within a tenth of a second"
    );
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps { outages: 1, lost: 0 });
    Ok(())
}

/// The most by which a count that was looked at rose within `span`.
fn most_within(looks: &[(Duration, u64)], span: Duration) -> u64 {
    let rose = |(index, (from, before)): (usize, &(Duration, u64))| {
        let later = looks[index..].iter().take_while(|(at, _)| *at <= *from + span);
        later.last().map_or(0, |(_, count)| count - before)
    };
    looks.iter().enumerate().map(rose).max().unwrap_or_default()
}

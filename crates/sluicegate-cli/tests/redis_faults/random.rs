//! Whatever may happen, in any order.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::fleet::Chance;
use sluicegate_testkit::proxy::{FaultProxy, Mode as Fault, Replies};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn whatever_happens_in_whatever_order_no_window_has_more_than_its_bound() -> Tested {
    for seed in [1, 2] {
        storm(seed)?;
    }
    Ok(())
}

/// Ten faults, one or two at a time, then a calm.
fn storm(seed: u64) -> Tested {
    const NODES: usize = 6;
    let mut chance = Chance::new(seed);
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(NODES, LEASED, &ring(&[proxy.address()]));
    let load = Load::new(1_800, NODES);
    fleet.run(&load, ms(500));
    let mut lost = 0;
    for _ in 0..10 {
        let calls = || Replies::to(&["EVALSHA"]).every(3);
        let mut awake = load.clone();
        match chance.below(12) {
            0 => proxy.set(Fault::Blackhole)?,
            1 => proxy.set(Fault::Reset)?,
            2 => proxy.set(Fault::Refuse)?,
            3 => proxy.set(Fault::OneWay)?,
            4 => proxy.set(Fault::Stall)?,
            5 => proxy.set(Fault::late(ms(80)))?,
            6 => proxy.set(Fault::Lose(calls()))?,
            7 => proxy.set(Fault::Garble(calls()))?,
            8 => server.pause()?,
            9 => {
                lost += BURST;
                server.restart_empty()?;
            }
            10 => {
                lost += BURST;
                server.command(&["FLUSHALL"])?;
            }
            _ => {
                fleet.freeze(NODES - 1);
                awake.nodes = 0..NODES - 1;
            }
        }
        fleet.run(&awake, ms(u64::from(100 + chance.below(300))));
        server.resume()?;
        fleet.thaw(NODES - 1);
        if chance.happens(0.7) {
            proxy.set(Fault::Pass)?;
        }
        fleet.run(&load, ms(u64::from(chance.below(300))));
    }
    proxy.set(Fault::Pass)?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    let report = fleet.assert_holds(Mishaps { outages: 0, lost });
    assert!(report.tally.allowed > 0, "seed {seed}");
    Ok(())
}

const BURST: u64 = 600;

/// Asked for three times as much.
const LEASED: Shared = Shared::new("600/s burst 600", Mode::Leased).on_store_loss(OnStoreLoss::Closed);

//! Processes that are killed, stopped and cut off from the store at random.

use std::time::Duration;

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::environment;
use sluicegate_testkit::fleet::Chance;
use sluicegate_testkit::proxy::Mode as Fault;
use sluicegate_testkit::redis::RedisServer;

use crate::bound::{Mishaps, Shared};
use crate::fleet::{Fleet, Tested};

/// Two runs, one of either kind; `./x soak` asks for more.
#[test]
fn whatever_becomes_of_processes_and_their_lines_to_the_store_what_is_promised_holds() -> Tested {
    for seed in 0..environment::runs(2) {
        println!("seed {seed}");
        run(seed).map_err(|error| format!("seed {seed}: {error}"))?;
    }
    Ok(())
}

/// Two to five nodes, six faults that may overlap, then a calm.
fn run(seed: u64) -> Tested {
    let mut chance = Chance::new(seed);
    let nodes = 2 + chance.below(4);
    let limit = if seed.is_multiple_of(2) {
        Shared::new("60/s burst 120", Mode::Leased).on_store_loss(OnStoreLoss::Closed)
    } else {
        Shared::new("60/s burst 120", Mode::Hybrid)
    };
    let store = RedisServer::start()?;
    let fleet = Fleet::start(nodes as usize, limit, store.address())?;
    let mut mishaps = Mishaps::default();
    fleet.under_load(|| {
        fleet.go_on(Duration::from_secs(1));
        for _ in 0..6 {
            let node = chance.below(nodes) as usize;
            let lasts = Duration::from_millis(u64::from(200 + chance.below(1_300)));
            match chance.below(8) {
                0 | 1 => {
                    println!("node {node} is dead for {lasts:?}");
                    fleet.kill(node);
                    fleet.go_on(lasts);
                    fleet.revive(node);
                    if limit.mode == Mode::Hybrid {
                        // The time in which what is asked for is counted. Of a node that loses the store before, the part is less.
                        fleet.go_on(Duration::from_secs(2));
                    }
                }
                2 | 3 => {
                    println!("node {node} stands still for a second and {lasts:?}");
                    fleet.stop(node);
                    fleet.go_on(lasts + Duration::from_secs(1));
                    fleet.resume(node);
                }
                4 => {
                    println!("the store stands still for {lasts:?}");
                    store.pause()?;
                    fleet.go_on(lasts);
                    store.resume()?;
                }
                _ => {
                    let fault = chance.pick([0, 1, 2, 3]);
                    let fault = [Fault::Blackhole, Fault::Reset, Fault::Refuse, Fault::OneWay][fault].clone();
                    println!("node {node} is cut off for {lasts:?}: {fault:?}");
                    fleet.store_of(node).set(fault)?;
                    fleet.go_on(lasts);
                    // Some are mended only at the end; not where a node alone goes on by its share, which is more the longer it lasts.
                    if limit.on_store_loss == OnStoreLoss::Local || chance.happens(0.7) {
                        fleet.store_of(node).set(Fault::Pass)?;
                    }
                }
            }
            // Each fault may make one node or all of them go by their shares, and each of these is one outage.
            mishaps.outages += 1;
            fleet.go_on(Duration::from_millis(u64::from(chance.below(700))));
        }
        for node in 0..nodes {
            fleet.store_of(node as usize).set(Fault::Pass)?;
        }
        fleet.go_on_until_accurate()
    })?;
    if limit.on_store_loss == OnStoreLoss::Closed {
        // What nobody may spend without the store is not spent, whatever happens.
        mishaps = Mishaps::default();
    } else {
        let calm = fleet.calm();
        // One in a hundred, of a few hundred.
        assert!(
            calm.denied <= (calm.all() / 100).max(3),
            "a client below its limit was told {calm:?}"
        );
    }
    let report = fleet.assert_holds(mishaps);
    println!("{nodes} nodes: {report}");
    Ok(())
}

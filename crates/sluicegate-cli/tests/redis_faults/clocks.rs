//! Nodes whose clocks are wrong. The store's own is held against it in `sluicegate-redis`.

use std::time::Duration;

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Skew, Tested, ms, ring};

#[test]
fn clocks_that_are_minutes_apart_and_run_apart_change_nothing() -> Tested {
    let server = RedisServer::start()?;
    let skews = [(0, 0), (60, 0), (120, 200), (86_400, 900)].map(|(ahead, fast_ppm)| Skew {
        ahead: Duration::from_secs(ahead),
        fast_ppm,
    });
    let fleet = Fleet::start_by(&skews, 4, LEASED, &ring(&[server.address()]));
    let load = Load::new(1_800, 4);
    fleet.run(&load, ms(1_500));
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps::default());
    Ok(())
}

#[test]
fn a_clock_that_jumps_by_an_hour_loses_leases_and_gives_nothing() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start_by(&[Skew::default(); 4], 4, LEASED, &ring(&[server.address()]));
    let load = Load::new(1_800, 4);
    fleet.run(&load, ms(1_000));
    for node in 0..3 {
        fleet.clocks().jump(node, Duration::from_hours(1));
        fleet.run(&load, ms(400));
    }
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps::default());
    Ok(())
}

/// Asked for three times as much.
const LEASED: Shared = Shared::new("600/s burst 600", Mode::Leased).on_store_loss(OnStoreLoss::Closed);

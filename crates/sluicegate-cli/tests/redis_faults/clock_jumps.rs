//! A store whose clock jumps, while it runs and across a restart. The server is a real one, under libfaketime.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::{RedisOptions, RedisServer};

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_store_whose_clock_jumps_gives_a_leased_limit_a_burst_at_most_and_locks_nobody_out() -> Tested {
    while_it_runs(Mode::Leased)
}

/// Regression: a few seconds back locked the key for as long.
#[test]
fn a_store_whose_clock_jumps_gives_a_hybrid_limit_a_burst_at_most_and_locks_nobody_out() -> Tested {
    while_it_runs(Mode::Hybrid)
}

#[test]
fn a_store_that_is_started_again_under_another_time_gives_a_burst_at_most_and_locks_nobody_out() -> Tested {
    for mode in [Mode::Leased, Mode::Hybrid] {
        let server = RedisOptions::new().own_clock().persistent().start()?;
        let fleet = Fleet::start(4, limit(mode), &ring(&[server.address()]));
        server.command(&["SET", "witness", "of what was kept"])?;
        for (key, ahead) in (0..).zip([HOUR, -HOUR]) {
            let restart = || -> Tested {
                server.kill()?;
                server.set_clock(ahead)?;
                server.restart()?;
                assert_eq!(server.command(&["EXISTS", "witness"])?.integer(), Some(1));
                Ok(())
            };
            jump(&fleet, &Load::new(900, 4).of_key(key), restart)?;
        }
        assert_holds(&fleet);
    }
    Ok(())
}

fn while_it_runs(mode: Mode) -> Tested {
    let server: RedisServer = RedisOptions::new().own_clock().start()?;
    let fleet = Fleet::start(4, limit(mode), &ring(&[server.address()]));
    for (key, ahead) in (0..).zip([2, -2, HOUR, -HOUR, 30 * DAY, 0]) {
        jump(&fleet, &Load::new(900, 4).of_key(key), || Ok(server.set_clock(ahead)?))?;
    }
    assert_holds(&fleet);
    Ok(())
}

/// Uses a key up, lets the clock jump under load, and waits until the limit is what it was.
fn jump(fleet: &Fleet, load: &Load, jump: impl FnOnce() -> Tested) -> Tested {
    // In half a second it is used up.
    fleet.run(load, ms(700));
    jump()?;
    // All that is used up is there again after a second, whatever the clock says; the second beyond it is for the machine.
    let is_admitted = (0..20).any(|_| fleet.run(load, ms(100)).allowed > 0);
    assert!(is_admitted, "nobody is let through for two seconds");
    fleet.run_until_together(load);
    fleet.run_until_accurate(load);
    Ok(())
}

/// Each jump met a key of its own that was used up: of none there was more than one burst more.
fn assert_holds(fleet: &Fleet) {
    fleet.assert_holds(Mishaps {
        outages: 0,
        lost: BURST,
    });
}

const BURST: u64 = 300;

/// Asked for three times as much; from nothing it is full again within a second, and an epoch is half a second.
fn limit(mode: Mode) -> Shared {
    Shared::new("300/s burst 300", mode).on_store_loss(OnStoreLoss::Closed)
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

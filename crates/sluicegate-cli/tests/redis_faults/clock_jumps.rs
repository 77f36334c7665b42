//! A store whose clock jumps, while it runs and across a restart. The server is a real one, under libfaketime.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::RedisOptions;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_store_whose_clock_jumps_gives_a_burst_at_most_and_locks_nobody_out() -> Tested {
    for mode in [Mode::Leased, Mode::Hybrid] {
        let server = RedisOptions::new().own_clock().start()?;
        let fleet = Fleet::start(4, limit(mode), &ring(&[server.address()]));
        // Each jump meets a key of its own that is used up, so that a second burst of one key would show.
        for (key, ahead) in (0..).zip([2, -2, HOUR, -HOUR, 30 * DAY, 0]) {
            jump(&fleet, &Load::new(900, 4).of_key(key), || Ok(server.set_clock(ahead)?))?;
        }
        fleet.assert_holds(Mishaps {
            outages: 0,
            lost: BURST,
        });
    }
    Ok(())
}

#[test]
fn a_store_that_is_started_again_under_another_time_gives_a_burst_at_most_and_locks_nobody_out() -> Tested {
    let server = RedisOptions::new().own_clock().persistent().start()?;
    let fleet = Fleet::start(4, limit(Mode::Leased), &ring(&[server.address()]));
    server.command(&["SET", "witness", "of what was kept"])?;
    for (key, ahead) in (0..).zip([HOUR, -HOUR, -30 * DAY]) {
        let restart = || -> Tested {
            server.kill()?;
            server.set_clock(ahead)?;
            server.restart()?;
            assert_eq!(server.command(&["EXISTS", "witness"])?.integer(), Some(1));
            Ok(())
        };
        jump(&fleet, &Load::new(900, 4).of_key(key), restart)?;
    }
    fleet.assert_holds(Mishaps {
        outages: 0,
        lost: BURST,
    });
    Ok(())
}

/// Uses a key up, lets the clock jump under load, and waits until the limit is what it was.
fn jump(fleet: &Fleet, load: &Load, jump: impl FnOnce() -> Tested) -> Tested {
    // A burst, and half as much again.
    fleet.run(load, ms(1_500));
    jump()?;
    // All that is used up is there again after a second, whatever the clock says; the second beyond it is for the machine.
    let after = fleet.run(load, ms(2_000));
    assert!(after.allowed > 0, "nobody is let through for two seconds: {after:?}");
    fleet.run_until_together(load);
    fleet.run_until_accurate(load);
    Ok(())
}

const BURST: u64 = 300;

/// Asked for three times as much; from nothing it is full again within a second, and an epoch is half a second.
fn limit(mode: Mode) -> Shared {
    Shared::new("300/s burst 300", mode).on_store_loss(OnStoreLoss::Closed)
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

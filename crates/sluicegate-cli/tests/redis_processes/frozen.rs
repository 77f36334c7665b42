//! A process that stands still for longer than its leases last.

use std::time::Duration;

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::RedisServer;

use crate::bound::{Mishaps, Shared};
use crate::fleet::{Fleet, Tested};

#[test]
fn a_process_that_stood_still_for_longer_than_its_leases_last_spends_none_of_them() -> Tested {
    // Asked for three times as much; an epoch is a second, and a lease ends two after it was given at the latest.
    let leased = Shared::new("60/s burst 120", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let store = RedisServer::start()?;
    let fleet = Fleet::start(2, leased, store.address())?;
    fleet.under_load(|| {
        fleet.go_on(Duration::from_millis(1_500));
        for _ in 0..2 {
            fleet.stop(1);
            // Meanwhile the other has the whole limit, and no more than that.
            fleet.go_on(Duration::from_millis(2_500));
            let answered = [fleet.answered(0), fleet.answered(1)];
            let asked = store.stats_of("evalsha")?.calls;
            fleet.resume(1);
            fleet.go_on(Duration::from_secs(1));
            let answers = [fleet.answered(0) - answered[0], fleet.answered(1) - answered[1]];
            let calls = store.stats_of("evalsha")?.calls - asked;
            assert!(answers[1] > 0, "it answers again");
            // It asks for what it is asked for, and not for what it missed.
            assert!(calls <= answers.iter().sum(), "{calls} calls for {answers:?} requests");
        }
        fleet.go_on_until_accurate()
    })?;
    fleet.assert_holds(Mishaps::default());
    assert!(fleet.held() >= 2, "requests were under way when it was stopped");
    Ok(())
}

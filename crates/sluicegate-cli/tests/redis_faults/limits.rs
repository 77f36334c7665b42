//! Limits of a few requests on many nodes.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

/// At sixty times the speed of 5/min, so that it comes back a few times. What is admitted hangs on how quickly the machine answers,
/// in one of three runs at least; what is not, never does.
#[test]
fn five_on_a_hundred_nodes_are_five_in_one_moment_and_under_ten_times_the_load() -> Tested {
    const NODES: usize = 100;
    let server = RedisServer::start()?;
    let leased = Shared::new("5/s", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
    let fleet = Fleet::start(NODES, leased, &ring(&[server.address()]));
    let load = Load::new(50, NODES);
    let mut seen = Vec::new();
    for run in 0..3 {
        let in_one_moment = fleet.send((0..15).map(|node| (node, 1 + run))).allowed;
        // From a full bucket: five, and five in each of the three seconds.
        let in_three_seconds = fleet.run(&load.clone().of_key(100 + run), ms(3_000)).allowed;
        fleet.assert_holds(Mishaps::default());
        seen.push((in_one_moment, in_three_seconds));
        if in_one_moment == 5 && (19..=21).contains(&in_three_seconds) {
            return Ok(());
        }
    }
    panic!("of 5 and 20 were admitted {seen:?}");
}

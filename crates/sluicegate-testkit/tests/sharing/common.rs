//! Setups that the tests start from.

use proptest::prelude::*;
use sluicegate_core::Limit;
use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_testkit::fleet::{self, Leases, Link, Load, Outcome, Setup};

/// A limit of middling size: a third of a unit per node and lease period, so that leases alone cannot serve it.
pub(crate) const MEDIUM: &str = "100/s burst 200";

/// A limit of which every node holds a lease.
pub(crate) const LARGE: &str = "50000/s burst 100000";

/// What is played more than once.
pub(crate) const SEEDS: [u64; 3] = [1, 2, 3];

/// A token bucket of `limit`, shared in this way; the store's loss is answered by refusals.
pub(crate) fn plan(limit: &str, sharing: Sharing) -> Plan {
    let limit: Limit = limit.parse().expect("a limit");
    Plan {
        terms: Terms::new(Kind::Bucket, &limit, 0.0),
        sharing,
        on_store_loss: OnStoreLoss::Closed,
        cost_max: 1.0,
        fanout: 0.0,
        spacing: None,
    }
}

pub(crate) fn setup(nodes: u32, plan: Plan, load: Load) -> Setup {
    Setup {
        nodes,
        plan,
        load,
        link: Link::default(),
        faults: Vec::new(),
    }
}

/// Plays it, and prints what is needed to play it again.
pub(crate) fn play(setup: &Setup, seed: u64) -> Outcome {
    let outcome = fleet::run(setup, &mut Leases::new(setup, seed), seed);
    println!(
        "seed {seed}: excess {:.2}, admitted {:.0} of {:.0} ({:.4}), {:.0} requests, {:.4} ops/request, {:.0} calls, waits {} p50 {:.0} p99 {:.0} us",
        outcome.excess(),
        outcome.admitted(),
        outcome.ideal(),
        outcome.goodput(),
        outcome.requests,
        outcome.ops_per_request(),
        outcome.calls,
        outcome.waits.len(),
        outcome.wait(50.0),
        outcome.wait(99.0),
    );
    outcome
}

/// So many fleets, unless `PROPTEST_CASES` is set: proptest puts that number in the place of any that a test asks for. A fleet that fails
/// is told whole, and by its seed; there is nothing smaller to look for.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    }
}

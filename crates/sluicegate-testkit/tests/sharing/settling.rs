//! The same search among requests that reserve and settle: some end at once and some after many lease epochs, some never, and some on nodes
//! that have died.

use proptest::prelude::*;
use sluicegate_core::sharing::{Kind, Sharing};
use sluicegate_testkit::fleet::{self, Ablation, Chance, Ends, Leases, Setup, Truth};

use super::common::cases;
use super::search::{allowances, any_setup, window};

/// Fewer than this fit into the time that all tests may take; more are what `PROPTEST_CASES` asks for.
const CASES: u32 = 500;

/// A part of a unit, for what rounding may come to.
const ROUNDING: f64 = 0.01;

/// A fleet of the other searches whose requests reserve.
fn any_settling(seed: u64, kind: Kind, sharing: Sharing) -> (Setup, Ends) {
    let mut setup = any_setup(seed, kind, sharing);
    setup.plan.terms = setup.plan.terms.held();
    let mut chance = Chance::new(seed ^ 0xE4D5);
    let epoch = setup.plan.terms.ttl;
    let longest = chance.spread(0.05, 10.0) * epoch;
    let ends = Ends {
        lasts: (longest * chance.spread(0.001, 1.0), longest),
        never: chance.pick([0.0, 0.05, 0.3]),
        less: chance.pick([0.1, 0.5, 0.9]),
    };
    (setup, ends)
}

fn truth(setup: &Setup, ends: Ends, leases: Leases, seed: u64) -> Truth {
    let mut leases = leases.settling(ends, seed);
    fleet::run(setup, &mut leases, seed);
    leases.truth(setup).expect("requests that reserve")
}

/// By how much what requests have really cost went beyond the limit, and in hybrid mode its allowances. Waiting adds nothing: what is taken
/// for a request that waits is outstanding too, and so blocks refill.
fn beyond(setup: &Setup, truth: &Truth) -> f64 {
    match (setup.plan.sharing, setup.plan.terms.kind) {
        (Sharing::Hybrid, Kind::Bucket) => truth.lenient_excess - allowances(setup) - 1.0,
        (Sharing::Hybrid, _) => truth.excess - allowances(setup) - ROUNDING,
        _ => truth.excess - ROUNDING,
    }
}

fn beyond_the_bound(seed: u64, kind: Kind, sharing: Sharing) -> (f64, Setup, Ends) {
    let (setup, ends) = any_settling(seed, kind, sharing);
    let truth = truth(&setup, ends, Leases::new(&setup, seed), seed);
    (beyond(&setup, &truth), setup, ends)
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// SN17.
    #[test]
    fn what_requests_of_leased_fleets_really_cost_exceeds_no_limit(seed: u64) {
        let (beyond, setup, ends) = beyond_the_bound(seed, Kind::Bucket, Sharing::Leased);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {ends:?} {setup:#?}");
    }

    #[test]
    fn what_requests_of_hybrid_fleets_really_cost_exceeds_their_limit_by_no_more_than_the_allowances(seed: u64) {
        let (beyond, setup, ends) = beyond_the_bound(seed, Kind::Bucket, Sharing::Hybrid);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {ends:?} {setup:#?}");
    }

    #[test]
    fn what_is_really_counted_in_leased_windows_exceeds_no_limit(seed: u64) {
        let (beyond, setup, ends) = beyond_the_bound(seed, window(seed), Sharing::Leased);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {ends:?} {setup:#?}");
    }

    #[test]
    fn what_is_really_counted_in_hybrid_windows_exceeds_their_limit_by_no_more_than_the_allowances(seed: u64) {
        let (beyond, setup, ends) = beyond_the_bound(seed, window(seed), Sharing::Hybrid);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {ends:?} {setup:#?}");
    }
}

/// How many of so many fleets exceed their limit without one of the store's rules.
fn violations_without(ablation: Ablation, fleets: u64) -> usize {
    let violates = |seed: &u64| {
        let (setup, ends) = any_settling(*seed, Kind::Bucket, Sharing::Leased);
        let leases = Leases::new(&setup, *seed).without(ablation);
        beyond(&setup, &truth(&setup, ends, leases, *seed)) > 0.0
    };
    (0..fleets).filter(violates).count()
}

#[test]
fn the_search_finds_what_exceeds_its_limit_where_what_is_reserved_blocks_no_refill() {
    assert!(violations_without(Ablation::Outstanding, 100) > 0);
    assert!(violations_without(Ablation::Taken, 100) > 0);
}

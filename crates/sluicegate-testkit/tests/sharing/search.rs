//! A search for anything that breaks the bounds: random limits, fleets, loads, links and faults, each from one number.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "drawn numbers, far below 2³²"
)]

use std::time::Duration;

use proptest::prelude::*;
use sluicegate_core::Limit;
use sluicegate_core::sharing::{Kind, OMEGA, OnStoreLoss, Plan, Sharing, Terms, WAIT_US};
use sluicegate_testkit::fleet::{
    self, Ablation, Chance, Fault, Keys, Leases, Link, Load, Outcome, Phase, Place, Rhythm, Setup, What,
};

use super::common::cases;

/// Fewer than this fit into the time that all tests may take; more are what `PROPTEST_CASES` asks for.
const CASES: u32 = 1_000;

/// Requests of one fleet, on average: enough for a burst of the largest limit, few enough for thousands of fleets.
const REQUESTS: f64 = 10_000.0;

/// What the search plays: anything that the numbers allow.
pub(crate) fn any_setup(seed: u64, kind: Kind, sharing: Sharing) -> Setup {
    let mut chance = Chance::new(seed);
    let nodes = chance.spread(2.0, 300.0) as u32;
    let limit = match kind {
        Kind::Bucket => any_limit(&mut chance),
        Kind::SlidingWindow | Kind::FixedWindow => any_window(&mut chance),
    };
    let load = any_load(&mut chance, &limit);
    let link = any_link(&mut chance);
    let plan = Plan {
        terms: Terms::new(kind, &limit, 0.0),
        sharing,
        on_store_loss: OnStoreLoss::Closed,
        cost_max: f64::from(load.cost_max),
        fanout: chance.pick([0.0, 0.0, f64::from(nodes), f64::from(2 * nodes)]),
        spacing: None,
    };
    let faults = any_faults(&mut chance, nodes, load.lasts());
    Setup {
        nodes,
        plan,
        load,
        link,
        faults,
    }
}

/// From six a minute to ten thousand a second, and from a burst of one to one of ten seconds.
fn any_limit(chance: &mut Chance) -> Limit {
    let per_second = chance.spread(0.1, 10_000.0);
    let count = chance.spread(1.0, 1_000.0).max(1.0) as u64;
    let period = Duration::from_secs_f64(count as f64 / per_second);
    let burst = (per_second * chance.spread(0.01, 10.0)).clamp(1.0, 5_000.0) as u64;
    Limit::new(count, period, burst).expect("a limit within bounds")
}

/// From one to two thousand in a second to a minute.
fn any_window(chance: &mut Chance) -> Limit {
    let count = chance.spread(1.0, 2_000.0) as u64;
    let period = Duration::from_millis(chance.spread(1_000.0, 60_000.0) as u64);
    Limit::new(count, period, count).expect("a limit within bounds")
}

fn any_load(chance: &mut Chance, limit: &Limit) -> Load {
    let per_second = limit.count().get() as f64 / limit.period().as_secs_f64();
    let burst = limit.burst().get() as f64;
    let cost_max = chance.pick([1, 1, 1, 3, 10]);
    let unit = f64::from(cost_max + 1) / 2.0;
    let rate = per_second / unit * chance.spread(0.3, 20.0);
    let seconds = REQUESTS * chance.spread(0.1, 1.0) / rate;
    let phases = match chance.below(8) {
        0 => vec![Phase::of(rate, seconds)],
        1 => vec![Phase::of(rate / 10.0, seconds), Phase::of(rate, seconds)],
        2 => vec![
            Phase::of(0.0, 0.3),
            Phase::of(3.0 * burst / unit / 0.05, 0.05),
            Phase::of(rate, seconds),
        ],
        // Bursts with gaps that are about as long as leases live: what is held must not come back meanwhile.
        _ => {
            let gap = burst / per_second * chance.spread(0.05, 1.5);
            let within = gap * chance.spread(0.001, 0.3);
            let part = chance.spread(0.3, 4.0);
            let quiet = per_second / unit * chance.pick([0.0, 0.05, 0.5]);
            let one = [Phase::of(part * burst / unit / within, within), Phase::of(quiet, gap)];
            let repeats = (REQUESTS / (part * burst / unit + quiet * gap)).clamp(2.0, 50.0);
            one.repeat(repeats as usize)
        }
    };
    let lasts: f64 = phases.iter().map(|phase| phase.lasts).sum();
    Load {
        phases,
        rhythm: chance.pick([Rhythm::Random, Rhythm::Even]),
        place: match chance.below(4) {
            0 => Place::Uniform,
            1 => Place::EightyTwenty,
            2 => Place::Pinned {
                moves_after: lasts * chance.spread(0.02, 0.5),
            },
            _ => Place::Moves { at: lasts / 2.0 },
        },
        keys: chance.pick([Keys::One, Keys::One, Keys::Even(3)]),
        cost_max,
    }
}

fn any_link(chance: &mut Chance) -> Link {
    // Half of them within a data centre.
    let most = chance.pick([3_000.0, 100_000.0]);
    let least = chance.spread(300.0, most);
    Link {
        round_trip: (least, (least * chance.spread(1.0, 5.0)).min(120_000.0)),
        loses: chance.pick([0.0, 0.0, 0.01, 0.1]),
        // Half of them lose the replies of slow calls that were done.
        timeout: chance.pick([80_000.0, 1_000_000.0]),
        ..Link::default()
    }
}

fn any_faults(chance: &mut Chance, nodes: u32, lasts: f64) -> Vec<Fault> {
    let at = lasts * chance.part();
    match chance.below(8) {
        0 => vec![Fault {
            at,
            what: What::Kill(nodes / 2),
        }],
        1 => vec![
            Fault { at, what: What::Stop },
            Fault {
                at: at + lasts * 0.2 * chance.part(),
                what: What::Start,
            },
        ],
        _ => Vec::new(),
    }
}

/// Once it admitted nine units more than what comes back while a request waits: what refused requests had given back came late.
#[test]
fn what_is_given_back_late_in_an_exact_fleet_is_within_its_bound() {
    let seed = 2_298_438_521_228_979_537;
    let setup = any_setup(seed, Kind::Bucket, Sharing::Exact);
    assert!(beyond_the_bound(&setup, seed) <= 0.0);
}

/// By how much it went beyond the bound, with what rounding and waiting allow: a unit, and what comes back while a request may wait.
fn beyond_the_bound(setup: &Setup, seed: u64) -> f64 {
    let mut leases = Leases::new(setup, seed);
    let outcome = fleet::run(setup, &mut leases, seed);
    match setup.plan.terms.kind {
        Kind::Bucket => beyond(setup, &outcome),
        Kind::SlidingWindow | Kind::FixedWindow => {
            let allowances = match setup.plan.sharing {
                Sharing::Hybrid => allowances(setup),
                _ => 0.0,
            };
            outcome.excess() - allowances - leases.crossed() - 0.01
        }
    }
}

/// What all nodes may owe. Once some have died the others may owe more each, and what those owed may still be missing.
pub(crate) fn allowances(setup: &Setup) -> f64 {
    let nodes = setup.plan.nodes(f64::from(setup.nodes));
    let is_death = |fault: &Fault| matches!(fault.what, What::Kill(_));
    if setup.faults.iter().any(is_death) {
        nodes.max(OMEGA * setup.plan.terms.burst)
    } else {
        nodes * setup.plan.allowance(nodes)
    }
}

fn beyond(setup: &Setup, outcome: &Outcome) -> f64 {
    if setup.plan.sharing == Sharing::Hybrid {
        return outcome.lenient_excess() - allowances(setup) - 1.0;
    }
    // What requests that left give back in exact mode is heard of as much later again.
    let waits = if setup.plan.sharing == Sharing::Exact { 2.0 } else { 1.0 };
    outcome.excess() - waits * WAIT_US * setup.plan.terms.rate() - 1.0
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// SH17.
    #[test]
    fn no_leased_fleet_exceeds_its_limit(seed: u64) {
        let setup = any_setup(seed, Kind::Bucket, Sharing::Leased);
        let beyond = beyond_the_bound(&setup, seed);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {setup:#?}");
    }

    /// SH17.
    #[test]
    fn no_hybrid_fleet_exceeds_its_limit_by_more_than_its_allowances(seed: u64) {
        let setup = any_setup(seed, Kind::Bucket, Sharing::Hybrid);
        let beyond = beyond_the_bound(&setup, seed);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {setup:#?}");
    }

    /// SH17.
    #[test]
    fn no_exact_fleet_exceeds_its_limit(seed: u64) {
        let setup = any_setup(seed, Kind::Bucket, Sharing::Exact);
        let beyond = beyond_the_bound(&setup, seed);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {setup:#?}");
    }

    /// The windows' two kinds take turns.
    #[test]
    fn no_leased_window_counts_more_than_its_limit(seed: u64) {
        let setup = any_setup(seed, window(seed), Sharing::Leased);
        let beyond = beyond_the_bound(&setup, seed);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {setup:#?}");
    }

    #[test]
    fn no_hybrid_window_counts_more_than_its_limit_and_its_allowances(seed: u64) {
        let setup = any_setup(seed, window(seed), Sharing::Hybrid);
        let beyond = beyond_the_bound(&setup, seed);
        prop_assert!(beyond <= 0.0, "{beyond} beyond: {setup:#?}");
    }
}

pub(crate) fn window(seed: u64) -> Kind {
    if seed.is_multiple_of(2) {
        Kind::SlidingWindow
    } else {
        Kind::FixedWindow
    }
}

/// How many of so many fleets exceed their bound without one of the store's rules.
fn violations_without(ablation: Ablation, fleets: u64) -> usize {
    let violates = |seed: &u64| {
        let setup = any_setup(*seed, Kind::Bucket, Sharing::Leased);
        let mut leases = Leases::new(&setup, *seed).without(ablation);
        beyond(&setup, &fleet::run(&setup, &mut leases, *seed)) > 0.0
    };
    (0..fleets).filter(violates).count()
}

/// What the search finds once a rule is gone: otherwise it would prove nothing.
#[test]
fn the_search_finds_fleets_that_exceed_their_limit_without_one_of_the_stores_rules() {
    assert!(violations_without(Ablation::Outstanding, 300) > 0);
    assert!(violations_without(Ablation::FloorFirst, 300) > 0);
}

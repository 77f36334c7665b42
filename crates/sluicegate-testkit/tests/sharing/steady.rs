//! Steady load, steps and bursts of it, on a store that answers.

use std::time::Duration;

use sluicegate_core::Limit;
use sluicegate_core::sharing::{Kind, Plan, SIGMA, Sharing, Terms};
use sluicegate_testkit::fleet::{Load, Place};

use super::common::{LARGE, MEDIUM, SEEDS, plan, play, setup};

const NODES: u32 = 100;

/// SH1. The waiting term of the bound is `R` times a round trip, a fifth of a unit here.
#[test]
fn a_hundred_leased_nodes_at_ten_times_the_limit_admit_the_limit_and_no_more() {
    for seed in SEEDS {
        let load = Load::constant(1_000.0, 30.0);
        let outcome = play(&setup(NODES, plan(MEDIUM, Sharing::Leased), load), seed);
        assert!(outcome.excess() <= 1.0);
        assert!(outcome.goodput() >= 0.98);
        assert!(outcome.ops_per_request() <= 0.35);
    }
}

/// SH2. The long run is what was admitted beyond the burst, whose debt is repaid; it includes what may pass without a word.
#[test]
fn a_hundred_hybrid_nodes_at_ten_times_the_limit_exceed_it_by_their_allowances_at_most() {
    for seed in SEEDS {
        let load = Load::constant(1_000.0, 30.0);
        let outcome = play(&setup(NODES, plan(MEDIUM, Sharing::Hybrid), load), seed);
        assert!(outcome.excess() <= f64::from(NODES));
        let in_the_long_run = outcome.passed_between(5.0, 30.0) / (25.0 * 100.0);
        assert!(in_the_long_run <= 1.01, "{in_the_long_run}");
        assert!(outcome.goodput() >= 0.97);
    }
}

/// SH3. At full scale: a million requests a second.
#[test]
fn half_a_million_a_second_on_a_hundred_hybrid_nodes_cost_the_store_next_to_nothing_and_nobody_waits() {
    let load = Load::constant(1_000_000.0, 6.0);
    let outcome = play(&setup(NODES, plan("500000/s burst 1000000", Sharing::Hybrid), load), 1);
    assert!(outcome.excess() <= 10_000.0);
    assert!(outcome.goodput() >= 0.98);
    assert!(outcome.ops_per_request() <= 0.003);
    assert!(outcome.waits.is_empty());
}

/// SH4.
#[test]
fn five_a_minute_on_a_hundred_nodes_are_five_a_minute() {
    for (requests, load) in [
        ("twice the limit", Load::constant(10.0 / 60.0, 600.0)),
        ("ten times the limit", Load::constant(50.0 / 60.0, 600.0)),
        ("three bursts at once", Load::burst(15.0, 5.0)),
    ] {
        for seed in SEEDS {
            let outcome = play(&setup(NODES, plan("5/min", Sharing::Auto), load.clone()), seed);
            assert!(outcome.excess() <= 0.01, "{requests}");
            assert!((outcome.admitted() - outcome.ideal()).abs() <= 1.0, "{requests}");
            assert!(outcome.wait(99.0) <= 3_000.0, "{requests}");
        }
    }
}

/// SH5.
#[test]
fn a_client_that_moves_to_another_node_is_served_there_at_once() {
    let place = Place::Pinned { moves_after: 5e6 };
    for sharing in [Sharing::Leased, Sharing::Hybrid] {
        for seed in SEEDS {
            let load = Load {
                place,
                ..Load::constant(90.0, 60.0)
            };
            let outcome = play(&setup(NODES, plan(MEDIUM, sharing), load), seed);
            assert!(outcome.goodput() >= 0.995);
            for move_at in (5..60u32).step_by(5).map(f64::from) {
                let passed = outcome.passed_between(move_at, move_at + 1.0);
                let ideal = outcome.ideal_between(move_at, move_at + 1.0);
                assert!(
                    passed >= 0.95 * ideal,
                    "{passed} of {ideal} in the second from {move_at}"
                );
            }
        }
    }
}

/// SH6.
#[test]
fn three_bursts_within_fifty_milliseconds_on_all_nodes_pass_once() {
    for seed in SEEDS {
        let load = Load::burst(600.0, 5.0);
        let leased = play(&setup(NODES, plan(MEDIUM, Sharing::Leased), load.clone()), seed);
        assert!(leased.excess() <= 1.0);
        assert!(leased.admitted() >= 180.0);
        let hybrid = play(&setup(NODES, plan(MEDIUM, Sharing::Hybrid), load), seed);
        assert!(hybrid.lenient_excess() <= f64::from(NODES), "sigma is {SIGMA}");
        assert!(hybrid.admitted() >= 180.0);
    }
    for sharing in [Sharing::Leased, Sharing::Hybrid] {
        let outcome = play(&setup(NODES, plan(LARGE, sharing), Load::burst(300_000.0, 5.0)), 1);
        assert!(outcome.excess() <= 1.0);
        assert!(outcome.goodput() >= 0.9, "{sharing:?}");
    }
}

/// What nodes hold when a window ends counts as spent, so they hold little then.
#[test]
fn windows_on_many_nodes_are_used_up_nearly_to_the_end() {
    for kind in [Kind::SlidingWindow, Kind::FixedWindow] {
        for (count, seconds) in [(100, 10), (1_000, 60)] {
            for times in [0.9, 3.0] {
                let limit = Limit::new(count, Duration::from_secs(seconds), count).expect("a limit");
                let plan = Plan {
                    terms: Terms::new(kind, &limit, 0.0),
                    ..plan(MEDIUM, Sharing::Leased)
                };
                let load = Load::constant(times * 1e6 * plan.terms.rate(), 240.0);
                let outcome = play(&setup(30, plan, load), 1);
                assert!(outcome.excess() <= 1.0, "{kind:?} of {count}");
                assert!(outcome.goodput() >= 0.95, "{kind:?} of {count} at {times}");
            }
        }
    }
}

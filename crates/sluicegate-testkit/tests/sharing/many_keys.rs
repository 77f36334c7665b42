//! Many keys, of which each node sees few requests: where nothing can be leased ahead, and what that costs the store.

use sluicegate_core::sharing::Sharing;
use sluicegate_testkit::fleet::{Keys, Load, Outcome, Setup};

use super::common::{MEDIUM, plan, play, setup};

/// On a hundred nodes in hybrid mode.
fn play_keys(limit: &str, keys: Keys, per_second: f64, seconds: f64) -> (Setup, Outcome) {
    let load = Load {
        keys,
        ..Load::constant(per_second, seconds)
    };
    let setup = setup(100, plan(limit, Sharing::Hybrid), load);
    let outcome = play(&setup, 1);
    (setup, outcome)
}

/// No more than all nodes may make together, and the four that each may make at once.
fn assert_paced(setup: &Setup, outcome: &Outcome) {
    let seconds = setup.load.lasts() / 1e6 + 0.5;
    let most = setup.link.calls_per_second * seconds + 4.0 * f64::from(setup.nodes);
    assert!(outcome.calls <= most, "{} calls", outcome.calls);
}

/// SH15. With an allowance of two units, one of them may pass without a word; with one, each request is told once, afterwards.
#[test]
fn clients_that_come_once_cost_no_operation_or_one() {
    let keys = Keys::Unique(250_000);
    let (_, silent) = play_keys("1000/s burst 2000", keys, 50_000.0, 5.0);
    assert!(silent.goodput() >= 1.0);
    assert!(silent.key_ops <= 0.0, "{}", silent.key_ops);

    let (setup, told) = play_keys(MEDIUM, keys, 50_000.0, 5.0);
    assert!(told.goodput() >= 1.0);
    assert!(told.ops_per_request() <= 1.0);
    assert_paced(&setup, &told);
}

/// The store is asked for less than four of ten requests, and does that in less than its time.
#[test]
fn a_thousand_keys_at_half_a_million_requests_a_second_are_more_than_one_server_could_decide_and_less_than_it_can_lease()
 {
    let (setup, outcome) = play_keys("1000/s burst 2000", Keys::Even(1_000), 500_000.0, 3.0);
    assert!(outcome.ops_per_request() <= 0.4);
    assert!(outcome.goodput() >= 0.995);
    assert!(outcome.waits.is_empty());
    assert!(
        outcome.store_busy <= 0.8 * setup.load.lasts(),
        "{} us",
        outcome.store_busy
    );
}

/// Excess is in units, of a burst of two hundred; a push once a second exceeds it fifteen times over.
#[test]
fn a_long_tail_with_a_few_hot_keys_keeps_every_key_to_its_limit_and_its_allowances() {
    let (setup, outcome) = play_keys(MEDIUM, Keys::Zipf(100_000), 50_000.0, 5.0);
    assert!(outcome.lenient_excess() <= f64::from(setup.nodes));
    assert!(outcome.ops_per_request() <= 0.9);
    assert!(outcome.goodput() >= 0.99);
    assert_paced(&setup, &outcome);
}

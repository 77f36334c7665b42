//! What leases are compared with: that it is played as its makers would play it, and what it then does.

use sluicegate_core::sharing::Sharing;
use sluicegate_testkit::fleet::{self, Exact, Keys, Leases, Load, Outcome, Place, Push, Scheme, Setup, Split};

use super::common::{MEDIUM, plan, setup};

fn tell(name: &str, setup: &Setup, outcome: &Outcome) -> (f64, f64, f64) {
    let over = 100.0 * outcome.excess().max(0.0) / setup.plan.terms.burst;
    let under = 100.0 * (1.0 - outcome.goodput()).max(0.0);
    println!(
        "{name}: over {over:.1} %, under {under:.1} %, {:.4} ops/request",
        outcome.ops_per_request()
    );
    (over, under, outcome.ops_per_request())
}

/// Over and under in per cent, of the burst and of what a single bucket admits, and operations for each request.
fn play(name: &str, setup: &Setup, mut scheme: impl Scheme) -> (f64, f64, f64) {
    tell(name, setup, &fleet::run(setup, &mut scheme, 1))
}

#[test]
fn at_ten_times_the_limit_pushes_exceed_it_and_leases_do_not() {
    let setup = setup(100, plan(MEDIUM, Sharing::Leased), Load::constant(1_000.0, 30.0));
    let (exact, under, ops) = play("exact", &setup, Exact::new(&setup, 5_000.0));
    assert!(exact <= 1.0 && under <= 1.0 && ops >= 0.99);
    let (slow, _, _) = play("push 1 s", &setup, Push::new(&setup, 1e6));
    assert!(slow >= 300.0);
    let (quick, _, _) = play("push 100 ms", &setup, Push::new(&setup, 1e5));
    assert!((30.0..100.0).contains(&quick));
    let (split, _, ops) = play("split", &setup, Split::default());
    assert!(split <= 1.0 && ops <= 0.0);
    let (leased, under, ops) = play("leases", &setup, Leases::new(&setup, 1));
    assert!(leased <= 1.0 && under <= 1.0 && ops <= 0.35);
}

#[test]
fn a_divided_limit_refuses_nearly_all_of_a_client_that_stays_on_one_node() {
    let load = Load {
        place: Place::Pinned { moves_after: 5e6 },
        ..Load::constant(90.0, 30.0)
    };
    let setup = setup(100, plan(MEDIUM, Sharing::Leased), load);
    let (_, under, _) = play("split", &setup, Split::default());
    assert!(under >= 95.0);
    let (_, under, _) = play("leases", &setup, Leases::new(&setup, 1));
    assert!(under <= 0.5);
}

/// A thousand keys at half of their limit: nothing has to be refused.
#[test]
fn a_store_that_is_asked_for_each_of_half_a_million_requests_a_second_answers_next_to_none_in_time() {
    let load = Load {
        keys: Keys::Even(1_000),
        ..Load::constant(500_000.0, 2.0)
    };
    let setup = setup(100, plan("1000/s burst 2000", Sharing::Hybrid), load);
    let (_, under, _) = play("exact", &setup, Exact::new(&setup, 5_000.0));
    assert!(under >= 90.0);
    let (over, under, ops) = play("leases", &setup, Leases::new(&setup, 1));
    assert!(over <= 0.0 && under <= 0.5 && ops <= 0.4);
}

//! What came of one contestant in one scenario, and the table of all.

use sluicegate_testkit::fleet::Outcome;

use super::contestants::Contestant;
use super::scenario::Scenario;
use crate::report::{Columns, short};
use crate::spread::number;

/// What came of one contestant in one scenario.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) scenario: &'static str,
    pub(super) contestant: Contestant,
    /// What passed, as a part of what one bucket alone would have let through.
    pub(super) admitted: f64,
    /// The most that passed beyond the limit in the worst of all windows, as a part of the burst; zero if the limit held.
    pub(super) excess: f64,
    /// Keys that the store was asked about, for each request.
    pub(super) operations: f64,
    /// Of the time, the part in which the store worked.
    pub(super) busy: f64,
    /// Of all requests, those that had to wait.
    pub(super) waiting: f64,
    /// What 99 of 100 requests, those that did not wait among them, waited at most, in microseconds.
    pub(super) wait_p99: f64,
    /// Units that passed in each tenth of a second.
    pub(super) passed_in: Vec<f32>,
    /// Units that one bucket alone would have let through in each.
    pub(super) ideal_in: Vec<f32>,
}

impl Played {
    /// Plays it from a seed.
    pub(super) fn play(scenario: &Scenario, contestant: Contestant, seed: u64) -> Self {
        let outcome = contestant.play(&scenario.setup, seed);
        Self {
            scenario: scenario.name,
            contestant,
            admitted: outcome.goodput(),
            excess: (outcome.excess() / scenario.setup.plan.terms.burst).max(0.0),
            operations: outcome.ops_per_request(),
            busy: outcome.store_busy / scenario.setup.load.lasts(),
            waiting: number(outcome.waits.len() as u64) / outcome.requests.max(1.0),
            wait_p99: wait_of_all(&outcome, 0.99),
            passed_in: outcome.passed_in,
            ideal_in: outcome.ideal_in,
        }
    }
}

/// What such a part of all requests waited at most, in microseconds.
fn wait_of_all(outcome: &Outcome, part: f64) -> f64 {
    let waited = number(outcome.waits.len() as u64);
    let longer = (1.0 - part) * outcome.requests;
    if waited <= longer {
        return 0.0;
    }
    outcome.wait((1.0 - longer / waited) * 100.0)
}

/// All runs in lines of words.
pub(super) fn table(runs: &[Played]) -> String {
    let titles = [
        "scenario",
        "contestant",
        "admitted",
        "worst excess",
        "ops/request",
        "store busy",
        "wait",
        "p99",
        "",
    ];
    let mut columns = Columns::new(titles, 2);
    let mut scenario = "";
    for run in runs {
        let named = if run.scenario == scenario { "" } else { run.scenario };
        scenario = run.scenario;
        let percent = |part: f64| format!("{} %", short(part * 100.0));
        columns.push([
            named.to_owned(),
            run.contestant.name().to_owned(),
            percent(run.admitted),
            percent(run.excess),
            format!("{:.4}", run.operations),
            percent(run.busy),
            percent(run.waiting),
            format!("{} ms", short(run.wait_p99 / 1e3)),
            String::new(),
        ]);
    }
    columns.to_string()
}

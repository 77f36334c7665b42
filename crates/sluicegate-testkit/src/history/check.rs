//! The invariants of a run.

use std::collections::BTreeMap;
use std::fmt;

use super::meter::{Bound, Meter, Window, Worst};
use super::{Answer, Decision, Tally, admissions_by_key};

/// What a run is held to. What is not set is not checked, but for answers of 5xx, of which there may be none unless
/// [`Expected::failures_at_most`] says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    for_all: Option<Bound>,
    by_key: BTreeMap<u64, Bound>,
    failures_max: u64,
    requests: Option<u64>,
    upstream: Option<(u64, u64)>,
}

impl Expected {
    /// No answer is a 5xx.
    pub fn new() -> Self {
        Self::default()
    }

    /// What any window of any key may admit, unless [`Expected::bound_of`] says otherwise.
    #[must_use]
    pub const fn bound(mut self, bound: Bound) -> Self {
        self.for_all = Some(bound);
        self
    }

    /// What any window of this key may admit.
    #[must_use]
    pub fn bound_of(mut self, key: u64, bound: Bound) -> Self {
        self.by_key.insert(key, bound);
        self
    }

    /// At most so many answers are 5xx: where the policy says to fail closed.
    #[must_use]
    pub const fn failures_at_most(mut self, failures: u64) -> Self {
        self.failures_max = failures;
        self
    }

    /// So many requests were sent, and each was decided once.
    #[must_use]
    pub const fn requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }

    /// So many requests reached the upstream, and each admission was one, but for `cut` whose clients left.
    #[must_use]
    pub const fn upstream(mut self, reached: u64, cut: u64) -> Self {
        self.upstream = Some((reached, cut));
        self
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How often which answer was given.
    pub tally: Tally,
    /// The key that came closest to its bound or went farthest beyond it, in tokens; `None` if no key has a bound and admissions.
    pub worst: Option<(u64, Worst)>,
    /// What is wrong, the first fifty of it.
    pub violations: Vec<Violation>,
    /// How much is wrong.
    pub violations_all: usize,
}

/// Enough to see a pattern in.
const VIOLATIONS_TOLD_MAX: usize = 50;

impl Report {
    /// Whether every invariant holds.
    pub const fn holds(&self) -> bool {
        self.violations_all == 0
    }

    /// By how many tokens the worst key was beyond its bound; 0 if none was.
    pub fn excess(&self) -> f64 {
        self.worst.map_or(0.0, |(_, worst)| worst.excess.max(0.0))
    }

    fn add(&mut self, violation: Violation) {
        self.violations_all += 1;
        if self.violations.len() < VIOLATIONS_TOLD_MAX {
            self.violations.push(violation);
        }
    }
}

impl fmt::Display for Report {
    /// One line for each violation, so that a failed test tells what it found: `assert!(report.holds(), "{report}")`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            allowed,
            denied,
            failed,
        } = self.tally;
        write!(
            f,
            "{allowed} allowed, {denied} denied, {failed} failed, {} violations",
            self.violations_all
        )?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// I1: a window admitted more than its bound.
    #[error("key {key} was given {} tokens from {} ns to {} ns, {excess} too many", window.admitted, window.from_ns, window.to_ns)]
    Excess {
        /// Which key.
        key: u64,
        /// The worst window.
        window: Window,
        /// By how many tokens.
        excess: f64,
    },
    /// I2: a request was answered with a 5xx because of the limiter or its store.
    #[error("node {node} failed a request for key {key} at {at_ns} ns")]
    Failure {
        /// Which node answered.
        node: u32,
        /// About which key.
        key: u64,
        /// When.
        at_ns: u64,
    },
    /// I4: requests and decisions are not as many.
    #[error("{requests} requests were sent and {decisions} decided")]
    Undecided {
        /// Requests that were sent.
        requests: u64,
        /// Decisions that were recorded.
        decisions: u64,
    },
    /// I4: admissions and what the upstream saw are not as many.
    #[error(
        "{allowed} requests were allowed and {reached} reached the upstream, which {cut} clients that left do not explain"
    )]
    Diverted {
        /// Admissions that were recorded.
        allowed: u64,
        /// Requests that the upstream saw.
        reached: u64,
        /// Requests whose clients left.
        cut: u64,
    },
}

/// Checks decisions that are in the order of time.
pub(super) fn check(decisions: &[Decision], expected: &Expected) -> Report {
    let mut report = Report {
        tally: Tally::default(),
        worst: None,
        violations: Vec::new(),
        violations_all: 0,
    };
    for decision in decisions {
        report.tally.count(decision.answer);
    }
    safety(decisions, expected, &mut report);
    if report.tally.failed > expected.failures_max {
        failures(decisions, &mut report);
    }
    conservation(expected, &mut report);
    report
}

fn safety(decisions: &[Decision], expected: &Expected, report: &mut Report) {
    for (key, admissions) in admissions_by_key(decisions) {
        let Some(bound) = expected.by_key.get(&key).or(expected.for_all.as_ref()) else {
            continue;
        };
        let mut meter = Meter::new(*bound);
        for admission in admissions {
            meter.admit(admission.at_ns, admission.cost);
        }
        let Some(worst) = meter.worst() else { continue };
        if worst.is_beyond() {
            report.add(Violation::Excess {
                key,
                window: worst.window,
                excess: worst.excess,
            });
        }
        // Of different bounds, so by whole tokens and not by their parts.
        if report.worst.is_none_or(|(_, before)| worst.excess > before.excess) {
            report.worst = Some((key, worst));
        }
    }
}

fn failures(decisions: &[Decision], report: &mut Report) {
    for decision in decisions.iter().filter(|decision| decision.answer == Answer::Fail) {
        report.add(Violation::Failure {
            node: decision.node,
            key: decision.key,
            at_ns: decision.at_ns,
        });
    }
}

fn conservation(expected: &Expected, report: &mut Report) {
    let decisions = report.tally.all();
    if let Some(requests) = expected.requests.filter(|requests| *requests != decisions) {
        report.add(Violation::Undecided { requests, decisions });
    }
    let allowed = report.tally.allowed;
    if let Some((reached, cut)) = expected
        .upstream
        .filter(|(reached, cut)| reached.abs_diff(allowed) > *cut)
    {
        report.add(Violation::Diverted { allowed, reached, cut });
    }
}

#[cfg(test)]
mod tests {
    use super::super::History;
    use super::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn history(decisions: &[(u64, u32, u64, Answer)]) -> History {
        let history = History::new();
        for (at_ns, node, key, answer) in decisions {
            history.record(Decision {
                at_ns: *at_ns,
                node: *node,
                key: *key,
                cost: 1,
                answer: *answer,
            });
        }
        history
    }

    #[test]
    fn a_run_within_all_bounds_holds() {
        let history = history(&[
            (SECOND, 1, 7, Answer::Allow),
            (0, 2, 7, Answer::Allow),
            (0, 1, 7, Answer::Deny),
            (0, 1, 8, Answer::Allow),
        ]);
        let expected = Expected::new()
            .bound(Bound::new(1, 1, Duration::from_secs(1)))
            .requests(4)
            .upstream(2, 1);
        let report = history.check(&expected);
        assert!(report.holds(), "{report}");
        assert_eq!(
            (report.tally.allowed, report.tally.denied, report.tally.failed),
            (3, 1, 0)
        );
        assert!((history.tally(|decision| decision.node == 1).denied_share() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn nodes_that_together_admit_too_much_are_found_also_when_each_is_right() {
        let history = history(&[
            (0, 1, 7, Answer::Allow),
            (SECOND / 2, 2, 7, Answer::Allow),
            (0, 2, 8, Answer::Allow),
        ]);
        let bound = Bound::new(1, 1, Duration::from_secs(1));
        let report = history.check(&Expected::new().bound(bound));
        assert_eq!(
            report.to_string(),
            "3 allowed, 0 denied, 0 failed, 1 violations\n  key 7 was given 2 tokens from 0 ns to 500000000 ns, 0.5 too many"
        );
        assert!((report.excess() - 0.5).abs() < 1e-9);
        assert!(
            history
                .check(&Expected::new().bound(bound).bound_of(7, bound.plus(1)))
                .holds()
        );
    }

    #[test]
    fn an_answer_of_5xx_is_a_violation_unless_the_policy_fails_closed() {
        let history = history(&[(0, 1, 7, Answer::Fail)]);
        let report = history.check(&Expected::new());
        assert_eq!(
            report.violations,
            [Violation::Failure {
                node: 1,
                key: 7,
                at_ns: 0
            }]
        );
        assert!(history.check(&Expected::new().failures_at_most(1)).holds());
    }

    #[test]
    fn requests_that_nobody_decided_and_admissions_that_went_nowhere_are_missed() {
        let history = history(&[(0, 1, 7, Answer::Allow), (0, 1, 7, Answer::Deny)]);
        let report = history.check(&Expected::new().requests(3).upstream(0, 0));
        assert_eq!(
            report.violations,
            [
                Violation::Undecided {
                    requests: 3,
                    decisions: 2
                },
                Violation::Diverted {
                    allowed: 1,
                    reached: 0,
                    cut: 0
                }
            ]
        );
    }

    #[test]
    fn of_many_violations_the_first_are_told() {
        let failures: Vec<_> = (0..200).map(|at_ns| (at_ns, 1, 7, Answer::Fail)).collect();
        let report = history(&failures).check(&Expected::new());
        assert_eq!(
            (report.violations.len(), report.violations_all),
            (VIOLATIONS_TOLD_MAX, 200)
        );
    }
}

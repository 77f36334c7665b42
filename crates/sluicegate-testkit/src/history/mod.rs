//! What nodes decided, and whether it was right: exactly, over every window of time.
//!
//! A [`Meter`] follows one key whose admissions come in order, and needs no memory. [`Admissions`] takes them from many threads in any
//! order. A [`History`] takes every decision of every node about every key and holds the invariants of a run against it:
//!
//! | invariant | says |
//! | --- | --- |
//! | I1, safety | no window of any key admits more than its [`Bound`] |
//! | I2, no collateral failure | no answer is a 5xx because of the limiter or its store |
//! | I4, conservation | decisions are as many as requests, and admissions as many as the upstream saw |

mod admissions;
mod check;
mod meter;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

pub use admissions::Admissions;
pub use check::{Expected, Report, Violation};
pub use meter::{Bound, Meter, Window, Worst};

/// What one node answered to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// When, in nanoseconds by one clock for all nodes.
    pub at_ns: u64,
    /// By which node.
    pub node: u32,
    /// About which key, numbered by the test.
    pub key: u64,
    /// What the request took or asked for, in tokens.
    pub cost: u64,
    /// What it was.
    pub answer: Answer,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It may pass.
    Allow,
    /// Its limit is spent.
    Deny,
    /// A 5xx: the limiter or its store failed.
    Fail,
}

/// Every decision of a run, from any number of threads. About 40 bytes a decision.
#[derive(Debug)]
pub struct History {
    /// By node, so that nodes do not wait for one another.
    shards: [Mutex<Vec<Decision>>; SHARDS],
}

/// A few times the threads of any test.
const SHARDS: usize = 32;

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// A history of nothing.
    pub fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Adds a decision. They may come in any order.
    pub fn record(&self, decision: Decision) {
        let shard = &self.shards[decision.node as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner).push(decision);
    }

    /// All decisions so far, by time.
    pub fn decisions(&self) -> Vec<Decision> {
        let of_shard = |shard: &Mutex<Vec<Decision>>| shard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<_> = self.shards.iter().flat_map(of_shard).collect();
        all.sort_by_key(|decision| decision.at_ns);
        all
    }

    /// How often which answer was given to requests that `are_meant`: to a client below its limit, or during a fault.
    pub fn tally(&self, are_meant: impl Fn(&Decision) -> bool) -> Tally {
        let mut tally = Tally::default();
        self.decisions()
            .iter()
            .filter(|decision| are_meant(decision))
            .for_each(|decision| tally.count(decision.answer));
        tally
    }

    /// Holds the invariants against the decisions so far.
    pub fn check(&self, expected: &Expected) -> Report {
        check::check(&self.decisions(), expected)
    }
}

/// How often which answer was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that may pass.
    pub allowed: u64,
    /// Requests whose limit is spent.
    pub denied: u64,
    /// Requests that were answered with a 5xx.
    pub failed: u64,
}

impl Tally {
    fn count(&mut self, answer: Answer) {
        match answer {
            Answer::Allow => self.allowed += 1,
            Answer::Deny => self.denied += 1,
            Answer::Fail => self.failed += 1,
        }
    }

    /// All answers.
    pub const fn all(&self) -> u64 {
        self.allowed + self.denied + self.failed
    }

    /// The part of all that was denied, from 0 to 1; 0 of nothing.
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2⁵³")]
    pub fn denied_share(&self) -> f64 {
        if self.all() == 0 {
            0.0
        } else {
            self.denied as f64 / self.all() as f64
        }
    }
}

/// Admissions by key, each by time.
fn admissions_by_key(decisions: &[Decision]) -> BTreeMap<u64, Vec<&Decision>> {
    let mut by_key: BTreeMap<u64, Vec<&Decision>> = BTreeMap::new();
    for decision in decisions.iter().filter(|decision| decision.answer == Answer::Allow) {
        by_key.entry(decision.key).or_default().push(decision);
    }
    by_key
}

//! Requests that reserve, end some time later and put right then what they took; and the truth about them.

use sluicegate_core::sharing::{SIGMA, Spent};

use super::outcome::metered_at;
use super::{Chance, Meter, Request, Setup};

/// When requests end that reserve, and what they turn out to have cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ends {
    /// The shortest and the longest that a request lasts, in microseconds, both above zero: every order of magnitude between them is as
    /// likely as the next.
    pub lasts: (f64, f64),
    /// The probability that a request never ends.
    pub never: f64,
    /// The probability that it turns out to have cost less than it reserved, which half of the time is nothing. Of the others one in eight
    /// has cost two to four times as much, and the rest just that.
    pub less: f64,
}

/// What really passed, counted when it was let through: what requests turned out to have cost, as far as they had reserved it, and what they
/// had reserved where they never said. What they cost beyond that is not in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// The worst excess of all keys, in units; negative if no key was ever used up.
    pub excess: f64,
    /// The same, of a rate that is higher by what nodes may let through without a word.
    pub lenient_excess: f64,
    /// Requests that said what they had cost.
    pub settled: u32,
}

/// All requests that have passed, in order.
#[derive(Debug)]
pub(super) struct Books {
    ends: Ends,
    chance: Chance,
    reserved: Vec<Reserved>,
}

/// One that has passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    /// The node's entry for its key.
    pub(super) entry: u32,
    pub(super) spent: Spent,
    pub(super) cost: f64,
    pub(super) actual: f64,
    key: u32,
    passed_at: f64,
    has_settled: bool,
}

impl Books {
    pub(super) const fn new(ends: Ends, seed: u64) -> Self {
        Self {
            ends,
            chance: Chance::new(seed ^ 0xB00C),
            reserved: Vec::new(),
        }
    }

    /// Notes one that passes now; tells its number, and when it ends: `None` for never.
    pub(super) fn note(&mut self, now: f64, entry: u32, spent: Spent, request: &Request) -> (u32, Option<f64>) {
        let cost = request.cost;
        let actual = if self.chance.happens(self.ends.less) {
            let part = self.chance.pick([0.0, 1.0]) * self.chance.part();
            (part * cost).floor()
        } else {
            let times = if self.chance.below(8) == 0 {
                2 + self.chance.below(3)
            } else {
                1
            };
            cost * f64::from(times)
        };
        self.reserved.push(Reserved {
            entry,
            spent,
            cost,
            actual,
            key: request.key,
            passed_at: now,
            has_settled: false,
        });
        let (shortest, longest) = self.ends.lasts;
        let lasts = self.chance.spread(shortest, longest);
        let never = self.chance.happens(self.ends.never);
        (self.reserved.len() as u32 - 1, (!never).then_some(now + lasts))
    }

    pub(super) fn reserved(&self, number: u32) -> Reserved {
        self.reserved[number as usize]
    }

    pub(super) fn settle(&mut self, number: u32) {
        self.reserved[number as usize].has_settled = true;
    }

    pub(super) fn truth(&self, setup: &Setup) -> Truth {
        let terms = &setup.plan.terms;
        let mut meters = vec![Meter::default(); setup.load.key_count() as usize];
        for reserved in &self.reserved {
            let units = if reserved.has_settled {
                reserved.actual.min(reserved.cost)
            } else {
                reserved.cost
            };
            meters[reserved.key as usize].pass(terms, metered_at(terms, reserved.passed_at), units, 1.0 + SIGMA);
        }
        let worst = |excess: fn(&Meter) -> f64| meters.iter().map(excess).fold(f64::NEG_INFINITY, f64::max);
        Truth {
            excess: worst(|meter| meter.excess),
            lenient_excess: worst(|meter| meter.lenient_excess),
            settled: self.reserved.iter().filter(|reserved| reserved.has_settled).count() as u32,
        }
    }
}

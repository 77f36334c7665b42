//! A token bucket as one number.

use sluicegate_core::sharing::Terms;

/// A token bucket: units that passed and have not come back.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Bucket {
    debt: f64,
    /// When the debt was so, in microseconds of any one clock.
    at: f64,
}

/// Of a limit: microseconds in which one unit comes back, and most units at once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Allowed {
    pub(in super::super) interval: f64,
    pub(in super::super) burst: f64,
}

impl Allowed {
    /// What these terms allow.
    pub(in super::super) const fn of(terms: &Terms) -> Self {
        Self {
            interval: terms.interval,
            burst: terms.burst,
        }
    }
}

impl Bucket {
    /// One that owes so much now.
    pub(in super::super) const fn owing(debt: f64, now: f64) -> Self {
        Self { debt, at: now }
    }

    /// Units that are owed now.
    pub(in super::super) fn debt(&mut self, allowed: Allowed, now: f64) -> f64 {
        let elapsed = (now - self.at).max(0.0);
        self.debt = (self.debt - elapsed / allowed.interval).max(0.0);
        self.at = self.at.max(now);
        self.debt
    }

    /// Charges `cost` if there is enough.
    pub(in super::super) fn take(&mut self, allowed: Allowed, now: f64, cost: f64) -> bool {
        let passes = self.debt(allowed, now) + cost <= allowed.burst;
        if passes {
            self.debt += cost;
        }
        passes
    }
}

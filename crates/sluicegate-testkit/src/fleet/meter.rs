//! The exact meter: how far the requests that passed went beyond the limit, in the worst of all windows.
//!
//! For a token bucket, requests keep to it in every window of any length exactly if the debt `D`, which falls by the rate and rises
//! by what passes, never exceeds the burst. For windows the meter keeps the same two counts as a node alone would.

use sluicegate_core::sharing::{Kind, Terms};

/// What passed of one key.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    passed: Gauge,
    /// The same at a rate that is higher by the part that nodes may let through without a word.
    lenient: Gauge,
    /// What a single bucket would have let through of the same requests.
    ideal: Gauge,
    /// The worst that there was beyond the limit.
    pub excess: f64,
    /// The same, measured at the lenient rate.
    pub lenient_excess: f64,
    /// Units that passed.
    pub admitted: f64,
    /// Units that a single bucket would have let through.
    pub ideal_admitted: f64,
    /// Units asked for.
    pub asked: f64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            passed: Gauge::default(),
            lenient: Gauge::default(),
            ideal: Gauge::default(),
            excess: f64::NEG_INFINITY,
            lenient_excess: f64::NEG_INFINITY,
            admitted: 0.0,
            ideal_admitted: 0.0,
            asked: 0.0,
        }
    }
}

/// A bucket's debt, or a window's two counts.
#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    debt: f64,
    previous: f64,
    /// When the debt was so, or which window it is of.
    at: f64,
}

impl Meter {
    /// Notes a request that came; says whether the ideal bucket lets it through.
    pub fn ask(&mut self, terms: &Terms, now: f64, cost: f64) -> bool {
        self.asked += cost;
        let passes = self.ideal.level(terms, now, 1.0) + cost <= terms.burst;
        if passes {
            self.ideal.debt += cost;
            self.ideal_admitted += cost;
        }
        passes
    }

    /// Notes one that passed. `lenient` is how much higher the lenient rate is: 1 for not at all.
    pub fn pass(&mut self, terms: &Terms, now: f64, cost: f64, lenient: f64) {
        self.admitted += cost;
        let level = self.passed.level(terms, now, 1.0) + cost;
        self.passed.debt += cost;
        self.excess = self.excess.max(level - terms.burst);
        let level = self.lenient.level(terms, now, lenient) + cost;
        self.lenient.debt += cost;
        self.lenient_excess = self.lenient_excess.max(level - terms.burst);
    }
}

impl Gauge {
    /// What counts against the limit now.
    fn level(&mut self, terms: &Terms, now: f64, speed: f64) -> f64 {
        if terms.kind == Kind::Bucket {
            self.debt = (self.debt - speed * (now - self.at) / terms.interval).max(0.0);
            self.at = now;
            return self.debt;
        }
        let window = (now / terms.ttl).floor();
        if window > self.at {
            self.previous = if window - self.at < 1.5 { self.debt } else { 0.0 };
            self.debt = 0.0;
            self.at = window;
        }
        if terms.kind == Kind::FixedWindow {
            return self.debt;
        }
        self.debt + self.previous * (1.0 - (now / terms.ttl - window))
    }
}

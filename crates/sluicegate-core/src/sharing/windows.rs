//! The store's side of sliding and of epoch-aligned fixed windows.
//!
//! A lease is counted in the window it was granted in, and dies with it. So nothing outstanding has to be remembered: what a
//! node holds is in the count already, and what it does not spend is counted all the same unless it gives it back in time.
#![expect(
    clippy::float_cmp,
    reason = "windows are told by whole numbers below 2⁵³, whose sums are exact"
)]

use libm::floor;

use super::exchange::{Ask, DEMAND_MAX, EXTRA_US, Heal, Outcome, Reply, Settled, fade, grant, share};
use super::{EPOCH_UNIX_US, Kind, Terms};

/// What the store keeps of a window: 40 bytes. The default is a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Kept {
    /// Which window `current` counts: whole windows since the Unix epoch.
    pub window: f64,
    /// Units counted in it.
    pub current: f64,
    /// Units counted in the one before.
    pub previous: f64,
    /// As in a bucket.
    pub demand: f64,
    /// When that was.
    pub demand_at: f64,
}

/// Does one exchange at the store's time `now`, and says for how long what is kept matters.
pub fn exchange(kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    let mut outcome = Outcome::default();
    let mut key = kept.unwrap_or_default();
    let window = floor((now + EPOCH_UNIX_US) / terms.ttl);
    if !key.makes_sense(window) {
        key = Kept::default();
        outcome.damaged = true;
    }
    key.turn(window);
    let most = terms.burst + terms.overdraft;
    if key.current > most || key.previous > most {
        // A limit that was larger, or damage: as if just used up, as in a bucket.
        key.current = key.current.min(terms.burst);
        key.previous = key.previous.min(terms.burst);
        outcome.damaged = true;
    }
    if let Some(heal) = &ask.heal {
        key.heal(heal);
    }
    for settled in &ask.settled {
        key.settle(settled);
    }
    // A request that did not pass leaves the window, as in a window of one node.
    key.current = (key.current - ask.refund).max(0.0) + ask.pay;

    key.demand = fade(key.demand, key.demand_at, now, terms.theta) + ask.demand;
    key.demand = key.demand.min(DEMAND_MAX);
    key.demand_at = now;

    let available = key.available(terms, now);
    outcome.taken = ask.take.min(floor(available)).max(0.0);
    outcome.granted = grant(ask, key.demand, available - outcome.taken, terms);
    key.current += outcome.taken + outcome.granted;

    let matters_for = key.begins_at(terms) + 2.0 * terms.ttl - now + EXTRA_US;
    (key, key.reply(terms, ask, now, &outcome), matters_for)
}

impl Kept {
    /// The answer to `ask`, from what is kept after it and what came of it: what a store elsewhere sends is only these two.
    pub fn reply(&self, terms: &Terms, ask: &Ask, now: f64, outcome: &Outcome) -> Reply {
        let available = self.available(terms, now);
        Reply {
            taken: outcome.taken,
            granted: outcome.granted,
            epoch: self.window,
            valid_for: self.begins_at(terms) + terms.ttl - now,
            available,
            ready_after: self.ready_after(terms, self.elapsed(terms, now), available),
            rate: self.demand / terms.theta,
            share: share(ask.own, self.demand),
            seen: self.current,
            damaged: outcome.damaged,
        }
    }

    fn begins_at(&self, terms: &Terms) -> f64 {
        self.window * terms.ttl - EPOCH_UNIX_US
    }

    /// How much of the window is over, from 0 to 1. The clock may have gone back before it: then it stands at its start.
    fn elapsed(&self, terms: &Terms, now: f64) -> f64 {
        (now - self.begins_at(terms)).max(0.0) / terms.ttl
    }

    fn available(&self, terms: &Terms, now: f64) -> f64 {
        let weight = match terms.kind {
            Kind::SlidingWindow => 1.0 - self.elapsed(terms, now),
            Kind::Bucket | Kind::FixedWindow => 0.0,
        };
        terms.burst - self.current - self.previous * weight
    }

    fn makes_sense(&self, window: f64) -> bool {
        let all = [self.window, self.current, self.previous, self.demand, self.demand_at];
        // One window ahead is a clock that stands at the seam or went back a little; more is damage.
        all.iter().all(|value| value.is_finite() && *value >= 0.0)
            && self.window <= window + 1.0
            && self.demand <= DEMAND_MAX
    }

    fn turn(&mut self, window: f64) {
        if window <= self.window {
            return;
        }
        self.previous = if window == self.window + 1.0 { self.current } else { 0.0 };
        self.current = 0.0;
        self.window = window;
    }

    fn heal(&mut self, heal: &Heal) {
        if heal.seen_epoch == self.window {
            self.current = self.current.max(heal.seen);
        } else if heal.seen_epoch == self.window - 1.0 {
            self.previous = self.previous.max(heal.seen);
        }
    }

    /// Spent units are counted already; units given back leave the window that they were counted in.
    fn settle(&mut self, settled: &Settled) {
        if settled.epoch == self.window {
            self.current = (self.current - settled.returned).max(0.0);
        } else if settled.epoch == self.window - 1.0 {
            self.previous = (self.previous - settled.returned).max(0.0);
        }
    }

    /// Until one unit fits: within this window as the former one fades, or in the next, where this one fades.
    fn ready_after(&self, terms: &Terms, elapsed: f64, available: f64) -> f64 {
        if available >= 1.0 {
            return 0.0;
        }
        let length = terms.ttl;
        let left = (1.0 - elapsed).max(0.0) * length;
        let most = terms.burst - 1.0;
        match terms.kind {
            Kind::SlidingWindow if self.current <= most && self.previous > 0.0 => {
                let fits_at = 1.0 - (most - self.current) / self.previous;
                (fits_at - elapsed).max(0.0) * length
            }
            Kind::SlidingWindow if self.current > 0.0 => left + (1.0 - most / self.current).max(0.0) * length,
            Kind::Bucket | Kind::FixedWindow | Kind::SlidingWindow => left,
        }
    }
}

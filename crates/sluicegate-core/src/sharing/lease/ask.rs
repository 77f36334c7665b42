//! What the store is told and asked for.

use libm::floor;

use super::Lease;
use super::look::may_wait;
use crate::sharing::exchange::{Ask, Heal, Settled};
use crate::sharing::plan::{Mode, View};

/// How urgent an ask is: the smaller, the sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Requests wait for it.
    Waiters,
    /// Nothing is held, and requests come.
    Exhausted,
    /// Little is held.
    Low,
    /// What was let through has to be reported.
    Unpaid,
    /// The lease is to be renewed before it ends.
    Renewal,
    /// What is not needed goes back.
    Return,
}

impl Lease {
    /// How urgent the next ask is, where not all that are due fit into one call.
    pub fn urgency(&self, view: &View<'_>) -> Urgency {
        let now = view.at.time;
        let is_needed = now - self.demand_at <= IDLE_PERIODS * self.period(view);
        if self.waiting > 0.0 {
            Urgency::Waiters
        } else if is_needed && self.held(now) < 1.0 && (self.refused > 0.0 || self.need(view) > 0.0) {
            Urgency::Exhausted
        } else if (is_needed && self.held(now) < self.low_water(view)) || self.move_by(view) <= now {
            Urgency::Low
        } else if self.unpaid > 0.0 {
            Urgency::Unpaid
        } else if is_needed {
            Urgency::Renewal
        } else {
            Urgency::Return
        }
    }

    /// Makes the next ask; `None` if there is nothing to say or one is under way. `chance` is drawn evenly from 0 to below 1.
    pub fn build(&mut self, view: &View<'_>, chance: f64) -> Option<Ask> {
        if self.in_flight {
            return None;
        }
        let now = view.at.time;
        self.due_at = f64::INFINITY;
        let mut ask = Ask {
            chance,
            own: self.demand_at(view),
            demand: self.demand_since,
            take: self.waiting,
            holds: view.plan.terms.holds,
            refund: self.refund(view),
            clear: core::mem::take(&mut self.clears),
            ..Ask::default()
        };
        self.forfeit_dead(now);
        self.unpaid = self.unpaid(view);
        self.unpaid_at = now;
        ask.pay = self.unpaid + self.outage.as_mut().map_or(0.0, |outage| outage.tell(view));
        ask.heal = self.heal(view);
        let is_idle = now - self.demand_at > IDLE_PERIODS * self.period(view);
        let need = self.need(view);
        if ask.heal.is_none() {
            // An exact limit holds nothing but for requests.
            ask.settled = self.report(now, need, is_idle || view.mode == Mode::Exact);
        } else {
            // Not among what the store is told to be held, so not to be settled with it later either.
            for held in &mut self.held {
                held.spent = 0.0;
            }
        }
        // A store that has just lost its data knows too little to lease from: what the first nodes remember may be old.
        if !is_idle && view.mode != Mode::Exact && now >= self.next_at && ask.heal.is_none() {
            let held = self.held(now);
            ask.want = (need.max(self.fetches) - held).max(self.lacks(view)).max(0.0);
        }
        // In hybrid mode a refusal goes by what is believed to be left, and only a reply can correct that.
        let is_curious = self.refused > 0.0 && view.mode == Mode::Hybrid;
        let settles = ask.settled.iter().any(|settled| settled.spent + settled.returned > 0.0);
        let moves = self.move_by(view) <= now;
        let says_nothing =
            !settles && !moves && !ask.clear && ask.pay + ask.take + ask.want + ask.refund <= 0.0 && ask.heal.is_none();
        self.refused = 0.0;
        self.fetches = 0.0;
        if says_nothing && self.outage.is_none() && !is_curious {
            if self.held(now) > 0.0 {
                // Too much for now, but not yet idle: looked at again when it may be.
                self.due_by(now + self.period(view));
            }
            self.due_by(self.move_by(view));
            return None;
        }
        self.paying = self.unpaid;
        self.unpaid = 0.0;
        self.taking = self.waiting;
        self.waiting = 0.0;
        self.refund = 0.0;
        self.demand_since = 0.0;
        self.requests_since = 0.0;
        self.synced_at = now;
        self.asked_generation = view.at.generation;
        self.asks = self.asks.wrapping_add(1);
        self.in_flight = true;
        Some(ask)
    }

    /// What a store that holds other data than last time is told.
    fn heal(&self, view: &View<'_>) -> Option<Heal> {
        let known = self.known.filter(|_| self.generation != view.at.generation)?;
        Some(Heal {
            seen: known.seen,
            seen_epoch: known.seen_epoch,
            held: self.held(view.at.time) + self.reserved(view.at.time),
        })
    }

    /// Reports what was spent, and gives back what is not needed, of the older epoch first.
    ///
    /// Not to a store that has lost its data: it counts as outstanding what this node is telling that it holds, so that to settle more
    /// would free units that are held. An epoch of the new data may have the number of an old one.
    fn report(&mut self, now: f64, need: f64, is_idle: bool) -> [Settled; 2] {
        let held = self.held(now);
        let mut back = if is_idle {
            held
        } else if held > surplus_from(need) {
            floor(held - need).max(0.0)
        } else {
            0.0
        };
        self.held.each_mut().map(|held| {
            let returned = held.at(now).min(back);
            back -= returned;
            held.units -= returned;
            Settled {
                epoch: held.epoch,
                spent: core::mem::take(&mut held.spent),
                returned: returned + core::mem::take(&mut held.back),
                reserved: held.reserved,
            }
        })
    }

    /// What a refused request needs that can pass only by lease, whatever is expected: one that costs more than the allowance, or
    /// that would have waited for a quicker store.
    fn lacks(&self, view: &View<'_>) -> f64 {
        if self.refused > view.allowance && !may_wait(view) {
            self.refused - self.held(view.at.time)
        } else {
            0.0
        }
    }
}

/// What is held beyond so much is more than the `need`, and goes back.
pub(super) fn surplus_from(need: f64) -> f64 {
    1.5 * need + 1.0
}

/// While a key is idle for so many periods its lease goes back.
const IDLE_PERIODS: f64 = 2.0;

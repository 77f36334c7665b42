//! What a request takes, what comes back of that, and when the store has to hear of it.

use super::demand::{BURST_SEEN, fresh_for};
use super::{Lease, Look, Place, is_same};
use crate::sharing::Kind;
use crate::sharing::plan::View;

/// What was spent, for [`Lease::unspend`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    pub(super) look: Look,
    pub(super) epochs: [f64; 2],
    pub(super) units: [f64; 2],
    pub(super) at: f64,
    /// The asks that were made before.
    pub(super) asks: u32,
    /// The lease's, of what is held until its request ends; zero of what is spent for good.
    pub(super) era: f64,
    pub(super) place: Option<Place>,
}

impl Spent {
    /// Where the request stands, if its limit is spaced.
    pub const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The same, to be moved by [`Lease::hold_up`].
    pub const fn place_mut(&mut self) -> Option<&mut Place> {
        self.place.as_mut()
    }
}

impl Lease {
    /// Does what [`Lease::look`] said of this request, in the same moment, and plans the next ask.
    pub fn spend(&mut self, view: &View<'_>, look: Look, cost: f64) -> Spent {
        let now = view.at.time;
        let mut spent = Spent {
            look,
            epochs: [0.0; 2],
            units: [0.0; 2],
            at: now,
            asks: self.asks,
            era: 0.0,
            place: None,
        };
        if matches!(look, Look::Lease | Look::Allowance | Look::Share) {
            spent.place = self.enqueue(view, cost);
        }
        match look {
            Look::Lease => {
                let mut left = cost;
                for (index, held) in self.held.iter_mut().enumerate() {
                    let units = held.at(now).min(left);
                    held.units -= units;
                    held.spent += units;
                    left -= units;
                    spent.epochs[index] = held.epoch;
                    spent.units[index] = units;
                }
            }
            Look::Allowance => {
                self.unpaid = self.unpaid(view) + cost;
                self.unpaid_at = now;
            }
            Look::Share => {
                let mut outage = self.outage.unwrap_or_else(|| self.begin_outage(view));
                outage.spend(view, cost);
                self.outage = Some(outage);
            }
            Look::Wait => self.waiting += cost,
            Look::Open | Look::Deny { .. } | Look::Never => {}
        }
        self.plan(view, look, cost);
        spent
    }

    /// Undoes what was spent for a request that then did not pass.
    pub fn unspend(&mut self, view: &View<'_>, spent: &Spent, cost: f64) {
        if spent.era > 0.0 {
            self.settle(view, spent, cost, 0.0);
            return;
        }
        if let Some(place) = &spent.place {
            let _ = self.leave_queue(place);
        }
        match spent.look {
            Look::Lease | Look::Allowance if spent.asks != self.asks => {
                // The store was told, and what has come back since by itself must not come back twice. Nothing of a window does.
                if view.plan.terms.kind == Kind::Bucket {
                    let refilled = (view.at.time - spent.at).max(0.0) * view.plan.terms.rate();
                    self.return_taken(view, (cost - refilled).max(0.0));
                }
            }
            Look::Lease => {
                for (epoch, units) in spent.epochs.iter().zip(spent.units) {
                    for held in &mut self.held {
                        // Of a lease that is gone, it stays spent.
                        if is_same(held.epoch, *epoch) && held.spent >= units {
                            held.spent -= units;
                            held.units += units;
                            break;
                        }
                    }
                }
            }
            Look::Allowance => self.unpaid = (self.unpaid - cost).max(0.0),
            Look::Share => {
                if let Some(outage) = &mut self.outage {
                    outage.unspend(view, cost);
                }
            }
            Look::Wait | Look::Open | Look::Deny { .. } | Look::Never => {}
        }
    }

    /// Has `cost` units fetched for a request to come, by one that cannot wait for them. Of no use to an exact limit, which holds nothing.
    pub fn fetch(&mut self, view: &View<'_>, cost: f64) {
        self.fetches = self.fetches.max(cost);
        self.due_by(view.at.time.max(self.next_at));
    }

    /// A request waits no longer. `was_asked` if its units are part of an ask that is under way.
    pub fn leave(&mut self, cost: f64, was_asked: bool) {
        let queue = if was_asked { &mut self.taking } else { &mut self.waiting };
        *queue = (*queue - cost).max(0.0);
        if self.waiting <= 0.0 {
            // Whoever waited was what made it urgent.
            self.due_at = self.due_at.max(self.next_at);
        }
    }

    /// Gives back units that a reply said were taken, for requests that did not wait for them or did not pass.
    pub fn return_taken(&mut self, view: &View<'_>, units: f64) {
        let now = view.at.time;
        if view.plan.terms.kind == Kind::Bucket {
            self.refund = self.refund(view) + units;
            self.refund_at = now;
        } else if let Some(known) = self.known.filter(|known| now < known.good_until) {
            // Counted in a window, as a lease is; and only in that window may it be given back.
            self.receive(known.seen_epoch, units, known.good_until);
        } else {
            return;
        }
        self.due_by(now + LINGER_US);
    }

    /// Owes units beyond what was charged: a request turned out to cost more than was taken for it.
    pub fn owe(&mut self, view: &View<'_>, units: f64) {
        if let Some(outage) = &mut self.outage {
            outage.spend(view, units);
            return;
        }
        self.unpaid = self.unpaid(view) + units;
        self.unpaid_at = view.at.time;
        self.due_by(view.at.time);
    }

    /// Plans the next ask after a request.
    fn plan(&mut self, view: &View<'_>, look: Look, cost: f64) {
        let now = view.at.time;
        match look {
            Look::Lease => {
                if self.held(now) < self.low_water(view) {
                    self.due_by(now.max(self.next_at));
                } else if self.due_at.is_infinite() {
                    self.due_by(now + self.period(view));
                }
                if self.may_lock(view) {
                    self.due_by(now + LINGER_US);
                }
            }
            Look::Allowance => {
                if !self.is_silent(view) {
                    let plenty = self.estimate(view) > view.plan.terms.burst / 2.0;
                    let is_first = self.demand_since < BURST_SEEN;
                    self.due_by(if plenty && is_first { now + LINGER_US } else { now });
                }
            }
            Look::Wait => self.due_by(now),
            // More units would be of no use to it.
            Look::Deny { .. } if self.too_late(view, cost).is_some() => {}
            Look::Deny { .. } if now >= self.deny_until && !view.at.is_down => {
                self.refused = self.refused.max(cost);
                self.due_by(now.max(self.next_at));
            }
            Look::Share | Look::Open => self.due_by(now.max(self.next_at)),
            Look::Deny { .. } | Look::Never => {}
        }
    }

    /// Whether the key's few requests never need to be reported.
    pub(super) fn is_silent(&self, view: &View<'_>) -> bool {
        let is_fresh = self
            .known
            .is_some_and(|known| view.at.time - known.at < fresh_for(view));
        let rare = self.demand_at(view) / view.plan.terms.theta * view.plan.period() < 1.0;
        // Windows forget nothing by themselves, so what passes in them has to be told.
        let forgets = view.forgiven_rate() > 0.0;
        view.allowance >= 2.0 && self.unpaid(view) <= view.allowance - 1.0 && rare && !is_fresh && forgets
    }
}

/// How long the report of a first request waits for a second one.
pub(super) const LINGER_US: f64 = 5_000.0;

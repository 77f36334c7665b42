//! What requests hold until they end, and what is put right then.
//!
//! Units that are reserved from a lease stay outstanding at the store: they block refill, so that what is given back later revives none
//! that was used meanwhile. Each exchange moves them to its own epoch, and a request may last as long as it likes. Until an answer says
//! that they have moved, they are taken to be where they were: told twice, the move costs others nothing but units that live on in their
//! place; and of an epoch that has died, nothing is ever given back.

use super::ask::surplus_from;
use super::spend::LINGER_US;
use super::{Held, Lease, Look, Spent, is_same};
use crate::sharing::Kind;
use crate::sharing::exchange::{Ask, Reply};
use crate::sharing::plan::{Mode, View};

impl Lease {
    /// As [`Lease::spend`], of a request that will put right at its end what it took now: see [`Lease::settle`].
    pub fn reserve(&mut self, view: &View<'_>, look: Look, cost: f64) -> Spent {
        self.forfeit_dead(view.at.time);
        let mut spent = self.spend(view, look, cost);
        spent.era = self.era;
        if look == Look::Lease && view.plan.terms.kind == Kind::Bucket {
            for (held, units) in self.held.iter_mut().zip(spent.units) {
                held.spent -= units;
                held.reserved += units;
            }
            self.due_by(self.move_by(view).max(view.at.time));
        }
        spent
    }

    /// A request that took `cost` units has ended, and has cost `actual`: what is less is given back, what is more is owed.
    pub fn settle(&mut self, view: &View<'_>, spent: &Spent, cost: f64, actual: f64) {
        let less = (cost - actual).max(0.0);
        match (spent.look, view.plan.terms.kind) {
            (Look::Lease, Kind::Bucket) => self.settle_reserved(view, spent, cost, less),
            (Look::Lease, Kind::SlidingWindow | Kind::FixedWindow) => {
                // The later window counts for longer, and leases of the one before are over with it.
                let mut charged = spent.epochs.iter().zip(spent.units).rev();
                if let Some((epoch, _)) = charged.find(|(_, units)| *units > 0.0) {
                    self.give_to_window(view, *epoch, less);
                }
            }
            (Look::Allowance, _) if spent.asks == self.asks => {
                // What was forgotten of it meanwhile is not owed any more. More would be what others owe.
                let forgotten = (view.at.time - spent.at).max(0.0) * view.forgiven_rate();
                self.unpaid = (self.unpaid - (less - forgotten).max(0.0)).max(0.0);
            }
            (Look::Allowance, _) => self.settle_taken(view, less, spent.at),
            (Look::Share, _) => self.settle_share(view, spent.at, less),
            (Look::Open | Look::Wait | Look::Deny { .. } | Look::Never, _) => {}
        }
        if actual > cost {
            self.owe(view, actual - cost);
        }
    }

    /// Gives back units that the store has charged for good at `charged_at`, but for what has come back by itself since.
    pub fn settle_taken(&mut self, view: &View<'_>, less: f64, charged_at: f64) {
        if view.plan.terms.kind == Kind::Bucket {
            let refilled = (view.at.time - charged_at).max(0.0) * view.plan.terms.rate();
            if less > refilled {
                self.return_taken(view, less - refilled);
            }
        } else if let Some(window) = self.window_at(view, charged_at) {
            self.give_to_window(view, window, less);
        }
    }

    /// What the key was charged is forgotten, here and soon everywhere; not what is outstanding, nor a lock.
    pub fn clear(&mut self, view: &View<'_>) {
        self.clears = true;
        self.unpaid = 0.0;
        if let Some(outage) = &mut self.outage {
            outage.fill(view);
        }
        self.due_by(view.at.time);
    }

    /// Units of one era are as good as each other, whoever reserved them: so those of the later epoch are given back, which live longer.
    #[expect(clippy::float_cmp, reason = "an era is told by the very number that names it")]
    fn settle_reserved(&mut self, view: &View<'_>, spent: &Spent, cost: f64, less: f64) {
        let now = view.at.time;
        self.forfeit_dead(now);
        if spent.era != self.era {
            return;
        }
        let (mut left, mut less_left) = (cost, less);
        for held in self.held.iter_mut().rev() {
            let units = held.reserved.min(left);
            let given_back = units.min(less_left);
            held.reserved -= units;
            held.units += given_back;
            held.spent += units - given_back;
            left -= units;
            less_left -= given_back;
        }
        let is_surplus = view.mode == Mode::Exact || self.held(now) > surplus_from(self.need(view));
        if self.may_lock(view) || (less > 0.0 && is_surplus) {
            self.due_by(now + LINGER_US);
        } else if self.due_at.is_infinite() {
            self.due_by(now + self.period(view));
        }
    }

    fn settle_share(&mut self, view: &View<'_>, spent_at: f64, less: f64) {
        let age = (view.at.time - spent_at).max(0.0);
        match &mut self.outage {
            Some(outage) if outage.knows(spent_at) => {
                let refilled = outage.refilled(view, age);
                if less > refilled {
                    outage.unspend(view, less - refilled);
                }
            }
            // The store was told, of the whole limit's refill.
            _ if view.plan.terms.kind == Kind::Bucket => self.settle_taken(view, less, spent_at),
            _ => {}
        }
    }

    /// Gives units back to the window that they were counted in.
    fn give_to_window(&mut self, view: &View<'_>, window: f64, units: f64) {
        let now = view.at.time;
        if units <= 0.0 {
            return;
        }
        let [older, later] = &mut self.held;
        if window < older.epoch {
            // It is too long ago to count.
            return;
        }
        if older.epoch < window && window < later.epoch {
            *older = Held {
                epoch: window,
                ..Held::default()
            };
        }
        let held = self.held_of(window, 0.0);
        if now < held.expires_at {
            held.units += units;
        } else {
            held.back += units;
        }
        self.due_by(now + LINGER_US);
    }

    /// The window in which the store has counted, or sooner, what was charged at a moment of the node's clock; `None` before it was
    /// heard of. Never a later one: what is given back to a window that has not counted it would be too much.
    fn window_at(&self, view: &View<'_>, at: f64) -> Option<f64> {
        let known = self.known?;
        let length = view.plan.terms.ttl;
        let windows = libm::floor((at - known.over_by) / length) + 1.0;
        Some(known.seen_epoch + windows)
    }

    /// By when what is reserved has to move on: half an epoch before it dies, so that there is time for a call that gets lost. Infinite if
    /// nothing is reserved.
    pub(super) fn move_by(&self, view: &View<'_>) -> f64 {
        let reserved = self.held.iter().filter(|held| held.reserved > 0.0);
        let ends = reserved.map(|held| held.expires_at - view.plan.terms.ttl / 2.0);
        ends.fold(f64::INFINITY, f64::min)
    }

    /// Whether the store has to hear soon of what was spent, since that may lock the key.
    pub(super) fn may_lock(&self, view: &View<'_>) -> bool {
        view.plan.terms.lock > 0.0 && self.held.iter().any(|held| held.spent > 0.0)
    }

    /// What was reserved when the ask was made is of the reply's epoch now; so is what became of it since.
    pub(super) fn carry(&mut self, ask: &Ask, reply: &Reply, good_until: f64, now: f64) {
        if reply.damaged {
            self.forfeit(now);
        }
        if ask.settled.iter().any(|settled| settled.reserved > 0.0) {
            // First, since the oldest makes room for it.
            self.held_of(reply.epoch, good_until);
        }
        for settled in &ask.settled {
            if settled.reserved <= 0.0 || is_same(settled.epoch, reply.epoch) {
                continue;
            }
            if !is_same(settled.epoch, reply.previous_epoch) {
                self.forfeit(now);
                continue;
            }
            let Some(from) = self.held.iter_mut().find(|held| is_same(held.epoch, settled.epoch)) else {
                continue;
            };
            let mut left = settled.reserved;
            let [reserved, spent, units] = [&mut from.reserved, &mut from.spent, &mut from.units].map(|part| {
                let moved = part.min(left);
                *part -= moved;
                left -= moved;
                moved
            });
            let to = self.held_of(reply.epoch, good_until);
            to.reserved += reserved;
            to.spent += spent;
            to.units += units;
        }
    }

    /// What is reserved of an epoch that is over may be spent by now.
    pub(super) fn forfeit_dead(&mut self, now: f64) {
        if self
            .held
            .iter()
            .any(|held| held.reserved > 0.0 && now >= held.expires_at)
        {
            self.forfeit(now);
        }
    }

    /// Of nothing that is reserved anything comes back any more: which of it still could, nobody can tell apart. It dies as spent.
    pub(super) fn forfeit(&mut self, now: f64) {
        self.era = now.max(self.era + 1.0);
        for held in &mut self.held {
            held.reserved = 0.0;
        }
    }
}

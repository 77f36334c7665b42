//! What the store's answer changes, or that there was none.

use super::demand::RECHECK_US;
use super::spend::LINGER_US;
use super::{GUARD_SHARE, GUARD_US, Held, Known, Lease, is_same};
use crate::sharing::Kind;
use crate::sharing::exchange::{Ask, Reply};
use crate::sharing::plan::{Mode, View};

impl Lease {
    /// The store has answered. `chance` is drawn evenly from 0 to below 1; `sent_at` is when the ask left, by the node's clock.
    pub fn apply(&mut self, view: &View<'_>, ask: &Ask, reply: &Reply, sent_at: f64, chance: f64) {
        if !reply.is_sane() {
            self.lost(view);
            return;
        }
        let now = view.at.time;
        self.in_flight = false;
        self.paying = 0.0;
        self.taking = 0.0;
        if let Some(outage) = self.outage.take() {
            self.unpaid = self.unpaid(view) + outage.rest(view);
            self.unpaid_at = now;
        }
        if ask.heal.is_some() {
            self.relabel(reply.epoch, now);
        }
        self.generation = self.asked_generation;
        let good_until = sent_at + reply.valid_for * (1.0 - GUARD_SHARE) - GUARD_US;
        self.carry(ask, reply, good_until, now);
        let held = if ask.holds { reply.taken } else { 0.0 };
        self.receive(reply.epoch, reply.granted + held, good_until);
        self.learn(view, reply, good_until);
        self.pace(view, ask, reply, chance);
        self.plan_after(view);
    }

    fn learn(&mut self, view: &View<'_>, reply: &Reply, good_until: f64) {
        let terms = &view.plan.terms;
        let now = view.at.time;
        let mut known = Known {
            available: reply.available,
            rate: reply.rate,
            share: reply.share,
            seen: reply.seen,
            seen_epoch: match terms.kind {
                Kind::Bucket => reply.locked_until,
                Kind::SlidingWindow | Kind::FixedWindow => reply.epoch,
            },
            at: now,
            good_until,
            over_by: now + reply.valid_for * (1.0 + GUARD_SHARE),
        };
        self.locked_until = 0.0;
        if reply.locked_until > 0.0 {
            // No lock lasts longer. What is told of the key is then true of its end.
            self.locked_until = now + reply.ready_after.min(terms.lock);
            known.at = self.locked_until;
            known.available = terms.burst;
            known.rate = 0.0;
        }
        self.known = Some(known);
    }

    /// When asking is of use again, and until when requests are refused without it.
    fn pace(&mut self, view: &View<'_>, ask: &Ask, reply: &Reply, chance: f64) {
        self.pace_by_refill(view, ask, reply, chance);
        if view.plan.terms.holds && reply.locked_until <= 0.0 {
            let latest = view.at.time + RECHECK_US * (0.75 + 0.5 * chance);
            self.next_at = self.next_at.min(latest);
            self.deny_until = self.deny_until.min(latest);
        }
    }

    /// The same where nothing comes back but by itself.
    fn pace_by_refill(&mut self, view: &View<'_>, ask: &Ask, reply: &Reply, chance: f64) {
        let terms = view.terms();
        let now = view.at.time;
        self.next_at = now;
        self.deny_until = now;
        // No debt lasts longer, and no lock.
        let most = ((terms.burst + terms.overdraft) * terms.interval).max(terms.lock);
        let ready_after = reply.ready_after.min(most);
        if view.mode == Mode::Exact {
            self.next_at = now + ready_after;
            self.deny_until = self.next_at;
            return;
        }
        let is_meagre = reply.granted < ask.want / 2.0 && reply.available < terms.burst / 4.0;
        if reply.available >= 1.0 && !is_meagre {
            return;
        }
        let rate = terms.rate();
        let paced = (0.4 / (reply.share * rate))
            .min(2.0 * view.nodes / rate)
            .min(PACED_MAX_US);
        // Spread, so that nodes that were refused together do not come back together.
        let spread = 0.75 + 0.5 * chance;
        self.next_at = now + (paced.max(view.plan.period() / 2.0) * spread).max(ready_after);
        if reply.granted < 1.0 {
            self.deny_until = self.next_at;
        }
    }

    /// Plans the next ask after a reply. What was planned while it was under way went by what was known before.
    fn plan_after(&mut self, view: &View<'_>) {
        let now = view.at.time;
        self.due_at = self.due_at.max(self.next_at);
        if self.waiting > 0.0 || (self.unpaid > 0.0 && !self.is_silent(view)) {
            self.due_by(now);
        }
        let tells_soon = self.clears || self.refund > 0.0 || self.held.iter().any(|held| held.back > 0.0);
        if tells_soon || (view.mode == Mode::Exact && self.held(now) > 0.0) || self.may_lock(view) {
            self.due_by(now + LINGER_US);
        }
        self.due_by(self.move_by(view).max(now + LINGER_US));
        if self.held.iter().any(|held| held.at(now) + held.spent > 0.0) {
            self.due_by(now + RENEWAL_PERIODS * self.period(view));
            // What is left when a window ends counts as spent in it, so it goes back a moment before.
            self.due_by(now + self.left_of_window(view) - 2.0 * view.at.round_trip - LAST_ORDERS_US);
        }
    }

    /// Nothing was done: all of it is said again. For requests that wait on, [`Lease::spend`] has to be told so again.
    pub fn unsent(&mut self, view: &View<'_>, ask: &Ask) {
        self.clears |= ask.clear;
        self.fail(view);
        for settled in &ask.settled {
            for held in &mut self.held {
                if is_same(held.epoch, settled.epoch) {
                    held.spent += settled.spent;
                    if view.plan.terms.kind == Kind::Bucket || view.at.time < held.expires_at {
                        held.units += settled.returned;
                    } else {
                        held.back += settled.returned;
                    }
                    break;
                }
            }
        }
        self.demand_since += ask.demand;
        self.refund = self.refund(view) + ask.refund;
        self.refund_at = view.at.time;
        if ask.refund > 0.0 {
            self.due_by(view.at.time + RETRY_US);
        }
    }

    /// Nobody knows whether it was done. What was let through is reported again; what was spent or given back never is: the store
    /// then believes it outstanding until its epoch dies, which costs refill and admits nothing too much.
    pub fn lost(&mut self, view: &View<'_>) {
        self.fail(view);
    }

    fn fail(&mut self, view: &View<'_>) {
        self.in_flight = false;
        self.unpaid = self.unpaid(view) + self.paying;
        self.unpaid_at = view.at.time;
        self.paying = 0.0;
        self.taking = 0.0;
        let tells_something = self.unpaid > 0.0 || self.outage.is_some() || self.clears;
        if tells_something || self.waiting + self.reserved(view.at.time) > 0.0 {
            self.due_by(view.at.time + RETRY_US);
        }
    }

    /// Adds what was granted; of three epochs the oldest is dead.
    pub(super) fn receive(&mut self, epoch: f64, units: f64, expires_at: f64) {
        if units > 0.0 {
            self.held_of(epoch, expires_at).units += units;
        }
    }

    /// What is held of an epoch, from now on good until `expires_at` at least. The oldest makes room for a new one.
    pub(super) fn held_of(&mut self, epoch: f64, expires_at: f64) -> &mut Held {
        let found = self.held.iter().position(|held| is_same(held.epoch, epoch));
        let place = found.unwrap_or_else(|| {
            if self.held[0].reserved > 0.0 {
                self.forfeit(expires_at);
            }
            self.held = [
                self.held[1],
                Held {
                    epoch,
                    ..Held::default()
                },
            ];
            1
        });
        let held = &mut self.held[place];
        held.expires_at = held.expires_at.max(expires_at);
        held
    }

    /// What is held belongs to the store's new data now, which was told of it.
    fn relabel(&mut self, epoch: f64, now: f64) {
        let units = self.held(now);
        let reserved = self.reserved(now);
        // Since the ask, which told of them as held.
        let spent = self.held.iter().map(|held| held.spent).sum();
        let ends = |held: &Held| {
            if held.at(now) + held.reserved_at(now) > 0.0 {
                held.expires_at
            } else {
                f64::INFINITY
            }
        };
        let expires_at = ends(&self.held[0]).min(ends(&self.held[1]));
        self.held = [
            Held::default(),
            Held {
                epoch,
                units,
                spent,
                reserved,
                back: 0.0,
                expires_at: if units + reserved > 0.0 { expires_at } else { 0.0 },
            },
        ];
    }
}

/// After so many periods a lease is renewed that has not run low: units that were leased when much was left, for fewer requests than were
/// expected, must not lie here while others go without. Renewals after one period cost a tenth more exchanges, after two and a half a
/// window of a hundred units on thirty nodes lost a tenth of its requests.
const RENEWAL_PERIODS: f64 = 1.5;

/// How long before the end of a window its leases go back, beside two round trips.
const LAST_ORDERS_US: f64 = 10_000.0;

/// The longest that a node which got nothing waits before it asks again.
const PACED_MAX_US: f64 = 2_000_000.0;

/// When a failed ask is made again; the store's client decides whether it is sent.
const RETRY_US: f64 = 50_000.0;

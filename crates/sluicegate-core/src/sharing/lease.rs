//! The node's side of one key: what it holds of the limit, and when it has to speak with the store.
//!
//! A state machine without a clock: [`Lease::look`] says what a request meets, [`Lease::spend`] does it, [`Lease::build`] makes the
//! next ask, and one of [`Lease::apply`], [`Lease::unsent`] and [`Lease::lost`] ends it. [`Lease::due_at`] is when to build.

use libm::{exp, floor, sqrt};

use super::Kind;
use super::exchange::{Ask, Heal, Reply, Settled};
use super::outage::Outage;
use super::plan::{Mode, OnStoreLoss, View, WAIT_US};

/// What one node knows and holds of one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lease {
    /// The older epoch first.
    held: [Held; 2],
    /// Let through and not reported; as of `unpaid_at`.
    unpaid: f64,
    unpaid_at: f64,
    /// Let through, and being reported.
    paying: f64,
    /// What requests wait for, and what of it is being asked for.
    waiting: f64,
    taking: f64,
    /// Taken for requests that then did not pass; loses what has come back by itself since `refund_at`.
    refund: f64,
    refund_at: f64,
    /// What was asked for here within one theta, fading; as of `demand_at`.
    demand: f64,
    demand_at: f64,
    /// What was asked for here since `synced_at`.
    demand_since: f64,
    synced_at: f64,
    known: Option<Known>,
    /// Until when a request that finds nothing here is refused without a question.
    deny_until: f64,
    /// Before this there is no use in asking.
    next_at: f64,
    due_at: f64,
    in_flight: bool,
    /// The most that a request cost which was refused since the last ask, though nothing said that asking is of no use.
    refused: f64,
    /// Units to be fetched for requests that cannot wait for them.
    fetches: f64,
    outage: Option<Outage>,
    /// Which data of the store `known` is of, and that of the ask under way.
    generation: u64,
    asked_generation: u64,
}

/// Units of one lease epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Held {
    epoch: f64,
    units: f64,
    spent: f64,
    expires_at: f64,
}

/// What the store last said.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    available: f64,
    rate: f64,
    share: f64,
    seen: f64,
    seen_epoch: f64,
    at: f64,
    /// Until when what was granted with it is good.
    good_until: f64,
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// It is held by lease.
    Lease,
    /// It passes on trust.
    Allowance,
    /// It passes by the node's share, while the store is away.
    Share,
    /// It passes because the store is away and the rule says so.
    Open,
    /// The store has to be asked first.
    Wait,
    /// It is refused; the span in microseconds after which it would not be, as far as is known.
    Deny {
        /// In microseconds.
        retry_after: f64,
    },
    /// It costs more than there can ever be.
    Never,
}

impl Look {
    /// Whether the request passes at once.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Lease | Self::Allowance | Self::Share | Self::Open)
    }
}

/// What was spent, for [`Lease::unspend`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    look: Look,
    epochs: [f64; 2],
    units: [f64; 2],
}

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

/// Where a key stands, for the client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Units left for this client, as far as is known: whole, at most the burst.
    pub remaining: f64,
    /// Until all would be back, in microseconds.
    pub reset_after: f64,
}

/// By how much sooner than promised a lease ends here: for clocks that run apart by one part in a thousand, which is ten times what
/// crystals do, and for the moment between the look and the spending.
pub(super) const GUARD_US: f64 = 5_000.0;
pub(super) const GUARD_SHARE: f64 = 0.001;

/// How long the report of a first request waits for a second one.
const LINGER_US: f64 = 5_000.0;

/// Requests from which on a burst is believed to be one.
const BURST_SEEN: f64 = 3.0;
const BURST_SURE: f64 = 8.0;

/// The longest lease period, in microseconds: that of windows, which last as long as they like.
const LEASE_MAX_US: f64 = 10_000_000.0;

/// After so many periods a lease is renewed that has not run low: units that were leased when much was left, for fewer requests than were
/// expected, must not lie here while others go without. Renewals after one period cost a tenth more exchanges, after two and a half a
/// window of a hundred units on thirty nodes lost a tenth of its requests.
const RENEWAL_PERIODS: f64 = 1.5;

/// While a key is idle for so many periods its lease goes back.
const IDLE_PERIODS: f64 = 2.0;

impl Lease {
    /// Of a key first seen at `now`, in microseconds of the node's clock.
    pub const fn new(now: f64) -> Self {
        const NOTHING: Held = Held {
            epoch: 0.0,
            units: 0.0,
            spent: 0.0,
            expires_at: 0.0,
        };
        Self {
            held: [NOTHING; 2],
            unpaid: 0.0,
            unpaid_at: now,
            paying: 0.0,
            waiting: 0.0,
            taking: 0.0,
            refund: 0.0,
            refund_at: now,
            demand: 0.0,
            demand_at: now,
            demand_since: 0.0,
            synced_at: now,
            known: None,
            deny_until: 0.0,
            next_at: 0.0,
            due_at: f64::INFINITY,
            in_flight: false,
            refused: 0.0,
            fetches: 0.0,
            outage: None,
            generation: 0,
            asked_generation: 0,
        }
    }

    /// When the next ask is due, in microseconds of the node's clock; infinite if none is. While one is under way, the next waits
    /// for its end.
    pub const fn due_at(&self) -> f64 {
        if self.in_flight { f64::INFINITY } else { self.due_at }
    }

    /// Whether an ask is under way.
    pub const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whether requests wait that the next ask is for.
    pub const fn has_waiters(&self) -> bool {
        self.waiting > 0.0
    }

    /// How urgent the next ask is, where not all that are due fit into one call.
    pub fn urgency(&self, view: &View<'_>) -> Urgency {
        let now = view.at.time;
        let is_needed = now - self.demand_at <= IDLE_PERIODS * self.period(view);
        if self.waiting > 0.0 {
            Urgency::Waiters
        } else if is_needed && self.held(now) < 1.0 && (self.refused > 0.0 || self.need(view) > 0.0) {
            Urgency::Exhausted
        } else if is_needed && self.held(now) < self.low_water(view) {
            Urgency::Low
        } else if self.unpaid > 0.0 {
            Urgency::Unpaid
        } else if is_needed {
            Urgency::Renewal
        } else {
            Urgency::Return
        }
    }

    /// Below so many units a lease is renewed at once.
    fn low_water(&self, view: &View<'_>) -> f64 {
        self.demand_rate(view, BURST_SURE) * (2.0 * view.at.round_trip + LOW_WATER_US)
    }

    /// Units held and not spent, at the node's time `now`.
    pub fn held(&self, now: f64) -> f64 {
        self.held.iter().map(|held| held.at(now)).sum()
    }

    /// Whether the key goes by this node's share, until the store has been told of it.
    pub const fn goes_alone(&self) -> bool {
        self.outage.is_some()
    }

    /// Units let through that the store does not know of yet.
    pub const fn unreported(&self) -> f64 {
        self.unpaid + self.paying
    }

    /// Whether forgetting the key would lose nothing: no lease, no debt, nothing under way, and what is known of it says that it is
    /// whole or is too old to matter.
    pub fn is_idle(&self, view: &View<'_>) -> bool {
        let now = view.at.time;
        let is_whole = self.known.is_none() || self.estimate(view) >= view.plan.terms.burst;
        let nothing_open = !self.in_flight && self.waiting == 0.0 && self.refund == 0.0 && self.outage.is_none();
        nothing_open
            && is_whole
            && self.held(now) == 0.0
            && self.unpaid(view) + self.paying == 0.0
            && now >= self.deny_until
    }

    /// Notes that `cost` units were asked for, whatever comes of it: to be called once for each request, before [`Lease::look`].
    pub fn note(&mut self, view: &View<'_>, cost: f64) {
        self.demand = self.demand_at(view) + cost;
        self.demand_at = view.at.time;
        self.demand_since += cost;
        if self.outage.is_none() && self.is_alone(view) && view.plan.on_store_loss == OnStoreLoss::Local {
            // At once, whatever the request then meets: what comes back meanwhile is this node's by its share.
            self.outage = Some(self.begin_outage(view));
        }
    }

    /// What a request of `cost` units meets. Changes nothing.
    pub fn look(&self, view: &View<'_>, cost: f64) -> Look {
        let terms = &view.plan.terms;
        let now = view.at.time;
        if cost > terms.burst {
            return Look::Never;
        }
        if self.held(now) >= cost {
            return Look::Lease;
        }
        if self.is_alone(view) {
            return self.look_alone(view, cost);
        }
        if now < self.deny_until {
            return Look::Deny {
                retry_after: (self.deny_until - now).max(self.ready_after(view, cost)),
            };
        }
        let has_allowance = self.unpaid(view) + self.paying + cost <= view.allowance;
        if has_allowance && self.estimate(view) >= cost.max(ALLOWANCE_FROM * terms.burst) {
            return Look::Allowance;
        }
        let ready_after = self.ready_after(view, cost);
        if may_wait(view) && self.next_at <= now && ready_after <= 0.0 {
            return Look::Wait;
        }
        Look::Deny {
            retry_after: (self.next_at - now).max(ready_after).max(1.0),
        }
    }

    /// Whether the key goes by the node's share: the store is away, too slow to wait for, or has not been told yet of the time when it
    /// was.
    fn is_alone(&self, view: &View<'_>) -> bool {
        let is_slow =
            view.mode != Mode::Hybrid && view.at.round_trip > WAIT_US && view.plan.on_store_loss != OnStoreLoss::Closed;
        view.at.is_down || is_slow || self.outage.is_some()
    }

    fn look_alone(&self, view: &View<'_>, cost: f64) -> Look {
        match view.plan.on_store_loss {
            OnStoreLoss::Open => return Look::Open,
            OnStoreLoss::Closed => {
                return Look::Deny {
                    retry_after: CLOSED_RETRY_US,
                };
            }
            OnStoreLoss::Local => {}
        }
        let outage = self.outage.unwrap_or_else(|| self.begin_outage(view));
        if outage.level(view) >= cost {
            Look::Share
        } else {
            Look::Deny {
                retry_after: outage.ready_after(view, cost),
            }
        }
    }

    fn begin_outage(&self, view: &View<'_>) -> Outage {
        let share = self.known.map_or(1.0 / view.nodes, |known| known.share);
        Outage::begin(view, share, self.estimate(view))
    }

    /// Does what [`Lease::look`] said of this request, in the same moment, and plans the next ask.
    pub fn spend(&mut self, view: &View<'_>, look: Look, cost: f64) -> Spent {
        let now = view.at.time;
        let mut spent = Spent {
            look,
            epochs: [0.0; 2],
            units: [0.0; 2],
        };
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
        match spent.look {
            Look::Lease => {
                for (epoch, units) in spent.epochs.iter().zip(spent.units) {
                    for held in &mut self.held {
                        // Reported as spent already, or of a lease that is gone: then it stays spent.
                        if is_same(held.epoch, *epoch) && held.spent >= units {
                            held.spent -= units;
                            held.units += units;
                            break;
                        }
                    }
                }
            }
            // Being reported already, it stays charged.
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
        self.unpaid = self.unpaid(view) + units;
        self.unpaid_at = view.at.time;
        self.due_by(view.at.time);
    }

    /// The store was away and is back: what is held, owed or went by the share has to be told by `at`.
    pub fn wake(&mut self, at: f64) {
        if self.known.is_some() || self.unpaid > 0.0 || self.outage.is_some() {
            self.due_by(at);
        }
    }

    /// This node leaves: what it holds goes back with the next ask, which is due at once, and nothing is wanted any more.
    pub fn retire(&mut self, now: f64) {
        self.demand = 0.0;
        self.demand_since = 0.0;
        self.demand_at = f64::MIN;
        if self.known.is_some() || self.unpaid > 0.0 {
            self.due_at = now;
        }
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
            }
            Look::Allowance => {
                if !self.is_silent(view) {
                    let plenty = self.estimate(view) > view.plan.terms.burst / 2.0;
                    let is_first = self.demand_since < BURST_SEEN;
                    self.due_by(if plenty && is_first { now + LINGER_US } else { now });
                }
            }
            Look::Wait => self.due_by(now),
            Look::Deny { .. } if now >= self.deny_until && !view.at.is_down => {
                self.refused = self.refused.max(cost);
                self.due_by(now.max(self.next_at));
            }
            Look::Share | Look::Open => self.due_by(now.max(self.next_at)),
            Look::Deny { .. } | Look::Never => {}
        }
    }

    fn due_by(&mut self, at: f64) {
        self.due_at = self.due_at.min(at);
    }

    /// Whether the key's few requests never need to be reported.
    fn is_silent(&self, view: &View<'_>) -> bool {
        let is_fresh = self
            .known
            .is_some_and(|known| view.at.time - known.at < fresh_for(view));
        let rare = self.demand_at(view) / view.plan.terms.theta * view.plan.period() < 1.0;
        // Windows forget nothing by themselves, so what passes in them has to be told.
        let forgets = view.forgiven_rate() > 0.0;
        view.allowance >= 2.0 && self.unpaid(view) <= view.allowance - 1.0 && rare && !is_fresh && forgets
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
            refund: self.refund(view),
            ..Ask::default()
        };
        self.unpaid = self.unpaid(view);
        self.unpaid_at = now;
        ask.pay = self.unpaid + self.outage.as_mut().map_or(0.0, |outage| outage.tell(view));
        ask.heal = self.heal(view);
        let is_idle = now - self.demand_at > IDLE_PERIODS * self.period(view);
        let need = self.need(view);
        if ask.heal.is_none() {
            ask.settled = self.settle(now, need, is_idle);
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
        let says_nothing = !settles && ask.pay + ask.take + ask.want + ask.refund <= 0.0 && ask.heal.is_none();
        self.refused = 0.0;
        self.fetches = 0.0;
        if says_nothing && self.outage.is_none() && !is_curious {
            if self.held(now) > 0.0 {
                // Too much for now, but not yet idle: looked at again when it may be.
                self.due_by(now + self.period(view));
            }
            return None;
        }
        self.paying = self.unpaid;
        self.unpaid = 0.0;
        self.taking = self.waiting;
        self.waiting = 0.0;
        self.refund = 0.0;
        self.demand_since = 0.0;
        self.synced_at = now;
        self.asked_generation = view.at.generation;
        self.in_flight = true;
        Some(ask)
    }

    /// What a store that holds other data than last time is told.
    fn heal(&self, view: &View<'_>) -> Option<Heal> {
        let known = self.known.filter(|_| self.generation != view.at.generation)?;
        Some(Heal {
            seen: known.seen,
            seen_epoch: known.seen_epoch,
            held: self.held(view.at.time),
        })
    }

    /// Reports what was spent, and gives back what is not needed, of the older epoch first.
    ///
    /// Not to a store that has lost its data: it counts as outstanding what this node is telling that it holds, so that to settle more
    /// would free units that are held. An epoch of the new data may have the number of an old one.
    fn settle(&mut self, now: f64, need: f64, is_idle: bool) -> [Settled; 2] {
        let held = self.held(now);
        let mut back = if is_idle {
            held
        } else if held > 1.5 * need + 1.0 {
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
                returned,
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
        self.receive(reply.epoch, reply.granted, good_until);
        self.known = Some(Known {
            available: reply.available,
            rate: reply.rate,
            share: reply.share,
            seen: reply.seen,
            seen_epoch: reply.epoch,
            at: now,
            good_until,
        });
        self.pace(view, ask, reply, chance);
        self.plan_after(view);
    }

    /// When asking is of use again, and until when requests are refused without it.
    fn pace(&mut self, view: &View<'_>, ask: &Ask, reply: &Reply, chance: f64) {
        let terms = view.terms();
        let now = view.at.time;
        self.next_at = now;
        self.deny_until = now;
        // No debt lasts longer.
        let ready_after = reply.ready_after.min((terms.burst + terms.overdraft) * terms.interval);
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
        if self.held.iter().any(|held| held.at(now) + held.spent > 0.0) {
            self.due_by(now + RENEWAL_PERIODS * self.period(view));
            // What is left when a window ends counts as spent in it, so it goes back a moment before.
            self.due_by(now + self.left_of_window(view) - 2.0 * view.at.round_trip - LAST_ORDERS_US);
        }
    }

    /// Nothing was done: all of it is said again. For requests that wait on, [`Lease::spend`] has to be told so again.
    pub fn unsent(&mut self, view: &View<'_>, ask: &Ask) {
        self.fail(view);
        for settled in &ask.settled {
            for held in &mut self.held {
                if is_same(held.epoch, settled.epoch) {
                    held.spent += settled.spent;
                    held.units += settled.returned;
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
        if self.unpaid > 0.0 || self.outage.is_some() || self.waiting > 0.0 {
            self.due_by(view.at.time + RETRY_US);
        }
    }

    /// Adds what was granted; of three epochs the oldest is dead.
    fn receive(&mut self, epoch: f64, units: f64, expires_at: f64) {
        if units <= 0.0 {
            return;
        }
        if let Some(held) = self.held.iter_mut().find(|held| is_same(held.epoch, epoch)) {
            held.units += units;
            held.expires_at = held.expires_at.max(expires_at);
            return;
        }
        self.held = [
            self.held[1],
            Held {
                epoch,
                units,
                spent: 0.0,
                expires_at,
            },
        ];
    }

    /// What is held belongs to the store's new data now, which was told of it.
    fn relabel(&mut self, epoch: f64, now: f64) {
        let units = self.held(now);
        // Since the ask, which told of them as held.
        let spent = self.held.iter().map(|held| held.spent).sum();
        let ends = |held: &Held| {
            if held.at(now) > 0.0 {
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
                expires_at: if units > 0.0 { expires_at } else { 0.0 },
            },
        ];
    }

    /// How many units the lease should hold until its next renewal: what is expected, a quarter more, and twice the spread of what comes
    /// at random.
    fn need(&self, view: &View<'_>) -> f64 {
        let rate = self.demand_rate(view, BURST_SEEN);
        let period = self.period(view).min(self.left_of_window(view));
        let expected = rate * period;
        if expected < 0.8 {
            return 0.0;
        }
        1.25 * rate * (period + 2.0 * view.at.round_trip) + 2.0 * sqrt(expected) + 1.0
    }

    /// Until leases of the present window die, as far as is known; infinite for a bucket.
    fn left_of_window(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        match self.known {
            Some(known) if terms.kind != Kind::Bucket => {
                let windows = (view.at.time - known.good_until) / terms.ttl;
                (floor(windows) + 1.0 - windows) * terms.ttl
            }
            _ => f64::INFINITY,
        }
    }

    /// What is asked for here, in units a microsecond; a burst of at least `seen` units since the last ask counts at once.
    fn demand_rate(&self, view: &View<'_>, seen: f64) -> f64 {
        let smooth = self.demand_at(view) / view.plan.terms.theta;
        if self.demand_since < seen {
            return smooth;
        }
        let span = (view.at.time - self.synced_at).max(LINGER_US);
        smooth.max(self.demand_since / span)
    }

    /// How long the lease should last: longer where much is left.
    fn period(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        let period = view.plan.period();
        let available = self.known.map_or(terms.burst, |known| known.available);
        if available <= terms.burst / 2.0 {
            return period;
        }
        let rate = self.demand_at(view) / terms.theta;
        let most = match terms.kind {
            Kind::Bucket => 0.8 * terms.ttl,
            // As of a bucket with the same limit: an epoch of that is half of what a window is.
            Kind::SlidingWindow | Kind::FixedWindow => 0.4 * terms.ttl,
        };
        let most = most.min(LEASE_MAX_US).max(period);
        (8.0 / rate).clamp(period, most)
    }

    fn demand_at(&self, view: &View<'_>) -> f64 {
        fade(self.demand, view.at.time - self.demand_at, view.plan.terms.theta)
    }

    /// Units let through and not reported, less what may be forgotten of them.
    fn unpaid(&self, view: &View<'_>) -> f64 {
        let age = (view.at.time - self.unpaid_at).max(0.0);
        let terms = &view.plan.terms;
        if terms.kind != Kind::Bucket && age > 2.0 * terms.ttl {
            // Of a window that no longer counts.
            return 0.0;
        }
        (self.unpaid - view.forgiven_rate() * age).max(0.0)
    }

    fn refund(&self, view: &View<'_>) -> f64 {
        let age = (view.at.time - self.refund_at).max(0.0);
        (self.refund - view.plan.terms.rate() * age).max(0.0)
    }

    /// Units that the store is believed to have left.
    fn estimate(&self, view: &View<'_>) -> f64 {
        let terms = &view.plan.terms;
        let Some(known) = self.known else {
            return terms.burst;
        };
        let age = (view.at.time - known.at).max(0.0);
        let grown = known.available + terms.rate() * age;
        if age >= fresh_for(view) {
            return grown.min(terms.burst);
        }
        let taken = known.rate * terms.theta * (1.0 - exp(-age / terms.theta));
        (grown - taken).min(terms.burst)
    }

    /// Until `cost` units are believed to be there.
    fn ready_after(&self, view: &View<'_>, cost: f64) -> f64 {
        let terms = &view.plan.terms;
        let age = self.known.map_or(0.0, |known| view.at.time - known.at);
        let available = self.known.map_or(terms.burst, |known| known.available) + terms.rate() * age.max(0.0);
        ((cost - available) * terms.interval).max(0.0)
    }

    /// What the client is told of the key.
    pub fn outlook(&self, view: &View<'_>) -> Outlook {
        let terms = &view.plan.terms;
        let left = match &self.outage {
            Some(outage) => outage.level(view),
            None => self.estimate(view).max(0.0) - self.unpaid(view) - self.paying,
        };
        let remaining = floor((self.held(view.at.time) + left.max(0.0)).min(terms.burst)).max(0.0);
        Outlook {
            remaining,
            reset_after: (terms.burst - remaining) * terms.interval,
        }
    }
}

/// From which part of the burst on requests pass on trust: below it the limit is as good as used up.
const ALLOWANCE_FROM: f64 = 0.05;

/// The low water of a lease, beside two round trips: the longest that a due ask may lie before it is sent.
const LOW_WATER_US: f64 = 2_000.0;

/// How long before the end of a window its leases go back, beside two round trips.
const LAST_ORDERS_US: f64 = 10_000.0;

/// The longest that a node which got nothing waits before it asks again.
const PACED_MAX_US: f64 = 2_000_000.0;

/// What a client is told while a rule is closed for want of the store: about as long as a fail-over takes.
const CLOSED_RETRY_US: f64 = 1_000_000.0;

/// When a failed ask is made again; the store's client decides whether it is sent.
const RETRY_US: f64 = 50_000.0;

/// How long the store's last word is taken for more than a start: three times the limit's own time, at least three seconds.
fn fresh_for(view: &View<'_>) -> f64 {
    3.0 * view.plan.terms.whole().max(1_000_000.0)
}

/// Whether requests wait for the store. Where it is too slow for that and yet must be asked, leases are fetched ahead.
fn may_wait(view: &View<'_>) -> bool {
    match view.mode {
        Mode::Exact => true,
        Mode::Leased => view.at.round_trip <= WAIT_US,
        Mode::Hybrid => false,
    }
}

/// An average after a span; most spans are far below theta, and the first terms of the series are exact to 10⁻⁷ there.
fn fade(value: f64, span: f64, theta: f64) -> f64 {
    let part = span.max(0.0) / theta;
    if part < 0.005 {
        return value * (1.0 - part + part * part / 2.0);
    }
    value * exp(-part)
}

#[expect(
    clippy::float_cmp,
    reason = "epochs are told by whole numbers below 2⁵³, and zero is none"
)]
fn is_same(epoch: f64, other: f64) -> bool {
    epoch == other && epoch != 0.0
}

impl Held {
    fn at(&self, now: f64) -> f64 {
        if now < self.expires_at { self.units } else { 0.0 }
    }
}

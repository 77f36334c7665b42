//! The node's side of one key: what it holds of the limit, and when it has to speak with the store.
//!
//! A state machine without a clock: [`Lease::note`] hears of a request, [`Lease::look`] says what it meets, [`Lease::spend`] does that,
//! [`Lease::build`] makes the next ask, and one of [`Lease::apply`], [`Lease::unsent`] and [`Lease::lost`] ends it. [`Lease::due_at`] is when
//! to build.
//!
//! | file | is |
//! | --- | --- |
//! | `look` | what a request meets, and what its client is told |
//! | `spend` | what it takes, and what comes back of that |
//! | `reserve` | what it takes until its end, and then puts right |
//! | `demand` | what is expected, owed and believed to be left |
//! | `queue` | when it leaves, where requests leave one after another |
//! | `ask` | what the store is told and asked for |
//! | `reply` | what its answer changes, or that there was none |

mod ask;
mod demand;
mod look;
mod queue;
mod reply;
mod reserve;
mod spend;

use super::outage::Outage;
use super::plan::View;

pub use ask::Urgency;
pub use look::{Look, Outlook};
pub use queue::{Place, TooLate};
pub use spend::Spent;

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
    /// What was asked for here since `synced_at`, and by how many requests.
    demand_since: f64,
    requests_since: f64,
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
    /// Until when all are refused, since the key is locked.
    locked_until: f64,
    /// Whether the store is to be told that the key is as never seen.
    clears: bool,
    /// Since when all that is reserved is known to be outstanding; what was reserved before it may be spent by now, and never comes back.
    era: f64,
    /// When the last unit that has a place is through, where requests leave one after another: this node's TAT.
    queue_ends_at: f64,
    /// Which data of the store `known` is of, and that of the ask under way.
    generation: u64,
    asked_generation: u64,
    /// Asks made so far, round and round.
    asks: u32,
}

/// Units of one lease epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Held {
    epoch: f64,
    units: f64,
    spent: f64,
    /// Held by requests until they end; only of a bucket.
    reserved: f64,
    /// To be given back to a window, also after its end.
    back: f64,
    expires_at: f64,
}

/// What the store last said.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    available: f64,
    rate: f64,
    share: f64,
    seen: f64,
    /// As in [`Heal::seen_epoch`](super::Heal::seen_epoch).
    seen_epoch: f64,
    /// When; of a key that is locked, when that will be over and it is as never seen.
    at: f64,
    /// Until when what was granted with it is good.
    good_until: f64,
    /// By when, at the latest, the epoch or window of that is over at the store.
    over_by: f64,
}

impl Lease {
    /// Of a key first seen at `now`, in microseconds of the node's clock.
    pub const fn new(now: f64) -> Self {
        const NOTHING: Held = Held {
            epoch: 0.0,
            units: 0.0,
            spent: 0.0,
            reserved: 0.0,
            back: 0.0,
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
            requests_since: 0.0,
            synced_at: now,
            known: None,
            deny_until: 0.0,
            next_at: 0.0,
            due_at: f64::INFINITY,
            in_flight: false,
            refused: 0.0,
            fetches: 0.0,
            outage: None,
            locked_until: 0.0,
            clears: false,
            era: if now > 1.0 { now } else { 1.0 },
            queue_ends_at: 0.0,
            generation: 0,
            asked_generation: 0,
            asks: 0,
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

    /// Whether a request was refused since the last ask that its answer might have let pass.
    pub const fn has_refused(&self) -> bool {
        self.refused > 0.0
    }

    /// Units held and not spent, at the node's time `now`.
    pub fn held(&self, now: f64) -> f64 {
        self.held.iter().map(|held| held.at(now)).sum()
    }

    /// Units that requests hold until they end, at the node's time `now`.
    pub fn reserved(&self, now: f64) -> f64 {
        self.held.iter().map(|held| held.reserved_at(now)).sum()
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
        // A share that is whole again owes nothing, and would begin as full.
        let owes_nothing = self.outage.is_none_or(|outage| outage.is_whole(view));
        let nothing_open = !self.in_flight && self.waiting == 0.0 && self.refund(view) == 0.0 && owes_nothing;
        nothing_open
            && is_whole
            && !self.clears
            && self.held(now) + self.reserved(now) == 0.0
            && self.held.iter().all(|held| held.back == 0.0)
            && self.unpaid(view) + self.paying == 0.0
            && now >= self.deny_until.max(self.locked_until).max(self.queue_ends_at)
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
        self.requests_since = 0.0;
        self.demand_at = f64::MIN;
        if self.known.is_some() || self.unpaid > 0.0 {
            self.due_at = now;
        }
    }

    fn due_by(&mut self, at: f64) {
        self.due_at = self.due_at.min(at);
    }
}

impl Held {
    fn at(&self, now: f64) -> f64 {
        if now < self.expires_at { self.units } else { 0.0 }
    }

    fn reserved_at(&self, now: f64) -> f64 {
        if now < self.expires_at { self.reserved } else { 0.0 }
    }
}

#[expect(
    clippy::float_cmp,
    reason = "epochs are told by whole numbers below 2⁵³, and zero is none"
)]
fn is_same(epoch: f64, other: f64) -> bool {
    epoch == other && epoch != 0.0
}

/// By how much sooner than promised a lease ends here: for clocks that run apart by one part in a thousand, which is ten times what
/// crystals do, and for the moment between the look and the spending.
pub(super) const GUARD_US: f64 = 5_000.0;
pub(super) const GUARD_SHARE: f64 = 0.001;

#[cfg(test)]
mod tests;

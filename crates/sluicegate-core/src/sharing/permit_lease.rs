//! The node's side of one key's permits: how many it may give out, how many it has given out, and when it has to renew them.
//!
//! The same shape as [`super::Lease`]: [`PermitLease::look`], [`PermitLease::spend`] and [`PermitLease::release`] on the path of a request;
//! [`PermitLease::build`] makes the next ask, and one of [`PermitLease::apply`] and [`PermitLease::failed`] ends it. A request that waits
//! is looked at again after each of them; nothing is taken for it by name.

use libm::{ceil, floor};

use super::permits::{Ask, Reply};
use super::plan::{Now, OnStoreLoss, WAIT_US};
use super::{Look, lease::GUARD_SHARE, lease::GUARD_US};

/// How permits are shared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PermitPlan {
    /// Most permits in use over all nodes: at least one, a whole number.
    pub limit: f64,
    /// What is answered while the store is away.
    pub on_store_loss: OnStoreLoss,
    /// How many nodes can see one key; zero where that is as many as live.
    pub fanout: f64,
}

impl PermitPlan {
    /// What a decision goes by. `changed_at` is when this node saw the key's part of the store change to other data, or come back after
    /// more than a second away, in microseconds of its clock; negative infinity if it never did. Parts of nodes may have ended
    /// meanwhile with streams open, so that nobody gets new permits until all have had the time to tell.
    pub fn view(&self, at: Now, changed_at: f64) -> PermitView<'_> {
        PermitView {
            plan: self,
            nodes: at.nodes.max(self.fanout).max(1.0),
            at,
            changed_at,
        }
    }
}

/// A plan, for the nodes there are, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct PermitView<'p> {
    /// The plan.
    pub plan: &'p PermitPlan,
    /// Nodes that share it.
    pub nodes: f64,
    /// The moment.
    pub at: Now,
    /// When the store's data was seen to change.
    pub changed_at: f64,
}

impl PermitView<'_> {
    /// Whether others may hold permits that the store has forgotten: until the last grant of the former data has ended.
    fn learning(&self) -> bool {
        self.at.time < self.changed_at + TTL_US
    }
}

/// What one node knows and holds of one key's permits.
///
/// Permits do not come back by themselves. So a node's part has an end, which it moves forward each second; it stops giving out
/// permits a moment before that end, and only after it may others have them. What is in use then stays in use: a stream that is open
/// is a fact, and is told as one as soon as the store can be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PermitLease {
    in_use: f64,
    granted: f64,
    expires_at: f64,
    /// What requests wait for.
    waiting: f64,
    /// The most in use since the last ask, and what is expected to be.
    high: f64,
    expected: f64,
    next_at: f64,
    due_at: f64,
    in_flight: bool,
    /// The most that a request wanted which was refused since the last ask.
    refused: f64,
    /// Whether nobody could have had one more.
    is_scarce: bool,
}

/// How long a node's part lasts, in microseconds: two renewals may be lost before it ends, and the permits of a node that died are
/// missed for no longer.
const TTL_US: f64 = 3_000_000.0;

/// How often it is renewed, in microseconds.
const RENEWAL_US: f64 = 1_000_000.0;

/// How fast what is expected falls towards what is in use, at each renewal: by half in three seconds. It rises at once.
const FALLS_BY: f64 = 0.2;

/// How much more than the most that was in use a node keeps.
const SPARE: f64 = 0.25;

/// How long a node that got too little waits before it asks again, for each node, and at least and at most, in microseconds: all of them
/// together ask five hundred times a second for a key that is used up.
const PACE_US: (f64, f64, f64) = (2_000.0, 20_000.0, 1_000_000.0);

/// When a failed ask is made again, in microseconds.
const RETRY_US: f64 = 100_000.0;

/// What a client is told while a rule is closed for want of the store, and while nobody can know when a permit comes back.
const UNKNOWN_US: f64 = 1_000_000.0;

impl PermitLease {
    /// Of a key first seen now.
    pub const fn new() -> Self {
        Self {
            in_use: 0.0,
            granted: 0.0,
            expires_at: 0.0,
            waiting: 0.0,
            high: 0.0,
            expected: 0.0,
            next_at: 0.0,
            due_at: f64::INFINITY,
            in_flight: false,
            refused: 0.0,
            is_scarce: false,
        }
    }

    /// When the next ask is due, in microseconds of the node's clock; infinite if none is. While one is under way, the next waits
    /// for its end.
    pub const fn due_at(&self) -> f64 {
        if self.in_flight { f64::INFINITY } else { self.due_at }
    }

    /// Whether requests wait that the next ask is for.
    pub const fn has_waiters(&self) -> bool {
        self.waiting > 0.0
    }

    /// Has `cost` permits fetched for a request to come, by one that cannot wait for them.
    pub fn fetch(&mut self, view: &PermitView<'_>, cost: f64) {
        self.refused = self.refused.max(cost);
        self.due_by(view.at.time.max(self.next_at));
    }

    /// Whether an ask is under way.
    pub const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Permits that are given out.
    pub const fn in_use(&self) -> f64 {
        self.in_use
    }

    /// Permits that may be given out in all, at the node's time `now`.
    pub fn granted(&self, now: f64) -> f64 {
        if now < self.expires_at { self.granted } else { 0.0 }
    }

    /// Whether forgetting the key would lose nothing.
    pub const fn is_idle(&self) -> bool {
        self.in_use == 0.0 && self.granted == 0.0 && self.waiting == 0.0 && !self.in_flight
    }

    /// What a request for `cost` permits meets. Changes nothing.
    pub fn look(&self, view: &PermitView<'_>, cost: f64) -> Look {
        let now = view.at.time;
        if cost > view.plan.limit {
            return Look::Never;
        }
        if self.in_use + cost <= self.granted(now) {
            return Look::Lease;
        }
        let is_slow = view.at.round_trip > WAIT_US;
        if view.at.is_down {
            return self.look_alone(view, cost);
        }
        if now >= self.next_at && !is_slow {
            return Look::Wait;
        }
        Look::Deny {
            retry_after: (self.next_at - now).max(view.at.round_trip),
        }
    }

    /// While the store is away a node keeps to what it was granted last, or to an even part of the limit if that is more: a node that the
    /// first request reaches now is not shut out. If all are cut off, that is at most twice the limit in use; if some are, others may be
    /// granted what those held.
    fn look_alone(&self, view: &PermitView<'_>, cost: f64) -> Look {
        let most = self.granted.max(floor(view.plan.limit / view.nodes));
        match view.plan.on_store_loss {
            OnStoreLoss::Open => Look::Open,
            OnStoreLoss::Local if self.in_use + cost <= most => Look::Share,
            OnStoreLoss::Local | OnStoreLoss::Closed => Look::Deny {
                retry_after: UNKNOWN_US,
            },
        }
    }

    /// Does what [`PermitLease::look`] said of this request, in the same moment, and plans the next ask.
    pub fn spend(&mut self, view: &PermitView<'_>, look: Look, cost: f64) {
        let now = view.at.time;
        match look {
            Look::Lease | Look::Share | Look::Open | Look::Allowance => {
                self.in_use += cost;
                self.high = self.high.max(self.in_use);
                self.due_by(now + RENEWAL_US);
            }
            Look::Wait => {
                self.waiting += cost;
                self.due_by(now);
            }
            Look::Deny { .. } => {
                self.refused = self.refused.max(cost);
                self.due_by(now.max(self.next_at));
            }
            Look::Never => {}
        }
    }

    /// A permit is not used any more.
    pub fn release(&mut self, cost: f64) {
        self.in_use = (self.in_use - cost).max(0.0);
    }

    /// A request waits no longer: it was looked at again, or its time is over.
    pub fn leave(&mut self, cost: f64) {
        self.waiting = (self.waiting - cost).max(0.0);
    }

    /// Makes the next ask; `None` if there is nothing to say or one is under way. `node` is the number that no other node has.
    pub fn build(&mut self, view: &PermitView<'_>, node: f64) -> Option<Ask> {
        if self.in_flight {
            return None;
        }
        let now = view.at.time;
        self.due_at = f64::INFINITY;
        self.expect();
        let wanted = self.in_use + self.waiting.max(core::mem::take(&mut self.refused));
        let target = wanted.max(ceil(self.expected)).min(view.plan.limit.max(self.in_use));
        if target == 0.0 && self.granted == 0.0 {
            return None;
        }
        let learning = view.learning();
        let in_use = if learning {
            // The grants of the data that is gone were within the limit, so all of them may be told as facts.
            self.in_use.max(self.granted(now))
        } else {
            // From now on the rest is given back, whether the reply comes or not.
            self.granted = self.granted.min(target);
            self.in_use
        };
        self.in_flight = true;
        Some(Ask {
            node,
            in_use,
            target: target.max(in_use),
            limit: view.plan.limit,
            ttl: TTL_US,
            learning,
        })
    }

    /// The store has answered. `sent_at` is when the ask left, by the node's clock; `chance` is drawn evenly from 0 to below 1.
    pub fn apply(&mut self, view: &PermitView<'_>, ask: &Ask, reply: &Reply, sent_at: f64, chance: f64) {
        let is_sane = reply.granted.is_finite() && reply.granted >= 0.0 && reply.valid_for.is_finite();
        if !is_sane {
            self.failed(view);
            return;
        }
        let now = view.at.time;
        self.in_flight = false;
        self.granted = floor(reply.granted);
        self.expires_at = sent_at + reply.valid_for * (1.0 - GUARD_SHARE) - GUARD_US;
        self.is_scarce = reply.free < 1.0;
        self.next_at = now;
        if self.granted < ask.target {
            let pace = (PACE_US.0 * view.nodes).clamp(PACE_US.1, PACE_US.2);
            self.next_at = now + pace * (0.75 + 0.5 * chance);
        }
        if self.granted > 0.0 || self.in_use > 0.0 {
            self.due_by(now + RENEWAL_US);
        }
        if self.waiting > 0.0 {
            self.due_by(self.next_at);
        }
    }

    /// The ask failed, whether it was done or not. What it gave back stays given back; what it may have got ends with its time.
    pub fn failed(&mut self, view: &PermitView<'_>) {
        self.in_flight = false;
        if self.granted > 0.0 || self.in_use > 0.0 || self.waiting > 0.0 {
            self.due_by(view.at.time + RETRY_US);
        }
    }

    /// The store was away and is back: what is in use has to be told by `at`.
    pub fn wake(&mut self, at: f64) {
        if !self.is_idle() {
            self.due_by(at);
        }
    }

    fn due_by(&mut self, at: f64) {
        self.due_at = self.due_at.min(at);
    }

    /// Follows the most that was in use, with something to spare: upwards at once, downwards slowly, and to nothing in the end. Where
    /// others go without, nothing is spared.
    fn expect(&mut self) {
        let high = core::mem::replace(&mut self.high, self.in_use);
        let wanted = high * (1.0 + SPARE);
        self.expected = if self.is_scarce {
            high
        } else if wanted >= self.expected {
            wanted
        } else {
            self.expected + (wanted - self.expected) * FALLS_BY
        };
        if self.expected < 0.5 {
            self.expected = 0.0;
        }
    }
}

impl Default for PermitLease {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "permits are whole numbers")]
mod tests {
    use super::*;

    const PLAN: PermitPlan = PermitPlan {
        limit: 100.0,
        on_store_loss: OnStoreLoss::Local,
        fanout: 0.0,
    };

    const NEVER: f64 = f64::NEG_INFINITY;

    fn at(time: f64) -> Now {
        Now {
            time,
            round_trip: 1_000.0,
            nodes: 10.0,
            is_down: false,
            generation: 1,
        }
    }

    fn down(time: f64) -> Now {
        Now {
            is_down: true,
            ..at(time)
        }
    }

    /// A lease that was granted `granted` permits at time zero.
    fn granted(granted: f64) -> PermitLease {
        let mut lease = PermitLease::new();
        let view = PLAN.view(at(0.0), NEVER);
        lease.spend(&view, Look::Wait, granted);
        let ask = lease.build(&view, 1.0).expect("a request waits");
        let reply = Reply {
            granted,
            valid_for: TTL_US,
            free: 50.0,
            damaged: false,
        };
        lease.apply(&view, &ask, &reply, 0.0, 0.5);
        lease.leave(granted);
        lease
    }

    #[test]
    fn permits_are_given_out_until_a_moment_before_their_part_ends() {
        let lease = granted(3.0);
        let looks_at = |time| lease.look(&PLAN.view(at(time), NEVER), 3.0);
        assert_eq!(looks_at(0.0), Look::Lease);
        assert_eq!(looks_at(TTL_US - 10_000.0), Look::Lease);
        assert_ne!(looks_at(TTL_US - 7_000.0), Look::Lease);
        assert_eq!(lease.look(&PLAN.view(at(0.0), NEVER), 101.0), Look::Never);
    }

    #[test]
    fn while_the_store_is_away_a_node_keeps_to_its_last_grant_or_an_even_part() {
        let much_later = PLAN.view(down(1e9), NEVER);
        let mut lease = granted(30.0);
        assert_eq!(lease.look(&much_later, 30.0), Look::Share);
        lease.spend(&much_later, Look::Share, 30.0);
        assert!(!lease.look(&much_later, 1.0).passes());
        let cold = PermitLease::new();
        assert_eq!(cold.look(&much_later, 10.0), Look::Share);
        assert!(!cold.look(&much_later, 11.0).passes());

        let says = |on_store_loss| {
            let plan = PermitPlan { on_store_loss, ..PLAN };
            cold.look(&plan.view(down(1e9), NEVER), 50.0).passes()
        };
        assert!(says(OnStoreLoss::Open));
        assert!(!says(OnStoreLoss::Closed));
    }

    #[test]
    fn a_store_with_other_data_is_told_what_is_held_and_asked_for_no_more() {
        let mut lease = granted(30.0);
        lease.spend(&PLAN.view(at(0.0), NEVER), Look::Lease, 10.0);
        let view = PLAN.view(at(100.0), 50.0);
        let ask = lease.build(&view, 1.0).expect("something is held");
        assert!(ask.learning);
        assert_eq!((ask.in_use, ask.target), (30.0, 30.0));
        lease.failed(&view);
        let later = PLAN.view(at(50.0 + TTL_US), 50.0);
        let ask = lease.build(&later, 1.0).expect("something is held");
        assert!(!ask.learning);
        assert_eq!(ask.in_use, 10.0);
    }

    #[test]
    fn what_was_not_used_goes_back_little_by_little_and_at_once_where_others_go_without() {
        let renew = |lease: &mut PermitLease, now: f64, free: f64| {
            let view = PLAN.view(at(now), NEVER);
            let ask = lease.build(&view, 1.0)?;
            let reply = Reply {
                granted: ask.target,
                valid_for: TTL_US,
                free,
                damaged: false,
            };
            lease.apply(&view, &ask, &reply, now, 0.5);
            Some(ask.target)
        };
        let mut lease = granted(40.0);
        lease.spend(&PLAN.view(at(0.0), NEVER), Look::Lease, 40.0);
        lease.release(40.0);
        assert_eq!(renew(&mut lease, 1e6, 50.0), Some(50.0));
        assert_eq!(renew(&mut lease, 2e6, 50.0), Some(40.0));
        assert_eq!(renew(&mut lease, 3e6, 0.0), Some(32.0));
        assert_eq!(renew(&mut lease, 4e6, 0.0), Some(0.0));
        assert_eq!(renew(&mut lease, 5e6, 0.0), None);
        assert!(lease.is_idle() && lease.due_at().is_infinite());
    }

    #[test]
    fn a_reply_that_no_store_makes_counts_as_none() {
        for granted_now in [f64::NAN, f64::INFINITY, -1.0] {
            let mut lease = granted(5.0);
            let view = PLAN.view(at(1.0), NEVER);
            lease.spend(&view, Look::Lease, 5.0);
            let ask = lease.build(&view, 1.0).expect("something is in use");
            let reply = Reply {
                granted: granted_now,
                ..Reply::default()
            };
            lease.apply(&view, &ask, &reply, 1.0, 0.5);
            assert_eq!(lease.granted(2.0), 5.0);
            assert!(lease.due_at() < 2e6);
        }
    }
}

//! What a request meets, and what its client is told.

use libm::floor;

use super::Lease;
use crate::sharing::outage::Outage;
use crate::sharing::plan::{Mode, OnStoreLoss, View, WAIT_US};

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

/// Where a key stands, for the client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Units left for this client, as far as is known: whole, at most the burst.
    pub remaining: f64,
    /// Until all would be back, in microseconds.
    pub reset_after: f64,
}

impl Lease {
    /// Notes that `cost` units were asked for, whatever comes of it: to be called once for each request, before [`Lease::look`].
    pub fn note(&mut self, view: &View<'_>, cost: f64) {
        self.demand = self.demand_at(view) + cost;
        self.demand_at = view.at.time;
        self.demand_since += cost;
        self.requests_since += 1.0;
        if self.outage.is_none() && self.is_alone(view) && view.plan.on_store_loss == OnStoreLoss::Local {
            // At once, whatever the request then meets: what comes back meanwhile is this node's by its share.
            self.outage = Some(self.begin_outage(view));
        }
    }

    /// What a request of `cost` units meets. Changes nothing.
    pub fn look(&self, view: &View<'_>, cost: f64) -> Look {
        let look = self.look_at_units(view, cost);
        match (look, self.too_late(view, cost)) {
            // Where nothing is limited nothing waits.
            (_, None) | (Look::Open | Look::Never, _) => look,
            (Look::Deny { retry_after }, Some(too_late)) => Look::Deny {
                retry_after: retry_after.max(too_late.retry_after),
            },
            (_, Some(too_late)) => Look::Deny {
                retry_after: too_late.retry_after,
            },
        }
    }

    fn look_at_units(&self, view: &View<'_>, cost: f64) -> Look {
        let terms = &view.plan.terms;
        let now = view.at.time;
        if cost > terms.burst {
            return Look::Never;
        }
        if now < self.locked_until {
            return Look::Deny {
                retry_after: self.locked_until - now,
            };
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
        if may_wait(view) && self.next_at <= now && (ready_after <= 0.0 || self.is_stale(view)) {
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

    pub(super) fn begin_outage(&self, view: &View<'_>) -> Outage {
        // A word that is older than what demand is averaged over is as good as none: with it, each node of a quiet key would remember
        // when it alone was asking, and all together would have many times the limit.
        let known = self
            .known
            .filter(|known| view.at.time - known.at < view.plan.terms.theta);
        let share = known.map_or(1.0 / view.nodes, |known| known.share);
        Outage::begin(view, share, self.estimate(view))
    }

    /// What the client is told of the key.
    pub fn outlook(&self, view: &View<'_>) -> Outlook {
        let terms = &view.plan.terms;
        if view.at.time < self.locked_until {
            return Outlook {
                remaining: 0.0,
                reset_after: self.locked_until - view.at.time,
            };
        }
        let left = match &self.outage {
            Some(outage) => outage.level(view),
            None => self.estimate(view).max(0.0) - self.unpaid(view) - self.paying,
        };
        let left = (self.held(view.at.time) + left.max(0.0)).min(terms.burst);
        let remaining = floor(left.min(self.room(view, 0.0))).max(0.0);
        Outlook {
            remaining,
            reset_after: (terms.burst - remaining) * terms.interval,
        }
    }
}

/// Whether requests wait for the store. Where it is too slow for that and yet must be asked, leases are fetched ahead.
pub(super) fn may_wait(view: &View<'_>) -> bool {
    match view.mode {
        Mode::Exact => true,
        Mode::Leased => view.at.round_trip <= WAIT_US,
        Mode::Hybrid => false,
    }
}

/// From which part of the burst on requests pass on trust: below it the limit is as good as used up.
const ALLOWANCE_FROM: f64 = 0.05;

/// What a client is told while a rule is closed for want of the store: about as long as a fail-over takes.
const CLOSED_RETRY_US: f64 = 1_000_000.0;

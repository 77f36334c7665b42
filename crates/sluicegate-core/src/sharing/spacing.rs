//! Requests that leave one after another: what a leaky bucket is on several nodes.
//!
//! To the store it is a token bucket like any other: a leaky bucket is the same meter, and what it charges leaves at `max(TAT, now)`. So
//! the store's arithmetic knows nothing of queues. What a node does with the answer depends on the mode:
//!
//! | mode | when a charged request leaves |
//! | --- | --- |
//! | `exact` | at its place in the TAT, counted from the answer's arrival: one queue for all nodes, as even as round trips are |
//! | others | one interval, divided by this node's share, after the one before it here: the leases bound the rate, each node is even by itself |

use core::time::Duration;

use super::plan::{Plan, Sharing, WAIT_US};
use super::{Mode, View};

/// How the requests of a limit wait for their turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// In microseconds.
    max_wait: f64,
    free: f64,
    /// The limit's burst, of which the plan may have only that part which can be had in time.
    burst: f64,
}

impl Spacing {
    /// Nobody waits longer than `max_wait`, and the first `free` units not at all: as in a
    /// [`LeakyBucket`](crate::algorithm::LeakyBucket).
    #[expect(clippy::cast_precision_loss, reason = "rounding to 53 bits is 10⁻¹⁶ of the number")]
    pub fn new(max_wait: Duration, free: u64) -> Self {
        Self {
            max_wait: max_wait.as_secs_f64() * 1e6,
            free: free as f64,
            burst: 0.0,
        }
    }

    /// The limit's whole burst.
    pub(super) const fn burst(&self) -> f64 {
        self.burst
    }
}

impl Plan {
    /// The same limit, whose requests leave one after another.
    ///
    /// An exact one then has no more units at once than leave in time: `1 + free + max_wait/T`, or as many as one request costs if that
    /// is more. So the store itself refuses who would wait too long, and nothing has to be given back by which another node's
    /// request, charged meanwhile, would stand where the next one will.
    #[must_use]
    pub fn spaced(mut self, spacing: Spacing) -> Self {
        let burst = self.terms.burst;
        self.spacing = Some(Spacing { burst, ..spacing });
        if self.sharing == Sharing::Exact {
            let in_time = 1.0 + spacing.free + spacing.max_wait / self.terms.interval;
            self.terms.burst = in_time.max(self.cost_max).min(burst);
        }
        self
    }
}

impl Spacing {
    /// How long the first units are let go ahead of their turn, in microseconds.
    pub(super) fn ahead(&self, view: &View<'_>) -> f64 {
        self.free * view.plan.terms.interval
    }

    /// The longest wait here, in microseconds. Where the store gives places away, answers that took their time push the node's queue back
    /// behind the store's; who was charged in time is not refused for that.
    pub(super) fn patience(&self, view: &View<'_>) -> f64 {
        match view.mode {
            Mode::Exact => self.max_wait + WAIT_US,
            Mode::Leased | Mode::Hybrid => self.max_wait,
        }
    }
}

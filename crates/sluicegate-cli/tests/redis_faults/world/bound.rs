//! What a shared limit is held to: what the product itself prints for it, and what the test cannot see.

use std::num::NonZeroU32;
use std::time::Duration;

use sluicegate::Limit;
use sluicegate_core::sharing::excess::{Fleet, Held, Outage};
use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::history::Bound;

/// A limit that nodes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    /// As policies write it: `100/s burst 200`.
    pub(crate) limit: &'static str,
    /// How it is shared, and what that comes to for the number of nodes that the test starts.
    pub(crate) mode: Mode,
    pub(crate) on_store_loss: OnStoreLoss,
}

/// What happened that the bound has a term for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mishaps {
    /// Times that nodes went by their share, since the store was away.
    pub(crate) outages: u64,
    /// Units, for each time that the store lost its data.
    pub(crate) lost: u64,
}

impl Shared {
    /// A limit that goes by the nodes' shares while the store is away.
    pub(crate) const fn new(limit: &'static str, mode: Mode) -> Self {
        Self {
            limit,
            mode,
            on_store_loss: OnStoreLoss::Local,
        }
    }

    /// The same, by another failure policy.
    pub(crate) const fn on_store_loss(self, on_store_loss: OnStoreLoss) -> Self {
        Self { on_store_loss, ..self }
    }

    /// Units at once, and units a second.
    pub(crate) fn burst_and_rate(&self) -> (u64, f64) {
        let limit: Limit = self.limit.parse().expect("a limit");
        let count = u32::try_from(limit.count().get()).expect("a count");
        (limit.burst().get(), f64::from(count) / limit.period().as_secs_f64())
    }

    /// The rule, as an entry of `rules:`.
    pub(crate) fn rule(&self) -> String {
        let limit = self.limit;
        let sharing = match self.mode {
            Mode::Exact => "exact",
            Mode::Leased => "leased",
            Mode::Hybrid => "hybrid",
        };
        let on_store_loss = match self.on_store_loss {
            OnStoreLoss::Local => "local",
            OnStoreLoss::Closed => "closed",
            OnStoreLoss::Open => "open",
        };
        format!("  - {{name: shared, key: ip, limit: {limit}, sharing: {sharing}, on_store_loss: {on_store_loss}}}\n")
    }

    /// What any window of one key may hold on so many nodes. `longest` is the longest that a decision took: when within it the request
    /// was let through, nobody sees.
    pub(crate) fn bound(&self, nodes: usize, mishaps: Mishaps, longest: Duration) -> Bound {
        let (burst, rate) = self.burst_and_rate();
        let fleet = Fleet {
            held: Held::Together(self.mode),
            burst: burst.try_into().expect("a burst"),
            rate,
            is_bucket: true,
            nodes: u32::try_from(nodes).ok().and_then(NonZeroU32::new).expect("nodes"),
        };
        let excess = fleet.excess();
        // All nodes are asked all the time, so that their shares are of one moment and sum up to one: of what an outage may add, that is a
        // burst, or a unit of each node, and nothing of the rate.
        let outage = match fleet.outage(self.on_store_loss) {
            Outage::Bounded { units, .. } if self.mode == Mode::Hybrid => {
                units.min(burst.max(fleet.nodes.get().into()))
            }
            Outage::Bounded { units, .. } => units.min(burst),
            Outage::Unbounded => unreachable!("an open limit has no bound, and is not held to one"),
        };
        let late = whole(excess.waiting + rate * longest.as_secs_f64());
        // And one, of which parts may be in several nodes' hands.
        let beyond = excess.units + mishaps.outages * outage + mishaps.lost + late + 1;
        Bound::per_second(burst, rate * (1.0 + excess.rate)).plus(beyond)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand at most, and never negative"
)]
fn whole(units: f64) -> u64 {
    units.ceil() as u64
}

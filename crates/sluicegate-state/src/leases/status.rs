//! How sharing goes, for those who run it.

use super::alarm::time_of;
use super::{LANES_MAX, LaneSet, Leases, Surroundings, shards};
use crate::atomics::{AtomicU64, Ordering};
use crate::store::Lane;

/// How sharing goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharingStatus {
    /// How the node stands with the store.
    pub standing: StoreStanding,
    /// Nodes that share limits, smoothed; at least one.
    pub nodes: f64,
    /// Lanes that answer, and all there are.
    pub lanes_up: usize,
    /// See above.
    pub lanes: usize,
    /// The longest smoothed round trip of a lane that answers, in microseconds.
    pub round_trip_us: f64,
    /// For how long the first of the keys that have to speak with the store has waited for a call, in microseconds; zero if none does.
    pub lag_us: f64,
    /// Whether the store is shared with nodes of another secret.
    pub is_foreign: bool,
    /// Keys that have an entry, and entries there are.
    pub keys: usize,
    /// See above.
    pub keys_max: usize,
    /// Units held by lease and not spent, and permits not given out, over all keys.
    pub held: f64,
    /// Units let through that the store has not been told of: what this node adds to the worst case at this moment.
    pub unreported: f64,
    /// Keys that go by this node's share at this moment.
    pub keys_alone: usize,
    /// What was counted since the start.
    pub counts: SharingCounts,
}

/// How a node stands with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreStanding {
    /// Nothing was heard of it since the start.
    Unmet,
    /// All of it answers.
    Together,
    /// Some lanes answer, and some do not.
    Partly,
    /// It answered once, and does not any more.
    Away,
    /// It answers, and nodes with another secret use it: none of its keys are ours.
    Foreign,
}

impl StoreStanding {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmet => "unmet",
            Self::Together => "together",
            Self::Partly => "partly",
            Self::Away => "away",
            Self::Foreign => "foreign",
        }
    }

    /// Whether some limit is held together with other nodes.
    pub const fn is_of_use(self) -> bool {
        matches!(self, Self::Together | Self::Partly)
    }
}

impl Surroundings {
    /// How the node stands with the store. Looks at each lane, and takes no lock.
    pub fn standing(&self) -> StoreStanding {
        let facts = || (0..self.lanes()).map(|lane| self.facts(Lane(lane)));
        let up = facts().filter(|facts| !facts.is_down).count();
        if !self.has_heard() || facts().all(|facts| facts.generation.is_none()) {
            StoreStanding::Unmet
        } else if up == 0 {
            StoreStanding::Away
        } else if self.is_foreign() {
            StoreStanding::Foreign
        } else if up < usize::from(self.lanes()) {
            StoreStanding::Partly
        } else {
            StoreStanding::Together
        }
    }
}

/// What is counted of sharing since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharingCounts {
    /// Calls that the store has answered.
    pub calls: u64,
    /// Keys in them.
    pub keys: u64,
    /// Calls that the store did nothing of.
    pub undone: u64,
    /// Calls of which nobody knows whether they were done.
    pub unknown: u64,
    /// Times that the store turned out to hold other data than was believed.
    pub changed: u64,
    /// Values in the store that made no sense.
    pub damaged: u64,
    /// Charges that waited for the store, and of them those that waited in vain.
    pub waited: u64,
    /// See above.
    pub late: u64,
}

/// Where it is counted. Relaxed throughout: each number stands for itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) keys: AtomicU64,
    pub(super) undone: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) changed: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) late: AtomicU64,
}

/// Adds to one of them.
pub(super) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

impl Leases {
    fn lag(&self, time: f64) -> f64 {
        // What requests wait for is due at tick zero, and has waited since they came.
        let first = self.dues(&LaneSet::default()).filter(|due| *due > 0).min();
        // Where nothing is due, it will be in an infinite time.
        (time - time_of(first)).max(0.0)
    }

    /// How sharing goes. Takes the lock of each stripe, one after another, for as long as it takes to look at its entries.
    pub fn status(&self) -> SharingStatus {
        let time = self.time();
        let surroundings = self.surroundings();
        let lanes: Vec<_> = (0..surroundings.lanes())
            .map(|lane| surroundings.facts(Lane(lane)))
            .collect();
        let up = lanes.iter().filter(|facts| !facts.is_down);
        let mut status = SharingStatus {
            standing: surroundings.standing(),
            nodes: surroundings.nodes(),
            lanes_up: up.clone().count(),
            lanes: lanes.len().min(LANES_MAX),
            round_trip_us: up.map(|facts| facts.round_trip).fold(0.0, f64::max),
            lag_us: self.lag(time),
            is_foreign: surroundings.is_foreign(),
            keys: 0,
            keys_max: 0,
            held: 0.0,
            unreported: 0.0,
            keys_alone: 0,
            counts: self.counts(),
        };
        for shard in shards() {
            let mut stripe = self.stripe(shard);
            status.keys += stripe.owned();
            status.keys_max += stripe.capacity();
            for place in 0..stripe.entries.count() {
                let side = &stripe.entries.at(place).side;
                status.held += side.held(time);
                status.unreported += side.unreported();
                status.keys_alone += usize::from(side.goes_alone());
            }
        }
        status
    }

    fn counts(&self) -> SharingCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        SharingCounts {
            calls: read(&counters.calls),
            keys: read(&counters.keys),
            undone: read(&counters.undone),
            unknown: read(&counters.unknown),
            changed: read(&counters.changed),
            damaged: read(&counters.damaged),
            waited: read(&counters.waited),
            late: read(&counters.late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreGeneration;

    #[test]
    fn a_store_is_met_once_both_a_lane_and_a_heartbeat_were_answered() {
        let around = Surroundings::new();
        assert_eq!(around.standing(), StoreStanding::Unmet);
        around.lay_out(2, |shard| Lane(u16::from(shard) % 2));
        around.answered(Lane(0), 100.0, StoreGeneration(7));
        assert_eq!(
            around.standing(),
            StoreStanding::Unmet,
            "who else uses it is not known yet"
        );
        around.count_nodes(3);
        assert_eq!(around.standing(), StoreStanding::Partly);
        around.answered(Lane(1), 100.0, StoreGeneration(7));
        assert_eq!(around.standing(), StoreStanding::Together);
        around.set_foreign(true);
        assert_eq!(around.standing(), StoreStanding::Foreign);
        around.lost(Lane(0));
        around.lost(Lane(1));
        assert_eq!(around.standing(), StoreStanding::Away, "whoever else uses it");
    }
}

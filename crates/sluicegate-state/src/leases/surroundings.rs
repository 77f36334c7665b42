//! What a node knows of the store and of other nodes.

use sluicegate_core::sharing::Now;

use crate::atomics::{AtomicU64, Ordering};
use crate::store::{Lane, SHARDS, StoreGeneration};

/// What a node knows of the store and of other nodes; before the first contact, that it is alone and the store is away.
///
/// Relaxed throughout: each number stands for itself, and a decision by one that is a moment old is as good.
#[derive(Debug)]
pub struct Surroundings {
    lanes: Box<[LaneState]>,
    /// The lane of each shard, of 256.
    lane_of: Box<[AtomicU64]>,
    /// Lanes that there are; none before the store is known.
    lane_count: AtomicU64,
    nodes: AtomicU64,
    /// One once a heartbeat was answered.
    has_heard: AtomicU64,
    /// One while the store is shared with nodes of another secret.
    is_foreign: AtomicU64,
}

/// Most lanes of one store.
pub const LANES_MAX: usize = SHARDS;

#[derive(Debug)]
#[repr(align(64))]
struct LaneState {
    round_trip: AtomicU64,
    /// Zero while the lane answers, one while it does not.
    is_down: AtomicU64,
    generation: AtomicU64,
    /// See [`Surroundings::changed`].
    changed_at: AtomicU64,
}

/// What is known of a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneFacts {
    /// How long it takes to answer, in microseconds, smoothed.
    pub round_trip: f64,
    /// Whether it does not answer.
    pub is_down: bool,
    /// Which data it holds; `None` before the first contact.
    pub generation: Option<StoreGeneration>,
}

/// Some lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneSet([u64; LANES_MAX.div_ceil(64)]);

impl LaneSet {
    /// Adds one.
    pub const fn add(&mut self, lane: Lane) {
        let (word, bit) = Self::place(lane);
        self.0[word] |= bit;
    }

    /// Whether it is among them.
    pub const fn has(&self, lane: Lane) -> bool {
        let (word, bit) = Self::place(lane);
        self.0[word] & bit != 0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    const fn place(lane: Lane) -> (usize, u64) {
        let lane = lane.0 as usize % LANES_MAX;
        (lane / 64, 1 << (lane % 64))
    }
}

/// How fast the round trip follows: an eighth of each difference, as TCP's does (RFC 6298, section 2).
const ROUND_TRIP_GAIN: f64 = 0.125;

/// What a round trip is taken for before one was seen, in microseconds: within one data centre.
const ROUND_TRIP_UNSEEN: f64 = 500.0;

/// How fast the number of nodes falls, for each heartbeat: nodes that a rolling restart takes away for seconds are still counted. It
/// rises at once, since too small a number would admit too much.
const NODES_GAIN: f64 = 0.1;

impl Surroundings {
    pub(super) fn new() -> Self {
        Self {
            lanes: (0..SHARDS)
                .map(|_| LaneState {
                    round_trip: AtomicU64::new(ROUND_TRIP_UNSEEN.to_bits()),
                    is_down: AtomicU64::new(1),
                    generation: AtomicU64::new(0),
                    changed_at: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
                })
                .collect(),
            lane_of: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            lane_count: AtomicU64::new(0),
            nodes: AtomicU64::new(1.0f64.to_bits()),
            has_heard: AtomicU64::new(0),
            is_foreign: AtomicU64::new(0),
        }
    }

    /// Which of `lanes` lanes each shard belongs to, once the store is known.
    pub fn lay_out(&self, lanes: u16, lane: impl Fn(u8) -> Lane) {
        self.lane_count.store(u64::from(lanes), Ordering::Relaxed);
        for (shard, place) in (0u8..=u8::MAX).zip(&self.lane_of) {
            place.store(u64::from(lane(shard).0), Ordering::Relaxed);
        }
    }

    /// Lanes that there are; none before the store is known.
    pub fn lanes(&self) -> u16 {
        u16::try_from(self.lane_count.load(Ordering::Relaxed)).unwrap_or(u16::MAX)
    }

    /// The lane of a shard.
    pub fn lane(&self, shard: u8) -> Lane {
        let lane = self.lane_of[usize::from(shard)].load(Ordering::Relaxed);
        Lane(u16::try_from(lane).unwrap_or_default())
    }

    /// What is known of a lane.
    pub fn facts(&self, lane: Lane) -> LaneFacts {
        let state = self.state(lane);
        let generation = state.generation.load(Ordering::Relaxed);
        LaneFacts {
            round_trip: f64::from_bits(state.round_trip.load(Ordering::Relaxed)),
            is_down: state.is_down.load(Ordering::Relaxed) != 0,
            generation: (generation != 0).then_some(StoreGeneration(generation)),
        }
    }

    /// Nodes that share limits, smoothed; at least one.
    pub fn nodes(&self) -> f64 {
        f64::from_bits(self.nodes.load(Ordering::Relaxed))
    }

    /// The lane has answered, after `round_trip` microseconds. Tells whether it had not before.
    pub fn answered(&self, lane: Lane, round_trip: f64, generation: StoreGeneration) -> bool {
        let state = self.state(lane);
        let was_down = state.is_down.swap(0, Ordering::Relaxed) != 0;
        let former = f64::from_bits(state.round_trip.load(Ordering::Relaxed));
        let next = if was_down {
            round_trip
        } else {
            former + (round_trip - former) * ROUND_TRIP_GAIN
        };
        state.round_trip.store(next.max(1.0).to_bits(), Ordering::Relaxed);
        state.generation.store(generation.0, Ordering::Relaxed);
        was_down
    }

    /// The lane does not answer. Tells whether it did before.
    pub fn lost(&self, lane: Lane) -> bool {
        self.state(lane).is_down.swap(1, Ordering::Relaxed) == 0
    }

    /// At `time`, in microseconds of the node's clock, the lane was seen to hold other data, or was back after more than a second:
    /// permits may be in use that it does not know of, and nobody gets new ones before all have told.
    pub fn changed(&self, lane: Lane, time: f64) {
        self.state(lane).changed_at.store(time.to_bits(), Ordering::Relaxed);
    }

    /// When that was last; negative infinity if never.
    pub(super) fn changed_at(&self, shard: u8) -> f64 {
        f64::from_bits(self.state(self.lane(shard)).changed_at.load(Ordering::Relaxed))
    }

    /// So many nodes live, by the last heartbeat.
    pub fn count_nodes(&self, live: u32) {
        let live = f64::from(live.max(1));
        let former = self.nodes();
        let next = if live >= former {
            live
        } else {
            former + (live - former) * NODES_GAIN
        };
        // Near enough is there: the last tenth of a node would take for ever.
        let next = if next - live < 0.05 { live } else { next };
        self.nodes.store(next.to_bits(), Ordering::Relaxed);
        self.has_heard.store(1, Ordering::Relaxed);
    }

    /// Whether a heartbeat was ever answered.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.load(Ordering::Relaxed) != 0
    }

    /// Whether the store is shared with nodes of another secret: then its keys are others', and the node goes on alone.
    pub fn is_foreign(&self) -> bool {
        self.is_foreign.load(Ordering::Relaxed) != 0
    }

    /// What the last heartbeat says of that.
    pub fn set_foreign(&self, is_foreign: bool) {
        self.is_foreign.store(u64::from(is_foreign), Ordering::Relaxed);
    }

    /// What a decision about a key of `shard` goes by.
    pub(super) fn now(&self, shard: u8, time: f64) -> Now {
        let facts = self.facts(self.lane(shard));
        Now {
            time,
            round_trip: facts.round_trip,
            nodes: self.nodes(),
            is_down: facts.is_down || self.is_foreign(),
            generation: facts.generation.map_or(0, |generation| generation.0),
        }
    }

    fn state(&self, lane: Lane) -> &LaneState {
        // A store has at most as many lanes as there are shards.
        &self.lanes[usize::from(lane.0) % SHARDS]
    }
}

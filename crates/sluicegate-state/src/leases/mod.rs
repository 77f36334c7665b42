//! What a node holds of limits that it shares with others.
//!
//! ```text
//!  SharedCharge ──► Leases::take ──► SharedTaken: all, nothing, or Waiting for the store
//!                      │ stripe: one of 256, by the key; its entries, each with a core Lease, and who waits for them
//!                      │ wheel: which entry has to speak with the store, and when
//!                      ▼
//!  driver: collect ──► Batch ──► Store::exchange ──► complete ──► answers to entries and to whoever waits
//!                surroundings: round trips, live nodes, whether the store answers
//! ```
//!
//! A decision takes the lock of one stripe for each shared rule, for well under a microsecond, and never waits for the store. Memory
//! is fixed when the leases are made.

mod alarm;
mod attendance;
mod batch;
mod bucket;
mod entries;
mod settle;
mod side;
mod status;
mod surroundings;
mod take;
mod waiting;
mod wheel;

use std::fmt;

use sluicegate_core::{KeyHash, Timestamp};

pub use alarm::Due;
pub use attendance::Attendance;
pub use batch::{Batch, COLLECT_MAX, Ended, Haste, WEIGHT_MAX};
pub use bucket::{SharedBucket, SharedBucketSpec};
pub use side::SharedLimit;
pub use status::{SharingCounts, SharingStatus, StoreStanding};
pub use surroundings::{LANES_MAX, LaneFacts, LaneSet, Surroundings};
pub use take::{Patience, SharedCharge, SharedHolding, SharedHoldings, SharedMade, SharedMades, SharedTaken};
pub use waiting::{WAITERS_MAX, Waited, Waiting};

use crate::atomics::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, lock};
use crate::clock::{AnyClock, Clock as _};
use crate::store::SHARDS;
use crate::table::Key;
use alarm::{Alarm, Ring};
use entries::{ENTRY_BYTES, Stripe};
use status::Counters;

/// What a node holds of shared limits, within a number of bytes fixed when it is made.
///
/// All methods take `&self` and may be called from any number of threads.
pub struct Leases {
    stripes: Box<[StripeSlot]>,
    /// When the first of each stripe's entries is due, as a tick of the [`wheel`], or has waited for too long; a lower bound. Zero if a
    /// request waits for an ask, or was just refused for want of it. Side by side, since the driver looks at all of them at every turn.
    dues: Box<[AtomicU64]>,
    /// When the first that waits in each stripe has waited for too long, as a tick.
    lates: Box<[AtomicU64]>,
    surroundings: Surroundings,
    alarm: Alarm,
    /// Whether somebody speaks with the store.
    is_attended: AtomicBool,
    counters: Counters,
    clock: AnyClock,
    /// What no other node is numbered, for permits.
    node: f64,
    /// With which shard each lane's next call begins.
    turns: Box<[AtomicU64]>,
    /// Turns keys into what they are kept under in the store.
    namer: Namer,
}

/// One part of the keys.
#[repr(align(128))]
struct StripeSlot {
    stripe: Mutex<Stripe>,
}

/// The keyed hash that names keys in the store: a subkey of the installation's secret.
struct Namer([u8; 32]);

/// How full the leases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseFill {
    /// Bytes of all entries, and of the lists by which they are found.
    pub bytes: usize,
    /// Entries there are.
    pub entries: usize,
    /// Entries that belong to a key.
    pub owned: usize,
}

/// Bytes of what there is of each stripe beside its entries.
const LISTS_BYTES: usize = SHARDS * (size_of::<StripeSlot>() + 2 * size_of::<AtomicU64>() + wheel::BYTES);

impl Leases {
    /// Keys that leases of so many bytes have room for: the same number in each of 256 stripes, one at least.
    pub const fn entries_in(bytes: usize) -> usize {
        let in_each = bytes.saturating_sub(LISTS_BYTES) / ENTRY_BYTES / SHARDS;
        if in_each == 0 { SHARDS } else { in_each * SHARDS }
    }

    /// Leases in at most `bytes`, lists and all, but at least one entry for each of 256 stripes. `store_key` is a subkey of the installation's
    /// secret: the same on all nodes, and used for nothing else. `node` is a number that no other node has; it also spreads what nodes do at the same time.
    pub fn new(bytes: usize, store_key: [u8; 32], clock: AnyClock, node: u64) -> Self {
        let entries = Self::entries_in(bytes) / SHARDS;
        Self {
            stripes: (0..SHARDS as u64)
                .map(|number| StripeSlot {
                    stripe: Mutex::new(Stripe::new(entries, node ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
                })
                .collect(),
            dues: (0..SHARDS).map(|_| AtomicU64::new(wheel::NEVER)).collect(),
            lates: (0..SHARDS).map(|_| AtomicU64::new(wheel::NEVER)).collect(),
            surroundings: Surroundings::new(),
            alarm: Alarm::new(),
            is_attended: AtomicBool::new(false),
            counters: Counters::default(),
            clock,
            node: node_number(node),
            turns: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            namer: Namer(store_key),
        }
    }

    /// What the node knows of the store and of other nodes. The driver writes it, decisions read it.
    pub const fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// How full the leases are. Takes each stripe's lock, one after another.
    pub fn fill(&self) -> LeaseFill {
        let mut fill = LeaseFill {
            bytes: 0,
            entries: 0,
            owned: 0,
        };
        for slot in &self.stripes {
            let stripe = lock(&slot.stripe);
            fill.entries += stripe.capacity().max(stripe.owned());
            fill.owned += stripe.owned();
        }
        fill.bytes = fill.entries * ENTRY_BYTES + LISTS_BYTES;
        fill
    }

    /// The clock that decisions and the driver go by.
    pub const fn clock(&self) -> &AnyClock {
        &self.clock
    }

    /// The clock's time as core's sharing counts it.
    fn time(&self) -> f64 {
        micros(self.clock.now())
    }

    fn stripe(&self, shard: u8) -> MutexGuard<'_, Stripe> {
        lock(&self.stripes[usize::from(shard)].stripe)
    }

    /// Sees to it that the driver looks at the stripe by `tick`. Called under the stripe's lock; the alarm is rung once that is free, since
    /// whoever it wakes is none of ours.
    fn mark(&self, shard: u8, tick: u64) -> Ring {
        let due = &self.dues[usize::from(shard)];
        // Relaxed where nothing changes: what stands there was announced already.
        let is_news = tick < due.load(Ordering::Relaxed);
        if is_news {
            due.fetch_min(tick, Ordering::SeqCst);
        }
        Ring(is_news.then_some(tick))
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("fill", &self.fill())
            .finish_non_exhaustive()
    }
}

impl Namer {
    /// The 128 bits that a key is kept under.
    fn name(&self, bucket: &SharedBucket, key: Key, overflow: bool) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&bucket.identity().0.to_le_bytes());
        match key {
            _ if overflow => hasher.update(&[2]),
            Key::Whole => hasher.update(&[1]),
            Key::Hash(hash) => hasher.update(&[0]).update(&hash.as_u64().to_le_bytes()),
        };
        let mut name = [0; 16];
        hasher.finalize_xof().fill(&mut name);
        name
    }
}

/// A node's number as the store knows it: from 1 to below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "53 bits")]
fn node_number(node: u64) -> f64 {
    (node & ((1 << 53) - 1)).max(1) as f64
}

/// All shards.
fn shards() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).take(SHARDS)
}

/// A point in time as core's sharing counts it.
#[expect(
    clippy::cast_precision_loss,
    reason = "2⁵³ ns are 104 days, and after a year a nanosecond more or less is nothing"
)]
fn micros(now: Timestamp) -> f64 {
    now.as_nanos() as f64 / 1_000.0
}

/// The first nanosecond that is not before a point in time as core's sharing counts it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is not negative"
)]
fn timestamp(micros: f64) -> Timestamp {
    Timestamp::from_nanos((micros * 1_000.0).ceil().max(0.0) as u64)
}

/// Units as core's sharing counts them; limits that are shared stay far below 2⁵³, and a cost above that is above every burst.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn units(cost: sluicegate_core::Cost) -> f64 {
    cost.units() as f64
}

/// Where a key of a bucket is kept on this node: the stripe, and what it is found by there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    shard: u8,
    key: u64,
}

impl Spot {
    fn of(bucket: &SharedBucket, key: Key) -> Self {
        let key = match key {
            Key::Whole => bucket.salt().rotate_left(17) ^ 0x5745_4C48_4F4C_4521,
            Key::Hash(hash) => fold(hash, bucket.salt()),
        };
        Self::at(key)
    }

    fn overflow_of(bucket: &SharedBucket) -> Self {
        Self::at(bucket.salt().rotate_left(41) ^ 0x4F56_4552_464C_4F57)
    }

    /// Spread over the shards once more: what is not a hash of a client's has to be spread as well.
    fn at(key: u64) -> Self {
        let (low, high) = key.carrying_mul(0x9E37_79B9_7F4A_7C15, 0);
        let mixed = low ^ high;
        let shard = ((mixed >> 56) % SHARDS as u64) as u8;
        Self { shard, key: mixed }
    }
}

fn fold(hash: KeyHash, salt: u64) -> u64 {
    hash.as_u64() ^ salt
}

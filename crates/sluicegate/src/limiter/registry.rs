//! Reservations that are found again by an id, until their deadline.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluicegate_core::{Cost, KeyHash, KeyHasher, PartKind, Timestamp};

use super::held::Held;
use super::shared::Shared;

/// Most reservations with a deadline or an id that are remembered at once: a hundred a second for ten minutes. They take some 200
/// bytes each, so at most 13 MiB beside the table.
pub const OPEN_MAX: usize = 1 << 16;

/// Parts of the registry with a lock each: more than most machines have cores that reserve at one moment.
const SHARDS: usize = 32;

/// Which reservation is meant, also elsewhere and later: by [`Limiter::settle`](super::Limiter::settle) in another thread, or another
/// handler of the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(u64);

impl ReservationId {
    /// By the keyed hash of what names it.
    pub(super) const fn of(hash: KeyHash) -> Self {
        Self(hash.as_u64())
    }

    /// The id as a number, to be handed around.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that [`ReservationId::as_u64`] gave. One that was never given finds nothing.
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    fn shard(self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is below the number of shards"
        )]
        let shard = (self.0 % SHARDS as u64) as usize;
        shard
    }
}

/// What came of settling a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// It is settled now.
    Now,
    /// It had been settled before, and nothing has changed.
    Before,
    /// None is open by that id: its deadline is over and it stays charged as reserved, or it never was.
    Gone,
}

/// The reservations that are remembered.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    count: AtomicUsize,
    /// Numbers those that the program has given no name.
    unnamed: AtomicU64,
}

/// One part of them.
#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashMap<ReservationId, Open>,
    by_deadline: BTreeSet<(Timestamp, ReservationId)>,
}

/// One reservation that is remembered.
#[derive(Debug)]
struct Open {
    /// `None` once it is settled, and where a rule in shadow mode let more through than it has.
    held: Option<Held>,
    is_settled: bool,
    reserved: Cost,
    deadline: Timestamp,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            unnamed: AtomicU64::new(0),
        }
    }
}

impl Registry {
    /// Reservations that are remembered now, settled ones before their deadline included.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// An id that nobody else has.
    pub(super) fn unnamed(&self, hasher: &KeyHasher) -> ReservationId {
        let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
        // A kind that no name begins with.
        let key = hasher.key().part(PartKind::Absent, &number.to_le_bytes());
        ReservationId::of(key.finish())
    }

    /// Locks the part that an id belongs to, its deadlines kept.
    pub(super) fn shard(&self, id: ReservationId, shared: &Shared, now: Timestamp) -> MutexGuard<'_, Shard> {
        let mut shard = lock(&self.shards[id.shard()]);
        self.expire_in(&mut shard, shared, now);
        shard
    }

    /// Counts one more; `false` if there are [`OPEN_MAX`].
    pub(super) fn count_one(&self) -> bool {
        // Relaxed: the count is all that is shared.
        let counted = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < OPEN_MAX).then_some(count + 1)
        });
        counted.is_ok()
    }

    /// Takes back the count of one that came to nothing.
    pub(super) fn discount_one(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Settles what is open by an id.
    pub(super) fn settle(&self, id: ReservationId, actual: Cost, shared: &Shared, now: Timestamp) -> Settled {
        let mut shard = self.shard(id, shared, now);
        let Some(open) = shard.entries.get_mut(&id) else {
            return Settled::Gone;
        };
        if std::mem::replace(&mut open.is_settled, true) {
            return Settled::Before;
        }
        if let Some(held) = open.held.take() {
            held.settle(shared, actual);
        }
        Settled::Now
    }

    /// Ends all whose deadline is over: what is not settled stays charged as it was reserved.
    pub(super) fn expire(&self, shared: &Shared, now: Timestamp) {
        if self.count() == 0 {
            return;
        }
        for shard in &self.shards {
            self.expire_in(&mut lock(shard), shared, now);
        }
    }

    fn expire_in(&self, shard: &mut Shard, shared: &Shared, now: Timestamp) {
        while let Some(&(deadline, id)) = shard.by_deadline.first()
            && deadline <= now
        {
            shard.by_deadline.pop_first();
            if let Some(open) = shard.entries.remove(&id) {
                self.discount_one();
                if let Some(held) = open.held {
                    held.keep(shared);
                }
            }
        }
    }
}

impl Shard {
    /// What was reserved by an id; `None` where nothing is open.
    pub(super) fn reserved(&self, id: ReservationId) -> Option<Cost> {
        self.entries.get(&id).map(|open| open.reserved)
    }

    /// Remembers one that has been counted.
    pub(super) fn insert(&mut self, id: ReservationId, reserved: Cost, held: Option<Held>, deadline: Timestamp) {
        let open = Open {
            held,
            is_settled: false,
            reserved,
            deadline,
        };
        if let Entry::Vacant(place) = self.entries.entry(id) {
            self.by_deadline.insert((open.deadline, id));
            place.insert(open);
        }
    }
}

/// Locks, also where a thread panicked while it held the lock: a reservation is whole at every step.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

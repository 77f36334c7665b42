//! One stripe: the entries of some keys, found by a table of their places.

use std::sync::Arc;

use hashbrown::HashTable;

use super::Spot;
use super::bucket::SharedBucket;
use super::side::{Side, Sight};
use super::waiting::Queue;
use super::wheel::{Link, Links, NEVER, NONE, Wheel, tick, tick_from};

/// Bytes that one key takes: its entry, its place in the wheel, and its place in the table at half fill.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Link>() + 2 * (size_of::<u32>() + 1);

/// How many entries are looked at for an idle one when all are taken.
const LOOKED_AT_MAX: usize = 16;

/// The entries of some keys. All of it is behind one lock.
pub(super) struct Stripe {
    places: HashTable<u32>,
    pub(super) entries: Entries,
    /// Of each entry, its place in the wheel: apart, since to plan one touches its neighbours, too.
    pub(super) plans: Plans,
    pub(super) wheel: Wheel,
    pub(super) queue: Queue,
    capacity: usize,
    /// Where the next search for an idle entry begins.
    hand: usize,
    chance: u64,
}

/// The entries, apart from what plans them.
pub(super) struct Entries(Vec<Entry>);

/// The entries' places in the wheel.
pub(super) struct Plans(Vec<Link>);

/// What the node holds of one key.
pub(super) struct Entry {
    key: u64,
    /// Whether it is the one that keys without an entry share.
    pub(super) overflow: bool,
    /// What it is kept under in the store.
    pub(super) name: [u8; 16],
    pub(super) bucket: Arc<SharedBucket>,
    pub(super) side: Side,
    /// Who waits for it, in order of arrival.
    pub(super) first_waiter: u32,
    pub(super) last_waiter: u32,
}

/// A key that has no entry yet.
pub(super) struct Newcomer<'b> {
    pub(super) spot: Spot,
    pub(super) bucket: &'b Arc<SharedBucket>,
    pub(super) overflow: bool,
}

impl Stripe {
    /// Room for `capacity` entries. It is reserved at once and touched as it is used.
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self {
            places: HashTable::with_capacity(capacity),
            entries: Entries(Vec::with_capacity(capacity)),
            plans: Plans(Vec::with_capacity(capacity)),
            wheel: Wheel::new(),
            queue: Queue::new(),
            capacity,
            hand: 0,
            // The generator stands still at zero.
            chance: seed | 1,
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn owned(&self) -> usize {
        self.places.len()
    }

    /// The entry of a key.
    pub(super) fn find(&self, spot: Spot) -> Option<u32> {
        let found = self
            .places
            .find(spot.key, |place| self.entries.0[*place as usize].key == spot.key);
        found.copied()
    }

    /// The entry of a key, made if there is room: a free place, or that of a key which is idle. What keys share that have no room
    /// is made even beyond the capacity, once for each bucket. `name` names the key in the store.
    pub(super) fn find_or_make(
        &mut self,
        newcomer: &Newcomer<'_>,
        sight: &Sight<'_>,
        name: impl FnOnce() -> [u8; 16],
    ) -> Option<u32> {
        if let Some(place) = self.find(newcomer.spot) {
            let entry = self.entries.at(place);
            if !Arc::ptr_eq(&entry.bucket, newcomer.bucket) {
                // Another policy: the limit is another, what is held stays.
                entry.bucket = Arc::clone(newcomer.bucket);
            }
            return Some(place);
        }
        let place = if self.entries.0.len() < self.capacity {
            self.entries.next()?
        } else if let Some(place) = self.clear_idle(sight) {
            place
        } else if newcomer.overflow {
            // One more, and not twice as many as there were.
            self.entries.0.reserve_exact(1);
            self.plans.0.reserve_exact(1);
            self.entries.next()?
        } else {
            return None;
        };
        let entry = Entry {
            key: newcomer.spot.key,
            overflow: newcomer.overflow,
            name: name(),
            bucket: Arc::clone(newcomer.bucket),
            side: Side::new(sight),
            first_waiter: NONE,
            last_waiter: NONE,
        };
        let entries = &mut self.entries.0;
        if let Some(former) = entries.get_mut(place as usize) {
            *former = entry;
        } else {
            entries.push(entry);
            self.plans.0.push(Link::new());
        }
        let key_of = |place: &u32| entries[*place as usize].key;
        self.places.insert_unique(newcomer.spot.key, place, key_of);
        Some(place)
    }

    /// Frees the place of an idle key.
    fn clear_idle(&mut self, sight: &Sight<'_>) -> Option<u32> {
        for _ in 0..LOOKED_AT_MAX.min(self.entries.0.len()) {
            self.hand = (self.hand + 1) % self.entries.0.len();
            let place = u32::try_from(self.hand).ok()?;
            let entry = &self.entries.0[self.hand];
            // By its own bucket's limit: `sight` is of the key that needs the place.
            let own = entry.bucket.limit_of(entry.overflow)?;
            let own = own.sight(*sight.now(), f64::NEG_INFINITY);
            if entry.first_waiter == NONE && entry.side.is_idle(&own) {
                let key = entry.key;
                self.wheel.remove(&mut self.plans, place);
                if let Ok(found) = self.places.find_entry(key, |other| *other == place) {
                    found.remove();
                }
                return Some(place);
            }
        }
        None
    }

    /// Plans the entry for when its side is due; who waits, or was just refused, goes before all others. Tells by which tick the stripe has to be looked at for
    /// it, and for whoever waits.
    pub(super) fn plan(&mut self, place: u32, now: f64) -> u64 {
        let side = &self.entries.at(place).side;
        let due_at = side.due_at();
        let at = match tick(due_at) {
            NEVER => NEVER,
            _ if side.has_waiters() => 0,
            at if due_at <= now => {
                if side.hurries() {
                    0
                } else {
                    at
                }
            }
            // Not before its time: an ask that is made too early wants nothing, and is not made again.
            _ if side.hurries() => tick_from(due_at),
            _ => with_others(tick_from(due_at), tick(now)),
        };
        self.wheel.plan(&mut self.plans, place, at, tick(now));
        at.min(self.queue.next_deadline())
    }

    /// When the stripe has to be looked at next.
    pub(super) fn next_due(&self) -> u64 {
        self.wheel.next().min(self.queue.next_deadline())
    }

    /// A number drawn evenly from 0 to below 1: xorshift (Marsaglia, 2003), whose low bits are left out.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(super) fn chance(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Entries {
    /// The place of one more.
    fn next(&self) -> Option<u32> {
        u32::try_from(self.0.len()).ok().filter(|place| *place != NONE)
    }

    /// How many there are, at the places from 0.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(NONE)
    }

    /// The entry at a place that the stripe has handed out.
    pub(super) fn at(&mut self, place: u32) -> &mut Entry {
        &mut self.0[place as usize]
    }
}

impl Links for Plans {
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self.0[index as usize]
    }
}

/// The tick at which what is due at `at` is asked: the farther ahead, the coarser, so that calls carry more of it. A sixteenth of the wait
/// at most, and no more than [`COARSEST`]; leases are larger by a quarter than what is expected until then.
fn with_others(at: u64, now: u64) -> u64 {
    let sixteenth = at.saturating_sub(now) / 16;
    let grain = 1 << sixteenth.checked_ilog2().unwrap_or_default();
    at.checked_next_multiple_of(COARSEST.min(grain)).unwrap_or(at)
}

/// In ticks: 4 ms, less than half of what is left for the last exchange of a window.
const COARSEST: u64 = 16;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_far_ahead_is_asked_with_others_never_early_and_never_late_by_more_than_a_sixteenth_or_4_ms() {
        for ahead in (0..2_000).chain([100_000]) {
            for now in [0, 7, 4_000_000_001] {
                let late = with_others(now + ahead, now) - (now + ahead);
                assert!(late <= (ahead / 16).min(COARSEST), "{late} ticks after {ahead}");
            }
        }
        let asked: std::collections::BTreeSet<_> = (400..800).map(|ahead| with_others(ahead, 0)).collect();
        assert_eq!(asked.len(), 26, "of 400 ticks");
    }

    #[test]
    fn what_is_never_due_stays_so() {
        assert_eq!(with_others(NEVER, 3), NEVER);
    }
}

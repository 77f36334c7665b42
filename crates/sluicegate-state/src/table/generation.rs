//! Putting other buckets in the place of those in force, beside the traffic: what is unchanged stays, what is changed goes on
//! with the state of its keys, what is gone is forgotten.
//!
//! A changed bucket has a new number, so that no request ever reads a cell by the wrong limit. Its keys' cells are taken over one
//! by one: by the first request that asks for them, or by the sweep that follows. Requests that are still under way by the
//! former bucket find their cells gone, and go on by its successor.

use std::collections::HashMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use sluicegate_core::Timestamp;
use sluicegate_core::algorithm::{Meter, Storage, Wide};

use super::bucket::{BUCKETS_MAX, Bucket, BucketId, BucketSpec, MOVED, OwnCell, Successor, UNSEEN};
use super::wide::State;
use super::{BucketIdentity, SHARED_FILL_EIGHTHS, Table, TableError};
use crate::atomics::{MutexGuard, Ordering, lock};

/// The buckets in force, and those that are on their way out.
#[derive(Default)]
pub(super) struct Generation {
    buckets: Vec<Arc<Bucket>>,
    /// Replaced or gone, until no cell of theirs is left and nobody decides by them any more.
    leaving: Vec<Arc<Bucket>>,
    /// Numbers that are nobody's, but for those above `numbered`.
    free: Vec<u16>,
    numbered: u16,
}

impl Table {
    /// Puts buckets made of `specs` in force, and gives them back in the order of the specs.
    ///
    /// A spec that says what a bucket in force is made of, gets that bucket. One of the same identity and kind of state, but
    /// another limit, gets a bucket that goes on with the former one's state: the debt is kept in units, cut to the new burst. The
    /// others begin anew. Buckets that no spec asks for any more are forgotten.
    ///
    /// Nobody is stopped meanwhile. Call [`Table::sweep`] once everybody decides by the new buckets.
    ///
    /// # Errors
    ///
    /// If there are too many buckets, or one has no limit; then nothing has changed.
    pub fn install(&self, specs: Vec<BucketSpec>, now: Timestamp) -> Result<Vec<Arc<Bucket>>, TableError> {
        let mut generation = lock(&self.newest);
        if let Some(index) = specs.iter().position(|spec| spec.meters.is_empty()) {
            return Err(TableError::NoLimit { index });
        }
        let former: HashMap<BucketIdentity, Arc<Bucket>> = generation
            .buckets
            .iter()
            .map(|bucket| (bucket.identity(), Arc::clone(bucket)))
            .collect();
        let kept = |spec: &BucketSpec| former.get(&spec.identity).filter(|bucket| bucket.is(spec));
        generation.release_numbers();
        let fresh = specs.iter().filter(|spec| kept(spec).is_none()).count();
        if fresh > generation.numbers_left() {
            let buckets = BUCKETS_MAX - generation.numbers_left() + fresh;
            return Err(TableError::TooManyBuckets { buckets });
        }

        let mut buckets = Vec::with_capacity(specs.len());
        for spec in specs {
            if let Some(bucket) = kept(&spec) {
                buckets.push(Arc::clone(bucket));
                continue;
            }
            let predecessor = former.get(&spec.identity).filter(|bucket| bucket.leads_to(&spec));
            let number = generation.number();
            let slot = self.slots.make(number);
            let id = BucketId::from_number(number);
            buckets.push(Arc::new(Bucket::new(id, spec, slot, predecessor.map(Arc::clone))));
        }
        self.share_out(&buckets);
        let outgoing = std::mem::replace(&mut generation.buckets, buckets.clone());
        for bucket in outgoing {
            if buckets.iter().any(|other| Arc::ptr_eq(other, &bucket)) {
                continue;
            }
            let successor = buckets.iter().find(|other| {
                other
                    .predecessor()
                    .is_some_and(|predecessor| Arc::ptr_eq(&predecessor, &bucket))
            });
            if let Some(successor) = successor {
                self.hand_over(&bucket, successor, now);
            } else {
                bucket.replace(Successor::Nobody);
                self.forget_log(&bucket.own.whole, Some(bucket.meter()));
                self.forget_log(&bucket.own.overflow, bucket.overflow_meter());
            }
            generation.leaving.push(bucket);
        }
        // Whoever still decides by one of them keeps its heir in existence, and none of those in between.
        for bucket in &generation.leaving {
            if let Some(heir) = bucket.heir() {
                bucket.replace(heir);
            }
        }
        Ok(buckets)
    }

    /// Takes over what cells replaced buckets still have, and frees those of buckets that are gone. Takes some 10 ns for each
    /// cell of the table and 200 ns for each that changes hands, and stops nobody for longer than one of them.
    pub fn sweep(&self, now: Timestamp) {
        let leaving = lock(&self.newest).leaving.clone();
        if leaving.is_empty() {
            return;
        }
        // Whoever began to make a cell for one of them before it was replaced, is done after this.
        self.small.pass_stripes();
        self.wide.pass_stripes();
        let by_number: HashMap<u16, &Arc<Bucket>> =
            leaving.iter().map(|bucket| (bucket.id().number(), bucket)).collect();
        let of = |storage: fn(Storage) -> bool| leaving.iter().any(|bucket| storage(bucket.storage()));
        if of(|storage| storage == Storage::Word) {
            for group in 0..self.small.count() {
                for (tag, _) in self.small.states(group) {
                    if let Some(bucket) = by_number.get(&tag.bucket()) {
                        let spot = bucket.spot_of(tag.hash());
                        let stripe = self.small.stripe(spot);
                        match bucket.heir() {
                            Some(Successor::Bucket(next)) => {
                                self.take_over_small(bucket, &next, tag.hash(), now, &stripe);
                            }
                            Some(Successor::Nobody) => {
                                if let Some((claimed, _)) = self.small.seize(spot, &stripe) {
                                    claimed.free();
                                    self.slots.disown(tag.bucket());
                                }
                            }
                            None => {}
                        }
                    }
                }
            }
        }
        if of(|storage| storage != Storage::Word) {
            for group in 0..self.wide.count() {
                for tag in self.wide.tags(group) {
                    if let Some(bucket) = by_number.get(&tag.bucket()) {
                        let spot = bucket.spot_of(tag.hash());
                        let stripe = self.wide.stripe(spot);
                        match bucket.heir() {
                            Some(Successor::Bucket(next)) => {
                                self.take_over_wide(bucket, &next, tag.hash(), now, &stripe);
                            }
                            Some(Successor::Nobody) => {
                                if let Some(held) = self.wide.find_held(spot) {
                                    self.discard(held);
                                }
                            }
                            None => {}
                        }
                    }
                }
            }
        }
        for bucket in &leaving {
            // Not if another took the place of the one between them meanwhile: that one's cells are the next sweep's.
            if let Some(Successor::Bucket(next)) = bucket.successor()
                && let Some(former) = next.predecessor()
                && leaving.iter().any(|bucket| Arc::ptr_eq(bucket, &former))
            {
                next.forget_predecessor();
            }
            bucket.forget_predecessor();
        }
    }

    /// The buckets in force, in the order of their specs.
    pub fn buckets(&self) -> Vec<Arc<Bucket>> {
        lock(&self.newest).buckets.clone()
    }

    /// Gives a key's cell from one bucket to its successor, if it has one. Requires the key's stripe lock.
    pub(super) fn take_over_small(
        &self,
        from: &Bucket,
        to: &Bucket,
        hash: u64,
        now: Timestamp,
        stripe: &MutexGuard<'_, ()>,
    ) {
        let Some((claimed, state)) = self.small.seize(from.spot_of(hash), stripe) else {
            return;
        };
        self.slots.disown(from.id().number());
        if self.small.find_settled(to.spot_of(hash), stripe).is_some() {
            // Cannot be, since both are made under this lock; one of them has to go.
            claimed.free();
            return;
        }
        self.slots.own_regardless(to.id().number());
        claimed.give(
            to.spot_of(hash).tag,
            carry_over_small(from.meter(), to.meter(), state, now),
        );
    }

    /// The same for a wide cell.
    pub(super) fn take_over_wide(
        &self,
        from: &Bucket,
        to: &Bucket,
        hash: u64,
        now: Timestamp,
        _stripe: &MutexGuard<'_, ()>,
    ) {
        let Some(held) = self.wide.find_held(from.spot_of(hash)) else {
            return;
        };
        self.slots.disown(from.id().number());
        self.slots.own_regardless(to.id().number());
        let state = self.carry_over_wide(from.meter(), to.meter(), held.state(), now);
        held.give(to.spot_of(hash).tag, state);
    }

    /// Sets what is kept for each bucket with keys, and what is common to all.
    fn share_out(&self, buckets: &[Arc<Bucket>]) {
        // Small and wide cells are counted together, by what each kind has.
        let sharers = |wide: bool| {
            buckets
                .iter()
                .filter(move |bucket| bucket.keyed() && (bucket.storage() != Storage::Word) == wide)
        };
        let share = |cells: usize, sharers: usize| match sharers {
            0 | 1 => (cells, usize::MAX),
            // Half is kept, in equal parts; the other half goes to whoever comes first.
            sharers => {
                let shared = cells / 8 * SHARED_FILL_EIGHTHS;
                (shared / 2 / sharers, shared / 2)
            }
        };
        let small = share(self.small.cells(), sharers(false).count());
        let wide = share(self.wide.cells(), sharers(true).count());
        let kept = sharers(false)
            .map(|bucket| (bucket.id().number(), small.0))
            .chain(sharers(true).map(|bucket| (bucket.id().number(), wide.0)));
        self.slots.share_out(kept, small.1, wide.1);
    }
}

impl Table {
    /// Lets the successor go on with what a bucket's own cells hold, and marks the bucket as replaced.
    fn hand_over(&self, from: &Bucket, to: &Arc<Bucket>, now: Timestamp) {
        let whole = (&from.own.whole, from.meter(), &to.own.whole, to.meter());
        let overflow = from
            .overflow_meter()
            .zip(to.overflow_meter())
            .map(|(old, new)| (&from.own.overflow, old, &to.own.overflow, new));
        let of_storage = |wide: bool| {
            [Some(whole), overflow]
                .into_iter()
                .flatten()
                .filter(move |(_, old, _, new)| {
                    old.storage() == new.storage() && (old.storage() != Storage::Word) == wide
                })
        };
        // Held until the bucket is marked, so that whoever holds them next sees that it is to look elsewhere.
        let held: ArrayVec<_, 2> = of_storage(true)
            .map(|(cell, old, new_cell, new)| {
                let held = cell.wide().hold();
                let state = self.carry_over_wide(old, new, held.state(), now);
                new_cell.wide().hold().set(state);
                held
            })
            .collect();
        from.replace(Successor::Bucket(Arc::clone(to)));
        drop(held);
        if overflow.is_none_or(|(_, old, _, new)| old.storage() != new.storage()) {
            self.forget_log(&from.own.overflow, from.overflow_meter());
        }
        for (cell, old, new_cell, new) in of_storage(false) {
            move_small(cell, old, new_cell, new, now);
        }
    }

    /// Gives back to the slab what a cell has there that nobody will look at any more: who holds it next finds its bucket
    /// replaced.
    fn forget_log(&self, cell: &OwnCell, meter: Option<&Meter>) {
        if let Some(Meter::Log(_)) = meter {
            let mut held = cell.wide().hold();
            let [_, second, third] = held.state();
            self.slab.ring(second, third).clear();
            held.set(UNSEEN);
        }
    }

    /// What a wide state says under another limit.
    fn carry_over_wide(&self, old: &Meter, new: &Meter, state: State, now: Timestamp) -> State {
        match (old, new) {
            (Meter::Wide(old), Meter::Wide(new)) => new.carry_over(old, Wide::from_words(state), now).words(),
            (Meter::Log(old), Meter::Log(new)) => {
                let [_, second, third] = state;
                let mut ring = self.slab.ring(second, third);
                new.carry_over(old, &mut ring);
                let [second, third] = ring.to_words();
                [new.idle_at(&ring), second, third]
            }
            _ => [0; 3],
        }
    }
}

impl Generation {
    /// Takes back the numbers of buckets that have no cells any more, and by which nobody decides.
    fn release_numbers(&mut self) {
        let free = &mut self.free;
        self.leaving.retain_mut(|bucket| {
            // Only whoever has the one reference left gets in: so all that others did by it has been done.
            let gone = Arc::get_mut(bucket).filter(|bucket| bucket.owned() == 0);
            let number = gone.map(|bucket| bucket.id().number());
            free.extend(number);
            number.is_none()
        });
    }

    fn numbers_left(&self) -> usize {
        self.free.len() + BUCKETS_MAX - usize::from(self.numbered)
    }

    /// One of the numbers left; the caller has seen that there is one.
    fn number(&mut self) -> u16 {
        self.free.pop().unwrap_or_else(|| {
            self.numbered += 1;
            self.numbered
        })
    }
}

/// Nobody looks at the new cell before the old one says so.
fn move_small(cell: &OwnCell, old: &Meter, new_cell: &OwnCell, new: &Meter, now: Timestamp) {
    let mut seen = cell.small().load(Ordering::Relaxed);
    loop {
        let state = carry_over_small(old, new, seen, now);
        new_cell.small().store(state, Ordering::Relaxed);
        // Release pairs with the acquire of whoever finds the old cell moved and so looks at the new one.
        match cell
            .small()
            .compare_exchange(seen, MOVED, Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// What a small state says under another limit.
fn carry_over_small(old: &Meter, new: &Meter, state: u64, now: Timestamp) -> u64 {
    match (old, new) {
        (Meter::Word(old), Meter::Word(new)) => new.carry_over(old, state, now),
        _ => 0,
    }
}

//! Reaching a key's state: in its cell, in one made for it, in the one that its bucket's predecessor had, or in the overflow.

use std::sync::Arc;

use sluicegate_core::algorithm::{Meter, Storage, WordMeter};
use sluicegate_core::{KeyHash, Timestamp};

use super::bucket::{Bucket, MOVED, OwnCell, Successor, UNSEEN};
use super::groups::Tag;
use super::kept::{Act, Acted, Kept, NoRoom, act};
use super::small::{self, Swap};
use super::wide::{Held, WideFound};
use super::{Key, Table};
use crate::atomics::Ordering;

/// Which cell answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The key's own.
    Own,
    /// The key has none, and the shared one answered.
    Overflow,
    /// The key has none, and the overflow is closed: nothing was looked at.
    Closed,
}

/// Which state is meant.
#[derive(Clone, Copy)]
pub(super) struct Target<'b> {
    pub(super) bucket: &'b Bucket,
    /// Which of the bucket's limits.
    pub(super) meter: u8,
    pub(super) key: Key,
    pub(super) now: Timestamp,
}

/// What became of an act on a state that was reached.
type Done = Result<Acted, NoRoom>;

impl<'b> Target<'b> {
    fn meter(&self) -> &'b Meter {
        self.bucket.meter_at(self.meter)
    }

    /// The same key in another bucket of the line.
    fn of(self, bucket: &Bucket) -> Target<'_> {
        Target { bucket, ..self }
    }
}

impl Table {
    /// Acts on the key's state, making a cell if it has none; if none can be had, on the overflow. `None` where that is closed.
    pub(super) fn charge_state(&self, target: Target<'_>, what: Act) -> (Place, Option<Acted>) {
        let found = match target.key {
            Key::Whole => self
                .whole_state(target, what)
                .or_else(|| Some(on_unseen(self, target, what))),
            Key::Hash(hash) => self.find_state(target, hash, what),
        };
        match (found, target.key) {
            (Some(Ok(acted)), _) => (Place::Own, Some(acted)),
            (None, Key::Hash(hash)) => self.make_state(target, hash, what),
            (Some(Err(NoRoom)), _) | (None, Key::Whole) => self.overflow(target, what),
        }
    }

    /// What would be said of the key's state, or of a key never seen. `what` must be an [`Act::Ask`].
    pub(super) fn ask_state(&self, target: Target<'_>, what: Act) -> Option<Acted> {
        let found = match target.key {
            Key::Whole => self.whole_state(target, what),
            Key::Hash(hash) => self.find_state(target, hash, what),
        };
        found.unwrap_or_else(|| on_unseen(self, target, what)).ok()
    }

    /// Acts on the state that was charged before, if it is still there: a cell that is gone lay idle, and had nothing to mend.
    pub(super) fn mend_state(&self, target: Target<'_>, place: Place, what: Act) -> Option<Acted> {
        let done = match (place, target.key) {
            (Place::Closed, _) => None,
            (Place::Overflow, _) => self.overflow_state(target, what),
            (Place::Own, Key::Whole) => self.whole_state(target, what),
            (Place::Own, Key::Hash(hash)) => self
                .find_state(target, hash, what)
                .or_else(|| self.settled_state(target, hash, what)),
        };
        done?.ok()
    }

    #[cold]
    fn overflow(&self, target: Target<'_>, what: Act) -> (Place, Option<Acted>) {
        target.bucket.count_overflow();
        match self.overflow_state(target, what) {
            Some(Ok(acted)) => (Place::Overflow, Some(acted)),
            Some(Err(NoRoom)) => (Place::Closed, None),
            // The rule is gone since: nothing limits the request by it any more.
            None => (Place::Own, on_unseen(self, target, what).ok()),
        }
    }

    /// The key's cell as it is found without a lock. `None` if there is none, or it is changing its owner.
    #[inline]
    fn find_state(&self, target: Target<'_>, hash: KeyHash, what: Act) -> Option<Done> {
        let spot = target.bucket.spot(hash);
        match target.bucket.storage() {
            Storage::Word => {
                let cell = self.small.find_cell(spot)?;
                while let Some(seen) = cell.read(spot.tag) {
                    if let Some(done) = on_cell(cell, spot.tag, seen, target, what) {
                        return Some(done);
                    }
                }
                None
            }
            Storage::Wide | Storage::Log => {
                let held = self.wide.find_held(spot)?;
                Some(self.on_held(held, target.meter(), target.now, what))
            }
        }
    }

    /// The key's cell once it is not changing its owner, be it the bucket's or its successor's.
    #[cold]
    fn settled_state(&self, target: Target<'_>, hash: KeyHash, what: Act) -> Option<Done> {
        let spot = target.bucket.spot(hash);
        match target.bucket.storage() {
            Storage::Word => {
                let stripe = self.small.stripe(spot);
                first_of_line(target.bucket, |bucket| {
                    // The line is not walked one by one, so the cell may still be that of a bucket in between.
                    for former in bucket.predecessors().take_while(|_| !bucket.is_replaced()) {
                        self.take_over_small(&former, bucket, spot.tag.hash(), target.now, &stripe);
                    }
                    loop {
                        let spot = bucket.spot(hash);
                        let (cell, seen) = self.small.find_settled(spot, &stripe)?;
                        if let Some(done) = on_cell(cell, spot.tag, seen, target.of(bucket), what) {
                            return Some(done);
                        }
                    }
                })
            }
            Storage::Wide | Storage::Log => {
                let stripe = self.wide.stripe(spot);
                first_of_line(target.bucket, |bucket| {
                    for former in bucket.predecessors().take_while(|_| !bucket.is_replaced()) {
                        self.take_over_wide(&former, bucket, spot.tag.hash(), target.now, &stripe);
                    }
                    let held = self.wide.find_held(bucket.spot(hash))?;
                    Some(self.on_held(held, target.of(bucket).meter(), target.now, what))
                })
            }
        }
    }

    /// The state of a key that has no cell yet, or whose cell is changing its owner, or is still its bucket's predecessor's.
    #[cold]
    fn make_state(&self, target: Target<'_>, hash: KeyHash, what: Act) -> (Place, Option<Acted>) {
        let mut newest: Option<Arc<Bucket>> = None;
        loop {
            let target = target.of(newest.as_deref().unwrap_or(target.bucket));
            let made = match target.bucket.storage() {
                Storage::Word => self.make_small(target, hash, what),
                Storage::Wide | Storage::Log => self.make_wide(target, hash, what),
            };
            match made {
                Made::Done(Ok(acted)) => return (Place::Own, Some(acted)),
                Made::Done(Err(NoRoom)) => return self.overflow(target, what),
                // A bucket that was replaced makes no cells: who still decides by it, does so by what took its place.
                Made::Replaced => match target.bucket.successor() {
                    Some(Successor::Bucket(next)) => newest = Some(next),
                    // The rule is gone since: nothing limits the request by it any more.
                    Some(Successor::Nobody) | None => {
                        return (Place::Own, on_unseen(self, target, what).ok());
                    }
                },
            }
        }
    }

    fn make_small(&self, target: Target<'_>, hash: KeyHash, what: Act) -> Made {
        let Target { bucket, now, .. } = target;
        let spot = bucket.spot(hash);
        let stripe = self.small.stripe(spot);
        if bucket.is_replaced() {
            return Made::Replaced;
        }
        for former in bucket.predecessors() {
            self.take_over_small(&former, bucket, spot.tag.hash(), now, &stripe);
        }
        loop {
            match self.small.find_or_claim(spot, self.at(now), &stripe) {
                small::Found::Cell(cell) => {
                    if let Some(seen) = cell.read(spot.tag)
                        && let Some(done) = on_cell(cell, spot.tag, seen, target, what)
                    {
                        return Made::Done(done);
                    }
                }
                small::Found::Free { claimed, from } => {
                    self.slots.disown(from);
                    let mut state = 0;
                    let done = act(target.meter(), Kept::Small(&mut state), now, what);
                    // Neither a refusal nor a question of cost zero leaves a trace, so neither needs a cell.
                    if state == 0 {
                        claimed.free();
                        return Made::Done(done);
                    }
                    if !self.slots.own(bucket.id().number()) {
                        claimed.free();
                        return Made::Done(Err(NoRoom));
                    }
                    claimed.give(spot.tag, state);
                    return Made::Done(done);
                }
                small::Found::Full => return Made::Done(Err(NoRoom)),
            }
        }
    }

    fn make_wide(&self, target: Target<'_>, hash: KeyHash, what: Act) -> Made {
        let Target { bucket, now, .. } = target;
        let spot = bucket.spot(hash);
        let stripe = self.wide.stripe(spot);
        if bucket.is_replaced() {
            return Made::Replaced;
        }
        for former in bucket.predecessors() {
            self.take_over_wide(&former, bucket, spot.tag.hash(), now, &stripe);
        }
        match self.wide.find_or_claim(spot, now, &stripe) {
            WideFound::Cell(held) => Made::Done(self.on_held(held, target.meter(), now, what)),
            WideFound::Free(held) => {
                self.empty(&held);
                // Counted before the log has entries, which a key without a share would have to give back.
                let number = bucket.id().number();
                if !self.slots.own(number) {
                    held.free();
                    return Made::Done(Err(NoRoom));
                }
                let mut state = UNSEEN;
                let kept = Kept::wide(&mut state, bucket.storage(), &self.slab);
                let done = act(target.meter(), kept, now, what);
                if state == UNSEEN {
                    self.slots.disown(number);
                    held.free();
                } else {
                    held.give(spot.tag, state);
                }
                Made::Done(done)
            }
            WideFound::Full => Made::Done(Err(NoRoom)),
        }
    }

    /// Takes what a cell's former owner left behind.
    fn empty(&self, held: &Held<'_>) {
        let former = held.tag().bucket();
        if self.slots.has_logs(former) {
            let [_, second, third] = held.state();
            self.slab.ring(second, third).clear();
        }
        self.slots.disown(former);
    }

    /// Frees a wide cell.
    pub(super) fn discard(&self, held: Held<'_>) {
        self.empty(&held);
        held.free();
    }

    fn on_held(&self, mut held: Held<'_>, meter: &Meter, now: Timestamp, what: Act) -> Done {
        let mut state = held.state();
        let done = act(meter, Kept::wide(&mut state, meter.storage(), &self.slab), now, what);
        held.set(state);
        done
    }

    fn whole_state(&self, target: Target<'_>, what: Act) -> Option<Done> {
        along_line(target.bucket, |bucket| {
            self.own_state(target.of(bucket), &bucket.own.whole, target.of(bucket).meter(), what)
        })
    }

    /// `None` where the rule is gone.
    fn overflow_state(&self, target: Target<'_>, what: Act) -> Option<Done> {
        along_line(target.bucket, |bucket| match bucket.overflow_meter() {
            Some(meter) => self.own_state(target.of(bucket), &bucket.own.overflow, meter, what),
            None => Own::Done(Err(NoRoom)),
        })
    }

    /// Acts on a cell that never changes its owner.
    fn own_state(&self, target: Target<'_>, cell: &OwnCell, meter: &Meter, what: Act) -> Own {
        match meter.storage() {
            Storage::Word => {
                let word = cell.small();
                // Acquire pairs with the release of `MOVED`: who sees it sees what the successor's cell was given.
                let mut seen = word.load(Ordering::Acquire);
                loop {
                    if seen == MOVED {
                        return Own::Moved;
                    }
                    let mut state = seen;
                    let done = act(meter, Kept::Small(&mut state), target.now, what);
                    if state == seen {
                        return Own::Done(done);
                    }
                    // Relaxed: the word is all that is shared. Acquire on failure, as above.
                    match word.compare_exchange_weak(seen, state, Ordering::Relaxed, Ordering::Acquire) {
                        Ok(_) => return Own::Done(done),
                        Err(now) => seen = now,
                    }
                }
            }
            Storage::Wide | Storage::Log => {
                let held = cell.wide().hold();
                if target.bucket.is_replaced() {
                    return Own::Moved;
                }
                Own::Done(self.on_held(held, meter, target.now, what))
            }
        }
    }
}

/// What came of an attempt on a bucket's own cell.
enum Own {
    Done(Done),
    /// Its state is another bucket's now.
    Moved,
}

/// What came of an attempt to make a cell.
enum Made {
    Done(Done),
    /// The bucket was replaced meanwhile.
    Replaced,
}

/// Acts on a small cell that was seen in a state, when it was `tag`'s. `None` if somebody was faster.
#[inline]
fn on_cell(cell: small::Cell<'_>, tag: Tag, seen: u64, target: Target<'_>, what: Act) -> Option<Done> {
    let meter = target.meter();
    let mut state = seen;
    let done = act(meter, Kept::Small(&mut state), target.now, what);
    if state == seen {
        return Some(done);
    }
    let counts = matches!(meter, Meter::Word(WordMeter::Concurrency(_)));
    matches!(cell.swap_of(tag, seen, state, counts), Swap::Done).then_some(done)
}

/// Acts on what a key never seen has, and keeps nothing.
fn on_unseen(table: &Table, target: Target<'_>, what: Act) -> Done {
    let meter = target.meter();
    match meter.storage() {
        Storage::Word => act(meter, Kept::Small(&mut 0), target.now, what),
        Storage::Wide => act(meter, Kept::Wide(&mut UNSEEN.clone()), target.now, what),
        // An entry that nobody keeps would be lost to the slab.
        Storage::Log => act(
            meter,
            Kept::Log(&mut UNSEEN.clone(), &table.slab),
            target.now,
            what.as_question(),
        ),
    }
}

/// What `on` says of the bucket, or of the one that its state moved to. `None` where it moved to nobody.
fn along_line(bucket: &Bucket, on: impl Fn(&Bucket) -> Own) -> Option<Done> {
    if let Own::Done(done) = on(bucket) {
        return Some(done);
    }
    let mut next = next_of_line(bucket)?;
    loop {
        if let Own::Done(done) = on(&next) {
            return Some(done);
        }
        next = next_of_line(&next)?;
    }
}

/// The first answer along a line.
fn first_of_line(bucket: &Bucket, on: impl Fn(&Bucket) -> Option<Done>) -> Option<Done> {
    if let Some(done) = on(bucket) {
        return Some(done);
    }
    let mut next = next_of_line(bucket)?;
    loop {
        if let Some(done) = on(&next) {
            return Some(done);
        }
        next = next_of_line(&next)?;
    }
}

fn next_of_line(bucket: &Bucket) -> Option<Arc<Bucket>> {
    match bucket.successor()? {
        Successor::Bucket(next) => Some(next),
        Successor::Nobody => None,
    }
}

//! The driver's side: what is due goes out in calls, and what comes back goes to its entries and to whoever waits.

use std::task::Waker;

use sluicegate_core::Timestamp;
use sluicegate_core::sharing::{Look, TooLate, WAIT_US};

use super::bucket::SharedBucket;
use super::entries::{Entry, Stripe};
use super::side::{Applied, Side, Sight, What};
use super::status::count;
use super::waiting::{Answered, NobodyWaits, Owed, Promise, Woken};
use super::wheel::{NEVER, NONE, tick};
use super::{LANES_MAX, Leases, micros, shards};
use crate::atomics::Ordering;
use crate::store::{Answer, Call, ITEMS_MAX, Item, Lane, Question, SHARDS, StoreGeneration, StoreKey};

/// Most keys that one call collects; of permits fewer, see [`WEIGHT_MAX`].
pub const COLLECT_MAX: usize = ITEMS_MAX;

/// The most that the keys of one call weigh, where one of a bucket or a window weighs one. Those take a Redis some 3.6 µs each, so that no
/// call holds it up for more than half a millisecond: 128 · 3.6 µs = 0.46 ms.
pub const WEIGHT_MAX: f64 = 128.0;

/// What a key of permits weighs more for each node that holds some: the script reads and writes the parts of all of them, at 0.3 µs each.
/// Of a hundred nodes one key weighs 9.3, and a call has room for 13.
const PART_WEIGHT: f64 = 0.3 / 3.6;

/// One call in the making, or under way: what is asked, and whose entries it is for. Made once and used again and again.
#[derive(Debug)]
pub struct Batch {
    lane: Lane,
    generation: Option<StoreGeneration>,
    sent_at: f64,
    items: Vec<Item>,
    /// Of all items together.
    weight: f64,
    /// Whether more may be due than had room.
    is_full: bool,
    /// The entry's place in the stripe of its item's shard.
    places: Vec<u32>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            lane: Lane(0),
            generation: None,
            sent_at: 0.0,
            items: Vec::with_capacity(ITEMS_MAX),
            weight: 0.0,
            is_full: false,
            places: Vec::with_capacity(ITEMS_MAX),
        }
    }

    /// The call that it makes.
    pub fn call(&self) -> Call<'_> {
        Call {
            lane: self.lane,
            generation: self.generation,
            items: &self.items,
        }
    }

    /// Whether more may be due in its lane than it had room for.
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is room for one more that weighs so much; alone it may weigh anything.
    fn has_room(&self, weight: f64) -> bool {
        self.items.is_empty() || self.items.len() < COLLECT_MAX && self.weight + weight <= WEIGHT_MAX
    }

    fn push(&mut self, item: Item, place: u32, weight: f64) {
        self.items.push(item);
        self.places.push(place);
        self.weight += weight;
    }

    fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
        self.weight = 0.0;
        self.is_full = false;
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether what is due in a lane may be gathered for a while, so that a call carries more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// No request waits for it: reports, renewals, returns. Leases are renewed early enough for two milliseconds more.
    MayGather,
    /// A request waits for it, or was just refused for want of it.
    Urgent,
}

/// How a call ended, for its entries.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// By an answer for each item.
    Answered(&'a [Answer]),
    /// Nothing was done: all of it may be said again, in a while.
    Undone,
    /// Nothing was done, since the store holds other data: all of it is said again at once, with what the node remembers.
    Changed,
    /// Nobody knows whether it was done.
    Unknown,
}

impl Leases {
    /// Collects what is due in a lane, at most [`COLLECT_MAX`] keys and [`WEIGHT_MAX`], waiters first within a shard; tells how many. `batch` holds that
    /// then, and nothing else. Begins each time with the shard after the last one, so that none is left out for long.
    pub fn collect(&self, lane: Lane, now: Timestamp, batch: &mut Batch) -> usize {
        let time = micros(now);
        batch.lane = lane;
        batch.generation = self.surroundings.facts(lane).generation;
        batch.sent_at = time;
        batch.clear();
        let first = self.turn(lane);
        for shard in (0..SHARDS).map(|offset| shard_at(first, offset)) {
            if self.surroundings.lane(shard) != lane || self.due(shard) > tick(time) {
                continue;
            }
            let mut stripe = self.stripe(shard);
            let all = self.collect_of(shard, &mut stripe, time, batch);
            self.look_again(shard, &stripe);
            if all.is_err() {
                // What did not fit goes first next time: it may be so heavy that it fits nowhere else.
                self.set_turn(lane, shard);
                batch.is_full = true;
                break;
            }
            if !batch.has_room(1.0) {
                batch.is_full = true;
                self.set_turn(lane, shard.wrapping_add(1));
                break;
            }
        }
        batch.len()
    }

    /// Collects what is due in a shard; `Err` if not all of it fits.
    fn collect_of(&self, shard: u8, stripe: &mut Stripe, time: f64, batch: &mut Batch) -> Result<(), Full> {
        while let Some(place) = stripe.wheel.pop(&mut stripe.plans, tick(time)) {
            let weight = self.weight(&stripe.entries.at(place).bucket);
            if !batch.has_room(weight) {
                let _ = stripe.plan(place, time);
                return Err(Full);
            }
            let chance = stripe.chance();
            let entry = stripe.entries.at(place);
            let Some(limit) = entry.bucket.limit_of(entry.overflow).copied() else {
                continue;
            };
            let sight = self.sight(&limit, shard, time);
            if let Some((question, has_waiters)) = entry.side.build(&sight, chance, self.node) {
                let key = StoreKey {
                    shard,
                    hash: entry.name,
                };
                batch.push(Item { key, question }, place, weight);
                if has_waiters {
                    stripe.ask_for_waiters(place);
                }
            }
            let _ = stripe.plan(place, time);
        }
        Ok(())
    }

    /// What a key weighs in a call, for the nodes that live.
    fn weight(&self, bucket: &SharedBucket) -> f64 {
        if bucket.gives_permits() {
            1.0 + PART_WEIGHT * self.surroundings.nodes()
        } else {
            1.0
        }
    }

    /// Hands the answers of a call to its entries and to whoever waits for them; `now` is when they came.
    pub fn complete(&self, batch: &mut Batch, ended: Ended<'_>, now: Timestamp) {
        let time = micros(now);
        let counters = &self.counters;
        match ended {
            Ended::Answered(_) => {
                count(&counters.calls, 1);
                count(&counters.keys, batch.len());
            }
            Ended::Undone => count(&counters.undone, 1),
            Ended::Changed => count(&counters.changed, 1),
            Ended::Unknown => count(&counters.unknown, 1),
        }
        let mut parts = batch.items.iter().zip(&batch.places).enumerate().peekable();
        // The items of one shard stand together, so that its lock is taken once.
        while let Some((_, (first, _))) = parts.peek() {
            let shard = first.key.shard;
            let mut stripe = self.stripe(shard);
            let mut woken = Woken::default();
            let mut due = NEVER;
            while let Some((index, (item, place))) = parts.next_if(|(_, (item, _))| item.key.shard == shard) {
                let entry = stripe.entries.at(*place);
                let Some(limit) = entry.bucket.limit_of(entry.overflow).copied() else {
                    continue;
                };
                let sight = self.sight(&limit, shard, time);
                match ended {
                    Ended::Answered(answers) => match answers.get(index) {
                        Some(answer) => {
                            if answer.is_of_damage() {
                                count(&counters.damaged, 1);
                            }
                            let chance = stripe.chance();
                            let side = &mut stripe.entries.at(*place).side;
                            let applied = side.apply(&sight, &item.question, answer, batch.sent_at, chance);
                            stripe.serve(*place, &sight, applied, &mut woken);
                        }
                        None => stripe.lose(*place, &sight, &mut woken),
                    },
                    Ended::Undone => stripe.say_again(*place, &sight, &item.question),
                    Ended::Changed => {
                        stripe.say_again(*place, &sight, &item.question);
                        stripe.entries.at(*place).side.wake(time);
                    }
                    Ended::Unknown => stripe.lose(*place, &sight, &mut woken),
                }
                due = due.min(stripe.plan(*place, time));
            }
            self.note_late(shard, &stripe);
            let ring = self.mark(shard, due);
            drop(stripe);
            self.alarm.ring(ring);
            woken.wake();
        }
        batch.clear();
    }

    /// Answers those whose time is over, by the failure policy. To be called at every tick at which [`Leases::next_due`] says so, before
    /// anything is collected.
    pub fn expire(&self, now: Timestamp) {
        let time = micros(now);
        for shard in shards() {
            if self.lates[usize::from(shard)].load(Ordering::SeqCst) <= tick(time) {
                self.answer_late(shard, time, time);
            }
        }
    }

    /// A lane does not answer any more: all who wait for it are answered by the failure policy.
    pub fn dismiss(&self, lane: Lane, now: Timestamp) {
        let time = micros(now);
        for shard in shards() {
            if self.surroundings.lane(shard) == lane {
                self.answer_late(shard, f64::INFINITY, time);
            }
        }
    }

    /// Nobody speaks with the store any more, or nobody knows what became of the calls under way: no lane answers, and nobody waits for one.
    pub fn part(&self, now: Timestamp) {
        // First, so that whoever finds a stripe that was seen to already knows that there is no use in waiting.
        for lane in (0u16..).map(Lane).take(LANES_MAX) {
            let _ = self.surroundings.lost(lane);
        }
        let time = micros(now);
        for shard in shards() {
            self.answer_late(shard, f64::INFINITY, time);
            let mut stripe = self.stripe(shard);
            for place in 0..stripe.entries.count() {
                let entry = stripe.entries.at(place);
                let Some(limit) = entry.bucket.limit_of(entry.overflow).copied() else {
                    continue;
                };
                if entry.side.in_flight() {
                    entry.side.lost(&self.sight(&limit, shard, time));
                }
                let _ = stripe.plan(place, time);
            }
            self.look_again(shard, &stripe);
        }
    }

    /// Answers those of a stripe whose deadline is not after `latest`.
    fn answer_late(&self, shard: u8, latest: f64, time: f64) {
        let mut woken = Woken::default();
        let mut stripe = self.stripe(shard);
        while let Some(late) = stripe.pop_late(latest) {
            if latest.is_finite() && !late.was_asked && late.owed.is_for_nobody() {
                // A driver that was held up must not lose what is to be charged though nobody waits for it. A lane that is lost ends it.
                stripe.wait(late.place, late.cost, time + WAIT_US, late.owed);
                continue;
            }
            let entry = stripe.entries.at(late.place);
            entry.side.leave(late.cost, late.was_asked);
            if let Owed::Promise(promise) = late.owed
                && let Some(limit) = entry.bucket.limit_of(entry.overflow).copied()
            {
                count(&self.counters.late, 1);
                let sight = self.sight(&limit, shard, time);
                woken.add(entry.answer(promise, &sight, &sight.after_silence(), late.cost));
            }
            let _ = stripe.plan(late.place, time);
        }
        self.look_again(shard, &stripe);
        drop(stripe);
        woken.wake();
    }

    /// The lanes in which something is due, and whether that may be gathered.
    pub fn due_lanes(&self, now: Timestamp) -> impl Iterator<Item = (Lane, Haste)> + use<> {
        let tick = tick(micros(now));
        let mut hastes = [None; LANES_MAX];
        for shard in shards() {
            let due = self.due(shard);
            if due <= tick {
                let haste = &mut hastes[usize::from(self.surroundings.lane(shard).0) % LANES_MAX];
                *haste = (*haste).max(Some(if due == 0 { Haste::Urgent } else { Haste::MayGather }));
            }
        }
        let lanes = (0u16..).map(Lane).zip(hastes);
        lanes.filter_map(|(lane, haste)| Some((lane, haste?)))
    }

    fn due(&self, shard: u8) -> u64 {
        self.dues[usize::from(shard)].load(Ordering::SeqCst)
    }

    /// Sets when the stripe is looked at next, under its lock, so that nothing planned meanwhile is missed.
    fn look_again(&self, shard: u8, stripe: &Stripe) {
        self.dues[usize::from(shard)].store(stripe.next_due(), Ordering::SeqCst);
        self.note_late(shard, stripe);
    }

    /// Sets when somebody in the stripe has waited for too long, under its lock.
    pub(super) fn note_late(&self, shard: u8, stripe: &Stripe) {
        let late = &self.lates[usize::from(shard)];
        let tick = stripe.queue.next_deadline();
        // Relaxed: only written under the lock that is held.
        if late.load(Ordering::Relaxed) != tick {
            late.store(tick, Ordering::SeqCst);
        }
    }

    fn turn(&self, lane: Lane) -> u8 {
        let turn = self.turns[usize::from(lane.0) % SHARDS].load(Ordering::Relaxed);
        u8::try_from(turn).unwrap_or_default()
    }

    fn set_turn(&self, lane: Lane, first: u8) {
        self.turns[usize::from(lane.0) % SHARDS].store(u64::from(first), Ordering::Relaxed);
    }

    /// Every key of a lane has to speak with the store again: it was away, and is back. Spread over one lease period, since all nodes do
    /// the same in the same moment.
    pub fn wake(&self, lane: Lane, now: Timestamp) {
        let time = micros(now);
        self.rouse(lane, time, |side, chance| side.wake(time + chance * WAKE_WITHIN_US));
    }

    /// This node leaves: what it holds in a lane goes back with the next calls.
    pub fn retire(&self, lane: Lane, now: Timestamp) {
        let time = micros(now);
        self.rouse(lane, time, |side, _| side.retire(time));
    }

    fn rouse(&self, lane: Lane, time: f64, mut rouse: impl FnMut(&mut Side, f64)) {
        for shard in shards() {
            if self.surroundings.lane(shard) != lane {
                continue;
            }
            let mut stripe = self.stripe(shard);
            for place in 0..stripe.entries.count() {
                let chance = stripe.chance();
                rouse(&mut stripe.entries.at(place).side, chance);
                let _ = stripe.plan(place, time);
            }
            let ring = self.mark(shard, stripe.next_due());
            drop(stripe);
            self.alarm.ring(ring);
        }
    }
}

/// There is no room for another key.
struct Full;

/// The shard `offset` after `first`, round the circle.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below SHARDS")]
fn shard_at(first: u8, offset: usize) -> u8 {
    ((usize::from(first) + offset) % SHARDS) as u8
}

impl Stripe {
    /// Answers those that were asked for, in order of arrival: with what the store took for them, as far as it goes, and otherwise by what the
    /// node has.
    fn serve(&mut self, place: u32, sight: &Sight<'_>, applied: Applied, woken: &mut Woken) {
        let (mut left, turn_at) = match applied {
            Applied::Took { units, turn_at } => (units, turn_at),
            Applied::Held | Applied::LookAgain => (0.0, sight.now().time),
            Applied::Senseless => return self.lose(place, sight, woken),
        };
        while let Some((cost, owed)) = self.pop_asked(place) {
            let entry = self.entries.at(place);
            if applied == Applied::LookAgain {
                entry.side.leave(cost, true);
            }
            match owed {
                Owed::Promise(promise) if left >= cost => {
                    let (used, waker) = entry.seat(promise, sight, cost, turn_at);
                    left -= used;
                    woken.add(waker);
                }
                Owed::Promise(promise) => woken.add(entry.answer(promise, sight, sight, cost)),
                Owed::Nobody if left >= cost => {
                    left -= cost;
                    let _ = entry.side.join(sight, cost, turn_at);
                }
                Owed::Nobody if applied == Applied::Held => {
                    let look = entry.side.look(sight, cost);
                    let _ = entry.side.spend(sight, look, cost);
                }
                // Answered already: its time was over.
                Owed::Nobody | Owed::Answered => {}
            }
        }
        if left > 0.0 {
            self.entries.at(place).side.return_taken(sight, left);
        }
        // Those who came while it was under way: what has come for others may do for them, and then they need no ask of their own. Whom it
        // does not serve waits on: for a request that waits, there may be what is too little to lease.
        while let Some(waiter) = self.first_waiter(place) {
            let cost = waiter.cost;
            let look = self.entries.at(place).side.look(sight, cost);
            if !look.passes() {
                break;
            }
            let Some((_, owed)) = self.pop_waiter(place) else { break };
            let entry = self.entries.at(place);
            entry.side.leave(cost, false);
            match owed {
                Owed::Promise(promise) => woken.add(entry.answer(promise, sight, sight, cost)),
                Owed::Nobody => {
                    let _ = entry.side.spend(sight, look, cost);
                }
                Owed::Answered => {}
            }
        }
    }

    /// Nobody knows whether the call was done: those that it asked for are answered by the failure policy.
    fn lose(&mut self, place: u32, sight: &Sight<'_>, woken: &mut Woken) {
        self.entries.at(place).side.lost(sight);
        while let Some((cost, owed)) = self.pop_asked(place) {
            let entry = self.entries.at(place);
            if entry.bucket.gives_permits() {
                entry.side.leave(cost, true);
            }
            if let Owed::Promise(promise) = owed {
                woken.add(entry.answer(promise, sight, &sight.after_silence(), cost));
            }
        }
    }

    /// Nothing was done: all of it is said again, for those too that still wait.
    fn say_again(&mut self, place: u32, sight: &Sight<'_>, question: &Question) {
        let ask = match question {
            Question::Units { ask, .. } => Some(ask),
            Question::Permits(_) => None,
        };
        self.entries.at(place).side.unsent(sight, ask);
        let again = self.ask_again(place);
        let entry = self.entries.at(place);
        if again > 0.0 && !entry.bucket.gives_permits() {
            let _ = entry.side.spend(sight, Look::Wait, again);
        }
    }

    /// Takes out the next that was asked for: what it costs, and its promise, unless that is answered.
    fn pop_asked(&mut self, place: u32) -> Option<(f64, Owed)> {
        self.first_waiter(place).filter(|waiter| waiter.was_asked)?;
        self.pop_waiter(place)
    }

    /// Marks those that were asked for as not yet asked for, and sums up what they wait for.
    fn ask_again(&mut self, place: u32) -> f64 {
        let mut units = 0.0;
        let mut index = self.entries.at(place).first_waiter;
        while index != NONE {
            let waiter = self.queue.at(index);
            if std::mem::take(&mut waiter.was_asked) {
                units += waiter.cost;
            }
            index = waiter.next;
        }
        units
    }
}

impl Entry {
    /// Answers by what the node has, looked at by `by`: or refuses. Tells whom that wakes.
    pub(super) fn answer(&mut self, promise: Promise, sight: &Sight<'_>, by: &Sight<'_>, cost: f64) -> Option<Waker> {
        let look = self.side.look(by, cost);
        let answer = match look {
            Look::Wait | Look::Never => Answered::Refused {
                retry_after: by.now().round_trip,
            },
            Look::Deny { retry_after } => Answered::Refused { retry_after },
            _ if promise.is_held() => Answered::Granted(self.side.reserve(by, look, cost)),
            _ => Answered::Granted(self.side.spend(by, look, cost)),
        };
        self.keep(promise, sight, answer, cost)
    }

    /// Answers one that the store has charged, and tells what of its units that used and whom it wakes. None are used if it has to wait too
    /// long for its turn, or nobody waits any more: then the next one stands where it would have stood.
    fn seat(&mut self, promise: Promise, sight: &Sight<'_>, cost: f64, turn_at: f64) -> (f64, Option<Waker>) {
        let place = match self.side.join(sight, cost, turn_at) {
            Ok(place) => place,
            Err(TooLate { retry_after }) => {
                let kept = promise.keep(Answered::Refused { retry_after });
                return (0.0, kept.unwrap_or_default());
            }
        };
        promise.keep(Answered::Granted(What::Taken(place))).map_or_else(
            |NobodyWaits { is_penalty }| {
                if is_penalty {
                    return (cost, None);
                }
                if let Some(place) = &place {
                    self.side.leave_queue(place);
                }
                (0.0, None)
            },
            |waker| (cost, waker),
        )
    }

    /// Keeps a promise; what nobody waits for any more is given back. Tells whom that wakes.
    fn keep(&mut self, promise: Promise, sight: &Sight<'_>, answer: Answered, cost: f64) -> Option<Waker> {
        promise.keep(answer).unwrap_or_else(|NobodyWaits { is_penalty }| {
            if let Answered::Granted(what) = answer {
                let actual = if is_penalty { cost } else { 0.0 };
                self.side.settle(sight, &what, (cost, actual), sight.now().time);
            }
            None
        })
    }
}

/// Within which time all keys speak with a store that is back: about a lease period, as they would without an outage.
const WAKE_WITHIN_US: f64 = 100_000.0;

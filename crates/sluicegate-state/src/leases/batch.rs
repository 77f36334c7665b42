//! The driver's side: what is due goes out in calls, and what comes back goes to its entries and to whoever waits.

use sluicegate_core::Timestamp;
use sluicegate_core::sharing::{Ask, Lease, Look, OnStoreLoss, Reply, View};

use super::entries::Stripe;
use super::status::count;
use super::take::What;
use super::waiting::Answered;
use super::wheel::{NONE, tick};
use super::{LANES_MAX, Leases, micros};
use crate::atomics::Ordering;
use crate::store::{Answer, Call, ITEMS_MAX, Item, Lane, Question, SHARDS, StoreGeneration, StoreKey};

/// Most keys that one call collects.
pub const COLLECT_MAX: usize = ITEMS_MAX;

/// One call in the making, or under way: what is asked, and whose entries it is for. Made once and used again and again.
#[derive(Debug)]
pub struct Batch {
    lane: Lane,
    generation: Option<StoreGeneration>,
    sent_at: f64,
    items: Vec<Item>,
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

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.items.len()
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
    /// Collects what is due in a lane, at most [`COLLECT_MAX`] keys, waiters first within a shard; tells how many. `batch` holds that
    /// then, and nothing else. Begins each time with the shard after the last one, so that none is left out for long.
    pub fn collect(&self, lane: Lane, now: Timestamp, batch: &mut Batch) -> usize {
        let time = micros(now);
        batch.lane = lane;
        batch.generation = self.surroundings.facts(lane).generation;
        batch.sent_at = time;
        batch.items.clear();
        batch.places.clear();
        let first = self.turn(lane);
        for shard in (0..SHARDS).map(|offset| shard_at(first, offset)) {
            if self.surroundings.lane(shard) != lane || self.due(shard) > tick(time) {
                continue;
            }
            let mut stripe = self.stripe(shard);
            self.collect_of(shard, &mut stripe, time, batch);
            self.look_again(shard, &stripe);
            if batch.len() >= COLLECT_MAX {
                self.set_turn(lane, shard);
                break;
            }
        }
        batch.len()
    }

    fn collect_of(&self, shard: u8, stripe: &mut Stripe, time: f64, batch: &mut Batch) {
        let at = self.surroundings.now(shard, time);
        while batch.len() < COLLECT_MAX {
            let Some(place) = stripe.wheel.pop(&mut stripe.entries, tick(time)) else {
                return;
            };
            let chance = stripe.chance();
            let entry = stripe.entries.at(place);
            let Some(plan) = entry.bucket.plan_of(entry.overflow).copied() else {
                continue;
            };
            let view = plan.view(at);
            if let Some(ask) = entry.lease.build(&view, chance) {
                let key = StoreKey {
                    shard,
                    hash: entry.name,
                };
                let question = Question::Units {
                    terms: view.terms(),
                    ask,
                };
                batch.items.push(Item { key, question });
                batch.places.push(place);
                if ask.take > 0.0 {
                    stripe.ask_for_waiters(place);
                }
            }
            stripe.plan(place);
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
        for (index, (item, place)) in batch.items.iter().zip(&batch.places).enumerate() {
            let Question::Units { ask, .. } = &item.question else {
                continue;
            };
            let shard = item.key.shard;
            let mut stripe = self.stripe(shard);
            let stripe = &mut *stripe;
            let entry = stripe.entries.at(*place);
            let Some(plan) = entry.bucket.plan_of(entry.overflow).copied() else {
                continue;
            };
            let view = plan.view(self.surroundings.now(shard, time));
            match ended {
                Ended::Answered(answers) => match answers.get(index) {
                    Some(Answer::Units(reply)) => {
                        count(&counters.damaged, usize::from(reply.damaged));
                        let chance = stripe.chance();
                        let lease = &mut stripe.entries.at(*place).lease;
                        lease.apply(&view, ask, reply, batch.sent_at, chance);
                        stripe.serve(*place, &view, reply);
                    }
                    _ => stripe.fail(*place, &view, None),
                },
                Ended::Undone => stripe.fail(*place, &view, Some(ask)),
                Ended::Changed => {
                    stripe.fail(*place, &view, Some(ask));
                    stripe.entries.at(*place).lease.wake(time);
                }
                Ended::Unknown => stripe.fail(*place, &view, None),
            }
            self.replan(stripe, shard, *place);
        }
        batch.items.clear();
        batch.places.clear();
    }

    /// Answers those whose time is over, by the failure policy. To be called at every tick at which [`Leases::next_due`] says so, before
    /// anything is collected.
    pub fn expire(&self, now: Timestamp) {
        let time = micros(now);
        for shard in 0..=u8::MAX {
            if self.due(shard) > tick(time) {
                continue;
            }
            let mut stripe = self.stripe(shard);
            let at = self.surroundings.now(shard, time);
            while let Some(late) = stripe.pop_late(time) {
                count(&self.counters.late, 1);
                let entry = stripe.entries.at(late.place);
                let Some(plan) = entry.bucket.plan_of(entry.overflow).copied() else {
                    continue;
                };
                entry.lease.leave(late.cost, late.was_asked);
                let view = plan.view(at);
                let answer = entry.answer_alone(&view, late.cost);
                if let Err(Answered::Granted(what)) = late.promise.keep(answer) {
                    entry.return_unclaimed(&view, what, late.cost);
                }
                stripe.plan(late.place);
            }
            self.look_again(shard, &stripe);
        }
    }

    /// The lanes in which something is due.
    pub fn due_lanes(&self, now: Timestamp) -> impl Iterator<Item = Lane> + use<> {
        let tick = tick(micros(now));
        let mut is_due = [false; LANES_MAX];
        for shard in 0..=u8::MAX {
            if self.due(shard) <= tick {
                is_due[usize::from(self.surroundings.lane(shard).0) % LANES_MAX] = true;
            }
        }
        let lanes = (0u16..).map(Lane).zip(is_due);
        lanes.filter(|(_, is_due)| *is_due).map(|(lane, _)| lane)
    }

    fn due(&self, shard: u8) -> u64 {
        self.stripes[usize::from(shard)].due.load(Ordering::SeqCst)
    }

    /// Sets when the stripe is looked at next, under its lock, so that nothing planned meanwhile is missed.
    fn look_again(&self, shard: u8, stripe: &Stripe) {
        self.stripes[usize::from(shard)]
            .due
            .store(stripe.next_due(), Ordering::SeqCst);
    }

    fn turn(&self, lane: Lane) -> u8 {
        let turn = self.turns[usize::from(lane.0) % SHARDS].load(Ordering::Relaxed);
        u8::try_from(turn).unwrap_or_default()
    }

    fn set_turn(&self, lane: Lane, last: u8) {
        self.turns[usize::from(lane.0) % SHARDS].store(u64::from(last.wrapping_add(1)), Ordering::Relaxed);
    }

    /// Every key of a lane has to speak with the store again: it was away, and is back. Spread over one lease period, since all nodes do
    /// the same in the same moment.
    pub fn wake(&self, lane: Lane, now: Timestamp) {
        let time = micros(now);
        self.rouse(lane, |lease, chance| lease.wake(time + chance * WAKE_WITHIN_US));
    }

    /// This node leaves: what it holds in a lane goes back with the next calls.
    pub fn retire(&self, lane: Lane, now: Timestamp) {
        let time = micros(now);
        self.rouse(lane, |lease, _| lease.retire(time));
    }

    fn rouse(&self, lane: Lane, mut rouse: impl FnMut(&mut Lease, f64)) {
        for shard in 0..=u8::MAX {
            if self.surroundings.lane(shard) != lane {
                continue;
            }
            let mut stripe = self.stripe(shard);
            for place in 0..stripe.entries.count() {
                let chance = stripe.chance();
                rouse(&mut stripe.entries.at(place).lease, chance);
                stripe.plan(place);
            }
            self.mark(shard, stripe.next_due());
        }
    }
}

/// The shard `offset` after `first`, round the circle.
fn shard_at(first: u8, offset: usize) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "there are 256, and it goes round")]
    let offset = offset as u8;
    first.wrapping_add(offset)
}

impl Stripe {
    /// Gives what was taken to those it was asked for, in order of arrival. Who gets nothing is refused.
    fn serve(&mut self, place: u32, view: &View<'_>, reply: &Reply) {
        let mut taken = reply.taken;
        while self.first_waiter(place).is_some_and(|waiter| waiter.was_asked) {
            let Some((cost, promise)) = self.pop_waiter(place) else {
                break;
            };
            // Answered already: its time was over.
            let Some(promise) = promise else { continue };
            let entry = self.entries.at(place);
            let answer = if taken >= cost {
                taken -= cost;
                Answered::Granted(What::Taken)
            } else {
                entry.answer_now(view, cost)
            };
            if let Err(Answered::Granted(what)) = promise.keep(answer) {
                entry.return_unclaimed(view, what, cost);
            }
        }
        if taken > 0.0 {
            self.entries.at(place).lease.return_taken(view, taken);
        }
    }

    /// The call failed. With `ask`, nothing was done and all of it is said again, for those too that still wait; otherwise those that it
    /// asked for are answered by the failure policy.
    fn fail(&mut self, place: u32, view: &View<'_>, ask: Option<&Ask>) {
        let Some(ask) = ask else {
            self.entries.at(place).lease.lost(view);
            while self.first_waiter(place).is_some_and(|waiter| waiter.was_asked) {
                let Some((cost, promise)) = self.pop_waiter(place) else {
                    break;
                };
                let Some(promise) = promise else { continue };
                let entry = self.entries.at(place);
                let answer = entry.answer_alone(view, cost);
                if let Err(Answered::Granted(what)) = promise.keep(answer) {
                    entry.return_unclaimed(view, what, cost);
                }
            }
            return;
        };
        self.entries.at(place).lease.unsent(view, ask);
        let again = self.ask_again(place);
        if again > 0.0 {
            let _ = self.entries.at(place).lease.spend(view, Look::Wait, again);
        }
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

/// Within which time all keys speak with a store that is back: about a lease period, as they would without an outage.
const WAKE_WITHIN_US: f64 = 100_000.0;

impl super::entries::Entry {
    /// What a request gets that the store has nothing for: what the node has, or a refusal.
    fn answer_now(&mut self, view: &View<'_>, cost: f64) -> Answered {
        let look = self.lease.look(view, cost);
        match look {
            Look::Wait | Look::Never => Answered::Refused {
                retry_after: view.at.round_trip,
            },
            Look::Deny { retry_after } => Answered::Refused { retry_after },
            _ => Answered::Granted(What::Spent(self.lease.spend(view, look, cost))),
        }
    }

    /// What a request gets when the store did not answer in time: of an exact rule what the failure policy says, as if the store were
    /// away; otherwise a refusal, since a lease will be there in a moment.
    fn answer_alone(&mut self, view: &View<'_>, cost: f64) -> Answered {
        let is_exact = view.mode == sluicegate_core::sharing::Mode::Exact;
        if !is_exact && view.plan.on_store_loss != OnStoreLoss::Open && !view.at.is_down {
            return self.answer_now(view, cost);
        }
        let mut alone = *view;
        alone.at.is_down = true;
        self.answer_now(&alone, cost)
    }

    fn return_unclaimed(&mut self, view: &View<'_>, what: What, cost: f64) {
        match what {
            What::Spent(spent) => self.lease.unspend(view, &spent, cost),
            What::Taken => self.lease.return_taken(view, cost),
            What::Waits => {}
        }
    }
}

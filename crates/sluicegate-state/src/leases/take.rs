//! Charging shared rules: all of a request, or none of them.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use sluicegate_core::algorithm::Answer;
use sluicegate_core::sharing::{Look, Outlook, WAIT_US};
use sluicegate_core::{Cost, Mode, RULES_MAX, Report, Retry, RuleId, RuleState, Timestamp};

use super::alarm::Ring;
use super::bucket::SharedBucket;
use super::entries::{Newcomer, Stripe};
use super::side::{SharedLimit, Side, Sight, What};
use super::status::count;
use super::waiting::{Answered, Owed, Waiting};
use super::{Leases, Spot, micros, timestamp, units};
use crate::atomics::MutexGuard;
use crate::table::{Hold, Key, WhenRefused};

/// One shared rule's charge for one request.
#[derive(Debug, Clone, Copy)]
pub struct SharedCharge<'b> {
    /// Who is told.
    pub rule: RuleId,
    /// What is drawn from.
    pub bucket: &'b Arc<SharedBucket>,
    /// Whose entry of it.
    pub key: Key,
    /// How much.
    pub cost: Cost,
    /// Whether a refusal counts.
    pub mode: Mode,
    /// What becomes of it when the request passes. Permits are held in any case.
    pub hold: Hold,
    /// What becomes of it when the request is refused.
    pub when_refused: WhenRefused,
}

/// What became of a request's shared charges.
#[derive(Debug)]
#[must_use]
pub enum SharedTaken {
    /// All were taken.
    All,
    /// At least one enforced rule refused; nothing is charged.
    Nothing,
    /// Some were taken, and the store has been asked for the others.
    Waits(Box<Waiting>),
}

/// What becomes of a charge that only the store can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It waits for the store.
    Waits,
    /// It is refused, and fetched.
    Refuses,
}

impl Patience {
    /// What a look comes to.
    fn sees(self, look: Look, sight: &Sight<'_>) -> Look {
        match (self, look) {
            (Self::Refuses, Look::Wait) => Look::Deny {
                retry_after: sight.now().round_trip.max(LEAST_FETCH_US),
            },
            _ => look,
        }
    }
}

/// The least that a caller who cannot wait is told to, in microseconds: what it asked for is fetched in a call of many keys.
const LEAST_FETCH_US: f64 = 1_000.0;

/// A shared charge that was made, and can be given back, once.
#[derive(Debug, Clone)]
pub struct SharedHolding {
    rule: RuleId,
    bucket: Arc<SharedBucket>,
    pub(super) spot: Spot,
    pub(super) overflow: bool,
    pub(super) cost: Cost,
    hold: Hold,
    when_refused: WhenRefused,
    pub(super) charged_at: f64,
    pub(super) what: What,
}

/// Shared charges of one request.
pub type SharedHoldings = ArrayVec<SharedHolding, RULES_MAX>;

impl SharedHolding {
    /// Whose charge it is.
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// How much was charged.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether it is a permit, which is given back at the request's end.
    pub fn is_permit(&self) -> bool {
        self.what == What::Permits
    }

    /// When the request leaves, where its limit makes it wait for its turn; `None` if at once.
    pub fn departs_at(&self) -> Option<Timestamp> {
        self.what.place()?.waits_until().map(timestamp)
    }

    /// Whether it is held until the request's end: a permit, or a reservation, to be settled.
    pub fn is_held(&self) -> bool {
        self.hold == Hold::UntilTheEnd || self.is_permit()
    }

    /// It was granted after a wait.
    pub(super) fn grant(&mut self, what: What) {
        self.what = what;
        if self.is_permit() {
            self.bucket.take_permits(self.cost.units());
        }
    }

    /// Whether it stays charged when a later phase refuses the request.
    pub fn is_penalty(&self) -> bool {
        self.when_refused == WhenRefused::Charge
    }
}

/// An entry at hand, under its stripe's lock.
struct AtHand<'l> {
    stripe: MutexGuard<'l, Stripe>,
    shard: u8,
    place: u32,
    overflow: bool,
}

impl AtHand<'_> {
    /// Whether there is somebody to ask, and room for one more who waits. To be asked under the lock: whoever ends all waits has
    /// said before that the store is away.
    fn can_wait(&self, sight: &Sight<'_>) -> bool {
        !sight.now().is_down && !self.stripe.queue.is_full()
    }

    fn wait(&mut self, sight: &Sight<'_>, cost: f64, owed: Owed) {
        let _ = self.stripe.entries.at(self.place).side.spend(sight, Look::Wait, cost);
        self.stripe.wait(self.place, cost, sight.now().time + WAIT_US, owed);
    }
}

/// A shared charge that was made a moment ago, while its request is still being decided.
#[derive(Debug, Clone, Copy)]
pub struct SharedMade<'c, 'b> {
    charge: &'c SharedCharge<'b>,
    overflow: bool,
    made_at: f64,
    what: What,
}

impl SharedMade<'_, '_> {
    /// Whether it is held until the request's end: a permit, or a reservation, to be settled.
    pub fn is_held(&self) -> bool {
        self.charge.hold == Hold::UntilTheEnd || self.what == What::Permits
    }

    /// When the request leaves, where its limit makes it wait for its turn; `None` if at once.
    pub fn departs_at(&self) -> Option<Timestamp> {
        self.what.place()?.waits_until().map(timestamp)
    }

    /// Whether it stays charged when the request is refused.
    pub fn is_penalty(&self) -> bool {
        self.charge.when_refused == WhenRefused::Charge
    }

    /// To be given back later.
    pub fn hold(&self) -> SharedHolding {
        self.charge.holding(self.overflow, self.made_at, self.what)
    }
}

/// The shared charges of a request that were made a moment ago.
pub type SharedMades<'c, 'b> = ArrayVec<SharedMade<'c, 'b>, RULES_MAX>;

/// What one charge met.
struct Met {
    look: Look,
    outlook: Outlook,
    overflow: bool,
    /// By what it was made, if it was.
    what: Option<What>,
}

impl Leases {
    /// Takes all charges, or none, or begins to: what the node has is taken at once, and where a rule has to ask the store, the others
    /// are held until it has answered. What was taken is added to `mades`, which the caller may drop once the request passes for good.
    ///
    /// Reports where every rule stands, but those that wait, in the order of the charges. Shadow charges never decide and never wait.
    /// At most [`RULES_MAX`] charges count; a checked policy has no more.
    ///
    /// Of an impatient caller nothing waits: what only the store could allow is refused, and fetched for the next time, which is of no use
    /// to an exact limit.
    pub fn take<'c, 'b>(
        self: &Arc<Self>,
        charges: &'c [SharedCharge<'b>],
        patience: Patience,
        now: Timestamp,
        report: &mut Report,
        mades: &mut SharedMades<'c, 'b>,
    ) -> SharedTaken {
        let time = micros(now);
        let charges = charges.get(..RULES_MAX).unwrap_or(charges);
        let enforced = || charges.iter().filter(|charge| charge.mode == Mode::Enforced);
        if enforced().nth(1).is_some() {
            // One that refuses must not cost the others anything, so all are looked at first.
            if enforced().any(|charge| !may_pass(self.look(charge, patience, time).look)) {
                self.refuse(charges, patience, time, report);
                return SharedTaken::Nothing;
            }
        }
        let mut waits = ArrayVec::<&SharedCharge<'_>, RULES_MAX>::new();
        for charge in charges {
            let is_enforced = charge.mode == Mode::Enforced;
            if !is_enforced {
                // Below, once all that decide have agreed.
                continue;
            }
            let met = self.spend(charge, patience, time);
            match met.what {
                None if met.look == Look::Wait => waits.push(charge),
                None => {
                    self.undo(mades, now);
                    report.push(charge.state(&met));
                    self.refuse_others(charges, charge, patience, time, report);
                    return SharedTaken::Nothing;
                }
                Some(what) => {
                    report.push(charge.state(&met));
                    mades.push(SharedMade {
                        charge,
                        overflow: met.overflow,
                        made_at: time,
                        what,
                    });
                }
            }
        }
        for charge in charges.iter().filter(|charge| charge.mode == Mode::Shadow) {
            let met = self.take_shadow(charge, time);
            report.push(charge.state(&met));
            if let Some(what) = met.what.filter(|_| charge.hold == Hold::UntilTheEnd) {
                mades.push(SharedMade {
                    charge,
                    overflow: met.overflow,
                    made_at: time,
                    what,
                });
            }
        }
        self.wait_for(&waits, time).map_or(SharedTaken::All, SharedTaken::Waits)
    }

    /// Gives back what was made a moment ago.
    pub fn undo(&self, mades: &mut SharedMades<'_, '_>, now: Timestamp) {
        let time = micros(now);
        for made in mades.drain(..) {
            self.give_back_at(&made.hold(), time);
        }
    }

    /// Where a rule stands with a key; for a refusal, or an answer that came late. Charges nothing.
    pub fn standing(&self, charge: &SharedCharge<'_>, now: Timestamp) -> RuleState {
        charge.state(&self.look(charge, Patience::Waits, micros(now)))
    }

    /// Gives back a charge as if it had not been made.
    pub fn give_back(&self, holding: &SharedHolding, now: Timestamp) {
        self.give_back_at(holding, micros(now));
    }

    pub(super) fn give_back_at(&self, holding: &SharedHolding, time: f64) {
        self.mend(holding, time, |side, sight| {
            side.give_back(sight, &holding.what, units(holding.cost), time - holding.charged_at);
        });
        if holding.what == What::Permits {
            holding.bucket.release_permits(holding.cost.units());
        }
    }

    /// The request is held up elsewhere until `departs_at`: where its limit is spaced, nobody behind it leaves too early. Of any other limit
    /// nothing is done.
    pub fn hold_up(&self, holding: &mut SharedHolding, departs_at: Timestamp) {
        if holding.what.place().is_none() {
            return;
        }
        let mut what = holding.what;
        self.mend(holding, self.time(), |side, _| {
            side.hold_up(&mut what, micros(departs_at));
        });
        holding.what = what;
    }

    pub(super) fn mend(&self, holding: &SharedHolding, time: f64, mend: impl FnOnce(&mut Side, &Sight<'_>)) {
        let Some(limit) = holding.bucket.limit_of(holding.overflow) else {
            return;
        };
        let sight = self.sight(limit, holding.spot.shard, time);
        let mut stripe = self.stripe(holding.spot.shard);
        // One that is gone was whole, so there is nothing to give back to.
        if let Some(place) = stripe.find(holding.spot) {
            mend(&mut stripe.entries.at(place).side, &sight);
            let ring = self.replan(&mut stripe, holding.spot.shard, place, time);
            drop(stripe);
            self.alarm.ring(ring);
        }
    }

    /// What a charge meets. Changes nothing but that a key which is new has an entry then.
    fn look(&self, charge: &SharedCharge<'_>, patience: Patience, time: f64) -> Met {
        let cost = units(charge.cost);
        let met = self.at_hand(charge, time, |hand, sight| {
            let side = &hand.stripe.entries.at(hand.place).side;
            Met {
                look: patience.sees(side.look(sight, cost), sight),
                outlook: side.outlook(sight),
                overflow: hand.overflow,
                what: None,
            }
        });
        met.unwrap_or(CLOSED)
    }

    /// Charges by what the node has. A charge that has to wait, or is refused, is not made, but noted.
    fn spend(&self, charge: &SharedCharge<'_>, patience: Patience, time: f64) -> Met {
        let cost = units(charge.cost);
        let met = self.at_hand(charge, time, |hand, sight| {
            let side = &mut hand.stripe.entries.at(hand.place).side;
            side.note(sight, cost);
            let found = side.look(sight, cost);
            let look = patience.sees(found, sight);
            let what = (found != Look::Wait).then(|| match charge.hold {
                Hold::UntilTheEnd => side.reserve(sight, look, cost),
                Hold::No => side.spend(sight, look, cost),
            });
            if look != found {
                side.fetch(sight, cost);
            }
            let what = what.filter(|_| look.passes());
            if what == Some(What::Permits) {
                charge.bucket.take_permits(charge.cost.units());
            }
            Met {
                look,
                outlook: side.outlook(sight),
                overflow: hand.overflow,
                what,
            }
        });
        met.unwrap_or(CLOSED)
    }

    /// Has the store asked for what it alone can say.
    fn wait_for(self: &Arc<Self>, charges: &[&SharedCharge<'_>], time: f64) -> Option<Box<Waiting>> {
        if charges.is_empty() {
            return None;
        }
        count(&self.counters.waited, charges.len());
        let mut waiting = Box::new(Waiting::new(Arc::clone(self)));
        for charge in charges {
            let cost = units(charge.cost);
            let found = self.at_hand(charge, time, |hand, sight| {
                let promise = waiting.promise(charge.holding(hand.overflow, time, What::Waits));
                if hand.can_wait(sight) {
                    hand.wait(sight, cost, Owed::Promise(promise));
                } else {
                    // Nobody can have polled it yet, so nobody is woken.
                    let entry = hand.stripe.entries.at(hand.place);
                    let _ = entry.answer(promise, sight, &sight.after_silence(), cost);
                }
            });
            if found.is_none() {
                let promise = waiting.promise(charge.holding(false, time, What::Waits));
                let _ = promise.keep(Answered::Refused { retry_after: WAIT_US });
            }
        }
        Some(waiting)
    }

    /// Charges a rule in shadow mode as far as it goes without a wait, and tells what it would have said. What it has to ask for is
    /// counted as it was reserved.
    fn take_shadow(&self, charge: &SharedCharge<'_>, time: f64) -> Met {
        if charge.bucket.gives_permits() {
            // Nobody would give back what a rule in shadow mode took, if it let through more than it has.
            return self.look(charge, Patience::Waits, time);
        }
        let met = self.spend(charge, Patience::Waits, time);
        if met.look == Look::Wait {
            // Asked for and spent on arrival, so that the count is true; what it says now is what is known now.
            let cost = units(charge.cost);
            let _ = self.at_hand(charge, time, |hand, sight| {
                if hand.can_wait(sight) {
                    hand.wait(sight, cost, Owed::Nobody);
                }
            });
        }
        met
    }

    /// Reports a refused request: rules that refuse say when they would not, the others what is left.
    fn refuse(&self, charges: &[SharedCharge<'_>], patience: Patience, time: f64, report: &mut Report) {
        for charge in charges {
            let met = self.look(charge, patience, time);
            if charge.mode == Mode::Enforced {
                self.turn_away(charge, &met, time);
            }
            report.push(charge.state(&met));
        }
    }

    /// Notes what a refused request asked for, so that the node knows; charges it where the rule charges refused requests, and has it
    /// fetched where only the store could have said yes.
    fn turn_away(&self, charge: &SharedCharge<'_>, met: &Met, time: f64) {
        let charges_it = charge.when_refused == WhenRefused::Charge && !charge.bucket.gives_permits();
        if may_pass(met.look) && !charges_it {
            return;
        }
        let cost = units(charge.cost);
        let _ = self.at_hand(charge, time, |hand, sight| {
            let side = &mut hand.stripe.entries.at(hand.place).side;
            side.note(sight, cost);
            match side.look(sight, cost) {
                Look::Wait if charges_it => {
                    if hand.can_wait(sight) {
                        hand.wait(sight, cost, Owed::Nobody);
                    }
                }
                Look::Wait => side.fetch(sight, cost),
                // Others have come or gone meanwhile; it is refused all the same, and pays nothing.
                look if look.passes() && !charges_it => {}
                look => {
                    let _ = side.spend(sight, look, cost);
                }
            }
        });
    }

    /// The same for all but one, which is reported already.
    fn refuse_others(
        &self,
        charges: &[SharedCharge<'_>],
        one: &SharedCharge<'_>,
        patience: Patience,
        time: f64,
        report: &mut Report,
    ) {
        for charge in charges {
            if !std::ptr::eq(charge, one) {
                self.refuse(std::slice::from_ref(charge), patience, time, report);
            }
        }
    }

    /// Does something with the entry of a charge; `None` if there is no room for it and the overflow is closed.
    fn at_hand<T>(
        &self,
        charge: &SharedCharge<'_>,
        time: f64,
        act: impl FnOnce(&mut AtHand<'_>, &Sight<'_>) -> T,
    ) -> Option<T> {
        let bucket = charge.bucket;
        let spot = Spot::of(bucket, charge.key);
        let (mut hand, sight) = if let Some(own) = self.make(bucket.limit(), spot, time, charge, false) {
            own
        } else {
            bucket.count_overflow();
            self.make(bucket.limit_of(true)?, Spot::overflow_of(bucket), time, charge, true)?
        };
        let done = act(&mut hand, &sight);
        let ring = self.replan(&mut hand.stripe, hand.shard, hand.place, time);
        drop(hand);
        self.alarm.ring(ring);
        Some(done)
    }

    fn make<'l, 'b>(
        &'l self,
        limit: &'b SharedLimit,
        spot: Spot,
        time: f64,
        charge: &SharedCharge<'b>,
        overflow: bool,
    ) -> Option<(AtHand<'l>, Sight<'b>)> {
        let mut stripe = self.stripe(spot.shard);
        // Under the lock: see `AtHand::can_wait`.
        let sight = self.sight(limit, spot.shard, time);
        let newcomer = Newcomer {
            spot,
            bucket: charge.bucket,
            overflow,
        };
        let name = || self.namer.name(charge.bucket, charge.key, overflow);
        let place = stripe.find_or_make(&newcomer, &sight, name)?;
        let hand = AtHand {
            stripe,
            shard: spot.shard,
            place,
            overflow,
        };
        Some((hand, sight))
    }

    /// What a key of `shard` is looked at by.
    pub(super) fn sight<'b>(&self, limit: &'b SharedLimit, shard: u8, time: f64) -> Sight<'b> {
        limit.sight(self.surroundings.now(shard, time), self.surroundings.changed_at(shard))
    }

    /// Plans an entry anew after anything was done to it.
    pub(super) fn replan(&self, stripe: &mut Stripe, shard: u8, place: u32, time: f64) -> Ring {
        let tick = stripe.plan(place, time);
        self.note_late(shard, stripe);
        self.mark(shard, tick)
    }
}

impl SharedCharge<'_> {
    fn state(&self, met: &Met) -> RuleState {
        let answer = Answer {
            remaining: whole(met.outlook.remaining),
            reset_after: span(met.outlook.reset_after),
            retry: match met.look {
                Look::Never => Some(Retry::Never),
                Look::Deny { retry_after } => Some(Retry::After(span(retry_after).max(LEAST_RETRY))),
                _ => None,
            },
            delay: Duration::ZERO,
        };
        let mut state = RuleState::new(self.rule, self.mode, &answer);
        state.overflow = met.overflow;
        state
    }

    fn holding(&self, overflow: bool, charged_at: f64, what: What) -> SharedHolding {
        SharedHolding {
            rule: self.rule,
            bucket: Arc::clone(self.bucket),
            spot: if overflow {
                Spot::overflow_of(self.bucket)
            } else {
                Spot::of(self.bucket, self.key)
            },
            overflow,
            cost: self.cost,
            hold: self.hold,
            when_refused: self.when_refused,
            charged_at,
            what,
        }
    }
}

/// What a key meets that has no room, where the overflow is closed.
const CLOSED: Met = Met {
    look: Look::Deny {
        retry_after: 1_000_000.0,
    },
    outlook: Outlook {
        remaining: 0.0,
        reset_after: 1_000_000.0,
    },
    overflow: true,
    what: None,
};

/// A wait that is told is never nothing: a client that obeyed it would come back at once.
const LEAST_RETRY: Duration = Duration::from_micros(1);

fn may_pass(look: Look) -> bool {
    look.passes() || look == Look::Wait
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is not negative"
)]
pub(super) fn whole(units: f64) -> u64 {
    units.max(0.0) as u64
}

/// A span of microseconds; at most what a `Duration` holds, and zero for what is no number.
pub(super) fn span(micros: f64) -> Duration {
    Duration::try_from_secs_f64(micros.max(0.0) / 1e6).unwrap_or(Duration::from_secs(u64::from(u32::MAX)))
}

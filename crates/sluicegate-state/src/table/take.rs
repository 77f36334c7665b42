//! Charging: one cell, or all the cells of a request, or none of them.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::algorithm::{Meter, Storage, WordMeter};
use sluicegate_core::{Cost, Mode, RULES_MAX, Report, RuleId, RuleState, Timestamp};

use super::bucket::Bucket;
use super::hold::{Hold, Takings};
use super::kept::{Act, Demand};
use super::reach::{Place, Target};
use super::standing::Standing;
use super::way::{Stage, Way};
use super::{Key, Table};
use crate::clock::Clock;

/// One rule's charge for one request.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'b> {
    /// Who is told.
    pub rule: RuleId,
    /// What is drawn from.
    pub bucket: &'b Arc<Bucket>,
    /// By which of the bucket's limits, counted from the strictest.
    pub meter: u8,
    /// Whose cell of it.
    pub key: Key,
    /// How much.
    pub cost: Cost,
    /// Whether a refusal counts.
    pub mode: Mode,
    /// What becomes of the charge once it is made.
    pub hold: Hold,
    /// What becomes of it when the request is refused.
    pub when_refused: WhenRefused,
}

/// What becomes of a charge when its request is refused, by its own rule or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenRefused {
    /// Nothing: the request leaves no trace.
    Nothing,
    /// It is made all the same, up to what the limit holds: a penalty for asking.
    Charge,
}

/// What became of a request's charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// All were taken.
    All {
        /// How long the request has to wait before it goes on; zero for most.
        delay: Duration,
    },
    /// At least one enforced rule refused; everything is as if the request had never come.
    Nothing,
}

impl Table {
    /// Charges one key of one bucket, by its strictest limit. Waits for nothing, allocates nothing, and reads no clock.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a standing of 72 bytes would be copied twice on its way out"
    )]
    pub fn charge<'b>(&self, bucket: &'b Bucket, key: Key, cost: Cost, now: Timestamp) -> Standing<'b> {
        if let (Meter::Word(WordMeter::TokenBucket(meter)), Key::Hash(hash)) = (bucket.meter(), key) {
            let spot = bucket.spot(hash);
            let tick = meter.tick(now);
            if let Some(cell) = self.small.find_cell(spot) {
                let mut seen = cell.read(spot.tag);
                while let Some(state) = seen {
                    let verdict = meter.decide(tat(state), tick, cost);
                    let after = verdict.tat().as_u64();
                    if after == state {
                        return Standing::by_bucket(meter, verdict);
                    }
                    match cell.swap(spot.tag, state, after) {
                        Ok(()) => return Standing::by_bucket(meter, verdict),
                        Err(now) => seen = now,
                    }
                }
            }
        }
        self.charge_any(bucket, key, cost, now)
    }

    /// Brings the place where a key's cell most likely lies nearer, for a charge that is soon to come: so several of them wait
    /// for memory together, and not one after another. Changes nothing.
    #[inline]
    pub fn fetch(&self, bucket: &Bucket, key: Key) {
        if let Key::Hash(hash) = key {
            let spot = bucket.spot(hash);
            match bucket.storage() {
                Storage::Word => self.small.fetch(spot),
                Storage::Wide | Storage::Log => self.wide.fetch(spot),
            }
        }
    }

    /// Brings the other place where a key's cell may lie nearer, if it is not in the first one. For after [`Table::fetch`], once that
    /// was asked for all keys that are to come: it looks at what that has brought.
    #[inline]
    pub fn fetch_further(&self, bucket: &Bucket, key: Key) {
        if let Key::Hash(hash) = key {
            let spot = bucket.spot(hash);
            match bucket.storage() {
                Storage::Word => self.small.fetch_further(spot),
                Storage::Wide | Storage::Log => self.wide.fetch_further(spot),
            }
        }
    }

    /// Charges by any algorithm, and a key that has no cell yet.
    #[cold]
    fn charge_any<'b>(&self, bucket: &'b Bucket, key: Key, cost: Cost, now: Timestamp) -> Standing<'b> {
        let target = Target {
            bucket,
            meter: 0,
            key,
            now,
        };
        let (place, acted) = self.charge_state(target, Act::Charge(Demand::of(cost)));
        Standing::by_answer(place, acted.map(|acted| acted.answer))
    }

    /// Takes all charges, or none, and reports where every rule stands. What has to be given back or corrected later is added to
    /// `takings`.
    ///
    /// Every enforced charge is looked at first, but for one whose look would be as dear as itself; if one refuses, nothing is
    /// touched. Then they are taken, places in queues last.
    /// If another request was faster at one of them, what was taken before it is given back at once. So the limits
    /// never admit more than they should, though a request may be refused for a charge that is about to be given back.
    /// Shadow charges are taken only after that, and never decide.
    ///
    /// Where rules make the request wait, it waits the longest of their waits, and its place in every queue is at that time.
    ///
    /// At most [`RULES_MAX`] charges count; a checked policy has no more.
    pub fn take(
        &self,
        charges: &[Charge<'_>],
        clock: &impl Clock,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Taken {
        self.take_departing(charges, clock, Duration::ZERO, report, takings)
    }

    /// The same for a request that waits `departs_after` for the sake of something else: all of it can be given back meanwhile, and its
    /// places in queues are at that time too.
    pub fn take_departing(
        &self,
        charges: &[Charge<'_>],
        clock: &impl Clock,
        departs_after: Duration,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Taken {
        let now = clock.now();
        if let [charge] = charges
            && charge.is_plain()
            && !takings.is_tentative()
            && departs_after.is_zero()
        {
            let standing = self.charge(charge.bucket, charge.key, charge.cost, now);
            report.push(standing.state(charge.rule, charge.mode));
            return if standing.passes() {
                Taken::All { delay: Duration::ZERO }
            } else {
                Taken::Nothing
            };
        }
        let charges = charges.get(..RULES_MAX).unwrap_or(charges);
        self.take_all(charges, (now, departs_after), clock, report, takings)
    }

    fn take_all(
        &self,
        charges: &[Charge<'_>],
        (now, departs_after): (Timestamp, Duration),
        clock: &impl Clock,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Taken {
        let shares = may_share(charges);
        // Of the charges whose cells are locked for a look too, the last needs none: it is made once all others have agreed, and
        // before any of them is made.
        let blind = charges.iter().rposition(Charge::locks).filter(|_| !shares);
        let mut way = Way::new(self, charges, now, report);
        way.delay = departs_after;
        for (index, charge) in charges.iter().enumerate() {
            if charge.mode == Mode::Shadow || blind == Some(index) {
                way.pass_by(charge);
            } else if !way.look(charge) {
                return way.refuse(index);
            }
        }
        if let Some(index) = blind
            && !way.make(index)
        {
            return way.refuse(index);
        }
        // Queues come last: a place that is given back stays empty if somebody joined behind it, so none is taken before the others
        // have agreed.
        for stage in [Stage::Open, Stage::Queue] {
            for (index, charge) in charges.iter().enumerate() {
                if way.stage(index) != stage || shares && charge.is_charged_by_another(charges) {
                    continue;
                }
                if !way.make(index) {
                    way.undo(clock.now());
                    return way.refuse(index);
                }
            }
        }
        if !way.delay.is_zero() && !way.align() {
            way.undo(clock.now());
            return way.refuse_by_look();
        }
        way.pass(takings)
    }

    /// What [`Table::charge`] would answer, without a charge.
    pub(super) fn ask<'s>(&self, charge: &'s Charge<'s>, cost: Cost, now: Timestamp) -> Standing<'s> {
        if let (Meter::Word(WordMeter::TokenBucket(meter)), Key::Hash(_)) = (charge.meter(), charge.key) {
            let state = self.see(charge.bucket, charge.key).map_or(0, |seen| seen.state);
            return Standing::by_bucket(meter, meter.decide(tat(state), meter.tick(now), cost));
        }
        let demand = Demand {
            cost,
            reserves: charge.hold == Hold::UntilTheEnd,
            departs_after: Duration::ZERO,
        };
        let acted = self.ask_state(charge.target(now), Act::Ask(demand));
        Standing::by_answer(Place::Own, acted.map(|acted| acted.answer))
    }

    /// The same, as a report has it.
    pub(super) fn look(&self, charge: &Charge<'_>, cost: Cost, now: Timestamp) -> RuleState {
        self.ask(charge, cost, now).state(charge.rule, charge.mode)
    }

    /// Reports a request that something else refuses: rules that would refuse it say when they would not, the others what is left.
    /// Rules that charge refused requests do so.
    #[cold]
    pub fn pass_over(&self, charges: &[Charge<'_>], clock: &impl Clock, report: &mut Report) {
        let now = clock.now();
        let charges = charges.get(..RULES_MAX).unwrap_or(charges);
        for charge in charges {
            let mut state = self.look(charge, charge.cost, now);
            if state.passes() {
                state = self.look(charge, Cost::ZERO, now);
            }
            report.push(state);
            self.penalize(charge, charges, now);
        }
    }

    /// Charges a refused request where its rule does so.
    pub(super) fn penalize(&self, charge: &Charge<'_>, charges: &[Charge<'_>], now: Timestamp) {
        if charge.when_refused == WhenRefused::Charge
            && charge.mode == Mode::Enforced
            && !charge.is_charged_by_another(charges)
        {
            let _ = self.charge_state(charge.target(now), Act::Penalize(charge.cost));
        }
    }
}

impl<'b> Charge<'b> {
    pub(super) fn meter(&self) -> &'b Meter {
        self.bucket.meter_at(self.meter)
    }

    pub(super) fn target(&self, now: Timestamp) -> Target<'b> {
        Target {
            bucket: self.bucket,
            meter: self.meter,
            key: self.key,
            now,
        }
    }

    /// Whether one swap on one cell is all there is to it.
    #[inline]
    fn is_plain(&self) -> bool {
        self.mode == Mode::Enforced
            && self.meter == 0
            && self.hold == Hold::No
            && self.when_refused == WhenRefused::Nothing
            && matches!(self.bucket.meter(), Meter::Word(WordMeter::TokenBucket(_)))
    }

    /// Whether it is enforced and its cell has to be locked, if only to look at it.
    fn locks(&self) -> bool {
        self.mode == Mode::Enforced && self.bucket.storage() != Storage::Word
    }

    /// Whether the request has to stand in a queue for it. Who asks for nothing takes no place.
    pub(super) fn queues(&self) -> bool {
        self.cost > Cost::ZERO && matches!(self.meter(), Meter::Word(WordMeter::LeakyBucket(_)))
    }

    /// Whether another charge of the request draws from the same cell and goes before this one: of two that do only one is
    /// made, an enforced one rather than one in shadow mode, and of two alike the one by the stricter limit.
    pub(super) fn is_charged_by_another(&self, charges: &[Charge<'_>]) -> bool {
        let rank = |charge: &Charge<'_>| (charge.mode == Mode::Shadow, charge.meter, charge.rule);
        charges
            .iter()
            .any(|other| Arc::ptr_eq(other.bucket, self.bucket) && other.key == self.key && rank(other) < rank(self))
    }
}

/// Whether two charges may draw from one bucket: mostly none do, and then nobody need compare each with each. Buckets of
/// different numbers may look alike, but equal ones never differ.
fn may_share(charges: &[Charge<'_>]) -> bool {
    let mut seen = 0u64;
    charges.iter().any(|charge| {
        let bit = 1 << (charge.bucket.id().number() % 64);
        let was_seen = seen & bit != 0;
        seen |= bit;
        was_seen
    })
}

#[inline]
pub(super) const fn tat(state: u64) -> sluicegate_core::algorithm::Tat {
    sluicegate_core::algorithm::Tat::from_u64(state)
}

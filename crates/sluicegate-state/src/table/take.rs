//! Charging: one cell, or all the cells of a request, or none of them.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use sluicegate_core::algorithm::{Meter, Storage, WordMeter};
use sluicegate_core::{Cost, Mode, RULES_MAX, Report, RuleId, RuleState, Timestamp};

use super::bucket::Bucket;
use super::hold::{HOLDS_MAX, Hold, Holding, Takings};
use super::kept::{Act, Acted, Demand};
use super::reach::{Place, Target};
use super::seen::Seen;
use super::standing::Standing;
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

/// An enforced charge on its way: looked at first, and then made.
struct Step<'s> {
    charge: &'s Charge<'s>,
    /// What was said when it was looked at and, once it is made, what was said then.
    state: RuleState,
    place: Place,
    /// How long the request has to wait for it.
    delay: Duration,
    /// What was seen for what is `written` in its place: for a bucket of one word a key, all that is left to do.
    seen: Option<Seen<'s>>,
    /// Whether the request has to stand in a queue for it.
    queues: bool,
    is_made: bool,
    before: u64,
    written: u64,
    counted_at: Timestamp,
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
        let now = clock.now();
        if let [charge] = charges
            && charge.is_plain()
            && !takings.is_tentative()
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
        self.take_all(charges, now, clock, report, takings)
    }

    fn take_all(
        &self,
        charges: &[Charge<'_>],
        now: Timestamp,
        clock: &impl Clock,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Taken {
        let shares = may_share(charges);
        // Of the charges whose cells are locked for a look too, the last needs none: it is made once all others have agreed, and
        // before any of them is made.
        let blind = charges.iter().rposition(Charge::locks).filter(|_| !shares);
        let mut delay = Duration::ZERO;
        let mut steps = ArrayVec::<Step<'_>, RULES_MAX>::new();
        let mut place = 0;
        for (index, charge) in charges.iter().enumerate() {
            if charge.mode == Mode::Shadow {
                continue;
            }
            if blind == Some(index) {
                place = steps.len();
                continue;
            }
            let step = self.look_ahead(charge, charge.cost, now);
            if !step.state.passes() {
                return self.refuse(charges, (charge, step.state), now, report);
            }
            delay = delay.max(step.delay);
            steps.push(step);
        }
        if let Some(index) = blind {
            let charge = &charges[index];
            let made = self.make(charge, delay, now);
            if !made.state.passes() {
                return self.refuse(charges, (charge, made.state), now, report);
            }
            steps.insert(place, made);
        }
        // Queues come last: a place that is given back stays empty if somebody joined behind it, so none is taken before the others
        // have agreed.
        for queues in [false, true] {
            for index in 0..steps.len() {
                let step = &mut steps[index];
                let charge = step.charge;
                if step.is_made || step.queues != queues || shares && charge.is_charged_by_another(charges) {
                    continue;
                }
                if step.swap() {
                    step.is_made = true;
                    continue;
                }
                let made = self.make(charge, delay, now);
                if !made.state.passes() {
                    self.undo(&steps, clock);
                    return self.refuse(charges, (charge, made.state), now, report);
                }
                delay = delay.max(made.delay);
                steps[index] = made;
            }
        }
        if !delay.is_zero() && !self.align(&mut steps, &mut delay, now) {
            self.undo(&steps, clock);
            return self.refuse_by_look(charges, now, report);
        }
        self.report_taken(charges, &steps, delay, now, report, takings);
        Taken::All { delay }
    }

    /// What [`Table::charge`] would answer, without a charge.
    fn look(&self, charge: &Charge<'_>, cost: Cost, now: Timestamp) -> RuleState {
        self.look_ahead(charge, cost, now).state
    }

    /// The same, and what there is to be done for the charge to be made.
    #[inline]
    fn look_ahead<'s>(&'s self, charge: &'s Charge<'s>, cost: Cost, now: Timestamp) -> Step<'s> {
        if let Meter::Word(meter) = charge.meter() {
            let seen = self.see(charge.bucket, charge.key);
            let before = seen.map_or(0, |seen| seen.state);
            if seen.is_some() || charge.key != Key::Whole {
                let (standing, written) = weigh(meter, before, cost, now);
                // A place in a queue depends on the other charges' waits.
                let queues = charge.queues();
                return Step {
                    charge,
                    state: standing.state(charge.rule, charge.mode),
                    place: Place::Own,
                    delay: standing.delay(),
                    seen: if queues { None } else { seen },
                    queues,
                    is_made: false,
                    before,
                    written,
                    counted_at: now,
                };
            }
        }
        let demand = Demand {
            cost,
            reserves: charge.hold == Hold::UntilTheEnd,
            departs_after: Duration::ZERO,
        };
        let acted = self.ask_state(charge.target(now), Act::Ask(demand));
        Step {
            is_made: false,
            ..Step::of_acted(charge, Place::Own, acted, now)
        }
    }

    /// Makes a charge wherever its key's state is by now.
    fn make<'s>(&self, charge: &'s Charge<'s>, departs_after: Duration, now: Timestamp) -> Step<'s> {
        let demand = Demand {
            cost: charge.cost,
            reserves: charge.hold == Hold::UntilTheEnd,
            departs_after,
        };
        let (place, acted) = self.charge_state(charge.target(now), Act::Charge(demand));
        Step::of_acted(charge, place, acted, now)
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
    fn penalize(&self, charge: &Charge<'_>, charges: &[Charge<'_>], now: Timestamp) {
        if charge.when_refused == WhenRefused::Charge
            && charge.mode == Mode::Enforced
            && !charge.is_charged_by_another(charges)
        {
            let _ = self.charge_state(charge.target(now), Act::Penalize(charge.cost));
        }
    }

    /// Gives back what was charged.
    fn undo(&self, steps: &[Step<'_>], clock: &impl Clock) {
        // Time has passed since the charges were made, and may have refilled part of them.
        let later = clock.now();
        for step in steps.iter().filter(|step| step.is_made) {
            self.withdraw(&step.holding(), later);
        }
    }

    /// Moves the request's place in every queue to the time at which it leaves all of them. `false` if others were too
    /// fast too often.
    ///
    /// All places are taken for the longest wait that was seen beforehand, so there is something to do only if another request
    /// joined one of the queues in between.
    fn align(&self, steps: &mut [Step<'_>], delay: &mut Duration, now: Timestamp) -> bool {
        let early = |steps: &[Step<'_>], delay: Duration| {
            steps
                .iter()
                .position(|step| step.is_made && step.queues && step.delay < delay)
        };
        for _ in 0..ALIGN_ROUNDS_MAX {
            let Some(index) = early(steps, *delay) else {
                return true;
            };
            let step = &mut steps[index];
            // The place taken before is free again, unless somebody stands behind it: then it stays empty.
            self.withdraw(&step.holding(), now);
            // So that it is not withdrawn a second time: whoever joined meanwhile may stand in the very same place.
            step.is_made = false;
            let again = self.make(step.charge, *delay, now);
            if !again.state.passes() {
                return false;
            }
            *delay = (*delay).max(again.delay);
            *step = again;
        }
        early(steps, *delay).is_none()
    }

    /// Reports a request that passes, after its shadow charges; keeps what is to be given back later.
    fn report_taken(
        &self,
        charges: &[Charge<'_>],
        steps: &[Step<'_>],
        delay: Duration,
        now: Timestamp,
        report: &mut Report,
        takings: &mut Takings,
    ) {
        // One for each enforced charge, in their order.
        let mut steps = steps.iter();
        for charge in charges {
            let shadow;
            let step = match charge.mode {
                Mode::Enforced => steps.next().filter(|step| step.is_made),
                Mode::Shadow if charge.is_charged_by_another(charges) => None,
                Mode::Shadow => {
                    shadow = self.make(charge, Duration::ZERO, now);
                    Some(&shadow)
                }
            };
            let Some(step) = step else {
                // Charged by another rule of the same bucket.
                report.push(self.look(charge, Cost::ZERO, now));
                continue;
            };
            report.push(step.state);
            if !step.state.passes() {
                continue;
            }
            if charge.hold == Hold::UntilTheEnd {
                takings.hold(step.holding());
            } else if !delay.is_zero() || takings.is_tentative() {
                takings.queue(step.holding());
            }
        }
    }

    /// Refuses by a look at what is there now.
    #[cold]
    fn refuse_by_look(&self, charges: &[Charge<'_>], now: Timestamp, report: &mut Report) -> Taken {
        let enforced = charges.iter().filter(|charge| charge.mode == Mode::Enforced);
        let looks = enforced.map(|charge| (charge, self.look(charge, charge.cost, now)));
        match looks.min_by_key(|(_, state)| state.passes()) {
            Some(refused) => self.refuse(charges, refused, now, report),
            None => Taken::Nothing,
        }
    }

    /// Reports a refused request: rules that refuse say when they would not, the others what is left untouched. Rules that
    /// charge refused requests do so.
    ///
    /// `refused` is the charge that settled it, with what was seen then: another look might see a charge given back.
    fn refuse(
        &self,
        charges: &[Charge<'_>],
        (refused, state): (&Charge<'_>, RuleState),
        now: Timestamp,
        report: &mut Report,
    ) -> Taken {
        for charge in charges {
            if std::ptr::eq(refused, charge) {
                report.push(state);
            } else {
                let state = self.look(charge, charge.cost, now);
                if state.passes() {
                    report.push(self.look(charge, Cost::ZERO, now));
                } else {
                    report.push(state);
                }
            }
            self.penalize(charge, charges, now);
        }
        Taken::Nothing
    }
}

/// How often a request tries to get one time of departure from all its queues. Each further round means that yet another
/// request joined one of them within a microsecond.
const ALIGN_ROUNDS_MAX: usize = 4 * HOLDS_MAX;

impl<'b> Charge<'b> {
    fn meter(&self) -> &'b Meter {
        self.bucket.meter_at(self.meter)
    }

    fn target(&self, now: Timestamp) -> Target<'b> {
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
    fn queues(&self) -> bool {
        self.cost > Cost::ZERO && matches!(self.meter(), Meter::Word(WordMeter::LeakyBucket(_)))
    }

    /// Whether another charge of the request draws from the same cell and goes before this one: of two that do only one is
    /// made, an enforced one rather than one in shadow mode, and of two alike the one by the stricter limit.
    fn is_charged_by_another(&self, charges: &[Charge<'_>]) -> bool {
        let rank = |charge: &Charge<'_>| (charge.mode == Mode::Shadow, charge.meter, charge.rule);
        charges
            .iter()
            .any(|other| Arc::ptr_eq(other.bucket, self.bucket) && other.key == self.key && rank(other) < rank(self))
    }
}

impl<'s> Step<'s> {
    fn of_acted(charge: &'s Charge<'s>, place: Place, acted: Option<Acted>, now: Timestamp) -> Self {
        let standing = Standing::by_answer(place, acted.map(|acted| acted.answer));
        Self {
            charge,
            state: standing.state(charge.rule, charge.mode),
            place: standing.place(),
            delay: standing.delay(),
            seen: None,
            queues: charge.queues(),
            is_made: true,
            before: acted.map_or(0, |acted| acted.before),
            written: acted.map_or(0, |acted| acted.written),
            counted_at: acted.map_or(now, |acted| acted.counted_at),
        }
    }

    /// Makes the charge where it was looked at. `false` if that cannot be, or somebody else was faster.
    #[inline]
    fn swap(&self) -> bool {
        let counts = matches!(self.charge.meter(), Meter::Word(WordMeter::Concurrency(_)));
        self.seen.is_some_and(|seen| seen.swap(self.written, counts))
    }

    fn holding(&self) -> Holding {
        Holding {
            rule: self.charge.rule,
            bucket: Arc::clone(self.charge.bucket),
            meter: self.charge.meter,
            key: self.charge.key,
            place: self.place,
            cost: self.charge.cost,
            hold: self.charge.hold,
            // A shadow rule knows no penalties.
            when_refused: match self.charge.mode {
                Mode::Enforced => self.charge.when_refused,
                Mode::Shadow => WhenRefused::Nothing,
            },
            charged_at: self.counted_at,
            before: self.before,
            written: self.written,
        }
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

/// What a meter of one word says to a charge, and the word that comes of it.
#[inline]
fn weigh(meter: &WordMeter, word: u64, cost: Cost, now: Timestamp) -> (Standing<'_>, u64) {
    if let WordMeter::TokenBucket(meter) = meter {
        let verdict = meter.decide(tat(word), meter.tick(now), cost);
        return (Standing::by_bucket(meter, verdict), verdict.tat().as_u64());
    }
    let ruling = meter.decide(word, now, cost);
    (Standing::by_answer(Place::Own, Some(ruling.answer)), ruling.state)
}

const fn tat(state: u64) -> sluicegate_core::algorithm::Tat {
    sluicegate_core::algorithm::Tat::from_u64(state)
}

//! A request's way through its charges: each is looked at, then made, and reported where its state is to stay.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use sluicegate_core::algorithm::{Meter, WordMeter};
use sluicegate_core::{Cost, Mode, RULES_MAX, Report, RuleState, Timestamp};

use super::hold::{HOLDS_MAX, Hold, Holding, Takings};
use super::kept::{Act, Demand, NOTHING_SAID};
use super::reach::Place;
use super::seen::Seen;
use super::standing::Standing;
use super::take::{Charge, Taken, WhenRefused, tat};
use super::{Key, Table};

/// The charges of one request on their way.
pub(super) struct Way<'s, 'r> {
    table: &'s Table,
    charges: &'s [Charge<'s>],
    now: Timestamp,
    /// One for each charge.
    steps: ArrayVec<Step<'s>, RULES_MAX>,
    /// Of each charge what was said when it was looked at and, once it is made, what was said then. Written where it stays: to
    /// hand it on costs more than to find out.
    report: &'r mut Report,
    /// Where the request's states begin there.
    first: usize,
    /// How long the request has to wait, by all that was seen so far.
    pub(super) delay: Duration,
}

/// One charge on its way.
struct Step<'s> {
    stage: Stage,
    /// What was seen for what is `written` in its place: for a bucket of one word a key, all that is left to do.
    seen: Option<Seen<'s>>,
    place: Place,
    /// How long the request has to wait for it.
    delay: Duration,
    before: u64,
    written: u64,
    counted_at: Timestamp,
}

/// How far a charge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// To be made.
    Open,
    /// To be made when all others are: the request has to stand in a queue for it.
    Queue,
    /// To be made only once the request passes.
    Shadow,
    Made,
}

impl<'s, 'r> Way<'s, 'r> {
    pub(super) fn new(table: &'s Table, charges: &'s [Charge<'s>], now: Timestamp, report: &'r mut Report) -> Self {
        Self {
            table,
            charges,
            now,
            steps: ArrayVec::new(),
            first: report.states().len(),
            report,
            delay: Duration::ZERO,
        }
    }

    /// Looks at the next charge; says whether it fits.
    #[inline]
    pub(super) fn look(&mut self, charge: &'s Charge<'s>) -> bool {
        let Meter::Word(meter) = charge.meter() else {
            return self.look_by_any(charge);
        };
        let seen = self.table.see(charge.bucket, charge.key);
        if seen.is_none() && charge.key == Key::Whole {
            return self.look_by_any(charge);
        }
        // A key without a cell is one never seen.
        let before = seen.map_or(0, |seen| seen.state);
        if let WordMeter::TokenBucket(bucket) = meter {
            let verdict = bucket.decide(tat(before), bucket.tick(self.now), charge.cost);
            self.steps.push(Step {
                seen,
                written: verdict.tat().as_u64(),
                ..Step::unseen(Stage::Open, before, self.now)
            });
            self.report
                .push(RuleState::of_bucket(charge.rule, charge.mode, bucket, &verdict));
            return verdict.passes();
        }
        let ruling = meter.decide(before, self.now, charge.cost);
        let queues = charge.queues();
        self.steps.push(Step {
            // A place in a queue depends on the other charges' waits.
            seen: if queues { None } else { seen },
            delay: ruling.answer.delay,
            written: ruling.state,
            ..Step::unseen(if queues { Stage::Queue } else { Stage::Open }, before, self.now)
        });
        self.delay = self.delay.max(ruling.answer.delay);
        self.report
            .push(RuleState::new(charge.rule, charge.mode, &ruling.answer));
        ruling.answer.passes()
    }

    fn look_by_any(&mut self, charge: &'s Charge<'s>) -> bool {
        let standing = self.table.ask(charge, charge.cost, self.now);
        let stage = if charge.queues() { Stage::Queue } else { Stage::Open };
        self.steps.push(Step {
            delay: standing.delay(),
            ..Step::unseen(stage, 0, self.now)
        });
        self.delay = self.delay.max(standing.delay());
        self.report.push(standing.state(charge.rule, charge.mode));
        standing.passes()
    }

    /// Passes by the next charge without a look.
    pub(super) fn pass_by(&mut self, charge: &Charge<'_>) {
        let stage = match charge.mode {
            Mode::Enforced => Stage::Open,
            Mode::Shadow => Stage::Shadow,
        };
        self.steps.push(Step::unseen(stage, 0, self.now));
        self.report
            .push(RuleState::new(charge.rule, charge.mode, &NOTHING_SAID));
    }

    /// Makes a charge; says whether it fits by now. Mostly that is one swap.
    #[inline]
    pub(super) fn make(&mut self, index: usize) -> bool {
        let charge = &self.charges[index];
        let counts = matches!(charge.meter(), Meter::Word(WordMeter::Concurrency(_)));
        let step = &mut self.steps[index];
        if step.seen.is_some_and(|seen| seen.swap(step.written, counts)) {
            step.stage = Stage::Made;
            return true;
        }
        self.make_by_any(index, self.delay)
    }

    /// Makes a charge wherever its key's state is by now.
    fn make_by_any(&mut self, index: usize, departs_after: Duration) -> bool {
        let charge = &self.charges[index];
        let demand = Demand {
            cost: charge.cost,
            reserves: charge.hold == Hold::UntilTheEnd,
            departs_after,
        };
        let (place, acted) = self.table.charge_state(charge.target(self.now), Act::Charge(demand));
        let standing = Standing::by_answer(place, acted.map(|acted| acted.answer));
        self.report
            .replace(self.first + index, standing.state(charge.rule, charge.mode));
        if !standing.passes() {
            return false;
        }
        if charge.mode == Mode::Enforced {
            self.delay = self.delay.max(standing.delay());
        }
        self.steps[index] = Step {
            stage: Stage::Made,
            seen: None,
            place: standing.place(),
            delay: standing.delay(),
            before: acted.map_or(0, |acted| acted.before),
            written: acted.map_or(0, |acted| acted.written),
            counted_at: acted.map_or(self.now, |acted| acted.counted_at),
        };
        true
    }

    /// How far a charge has come.
    #[inline]
    pub(super) fn stage(&self, index: usize) -> Stage {
        self.steps[index].stage
    }

    /// Moves the request's place in every queue to the time at which it leaves all of them. `false` if others were too
    /// fast too often.
    ///
    /// All places are taken for the longest wait that was seen beforehand, so there is something to do only if another request
    /// joined one of the queues in between.
    pub(super) fn align(&mut self) -> bool {
        for _ in 0..ALIGN_ROUNDS_MAX {
            let Some(index) = self.early() else {
                return true;
            };
            // The place taken before is free again, unless somebody stands behind it: then it stays empty.
            self.table.withdraw(&self.holding(index), self.now);
            // So that it is not withdrawn a second time: whoever joined meanwhile may stand in the very same place.
            self.steps[index].stage = Stage::Queue;
            if !self.make_by_any(index, self.delay) {
                return false;
            }
        }
        self.early().is_none()
    }

    /// A place in a queue from which the request would leave before it can leave all the others.
    fn early(&self) -> Option<usize> {
        let is_early = |(step, charge): (&Step<'_>, &Charge<'_>)| {
            step.stage == Stage::Made && step.delay < self.delay && charge.queues()
        };
        self.steps.iter().zip(self.charges).position(is_early)
    }

    /// Gives back what was charged; `later` because time has passed since, and may have refilled part of it.
    pub(super) fn undo(&self, later: Timestamp) {
        for (index, step) in self.steps.iter().enumerate() {
            if step.stage == Stage::Made {
                self.table.withdraw(&self.holding(index), later);
            }
        }
    }

    /// Refuses by a look at what is there now.
    #[cold]
    pub(super) fn refuse_by_look(mut self) -> Taken {
        let all = self.charges.iter().enumerate();
        let enforced = all.filter(|(_, charge)| charge.mode == Mode::Enforced);
        let looks = enforced.map(|(index, charge)| (index, self.table.look(charge, charge.cost, self.now)));
        match looks.min_by_key(|(_, state)| state.passes()) {
            Some((index, state)) => {
                self.tell(index, state);
                self.refuse(index)
            }
            None => Taken::Nothing,
        }
    }

    /// Reports a refused request: rules that refuse say when they would not, the others what is left untouched. Rules that
    /// charge refused requests do so.
    ///
    /// `refused` is the charge that settled it. What was seen of it then stays in the report: another look might see a charge given
    /// back.
    pub(super) fn refuse(mut self, refused: usize) -> Taken {
        for (index, charge) in self.charges.iter().enumerate() {
            if index != refused {
                let state = self.table.look(charge, charge.cost, self.now);
                let state = if state.passes() {
                    self.table.look(charge, Cost::ZERO, self.now)
                } else {
                    state
                };
                self.tell(index, state);
            }
            self.table.penalize(charge, self.charges, self.now);
        }
        Taken::Nothing
    }

    /// Reports of a charge, whether or not it was reported of before.
    fn tell(&mut self, index: usize, state: RuleState) {
        let place = self.first + index;
        if place < self.report.states().len() {
            self.report.replace(place, state);
        } else {
            self.report.push(state);
        }
    }

    /// Makes the shadow charges of a request that passes, and keeps what is to be given back later.
    pub(super) fn pass(mut self, takings: &mut Takings) -> Taken {
        let delay = self.delay;
        for (index, charge) in self.charges.iter().enumerate() {
            match self.stage(index) {
                Stage::Made => {}
                Stage::Shadow if !charge.is_charged_by_another(self.charges) => {
                    if !self.make_by_any(index, Duration::ZERO) {
                        continue;
                    }
                }
                // Charged by another rule of the same bucket.
                Stage::Open | Stage::Queue | Stage::Shadow => {
                    let state = self.table.look(charge, Cost::ZERO, self.now);
                    self.tell(index, state);
                    continue;
                }
            }
            if charge.hold == Hold::UntilTheEnd {
                takings.hold(self.holding(index));
            } else if !delay.is_zero() || takings.is_tentative() {
                takings.queue(self.holding(index));
            }
        }
        Taken::All { delay }
    }

    fn holding(&self, index: usize) -> Holding {
        let (charge, step) = (&self.charges[index], &self.steps[index]);
        Holding {
            rule: charge.rule,
            bucket: Arc::clone(charge.bucket),
            meter: charge.meter,
            key: charge.key,
            place: step.place,
            cost: charge.cost,
            hold: charge.hold,
            // A shadow rule knows no penalties.
            when_refused: match charge.mode {
                Mode::Enforced => charge.when_refused,
                Mode::Shadow => WhenRefused::Nothing,
            },
            charged_at: step.counted_at,
            before: step.before,
            written: step.written,
        }
    }
}

impl Step<'_> {
    #[inline]
    const fn unseen(stage: Stage, before: u64, now: Timestamp) -> Self {
        Self {
            stage,
            seen: None,
            place: Place::Own,
            delay: Duration::ZERO,
            before,
            written: 0,
            counted_at: now,
        }
    }
}

/// How often a request tries to get one time of departure from all its queues. Each further round means that yet another
/// request joined one of them within a microsecond.
const ALIGN_ROUNDS_MAX: usize = 4 * HOLDS_MAX;

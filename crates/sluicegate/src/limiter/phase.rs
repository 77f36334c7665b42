//! One phase of a request: its charges by rules that this node keeps alone, and by rules that nodes hold together; all or none.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::algorithm::Answer;
use sluicegate_core::{Cost, Mode, Report, Retry, RuleId, RuleState};
use sluicegate_state::leases::{Leases, Patience, SharedCharge, SharedMade, SharedMades, SharedTaken, Waiting};
use sluicegate_state::{Key, Taken, Takings};

use super::engine::{Charges, Engine, SharedCharges};

/// What became of the charges of one phase.
pub(super) enum Phase {
    /// All were taken.
    Passed {
        /// How long the request has to wait for its turn.
        delay: Duration,
    },
    /// At least one was refused, and nothing is charged.
    Refused,
    /// Some were taken, for the time being, and the store has been asked for the others.
    Waits(Waits),
}

/// What a request waits for.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) waiting: Box<Waiting>,
    /// What the store was asked for, to be reported when it has answered.
    pub(super) asked: Vec<Asked>,
    pub(super) delay: Duration,
}

/// A charge that the store was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    rule: RuleId,
    key: Key,
}

impl Engine {
    /// Takes the charges of a phase, all or none, and reports where their rules stand. [`Phase::Waits`] only comes of patience.
    #[inline]
    pub(super) fn take(
        &self,
        alone: &Charges<'_>,
        together: &SharedCharges<'_>,
        patience: Patience,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Phase {
        match &self.shared.leases {
            Some(leases) if !together.is_empty() => {
                self.take_together(leases, alone, (together, patience), report, takings)
            }
            _ => self.take_alone(alone, Duration::ZERO, report, takings),
        }
    }

    #[inline]
    fn take_alone(
        &self,
        charges: &Charges<'_>,
        departs_after: Duration,
        report: &mut Report,
        takings: &mut Takings,
    ) -> Phase {
        let (table, clock) = (&self.shared.table, &self.shared.clock);
        match table.take_departing(charges, clock, departs_after, report, takings) {
            Taken::All { delay } => Phase::Passed { delay },
            Taken::Nothing => Phase::Refused,
        }
    }

    /// The leases first: what they gave for nothing is given back without a trace, which is not so of every algorithm of the table.
    fn take_together(
        &self,
        leases: &Arc<Leases>,
        alone: &Charges<'_>,
        (together, patience): (&SharedCharges<'_>, Patience),
        report: &mut Report,
        takings: &mut Takings,
    ) -> Phase {
        let now = self.shared.now();
        let mut mades = SharedMades::new();
        let waiting = match leases.take(together, patience, now, report, &mut mades) {
            SharedTaken::All => None,
            SharedTaken::Waits(waiting) => Some(waiting),
            SharedTaken::Nothing => {
                self.shared.table.pass_over(alone, &self.shared.clock, report);
                report.sort();
                return Phase::Refused;
            }
        };
        if waiting.is_some() {
            takings.make_tentative();
        }
        let departs_at = mades.iter().filter_map(SharedMade::departs_at).max();
        let departs_after = departs_at.map_or(Duration::ZERO, |at| at.saturating_since(now));
        let Phase::Passed { delay } = self.take_alone(alone, departs_after, report, takings) else {
            if let Some(waiting) = waiting {
                waiting.refuse();
            }
            for made in mades.iter().filter(|made| made.is_penalty() && made.is_held()) {
                let penalty = made.hold();
                let cost = penalty.cost();
                leases.settle(penalty, cost, now);
            }
            mades.retain(|made| !made.is_penalty());
            leases.undo(&mut mades, now);
            report.retain(|rule| !together.iter().any(|charge| charge.rule == rule));
            for charge in together {
                report.push(leases.standing(&asking_nothing(charge), now));
            }
            report.sort();
            return Phase::Refused;
        };
        report.sort();
        let all = takings.is_tentative() || !delay.is_zero();
        for made in &mades {
            if all || made.is_held() {
                let mut holding = made.hold();
                leases.hold_up(&mut holding, now.saturating_add(delay));
                takings.lend(holding);
            }
        }
        let Some(waiting) = waiting else {
            return Phase::Passed { delay };
        };
        let is_answered = |rule| report.states().iter().any(|state| state.rule == rule);
        let asked = together.iter().filter(|charge| !is_answered(charge.rule));
        let asked = asked.map(|charge| Asked {
            rule: charge.rule,
            key: charge.key,
        });
        Phase::Waits(Waits {
            asked: asked.collect(),
            waiting,
            delay,
        })
    }

    /// Reports where the rules stand that the store was asked for.
    pub(super) fn report_asked(&self, asked: &[Asked], report: &mut Report) {
        let Some(leases) = &self.shared.leases else { return };
        let now = self.shared.now();
        for one in asked {
            let rule = self.rules.get(one.rule.index());
            if let Some(charge) = rule.and_then(|rule| rule.shared_charge_of(one.key, Cost::ZERO)) {
                report.push(leases.standing(&charge, now));
            }
        }
        report.sort();
    }
}

/// Reports the rules that the store refused, each with the microseconds after which it might not, in the place of whatever was
/// reported of them.
pub(super) fn report_refused(refused: &[(RuleId, f64)], report: &mut Report) {
    report.retain(|rule| !refused.iter().any(|(refusing, _)| *refusing == rule));
    for (rule, retry_after) in refused {
        let wait = Duration::try_from_secs_f64(retry_after / 1e6).unwrap_or(Duration::ZERO);
        let wait = wait.max(LEAST_RETRY);
        let answer = Answer {
            remaining: 0,
            reset_after: wait,
            retry: Some(Retry::After(wait)),
            delay: Duration::ZERO,
        };
        report.push(RuleState::new(*rule, Mode::Enforced, &answer));
    }
    report.sort();
}

/// A wait that is told is never nothing.
const LEAST_RETRY: Duration = Duration::from_millis(1);

/// The same charge, to look at what is left.
fn asking_nothing<'b>(charge: &SharedCharge<'b>) -> SharedCharge<'b> {
    SharedCharge {
        cost: Cost::ZERO,
        ..*charge
    }
}

//! Which rule a program asks: by its name, or by a handle that has looked the name up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::algorithm::{Meter, WordMeter};
use sluicegate_core::{Cost, RULES_MAX, RuleId};
use sluicegate_state::leases::{Patience, SharedCharge, Waited};
use sluicegate_state::{Charge, HOLDS_MAX, Hold, Key as CellKey, Taken, Takings, WhenRefused};

use super::Limiter;
use super::check::Check;
use super::engine::{Charges, Engine, Rule};
use super::phase::{Phase, report_refused};
use super::registry::OPEN_MAX;
use crate::metrics::RuleOutcome;
use crate::{Mode, Report};

/// Why a rule cannot be asked. Nothing was charged. All but [`AskError::TooManyOpen`] are mistakes of the program, or of
/// whoever took a rule out of the policy that the program asks by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The policy in force has no rule of that name.
    #[error("there is no rule {name:?}")]
    UnknownRule {
        /// The name.
        name: String,
    },
    /// The rule gives permits, which are nobody's if nobody holds them.
    #[error("the rule {name:?} gives permits, which have to be held: ask by `acquire`")]
    GivesPermits {
        /// The rule.
        name: String,
    },
    /// The rule gives no permits.
    #[error("the rule {name:?} gives no permits; they take `algorithm: concurrency`")]
    GivesNoPermits {
        /// The rule.
        name: String,
    },
    /// What the rule has charged cannot be put right later.
    #[error("the rule {name:?} cannot put right what it has charged; that takes a token bucket or a window")]
    CannotSettle {
        /// The rule.
        name: String,
    },
    /// The rule counts more than failures.
    #[error("the rule {name:?} counts every attempt, not failed ones; that takes `count: failures`")]
    CountsAttempts {
        /// The rule.
        name: String,
    },
    /// More rules in one question than a decision has room for.
    #[error("{asked} rules in one question, and {RULES_MAX} is the most")]
    TooManyAtOnce {
        /// How many.
        asked: usize,
    },
    /// More rules in one question that hold something than there is room for.
    #[error("{asked} rules in one question hold something, and {HOLDS_MAX} is the most")]
    TooManyHeld {
        /// How many do.
        asked: usize,
    },
    /// As many reservations with a deadline or an id are remembered as may be. Not a mistake but load: their deadlines
    /// are too far off for the rate at which they are taken.
    #[error("{OPEN_MAX} reservations are remembered, which is the most; shorten their deadlines")]
    TooManyOpen,
}

/// What stands for a rule where one is asked: its name, or a [`RuleHandle`].
pub trait AskedRule: sealed::Sealed {
    /// The rule's name.
    #[doc(hidden)]
    fn name(&self) -> &str;

    /// The rule of that name in the policy.
    #[doc(hidden)]
    fn find(&self, engine: &Engine) -> Option<RuleId>;
}

mod sealed {
    /// Whatever else stood for a rule would have to survive a reload too.
    pub trait Sealed {}

    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::RuleHandle {}
    impl<R: Sealed + ?Sized> Sealed for &R {}
}

impl AskedRule for str {
    fn name(&self) -> &str {
        self
    }

    #[inline]
    fn find(&self, engine: &Engine) -> Option<RuleId> {
        engine.rule(self)
    }
}

impl AskedRule for String {
    fn name(&self) -> &str {
        self
    }

    #[inline]
    fn find(&self, engine: &Engine) -> Option<RuleId> {
        engine.rule(self)
    }
}

impl<R: AskedRule + ?Sized> AskedRule for &R {
    fn name(&self) -> &str {
        (**self).name()
    }

    #[inline]
    fn find(&self, engine: &Engine) -> Option<RuleId> {
        (**self).find(engine)
    }
}

/// A rule's name, looked up: the quick way to ask the same rule again and again, some 20 ns less than by its name.
///
/// It survives a change of the policy: the first question after it looks the name up anew. May be cloned and shared.
#[derive(Debug)]
pub struct RuleHandle {
    name: Box<str>,
    /// The number of the engine that it was looked up in, above the rule's place there in the low 16 bits.
    ///
    /// Relaxed throughout: the word says all there is, and what it says of an engine stays true.
    found: AtomicU64,
}

/// Low bits of a handle's word that are the rule's place.
const PLACE_BITS: u32 = 16;

impl RuleHandle {
    pub(super) fn new(name: &str, engine: &Engine, rule: RuleId) -> Self {
        Self {
            name: name.into(),
            found: AtomicU64::new(word(engine, rule)),
        }
    }

    #[cold]
    fn look_up(&self, engine: &Engine) -> Option<RuleId> {
        let rule = engine.rule(&self.name)?;
        self.found.store(word(engine, rule), Ordering::Relaxed);
        Some(rule)
    }
}

fn word(engine: &Engine, rule: RuleId) -> u64 {
    engine.number << PLACE_BITS | rule.index() as u64
}

impl Clone for RuleHandle {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            found: AtomicU64::new(self.found.load(Ordering::Relaxed)),
        }
    }
}

impl AskedRule for RuleHandle {
    fn name(&self) -> &str {
        &self.name
    }

    #[inline]
    fn find(&self, engine: &Engine) -> Option<RuleId> {
        let found = self.found.load(Ordering::Relaxed);
        if found >> PLACE_BITS != engine.number {
            return self.look_up(engine);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the rule's place")]
        let place = found as u16;
        Some(RuleId::new(place))
    }
}

/// How a rule is asked by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// One charge on one cell is all there is to it.
    Plain,
    /// It has more to it: another threshold of a shared bucket, or a penalty for what is refused.
    Through,
    /// It gives permits.
    Permits,
    /// Other nodes have a say in it.
    Together,
}

impl Limiter {
    /// The rule of that name in the policy in force, looked up for [`Limiter::check`] and its like.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn rule(&self, name: &str) -> Result<RuleHandle, AskError> {
        let engine = self.engine.load();
        let rule = engine.rule(name).ok_or_else(|| unknown(name))?;
        Ok(RuleHandle::new(name, &engine, rule))
    }
}

impl Engine {
    /// The rule that is asked.
    #[inline]
    pub(super) fn asked<R: AskedRule + ?Sized>(&self, rule: &R) -> Result<&Rule, AskError> {
        let found = rule.find(self).and_then(|id| self.rules.get(id.index()));
        found.ok_or_else(|| unknown(rule.name()))
    }

    /// Charges one rule as the table charges several: what is held of it is given back to the caller.
    pub(super) fn ask_through(&self, rule: &Rule, key: CellKey, cost: Cost, hold: Hold) -> (Check, Takings) {
        let charge = Charge {
            hold,
            ..rule.charge_of(key, cost)
        };
        let mut report = Report::new();
        let mut takings = Takings::new();
        let taken = self
            .shared
            .table
            .take(&[charge], &self.shared.clock, &mut report, &mut takings);
        let delay = match taken {
            Taken::All { delay } => delay,
            Taken::Nothing => Duration::ZERO,
        };
        if hold == Hold::No {
            // A place in a queue could be given back while the program waits, and it has no way to say that it left.
            drop(takings.take_queued());
        }
        let state = report.states().first();
        let check = state.map_or_else(|| unreachable_state(charge.mode), |state| Check::of_state(state, delay));
        self.metrics
            .count_check(rule.id, RuleOutcome::of(charge.mode, check.fits()));
        (check, takings)
    }
}

impl Engine {
    /// Charges one rule, without a wait, and holds what it took.
    pub(super) fn ask_held(&self, rule: &Rule, key: CellKey, cost: Cost) -> (Check, Takings) {
        if rule.shared.is_some() {
            self.ask_together_for(rule, key, cost, Hold::UntilTheEnd)
        } else {
            self.ask_through(rule, key, cost, Hold::UntilTheEnd)
        }
    }

    /// Charges one rule that other nodes have a say in, without a wait.
    #[cold]
    pub(super) fn ask_together(&self, rule: &Rule, key: CellKey, cost: Cost) -> Check {
        self.ask_together_for(rule, key, cost, Hold::No).0
    }

    /// The same, with what is held of it.
    pub(super) fn ask_together_for(&self, rule: &Rule, key: CellKey, cost: Cost, hold: Hold) -> (Check, Takings) {
        let mode = rule.mode(key);
        let (mut report, mut takings) = (Report::new(), Takings::new());
        let charge = rule.shared_charge_of(key, cost);
        let together = charge
            .map(|charge| SharedCharge { hold, ..charge })
            .into_iter()
            .collect();
        let none = Charges::new();
        let delay = match self.take(&none, &together, Patience::Refuses, &mut report, &mut takings) {
            Phase::Passed { delay } => delay,
            Phase::Refused | Phase::Waits(_) => Duration::ZERO,
        };
        (self.checked(rule, mode, delay, &report), takings)
    }

    /// The same, with a wait where the rule asks for one.
    pub(super) async fn wait_together(
        self: Arc<Self>,
        rule: RuleId,
        key: CellKey,
        (cost, hold): (Cost, Hold),
    ) -> Option<(Check, Takings)> {
        let rule = self.rules.get(rule.index())?;
        let mode = rule.mode(key);
        let (mut report, mut takings) = (Report::new(), Takings::new());
        let charge = rule.shared_charge_of(key, cost);
        let together = charge
            .map(|charge| SharedCharge { hold, ..charge })
            .into_iter()
            .collect();
        let delay = match self.take(&Charges::new(), &together, Patience::Waits, &mut report, &mut takings) {
            Phase::Passed { delay } => delay,
            Phase::Refused => Duration::ZERO,
            Phase::Waits(waits) => match waits.waiting.await {
                Waited::All(holdings) => {
                    self.report_asked(&waits.asked, &mut report);
                    self.lend(*holdings, waits.delay, &mut takings)
                }
                Waited::Nothing { refused } => {
                    report_refused(&refused, &mut report);
                    Duration::ZERO
                }
            },
        };
        Some((self.checked(rule, mode, delay, &report), takings))
    }

    fn checked(&self, rule: &Rule, mode: Mode, delay: Duration, report: &Report) -> Check {
        let state = report.states().first();
        let check = state.map_or_else(|| unreachable_state(mode), |state| Check::of_state(state, delay));
        self.metrics.count_check(rule.id, RuleOutcome::of(mode, check.fits()));
        check
    }
}

/// A charge is always reported; if it were not, nothing would have been charged.
fn unreachable_state(mode: Mode) -> Check {
    debug_assert!(false, "a charge went unreported");
    Check::refused(mode)
}

#[cold]
pub(super) fn unknown(name: &str) -> AskError {
    AskError::UnknownRule { name: name.to_owned() }
}

impl Rule {
    pub(super) fn asking(meter: &Meter, index: u8, when_refused: WhenRefused) -> Asking {
        match meter {
            Meter::Word(WordMeter::Concurrency(_)) => Asking::Permits,
            _ if index != 0 || when_refused == WhenRefused::Charge => Asking::Through,
            _ => Asking::Plain,
        }
    }

    /// Whether what it has charged can be put right later.
    pub(super) fn can_settle(&self) -> bool {
        matches!(
            self.bucket.meter(),
            Meter::Word(WordMeter::TokenBucket(_)) | Meter::Wide(_)
        )
    }
}

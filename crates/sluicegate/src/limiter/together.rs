//! Several rules in one question, all of them or none.

use sluicegate_core::{Cost, RULES_MAX, Report};
use sluicegate_state::leases::Patience;
use sluicegate_state::{HOLDS_MAX, Hold, Takings};

use super::Limiter;
use super::asked::AskError;
use super::engine::{Charges, SharedCharges};
use super::key::Key;
use super::outcome::Decision;
use super::phase::Phase;

impl Limiter {
    /// Charges several rules at once, each with a key and a cost of its own: all of them if all have room, else none.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule};
    ///
    /// // A key that many share, and beneath it a limit for each of its users.
    /// let limiter = Limiter::builder().limit("per-key", "3/min").limit("per-user", "2/min").build()?;
    /// let passes = |user: &str| {
    ///     let decision = limiter.check_all(&[("per-key", &"acme", 1), ("per-user", &("acme", user), 1)])?;
    ///     Ok::<bool, sluicegate::AskError>(decision.passes())
    /// };
    /// assert!(passes("ann")? && passes("ann")?);
    /// // Ann has used up hers; what is left of the key is untouched by her refusals.
    /// assert!(!passes("ann")? && !passes("ann")?);
    /// assert!(passes("bob")?);
    /// assert!(!passes("cem")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The decision's report has a state for each rule, in the order of the question. An allowance carries an
    /// [`Admitted`](super::Admitted), which holds permits and open reservations until it is dropped; a delay has to be waited by the
    /// program, see [`Admitted::depart`](super::Admitted::depart). Two of the rules that draw from one bucket charge it once.
    /// Counted like a request that no route takes in. Rules that other nodes have a say in are asked too; what would have to wait for the
    /// store is refused, and fetched meanwhile. Of a rule with `sharing: exact` that is everything.
    ///
    /// # Errors
    ///
    /// If there is no rule of a name, more than 16 are asked, or more than four of them hold something.
    pub fn check_all(&self, asked: &[(&str, &dyn Key, u64)]) -> Result<Decision, AskError> {
        if asked.len() > RULES_MAX {
            return Err(AskError::TooManyAtOnce { asked: asked.len() });
        }
        let engine = self.engine.load();
        let mut charges = Charges::new();
        let mut together = SharedCharges::new();
        for (name, key, cost) in asked {
            let rule = engine.asked(*name)?;
            let key = engine.cell_of(rule, *key);
            match rule.shared_charge_of(key, Cost::new(*cost)) {
                Some(charge) => together.push(charge),
                None => charges.push(rule.charge_of(key, Cost::new(*cost))),
            }
        }
        let holds = charges.iter().filter(|charge| charge.hold == Hold::UntilTheEnd).count();
        if holds > HOLDS_MAX {
            return Err(AskError::TooManyHeld { asked: holds });
        }
        let mut report = Report::of_generation(engine.generation());
        let mut takings = Takings::new();
        let phase = engine.take(&charges, &together, Patience::Refuses, &mut report, &mut takings);
        Ok(match phase {
            Phase::Passed { delay } => engine.admit(None, takings, delay, report),
            Phase::Refused | Phase::Waits(_) => engine.deny(None, report),
        })
    }
}

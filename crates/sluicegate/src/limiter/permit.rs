//! Permits: so much at once, for as long as someone holds it.

use std::sync::Arc;

use sluicegate_core::Cost;
use sluicegate_state::{Hold, Holding};

use super::Limiter;
use super::asked::{AskError, AskedRule, Asking};
use super::grant::Grant;
use super::key::Key;
use super::shared::Shared;

impl Limiter {
    /// Takes one permit of a `concurrency` rule, to be held for as long as whatever it is for goes on.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule};
    ///
    /// let limiter = Limiter::builder().rule(Rule::named("streams").permits(1)).build()?;
    /// let permit = limiter.acquire("streams", "alice")?.granted().ok_or("no permit is left")?;
    /// assert!(!limiter.acquire("streams", "alice")?.is_granted());
    /// drop(permit);
    /// assert!(limiter.acquire("streams", "alice")?.is_granted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// No allocation, no lock but for a key's first permit.
    ///
    /// # Errors
    ///
    /// If there is no such rule, or it gives no permits.
    pub fn acquire(&self, rule: impl AskedRule, key: impl Key) -> Result<Grant<Permit>, AskError> {
        let engine = self.engine.load();
        let rule = engine.asked(&rule)?;
        if rule.asking != Asking::Permits {
            return Err(AskError::GivesNoPermits {
                name: engine.name_of(rule),
            });
        }
        let key = engine.cell_of(rule, &key);
        let (check, mut takings) = engine.ask_through(rule, key, Cost::ONE, Hold::UntilTheEnd);
        if !check.passes() {
            return Ok(Grant::Refused(check));
        }
        Ok(Grant::Granted(Permit {
            shared: Arc::clone(&self.shared),
            holding: takings.take_held(|_| true),
        }))
    }
}

/// A permit. Dropping it gives it back, also while a panic unwinds or a future is cancelled.
///
/// May go to another thread and be held across an `await`.
#[derive(Debug)]
#[must_use = "a permit that nobody holds is given back at once"]
pub struct Permit {
    shared: Arc<Shared>,
    /// `None` where a rule in shadow mode let more through than it has.
    holding: Option<Holding>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(holding) = self.holding.take() {
            self.shared.table.settle(holding, Cost::ZERO, self.shared.now());
        }
    }
}

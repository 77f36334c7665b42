//! Attempts: what counts only if it fails.

use std::sync::Arc;

use sluicegate_core::Cost;
use sluicegate_state::{Hold, Holding};

use super::Limiter;
use super::asked::{AskError, AskedRule};
use super::grant::Grant;
use super::key::Key;
use super::shared::Shared;
use crate::policy::checked::OnSuccess;

impl Limiter {
    /// Begins an attempt under a rule that counts failures. It is counted from the start, so that guesses made at the same time
    /// cannot beat the limit, and given back if it succeeds.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule};
    /// use std::time::Duration;
    ///
    /// let passwords = Rule::named("passwords")
    ///     .limit("5 per 15min")
    ///     .count_failures()
    ///     .lock(Duration::from_secs(15 * 60));
    /// let limiter = Limiter::builder().rule(passwords).build()?;
    /// for _ in 0..5 {
    ///     let attempt = limiter.attempt("passwords", "alice")?.granted().ok_or("locked")?;
    ///     attempt.failed();
    /// }
    /// assert!(!limiter.attempt("passwords", "alice")?.is_granted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// No allocation, no lock but those of the key's own cell.
    ///
    /// # Errors
    ///
    /// If there is no such rule, or it counts more than failures.
    pub fn attempt(&self, rule: impl AskedRule, key: impl Key) -> Result<Grant<Attempt>, AskError> {
        let engine = self.engine.load();
        let rule = engine.asked(&rule)?;
        let on_success = rule.ending.as_ref().and_then(super::ending::Ending::on_success);
        let Some(on_success) = on_success else {
            return Err(AskError::CountsAttempts {
                name: engine.name_of(rule),
            });
        };
        let key = engine.cell_of(rule, &key);
        let (check, mut takings) = engine.ask_through(rule, key, Cost::ONE, Hold::UntilTheEnd);
        if !check.passes() {
            return Ok(Grant::Refused(check));
        }
        Ok(Grant::Granted(Attempt {
            shared: Arc::clone(&self.shared),
            holding: takings.take_held(|_| true),
            on_success,
        }))
    }
}

/// An attempt under way. Dropped without a word it has failed: whoever hangs up in the middle of a guess has guessed.
///
/// May go to another thread and be held across an `await`.
#[derive(Debug)]
#[must_use = "an attempt that nobody holds has failed"]
pub struct Attempt {
    shared: Arc<Shared>,
    /// `None` where a rule in shadow mode let more through than it has.
    holding: Option<Holding>,
    on_success: OnSuccess,
}

impl Attempt {
    /// It has failed, and stays counted.
    pub fn failed(self) {
        drop(self);
    }

    /// It has succeeded: what it took is given back and, if the rule says `on_success: clear`, the key's failures before
    /// it are forgotten; not a lock, nor what other attempts have open.
    pub fn succeeded(mut self) {
        let Some(holding) = self.holding.take() else { return };
        let now = self.shared.now();
        match self.on_success {
            OnSuccess::Return => self.shared.table.settle(holding, Cost::ZERO, now),
            OnSuccess::Clear => self.shared.table.clear(holding, now),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(holding) = self.holding.take() {
            self.shared.keep(holding);
        }
    }
}

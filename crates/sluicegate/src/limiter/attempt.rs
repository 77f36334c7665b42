//! Attempts: what counts only if it fails.

use std::sync::Arc;

use sluicegate_core::Cost;
use sluicegate_state::{Hold, Takings};

use super::Limiter;
use super::asked::{AskError, AskedRule, unknown};
use super::check::Check;
use super::ending::Ending;
use super::engine::{Engine, Rule};
use super::grant::Grant;
use super::held::Held;
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
    /// No allocation, no lock but those of the key's own cell. Of a rule that other nodes have a say in, what would have to wait for the
    /// store is refused, and fetched for the next time; of one with `sharing: exact` that is everything: see [`Limiter::attempt_waiting`].
    ///
    /// # Errors
    ///
    /// If there is no such rule, or it counts more than failures.
    pub fn attempt(&self, rule: impl AskedRule, key: impl Key) -> Result<Grant<Attempt>, AskError> {
        let engine = self.engine.load();
        let rule = engine.asked(&rule)?;
        let on_success = engine.on_success(rule)?;
        let key = engine.cell_of(rule, &key);
        let asked = engine.ask_held(rule, key, Cost::ONE);
        Ok(Attempt::granted(&self.shared, asked, on_success))
    }

    /// Begins an attempt, and waits for the store where it has to be asked: of a rule that other nodes have a say in, for a few
    /// milliseconds at most. Of any other rule it is [`Limiter::attempt`], and ready at once.
    ///
    /// Needs no runtime of its own. Dropped before it is ready, it gives back what was taken.
    ///
    /// # Errors
    ///
    /// As [`Limiter::attempt`].
    pub async fn attempt_waiting(&self, rule: impl AskedRule, key: impl Key) -> Result<Grant<Attempt>, AskError> {
        let engine = self.engine();
        let asked = engine.asked(&rule)?;
        let on_success = engine.on_success(asked)?;
        if asked.shared.is_none() {
            return self.attempt(rule, key);
        }
        let (id, cell) = (asked.id, engine.cell_of(asked, &key));
        let waited = Arc::clone(&engine).wait_together(id, cell, (Cost::ONE, Hold::UntilTheEnd));
        let asked = waited.await.ok_or_else(|| unknown(rule.name()))?;
        Ok(Attempt::granted(&self.shared, asked, on_success))
    }
}

impl Engine {
    fn on_success(&self, rule: &Rule) -> Result<OnSuccess, AskError> {
        let on_success = rule.ending.as_ref().and_then(Ending::on_success);
        on_success.ok_or_else(|| AskError::CountsAttempts {
            name: self.name_of(rule),
        })
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
    held: Option<Held>,
    on_success: OnSuccess,
}

impl Attempt {
    fn granted(shared: &Arc<Shared>, (check, mut takings): (Check, Takings), on_success: OnSuccess) -> Grant<Self> {
        if !check.passes() {
            return Grant::Refused(check);
        }
        Grant::Granted(Self {
            shared: Arc::clone(shared),
            held: Held::take(&mut takings),
            on_success,
        })
    }

    /// It has failed, and stays counted.
    pub fn failed(self) {
        drop(self);
    }

    /// It has succeeded: what it took is given back and, if the rule says `on_success: clear`, the key's failures before
    /// it are forgotten; not a lock, nor what other attempts have open.
    pub fn succeeded(mut self) {
        let Some(held) = self.held.take() else { return };
        match self.on_success {
            OnSuccess::Return => held.settle(&self.shared, Cost::ZERO),
            OnSuccess::Clear => held.clear(&self.shared),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.keep(&self.shared);
        }
    }
}

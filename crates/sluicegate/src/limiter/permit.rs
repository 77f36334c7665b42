//! Permits: so much at once, for as long as someone holds it.

use std::sync::Arc;

use sluicegate_core::Cost;
use sluicegate_state::{Hold, Takings};

use super::Limiter;
use super::asked::{AskError, AskedRule, Asking, unknown};
use super::check::Check;
use super::grant::Grant;
use super::held::Held;
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
        let (check, takings) = engine.ask_held(rule, key, Cost::ONE);
        Ok(granted(&self.shared, check, takings))
    }

    /// Takes one permit, and waits for the store where it has to be asked: of a rule that other nodes have a say in, for a few
    /// milliseconds at most. Of any other rule it is [`Limiter::acquire`], and ready at once.
    ///
    /// Needs no runtime of its own. Dropped before it is ready, it gives back what was taken.
    ///
    /// # Errors
    ///
    /// As [`Limiter::acquire`].
    pub async fn acquire_waiting(&self, rule: impl AskedRule, key: impl Key) -> Result<Grant<Permit>, AskError> {
        let engine = self.engine();
        let asked = engine.asked(&rule)?;
        if asked.shared.is_none() || asked.asking != Asking::Permits {
            return self.acquire(rule, key);
        }
        let (id, cell) = (asked.id, engine.cell_of(asked, &key));
        let waited = Arc::clone(&engine)
            .wait_together(id, cell, (Cost::ONE, Hold::UntilTheEnd))
            .await;
        let (check, takings) = waited.ok_or_else(|| unknown(rule.name()))?;
        Ok(granted(&self.shared, check, takings))
    }
}

fn granted(shared: &Arc<Shared>, check: Check, mut takings: Takings) -> Grant<Permit> {
    if !check.passes() {
        return Grant::Refused(check);
    }
    Grant::Granted(Permit {
        shared: Arc::clone(shared),
        held: Held::take(&mut takings),
    })
}

/// A permit. Dropping it gives it back, also while a panic unwinds or a future is cancelled.
///
/// May go to another thread and be held across an `await`.
#[derive(Debug)]
#[must_use = "a permit that nobody holds is given back at once"]
pub struct Permit {
    shared: Arc<Shared>,
    /// `None` where a rule in shadow mode let more through than it has.
    held: Option<Held>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.settle(&self.shared, Cost::ZERO);
        }
    }
}

//! The short form: one rule, one key, asked by a program for something of its own.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::{Cost, Mode, Retry, RuleState};
use sluicegate_state::{Clock as _, Hold, Key as CellKey, Standing};

use super::Limiter;
use super::asked::{AskError, AskedRule, Asking, unknown};
use super::engine::{Engine, Rule};
use super::key::{Key, cell_of};
use crate::metrics::RuleOutcome;

impl Limiter {
    /// Charges one unit to one key of one rule: the short form for a program that counts something of its own.
    ///
    /// ```
    /// use sluicegate::Limiter;
    ///
    /// let limiter = Limiter::builder().limit("emails", "2/h").build()?;
    /// assert!(limiter.check("emails", "alice")?.passes());
    /// assert!(limiter.check("emails", "alice")?.passes());
    /// assert!(!limiter.check("emails", "alice")?.passes());
    /// assert!(limiter.check("emails", "bob")?.passes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// `rule` is a name, or a [`RuleHandle`](super::RuleHandle) that has looked it up, for a rule that is asked again and again. A rule
    /// with the key `program` is asked this way alone. Any other can be asked too, whatever routes it names; where its key is
    /// `ip`, an address as `key` draws from the cell of the requests from there, where it is `[]`, all draw from the one cell.
    /// Other keys of requests are not a program's to name: what it names beside them is a key apart.
    ///
    /// A rule that other nodes have a say in is asked too. What would have to wait for the store is refused, and fetched for the next time;
    /// of a rule with `sharing: exact` that is everything: see [`Limiter::check_waiting`].
    ///
    /// One reading of the clock; no allocation; no lock but for a key's first charge and, of windows, logs and buckets that settle, that of
    /// the key's own cell, and of rules that other nodes have a say in, that of a 256th of the keys.
    ///
    /// # Errors
    ///
    /// If there is no such rule, or it gives permits. A refusal is no error: see [`Check::passes`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most callers only ask `passes`, and then most of the answer is never made"
    )]
    pub fn check(&self, rule: impl AskedRule, key: impl Key) -> Result<Check, AskError> {
        self.check_cost(rule, key, 1)
    }

    /// Charges `cost` units, all of them or none. Zero asks without charging.
    ///
    /// ```
    /// # let limiter = sluicegate::Limiter::builder().limit("rows", "1000/min").build()?;
    /// assert!(limiter.check_cost("rows", "alice", 800)?.passes());
    /// let refused = limiter.check_cost("rows", "alice", 800)?;
    /// assert!(!refused.passes());
    /// assert_eq!(refused.remaining(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A cost above the limit's burst never passes ([`Retry::Never`]). One that came as text is read by [`Cost::parse`], which
    /// takes neither signs nor fractions.
    ///
    /// # Errors
    ///
    /// As [`Limiter::check`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `check`")]
    pub fn check_cost(&self, rule: impl AskedRule, key: impl Key, cost: u64) -> Result<Check, AskError> {
        self.engine.load().check_cost(rule, key, cost)
    }

    /// Charges `cost` units, and waits for the store where the rule has to ask it: a `leased` or `exact` rule that other nodes have a
    /// say in, for a few milliseconds at most. Of any other rule it is [`Limiter::check_cost`], and ready at once.
    ///
    /// Needs no runtime of its own. Dropped before it is ready, it gives back what was taken.
    ///
    /// # Errors
    ///
    /// As [`Limiter::check`].
    pub async fn check_waiting(&self, rule: impl AskedRule, key: impl Key, cost: u64) -> Result<Check, AskError> {
        let engine = self.engine();
        let asked = engine.asked(&rule)?;
        if asked.asking != Asking::Together {
            return self.check_cost(rule, key, cost);
        }
        let (id, cell) = (asked.id, engine.cell_of(asked, &key));
        let checked = Arc::clone(&engine)
            .wait_together(id, cell, (Cost::new(cost), Hold::No))
            .await;
        checked.map(|(check, _)| check).ok_or_else(|| unknown(rule.name()))
    }
}

impl Engine {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `Limiter::check`")]
    pub(super) fn check_cost(&self, rule: impl AskedRule, key: impl Key, cost: u64) -> Result<Check, AskError> {
        let rule = self.asked(&rule)?;
        let key = self.cell_of(rule, &key);
        match rule.asking {
            Asking::Plain => {}
            Asking::Through => return Ok(self.ask_through(rule, key, Cost::new(cost), Hold::No).0),
            Asking::Together => return Ok(self.ask_together(rule, key, Cost::new(cost))),
            Asking::Permits => return Err(self.gives_permits(rule)),
        }
        let mode = rule.mode(key);
        let now = self.shared.clock.now();
        let standing = self.shared.table.charge(&rule.bucket, key, Cost::new(cost), now);
        self.metrics
            .count_check(rule.id, RuleOutcome::of(mode, standing.passes()));
        Ok(Check::of_standing(mode, &standing))
    }

    /// The cell of `rule` that a program's key names.
    #[inline]
    pub(super) fn cell_of<K: Key + ?Sized>(&self, rule: &Rule, key: &K) -> CellKey {
        if rule.is_whole {
            return CellKey::Whole;
        }
        cell_of(key, &self.shared.hasher, &self.resolver.identity)
    }

    #[cold]
    pub(super) fn gives_permits(&self, rule: &Rule) -> AskError {
        AskError::GivesPermits {
            name: self.name_of(rule),
        }
    }

    /// The rule's name, for a message.
    pub(super) fn name_of(&self, rule: &Rule) -> String {
        let name = self.told.rule_names.get(rule.id.index());
        name.map_or_else(String::new, ToString::to_string)
    }
}

/// What one rule said to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Check {
    mode: Mode,
    fits: bool,
    overflow: bool,
    remaining: u64,
    reset_after: Duration,
    retry: Option<Retry>,
    delay: Duration,
}

impl Check {
    #[inline]
    pub(super) const fn of_standing(mode: Mode, standing: &Standing<'_>) -> Self {
        Self {
            mode,
            fits: standing.passes(),
            overflow: standing.overflow(),
            remaining: standing.remaining(),
            reset_after: standing.reset_after(),
            retry: standing.retry(),
            delay: standing.delay(),
        }
    }

    pub(super) const fn of_state(state: &RuleState, delay: Duration) -> Self {
        Self {
            mode: state.mode,
            fits: state.passes(),
            overflow: state.overflow,
            remaining: state.remaining,
            reset_after: state.reset_after(),
            retry: state.retry(),
            delay,
        }
    }

    /// Of a charge that nobody reported.
    pub(super) const fn refused(mode: Mode) -> Self {
        Self {
            mode,
            fits: false,
            overflow: false,
            remaining: 0,
            reset_after: Duration::ZERO,
            retry: Some(Retry::Never),
            delay: Duration::ZERO,
        }
    }

    /// Whether to go on, now or after the [`delay`](Self::delay): the charge fits, or the rule is in shadow mode for this key.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.fits || matches!(self.mode, Mode::Shadow)
    }

    /// Whether the charge fits, also in shadow mode.
    pub const fn fits(&self) -> bool {
        self.fits
    }

    /// Whether a refusal counts.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the key found no free cell and drew from the rule's overflow.
    pub const fn overflow(&self) -> bool {
        self.overflow
    }

    /// Whole units left.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Until the limit is whole again; zero when it is.
    pub const fn reset_after(&self) -> Duration {
        self.reset_after
    }

    /// `None` if the charge fits, else when it would.
    pub const fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// How long to wait before going on; zero but in a leaky bucket, whose queue this is. The place in it is taken.
    ///
    /// The limiter waits for nobody and knows no runtime: `tokio::time::sleep(check.delay()).await`, or whatever the program
    /// waits by.
    ///
    /// ```
    /// use sluicegate::{Algorithm, Limiter, Rule};
    /// use std::time::Duration;
    ///
    /// // What goes out is spaced by 100 ms; up to ten may stand in the queue, for at most a second.
    /// let outbound = Rule::named("outbound").limit("10/s").algorithm(Algorithm::LeakyBucket {
    ///     max_wait: Duration::from_secs(1),
    ///     free: 0,
    /// });
    /// let limiter = Limiter::builder().rule(outbound).build()?;
    /// assert!(limiter.check("outbound", "mail.example")?.delay().is_zero());
    /// let second = limiter.check("outbound", "mail.example")?;
    /// assert!(second.passes());
    /// assert!(second.delay() <= Duration::from_millis(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn delay(&self) -> Duration {
        self.delay
    }
}

//! The short form: one rule, one key, asked by a program for something of its own.

use std::time::Duration;

use sluicegate_core::{Cost, Mode, PartKind, Retry};
use sluicegate_state::{Clock as _, Key};

use super::Limiter;
use crate::RuleId;
use crate::metrics::RuleOutcome;

impl Limiter {
    /// Charges one unit to one key of one rule, whatever routes the rule names: the short form for a program that
    /// counts something of its own. `key` is any bytes; the rule's own `key` is not looked at.
    ///
    /// ```
    /// # use sluicegate::{Limiter, policy::Policy, secret};
    /// # use sluicegate_state::SystemClock;
    /// let text = "version: 1\nrules:\n  - {name: emails, key: ip, limit: 2/h}\n";
    /// let (policy, _warnings) = Policy::parse("policy.yaml", text)?;
    /// let limiter = Limiter::new(&policy, &secret::generate()?, SystemClock::new())?;
    /// let emails = limiter.rule("emails").ok_or("no such rule")?;
    /// assert!(limiter.check(emails, b"alice").passes());
    /// assert!(limiter.check(emails, b"alice").passes());
    /// assert!(!limiter.check(emails, b"alice").passes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `rule` is another limiter's: a mistake in the program, which must not pass for a decision.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most callers only ask `passes`, and then most of the answer is never made"
    )]
    pub fn check(&self, rule: RuleId, key: &[u8]) -> Check {
        let engine = self.engine.load();
        let key = Key::Hash(self.shared.hasher.key().part(PartKind::Value, key).finish());
        let rule = &engine.rules[rule.index()];
        let mode = rule.mode(key);
        let standing = self
            .shared
            .table
            .charge(&rule.bucket, key, Cost::ONE, self.shared.clock.now());
        let passes = standing.passes();
        engine.metrics.count_check(rule.id, RuleOutcome::of(mode, passes));
        Check {
            mode,
            fits: passes,
            overflow: standing.overflow(),
            remaining: standing.remaining(),
            reset_after: standing.reset_after(),
            retry: standing.retry(),
        }
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
}

impl Check {
    /// Whether to go on: the charge fits, or the rule is in shadow mode for this key.
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
}

//! The limiter as one thread holds it: with the policy in force at hand.

use std::cell::{Ref, RefCell};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sluicegate_identity::Caller;

use super::Limiter;
use super::asked::{AskError, AskedRule};
use super::check::Check;
use super::engine::Engine;
use super::key::Key;
use super::outcome::Outcome;
use crate::request::Request;

/// A limiter as one thread holds it, for a thread that asks again and again: the same answers for less.
///
/// A [`Limiter`] that is asked directly guards the policy in force from being replaced meanwhile, by two exchanges in shared memory, a
/// third of what a hot key costs. This keeps the policy that it asked by last, and looks whether it still is the one in force.
///
/// It is a [`Limiter`] in all else. Each clone stands for itself, and may go to another thread.
///
/// ```
/// use sluicegate::Limiter;
/// use std::sync::Arc;
///
/// let limiter = Arc::new(Limiter::builder().limit("lines", "1000/s").build()?);
/// let lines = limiter.rule("lines")?;
/// std::thread::scope(|scope| {
///     for worker in 0..2u64 {
///         let limiter = limiter.local();
///         let lines = lines.clone();
///         scope.spawn(move || limiter.check(&lines, worker).is_ok_and(|check| check.passes()));
///     }
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A policy that was replaced is forgotten when every one of these has asked once more, or is dropped: until then its rules keep
/// their memory, some kibibytes, and their numbers, of which a table has 4 095.
#[derive(Debug, Clone)]
pub struct LocalLimiter {
    limiter: Arc<Limiter>,
    engine: RefCell<Arc<Engine>>,
}

impl Limiter {
    /// This limiter for one thread that asks often.
    pub fn local(self: &Arc<Self>) -> LocalLimiter {
        LocalLimiter {
            limiter: Arc::clone(self),
            engine: RefCell::new(self.engine.load_full()),
        }
    }
}

impl LocalLimiter {
    /// As [`Limiter::check`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::check`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `Limiter::check`")]
    pub fn check(&self, rule: impl AskedRule, key: impl Key) -> Result<Check, AskError> {
        self.check_cost(rule, key, 1)
    }

    /// As [`Limiter::check_cost`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::check`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `Limiter::check`")]
    pub fn check_cost(&self, rule: impl AskedRule, key: impl Key, cost: u64) -> Result<Check, AskError> {
        self.in_force().check_cost(rule, key, cost)
    }

    /// As [`Limiter::check_many`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::check`]; then no key is charged.
    #[inline]
    pub fn check_many<K: Key>(
        &self,
        rule: impl AskedRule,
        keys: impl IntoIterator<Item = K>,
        each: impl FnMut(K, Check),
    ) -> Result<(), AskError> {
        self.in_force().check_many(rule, keys, each)
    }

    /// As [`Limiter::decide`].
    pub fn decide(&self, request: &Request<'_>) -> Outcome {
        self.decide_as(request, &Caller::default())
    }

    /// As [`Limiter::decide_as`].
    pub fn decide_as(&self, request: &Request<'_>, caller: &Caller) -> Outcome {
        self.in_force().decide(request, caller)
    }

    /// The policy in force.
    #[inline]
    fn in_force(&self) -> Ref<'_, Arc<Engine>> {
        // Acquire pairs with the release in `replace_after`: who reads an engine's number finds that engine, or a later one.
        if self.limiter.in_force.load(Ordering::Acquire) != self.engine.borrow().number {
            self.renew();
        }
        self.engine.borrow()
    }

    #[cold]
    fn renew(&self) {
        // Whoever asks in the middle of a batch goes on with the batch's policy.
        if let Ok(mut engine) = self.engine.try_borrow_mut() {
            *engine = self.limiter.engine.load_full();
        }
    }
}

impl Deref for LocalLimiter {
    type Target = Limiter;

    #[inline]
    fn deref(&self) -> &Limiter {
        &self.limiter
    }
}

//! Many keys of one rule in one call.

use arrayvec::ArrayVec;
use sluicegate_core::Cost;
use sluicegate_state::{Clock as _, Hold, Key as CellKey};

use super::Limiter;
use super::asked::{AskError, AskedRule, Asking};
use super::check::Check;
use super::engine::{Engine, Rule};
use super::key::Key;
use crate::metrics::RuleOutcome;

/// Keys whose cells are fetched at once, before the first of them is charged: processors of today have ten to sixteen loads of memory
/// under way at a time, and two such rounds hide the waits of the first behind the second. More would only push each other out
/// of the nearest cache.
const WINDOW: usize = 32;

impl Limiter {
    /// Charges one unit to each of many keys of one rule, and hands each key with its answer to `each`, in their order.
    ///
    /// ```
    /// # let limiter = sluicegate::Limiter::builder().limit("emails", "1/h").build()?;
    /// let mut sent = Vec::new();
    /// limiter.check_many("emails", ["ann", "bob", "ann"], |user, check| {
    ///     if check.passes() {
    ///         sent.push(user);
    ///     }
    /// })?;
    /// assert_eq!(sent, ["ann", "bob"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// With millions of keys a single charge mostly waits for memory. Here the cells of 32 keys are fetched together before
    /// the first is charged, and the clock is read once for all of them: over ten million keys this takes a quarter of the time.
    /// No allocation.
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
        self.engine.load().check_many(rule, keys, each)
    }
}

impl Engine {
    #[inline]
    pub(super) fn check_many<K: Key>(
        &self,
        rule: impl AskedRule,
        keys: impl IntoIterator<Item = K>,
        mut each: impl FnMut(K, Check),
    ) -> Result<(), AskError> {
        let rule = self.asked(&rule)?;
        if rule.asking == Asking::Permits {
            return Err(self.gives_permits(rule));
        }
        let mut keys = keys.into_iter();
        let mut window = ArrayVec::<(K, CellKey), WINDOW>::new();
        loop {
            let next = keys.by_ref().take(WINDOW);
            window.extend(next.map(|key| {
                let cell = self.cell_of(rule, &key);
                (key, cell)
            }));
            if window.is_empty() {
                return Ok(());
            }
            if rule.asking == Asking::Plain {
                self.charge_window(rule, &mut window, &mut each);
            } else {
                for (key, cell) in window.drain(..) {
                    let check = if rule.asking == Asking::Together {
                        self.ask_together(rule, cell, Cost::ONE)
                    } else {
                        self.ask_through(rule, cell, Cost::ONE, Hold::No).0
                    };
                    each(key, check);
                }
            }
        }
    }

    #[inline]
    fn charge_window<K>(
        &self,
        rule: &Rule,
        window: &mut ArrayVec<(K, CellKey), WINDOW>,
        each: &mut impl FnMut(K, Check),
    ) {
        let table = &self.shared.table;
        for (_, cell) in window.iter() {
            table.fetch(&rule.bucket, *cell);
        }
        // At 26 bytes a key, one in seven is not where most are.
        for (_, cell) in window.iter() {
            table.fetch_further(&rule.bucket, *cell);
        }
        let now = self.shared.clock.now();
        let mut counts = [0; RuleOutcome::ALL.len()];
        for (key, cell) in window.drain(..) {
            let mode = rule.mode(cell);
            let standing = table.charge(&rule.bucket, cell, Cost::ONE, now);
            counts[RuleOutcome::of(mode, standing.passes()) as usize] += 1;
            each(key, Check::of_standing(mode, &standing));
        }
        self.metrics.count_checks(rule.id, counts);
    }
}

//! Reservations: an estimate that is charged now, and put right when the truth is known.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::{Cost, PartKind};
use sluicegate_state::{Hold, Holding, Key as CellKey};

use super::Limiter;
use super::asked::{AskError, AskedRule};
use super::engine::{Engine, Rule};
use super::grant::Grant;
use super::key::Key;
use super::registry::{ReservationId, Settled};
use super::shared::Shared;

/// How long a reservation with an id is remembered unless said: ten minutes, longer than any answer that we know to stream.
pub const DEADLINE_DEFAULT: Duration = Duration::from_mins(10);

impl Limiter {
    /// Begins a reservation: an estimate is charged, and corrected by [`Reservation::settle`] once the true cost is known.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule};
    ///
    /// let tokens = Rule::named("tokens").limit("20000/min").settles();
    /// let limiter = Limiter::builder().rule(tokens).build()?;
    /// let reservation = limiter.reserve("tokens", "acme").cost(8_000).take()?.granted().ok_or("too many tokens")?;
    /// // The model has answered, and used 1 250.
    /// let _ = reservation.settle(1_250);
    /// assert_eq!(limiter.check_cost("tokens", "acme", 0)?.remaining(), 18_750);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A true cost above the estimate is charged on top, into debt if need be. One below it is given back; in full where the
    /// rule settles ([`Rule::settles`](crate::Rule::settles)), else only so far as it has not been refilled in the meantime, since what was
    /// refilled may have been used already.
    ///
    /// Nothing is charged before [`Reserve::take`].
    pub fn reserve<R: AskedRule, K: Key>(&self, rule: R, key: K) -> Reserve<'_, R, K> {
        Reserve {
            limiter: self,
            rule,
            key,
            cost: Cost::ONE,
            deadline: None,
            once: None,
        }
    }

    /// Settles a reservation by its id, from wherever the true cost is known.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule, Settled};
    ///
    /// let limiter = Limiter::builder().rule(Rule::named("tokens").limit("20000/min").settles()).build()?;
    /// let taken = limiter.reserve("tokens", "acme").cost(500).once("request 17").take()?;
    /// let id = taken.granted().and_then(|reservation| reservation.id()).ok_or("refused")?;
    /// // Elsewhere, and later:
    /// assert_eq!(limiter.settle(id, 320), Settled::Now);
    /// assert_eq!(limiter.settle(id, 320), Settled::Before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&self, id: ReservationId, actual: u64) -> Settled {
        let shared = &self.shared;
        shared.open.settle(id, Cost::new(actual), &shared.table, shared.now())
    }

    /// The id of the reservation that `once` names for this rule and key, whether or not there is one.
    ///
    /// # Errors
    ///
    /// If there is no such rule.
    pub fn reservation_id(&self, rule: impl AskedRule, key: impl Key, once: &str) -> Result<ReservationId, AskError> {
        let engine = self.engine.load();
        let rule = engine.asked(&rule)?;
        let key = engine.cell_of(rule, &key);
        Ok(engine.id_of(rule, key, once.as_bytes()))
    }

    /// Reservations that are remembered by an id or for a deadline, at most [`OPEN_MAX`](super::OPEN_MAX).
    pub fn reservations_open(&self) -> usize {
        self.shared.open.count()
    }
}

/// A reservation in the making.
#[derive(Debug)]
#[must_use = "nothing is reserved before `take`"]
pub struct Reserve<'l, R, K> {
    limiter: &'l Limiter,
    rule: R,
    key: K,
    cost: Cost,
    deadline: Option<Duration>,
    once: Option<&'l [u8]>,
}

impl<'l, R: AskedRule, K: Key> Reserve<'l, R, K> {
    /// The estimate, in units; 1 unless said.
    pub fn cost(mut self, units: u64) -> Self {
        self.cost = Cost::new(units);
        self
    }

    /// When to give up waiting for the true cost: from then on the reservation counts as charged. Without a deadline it does so
    /// when it is dropped.
    ///
    /// Deadlines are kept by [`Limiter::clean`], so by a running [`Cleaner`](super::Cleaner), and whenever another
    /// reservation is asked for.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The name of what this is for, such as a request's id: asked again before the deadline, for the same rule and key, the same
    /// reservation is given and nothing charged, whatever cost is asked for then; also after it was settled. Remembered for
    /// [`DEADLINE_DEFAULT`] unless a deadline is set.
    pub fn once(mut self, name: &'l (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.once = Some(name.as_ref());
        self
    }

    /// Reserves, if the rule lets it pass. Without an id and a deadline it allocates nothing.
    ///
    /// # Errors
    ///
    /// If there is no such rule, it cannot settle, or too many reservations are remembered already. Nothing is charged then.
    pub fn take(self) -> Result<Grant<Reservation>, AskError> {
        let engine = self.limiter.engine.load();
        let rule = engine.asked(&self.rule)?;
        if !rule.can_settle() {
            return Err(AskError::CannotSettle {
                name: engine.name_of(rule),
            });
        }
        let key = engine.cell_of(rule, &self.key);
        let shared = &engine.shared;
        let id = match (self.once, self.deadline) {
            (None, None) => None,
            (None, Some(_)) => Some(shared.open.unnamed(&shared.hasher)),
            (Some(once), _) => Some(engine.id_of(rule, key, once)),
        };
        match id {
            None => Ok(engine.reserve(rule, key, self.cost)),
            Some(id) => engine.reserve_by_id(rule, key, self.cost, id, self.deadline.unwrap_or(DEADLINE_DEFAULT)),
        }
    }
}

impl Engine {
    /// The reservation that `once` names. It belongs to its rule and key, so that nobody rides on another's.
    fn id_of(&self, rule: &Rule, key: CellKey, once: &[u8]) -> ReservationId {
        let name = self.told.rule_names.get(rule.id.index());
        let name = name.map_or(&[][..], |name| name.as_bytes());
        let parts = self.shared.hasher.key().part(PartKind::Rule, name);
        let parts = match key {
            CellKey::Whole => parts.part(PartKind::Absent, &[]),
            CellKey::Hash(hash) => parts.part(PartKind::Number, &hash.as_u64().to_le_bytes()),
        };
        ReservationId::of(parts.part(PartKind::Value, once).finish())
    }

    fn reserve(&self, rule: &Rule, key: CellKey, cost: Cost) -> Grant<Reservation> {
        let (check, mut takings) = self.ask_through(rule, key, cost, Hold::UntilTheEnd);
        if !check.passes() {
            return Grant::Refused(check);
        }
        Grant::Granted(Reservation {
            shared: Arc::clone(&self.shared),
            reserved: cost,
            kept: Kept::Here(takings.take_held(|_| true)),
            is_repeat: false,
        })
    }

    fn reserve_by_id(
        &self,
        rule: &Rule,
        key: CellKey,
        cost: Cost,
        id: ReservationId,
        deadline: Duration,
    ) -> Result<Grant<Reservation>, AskError> {
        let shared = &self.shared;
        let now = shared.now();
        let granted = |reserved, is_repeat| {
            Grant::Granted(Reservation {
                shared: Arc::clone(shared),
                reserved,
                kept: Kept::ById(id),
                is_repeat,
            })
        };
        // Held until the reservation is made, so that of two that ask at once the second finds the first's.
        let mut shard = shared.open.shard(id, &shared.table, now);
        if let Some(reserved) = shard.reserved(id) {
            return Ok(granted(reserved, true));
        }
        if !shared.open.count_one() {
            return Err(AskError::TooManyOpen);
        }
        let (check, mut takings) = self.ask_through(rule, key, cost, Hold::UntilTheEnd);
        if !check.passes() {
            shared.open.discount_one();
            return Ok(Grant::Refused(check));
        }
        shard.insert(id, cost, takings.take_held(|_| true), now.saturating_add(deadline));
        Ok(granted(cost, false))
    }
}

/// A reservation that was taken. Dropped without a word it stays charged as reserved: at once or, if it has an id or a
/// deadline, when that is over; until then it can be settled by its id.
///
/// May go to another thread and be held across an `await`.
#[derive(Debug)]
#[must_use = "a reservation that nobody holds stays charged as reserved"]
pub struct Reservation {
    shared: Arc<Shared>,
    reserved: Cost,
    kept: Kept,
    is_repeat: bool,
}

#[derive(Debug)]
enum Kept {
    /// `None` where a rule in shadow mode let more through than it has.
    Here(Option<Holding>),
    ById(ReservationId),
}

impl Reservation {
    /// What was reserved, in units; of a repeated one, what was reserved the first time.
    pub const fn reserved(&self) -> u64 {
        self.reserved.units()
    }

    /// Whether it was asked for before, by the same name, and so not charged again.
    pub const fn is_repeat(&self) -> bool {
        self.is_repeat
    }

    /// By what it is found again; `None` for one without a name and a deadline.
    pub const fn id(&self) -> Option<ReservationId> {
        match self.kept {
            Kept::Here(_) => None,
            Kept::ById(id) => Some(id),
        }
    }

    /// Corrects the charge to what it turned out to be. Changes nothing if it was settled before, or its deadline is over.
    pub fn settle(mut self, actual: u64) -> Settled {
        let (shared, actual) = (&self.shared, Cost::new(actual));
        match &mut self.kept {
            Kept::Here(holding) => {
                if let Some(holding) = holding.take() {
                    shared.table.settle(holding, actual, shared.now());
                }
                Settled::Now
            }
            Kept::ById(id) => shared.open.settle(*id, actual, &shared.table, shared.now()),
        }
    }

    /// Gives the whole charge back: what it was for has not happened.
    pub fn release(self) -> Settled {
        self.settle(0)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Kept::Here(holding) = &mut self.kept
            && let Some(holding) = holding.take()
        {
            self.shared.keep(holding);
        }
    }
}

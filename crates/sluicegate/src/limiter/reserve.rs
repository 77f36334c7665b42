//! Reservations: an estimate that is charged now, and put right when the truth is known.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::{Cost, PartKind};
use sluicegate_state::{Hold, Key as CellKey};

use super::Limiter;
use super::asked::{AskError, AskedRule, unknown};
use super::engine::{Engine, Rule};
use super::grant::Grant;
use super::held::Held;
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
        shared.open.settle(id, Cost::new(actual), shared, shared.now())
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
    /// Of a rule that other nodes have a say in, what would have to wait for the store is refused, and fetched for the next time; of one
    /// with `sharing: exact` that is everything: see [`Reserve::take_waiting`].
    ///
    /// # Errors
    ///
    /// If there is no such rule, it cannot settle, or too many reservations are remembered already. Nothing is charged then.
    pub fn take(self) -> Result<Grant<Reservation>, AskError> {
        let engine = self.limiter.engine.load();
        let rule = engine.settling(&self.rule)?;
        let key = engine.cell_of(rule, &self.key);
        match self.id(&engine, rule, key) {
            None => Ok(engine.reserve(rule, key, self.cost)),
            Some(id) => engine.reserve_by_id(rule, key, self.cost, id, self.deadline.unwrap_or(DEADLINE_DEFAULT)),
        }
    }

    /// Reserves, and waits for the store where it has to be asked: of a rule that other nodes have a say in, for a few milliseconds at
    /// most. Of any other rule it is [`Reserve::take`], and ready at once.
    ///
    /// Needs no runtime of its own. Dropped before it is ready, it gives back what was taken. Of two that ask by one name at the same time
    /// both wait, and the later one gives back what it took.
    ///
    /// # Errors
    ///
    /// As [`Reserve::take`].
    pub async fn take_waiting(self) -> Result<Grant<Reservation>, AskError> {
        let engine = self.limiter.engine();
        let rule = engine.settling(&self.rule)?;
        if rule.shared.is_none() {
            return self.take();
        }
        let key = engine.cell_of(rule, &self.key);
        let id = self.id(&engine, rule, key);
        let shared = &engine.shared;
        if let Some(id) = id
            && let Some(reserved) = shared.open.shard(id, shared, shared.now()).reserved(id)
        {
            return Ok(Grant::Granted(Reservation::by_id(shared, id, reserved, true)));
        }
        let waited = Arc::clone(&engine).wait_together(rule.id, key, (self.cost, Hold::UntilTheEnd));
        let (check, mut takings) = waited.await.ok_or_else(|| unknown(self.rule.name()))?;
        if !check.passes() {
            return Ok(Grant::Refused(check));
        }
        let held = Held::take(&mut takings);
        let deadline = self.deadline.unwrap_or(DEADLINE_DEFAULT);
        match id {
            None => Ok(Grant::Granted(Reservation::here(shared, self.cost, held))),
            Some(id) => engine.remember(id, self.cost, held, deadline).map(Grant::Granted),
        }
    }

    /// By what it is remembered; `None` without a name and a deadline.
    fn id(&self, engine: &Engine, rule: &Rule, key: CellKey) -> Option<ReservationId> {
        match (self.once, self.deadline) {
            (None, None) => None,
            (None, Some(_)) => Some(engine.shared.open.unnamed(&engine.shared.hasher)),
            (Some(once), _) => Some(engine.id_of(rule, key, once)),
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

    /// The rule that is asked, if what it charges can be put right later.
    fn settling<R: AskedRule>(&self, rule: &R) -> Result<&Rule, AskError> {
        let rule = self.asked(rule)?;
        if rule.can_settle() {
            return Ok(rule);
        }
        Err(AskError::CannotSettle {
            name: self.name_of(rule),
        })
    }

    fn reserve(&self, rule: &Rule, key: CellKey, cost: Cost) -> Grant<Reservation> {
        let (check, mut takings) = self.ask_held(rule, key, cost);
        if !check.passes() {
            return Grant::Refused(check);
        }
        Grant::Granted(Reservation::here(&self.shared, cost, Held::take(&mut takings)))
    }

    /// Remembers what was taken while nobody held the id; if somebody else was quicker, it is given back, and theirs counts.
    fn remember(
        &self,
        id: ReservationId,
        cost: Cost,
        held: Option<Held>,
        deadline: Duration,
    ) -> Result<Reservation, AskError> {
        let shared = &self.shared;
        let now = shared.now();
        let mut shard = shared.open.shard(id, shared, now);
        let other = shard.reserved(id);
        if other.is_none() && shared.open.count_one() {
            shard.insert(id, cost, held, now.saturating_add(deadline));
            return Ok(Reservation::by_id(shared, id, cost, false));
        }
        drop(shard);
        if let Some(held) = held {
            held.give_back(shared);
        }
        let reserved = other.ok_or(AskError::TooManyOpen)?;
        Ok(Reservation::by_id(shared, id, reserved, true))
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
        let granted = |reserved, is_repeat| Grant::Granted(Reservation::by_id(shared, id, reserved, is_repeat));
        // Held until the reservation is made, so that of two that ask at once the second finds the first's.
        let mut shard = shared.open.shard(id, shared, now);
        if let Some(reserved) = shard.reserved(id) {
            return Ok(granted(reserved, true));
        }
        if !shared.open.count_one() {
            return Err(AskError::TooManyOpen);
        }
        let (check, mut takings) = self.ask_held(rule, key, cost);
        if !check.passes() {
            shared.open.discount_one();
            return Ok(Grant::Refused(check));
        }
        shard.insert(id, cost, Held::take(&mut takings), now.saturating_add(deadline));
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
    Here(Option<Held>),
    ById(ReservationId),
}

impl Reservation {
    fn here(shared: &Arc<Shared>, reserved: Cost, held: Option<Held>) -> Self {
        Self {
            shared: Arc::clone(shared),
            reserved,
            kept: Kept::Here(held),
            is_repeat: false,
        }
    }

    fn by_id(shared: &Arc<Shared>, id: ReservationId, reserved: Cost, is_repeat: bool) -> Self {
        Self {
            shared: Arc::clone(shared),
            reserved,
            kept: Kept::ById(id),
            is_repeat,
        }
    }

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
            Kept::Here(held) => {
                if let Some(held) = held.take() {
                    held.settle(shared, actual);
                }
                Settled::Now
            }
            Kept::ById(id) => shared.open.settle(*id, actual, shared, shared.now()),
        }
    }

    /// Gives the whole charge back: what it was for has not happened.
    pub fn release(self) -> Settled {
        self.settle(0)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Kept::Here(held) = &mut self.kept
            && let Some(held) = held.take()
        {
            held.keep(&self.shared);
        }
    }
}

//! The node's side of a key, of either kind: units that come back by themselves, or permits that requests give back.

use sluicegate_core::sharing::{
    Ask, Lease, Look, Mode, Now, OnStoreLoss, Outlook, PermitLease, PermitPlan, PermitView, Place, Plan, Spent,
    TooLate, View,
};

use crate::store::{Answer, Question};

/// A limit, as nodes hold it together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SharedLimit {
    /// Of a bucket or a window.
    Units(Plan),
    /// Of permits.
    Permits(PermitPlan),
}

/// A limit, for the nodes there are, at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sight<'p> {
    Units(View<'p>),
    Permits(PermitView<'p>),
}

/// What the node knows and holds of one key. Of another kind than the limit it can only be where two buckets of one identity are
/// kept by different algorithms, which their identity rules out; then nothing is done.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "entries are of one size, and a box would be a second fetch of memory"
)]
pub(super) enum Side {
    Units(Lease),
    Permits(PermitLease),
}

/// What an answer is to those who wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Applied {
    /// So many units were taken for them, and by the node's clock this is when the turn of the first is, where they leave one after
    /// another.
    Took { units: f64, turn_at: f64 },
    /// What was taken for them is held like a lease, until their requests end: they are to be served from that.
    Held,
    /// They are to be looked at again.
    LookAgain,
    /// No store says so. Nothing was done by it, and it counts as no answer at all.
    Senseless,
}

/// By what a charge was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    /// By what the node had.
    Spent(Spent),
    /// By the store, for this request; and where it stands, if its limit is spaced.
    Taken(Option<Place>),
    /// By permits of this node's part.
    Permits,
    /// Not yet: it waits.
    Waits,
}

impl What {
    /// Where the request stands, if its limit is spaced.
    pub(super) const fn place(&self) -> Option<&Place> {
        match self {
            Self::Spent(spent) => spent.place(),
            Self::Taken(place) => place.as_ref(),
            Self::Permits | Self::Waits => None,
        }
    }

    const fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Spent(spent) => spent.place_mut(),
            Self::Taken(place) => place.as_mut(),
            Self::Permits | Self::Waits => None,
        }
    }
}

impl SharedLimit {
    /// `changed_at` is when the key's part of the store was seen to change.
    pub(super) fn sight(&self, at: Now, changed_at: f64) -> Sight<'_> {
        match self {
            Self::Units(plan) => Sight::Units(plan.view(at)),
            Self::Permits(plan) => Sight::Permits(plan.view(at, changed_at)),
        }
    }
}

impl Sight<'_> {
    pub(super) const fn now(&self) -> &Now {
        match self {
            Self::Units(view) => &view.at,
            Self::Permits(view) => &view.at,
        }
    }

    /// The same while the store does not answer.
    fn alone(mut self) -> Self {
        match &mut self {
            Self::Units(view) => view.at.is_down = true,
            Self::Permits(view) => view.at.is_down = true,
        }
        self
    }

    /// What a request goes by that the store did not answer in time: of an exact rule what the failure policy says, as if the store were
    /// away; otherwise what is known, since a lease will be there in a moment.
    pub(super) fn after_silence(self) -> Self {
        let is_patient = match &self {
            Self::Units(view) => view.mode != Mode::Exact && view.plan.on_store_loss != OnStoreLoss::Open,
            Self::Permits(view) => view.plan.on_store_loss != OnStoreLoss::Open,
        };
        if is_patient { self } else { self.alone() }
    }
}

impl Side {
    pub(super) fn new(sight: &Sight<'_>) -> Self {
        match sight {
            Sight::Units(view) => Self::Units(Lease::new(view.at.time)),
            Sight::Permits(_) => Self::Permits(PermitLease::new()),
        }
    }

    pub(super) fn due_at(&self) -> f64 {
        match self {
            Self::Units(lease) => lease.due_at(),
            Self::Permits(lease) => lease.due_at(),
        }
    }

    pub(super) fn has_waiters(&self) -> bool {
        match self {
            Self::Units(lease) => lease.has_waiters(),
            Self::Permits(lease) => lease.has_waiters(),
        }
    }

    /// Whether a request waits for the next ask, or was just refused for want of it. Of permits nobody knows, so that it is taken for so.
    pub(super) fn hurries(&self) -> bool {
        match self {
            Self::Units(lease) => lease.has_waiters() || lease.has_refused(),
            Self::Permits(_) => true,
        }
    }

    pub(super) const fn in_flight(&self) -> bool {
        match self {
            Self::Units(lease) => lease.in_flight(),
            Self::Permits(lease) => lease.in_flight(),
        }
    }

    /// Units held, by the node or by requests until they end, and not spent; permits held and not given out.
    pub(super) fn held(&self, now: f64) -> f64 {
        match self {
            Self::Units(lease) => lease.held(now) + lease.reserved(now),
            Self::Permits(lease) => (lease.granted(now) - lease.in_use()).max(0.0),
        }
    }

    pub(super) const fn unreported(&self) -> f64 {
        match self {
            Self::Units(lease) => lease.unreported(),
            Self::Permits(_) => 0.0,
        }
    }

    pub(super) const fn goes_alone(&self) -> bool {
        match self {
            Self::Units(lease) => lease.goes_alone(),
            Self::Permits(_) => false,
        }
    }

    pub(super) fn is_idle(&self, sight: &Sight<'_>) -> bool {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.is_idle(view),
            (Self::Permits(lease), _) => lease.is_idle(),
            (Self::Units(_), Sight::Permits(_)) => false,
        }
    }

    pub(super) fn note(&mut self, sight: &Sight<'_>, cost: f64) {
        if let (Self::Units(lease), Sight::Units(view)) = (self, sight) {
            lease.note(view, cost);
        }
    }

    pub(super) fn look(&self, sight: &Sight<'_>, cost: f64) -> Look {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.look(view, cost),
            (Self::Permits(lease), Sight::Permits(view)) => lease.look(view, cost),
            _ => Look::Never,
        }
    }

    pub(super) fn outlook(&self, sight: &Sight<'_>) -> Outlook {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.outlook(view),
            (Self::Permits(_), Sight::Permits(view)) => Outlook {
                remaining: self.held(view.at.time),
                // Nobody knows when requests end.
                reset_after: 0.0,
            },
            _ => Outlook {
                remaining: 0.0,
                reset_after: 0.0,
            },
        }
    }

    /// Does what [`Side::look`] said; tells by what the charge was made.
    pub(super) fn spend(&mut self, sight: &Sight<'_>, look: Look, cost: f64) -> What {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => What::Spent(lease.spend(view, look, cost)),
            (Self::Permits(lease), Sight::Permits(view)) => {
                lease.spend(view, look, cost);
                What::Permits
            }
            _ => What::Waits,
        }
    }

    /// The same for a request that puts right at its end what it took now.
    pub(super) fn reserve(&mut self, sight: &Sight<'_>, look: Look, cost: f64) -> What {
        match (&mut *self, sight) {
            (Self::Units(lease), Sight::Units(view)) => What::Spent(lease.reserve(view, look, cost)),
            _ => self.spend(sight, look, cost),
        }
    }

    /// A request that took `cost` at `charged_at` has ended, and has cost `actual`.
    pub(super) fn settle(&mut self, sight: &Sight<'_>, what: &What, (cost, actual): (f64, f64), charged_at: f64) {
        match (self, sight, what) {
            (Self::Units(lease), Sight::Units(view), What::Spent(spent)) => lease.settle(view, spent, cost, actual),
            (Self::Units(lease), Sight::Units(view), What::Taken(_)) => {
                lease.settle_taken(view, (cost - actual).max(0.0), charged_at);
                if actual > cost {
                    lease.owe(view, actual - cost);
                }
            }
            (Self::Permits(lease), _, What::Permits) => lease.release(cost),
            _ => {}
        }
    }

    /// What the key was charged is forgotten, here and soon everywhere.
    pub(super) fn clear(&mut self, sight: &Sight<'_>) {
        if let (Self::Units(lease), Sight::Units(view)) = (self, sight) {
            lease.clear(view);
        }
    }

    /// Undoes a charge of `cost`, made `age` microseconds ago.
    pub(super) fn give_back(&mut self, sight: &Sight<'_>, what: &What, cost: f64, age: f64) {
        match (self, sight, what) {
            (Self::Units(lease), Sight::Units(view), What::Spent(spent)) => lease.unspend(view, spent, cost),
            (Self::Units(lease), Sight::Units(view), What::Taken(place)) => {
                lease.give_back_taken(view, place.as_ref(), cost, age);
            }
            (Self::Permits(lease), _, What::Permits) => lease.release(cost),
            _ => {}
        }
    }

    /// Gives a place to a request that the store has charged, where requests leave one after another.
    pub(super) fn join(&mut self, sight: &Sight<'_>, cost: f64, turn_at: f64) -> Result<Option<Place>, TooLate> {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.join(view, cost, turn_at),
            _ => Ok(None),
        }
    }

    /// The request that has a place is gone.
    pub(super) fn leave_queue(&mut self, place: &Place) {
        if let Self::Units(lease) = self {
            let _ = lease.leave_queue(place);
        }
    }

    /// The request is held up elsewhere.
    pub(super) fn hold_up(&mut self, what: &mut What, departs_at: f64) {
        if let (Self::Units(lease), Some(place)) = (self, what.place_mut()) {
            lease.hold_up(place, departs_at);
        }
    }

    pub(super) fn return_taken(&mut self, sight: &Sight<'_>, units: f64) {
        if let (Self::Units(lease), Sight::Units(view)) = (self, sight) {
            lease.return_taken(view, units);
        }
    }

    pub(super) fn fetch(&mut self, sight: &Sight<'_>, cost: f64) {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.fetch(view, cost),
            (Self::Permits(lease), Sight::Permits(view)) => lease.fetch(view, cost),
            _ => {}
        }
    }

    /// A request waits no longer. `was_asked` if it is part of an ask that is under way.
    pub(super) fn leave(&mut self, cost: f64, was_asked: bool) {
        match self {
            Self::Units(lease) => lease.leave(cost, was_asked),
            Self::Permits(lease) => lease.leave(cost),
        }
    }

    pub(super) fn wake(&mut self, at: f64) {
        match self {
            Self::Units(lease) => lease.wake(at),
            Self::Permits(lease) => lease.wake(at),
        }
    }

    pub(super) fn retire(&mut self, now: f64) {
        match self {
            Self::Units(lease) => lease.retire(now),
            Self::Permits(lease) => lease.wake(now),
        }
    }

    /// The next question, if there is one; whether it asks for what requests wait for.
    pub(super) fn build(&mut self, sight: &Sight<'_>, chance: f64, node: f64) -> Option<(Question, bool)> {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => {
                let ask = lease.build(view, chance)?;
                let terms = view.terms();
                Some((Question::Units { terms, ask }, ask.take > 0.0))
            }
            (Self::Permits(lease), Sight::Permits(view)) => {
                let ask = lease.build(view, node)?;
                Some((Question::Permits(ask), true))
            }
            _ => None,
        }
    }

    /// The answer to a question.
    pub(super) fn apply(
        &mut self,
        sight: &Sight<'_>,
        question: &Question,
        answer: &Answer,
        sent_at: f64,
        chance: f64,
    ) -> Applied {
        match (self, sight, question, answer) {
            (Self::Units(lease), Sight::Units(view), Question::Units { ask, terms }, Answer::Units(reply)) => {
                // A broken unit that was wanted may have been made whole.
                if !reply.is_sane() || reply.taken > ask.take || reply.granted > ask.want + 1.0 {
                    return Applied::Senseless;
                }
                lease.apply(view, ask, reply, sent_at, chance);
                if ask.holds {
                    return Applied::Held;
                }
                Applied::Took {
                    units: reply.taken,
                    turn_at: Lease::turn(view, terms, reply),
                }
            }
            (Self::Permits(lease), Sight::Permits(view), Question::Permits(ask), Answer::Permits(reply)) => {
                lease.apply(view, ask, reply, sent_at, chance);
                Applied::LookAgain
            }
            _ => Applied::Senseless,
        }
    }

    /// Nothing was done. Of what requests wait for the side has to be told again.
    pub(super) fn unsent(&mut self, sight: &Sight<'_>, ask: Option<&Ask>) {
        match (&mut *self, sight, ask) {
            (Self::Units(lease), Sight::Units(view), Some(ask)) => lease.unsent(view, ask),
            _ => self.lost(sight),
        }
    }

    /// Nobody knows whether it was done.
    pub(super) fn lost(&mut self, sight: &Sight<'_>) {
        match (self, sight) {
            (Self::Units(lease), Sight::Units(view)) => lease.lost(view),
            (Self::Permits(lease), Sight::Permits(view)) => lease.failed(view),
            _ => {}
        }
    }
}

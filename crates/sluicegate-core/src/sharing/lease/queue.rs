//! The node's part of a queue: when the requests of a leaky bucket leave.

use libm::floor;

use super::Lease;
use crate::sharing::exchange::Reply;
use crate::sharing::plan::{Mode, View};
use crate::sharing::spacing::Spacing;
use crate::sharing::terms::Terms;

/// A request's place in a key's queue, as this node keeps it. All times are microseconds of the node's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    begins_at: f64,
    ends_at: f64,
    departs_at: f64,
    /// Whether that was later than it came.
    waits: bool,
}

impl Place {
    /// When the request leaves, in microseconds of the node's clock; `None` if at once.
    pub fn waits_until(&self) -> Option<f64> {
        self.waits.then_some(self.departs_at)
    }
}

/// It would have to wait too long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TooLate {
    /// After so many microseconds it would not.
    pub retry_after: f64,
}

impl Lease {
    /// Gives a place to a request of `cost` units that the store has charged, whose turn is at `turn_at` by this node's clock. `None` if
    /// nothing is spaced.
    ///
    /// # Errors
    ///
    /// If it would have to wait too long: then it has no place, and its units are to be given back.
    pub fn join(&mut self, view: &View<'_>, cost: f64, turn_at: f64) -> Result<Option<Place>, TooLate> {
        if view.plan.spacing.is_none() {
            return Ok(None);
        }
        // Also of one that does not join: as far as that the queue reaches.
        self.queue_ends_at = self.queue_ends_at.max(turn_at);
        match self.too_late(view, cost) {
            Some(too_late) => Err(too_late),
            None => Ok(self.enqueue(view, cost)),
        }
    }

    /// When the turn is of the first unit that a reply took, which has just come: where the store keeps one queue for all nodes, as long
    /// after the reply as there were units before it.
    pub fn turn(view: &View<'_>, terms: &Terms, reply: &Reply) -> f64 {
        let now = view.at.time;
        if view.mode != Mode::Exact {
            return now;
        }
        let before = terms.burst - reply.available - reply.taken;
        now + (before * terms.interval).max(0.0)
    }

    /// Gives back what a reply has taken for a request, `age` microseconds ago, that then did not pass.
    ///
    /// Its units come back but for what has come back by itself since. Of a queue that the store keeps its place is one with them: it
    /// comes back only if nobody stands behind it here, or the next one would be given the time of the last.
    pub fn give_back_taken(&mut self, view: &View<'_>, place: Option<&Place>, cost: f64, age: f64) {
        let terms = &view.plan.terms;
        let is_last = place.is_none_or(|place| self.leave_queue(place));
        let units = match place {
            Some(_) if view.mode == Mode::Exact && !is_last => 0.0,
            // Until its turn nothing comes back of it.
            Some(place) if view.mode == Mode::Exact => cost.min((place.ends_at - view.at.time) / terms.interval),
            _ => cost - age.max(0.0) * terms.rate(),
        };
        if units > 0.0 {
            self.return_taken(view, units);
        }
    }

    /// A request leaves its place. Tells whether it was the last, so that the place is free again: otherwise somebody stands behind it, and
    /// it stays empty.
    pub fn leave_queue(&mut self, place: &Place) -> bool {
        #[expect(clippy::float_cmp, reason = "the very number that was written, or another one")]
        let is_last = self.queue_ends_at == place.ends_at;
        if is_last {
            self.queue_ends_at = place.begins_at;
        }
        is_last
    }

    /// A request is held up elsewhere until `departs_at`: its place moves there, and with it the queue's end if it is the last. Nobody
    /// behind it leaves too early.
    pub fn hold_up(&mut self, place: &mut Place, departs_at: f64) {
        if departs_at <= place.departs_at {
            return;
        }
        if self.leave_queue(place) {
            let lasts = place.ends_at - place.begins_at;
            place.begins_at = place.begins_at.max(departs_at);
            place.ends_at = place.begins_at + lasts;
            self.queue_ends_at = place.ends_at;
        }
        place.departs_at = departs_at;
        place.waits = true;
    }

    /// The place at the queue's end, for a request that passes.
    pub(super) fn enqueue(&mut self, view: &View<'_>, cost: f64) -> Option<Place> {
        let spacing = view.plan.spacing.as_ref().filter(|_| cost > 0.0)?;
        let now = view.at.time;
        let begins_at = self.queue_ends_at.max(now);
        let departs_at = self.departs_at(view, spacing);
        let place = Place {
            begins_at,
            ends_at: begins_at + cost * self.interval_here(view),
            departs_at,
            waits: departs_at > now,
        };
        self.queue_ends_at = place.ends_at;
        Some(place)
    }

    /// Whether a request of `cost` units would have to wait too long now.
    pub(super) fn too_late(&self, view: &View<'_>, cost: f64) -> Option<TooLate> {
        let spacing = view.plan.spacing.as_ref().filter(|_| cost > 0.0)?;
        let wait = self.departs_at(view, spacing) - view.at.time;
        let retry_after = wait - spacing.patience(view);
        (retry_after > 0.0).then_some(TooLate { retry_after })
    }

    /// How many units would leave in time that join now or within `span` microseconds; infinite if nothing is spaced.
    pub(super) fn room(&self, view: &View<'_>, span: f64) -> f64 {
        let Some(spacing) = &view.plan.spacing else {
            return f64::INFINITY;
        };
        let spare = spacing.patience(view) + spacing.ahead(view) + view.at.time - self.queue_ends_at.max(view.at.time);
        floor(((spare + span) / self.interval_here(view) + 1.0).max(0.0))
    }

    fn departs_at(&self, view: &View<'_>, spacing: &Spacing) -> f64 {
        (self.queue_ends_at - spacing.ahead(view)).max(view.at.time)
    }

    /// Microseconds between two units that leave here. A node's share is at least an even one: what its first request in a while seems
    /// to be a part of must not make the next one wait for minutes, and the rate is bounded by what it can lease.
    fn interval_here(&self, view: &View<'_>) -> f64 {
        let even = 1.0 / view.nodes;
        let share = match (&self.outage, &self.known) {
            (Some(outage), _) => outage.share().max(even),
            _ if view.mode == Mode::Exact => 1.0,
            (None, Some(known)) => known.share.max(even),
            (None, None) => even,
        };
        view.plan.terms.interval / share
    }
}

//! What a request has taken and may have to give back: permits, reservations, and while it waits, all of it.

use std::sync::Arc;

use arrayvec::ArrayVec;
use sluicegate_core::algorithm::{Meter, WordMeter};
use sluicegate_core::{Cost, RuleId, Timestamp};

use super::bucket::Bucket;
use super::kept::Act;
use super::reach::{Place, Target};
use super::take::WhenRefused;
use super::{Key, Table};
use crate::leases::SharedHolding;

/// Most charges of one request that are held until its end: one each for streams, tokens and failures, and one to spare. They are kept
/// in place, so that taking them allocates nothing.
pub const HOLDS_MAX: usize = 4;

/// What becomes of a charge once it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is spent.
    No,
    /// It is held until the request's end: a permit, to be released, or a reservation, to be settled.
    UntilTheEnd,
}

/// A charge that was made, and can be given back or corrected, once.
#[derive(Debug)]
#[must_use]
pub struct Holding {
    pub(super) rule: RuleId,
    pub(super) bucket: Arc<Bucket>,
    pub(super) meter: u8,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) cost: Cost,
    pub(super) hold: Hold,
    pub(super) when_refused: WhenRefused,
    pub(super) charged_at: Timestamp,
    /// A small cell's state before and after the charge.
    pub(super) before: u64,
    pub(super) written: u64,
}

impl Holding {
    /// Whose charge it is.
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// How much was charged.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// When.
    pub const fn charged_at(&self) -> Timestamp {
        self.charged_at
    }

    /// Whether it is a permit rather than a reservation.
    pub fn is_permit(&self) -> bool {
        matches!(self.bucket.meter(), Meter::Word(WordMeter::Concurrency(_)))
    }

    /// Whether it stays charged when a later phase refuses the request.
    pub fn is_penalty(&self) -> bool {
        self.when_refused == WhenRefused::Charge
    }

    fn target(&self, now: Timestamp) -> Target<'_> {
        Target {
            bucket: &self.bucket,
            meter: self.meter,
            key: self.key,
            now,
        }
    }
}

/// What one request has taken.
#[derive(Debug, Default)]
pub struct Takings {
    held: ArrayVec<Holding, HOLDS_MAX>,
    /// All else that is given back if the request leaves while it waits, or if a later phase refuses it.
    queued: Vec<Holding>,
    /// What of limits that other nodes hold too is given back in the same cases.
    lent: Vec<SharedHolding>,
    /// What of limits that other nodes hold too is held until the request's end: permits, and reservations. Unlike those of the table they
    /// are boxed up: the store has to hear of them anyway.
    held_together: Vec<SharedHolding>,
    is_tentative: bool,
}

impl Takings {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            held: ArrayVec::new_const(),
            queued: Vec::new(),
            lent: Vec::new(),
            held_together: Vec::new(),
            is_tentative: false,
        }
    }

    /// Nothing yet, and of what comes everything can be given back: for a request that has a second phase.
    pub const fn tentative() -> Self {
        Self {
            held: ArrayVec::new_const(),
            queued: Vec::new(),
            lent: Vec::new(),
            held_together: Vec::new(),
            is_tentative: true,
        }
    }

    /// Whether everything that comes can be given back.
    pub const fn is_tentative(&self) -> bool {
        self.is_tentative
    }

    /// Whether there is nothing to give back.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.queued.is_empty() && self.lent.is_empty() && self.held_together.is_empty()
    }

    /// What is held until the request's end.
    pub fn held(&self) -> &[Holding] {
        &self.held
    }

    /// Takes out one that is held.
    pub fn take_held(&mut self, found: impl Fn(&Holding) -> bool) -> Option<Holding> {
        let index = self.held.iter().position(found)?;
        Some(self.held.remove(index))
    }

    /// Takes out what was only to be given back while the request waited, or had a phase before it.
    pub fn take_queued(&mut self) -> Vec<Holding> {
        std::mem::take(&mut self.queued)
    }

    /// Adds what was taken of a limit that other nodes hold too: a permit or a reservation until the request's end, all else to be given
    /// back like what is queued.
    pub fn lend(&mut self, holding: SharedHolding) {
        if holding.is_held() {
            self.held_together.push(holding);
        } else {
            self.lent.push(holding);
        }
    }

    /// What of limits that other nodes hold too is held until the request's end.
    pub fn held_together(&self) -> &[SharedHolding] {
        &self.held_together
    }

    /// Takes out one of those.
    pub fn take_held_together(&mut self, found: impl Fn(&SharedHolding) -> bool) -> Option<SharedHolding> {
        let index = self.held_together.iter().position(found)?;
        Some(self.held_together.remove(index))
    }

    /// Takes out what of limits that other nodes hold too was only to be given back while the request waited, or had a phase before it.
    pub fn take_lent(&mut self) -> Vec<SharedHolding> {
        std::mem::take(&mut self.lent)
    }

    /// From here on, everything that comes can be given back: the request has to wait.
    pub const fn make_tentative(&mut self) {
        self.is_tentative = true;
    }

    /// Adds what another of the request's phases has taken. What does not fit, which a checked policy cannot bring about, is given
    /// back to the caller.
    pub fn join(&mut self, other: &mut Self) {
        while !self.held.is_full()
            && let Some(holding) = other.held.pop()
        {
            self.held.push(holding);
        }
        self.queued.append(&mut other.queued);
        self.lent.append(&mut other.lent);
        self.held_together.append(&mut other.held_together);
    }

    pub(super) fn hold(&mut self, holding: Holding) {
        holding.bucket.line().hold(holding.cost);
        if let Err(error) = self.held.try_push(holding) {
            debug_assert!(
                false,
                "a policy was loaded with more than {HOLDS_MAX} held charges on one request"
            );
            // Spent, as if it were never settled.
            error.element().bucket.line().release(Cost::ZERO);
        }
    }

    pub(super) fn queue(&mut self, holding: Holding) {
        self.queued.push(holding);
    }
}

impl Table {
    /// Corrects what is held to what it turned out to be: permits are released, of a reservation the difference to `actual` is given
    /// back or charged on top.
    #[expect(clippy::needless_pass_by_value, reason = "what is held ends here, and only once")]
    pub fn settle(&self, holding: Holding, actual: Cost, now: Timestamp) {
        let what = if holding.is_permit() {
            Act::GiveBack {
                cost: holding.cost,
                charged_at: holding.charged_at,
            }
        } else {
            Act::Settle {
                reserved: holding.cost,
                actual,
                charged_at: holding.charged_at,
            }
        };
        let mended = self.mend_state(holding.target(now), holding.place, what);
        if mended.is_none() && actual > holding.cost && !holding.is_permit() {
            // A reservation of nothing made no cell, and the cell of a window that is over may be gone; what has to be paid on top
            // is charged all the same.
            let _ = self.charge_state(holding.target(now), what);
        }
        holding.bucket.line().release(holding.cost);
    }

    /// Forgets what the key was charged, and with it this reservation; not a lock, nor, in a bucket that settles, what others have still
    /// open. A window knows no open charges, and forgets them with the rest.
    #[expect(clippy::needless_pass_by_value, reason = "what is held ends here, and only once")]
    pub fn clear(&self, holding: Holding, now: Timestamp) {
        let settle = Act::Settle {
            reserved: holding.cost,
            actual: Cost::ZERO,
            charged_at: holding.charged_at,
        };
        let _ = self.mend_state(holding.target(now), holding.place, settle);
        // What all keys without a cell share is not one key's to forget.
        if holding.place == Place::Own {
            let _ = self.mend_state(holding.target(now), holding.place, Act::Clear);
        }
        holding.bucket.line().release(holding.cost);
    }

    /// Gives back a charge as if it had not been made; a place in a queue only if nobody stands behind it.
    #[expect(clippy::needless_pass_by_value, reason = "what is held ends here, and only once")]
    pub fn give_back(&self, holding: Holding, now: Timestamp) {
        self.withdraw(&holding, now);
        if holding.hold == Hold::UntilTheEnd {
            holding.bucket.line().release(holding.cost);
        }
    }

    pub(super) fn withdraw(&self, holding: &Holding, now: Timestamp) {
        let Holding {
            cost,
            charged_at,
            before,
            written,
            ..
        } = *holding;
        let queues = matches!(holding.bucket.meter(), Meter::Word(WordMeter::LeakyBucket(_)));
        let what = match holding.hold {
            Hold::No if queues => Act::Leave { before, written },
            Hold::UntilTheEnd if !holding.is_permit() => Act::Settle {
                reserved: cost,
                actual: Cost::ZERO,
                charged_at,
            },
            Hold::No | Hold::UntilTheEnd => Act::GiveBack { cost, charged_at },
        };
        let _ = self.mend_state(holding.target(now), holding.place, what);
    }
}

//! The answer's types, with what the limiter adds to core's: proof of admission, and a promise.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::route::RouteId;

/// What [`crate::Limiter::decide`] answers.
pub type Outcome = sluicegate_core::Outcome<Admitted, Ticket>;

/// What becomes of a request.
pub type Decision = sluicegate_core::Decision<Admitted>;

/// Proof that a request was admitted. Only a limiter makes it, and whatever forwards a request asks for it, so that no
/// request passes by a path that forgot to decide.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    route: Option<RouteId>,
}

impl Admitted {
    pub(super) const fn new(route: Option<RouteId>) -> Self {
        Self { route }
    }

    /// The request's route; `None` if no route takes it in.
    pub const fn route(&self) -> Option<RouteId> {
        self.route
    }
}

/// A decision that is still under way; await it. Dropping it withdraws the request.
///
/// There is none yet: only rules that wait for a shared store will ever leave a decision pending, and no value of this
/// type can be made.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    never: Infallible,
}

impl Future for Ticket {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Decision> {
        match self.never {}
    }
}

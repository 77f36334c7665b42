//! The answer's types, with what the limiter adds to core's: proof of admission, a question for the body, and a promise.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::admitted::Admitted;
use super::question::BodyQuestion;

/// What [`crate::Limiter::decide`] answers.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "a decision lives on the stack: a box would allocate on the hot path"
)]
pub enum Outcome {
    /// The answer.
    Decided(Decision),
    /// The answer depends on the request's body. What the rules that need no body took is taken; dropping the question gives it
    /// back.
    NeedsBody(Box<BodyQuestion>),
    /// The answer is on its way; dropping the ticket withdraws the request and gives back what it took.
    Pending(Ticket),
}

/// What becomes of a request.
pub type Decision = sluicegate_core::Decision<Admitted>;

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

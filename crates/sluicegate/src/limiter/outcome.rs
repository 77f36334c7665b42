//! The answer's types, with what the limiter adds to core's: proof of admission, a question for the body, and a promise.

use super::admitted::Admitted;
use super::question::BodyQuestion;
use super::ticket::Ticket;

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

impl Outcome {
    /// The answer, if it is there; what is still asked is withdrawn, and gives back what was taken.
    pub fn decided(self) -> Option<Decision> {
        match self {
            Self::Decided(decision) => Some(decision),
            Self::NeedsBody(_) | Self::Pending(_) => None,
        }
    }
}

//! What comes of asking for something that is held.

use super::check::Check;

/// What comes of asking for something that is held: a permit, a reservation, an attempt.
#[derive(Debug)]
#[must_use]
pub enum Grant<T> {
    /// It is there.
    Granted(T),
    /// The rule refuses, and nothing is charged. [`Check::retry`] says when the same may pass.
    Refused(Check),
}

impl<T> Grant<T> {
    /// Whether it is there.
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }

    /// What was granted; `None` where the rule refused.
    pub fn granted(self) -> Option<T> {
        match self {
            Self::Granted(held) => Some(held),
            Self::Refused(_) => None,
        }
    }

    /// What was granted, or the refusal, for a program that hands it on by `?`.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn or_refused(self) -> Result<T, Check> {
        match self {
            Self::Granted(held) => Ok(held),
            Self::Refused(check) => Err(check),
        }
    }
}

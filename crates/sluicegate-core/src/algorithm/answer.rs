//! What every algorithm answers, and what the larger ones remember.

use core::time::Duration;

use crate::{Retry, Timestamp};

/// Where a key stands in one limit, and what that means for the request that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Answer {
    /// Whole units left after this request: so many requests of cost 1 would still pass, one after another, now.
    pub remaining: u64,
    /// Until the limit is whole again, with no further requests; zero when it is.
    pub reset_after: Duration,
    /// `None` if the request passes, else when it would.
    pub retry: Option<Retry>,
    /// How long a request that passes has to wait before it goes on; only a leaky bucket ever asks for that.
    pub delay: Duration,
}

impl Answer {
    /// Whether the request passes, now or after its delay.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.retry.is_none()
    }
}

/// An answer, and the state to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ruling<S> {
    /// What to remember: a refusal, and a question of cost zero, leave it as it was.
    pub state: S,
    /// What to say.
    pub answer: Answer,
}

impl<S> Ruling<S> {
    /// The same answer about a state written otherwise.
    #[inline]
    pub(super) fn map<U>(self, write: impl FnOnce(S) -> U) -> Ruling<U> {
        Ruling {
            state: write(self.state),
            answer: self.answer,
        }
    }
}

/// What an algorithm remembers of a key if one word is too little: three, of which the first says when they are worth
/// nothing any more.
///
/// So whoever keeps them can age them without knowing whose they are. Three zeros are a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wide([u64; 3]);

impl Wide {
    /// A key never seen.
    pub const UNSEEN: Self = Self([0; 3]);

    /// The [`Self::idle_at`] of what is worth something for ever, 2⁶³ − 1: later than any clock reads.
    pub const NEVER: u64 = (1 << 63) - 1;

    /// Words read back from where they were kept. Words of any value give an answer and harm nobody else.
    #[inline]
    pub const fn from_words(words: [u64; 3]) -> Self {
        Self(words)
    }

    /// The words to keep; the first is below 2⁶³.
    #[inline]
    pub const fn words(self) -> [u64; 3] {
        self.0
    }

    /// Nanoseconds since the clock's start from which on this says the same as [`Self::UNSEEN`].
    #[inline]
    pub const fn idle_at(self) -> u64 {
        self.0[0]
    }

    /// Whether forgetting this at `now` loses nothing.
    #[inline]
    pub const fn is_idle(self, now: Timestamp) -> bool {
        self.0[0] <= now.as_nanos()
    }
}

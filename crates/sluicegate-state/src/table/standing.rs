//! Where one key stands in one bucket, after one charge.

use std::time::Duration;

use sluicegate_core::algorithm::{Answer, TokenBucket, Verdict};
use sluicegate_core::{Mode, Retry, RuleId, RuleState};

use super::reach::Place;

/// What is said to a request whose rule has no free cell and a closed overflow: cells are found idle within seconds, and
/// a shorter wait would only bring the flood back sooner.
const CLOSED_RETRY: Retry = Retry::After(Duration::from_secs(1));

/// Where one key stands in one bucket, after one charge.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Standing<'a> {
    said: Said<'a>,
    place: Place,
}

/// What the algorithm said, or what it takes to know.
#[derive(Debug, Clone, Copy)]
enum Said<'a> {
    /// Nearly all requests meet a token bucket, and many callers ask only whether they pass.
    Later(&'a TokenBucket, Verdict),
    Now(Answer),
}

impl<'a> Standing<'a> {
    #[inline]
    pub(super) const fn by_bucket(meter: &'a TokenBucket, verdict: Verdict) -> Self {
        Self {
            said: Said::Later(meter, verdict),
            place: Place::Own,
        }
    }

    pub(super) fn by_answer(place: Place, answer: Option<Answer>) -> Self {
        let closed = || Answer {
            remaining: 0,
            reset_after: Duration::ZERO,
            retry: Some(CLOSED_RETRY),
            delay: Duration::ZERO,
        };
        Self {
            said: Said::Now(answer.unwrap_or_else(closed)),
            place: if answer.is_none() { Place::Closed } else { place },
        }
    }

    /// Whether the charge fits.
    #[inline]
    pub const fn passes(&self) -> bool {
        match &self.said {
            Said::Later(_, verdict) => verdict.passes(),
            Said::Now(answer) => answer.passes(),
        }
    }

    /// Which cell answered.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Whether the key found no free cell and met the bucket's overflow.
    pub const fn overflow(&self) -> bool {
        !matches!(self.place, Place::Own)
    }

    /// Whole units left.
    pub const fn remaining(&self) -> u64 {
        match &self.said {
            Said::Later(meter, verdict) => meter.remaining(verdict),
            Said::Now(answer) => answer.remaining,
        }
    }

    /// Until the limit is whole again; zero when it is.
    pub const fn reset_after(&self) -> Duration {
        match &self.said {
            Said::Later(meter, verdict) => meter.reset_after(verdict),
            Said::Now(answer) => answer.reset_after,
        }
    }

    /// `None` if the charge fits, else when it would.
    pub const fn retry(&self) -> Option<Retry> {
        match &self.said {
            Said::Later(meter, verdict) => meter.retry(verdict),
            Said::Now(answer) => answer.retry,
        }
    }

    /// All of it, as a report has it.
    #[inline]
    pub const fn state(&self, rule: RuleId, mode: Mode) -> RuleState {
        let mut state = match &self.said {
            Said::Later(meter, verdict) => RuleState::of_bucket(rule, mode, meter, verdict),
            Said::Now(answer) => RuleState::new(rule, mode, answer),
        };
        state.overflow = self.overflow();
        state
    }

    /// How long a request that passes has to wait before it goes on.
    pub const fn delay(&self) -> Duration {
        match &self.said {
            Said::Later(..) => Duration::ZERO,
            Said::Now(answer) => answer.delay,
        }
    }
}

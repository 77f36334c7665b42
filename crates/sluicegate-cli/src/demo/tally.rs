//! What one synthetic client asked, and what it was told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::Timestamp;

/// Counts of one client, added to by its connections and read by the table. All orderings are relaxed: a reading while
/// requests are under way is a little behind anyway, and the last one follows the end of the client's thread.
#[derive(Debug)]
pub(crate) struct Tally {
    passed: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    asked: AtomicU64,
    /// `u64::MAX` until the first request.
    first_asked_at: AtomicU64,
    last_told_at: AtomicU64,
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 from the upstream.
    Passed,
    /// 429 from the gateway.
    Refused,
    /// Anything else, or nothing.
    Error,
}

/// A reading of a [`Tally`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) asked: u64,
    pub(crate) passed: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    /// From just before the first request to just after the last answer, so that every decision lies within.
    pub(crate) span: Duration,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            passed: zero(),
            refused: zero(),
            errors: zero(),
            asked: zero(),
            first_asked_at: AtomicU64::new(u64::MAX),
            last_told_at: zero(),
        }
    }

    /// A request is about to be sent.
    pub(crate) fn asks(&self, now: Timestamp) {
        self.first_asked_at.fetch_min(now.as_nanos(), Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer is here.
    pub(crate) fn told(&self, answer: Answer, now: Timestamp) {
        let count = match answer {
            Answer::Passed => &self.passed,
            Answer::Refused => &self.refused,
            Answer::Error => &self.errors,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_told_at.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let span = read(&self.last_told_at).saturating_sub(read(&self.first_asked_at));
        Counts {
            passed: read(&self.passed),
            refused: read(&self.refused),
            errors: read(&self.errors),
            asked: read(&self.asked),
            span: Duration::from_nanos(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_reaches_from_the_first_request_to_the_last_answer() {
        let at = Timestamp::from_nanos;
        let tally = Tally::new();
        assert_eq!(tally.counts(), Counts::default());
        tally.asks(at(100));
        tally.asks(at(90));
        tally.told(Answer::Passed, at(150));
        tally.told(Answer::Refused, at(140));
        let expected = Counts {
            asked: 2,
            passed: 1,
            refused: 1,
            errors: 0,
            span: Duration::from_nanos(60),
        };
        assert_eq!(tally.counts(), expected);
    }
}

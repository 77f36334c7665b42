//! How a server does, for metrics: written as things happen, read without a lock.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_state::store::StoreError;

/// How a server does. Counts are since the start. Each number is true by itself; they are not read as of one moment.
#[derive(Debug, Default)]
pub struct Health {
    breaker: AtomicU8,
    rtt_mean: AtomicU64,
    rtt_least: AtomicU64,
    in_flight: AtomicU32,
    last_error: AtomicU8,
    may_evict: AtomicBool,
    /// Calls that were sent.
    pub calls: Count,
    /// Keys that were asked about and answered.
    pub keys: Count,
    /// Calls of which nobody knows whether they were done: no answer came in time, or the connection broke, or what came was none.
    pub unknown: Count,
    /// Calls that the server reached after their deadline and did not do.
    pub late: Count,
    /// Calls that the server refused.
    pub refused: Count,
    /// Calls that were not sent: there was no connection, or too many were under way.
    pub not_sent: Count,
    /// Connections that were made, the first among them.
    pub connections: Count,
    /// Times that the server had lost the script and was given it again.
    pub reloads: Count,
    /// Values that made no sense and were replaced.
    pub damaged: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

// All of them are numbers of their own that nothing else hangs on, so `Relaxed` is enough everywhere below.
impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

/// Whether calls are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Breaker {
    /// There is no connection, and for a while none is tried.
    Open = 0,
    /// One connection is being tried; calls are not sent yet.
    HalfOpen = 1,
    /// Calls are sent.
    Closed = 2,
}

/// What went wrong last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Trouble {
    /// No answer in time.
    TimedOut = 1,
    /// The connection broke.
    Lost = 2,
    /// Nothing was sent.
    NotSent = 3,
    /// The server reached the call too late.
    Late = 4,
    /// The server refused.
    Refused = 5,
    /// The answer was none.
    BadReply = 6,
}

impl Health {
    /// Whether calls are sent.
    pub fn breaker(&self) -> Breaker {
        match self.breaker.load(Ordering::Relaxed) {
            0 => Breaker::Open,
            1 => Breaker::HalfOpen,
            _ => Breaker::Closed,
        }
    }

    /// The mean round trip, of the last eight or so; `None` before the first.
    pub fn rtt_mean(&self) -> Option<Duration> {
        span(&self.rtt_mean)
    }

    /// The shortest round trip; `None` before the first.
    pub fn rtt_least(&self) -> Option<Duration> {
        span(&self.rtt_least)
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What went wrong last; `None` if nothing ever did.
    pub fn last_error(&self) -> Option<Trouble> {
        match self.last_error.load(Ordering::Relaxed) {
            1 => Some(Trouble::TimedOut),
            2 => Some(Trouble::Lost),
            3 => Some(Trouble::NotSent),
            4 => Some(Trouble::Late),
            5 => Some(Trouble::Refused),
            6 => Some(Trouble::BadReply),
            _ => None,
        }
    }

    /// Whether the server said, when it was last connected to, that it evicts keys when its memory is full: then it forgets what was used.
    pub fn may_evict(&self) -> bool {
        self.may_evict.load(Ordering::Relaxed)
    }

    pub(crate) fn set_may_evict(&self, may_evict: bool) {
        self.may_evict.store(may_evict, Ordering::Relaxed);
    }

    pub(crate) fn set_breaker(&self, breaker: Breaker) {
        self.breaker.store(breaker as u8, Ordering::Relaxed);
    }

    /// Of two answers at the same moment one may be missed by the mean.
    pub(crate) fn round_trip(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mean = self.rtt_mean.load(Ordering::Relaxed);
        let mean = if mean == 0 { nanos } else { mean - mean / 8 + nanos / 8 };
        self.rtt_mean.store(mean.max(1), Ordering::Relaxed);
        let least = self.rtt_least.load(Ordering::Relaxed);
        if least == 0 || nanos < least {
            self.rtt_least.store(nanos, Ordering::Relaxed);
        }
    }

    /// One more call under way; `None` if there are `most`.
    pub(crate) fn enter(&self, most: u32) -> Option<UnderWay<'_>> {
        let entered = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < most).then_some(now + 1)
            });
        entered.is_ok().then(|| UnderWay(self))
    }

    pub(crate) fn trouble(&self, error: &StoreError) {
        let (trouble, count) = match error {
            StoreError::TimedOut { .. } => (Trouble::TimedOut, &self.unknown),
            StoreError::Lost(_) => (Trouble::Lost, &self.unknown),
            StoreError::NotSent(_) => (Trouble::NotSent, &self.not_sent),
            StoreError::Late => (Trouble::Late, &self.late),
            StoreError::Refused { .. } => (Trouble::Refused, &self.refused),
            _ => (Trouble::BadReply, &self.unknown),
        };
        count.add(1);
        self.last_error.store(trouble as u8, Ordering::Relaxed);
    }
}

/// A call under way, until it is dropped.
pub(crate) struct UnderWay<'h>(&'h Health);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn span(nanos: &AtomicU64) -> Option<Duration> {
    let nanos = nanos.load(Ordering::Relaxed);
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_calls_are_under_way_than_may_be() {
        let health = Health::default();
        let first = health.enter(2);
        let second = health.enter(2);
        assert!(first.is_some() && second.is_some() && health.enter(2).is_none());
        drop(first);
        assert_eq!(health.in_flight(), 1);
        assert!(health.enter(2).is_some());
    }

    #[test]
    fn the_mean_follows_and_the_least_stays() {
        let health = Health::default();
        assert_eq!((health.rtt_mean(), health.rtt_least()), (None, None));
        for _ in 0..100 {
            health.round_trip(Duration::from_millis(1));
        }
        for _ in 0..100 {
            health.round_trip(Duration::from_millis(80));
        }
        assert!(health.rtt_mean().is_some_and(|mean| mean > Duration::from_millis(79)));
        assert_eq!(health.rtt_least(), Some(Duration::from_millis(1)));
    }
}

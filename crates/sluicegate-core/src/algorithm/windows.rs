//! Windows of one length, side by side, aligned to the Unix epoch.

use crate::{Limit, Timestamp};

/// Where the windows of one period lie on the caller's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// Nanoseconds in a window, at most 2⁵⁹ ([`Limit::PERIOD_MAX`]).
    period: u64,
    /// How far into its window the clock started; below the period.
    phase: u64,
    /// Nanoseconds from the Unix epoch to the clock's start.
    epoch_at_start: u64,
}

impl Windows {
    pub(super) const fn new(limit: &Limit, epoch_at_start: u64) -> Self {
        let period = limit.period_nanos().get();
        Self {
            period,
            phase: epoch_at_start % period,
            epoch_at_start,
        }
    }

    pub(super) const fn period(&self) -> u64 {
        self.period
    }

    /// The end of the window that `now` lies in, in nanoseconds since the clock's start: after `now`, and below 2⁶³.
    #[inline]
    pub(super) const fn end(&self, now: Timestamp) -> u64 {
        let now = now.as_nanos();
        // No overflow: below 2⁶² + 2⁵⁹.
        now + (self.period - (self.phase + now) % self.period)
    }

    /// The Unix time, in nanoseconds, of a point on the clock.
    pub(super) const fn unix_of(&self, at: u64) -> u64 {
        if at == 0 {
            0
        } else {
            at.saturating_add(self.epoch_at_start)
        }
    }

    /// The point on the clock of a window's end, given in Unix nanoseconds; `None` if it lies before the clock's start.
    ///
    /// An end beyond the window of `now` was written under a clock that has gone back since. That counts as no time: it
    /// becomes the end of the window of `now`, so that nobody waits longer than a window for it.
    pub(super) fn at_unix(&self, end: u64, now: Timestamp) -> Option<u64> {
        let end = end.checked_sub(self.epoch_at_start)?;
        Some(end.min(self.end(now)))
    }
}

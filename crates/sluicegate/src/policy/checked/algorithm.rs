//! How a limit is kept.

use std::time::Duration;

/// How a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Bursts up to a size, then a steady rate.
    TokenBucket,
    /// A virtual queue: requests leave it at the steady rate, and wait for that.
    LeakyBucket {
        /// Longest wait; who would have to wait longer is refused.
        max_wait: Duration,
        /// Units that may pass without a wait, below the burst.
        free: u64,
    },
    /// A count that begins anew with each window.
    FixedWindow {
        /// Where windows begin.
        align: Align,
    },
    /// The count of this window and a share of the one before.
    SlidingWindow,
    /// The time of every request.
    SlidingLog,
    /// Permits, held until the response has ended.
    Concurrency,
}

/// Where a fixed window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Align {
    /// At whole multiples of its length since 1970-01-01 00:00 UTC.
    Epoch,
    /// At a key's first request.
    FirstHit,
}

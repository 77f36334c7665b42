//! The choice of an algorithm, as a policy says it.

use core::time::Duration;

/// Which algorithm keeps a limit, with what it asks for beside the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// [`super::TokenBucket`]: a burst at once, then the rate.
    #[default]
    TokenBucket,
    /// [`super::LeakyBucket`]: requests wait for their turn, so that what goes on is evenly spaced.
    LeakyBucket {
        /// The longest that a request may wait; one that would wait longer is refused.
        max_wait: Duration,
        /// The first units that are not delayed.
        free: u64,
    },
    /// [`super::FixedWindow`]: a count that starts afresh in each window.
    FixedWindow {
        /// Where windows begin.
        align: Align,
    },
    /// [`super::SlidingWindow`]: this window's count and the last one's share of it.
    SlidingWindow,
    /// [`super::SlidingLog`]: every request of the last period, remembered.
    SlidingLog,
    /// [`super::Concurrency`]: permits that are held, not units that are spent.
    Concurrency,
}

impl Algorithm {
    /// The name that policies and metrics use.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket { .. } => "leaky_bucket",
            Self::FixedWindow { .. } => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::SlidingLog => "sliding_log",
            Self::Concurrency => "concurrency",
        }
    }
}

/// Where the windows of [`Algorithm::FixedWindow`] begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Align {
    /// At whole periods since the Unix epoch, the same for every key: hours begin on the hour, in UTC.
    #[default]
    Epoch,
    /// At each key's first charge after its last window.
    FirstHit,
}

impl Align {
    /// The name that policies use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::FirstHit => "first_hit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_the_name_that_policies_use() {
        let align = Align::Epoch;
        let named = [
            (Algorithm::TokenBucket, "token_bucket"),
            (
                Algorithm::LeakyBucket {
                    max_wait: Duration::ZERO,
                    free: 0,
                },
                "leaky_bucket",
            ),
            (Algorithm::FixedWindow { align }, "fixed_window"),
            (Algorithm::SlidingWindow, "sliding_window"),
            (Algorithm::SlidingLog, "sliding_log"),
            (Algorithm::Concurrency, "concurrency"),
        ];
        for (algorithm, name) in named {
            assert_eq!(algorithm.as_str(), name);
        }
        assert_eq!(
            (Align::Epoch.as_str(), Align::FirstHit.as_str()),
            ("epoch", "first_hit")
        );
    }
}

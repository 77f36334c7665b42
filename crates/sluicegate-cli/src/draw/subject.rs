//! What is drawn: each algorithm, and what a token bucket does besides.

use std::time::Duration;

use clap::ValueEnum;
use sluicegate_core::algorithm::{Algorithm, Align, LOG_MAX, LeakyBucket, Meter, MeterSpec, Settle};
use sluicegate_core::{Cost, Limit};

/// An algorithm as a rule chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// A burst at once, then the rate
    TokenBucket,
    /// Requests wait for their turn, up to a second
    LeakyBucket,
    /// A count that begins anew at every whole period
    FixedWindow,
    /// A count that begins anew with the first request after a window's end
    FixedWindowFirstHit,
    /// This window's count, and what of the last one's is not yet a period ago
    SlidingWindow,
    /// Every request of the last period, remembered
    SlidingLog,
    /// Permits, held until a request ends
    Concurrency,
    /// A token bucket of which each request reserves two units and turns out to have cost one
    SettledCost,
    /// A token bucket that counts failures, and locks for a second who uses it up
    Lock,
}

impl Subject {
    /// The name on the command line, in pictures and of files.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::FixedWindow => "fixed_window",
            Self::FixedWindowFirstHit => "fixed_window_first_hit",
            Self::SlidingWindow => "sliding_window",
            Self::SlidingLog => "sliding_log",
            Self::Concurrency => "concurrency",
            Self::SettledCost => "settled_cost",
            Self::Lock => "lock",
        }
    }

    /// What it does, for somebody who looks at its picture; `hold` is how long a request lasts.
    pub(super) fn caption(self, hold: Duration) -> String {
        match self {
            Self::TokenBucket => "A burst at once, then the rate.".to_owned(),
            Self::LeakyBucket => format!("Each waits for its turn, up to {MAX_WAIT:?}; what goes on is spaced."),
            Self::FixedWindow => "A count that begins anew at every whole period.".to_owned(),
            Self::FixedWindowFirstHit => "A count that begins anew with the first request after its end.".to_owned(),
            Self::SlidingWindow => "This window's count, and the last one's share that still counts.".to_owned(),
            Self::SlidingLog => "Every request of the last period, remembered.".to_owned(),
            Self::Concurrency => format!("Permits, each held for {hold:?}."),
            Self::SettledCost => {
                format!("Each reserves {RESERVED} units; {hold:?} later it turns out to have cost 1.")
            }
            Self::Lock => format!("Each attempt fails after {hold:?}; the last unit locks for {LOCK:?}."),
        }
    }

    /// Makes the meter of `limit`, aligned to windows that begin at time zero.
    ///
    /// # Errors
    ///
    /// What of the limit it cannot keep, and the remedy.
    pub(super) fn meter(self, limit: Limit) -> Result<Meter, String> {
        if self == Self::SlidingLog && limit.count().get() > LOG_MAX {
            return Err(format!(
                "sliding_log cannot keep {limit}: a log remembers {LOG_MAX} requests at most; lower the count or leave it out"
            ));
        }
        if self.cost().units() > limit.burst().get() {
            return Err(format!(
                "{} reserves {RESERVED} units, and {limit} never has so many; raise the burst or leave it out",
                self.as_str()
            ));
        }
        Ok(Meter::new(&MeterSpec {
            algorithm: self.algorithm(),
            limit,
            largest_burst: None,
            settle: match self {
                Self::SettledCost => Some(Settle { lock: None }),
                Self::Lock => Some(Settle { lock: Some(LOCK) }),
                _ => None,
            },
            epoch_at_start: 0,
        }))
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::TokenBucket | Self::SettledCost | Self::Lock => Algorithm::TokenBucket,
            Self::LeakyBucket => Algorithm::LeakyBucket {
                max_wait: MAX_WAIT,
                free: 0,
            },
            Self::FixedWindow => Algorithm::FixedWindow { align: Align::Epoch },
            Self::FixedWindowFirstHit => Algorithm::FixedWindow { align: Align::FirstHit },
            Self::SlidingWindow => Algorithm::SlidingWindow,
            Self::SlidingLog => Algorithm::SlidingLog,
            Self::Concurrency => Algorithm::Concurrency,
        }
    }

    /// What one request takes.
    pub(super) const fn cost(self) -> Cost {
        match self {
            Self::SettledCost => Cost::new(RESERVED),
            _ => Cost::ONE,
        }
    }

    /// What it turns out to have been at the request's end; `None` where that changes nothing.
    pub(super) const fn settled(self) -> Option<Cost> {
        match self {
            Self::SettledCost | Self::Lock => Some(Cost::ONE),
            Self::Concurrency => Some(Cost::ZERO),
            _ => None,
        }
    }

    /// Most units that it has left: of buckets the burst, else the count.
    pub(super) const fn most(self, limit: Limit) -> u64 {
        match self.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket { .. } => limit.burst().get(),
            _ => limit.count().get(),
        }
    }

    /// The limit as a rule by this algorithm would say it.
    pub(super) fn limit_text(self, limit: Limit) -> String {
        match self {
            Self::Concurrency => format!("{} at once", limit.count()),
            _ => limit.to_string(),
        }
    }

    /// Where its windows begin; `None` where it has none.
    pub(super) const fn align(self) -> Option<Align> {
        match self {
            Self::FixedWindow | Self::SlidingWindow => Some(Align::Epoch),
            Self::FixedWindowFirstHit => Some(Align::FirstHit),
            _ => None,
        }
    }
}

/// What a policy says unless it says otherwise.
pub(super) const MAX_WAIT: Duration = LeakyBucket::MAX_WAIT_DEFAULT;

/// Twice what it turns out to be, so that what comes back shows.
const RESERVED: u64 = 2;

/// The least that a policy may say.
const LOCK: Duration = Duration::from_secs(1);

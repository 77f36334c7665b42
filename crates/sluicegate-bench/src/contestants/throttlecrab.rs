//! throttlecrab, with the store that sweeps least: every 60 s, none of which falls into a measured round on purpose.

use std::time::{Duration, SystemTime};

use throttlecrab::{PeriodicStore, RateLimiter};

use super::{Allowance, Contestant};
use crate::clients::Client;

/// throttlecrab's limiter, which one thread owns.
pub(crate) struct Throttlecrab {
    limiter: RateLimiter<PeriodicStore>,
    allowance: Allowance,
    /// How far its time is ahead of the machine's.
    ahead: Duration,
}

impl Throttlecrab {
    /// A store with room for `keys`.
    pub(crate) fn new(allowance: Allowance, keys: u32) -> Self {
        Self {
            limiter: RateLimiter::new(PeriodicStore::with_capacity(keys as usize)),
            allowance,
            ahead: Duration::ZERO,
        }
    }

    /// Lets time pass at once.
    pub(crate) fn advance(&mut self, span: Duration) {
        self.ahead += span;
    }
}

impl Contestant for Throttlecrab {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        let Allowance { period_seconds, burst } = self.allowance;
        #[expect(clippy::disallowed_methods, reason = "what throttlecrab is given for the time")]
        let now = SystemTime::now() + self.ahead;
        let answer = self
            .limiter
            .rate_limit(&client.key, burst.into(), 1, period_seconds.into(), 1, now);
        matches!(answer, Ok((true, _)))
    }
}

//! governor, keyed, as its documentation sets it up.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, QuantaClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::{Allowance, Contestant};
use crate::clients::{Client, Key};
use crate::error::BenchError;

type Limiter<K, C> = RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// governor with keys that it need not allocate, and a clock of its own.
pub(crate) struct Governor<C: Clock>(Arc<Limiter<Key, C>>);

impl<C: Clock> Clone for Governor<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Governor<QuantaClock> {
    /// With the clock it takes unless told otherwise.
    ///
    /// # Errors
    ///
    /// If the allowance is not one it can hold.
    pub(crate) fn quanta(allowance: Allowance) -> Result<Self, BenchError> {
        Self::with_clock(allowance, QuantaClock::default())
    }
}

impl Governor<MonotonicClock> {
    /// With the system's monotonic clock.
    ///
    /// # Errors
    ///
    /// If the allowance is not one it can hold.
    pub(crate) fn monotonic(allowance: Allowance) -> Result<Self, BenchError> {
        Self::with_clock(allowance, MonotonicClock)
    }
}

impl<C: Clock> Governor<C> {
    fn with_clock(allowance: Allowance, clock: C) -> Result<Self, BenchError> {
        let limiter = RateLimiter::new(quota(allowance)?, DefaultKeyedStateStore::default(), clock);
        Ok(Self(Arc::new(limiter)))
    }
}

impl<C: Clock> Contestant for Governor<C> {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.check_key(&client.key).is_ok()
    }
}

/// governor with keys of type `String`, as most programs have them: for its memory, not for its speed.
pub(crate) struct GovernorStrings(Limiter<String, QuantaClock>);

impl GovernorStrings {
    /// With the clock it takes unless told otherwise.
    ///
    /// # Errors
    ///
    /// If the allowance is not one it can hold.
    pub(crate) fn new(allowance: Allowance) -> Result<Self, BenchError> {
        Ok(Self(limiter(quota(allowance)?)))
    }
}

impl Contestant for GovernorStrings {
    fn decide(&mut self, client: &Client) -> bool {
        self.0.check_key(&client.key.to_string()).is_ok()
    }
}

fn limiter<K: Hash + Eq + Clone>(quota: Quota) -> Limiter<K, QuantaClock> {
    RateLimiter::new(quota, DefaultKeyedStateStore::default(), QuantaClock::default())
}

fn quota(allowance: Allowance) -> Result<Quota, BenchError> {
    let refused = || BenchError::SetUp {
        who: "governor",
        why: format!("it cannot hold {}", allowance.text()),
    };
    let burst = NonZeroU32::new(allowance.burst).ok_or_else(refused)?;
    let quota = Quota::with_period(Duration::from_secs(allowance.period_seconds.into())).ok_or_else(refused)?;
    Ok(quota.allow_burst(burst))
}

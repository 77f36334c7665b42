//! quota, with the map reserved for the keys that will come, as its documentation advises.

use std::sync::Arc;

use quota::{QuotaPolicy, QuotaPool, RefillRate};

use super::{Allowance, Contestant};
use crate::clients::Client;

/// quota's pool of string keys.
#[derive(Clone)]
pub(crate) struct Quota(Arc<QuotaPool>);

impl Quota {
    /// A pool with room for `keys`.
    pub(crate) fn new(allowance: Allowance, keys: u32) -> Self {
        let policy = QuotaPolicy::new()
            .set_capacity(f64::from(allowance.burst))
            .set_refill_rate(RefillRate::per_sec(1.0 / f64::from(allowance.period_seconds)));
        let pool = QuotaPool::with_capacity(policy, allowance.burst.into(), keys as usize);
        Self(Arc::new(pool))
    }
}

impl Contestant for Quota {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.check(client.key.as_str(), 1)
    }
}

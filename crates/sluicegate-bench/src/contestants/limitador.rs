//! limitador, with its counters in memory, as its documentation sets it up: one limit with one variable.

use std::collections::HashMap;
use std::sync::Arc;

use limitador::RateLimiter;
use limitador::limit::{Context, Expression, Limit, Namespace};

use super::{Contestant, FixedWindow};
use crate::clients::Client;
use crate::error::BenchError;

/// limitador's limiter with a fixed window for each client.
#[derive(Clone)]
pub(crate) struct Limitador {
    limiter: Arc<RateLimiter>,
    namespace: Namespace,
}

impl Limitador {
    /// A limiter that forgets nobody of `keys`.
    ///
    /// # Errors
    ///
    /// If it cannot read the name of its variable.
    pub(crate) fn new(window: FixedWindow, keys: u32) -> Result<Self, BenchError> {
        let variable =
            Expression::try_from(VARIABLE.to_owned()).map_err(|error| BenchError::set_up("limitador", &error))?;
        // Its cache decides by itself whom to forget when it is full, and may do so early.
        let limiter = RateLimiter::new(u64::from(keys) * 2);
        let (count, seconds) = (window.count.into(), window.seconds.into());
        limiter.add_limit(Limit::new(NAMESPACE, count, seconds, [], [variable]));
        Ok(Self {
            limiter: Arc::new(limiter),
            namespace: NAMESPACE.into(),
        })
    }
}

impl Contestant for Limitador {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        let values = HashMap::from([(VARIABLE.to_owned(), client.key.to_string())]);
        let context = Context::from(values);
        let answer = self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1);
        answer.is_ok_and(|answer| !answer.limited)
    }
}

const NAMESPACE: &str = "bench";
const VARIABLE: &str = "client";

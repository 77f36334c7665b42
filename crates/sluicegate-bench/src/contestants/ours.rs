//! Ourselves, by the library's short form and by the whole way from a request to its decision.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{Decision, Limiter, Outcome, Request, RuleId, SystemClock, secret};

use super::{Allowance, Contestant};
use crate::clients::Client;
use crate::error::BenchError;

/// `Limiter::check`: one rule, asked by its id with a string key.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    limiter: Arc<Limiter>,
    rule: RuleId,
}

impl Checks {
    /// A limiter with one rule, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn new(allowance: Allowance, memory: usize) -> Result<Self, BenchError> {
        let limiter = Arc::new(limiter(&policy(&allowance.text(), memory))?);
        let rule = limiter.rule(RULE).ok_or_else(|| BenchError::SetUp {
            who: "sluicegate",
            why: "the rule is missing".to_owned(),
        })?;
        Ok(Self { limiter, rule })
    }

    /// The limiter behind it.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }
}

impl Contestant for Checks {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.limiter.check(self.rule, client.key.as_bytes()).passes()
    }
}

/// `Limiter::decide`: a whole request, from its peer's address to the decision with its report.
#[derive(Debug, Clone)]
pub(crate) struct Decides {
    limiter: Arc<Limiter>,
    headers: HeaderMap,
}

impl Decides {
    /// A limiter with one rule keyed by address, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn new(allowance: Allowance, memory: usize) -> Result<Self, BenchError> {
        Ok(Self {
            limiter: Arc::new(limiter(&policy(&allowance.text(), memory))?),
            headers: HeaderMap::new(),
        })
    }
}

impl Contestant for Decides {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/v1/items",
            peer: Some(IpAddr::V4(Ipv4Addr::from_bits(client.index))),
            headers: &self.headers,
        };
        let outcome = std::hint::black_box(self.limiter.decide(std::hint::black_box(&request)));
        matches!(outcome, Outcome::Decided(Decision::Allow { .. }))
    }
}

const RULE: &str = "per-client";

fn policy(limit: &str, memory: usize) -> String {
    format!("version: 1\nstate: {{ memory: {memory}B }}\nrules:\n  - {{ name: {RULE}, key: ip, limit: {limit} }}\n")
}

/// The limiter of a policy.
fn limiter(policy: &str) -> Result<Limiter, BenchError> {
    let (policy, _warnings) =
        Policy::parse("bench", policy).map_err(|faults| BenchError::set_up("sluicegate", &faults))?;
    let secret = secret::generate().map_err(|error| BenchError::set_up("sluicegate", &error))?;
    Limiter::new(&policy, &secret, SystemClock::new()).map_err(|error| BenchError::set_up("sluicegate", &error))
}

//! Ourselves, by the library's short form and by the whole way from a request to its decision.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{
    AnyClock, Decision, Limiter, LocalLimiter, Outcome, Permit, Request, RuleHandle, Secret, SystemClock, secret,
};

use super::{Allowance, Contestant};
use crate::clients::Client;
use crate::error::BenchError;

/// How a rule is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Its algorithm and limit, in the policy's words.
    pub(crate) by: String,
    /// Which parts of the table its keys need, in the policy's words.
    pub(crate) split: &'static str,
}

impl Kept {
    /// All of the memory for cells of 16 bytes.
    pub(crate) const SMALL: &'static str = "{ small: 100%, wide: 0%, logs: 0% }";
    /// All of the memory for cells of 32 bytes.
    pub(crate) const WIDE: &'static str = "{ small: 0%, wide: 100%, logs: 0% }";
    /// About as much as keys with up to seven entries need of both.
    pub(crate) const LOGS: &'static str = "{ small: 0%, wide: 28%, logs: 72% }";

    /// By a token bucket.
    pub(crate) fn by_bucket(allowance: Allowance) -> Self {
        Self {
            by: format!("limit: {}", allowance.text()),
            split: Self::SMALL,
        }
    }

    /// A policy with one rule, whose table has `memory` bytes.
    fn policy(&self, memory: usize) -> String {
        let Self { by, split } = self;
        format!(
            "version: 1\nstate: {{ memory: {memory}B, split: {split} }}\nrules:\n  - {{ name: {RULE}, key: ip, {by} }}\n"
        )
    }
}

/// `LocalLimiter::check`: one rule, asked by its handle with a string key, by a thread that holds a limiter for itself.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    limiter: Arc<Limiter>,
    local: LocalLimiter,
    rule: RuleHandle,
}

impl Checks {
    /// A limiter with one token bucket a key, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn new(allowance: Allowance, memory: usize) -> Result<Self, BenchError> {
        Self::kept(&Kept::by_bucket(allowance), memory, SystemClock::new())
    }

    /// A limiter with one rule, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn kept(kept: &Kept, memory: usize, clock: impl Into<AnyClock>) -> Result<Self, BenchError> {
        Self::under(&fresh_secret()?, kept, memory, clock)
    }

    /// The same under a given secret, so that two know the same keys.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn under(
        secret: &Secret,
        kept: &Kept,
        memory: usize,
        clock: impl Into<AnyClock>,
    ) -> Result<Self, BenchError> {
        let limiter = Arc::new(limiter(&kept.policy(memory), secret, clock)?);
        let rule = limiter
            .rule(RULE)
            .map_err(|error| BenchError::set_up("sluicegate", &error))?;
        let local = limiter.local();
        Ok(Self { limiter, local, rule })
    }

    /// The limiter behind it.
    pub(crate) const fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// Whether some key found no cell.
    pub(crate) fn overflowed(&self) -> u64 {
        let buckets = self.limiter.table().buckets();
        buckets.iter().map(|bucket| bucket.overflowed()).sum()
    }
}

impl Contestant for Checks {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.local
            .check(&self.rule, client.key.as_bytes())
            .is_ok_and(|check| check.passes())
    }
}

/// `Limiter::check`: the limiter of [`Checks`], as all threads may ask it.
#[derive(Debug, Clone)]
pub(crate) struct SharedChecks(pub(crate) Checks);

impl Contestant for SharedChecks {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        let Checks { limiter, rule, .. } = &self.0;
        limiter
            .check(rule, client.key.as_bytes())
            .is_ok_and(|check| check.passes())
    }
}

/// `LocalLimiter::check_many`: the rows of [`Checks`] in one call each.
#[derive(Debug, Clone)]
pub(crate) struct ChecksMany(pub(crate) Checks);

impl Contestant for ChecksMany {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.decide(client)
    }

    #[inline]
    fn decide_row(&mut self, row: &[Client]) -> u64 {
        let Checks { local, rule, .. } = &self.0;
        let keys = black_box(row).iter().map(|client| client.key.as_bytes());
        let mut passed = 0;
        // A rule that is not there lets nobody pass, and then all of it is refused.
        let _ = local.check_many(rule, keys, |_, check| passed += u64::from(check.passes()));
        passed
    }
}

/// `Limiter::acquire`: a permit, which is given back at once.
#[derive(Debug, Clone)]
pub(crate) struct Acquires(Checks);

impl Acquires {
    /// A limiter with 20 permits a key, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn new(memory: usize) -> Result<Self, BenchError> {
        let kept = Kept {
            by: "algorithm: concurrency, limit: 20".to_owned(),
            split: Kept::SMALL,
        };
        Ok(Self(Checks::kept(&kept, memory, SystemClock::new())?))
    }

    /// A permit for the client; `None` if it has none left.
    #[inline]
    pub(crate) fn acquire(&self, client: &Client) -> Option<Permit> {
        let Checks { limiter, rule, .. } = &self.0;
        limiter.acquire(rule, client.key.as_bytes()).ok()?.granted()
    }

    /// The limiter behind it.
    pub(crate) const fn limiter(&self) -> &Arc<Limiter> {
        self.0.limiter()
    }
}

impl Contestant for Acquires {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        black_box(self.acquire(client)).is_some()
    }
}

/// `Limiter::decide`: a whole request, from its peer's address to the decision with its report, and to the end of what it
/// holds.
#[derive(Debug, Clone)]
pub(crate) struct Decides {
    limiter: Arc<Limiter>,
    headers: HeaderMap,
    path: &'static str,
}

impl Decides {
    /// A limiter with one token bucket an address, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn new(allowance: Allowance, memory: usize) -> Result<Self, BenchError> {
        Self::kept(&Kept::by_bucket(allowance), memory)
    }

    /// A limiter with one rule keyed by address, whose table has `memory` bytes.
    ///
    /// # Errors
    ///
    /// If the policy that is made for it does not hold.
    pub(crate) fn kept(kept: &Kept, memory: usize) -> Result<Self, BenchError> {
        Self::by(&kept.policy(memory), "/v1/items")
    }

    /// A limiter with this policy, asked for this path.
    ///
    /// # Errors
    ///
    /// If the policy does not hold.
    pub(crate) fn by(policy: &str, path: &'static str) -> Result<Self, BenchError> {
        Ok(Self {
            limiter: Arc::new(limiter(policy, &fresh_secret()?, SystemClock::new())?),
            headers: HeaderMap::new(),
            path,
        })
    }
}

impl Contestant for Decides {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: self.path,
            query: "",
            peer: Some(IpAddr::V4(Ipv4Addr::from_bits(client.index))),
            headers: &self.headers,
        };
        let outcome = black_box(self.limiter.decide(black_box(&request)));
        matches!(outcome, Outcome::Decided(Decision::Allow { .. }))
    }
}

const RULE: &str = "per-client";

/// The limiter of a policy.
fn limiter(policy: &str, secret: &Secret, clock: impl Into<AnyClock>) -> Result<Limiter, BenchError> {
    let (policy, _warnings) =
        Policy::parse("bench", policy).map_err(|faults| BenchError::set_up("sluicegate", &faults))?;
    Limiter::new(&policy, secret, clock).map_err(|error| BenchError::set_up("sluicegate", &error))
}

fn fresh_secret() -> Result<Secret, BenchError> {
    secret::generate().map_err(|error| BenchError::set_up("sluicegate", &error))
}

//! The limiter: a policy, made ready to decide.

mod cleaner;
mod keys;
mod outcome;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use http::HeaderMap;
use sluicegate_core::{
    Cost, KeyHash, KeyHasher, Limit, Mode, PartKind, RULES_MAX, Reason, Report, Retry, RuleId, RuleState, Secret,
};
use sluicegate_state::{
    AnyClock, BUCKETS_MAX, Bucket, BucketIdentity, BucketSpec, Charge, Clock, Hold, Key, Memory, Standing, Table,
    TableError, Taken, Takings, WhenRefused,
};

use crate::address;
use crate::metrics::{Metrics, RequestOutcome, RuleOutcome};
use crate::policy::checked::{self, Enforce, Identity, Policy};
use crate::request::Request;
use crate::route::{PathConflict, RouteId, Routes};
use crate::told::{Announcer, Refusal, Refused, Wire};
use keys::{Keys, Missing, RuleKey};

pub use cleaner::Cleaner;
pub use outcome::{Admitted, Decision, Outcome, Ticket};

/// Decides, for every request, whether it keeps to the policy's limits.
///
/// Made once and shared by all threads (`Arc<Limiter>`). Deciding never waits, never allocates, and never fails: what
/// can be wrong with a policy was found when it was read.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
    clock: AnyClock,
    hasher: KeyHasher,
    routes: Routes,
    route_names: Box<[Box<str>]>,
    identity: Identity,
    rules: Box<[Rule]>,
    /// For each route, and at the end for requests of none: the rules that apply.
    rules_by_route: Box<[Box<[usize]>]>,
    metrics: Metrics,
    announcer: Announcer,
}

/// A rule, made ready.
#[derive(Debug)]
struct Rule {
    name: Box<str>,
    id: RuleId,
    bucket: Arc<Bucket>,
    key: RuleKey,
    enforce: Enforce,
    /// The rule's name under the secret: decides, with the key, for whom the rule is enforced.
    salt: KeyHash,
}

/// Why a policy cannot be put to work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimiterError {
    /// The table cannot be made.
    #[error("the table of cells cannot be made")]
    Table(#[from] TableError),
    /// Two routes that one routing table cannot hold.
    #[error("the routes contradict each other")]
    Routes(#[from] PathConflict),
    /// More rules than a table has buckets for.
    #[error("the policy has {rules} rules, and {BUCKETS_MAX} is the most")]
    TooManyRules {
        /// How many it has.
        rules: usize,
    },
    /// More rules apply to one request than a decision has room for.
    #[error("{rules} rules apply to one request, and {RULES_MAX} is the most")]
    TooManyAtOnce {
        /// How many apply.
        rules: usize,
    },
}

impl Limiter {
    /// Puts a policy to work. `clock` is a [`sluicegate_state::SystemClock`], or a manual one in tests.
    ///
    /// # Errors
    ///
    /// If the memory for the table cannot be had, or the policy was not made by [`Policy::parse`] and has too many
    /// rules.
    pub fn new(policy: &Policy, secret: &Secret, clock: impl Into<AnyClock>) -> Result<Self, LimiterError> {
        if policy.rules.len() > BUCKETS_MAX {
            return Err(LimiterError::TooManyRules {
                rules: policy.rules.len(),
            });
        }
        let hasher = KeyHasher::new(secret);
        let specs = (1..).zip(&policy.rules).map(|(name, rule)| {
            let overflow = match &rule.overflow {
                checked::Overflow::Shared(limit) => Some(rate(limit)),
                checked::Overflow::Closed => None,
            };
            BucketSpec {
                keyed: !rule.key.is_empty(),
                ..BucketSpec::token_bucket(BucketIdentity(name), rate(&rule.limit), overflow)
            }
        });
        let (table, buckets) = Table::with_buckets(Memory::small(policy.state.memory), specs)?;
        let numbered = (0..).zip(buckets).map(|(index, bucket)| (RuleId::new(index), bucket));
        let rules = policy.rules.iter().zip(numbered).map(|(rule, (id, bucket))| Rule {
            name: rule.name.as_str().into(),
            id,
            bucket,
            key: RuleKey::new(rule),
            enforce: rule.enforce,
            salt: hasher.key().part(PartKind::Rule, rule.name.as_bytes()).finish(),
        });
        let rules_by_route: Box<[Box<[usize]>]> = (0..policy.routes.len())
            .map(Some)
            .chain([None])
            .map(|route| rules_of(policy, route))
            .collect();
        if let Some(most) = rules_by_route.iter().map(|rules| rules.len()).max()
            && most > RULES_MAX
        {
            return Err(LimiterError::TooManyAtOnce { rules: most });
        }
        Ok(Self {
            rules: rules.collect(),
            table,
            clock: clock.into(),
            route_names: policy.routes.iter().map(|route| route.name.as_str().into()).collect(),
            routes: Routes::new(&policy.routes)?,
            identity: policy.identity.clone(),
            metrics: Metrics::new(&rules_by_route, policy.rules.len()),
            announcer: Announcer::new(policy, &rules_by_route),
            rules_by_route,
            hasher,
        })
    }

    /// Decides one request by all rules that apply to it: it passes if all of them agree, and is charged to all of
    /// them or to none.
    ///
    /// One reading of the clock; no allocation, no lock but for a key's first request, no wait.
    pub fn decide(&self, request: &Request<'_>) -> Outcome {
        let route = self.routes.find(request.method, request.host, request.path);
        if !self.metrics.is_sampled(route) {
            return Outcome::Decided(self.decide_on(route, request));
        }
        let start = self.clock.now();
        let decision = self.decide_on(route, request);
        self.metrics.time(self.clock.now().saturating_since(start));
        Outcome::Decided(decision)
    }

    /// Charges one unit to one key of one rule, whatever routes the rule names: the short form for a program that
    /// counts something of its own. `key` is any bytes; the rule's own `key` is not looked at.
    ///
    /// ```
    /// # use sluicegate::{Limiter, policy::Policy, secret};
    /// # use sluicegate_state::SystemClock;
    /// let text = "version: 1\nrules:\n  - {name: emails, key: ip, limit: 2/h}\n";
    /// let (policy, _warnings) = Policy::parse("policy.yaml", text)?;
    /// let limiter = Limiter::new(&policy, &secret::generate()?, SystemClock::new())?;
    /// let emails = limiter.rule("emails").ok_or("no such rule")?;
    /// assert!(limiter.check(emails, b"alice").passes());
    /// assert!(limiter.check(emails, b"alice").passes());
    /// assert!(!limiter.check(emails, b"alice").passes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `rule` is another limiter's: a mistake in the program, which must not pass for a decision.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most callers only ask `passes`, and then most of the answer is never made"
    )]
    pub fn check(&self, rule: RuleId, key: &[u8]) -> Check<'_> {
        let key = self.hasher.key().part(PartKind::Value, key).finish();
        let bucket = &self.rules[rule.index()].bucket;
        let mode = self.rules[rule.index()].mode(Key::Hash(key));
        let standing = self.table.charge(bucket, Key::Hash(key), Cost::ONE, self.clock.now());
        self.metrics.count_check(rule, RuleOutcome::of(mode, standing.passes()));
        Check { standing, mode }
    }

    /// The rule of that name.
    pub fn rule(&self, name: &str) -> Option<RuleId> {
        let index = self.rules.iter().position(|rule| *rule.name == *name)?;
        u16::try_from(index).ok().map(RuleId::new)
    }

    /// The name of a rule; empty for another limiter's.
    pub fn rule_name(&self, rule: RuleId) -> &str {
        self.rules.get(rule.index()).map_or("", |rule| &rule.name)
    }

    /// The name of a route; empty for another limiter's.
    pub fn route_name(&self, route: RouteId) -> &str {
        self.route_names.get(route.index()).map_or("", |name| name)
    }

    /// Who sent a request: its peer or, where that is a trusted proxy, whom the proxy names. Not cut to a prefix.
    pub fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        address::find(&self.identity, peer, headers)
    }

    /// What the limiter has counted.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the node remembers.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Frees idle cells, among the next `cells` of the table after those of the last call, and tells how many. A
    /// [`Cleaner`] does this beside the traffic; see [`Table::clean`].
    pub fn clean(&self, cells: usize) -> usize {
        self.table.clean(cells, self.clock.now())
    }

    /// Writes what a client is told of its limits into the headers of any response: `RateLimit-Policy` and `RateLimit`.
    /// Fields that are there already, an upstream's own, stay.
    pub fn announce(&self, route: Option<RouteId>, report: &Report, headers: &mut HeaderMap) {
        self.announcer.announce(route, report, headers);
    }

    /// The answer to a refused request; `None` for a decision that lets it pass.
    pub fn refusal(&self, request: &Request<'_>, decision: &Decision) -> Option<Refusal> {
        let refused = match decision {
            Decision::Deny { reason, retry, .. } => Refused {
                reason: Some(*reason),
                retry: *retry,
            },
            // A door that gets here cannot challenge.
            Decision::Challenge { .. } => Refused {
                reason: None,
                retry: Retry::Never,
            },
            _ => return None,
        };
        let mut refusal = Refusal::new(&refused, decision.report(), &self.announcer, Wire::of(request.headers));
        let route = self.routes.find(request.method, request.host, request.path);
        self.announce(route, decision.report(), &mut refusal.headers);
        Some(refusal)
    }

    fn decide_on(&self, route: Option<RouteId>, request: &Request<'_>) -> Decision {
        let mut charges = ArrayVec::<Charge<'_>, RULES_MAX>::new();
        let route_name = route.map_or("", |route| self.route_name(route));
        let keys = Keys::new(&self.hasher, &self.identity, request, route_name);
        for index in self.rules_on(route) {
            let rule = &self.rules[*index];
            match rule.key.of(&keys) {
                Ok(key) => charges.push(Charge {
                    rule: rule.id,
                    bucket: &rule.bucket,
                    meter: 0,
                    key,
                    cost: Cost::ONE,
                    mode: rule.mode(key),
                    hold: Hold::No,
                    when_refused: WhenRefused::Nothing,
                }),
                Err(Missing::Skip) => {}
                Err(Missing::Refuse) => return self.deny_for_missing_key(route, rule.id),
            }
        }
        let mut report = Report::new();
        match self.table.take(&charges, &self.clock, &mut report, &mut Takings::new()) {
            Taken::All { .. } => {
                self.metrics.count(route, RequestOutcome::Allow, report.states());
                Decision::Allow {
                    admitted: Admitted::new(route),
                    report,
                }
            }
            Taken::Nothing => {
                self.metrics.count(route, RequestOutcome::Deny, report.states());
                let waits = report
                    .states()
                    .iter()
                    .filter(|state| state.refuses())
                    .filter_map(|state| state.retry);
                let retry = waits.fold(Retry::After(Duration::ZERO), Retry::max);
                Decision::Deny {
                    reason: Reason::Limit,
                    retry,
                    report,
                }
            }
        }
    }

    /// Refuses before anything is charged.
    #[cold]
    fn deny_for_missing_key(&self, route: Option<RouteId>, rule: RuleId) -> Decision {
        let mut report = Report::new();
        report.push(RuleState {
            rule,
            mode: Mode::Enforced,
            overflow: false,
            remaining: 0,
            reset_after: Duration::ZERO,
            retry: Some(Retry::Never),
        });
        self.metrics.count(route, RequestOutcome::Deny, report.states());
        Decision::Deny {
            reason: Reason::MissingKey,
            retry: Retry::Never,
            report,
        }
    }

    fn rules_on(&self, route: Option<RouteId>) -> &[usize] {
        let rules = match route {
            Some(route) => self.rules_by_route.get(route.index()),
            None => self.rules_by_route.last(),
        };
        rules.map_or(&[], |rules| rules)
    }
}

impl Rule {
    #[inline]
    fn mode(&self, key: Key) -> Mode {
        let enforced = match (self.enforce, key) {
            (Enforce::ALL, _) => true,
            (Enforce::SHADOW, _) | (_, Key::Whole) => false,
            (share, Key::Hash(key)) => key.falls_within(share.as_percent(), self.salt),
        };
        if enforced { Mode::Enforced } else { Mode::Shadow }
    }
}

/// What one rule said to one key.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Check<'a> {
    standing: Standing<'a>,
    mode: Mode,
}

impl Check<'_> {
    /// Whether to go on: the charge fits, or the rule is in shadow mode for this key.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.standing.passes() || matches!(self.mode, Mode::Shadow)
    }

    /// Where the key stands, also in shadow mode.
    pub const fn standing(&self) -> &Standing<'_> {
        &self.standing
    }

    /// Whether a refusal counts.
    pub const fn mode(&self) -> Mode {
        self.mode
    }
}

/// Permits cannot be asked for in a file yet; who asks from code gets less than asked for, never more.
fn rate(limit: &checked::RuleLimit) -> Limit {
    let least = || Limit::new(1, Limit::PERIOD_MAX, 1).expect("one unit of the longest period is a limit");
    limit.rate().copied().unwrap_or_else(least)
}

/// The rules that apply to a route, or to requests of none; in the policy's order.
fn rules_of(policy: &Policy, route: Option<usize>) -> Box<[usize]> {
    let applies =
        |rule: &checked::Rule| rule.routes.is_empty() || route.is_some_and(|route| rule.routes.contains(&route));
    policy
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| applies(rule))
        .map(|(index, _)| index)
        .collect()
}

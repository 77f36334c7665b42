//! What the limiter counts of itself. Labels are indexes into the policy, so no client can make a series.

mod past;
mod stripes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::{AllowId, Mode, RuleId, RuleState};

use crate::route::RouteId;
use past::Past;
use stripes::Stripes;

/// Upper bounds of the histogram of decision times; one more bucket takes what is longer.
pub const DECISION_BOUNDS: [Duration; 12] = [
    Duration::from_nanos(50),
    Duration::from_nanos(100),
    Duration::from_nanos(200),
    Duration::from_nanos(400),
    Duration::from_nanos(800),
    Duration::from_nanos(1_600),
    Duration::from_micros(5),
    Duration::from_micros(20),
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(5),
    Duration::from_millis(50),
];

/// Counters of the histogram: its buckets, and the time of all of them.
const TIMES: usize = DECISION_BOUNDS.len() + 2;

/// One decision in this many is timed: two more readings of the clock would double the cost of the cheapest ones.
const SAMPLE_EVERY: u64 = 64;

/// What became of a request as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// It was let pass.
    Allow,
    /// It was refused.
    Deny,
}

impl RequestOutcome {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Deny];

    /// The label's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What one rule said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleOutcome {
    /// It let the request pass.
    Allow,
    /// It refused the request.
    Deny,
    /// In shadow mode it would have let it pass.
    ShadowAllow,
    /// In shadow mode it would have refused it.
    ShadowDeny,
}

impl RuleOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::ShadowAllow, Self::ShadowDeny];

    /// The label's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::ShadowAllow => "shadow_allow",
            Self::ShadowDeny => "shadow_deny",
        }
    }

    pub(crate) const fn of(mode: Mode, passes: bool) -> Self {
        match (mode, passes) {
            (Mode::Enforced, true) => Self::Allow,
            (Mode::Enforced, false) => Self::Deny,
            (Mode::Shadow, true) => Self::ShadowAllow,
            (Mode::Shadow, false) => Self::ShadowDeny,
        }
    }
}

/// Requests of one route with one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCount {
    /// `None` for requests that no route takes in.
    pub route: Option<RouteId>,
    /// What became of them.
    pub outcome: RequestOutcome,
    /// How many since the start.
    pub count: u64,
}

/// What one rule said to requests of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule's index in its policy.
    pub rule: usize,
    /// `None` for requests that no route takes in, and for those asked about by name.
    pub route: Option<RouteId>,
    /// What it said.
    pub outcome: RuleOutcome,
    /// How often since the start.
    pub count: u64,
}

/// How long decisions took, of those that were timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionTimes {
    /// Decisions up to each of [`DECISION_BOUNDS`], not counting those of the bound before; the last are longer.
    pub counts: [u64; DECISION_BOUNDS.len() + 1],
    /// All of them together.
    pub total: Duration,
}

/// The counters of one policy, which go on with those of the policies before it.
pub struct Metrics {
    stripes: Arc<Stripes>,
    /// Dropped with us: whoever reads our stripes along then knows that nobody counts in them any more.
    counting: Arc<()>,
    names: Names,
    past: Past,
    /// For each route, and at the end for requests of none: its counters.
    routes: Box<[RouteCounters]>,
    /// The first counter of the histogram.
    times: usize,
    /// The first counter of requests that the allow-list let pass, one for each entry.
    allowed: usize,
    /// The first counter of conditions that had no value, one for each rule and then for each entry of the allow-list.
    without_value: usize,
}

/// What a policy calls its rules and routes, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) rules: Box<[Box<str>]>,
    pub(crate) routes: Box<[Box<str>]>,
    pub(crate) allow: Box<[Box<str>]>,
}

/// A route's counters: its requests by outcome, then each rule's outcomes.
struct RouteCounters {
    first: usize,
    /// The rules that may apply, in the policy's order. For requests of no route every rule has its place, since a
    /// program may ask for any of them by name.
    rules: Box<[usize]>,
}

impl Metrics {
    /// `rules_by_route` tells for each route, and at the end for requests of none, which of the rules may apply. What was counted by
    /// `former` goes on under the same names.
    pub(crate) fn new(rules_by_route: &[Box<[usize]>], names: Names, former: Option<&Self>) -> Self {
        let none = rules_by_route.len().saturating_sub(1);
        let mut next = 0;
        let all = (0..names.rules.len()).collect();
        let routes = rules_by_route.iter().take(none).cloned().chain([all]);
        let routes: Box<[_]> = routes
            .map(|rules| {
                let first = next;
                next += RequestOutcome::ALL.len() + rules.len() * RuleOutcome::ALL.len();
                RouteCounters { first, rules }
            })
            .collect();
        let allowed = next + TIMES;
        let without_value = allowed + names.allow.len();
        let counters = without_value + names.rules.len() + names.allow.len();
        let mut metrics = Self {
            stripes: Arc::new(Stripes::new(counters)),
            counting: Arc::new(()),
            names,
            past: Past::none(),
            routes,
            times: next,
            allowed,
            without_value,
        };
        if let Some(former) = former {
            metrics.past = Past::new(former, metrics.predecessors_in(former, counters));
        }
        metrics
    }

    /// For each of our counters its place in `former`; `None` where that had no rule or route of the name.
    fn predecessors_in(&self, former: &Self, counters: usize) -> Box<[Option<u32>]> {
        let (rules, routes) = (by_name(&former.names.rules), by_name(&former.names.routes));
        let mut predecessors = vec![None; counters];
        let mut link = |ours: usize, theirs: usize| predecessors[ours] = u32::try_from(theirs).ok();
        for (at, now) in self.routes.iter().enumerate() {
            let before = match self.names.routes.get(at) {
                Some(name) => routes.get(&**name).and_then(|route| former.routes.get(*route)),
                None => former.routes.last(),
            };
            let Some(before) = before else { continue };
            for outcome in RequestOutcome::ALL {
                link(now.first + outcome as usize, before.first + outcome as usize);
            }
            // Where each rule stood on the route before.
            let stood: HashMap<usize, usize> = before.rules.iter().copied().zip(0..).collect();
            for (place, rule) in now.rules.iter().enumerate() {
                let rule = self.names.rules.get(*rule).and_then(|name| rules.get(&**name));
                let Some(stood) = rule.and_then(|rule| stood.get(rule)) else {
                    continue;
                };
                for outcome in RuleOutcome::ALL {
                    link(now.rule(place, outcome), before.rule(*stood, outcome));
                }
            }
        }
        for offset in 0..TIMES {
            link(self.times + offset, former.times + offset);
        }
        for (now, name) in self.names.rules.iter().enumerate() {
            if let Some(before) = rules.get(&**name) {
                link(self.without_value + now, former.without_value + before);
            }
        }
        let entries = by_name(&former.names.allow);
        for (now, name) in self.names.allow.iter().enumerate() {
            if let Some(before) = entries.get(&**name) {
                link(self.allowed + now, former.allowed + before);
                link(self.entry_without_value(now), former.entry_without_value(*before));
            }
        }
        predecessors.into()
    }

    /// What this policy and those before it have counted.
    fn sum(&self, counter: usize) -> u64 {
        self.stripes.sum(counter).wrapping_add(self.past.sum(counter))
    }

    /// Counts one request and what each rule said to it.
    #[inline]
    pub(crate) fn count(&self, route: Option<RouteId>, outcome: RequestOutcome, states: &[RuleState]) {
        let Some(counters) = self.counters(route) else { return };
        let stripe = self.stripes.stripe();
        stripe.add(counters.first + outcome as usize, 1);
        for state in states {
            let rule = state.rule.index();
            let place = if route.is_some() {
                counters.rules.iter().position(|other| *other == rule)
            } else {
                Some(rule)
            };
            if let Some(place) = place {
                stripe.add(counters.rule(place, RuleOutcome::of(state.mode, state.passes())), 1);
            }
        }
    }

    /// Counts one request that an entry of the allow-list let pass.
    #[inline]
    pub(crate) fn count_allowed(&self, route: Option<RouteId>, entry: AllowId) {
        self.count(route, RequestOutcome::Allow, &[]);
        self.stripes.stripe().add(self.allowed + entry.index(), 1);
    }

    /// Counts that a rule's condition had no value for a request.
    #[cold]
    pub(crate) fn count_rule_without_value(&self, rule: RuleId) {
        self.stripes.stripe().add(self.without_value + rule.index(), 1);
    }

    /// Counts that the condition of an entry of the allow-list had no value for a request.
    #[cold]
    pub(crate) fn count_entry_without_value(&self, entry: AllowId) {
        self.stripes.stripe().add(self.entry_without_value(entry.index()), 1);
    }

    fn entry_without_value(&self, entry: usize) -> usize {
        self.without_value + self.names.rules.len() + entry
    }

    /// Requests that an entry of the allow-list let pass; 0 for one that is not there.
    pub fn allowed(&self, entry: AllowId) -> u64 {
        self.names
            .allow
            .get(entry.index())
            .map_or(0, |_| self.sum(self.allowed + entry.index()))
    }

    /// How often a rule's condition had no value, so that the rule applied; 0 for a rule that is not there.
    pub fn rule_without_value(&self, rule: RuleId) -> u64 {
        let counter = self.without_value + rule.index();
        self.names.rules.get(rule.index()).map_or(0, |_| self.sum(counter))
    }

    /// How often the condition of an entry of the allow-list had no value, so that it allowed nothing; 0 for one that is not there.
    pub fn allow_without_value(&self, entry: AllowId) -> u64 {
        let counter = self.entry_without_value(entry.index());
        self.names.allow.get(entry.index()).map_or(0, |_| self.sum(counter))
    }

    /// Counts what a rule said that was asked by name.
    #[inline]
    pub(crate) fn count_check(&self, rule: RuleId, outcome: RuleOutcome) {
        if let Some(counters) = self.counters(None) {
            self.stripes.stripe().add(counters.rule(rule.index(), outcome), 1);
        }
    }

    /// Counts how often a rule that was asked by name said each [`RuleOutcome`].
    #[inline]
    pub(crate) fn count_checks(&self, rule: RuleId, counts: [u64; RuleOutcome::ALL.len()]) {
        let Some(counters) = self.counters(None) else { return };
        let stripe = self.stripes.stripe();
        for (outcome, count) in RuleOutcome::ALL.into_iter().zip(counts) {
            if count > 0 {
                stripe.add(counters.rule(rule.index(), outcome), count);
            }
        }
    }

    /// Whether the next decision of this thread on this route is to be timed.
    #[inline]
    pub(crate) fn is_sampled(&self, route: Option<RouteId>) -> bool {
        let Some(counters) = self.counters(route) else {
            return false;
        };
        let stripe = self.stripes.stripe();
        let so_far = RequestOutcome::ALL.map(|outcome| stripe.get(counters.first + outcome as usize));
        so_far
            .into_iter()
            .fold(0, u64::wrapping_add)
            .is_multiple_of(SAMPLE_EVERY)
    }

    /// Counts how long a decision took.
    pub(crate) fn time(&self, taken: Duration) {
        let stripe = self.stripes.stripe();
        let bound = DECISION_BOUNDS.partition_point(|bound| *bound < taken);
        stripe.add(self.times + bound, 1);
        stripe.add(
            self.times + DECISION_BOUNDS.len() + 1,
            u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX),
        );
    }

    /// Every request counter.
    pub fn requests(&self) -> impl Iterator<Item = RequestCount> + '_ {
        self.numbered().flat_map(move |(route, counters)| {
            let of = move |outcome| self.sum(counters.first + outcome as usize);
            RequestOutcome::ALL.into_iter().map(move |outcome| RequestCount {
                route,
                outcome,
                count: of(outcome),
            })
        })
    }

    /// Every rule counter.
    pub fn rules(&self) -> impl Iterator<Item = RuleCount> + '_ {
        self.numbered().flat_map(move |(route, counters)| {
            counters.rules.iter().enumerate().flat_map(move |(place, rule)| {
                let of = move |outcome| self.sum(counters.rule(place, outcome));
                let count = move |outcome| RuleCount {
                    rule: *rule,
                    route,
                    outcome,
                    count: of(outcome),
                };
                RuleOutcome::ALL.into_iter().map(count)
            })
        })
    }

    /// How long the timed decisions took.
    pub fn decision_times(&self) -> DecisionTimes {
        let counts = std::array::from_fn(|bound| self.sum(self.times + bound));
        let total = Duration::from_nanos(self.sum(self.times + DECISION_BOUNDS.len() + 1));
        DecisionTimes { counts, total }
    }

    fn counters(&self, route: Option<RouteId>) -> Option<&RouteCounters> {
        match route {
            Some(route) => self.routes.get(route.index()),
            None => self.routes.last(),
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (Option<RouteId>, &RouteCounters)> {
        let none = self.routes.len().saturating_sub(1);
        (0..).zip(&self.routes).map(move |(index, counters)| {
            let route = if usize::from(index) == none {
                None
            } else {
                Some(RouteId::new(index))
            };
            (route, counters)
        })
    }
}

fn by_name(names: &[Box<str>]) -> HashMap<&str, usize> {
    names.iter().map(|name| &**name).zip(0..).collect()
}

impl RouteCounters {
    #[inline]
    const fn rule(&self, place: usize, outcome: RuleOutcome) -> usize {
        self.first + RequestOutcome::ALL.len() + place * RuleOutcome::ALL.len() + outcome as usize
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

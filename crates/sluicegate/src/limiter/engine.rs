//! An engine: one policy, made ready to decide by the memory that outlives it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use http::HeaderName;
use sluicegate_core::{AllowId, Cost, KeyHash, Mode, PartKind, RULES_MAX, RuleId};
use sluicegate_state::leases::{SharedBucket, SharedBucketSpec, SharedCharge};
use sluicegate_state::{BUCKETS_MAX, Bucket, Charge, Clock as _, HOLDS_MAX, Hold, Key, WhenRefused};

use super::asked::Asking;
use super::attributes::{Attributes, RouteFacts};
use super::costs::RuleCost;
use super::ending::Ending;
use super::keys::{NoKey, RuleKey};
use super::shared::Shared;
use super::specs::Specs;
use super::{LimiterError, told::Told};
use crate::body::{Pointer, Pointers};
use crate::claims::COOKIE;
use crate::condition::{Attribute, Condition, NoValue};
use crate::identity::Resolver;
use crate::metrics::{Metrics, Names};
use crate::policy::checked::{self, Enforce, Paths, Policy, Sensitivity, SharingTerms};
use crate::route::{PathPart, RouteId};

/// One policy in force.
#[derive(Debug)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) told: Arc<Told>,
    pub(super) resolver: Resolver,
    pub(super) paths: Paths,
    allow: Box<[Condition]>,
    pub(super) rules: Box<[Rule]>,
    by_name: HashMap<Box<str>, RuleId>,
    /// For each route, and at the end for requests of none.
    on_route: Box<[OnRoute]>,
    pub(super) metrics: Metrics,
    pub(super) waiting_max: usize,
    /// This engine's number among all of the process, so that no handle takes one engine's rule for another's.
    pub(super) number: u64,
}

/// The next engine's number. 48 bits of it count, which no process makes.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A rule, made ready.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    pub(super) bucket: Arc<Bucket>,
    /// Which of the bucket's limits.
    pub(super) meter: u8,
    /// What it draws from instead, where other nodes draw from it too.
    pub(super) shared: Option<Arc<SharedBucket>>,
    /// What that comes to on several nodes.
    terms: Option<SharingTerms>,
    /// Which requests it applies to, of those of its routes.
    when: Option<Condition>,
    key: RuleKey,
    cost: RuleCost,
    pub(super) enforce: Enforce,
    /// The rule's name under the secret: decides, with the key, for whom the rule is enforced.
    salt: KeyHash,
    hold: Hold,
    when_refused: WhenRefused,
    pub(super) ending: Option<Ending>,
    /// How a program asks it.
    pub(super) asking: Asking,
    /// Whether all share one cell, whatever key a program names.
    pub(super) is_whole: bool,
}

/// What applies to the requests of one route.
#[derive(Debug)]
pub(super) struct OnRoute {
    pub(super) facts: RouteFacts,
    /// Rules that decide by a request's head.
    pub(super) head: RuleSet,
    /// Rules that need its body.
    pub(super) body: RuleSet,
    /// Whether all of those are in shadow mode, so that nothing that is wrong with a body may refuse its request.
    pub(super) is_body_advisory: bool,
    /// What is looked for in the body of a request, and of its response.
    pub(super) request: Pointers,
    pub(super) response: Pointers,
}

/// Some rules of a policy, in its order.
#[derive(Debug)]
pub(super) struct RuleSet {
    /// Those whose limits this node keeps alone.
    pub(super) alone: Box<[usize]>,
    /// Those whose limits it holds together with other nodes.
    pub(super) together: Box<[usize]>,
}

impl RuleSet {
    pub(super) fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.together.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        self.alone.iter().chain(&self.together).copied()
    }
}

/// The charges of one request.
pub(super) type Charges<'e> = ArrayVec<Charge<'e>, RULES_MAX>;

/// Those of them that other nodes have a say in.
pub(super) type SharedCharges<'e> = ArrayVec<SharedCharge<'e>, RULES_MAX>;

/// Why a rule has no charge for a request.
pub(super) enum NoCharge {
    /// It does not apply.
    Skip,
    /// The request lacks what it is counted by.
    Missing(RuleId),
    /// What it is counted by, or what it says it costs, makes no sense.
    Bad,
}

impl Engine {
    /// Makes a limiter's first policy ready, and puts its buckets in force. `generation` is its number.
    pub(super) fn new(policy: &Policy, shared: Arc<Shared>, generation: u32) -> Result<Self, LimiterError> {
        Self::make(policy, shared, generation, None)
    }

    /// Makes a policy ready to take the place of another, whose counts it goes on with.
    pub(super) fn after(policy: &Policy, former: &Self, generation: u32) -> Result<Self, LimiterError> {
        Self::make(policy, Arc::clone(&former.shared), generation, Some(former))
    }

    fn make(
        policy: &Policy,
        shared: Arc<Shared>,
        generation: u32,
        former: Option<&Self>,
    ) -> Result<Self, LimiterError> {
        let rules_by_route: Box<[Box<[usize]>]> = (0..policy.routes.len())
            .map(Some)
            .chain([None])
            .map(|route| rules_of(policy, route))
            .collect();
        let told = Told::new(policy, &rules_by_route, generation)?;
        let specs = Specs::new(&policy.rules, shared.clock.epoch_at_start(), shared.leases.is_some());
        let is_together = |rule: usize| specs.shared[specs.of_rule[rule].0].is_some();
        let on_route = rules_by_route
            .iter()
            .enumerate()
            .map(|(place, rules)| OnRoute::new(policy, place, rules, is_together))
            .collect::<Result<_, _>>()?;
        if specs.buckets.len() > BUCKETS_MAX {
            return Err(LimiterError::TooManyRules {
                rules: policy.rules.len(),
            });
        }
        // Last: from here on nothing can go wrong but the table itself, which then has changed nothing.
        let buckets = shared.table.install(specs.buckets, shared.now())?;
        let former_rules = former.map_or(&[][..], |former| &former.rules);
        let together = specs
            .shared
            .into_iter()
            .map(|spec| Some(shared_bucket(spec?, former_rules)));
        let together: Vec<Option<Arc<SharedBucket>>> = together.collect();
        let numbered = (0..).map(RuleId::new).zip(&policy.rules).zip(specs.of_rule);
        let when_refused = |rule: &checked::Rule| {
            if rule.charge_refused {
                WhenRefused::Charge
            } else {
                WhenRefused::Nothing
            }
        };
        let rules = numbered.map(|((id, rule), (bucket, meter))| Rule {
            id,
            bucket: Arc::clone(&buckets[bucket]),
            meter,
            shared: together[bucket].clone(),
            terms: specs.terms[bucket],
            asking: match &together[bucket] {
                Some(bucket) if bucket.gives_permits() => Asking::Permits,
                Some(_) => Asking::Together,
                None => Rule::asking(buckets[bucket].meter(), meter, when_refused(rule)),
            },
            is_whole: rule.key.is_empty(),
            when: rule.when.clone(),
            key: RuleKey::new(rule),
            cost: RuleCost::new(&rule.cost),
            enforce: rule.enforce,
            salt: shared.hasher.key().part(PartKind::Rule, rule.name.as_bytes()).finish(),
            hold: if rule.holds() { Hold::UntilTheEnd } else { Hold::No },
            when_refused: when_refused(rule),
            ending: Ending::new(rule),
        });
        Ok(Self {
            allow: policy.allow.iter().map(|entry| entry.when.clone()).collect(),
            rules: rules.collect(),
            by_name: (0..)
                .map(RuleId::new)
                .zip(&policy.rules)
                .map(|(id, rule)| (rule.name.as_str().into(), id))
                .collect(),
            resolver: Resolver::new(
                &policy.identity,
                former.map(|former| &former.resolver),
                shared.token_key,
            ),
            paths: policy.paths,
            on_route,
            metrics: Metrics::new(
                &rules_by_route,
                Names {
                    rules: told.rule_names.clone(),
                    routes: told.route_names.clone(),
                    allow: told.allow_names.clone(),
                },
                former.map(|former| &former.metrics),
            ),
            waiting_max: policy.state.waiting,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            told: Arc::new(told),
            shared,
        })
    }

    /// The number of this policy among those that were in force one after another, from 1.
    pub fn generation(&self) -> u32 {
        self.told.generation
    }

    /// What was decided: by this policy, and by those before it, as far as its rules and routes have names that theirs had too.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The rules' names, in the policy's order.
    pub fn rule_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.told.rule_names.iter().map(|name| &**name)
    }

    /// The routes' names, in the policy's order.
    pub fn route_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.told.route_names.iter().map(|name| &**name)
    }

    /// For which part of its keys a rule's refusal counts; `None` for a rule that is not there.
    pub fn enforce(&self, rule: RuleId) -> Option<Enforce> {
        self.rules.get(rule.index()).map(|rule| rule.enforce)
    }

    /// What a rule draws from; `None` for a rule that is not there.
    pub fn bucket(&self, rule: RuleId) -> Option<&Bucket> {
        self.rules.get(rule.index()).map(|rule| &*rule.bucket)
    }

    /// What a rule draws from together with other nodes; `None` for a rule whose limit this node keeps alone.
    pub fn shared_bucket(&self, rule: RuleId) -> Option<&SharedBucket> {
        self.rules.get(rule.index())?.shared.as_deref()
    }

    /// What a rule's limit comes to on several nodes, by what is done about it here: where this node keeps it alone, no store is asked.
    /// `None` for a rule that is not there.
    pub fn sharing(&self, rule: RuleId) -> Option<&SharingTerms> {
        self.rules.get(rule.index())?.terms.as_ref()
    }

    /// The rule of that name.
    pub fn rule(&self, name: &str) -> Option<RuleId> {
        self.by_name.get(name).copied()
    }

    #[inline]
    pub(super) fn on_route(&self, route: Option<RouteId>) -> &OnRoute {
        let last = &self.on_route[self.on_route.len() - 1];
        match route {
            Some(route) => self.on_route.get(route.index()).unwrap_or(last),
            None => last,
        }
    }

    /// Adds the charges of some rules for one request: where they are to stay, since the room for all of them is 600 bytes.
    #[inline]
    pub(super) fn charge<'e>(
        &'e self,
        rules: &[usize],
        attributes: &Attributes<'_>,
        charges: &mut Charges<'e>,
    ) -> Result<(), NoCharge> {
        for index in rules {
            let rule = &self.rules[*index];
            if !self.applies(rule, attributes) {
                continue;
            }
            match rule.charge(&self.shared, attributes) {
                Ok(charge) => charges.push(charge),
                Err(NoCharge::Skip) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }

    /// Adds the charges of those rules that other nodes have a say in.
    #[inline]
    pub(super) fn charge_shared<'e>(
        &'e self,
        rules: &RuleSet,
        attributes: &Attributes<'_>,
        charges: &mut SharedCharges<'e>,
    ) -> Result<(), NoCharge> {
        for index in &rules.together {
            let rule = &self.rules[*index];
            if !self.applies(rule, attributes) {
                continue;
            }
            match rule.keyed_cost(&self.shared, attributes) {
                Ok((key, cost)) => charges.extend(rule.shared_charge_of(key, cost)),
                Err(NoCharge::Skip) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }

    /// Whether a rule of the request's route applies to it. Where its condition has no value it does: what a request brings must not
    /// be a way around a limit.
    #[inline]
    fn applies(&self, rule: &Rule, attributes: &Attributes<'_>) -> bool {
        let Some(when) = &rule.when else { return true };
        when.holds(attributes).unwrap_or_else(|NoValue| {
            self.metrics.count_rule_without_value(rule.id);
            true
        })
    }

    /// The entry of the allow-list that has a request. An entry whose condition has no value has none: what a request brings must not
    /// be a way past all limits.
    #[inline]
    pub(super) fn allowed_by(&self, attributes: &Attributes<'_>) -> Option<AllowId> {
        let mut entries = (0..).map(AllowId::new).zip(&self.allow);
        let holds = |(id, when): &(AllowId, &Condition)| {
            when.holds(attributes).unwrap_or_else(|NoValue| {
                self.metrics.count_entry_without_value(*id);
                false
            })
        };
        entries.find(holds).map(|(id, _)| id)
    }

    /// The names of the allow-list's entries, in the policy's order.
    pub fn allow_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.told.allow_names.iter().map(|name| &**name)
    }

    /// Whether a rule has a condition; `false` for a rule that is not there.
    pub fn has_condition(&self, rule: RuleId) -> bool {
        self.rules.get(rule.index()).is_some_and(|rule| rule.when.is_some())
    }

    /// The headers that rules of the second phase read.
    pub(super) fn headers_of(&self, rules: &RuleSet) -> impl Iterator<Item = &HeaderName> {
        let rules = rules.all().map(|index| &self.rules[index]);
        rules.flat_map(|rule| {
            let asked = rule.when.iter().flat_map(Condition::reads).chain(rule.cost.asks());
            rule.key
                .headers()
                .chain(rule.cost.header())
                .chain(asked.filter_map(header_of))
        })
    }
}

impl Rule {
    #[inline]
    fn charge(&self, shared: &Shared, attributes: &Attributes<'_>) -> Result<Charge<'_>, NoCharge> {
        let (key, cost) = self.keyed_cost(shared, attributes)?;
        Ok(self.charge_of(key, cost))
    }

    #[inline]
    fn keyed_cost(&self, shared: &Shared, attributes: &Attributes<'_>) -> Result<(Key, Cost), NoCharge> {
        let key = self.key.of(&shared.hasher, attributes).map_err(|no_key| match no_key {
            NoKey::Skip => NoCharge::Skip,
            NoKey::Refuse => self.refuse(NoCharge::Missing(self.id)),
            NoKey::Bad => self.refuse(NoCharge::Bad),
        })?;
        let cost = self.cost.of(attributes).map_err(|_| self.refuse(NoCharge::Bad))?;
        Ok((key, cost))
    }

    /// Nobody is refused by a rule in shadow mode.
    fn refuse(&self, why: NoCharge) -> NoCharge {
        if self.enforce == Enforce::SHADOW {
            NoCharge::Skip
        } else {
            why
        }
    }

    /// The charge of a key and a cost that the caller has at hand.
    #[inline]
    pub(super) fn charge_of(&self, key: Key, cost: Cost) -> Charge<'_> {
        Charge {
            rule: self.id,
            bucket: &self.bucket,
            meter: self.meter,
            key,
            cost,
            mode: self.mode(key),
            hold: self.hold,
            when_refused: self.when_refused,
        }
    }

    /// The same of a rule that other nodes have a say in; `None` of any other.
    pub(super) fn shared_charge_of(&self, key: Key, cost: Cost) -> Option<SharedCharge<'_>> {
        Some(SharedCharge {
            rule: self.id,
            bucket: self.shared.as_ref()?,
            key,
            cost,
            mode: self.mode(key),
            hold: self.hold,
            when_refused: self.when_refused,
        })
    }

    #[inline]
    pub(super) fn mode(&self, key: Key) -> Mode {
        let enforced = match (self.enforce, key) {
            (Enforce::ALL, _) => true,
            (Enforce::SHADOW, _) | (_, Key::Whole) => false,
            (share, Key::Hash(key)) => key.falls_within(share.as_percent(), self.salt),
        };
        if enforced { Mode::Enforced } else { Mode::Shadow }
    }
}

/// The header that an attribute is read from.
fn header_of(attribute: &Attribute) -> Option<&HeaderName> {
    match attribute {
        Attribute::Header(name) => Some(name),
        Attribute::Cookie(_) => Some(&COOKIE),
        _ => None,
    }
}

impl OnRoute {
    /// For requests of the route at `place`; of none where the policy has none there.
    fn new(
        policy: &Policy,
        place: usize,
        rules: &[usize],
        is_together: impl Fn(usize) -> bool,
    ) -> Result<Self, LimiterError> {
        let route = policy.routes.get(place);
        if rules.len() > RULES_MAX {
            return Err(LimiterError::TooManyAtOnce { rules: rules.len() });
        }
        let all = || rules.iter().map(|index| &policy.rules[*index]);
        let holds = all().filter(|rule| rule.holds()).count();
        if holds > HOLDS_MAX {
            return Err(LimiterError::TooManyHeld { rules: holds });
        }
        let (body, head): (Vec<_>, Vec<_>) = rules.iter().partition(|index| policy.rules[**index].reads_body());
        let set = |rules: Vec<usize>| {
            let (together, alone): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| is_together(*rule));
            RuleSet {
                alone: alone.into(),
                together: together.into(),
            }
        };
        Ok(Self {
            facts: RouteFacts {
                place,
                name: route.map_or("", |route| &route.name).into(),
                sensitivity: Sensitivity::of(route),
                path_parts: route.into_iter().flat_map(|route| PathPart::all(&route.path)).collect(),
            },
            is_body_advisory: body
                .iter()
                .all(|rule: &usize| policy.rules[*rule].enforce == Enforce::SHADOW),
            head: set(head),
            body: set(body),
            request: distinct(all().flat_map(checked::Rule::request_members))?,
            response: distinct(all().flat_map(checked::Rule::response_members))?,
        })
    }
}

/// The bucket that nodes hold together: the one in force, if it is the same, so that what it has counted goes on.
fn shared_bucket(spec: SharedBucketSpec, former: &[Rule]) -> Arc<SharedBucket> {
    let mut former = former.iter().filter_map(|rule| rule.shared.as_ref());
    let same = former.find(|bucket| *bucket.spec() == spec);
    same.map_or_else(|| Arc::new(SharedBucket::new(spec)), Arc::clone)
}

/// The pointers without repetition.
fn distinct<'p>(pointers: impl Iterator<Item = &'p Pointer>) -> Result<Pointers, LimiterError> {
    let mut distinct: Vec<Pointer> = Vec::new();
    for pointer in pointers {
        if !distinct.contains(pointer) {
            distinct.push(pointer.clone());
        }
    }
    Ok(Pointers::new(distinct)?)
}

/// The rules that apply to a route, or to requests of none; in the policy's order.
fn rules_of(policy: &Policy, route: Option<usize>) -> Box<[usize]> {
    let applies = |rule: &checked::Rule| {
        !rule.is_for_programs() && (rule.routes.is_empty() || route.is_some_and(|route| rule.routes.contains(&route)))
    };
    policy
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| applies(rule))
        .map(|(index, _)| index)
        .collect()
}

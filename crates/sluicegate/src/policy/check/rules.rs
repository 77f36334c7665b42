//! Rules: that their names are their own, that the routes they name exist, and that no request meets too many.

use std::collections::HashMap;
use std::num::NonZeroU64;

use sluicegate_core::RULES_MAX;

use super::super::checked::{Algorithm, CostSpec, Count, Enforce, KeyPart, OnMissingKey, Overflow, Rule, RuleLimit};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located, Spot};
use super::super::nearest::nearest;
use super::super::raw::RuleFields;
use super::super::scalar::{AlgorithmWord, Name, OverflowText};
use super::super::shape::{Field, List, OneOrMany};
use super::routes::Routes;

/// The file's rules, each with its spots for advice.
pub(super) struct Rules {
    pub(super) all: Vec<Entry>,
    /// Where the list stands; `None` where there is none that can be read.
    pub(super) spot: Option<Spot>,
    /// Whether the list is there and could not be read.
    pub(super) unreadable: bool,
}

/// One rule of the file.
pub(super) struct Entry {
    /// `None` where the rule has faults.
    pub(super) rule: Option<Rule>,
    /// Its key's place, else its own.
    pub(super) key_spot: Spot,
    /// The place of `on_missing_key`, if the file says it.
    pub(super) on_missing_key_spot: Option<Spot>,
    /// The place of `enforce`, else the rule's own.
    pub(super) enforce_spot: Spot,
}

impl Rules {
    pub(super) fn checked(self) -> Vec<Rule> {
        self.all.into_iter().filter_map(|entry| entry.rule).collect()
    }
}

/// Checks the list.
pub(super) fn check<const MIN: usize, const MAX: usize>(
    raw: Field<List<RuleFields, MIN, MAX>>,
    routes: &Routes,
    findings: &mut Findings<'_>,
) -> Rules {
    let unreadable = matches!(raw, Field::Faulty);
    let list = raw.given();
    let mut rules = Rules {
        all: Vec::new(),
        spot: list.as_ref().map(|list| list.spot),
        unreadable,
    };
    let mut by_name: HashMap<String, Spot> = HashMap::new();
    let mut load = Load::new(routes);
    for Located { value, spot } in list.map(|list| list.value.0).unwrap_or_default() {
        if let Some(name) = value.name.as_ref() {
            if let Some(first) = by_name.get(&name.value.0) {
                let problem = format!(
                    "{} is also the name of {}",
                    quoted(&name.value.0),
                    findings.place(*first)
                );
                findings.fault(
                    name.spot,
                    problem,
                    "give each rule a name of its own; it tells a client which limit it met",
                );
            } else {
                by_name.insert(name.value.0.clone(), spot);
            }
        }
        let entry = check_one(value, spot, routes, findings);
        if let Some(rule) = &entry.rule {
            load.add(rule, spot, routes, findings);
        }
        rules.all.push(entry);
    }
    rules
}

fn check_one(raw: RuleFields, spot: Spot, routes: &Routes, findings: &mut Findings<'_>) -> Entry {
    let key_spot = raw.key.as_ref().map_or(spot, |key| key.spot);
    let on_missing_key_spot = raw.on_missing_key.as_ref().map(|word| word.spot);
    let enforce_spot = raw.enforce.as_ref().map_or(spot, |share| share.spot);

    let key = raw.key.value().map(|list| check_key(list.0, findings));
    let enforce = raw.enforce.value().unwrap_or(Enforce::ALL);
    if key.as_ref().is_some_and(Vec::is_empty) && enforce != Enforce::ALL && enforce != Enforce::SHADOW {
        // The share goes by the key's hash, and this rule has but one key.
        findings.fault(
            enforce_spot,
            format!(
                "\"{}%\" of the keys cannot be had where all requests share one key",
                enforce.as_percent()
            ),
            "write 0% or 100%, or give the rule a key",
        );
    }
    let routes = match raw.routes {
        Field::Absent => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(list) => check_routes(list.value, routes, findings),
    };
    let overflow = raw.overflow.value();
    // There is nothing to choose yet, and whoever says so is right.
    let AlgorithmWord = raw.algorithm.value().unwrap_or(AlgorithmWord);
    let rule = (|| {
        let limit = raw.limit.value()?;
        Some(Rule {
            name: raw.name.value()?.0,
            key: key?,
            limit: RuleLimit::Rate(limit),
            algorithm: Algorithm::TokenBucket,
            bucket: None,
            routes: routes?,
            cost: CostSpec::default(),
            count: Count::Requests,
            exceed: Vec::new(),
            charge_refused: false,
            on_missing_key: raw.on_missing_key.value().unwrap_or(OnMissingKey::Ip),
            enforce,
            overflow: match overflow {
                Some(OverflowText::Closed) => Overflow::Closed,
                Some(OverflowText::Shared(shared)) => Overflow::Shared(RuleLimit::Rate(shared)),
                None => Overflow::Shared(RuleLimit::Rate(limit.times(OVERFLOW_FACTOR))),
            },
            description: raw.description.value().map(|text| text.0),
            rationale: raw.rationale.value().map(|text| text.0),
            owner: raw.owner.value().map(|text| text.0),
            review_by: raw.review_by.value().map(|day| day.0),
        })
    })();
    Entry {
        rule,
        key_spot,
        on_missing_key_spot,
        enforce_spot,
    }
}

/// How many times its own limit a rule's keys share when they find no room. A flood of new keys then still passes no
/// faster than ten clients, and ten honest newcomers do not notice that the table is full.
const OVERFLOW_FACTOR: NonZeroU64 = NonZeroU64::new(10).expect("ten is not zero");

fn check_key(list: Vec<Located<KeyPart>>, findings: &mut Findings<'_>) -> Vec<KeyPart> {
    let mut key: Vec<KeyPart> = Vec::new();
    for part in list {
        if key.contains(&part.value) {
            findings.fault(
                part.spot,
                "this part of the key is listed twice",
                "remove one of the two",
            );
        }
        key.push(part.value);
    }
    key
}

/// The routes' numbers; `None` once a fault is noted.
fn check_routes<const MIN: usize, const MAX: usize>(
    list: OneOrMany<Name, MIN, MAX>,
    routes: &Routes,
    findings: &mut Findings<'_>,
) -> Option<Vec<usize>> {
    let mut indexes = Vec::with_capacity(list.0.len());
    let mut seen = std::collections::HashSet::new();
    let mut sound = true;
    for Located {
        value: Name(name),
        spot,
    } in list.0
    {
        match routes.by_name.get(&name) {
            Some(index) => {
                if !seen.insert(*index) {
                    findings.fault(
                        spot,
                        format!("{} is listed twice", quoted(&name)),
                        "remove one of the two",
                    );
                }
                indexes.push(*index);
            }
            None if routes.unreadable => sound = false,
            None => {
                let known = || {
                    routes
                        .all
                        .iter()
                        .filter_map(|entry| entry.route.as_ref())
                        .map(|route| route.name.as_str())
                };
                let meant = if findings.is_full() {
                    None
                } else {
                    nearest(&name, known())
                };
                let remedy = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if routes.all.is_empty() => "add `routes:` with a route of this name".to_owned(),
                    None => {
                        let names: Vec<String> = known().take(LISTED_MAX).map(str::to_owned).collect();
                        format!("the routes are {}", super::routes::listed(&names))
                    }
                };
                findings.fault(spot, format!("there is no route {}", quoted(&name)), remedy);
                sound = false;
            }
        }
    }
    sound.then_some(indexes)
}

/// One more than a remedy lists, so that it can say that there are more.
const LISTED_MAX: usize = 9;

/// How many rules a request may meet, by its route.
struct Load {
    everywhere: usize,
    by_route: Vec<usize>,
    most: usize,
    is_noted: bool,
}

impl Load {
    fn new(routes: &Routes) -> Self {
        Self {
            everywhere: 0,
            by_route: vec![0; routes.all.len()],
            most: 0,
            is_noted: false,
        }
    }

    /// Counts a rule in, and notes the first with which some request meets more than [`RULES_MAX`].
    fn add(&mut self, rule: &Rule, spot: Spot, routes: &Routes, findings: &mut Findings<'_>) {
        let mut worst = None;
        if rule.routes.is_empty() {
            self.everywhere += 1;
        }
        for &index in &rule.routes {
            // Numbers come from the same list of routes.
            self.by_route[index] += 1;
            if self.by_route[index] > self.most {
                self.most = self.by_route[index];
                worst = Some(index);
            }
        }
        let total = self.everywhere + self.most;
        if total <= RULES_MAX || std::mem::replace(&mut self.is_noted, true) {
            return;
        }
        let route = worst.and_then(|index| routes.all.get(index)?.route.as_ref());
        let requests = route.map_or_else(
            || "requests".to_owned(),
            |route| format!("requests of the route {}", quoted(&route.name)),
        );
        findings.fault(
            spot,
            format!("with this rule {requests} meet {total} rules"),
            format!("let at most {RULES_MAX} rules apply to one request; name routes, or join rules"),
        );
    }
}

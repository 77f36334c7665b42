//! Rules: that their names are their own, and that the routes they name exist.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::super::checked::{CostSource, Enforce, KeyPart, OnMissingKey, Overflow, Rule, SettleSource};
use super::super::fault::quoted;
use super::super::findings::{Findings, Located, Spot};
use super::super::key::KeyItem;
use super::super::nearest::nearest;
use super::super::raw::RuleFields;
use super::super::scalar::Name;
use super::super::shape::{Field, List, OneOrMany};
use super::load::Load;
use super::routes::Routes;
use super::sharing::Store;
use super::{buckets, conditions, costs, limits, sharing};

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
    pub(super) spots: Spots,
    /// Whether its limit says a burst.
    pub(super) says_burst: bool,
}

/// Where a rule's fields stand; the rule's own place stands in for a field that is not there, unless it is `None`.
pub(super) struct Spots {
    pub(super) rule: Spot,
    pub(super) key: Spot,
    pub(super) when: Spot,
    pub(super) limit: Spot,
    pub(super) algorithm: Spot,
    pub(super) bucket: Spot,
    pub(super) cost: Spot,
    pub(super) count: Spot,
    pub(super) exceed: Spot,
    pub(super) enforce: Spot,
    pub(super) on_missing_key: Option<Spot>,
    pub(super) max_wait: Option<Spot>,
    pub(super) overflow: Option<Spot>,
    pub(super) sharing: Option<Spot>,
    pub(super) fanout: Option<Spot>,
    pub(super) on_store_loss: Option<Spot>,
}

impl Spots {
    fn of(raw: &RuleFields, rule: Spot) -> Self {
        fn spot<T>(field: &Field<T>) -> Option<Spot> {
            field.as_ref().map(|field| field.spot)
        }
        Self {
            rule,
            key: spot(&raw.key).unwrap_or(rule),
            when: spot(&raw.when).unwrap_or(rule),
            limit: spot(&raw.limit).unwrap_or(rule),
            algorithm: spot(&raw.algorithm).unwrap_or(rule),
            bucket: spot(&raw.bucket).unwrap_or(rule),
            cost: spot(&raw.cost).unwrap_or(rule),
            count: spot(&raw.count).unwrap_or(rule),
            exceed: spot(&raw.exceed).unwrap_or(rule),
            enforce: spot(&raw.enforce).unwrap_or(rule),
            on_missing_key: spot(&raw.on_missing_key),
            max_wait: spot(&raw.max_wait),
            overflow: spot(&raw.overflow),
            sharing: spot(&raw.sharing),
            fanout: spot(&raw.fanout),
            on_store_loss: spot(&raw.on_store_loss),
        }
    }
}

impl Rules {
    /// The rules; those of one bucket with what the bucket's first says of its overflow.
    pub(super) fn checked(self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.all.into_iter().filter_map(|entry| entry.rule).collect();
        let mut overflows: HashMap<String, Overflow> = HashMap::new();
        for rule in &mut rules {
            if let Some(bucket) = &rule.bucket {
                rule.overflow = *overflows.entry(bucket.clone()).or_insert(rule.overflow);
            }
        }
        rules
    }

    /// The rules without faults.
    pub(super) fn sound(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.all.iter().filter_map(|entry| entry.rule.as_ref())
    }
}

/// Checks the list; limits are shared by `store`, if they are, on at least `nodes`.
pub(super) fn check<const MIN: usize, const MAX: usize>(
    raw: Field<List<RuleFields, MIN, MAX>>,
    routes: &Routes,
    (store, nodes): (Store<'_>, NonZeroU32),
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
        let entry = check_one(value, spot, routes, store, findings);
        if let Some(rule) = &entry.rule {
            load.add(rule, spot, routes, findings);
        }
        rules.all.push(entry);
    }
    buckets::check(&rules.all, findings);
    sharing::check(&rules.all, store, nodes, findings);
    rules
}

fn check_one(raw: RuleFields, spot: Spot, all: &Routes, store: Store<'_>, findings: &mut Findings<'_>) -> Entry {
    let spots = Spots::of(&raw, spot);
    let key = raw.key.as_ref().map(|list| check_key(&list.value.0, findings));
    if let Some(key) = &key {
        check_for_programs(&raw, &spots, key, findings);
    }
    let enforce = raw.enforce.value().unwrap_or(Enforce::ALL);
    if key.as_ref().is_some_and(Vec::is_empty) && enforce != Enforce::ALL && enforce != Enforce::SHADOW {
        // The share goes by the key's hash, and this rule has but one key.
        findings.fault(
            spots.enforce,
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
        Field::Given(list) => check_routes(list.value, all, findings),
    };
    let on = routes.as_deref().unwrap_or_default();
    if let (Some(list), Some(on)) = (raw.key.as_ref(), &routes) {
        check_path_parts(&list.value.0, on, all, findings);
    }
    let when = match &raw.when {
        Field::Absent => Some(None),
        Field::Faulty => None,
        Field::Given(text) => conditions::condition(text, all, on, findings).map(Some),
    };
    let limit = limits::Raw {
        limit: raw.limit,
        algorithm: raw.algorithm,
        max_wait: raw.max_wait,
        free: raw.free,
        align: raw.align,
        overflow: raw.overflow,
    };
    let kept = limits::check(limit, findings);
    let asked = sharing::Raw {
        sharing: raw.sharing,
        fanout: raw.fanout,
        on_store_loss: raw.on_store_loss,
    };
    let asked = sharing::read(asked, store, findings);
    let says_burst = kept.as_ref().is_some_and(|kept| kept.says_burst);
    // What follows is about the part of the limit that this node has.
    let kept = match &asked {
        Some(asked) => kept.and_then(|kept| asked.divide(kept, findings)),
        None => kept,
    };
    let charge = costs::Raw {
        cost: raw.cost,
        count: raw.count,
        failed_when: raw.failed_when,
        on_success: raw.on_success,
        exceed: raw.exceed,
        charge_refused: raw.charge_refused,
    };
    let charged = costs::check(charge, kept.as_ref(), key.as_deref(), (all, on), findings);
    let rule = (|| {
        let (kept, charged, asked) = (kept?, charged?, asked?);
        Some(Rule {
            name: raw.name.value()?.0,
            key: key?,
            limit: kept.limit,
            algorithm: kept.algorithm,
            bucket: raw.bucket.value().map(|name| name.0),
            routes: routes?,
            when: when?,
            cost: charged.cost,
            count: charged.count,
            exceed: charged.exceed,
            charge_refused: charged.charge_refused,
            on_missing_key: raw.on_missing_key.value().unwrap_or(OnMissingKey::Ip),
            enforce,
            overflow: kept.overflow,
            sharing: asked.sharing,
            fanout: asked.fanout,
            on_store_loss: asked.on_store_loss,
            description: raw.description.value().map(|text| text.0),
            rationale: raw.rationale.value().map(|text| text.0),
            owner: raw.owner.value().map(|text| text.0),
            review_by: raw.review_by.value().map(|day| day.0),
        })
    })();
    Entry {
        rule,
        spots,
        says_burst,
    }
}

fn check_key(list: &[Located<KeyItem>], findings: &mut Findings<'_>) -> Vec<KeyPart> {
    let mut key: Vec<KeyPart> = Vec::new();
    for part in list {
        let KeyItem(value) = &part.value;
        if key.iter().any(|other| same_attribute(other, value)) {
            findings.fault(
                part.spot,
                "this part of the key is listed twice",
                "remove one of the two",
            );
        }
        key.push(value.clone());
    }
    key
}

/// That some route of the rule has the parts of paths that its key names.
fn check_path_parts(key: &[Located<KeyItem>], on: &[usize], routes: &Routes, findings: &mut Findings<'_>) {
    for part in key {
        let KeyItem(KeyPart::PathPart(name)) = &part.value else {
            continue;
        };
        let Some(known) = conditions::path_parts(routes, on) else {
            return;
        };
        if known.contains(name) {
            continue;
        }
        let remedy = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `path.{meant}`?"),
            None => format!("name it in a route's path, as in /items/{{{name}}}"),
        };
        findings.fault(
            part.spot,
            format!("no route of this rule has {{{name}}} in its path"),
            remedy,
        );
    }
}

/// That a rule for programs is one as a whole: no request has what it counts by.
fn check_for_programs(raw: &RuleFields, spots: &Spots, key: &[KeyPart], findings: &mut Findings<'_>) {
    let settles = raw.cost.as_ref().and_then(|cost| cost.value.settle.as_ref());
    let told_by_program = settles.is_some_and(|settle| settle.value == SettleSource::Program);
    if !key.contains(&KeyPart::Program) {
        if told_by_program {
            findings.fault(
                spots.cost,
                "no program asks by this rule, so that none tells the true cost",
                "write key: program, or say where the response tells it",
            );
        }
        return;
    }
    if key.len() > 1 {
        findings.fault(
            spots.key,
            "`program` stands for the whole key, whose parts the program names",
            "write key: program",
        );
    }
    for (spot, name) in [
        (raw.routes.as_ref().map(|field| field.spot), "routes"),
        (raw.when.as_ref().map(|field| field.spot), "when"),
        (spots.on_missing_key, "on_missing_key"),
        (raw.failed_when.as_ref().map(|field| field.spot), "failed_when"),
    ] {
        if let Some(spot) = spot {
            findings.fault_in_name(
                spot,
                format!("`{name}` is about requests, and this rule applies to none"),
                "remove the field, or give the rule another key",
            );
        }
    }
    let claims = raw.cost.as_ref().and_then(|cost| cost.value.reserve.as_ref());
    let reads_request = claims.is_some_and(|reserve| !matches!(reserve.value, CostSource::Fixed(_)))
        || raw
            .cost
            .as_ref()
            .is_some_and(|cost| !cost.value.by.is_absent() || !cost.value.expression.is_absent());
    if reads_request || (settles.is_some() && !told_by_program) {
        findings.fault(
            spots.cost,
            "no request passes here that could tell its cost",
            "leave `cost` out, or write {reserve: 1, settle: program}; the program names the cost when it asks",
        );
    }
}

/// One member of a body is one attribute, however it is put in order.
fn same_attribute(one: &KeyPart, other: &KeyPart) -> bool {
    match (one, other) {
        (KeyPart::Body { pointer: one, .. }, KeyPart::Body { pointer: other, .. }) => one == other,
        _ => one == other,
    }
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

//! What changes for whom when one policy takes another's place.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use sluicegate::policy::checked::{Algorithm, Allow, Enforce, Route, Rule, RuleLimit};
use sluicegate::policy::{Policy, PolicyError};

use crate::columns::{self, Side};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// `rule`, `route` or `allow`.
    of: &'static str,
    name: String,
    /// What has become of it.
    #[serde(rename = "change")]
    word: Word,
    /// What it was and is, and for whom.
    text: String,
}

/// What has become of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Added,
    Removed,
    Raised,
    Lowered,
    /// What was counted under the old one is forgotten.
    StateLost,
    Changed,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::StateLost => "state lost",
            Self::Changed => "changed",
        }
    }
}

/// Reads the policy that is in force now.
pub(super) fn read(file: &Path) -> Result<Policy, String> {
    Policy::load(file)
        .map(|(policy, _warnings)| policy)
        .map_err(|error| match error {
            PolicyError::Faulty(faults) => match faults.iter().next() {
                Some(first) => format!("{first}"),
                None => "it has faults".to_owned(),
            },
            other => format!("{:#}", anyhow::Error::from(other)),
        })
}

/// All differences, in the order of the new file; what is gone stands behind its kind.
pub(super) fn changes(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    for (of, name, word, text) in routes(old, new).chain(entries(old, new)).chain(rules(old, new)) {
        changes.push(Change { of, name, word, text });
    }
    changes
}

type Found = (&'static str, String, Word, String);

fn routes<'p>(old: &'p Policy, new: &'p Policy) -> impl Iterator<Item = Found> + 'p {
    let found = |name: &str, word, text: String| ("route", name.to_owned(), word, text);
    let kept = new.routes.iter().flat_map(move |route| {
        let Some(before) = old.routes.iter().find(|before| before.name == route.name) else {
            return vec![found(&route.name, Word::Added, told_route(new, route))];
        };
        let (was, is) = (told_route(old, before), told_route(new, route));
        if was == is {
            Vec::new()
        } else {
            vec![found(&route.name, Word::Changed, format!("{was} → {is}"))]
        }
    });
    let gone = old
        .routes
        .iter()
        .filter(|before| !new.routes.iter().any(|route| route.name == before.name));
    kept.chain(gone.map(move |before| found(&before.name, Word::Removed, told_route(old, before))))
}

/// Which requests a route takes in, and what becomes of them.
fn told_route(policy: &Policy, route: &Route) -> String {
    let methods: Vec<String> = route.methods.iter().map(ToString::to_string).collect();
    let mut told = vec![methods.join(" "), route.hosts.join(" "), route.path.clone()];
    if let Some(class) = route.sensitivity {
        told.push(format!("({})", class.as_str()));
    }
    let upstreams = policy.gateway.as_ref().map(|gateway| &gateway.upstreams);
    if let Some(upstream) = route.upstream.and_then(|index| upstreams?.get(index)) {
        told.push(format!("to {}", upstream.name));
    }
    told.retain(|part| !part.is_empty());
    told.join(" ")
}

fn entries<'p>(old: &'p Policy, new: &'p Policy) -> impl Iterator<Item = Found> + 'p {
    let found = |entry: &Allow, word, text: String| ("allow", entry.name.clone(), word, text);
    let kept = new.allow.iter().filter_map(move |entry| {
        let Some(before) = old.allow.iter().find(|before| before.name == entry.name) else {
            return Some(found(
                entry,
                Word::Added,
                format!("no limit for {}", entry.when.source()),
            ));
        };
        let differs = before.when != entry.when;
        differs.then(|| {
            let text = format!("{} → {}", before.when.source(), entry.when.source());
            found(entry, Word::Changed, text)
        })
    });
    let gone = old
        .allow
        .iter()
        .filter(|before| !new.allow.iter().any(|entry| entry.name == before.name));
    kept.chain(gone.map(move |before| {
        found(
            before,
            Word::Removed,
            format!("limited again: {}", before.when.source()),
        )
    }))
}

fn rules<'p>(old: &'p Policy, new: &'p Policy) -> impl Iterator<Item = Found> + 'p {
    let kept = new.rules.iter().flat_map(move |rule| {
        let found: Vec<(Word, String)> = match old.rules.iter().find(|before| before.name == rule.name) {
            None => vec![(Word::Added, format!("{}{}", rule.limit, whom(new, rule)))],
            Some(before) => differences((old, before), (new, rule)),
        };
        found
            .into_iter()
            .map(|(word, text)| ("rule", rule.name.clone(), word, text))
    });
    let gone = old
        .rules
        .iter()
        .filter(|before| !new.rules.iter().any(|rule| rule.name == before.name));
    kept.chain(gone.map(move |before| {
        let text = format!("{}{}", before.limit, whom(old, before));
        ("rule", before.name.clone(), Word::Removed, text)
    }))
}

/// For whom a rule counts, and on which requests.
fn whom(policy: &Policy, rule: &Rule) -> String {
    // Writing to a string does not fail.
    let mut text = match key(rule).as_str() {
        "" => ", for all together".to_owned(),
        key => format!(", for each {key}"),
    };
    let _ = write!(text, ", on {}", on(policy, rule));
    if let Some(when) = &rule.when {
        let _ = write!(text, ", when {}", when.source());
    }
    match rule.enforce {
        Enforce::ALL => {}
        Enforce::SHADOW => text.push_str(", in shadow mode"),
        share => {
            let _ = write!(text, ", enforced for {}%", share.as_percent());
        }
    }
    text
}

fn key(rule: &Rule) -> String {
    let parts: Vec<String> = rule.key.iter().map(ToString::to_string).collect();
    parts.join(" and ")
}

fn on(policy: &Policy, rule: &Rule) -> String {
    if rule.routes.is_empty() {
        return "every request".to_owned();
    }
    let names = rule.routes.iter().filter_map(|index| policy.routes.get(*index));
    names.map(|route| route.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn differences((old, before): (&Policy, &Rule), (new, rule): (&Policy, &Rule)) -> Vec<(Word, String)> {
    let mut found = Vec::new();
    let whom = whom(new, rule);
    let (was, is) = (before.limit.to_string(), rule.limit.to_string());
    if was != is {
        let word = match compared(&before.limit, &rule.limit) {
            Some(Ordering::Less) => Word::Raised,
            Some(Ordering::Greater) => Word::Lowered,
            _ => Word::Changed,
        };
        found.push((word, format!("{was} → {is}{whom}")));
    }
    // What makes a bucket the same one: its name, its key and its algorithm, of windows their length and alignment too.
    for (what, was, is) in [
        ("bucket", before.bucket_name().to_owned(), rule.bucket_name().to_owned()),
        ("key", format!("[{}]", key(before)), format!("[{}]", key(rule))),
        (
            "algorithm",
            before.algorithm.as_str().to_owned(),
            rule.algorithm.as_str().to_owned(),
        ),
        ("window", window(before), window(rule)),
    ] {
        if was != is {
            found.push((Word::StateLost, format!("{what}: {was} → {is}; everybody starts anew")));
        }
    }
    let when = |rule: &Rule| rule.when.as_ref().map_or("always", |when| when.source()).to_owned();
    let percent = |rule: &Rule| format!("{}%", rule.enforce.as_percent());
    for (what, was, is) in [
        ("routes", on(old, before), on(new, rule)),
        ("when", when(before), when(rule)),
        ("enforce", percent(before), percent(rule)),
    ] {
        if was != is {
            found.push((Word::Changed, format!("{what}: {was} → {is}")));
        }
    }
    let others = [
        ("cost", before.cost != rule.cost),
        ("count", before.count != rule.count),
        ("exceed", before.exceed != rule.exceed),
        ("charge_refused", before.charge_refused != rule.charge_refused),
        ("on_missing_key", before.on_missing_key != rule.on_missing_key),
        // Unless it is said it follows from the limit, whose change is told already.
        ("overflow", was == is && before.overflow != rule.overflow),
        ("sharing", before.sharing != rule.sharing),
        ("fanout", before.fanout != rule.fanout),
        ("on_store_loss", before.on_store_loss != rule.on_store_loss),
    ];
    let others: Vec<&str> = others
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect();
    if !others.is_empty() {
        found.push((Word::Changed, format!("other {}{whom}", others.join(", "))));
    }
    found
}

/// The length and alignment of a rule's windows; empty where it has none.
fn window(rule: &Rule) -> String {
    let period = rule
        .limit
        .rate()
        .map(|rate| format!("{:?}", rate.period()))
        .unwrap_or_default();
    match rule.algorithm {
        Algorithm::FixedWindow { align } => format!("{period} from {}", align.as_str()),
        Algorithm::SlidingWindow | Algorithm::SlidingLog => period,
        _ => String::new(),
    }
}

/// How the one limit stands to the other; `None` where one allows more over time and the other more at once.
fn compared(one: &RuleLimit, other: &RuleLimit) -> Option<Ordering> {
    let at_once = one.at_once().cmp(&other.at_once());
    let (Some(first), Some(second)) = (one.rate(), other.rate()) else {
        return one
            .rate()
            .is_none()
            .then_some(at_once)
            .filter(|_| other.rate().is_none());
    };
    let product = |count: u64, period: std::time::Duration| u128::from(count).checked_mul(period.as_nanos());
    let rate = product(first.count().get(), second.period())?.cmp(&product(second.count().get(), first.period())?);
    match (rate, at_once) {
        (Ordering::Equal, other) | (other, Ordering::Equal) => Some(other),
        (rate, at_once) if rate == at_once => Some(rate),
        _ => None,
    }
}

/// The differences as lines of a table.
pub(super) fn table(changes: &[Change]) -> Vec<String> {
    let rows = changes.iter().map(|change| {
        [
            format!("{} {}", change.of, change.name),
            change.word.as_str().to_owned(),
            change.text.clone(),
        ]
    });
    columns::align([Side::Left, Side::Left, Side::Left], &rows.collect::<Vec<_>>())
}

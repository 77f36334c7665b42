//! That rules which draw from one bucket agree in what makes it one.

use std::collections::{HashMap, HashSet};

use super::super::checked::{Algorithm, Rule, RuleLimit};
use super::super::fault::quoted;
use super::super::findings::Findings;
use super::rules::Entry;

/// Notes each rule that differs from the first of its bucket.
pub(super) fn check(rules: &[Entry], findings: &mut Findings<'_>) {
    let named: HashMap<&str, &Entry> = rules
        .iter()
        .filter_map(|entry| Some((entry.rule.as_ref()?, entry)))
        .filter(|(rule, _)| rule.bucket.is_none())
        .map(|(rule, entry)| (rule.name.as_str(), entry))
        .collect();
    let mut buckets: HashMap<&str, Bucket<'_>> = HashMap::new();
    for entry in rules {
        let Some(rule) = &entry.rule else { continue };
        let Some(name) = rule.bucket.as_deref() else { continue };
        if let Some(owner) = named.get(name) {
            let whose = findings.place(owner.spots.rule);
            findings.fault(
                entry.spots.bucket,
                format!("{} is also the name of {whose}, whose own bucket that is", quoted(name)),
                format!("choose another name, or write `bucket: {name}` there too"),
            );
            continue;
        }
        match buckets.get_mut(name) {
            None => {
                buckets.insert(name, Bucket::new(entry, rule));
            }
            Some(bucket) => bucket.join(entry, rule, findings),
        }
    }
}

/// A bucket, as far as its rules have been looked at.
struct Bucket<'r> {
    first: (&'r Entry, &'r Rule),
    /// The first rule that charges another cost than the first of all.
    other_cost: Option<(&'r Entry, &'r Rule)>,
    /// The first rule that applies to every request.
    everywhere: Option<(&'r Entry, &'r Rule)>,
    by_route: HashMap<usize, (&'r Entry, &'r Rule)>,
    /// Different bursts, each with what is free of a delay.
    thresholds: HashSet<(u64, u64)>,
}

/// Most different bursts, with what is free of a delay, in one bucket: their numbers are kept in a byte.
const THRESHOLDS_MAX: usize = 256;

impl<'r> Bucket<'r> {
    fn new(entry: &'r Entry, rule: &'r Rule) -> Self {
        let mut bucket = Self {
            first: (entry, rule),
            other_cost: None,
            everywhere: None,
            by_route: HashMap::new(),
            thresholds: HashSet::new(),
        };
        bucket.note(entry, rule);
        bucket
    }

    fn note(&mut self, entry: &'r Entry, rule: &'r Rule) {
        if rule.cost != self.first.1.cost {
            self.other_cost.get_or_insert((entry, rule));
        }
        if rule.routes.is_empty() {
            self.everywhere.get_or_insert((entry, rule));
        }
        self.thresholds.insert(threshold(rule));
        for &route in &rule.routes {
            self.by_route.entry(route).or_insert((entry, rule));
        }
    }

    fn join(&mut self, entry: &'r Entry, rule: &'r Rule, findings: &mut Findings<'_>) {
        let (first_entry, first) = self.first;
        if let Some((field, spot)) = difference(entry, rule, first) {
            let whose = findings.place(first_entry.spots.rule);
            findings.fault(
                spot,
                format!(
                    "{field} differs from that of {whose}, which draws from the bucket {} too",
                    quoted(rule.bucket_name())
                ),
                "let all rules of one bucket say the same; only `burst`, `free`, `cost` and `routes` are their own",
            );
            return;
        }
        if let Some((rival, _)) = self.rival(rule) {
            let whose = findings.place(rival.spots.rule);
            findings.fault(
                entry.spots.cost,
                format!(
                    "the cost differs from that of {whose}, which draws from the same bucket for the same requests"
                ),
                "a bucket is charged once for a request: let the costs agree, or the routes differ",
            );
            return;
        }
        self.note(entry, rule);
        if self.thresholds.len() == THRESHOLDS_MAX + 1 {
            findings.fault(
                entry.spots.bucket,
                format!(
                    "the bucket {} has more than {THRESHOLDS_MAX} bursts",
                    quoted(rule.bucket_name())
                ),
                "let more of its rules agree in their burst, or give them buckets of their own",
            );
        }
    }

    /// A rule that applies to some of the same requests for another cost.
    fn rival(&self, rule: &Rule) -> Option<(&'r Entry, &'r Rule)> {
        let differs = |other: &(&Entry, &Rule)| other.1.cost != rule.cost;
        if rule.routes.is_empty() {
            return Some(self.first).filter(differs).or(self.other_cost.filter(differs));
        }
        let on_routes = rule.routes.iter().filter_map(|route| self.by_route.get(route).copied());
        self.everywhere.into_iter().chain(on_routes).find(differs)
    }
}

/// The first field in which a rule differs from another of its bucket.
fn difference(entry: &Entry, rule: &Rule, first: &Rule) -> Option<(&'static str, super::super::findings::Spot)> {
    let spots = &entry.spots;
    let differs = [
        (rule.key != first.key, "the key", spots.key),
        // Before the rate, which a `fanout` may have divided.
        (
            rule.sharing != first.sharing,
            "`sharing`",
            spots.sharing.unwrap_or(spots.rule),
        ),
        (
            rule.fanout != first.fanout,
            "`fanout`",
            spots.fanout.unwrap_or(spots.rule),
        ),
        (
            rule.on_store_loss != first.on_store_loss,
            "`on_store_loss`",
            spots.on_store_loss.unwrap_or(spots.rule),
        ),
        (
            !same_algorithm(&rule.algorithm, &first.algorithm),
            "the algorithm",
            spots.algorithm,
        ),
        (!same_rate(&rule.limit, &first.limit), "the rate", spots.limit),
        (
            rule.on_missing_key != first.on_missing_key,
            "`on_missing_key`",
            spots.on_missing_key.unwrap_or(spots.rule),
        ),
        (rule.enforce != first.enforce, "`enforce`", spots.enforce),
        // Unless said it follows from the burst, which is each rule's own; the first rule's then holds for all.
        (
            spots.overflow.is_some() && rule.overflow != first.overflow,
            "`overflow`",
            spots.overflow.unwrap_or(spots.rule),
        ),
        (rule.count != first.count, "`count`", spots.count),
        (rule.exceed != first.exceed, "`exceed`", spots.exceed),
        (
            rule.charge_refused != first.charge_refused,
            "`charge_refused`",
            spots.rule,
        ),
    ];
    differs
        .into_iter()
        .find(|(differs, ..)| *differs)
        .map(|(_, field, spot)| (field, spot))
}

fn threshold(rule: &Rule) -> (u64, u64) {
    let free = match rule.algorithm {
        Algorithm::LeakyBucket { free, .. } => free,
        _ => 0,
    };
    (rule.limit.at_once().get(), free)
}

/// What is free of a delay is a threshold of each rule's own.
fn same_algorithm(one: &Algorithm, other: &Algorithm) -> bool {
    match (one, other) {
        (Algorithm::LeakyBucket { max_wait: one, .. }, Algorithm::LeakyBucket { max_wait: other, .. }) => one == other,
        _ => one == other,
    }
}

/// The burst is a threshold of each rule's own.
fn same_rate(one: &RuleLimit, other: &RuleLimit) -> bool {
    match (one, other) {
        (RuleLimit::Rate(one), RuleLimit::Rate(other)) => {
            (one.count(), one.period()) == (other.count(), other.period())
        }
        _ => one == other,
    }
}

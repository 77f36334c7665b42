//! How nodes share each rule's limit, and by how much all of them together can exceed it.

use std::collections::HashMap;
use std::num::NonZeroU32;

use serde::Serialize;
use sluicegate::policy::Policy;
use sluicegate::policy::checked::{Algorithm, Mode, Offered, Rule, Sharing, SharingTerms};
use sluicegate_core::sharing::excess::Outage;

use crate::columns::{self, Side};

/// How one rule is shared, and what that comes to.
#[derive(Debug, Serialize)]
pub(super) struct SharingReport {
    /// The file's word.
    asked: &'static str,
    /// What has come of it: never `auto`.
    mode: &'static str,
    /// Why.
    because: String,
    /// Nodes that it is reckoned for.
    nodes: u32,
    /// By how many nodes the limit has been divided; `None` where it has not.
    divided_by: Option<u32>,
    /// What one node may let through before it reports it; `None` but in `hybrid`.
    allowance: Option<u64>,
    /// Units beyond the limit, at once.
    excess_units: u64,
    /// The same in percent of what may pass at once, rounded up to a tenth.
    excess_percent: f64,
    /// Percent of the rate that come on top for as long as they are asked for, rounded up to a tenth.
    excess_rate_percent: f64,
    /// Units that may come late because they have waited; `None` where nothing waits, or nothing refills.
    late_units: Option<f64>,
    /// `None` where no store is asked.
    on_store_loss: Option<&'static str>,
    /// Units on top while the store is away, once; `None` where no store is asked, and where everything passes.
    outage_units: Option<u64>,
    /// Percent of the rate that come on top of that for as long as the store is away, rounded up to a tenth; `None` in the same cases.
    outage_rate_percent: Option<f64>,
}

/// How the rules of a policy are shared, in their order, while `live` nodes run.
pub(super) fn reports(policy: &Policy, live: NonZeroU32) -> Vec<SharingReport> {
    let is_shared = policy.state.share.is_some();
    let mut buckets: HashMap<&str, Vec<&Rule>> = HashMap::new();
    for rule in &policy.rules {
        buckets.entry(rule.bucket_name()).or_default().push(rule);
    }
    let terms = |rule: &Rule| SharingTerms::of(buckets.get(rule.bucket_name())?.iter().copied(), is_shared);
    let report = |rule| Some(SharingReport::new(rule, &terms(rule)?, is_shared, live));
    // Each rule is in its own bucket at least, so that none is left out.
    policy.rules.iter().filter_map(report).collect()
}

/// One line for each rule, and a heading; and below them what nobody has said, if that is the number of nodes.
pub(super) fn table(rules: &[(&str, &SharingReport)]) -> Vec<String> {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(rules.iter().map(|(name, report)| report.cells(name)));
    let mut lines = columns::align(SIDES, &rows);
    if rules.iter().all(|(_, report)| report.nodes == 1) {
        lines.push(format!("  {ONE_NODE}"));
    }
    lines
}

/// Few share limits with themselves.
const ONE_NODE: &str = "(reckoned for one node; --nodes N, or `fanout` in the file, says how many there are)";

impl SharingReport {
    fn new(rule: &Rule, terms: &SharingTerms, is_shared: bool, live: NonZeroU32) -> Self {
        let (mode, excess) = (terms.mode(live), terms.excess(live));
        let divided_by = terms.fanout.filter(|parts| mode.is_none() && parts.get() > 1);
        let whole = u128::from(terms.limit.at_once().get()) * u128::from(divided_by.map_or(1, NonZeroU32::get));
        let outage = match terms.outage(live) {
            Outage::Bounded { units, rate } => mode.map(|_| (units, tenth_up(rate * 100.0))),
            Outage::Unbounded => None,
        };
        Self {
            asked: rule.sharing.as_str(),
            mode: mode.map_or("local", Mode::as_str),
            because: because(rule, terms, is_shared, live),
            nodes: terms.nodes(live).get(),
            divided_by: divided_by.map(NonZeroU32::get),
            allowance: (mode == Some(Mode::Hybrid)).then(|| terms.allowance(live).get()),
            excess_units: excess.units,
            excess_percent: percent(excess.units, whole),
            excess_rate_percent: tenth_up(excess.rate * 100.0),
            late_units: (excess.waiting > 0.0).then_some(excess.waiting),
            on_store_loss: mode.map(|_| terms.on_store_loss.as_str()),
            outage_units: outage.map(|(units, _)| units),
            outage_rate_percent: outage.map(|(_, rate)| rate),
        }
    }

    fn cells(&self, name: &str) -> [String; HEADING.len()] {
        let none = || "–".to_owned();
        [
            name.to_owned(),
            self.nodes.to_string(),
            match (self.asked, self.divided_by) {
                ("auto", _) => format!("auto: {}", self.mode),
                (_, Some(parts)) => format!("{}, 1 of {parts}", self.mode),
                _ => self.mode.to_owned(),
            },
            self.excess_units.to_string(),
            format!("{}%", self.excess_percent),
            format!("{}%", self.excess_rate_percent),
            self.late_units.map_or_else(none, |units| {
                if units < 1.0 {
                    "<1".to_owned()
                } else {
                    format!("{:.0}", units.ceil())
                }
            }),
            match (self.on_store_loss, self.outage_units, self.outage_rate_percent) {
                (None, ..) => none(),
                (Some("closed"), ..) => "refused".to_owned(),
                (_, Some(units), Some(rate)) if rate > 0.0 => format!("{units} more, and {rate}% of the rate"),
                (_, Some(units), _) => format!("{units} more"),
                (_, None, _) => "everything".to_owned(),
            },
            self.because.clone(),
        ]
    }
}

/// Why a rule's limit is shared as it is.
fn because(rule: &Rule, terms: &SharingTerms, is_shared: bool, live: NonZeroU32) -> String {
    let mut why = why(rule, terms, is_shared, live);
    if let Algorithm::LeakyBucket { .. } = terms.algorithm {
        why.push_str(match terms.mode(live) {
            Some(Mode::Exact) => "; one queue for all nodes",
            Some(Mode::Leased | Mode::Hybrid) => "; each node spaces its own part",
            None => "",
        });
    }
    why
}

fn why(rule: &Rule, terms: &SharingTerms, is_shared: bool, live: NonZeroU32) -> String {
    if rule.sharing != Sharing::Auto {
        return "as asked".to_owned();
    }
    if !is_shared {
        return "there is no store".to_owned();
    }
    let (nodes, each, burst) = (terms.nodes(live), terms.allowance(live), terms.limit.at_once());
    match (rule.offered(), terms.mode(live)) {
        (Offered::Local(alone), _) => alone.to_string(),
        (_, None) => "another rule of its bucket is each node's own".to_owned(),
        (Offered::Leases, _) => "permits do not refill".to_owned(),
        (Offered::Every, Some(Mode::Hybrid)) => {
            format!("{nodes} × {each} is at most a tenth of {burst}, and no cost is above {each}")
        }
        // The other half of the same condition.
        (Offered::Every, _) if u64::from(nodes.get()) > burst.get() / 10 => {
            format!("{nodes} × 1 is more than a tenth of {burst}")
        }
        (Offered::Every, _) => format!(
            "a request may take {}, and each node could spare {each}",
            terms.cost_max
        ),
    }
}

/// A part of a whole that is not 0, in percent, rounded up to a tenth.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn percent(part: u64, whole: u128) -> f64 {
    tenth_up(part as f64 * 100.0 / whole as f64)
}

/// Rounded up, so that nobody is promised too much; what is a tenth but for the last bit of a float stays one.
fn tenth_up(number: f64) -> f64 {
    let tenths = (number * 10.0 - 1e-6).ceil();
    // A zero may come out of it with a sign.
    if tenths > 0.0 { tenths / 10.0 } else { 0.0 }
}

const HEADING: [&str; 9] = [
    "rule",
    "nodes",
    "sharing",
    "beyond the limit",
    "of the burst",
    "of the rate",
    "late",
    "without the store",
    "because",
];

const SIDES: [Side; 9] = [
    Side::Left,
    Side::Right,
    Side::Left,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Left,
    Side::Left,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(policy: &Policy, nodes: u32) -> Vec<String> {
        let reports = reports(policy, NonZeroU32::new(nodes).expect("a node"));
        let names = policy.rules.iter().map(|rule| rule.name.as_str());
        table(&names.zip(&reports).collect::<Vec<_>>())
    }

    #[test]
    fn the_table_tells_each_rules_worst_case_and_why() {
        let text = "\
version: 1
state: { secret_file: s, share: \"redis://a:1\" }
rules:
  - { name: everyone, key: [], limit: 10000/s burst 20000, on_store_loss: closed }
  - { name: logins, key: ip, limit: 5/min }
  - { name: large, key: ip, limit: 1000/s, cost: 70 }
  - { name: exact, key: ip, limit: 1000/s, sharing: exact, on_store_loss: open }
  - { name: streams, key: ip, limit: 20, algorithm: concurrency }
  - { name: paced, key: ip, limit: 9/s, algorithm: leaky_bucket }
  - { name: even, key: ip, limit: 1000/s, algorithm: leaky_bucket, sharing: exact }
  - { name: log, key: ip, limit: 9/s, algorithm: sliding_log }
  - { name: parts, key: ip, limit: 100/s, sharing: local, fanout: 10 }
";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a sound policy");
        let lines = lines(&policy, 15);
        let expected = [
            "  rule      nodes  sharing         beyond the limit  of the burst  of the rate  late  without the store                 because",
            "  everyone     15  auto: hybrid                1995           10%           5%     –  refused                           15 × 133 is at most a tenth of 20000, and no cost is above 133",
            "  logins       15  auto: leased                   0            0%           0%    <1  10 more, and 93.4% of the rate    15 × 1 is more than a tenth of 5",
            "  large        15  auto: leased                   0            0%           0%     5  1934 more, and 93.4% of the rate  a request may take 70, and each node could spare 6",
            "  exact        15  exact                          0            0%           0%    10  everything                        as asked",
            "  streams      15  auto: leased                   0            0%           0%     –  20 more                           permits do not refill",
            "  paced        15  auto: leased                   0            0%           0%    <1  18 more, and 93.4% of the rate    15 × 1 is more than a tenth of 9; each node spaces its own part",
            "  even         15  exact                          0            0%           0%    10  1934 more, and 93.4% of the rate  as asked; one queue for all nodes",
            "  log          15  auto: local                  126         1400%        1400%     –  –                                 a sliding log remembers what came to this node",
            "  parts        15  local, 1 of 10                50           50%          50%     –  –                                 as asked",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn who_says_no_number_of_nodes_is_told_how() {
        let text = "version: 1\nrules: [{ name: a, key: ip, limit: 9/s }]\n";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a sound policy");
        let one = lines(&policy, 1);
        assert!(one[1].ends_with("there is no store"), "{one:?}");
        assert!(one[2].contains("--nodes N"), "{one:?}");
        assert_eq!(lines(&policy, 2).len(), 2);
    }

    #[test]
    fn percents_are_rounded_up_to_a_tenth() {
        let told =
            [(0, 7), (1, 10), (1, 3), (1, 1_000_000), (5, 100)].map(|(part, whole)| percent(part, whole).to_string());
        assert_eq!(told, ["0", "10", "33.4", "0.1", "5"]);
        assert!(percent(u64::MAX, 1).is_finite());
    }
}

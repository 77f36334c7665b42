//! What one rule says and allows.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;
use sluicegate::policy::Policy;
use sluicegate::policy::checked::{
    Algorithm, CostSource, CostSpec, Count, OnSuccess, Overflow, Rule, SettleSource, Step,
};

use super::sharing::{self, SharingReport};
use crate::allowance::{at_once, emission_interval, most_of};
use crate::columns::{self, Side};

/// What one rule says, and what that comes to.
#[derive(Debug, Serialize)]
pub(super) struct RuleReport {
    name: String,
    key: Vec<String>,
    /// Empty means every request.
    routes: Vec<String>,
    /// In the grammar's shortest form.
    limit: String,
    algorithm: &'static str,
    /// The longest that a request waits; `None` where none ever does.
    max_wait_ms: Option<u64>,
    /// Units that pass without a wait; `None` where none ever waits.
    free: Option<u64>,
    /// Where windows begin; `None` where there are none that begin.
    align: Option<&'static str>,
    /// The bucket that it draws from with others; `None` where it has one of its own.
    bucket: Option<String>,
    cost: CostReport,
    /// How a failure is told; `None` where every request counts.
    failures: Option<FailuresReport>,
    /// How long a key is locked that has used the limit up; `None` where it is not.
    lock_ms: Option<u64>,
    /// Whether a request that another rule refuses stays charged.
    charge_refused: bool,
    /// `None` where units are not spaced: windows, logs and permits.
    emission_interval_ns: Option<u64>,
    /// Most units that may pass at once.
    burst: u64,
    /// Most units that may pass in any minute; `None` for permits, which know no time.
    minute: Option<u64>,
    /// The share of keys that it is enforced for; the others are evaluated and reported only.
    enforce_percent: u8,
    /// The limit that keys share which find no room in the table; `None` where they are refused.
    overflow: Option<String>,
    sharing: SharingReport,
}

/// What a request takes.
#[derive(Debug, Serialize)]
struct CostReport {
    /// A number or the place of one.
    reserve: String,
    /// Units of a request that does not have it.
    default: u64,
    max: Option<u64>,
    settle: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailuresReport {
    /// Statuses and places in a response.
    failed_when: Vec<String>,
    on_success: &'static str,
}

/// One line for each rule, and a heading. What is counted is left out where every rule counts requests and nothing
/// else.
pub(super) fn table(rules: &[RuleReport]) -> Vec<String> {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(rules.iter().map(RuleReport::cells));
    if rows[1..].iter().any(|row| row[COUNTS] != REQUESTS) {
        return columns::align(SIDES, &rows);
    }
    let without = |row: &[String; HEADING.len()]| {
        let mut left = row.iter().enumerate().filter(|(column, _)| *column != COUNTS);
        std::array::from_fn(|_| left.next().map(|(_, cell)| cell.clone()).unwrap_or_default())
    };
    let rows: Vec<[String; HEADING.len() - 1]> = rows.iter().map(without).collect();
    let sides = std::array::from_fn(|column| SIDES[column + usize::from(column >= COUNTS)]);
    columns::align(sides, &rows)
}

/// One line for each rule that tells how nodes share it, and a heading.
pub(super) fn sharing_table(rules: &[RuleReport]) -> Vec<String> {
    let rows = rules.iter().map(|rule| (rule.name.as_str(), &rule.sharing));
    sharing::table(&rows.collect::<Vec<_>>())
}

impl RuleReport {
    /// Of every rule, for so many nodes.
    pub(super) fn all(policy: &Policy, nodes: NonZeroU32) -> Vec<Self> {
        let rules = policy.rules.iter().zip(sharing::reports(policy, nodes));
        rules.map(|(rule, sharing)| Self::new(rule, policy, sharing)).collect()
    }

    fn new(rule: &Rule, policy: &Policy, sharing: SharingReport) -> Self {
        let routes = rule.routes.iter().filter_map(|&index| policy.routes.get(index));
        let (max_wait, free) = match rule.algorithm {
            Algorithm::LeakyBucket { max_wait, free } => (Some(max_wait), Some(free)),
            _ => (None, None),
        };
        let align = match rule.algorithm {
            Algorithm::FixedWindow { align } => Some(align.as_str()),
            _ => None,
        };
        let lock = rule.exceed.iter().find_map(|step| match step {
            Step::Lock(length) => Some(*length),
            _ => None,
        });
        Self {
            name: rule.name.clone(),
            key: rule.key.iter().map(ToString::to_string).collect(),
            routes: routes.map(|route| route.name.clone()).collect(),
            limit: rule.limit.to_string(),
            algorithm: rule.algorithm.as_str(),
            max_wait_ms: max_wait.map(millis),
            free,
            align,
            bucket: rule.bucket.clone(),
            cost: CostReport::new(&rule.cost),
            failures: FailuresReport::new(&rule.count),
            lock_ms: lock.map(millis),
            charge_refused: rule.charge_refused,
            emission_interval_ns: emission_interval(rule)
                .map(|interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)),
            burst: at_once(rule),
            minute: most_of(rule, Duration::from_mins(1)),
            enforce_percent: rule.enforce.as_percent(),
            overflow: match &rule.overflow {
                Overflow::Shared(limit) => Some(limit.to_string()),
                Overflow::Closed => None,
            },
            sharing,
        }
    }

    fn cells(&self) -> [String; HEADING.len()] {
        let list = |items: &[String], none: &str| {
            if items.is_empty() {
                none.to_owned()
            } else {
                items.join(", ")
            }
        };
        let or_none = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        [
            match &self.bucket {
                Some(bucket) => format!("{} (bucket {bucket})", self.name),
                None => self.name.clone(),
            },
            list(&self.key, "(one for all)"),
            list(&self.routes, "every request"),
            self.limit.clone(),
            self.kept(),
            self.counted(),
            self.emission_interval_ns
                .map_or_else(|| "–".to_owned(), |nanos| format!("{:?}", Duration::from_nanos(nanos))),
            self.burst.to_string(),
            or_none(self.minute),
            match self.enforce_percent {
                0 => "no (shadow)".to_owned(),
                100 => "yes".to_owned(),
                percent => format!("{percent}% of keys"),
            },
            self.overflow.clone().unwrap_or_else(|| "refused".to_owned()),
        ]
    }

    /// The algorithm, with what it was told beside the limit.
    fn kept(&self) -> String {
        // Writing to a string does not fail, here and below.
        let mut text = self.algorithm.to_owned();
        if let Some(wait) = self.max_wait_ms {
            let _ = write!(text, ", waits up to {:?}", Duration::from_millis(wait));
        }
        if let Some(free @ 1..) = self.free {
            let _ = write!(text, ", {free} free");
        }
        if self.align == Some("first_hit") {
            text += " from the first hit";
        }
        text
    }

    /// What is counted, and what follows.
    fn counted(&self) -> String {
        let mut text = if self.failures.is_some() {
            "failures"
        } else {
            "requests"
        }
        .to_owned();
        if self.cost.reserve != "1" {
            let _ = write!(text, " at {}", self.cost.reserve);
        }
        if self.cost.settle.is_some() {
            text += ", settled";
        }
        if let Some(lock) = self.lock_ms {
            let _ = write!(text, ", then locked for {}", span(lock));
        }
        if self.charge_refused {
            text += ", refused ones too";
        }
        text
    }
}

impl CostReport {
    fn new(cost: &CostSpec) -> Self {
        Self {
            reserve: match &cost.reserve {
                CostSource::Fixed(units) => units.to_string(),
                CostSource::Header(name) => format!("header.{name}"),
                CostSource::Body(pointer) => format!("body.{pointer}"),
                CostSource::ByClass(costs) => format!("by {}", costs.by.as_str()),
                CostSource::Amount(amount) => amount.source().to_owned(),
            },
            default: cost.default,
            max: cost.max,
            settle: cost.settle.as_ref().map(|settle| match settle {
                SettleSource::Body(pointer) => format!("response.{pointer}"),
                SettleSource::Header(name) => format!("response.header.{name}"),
                SettleSource::Program => "program".to_owned(),
            }),
        }
    }
}

impl FailuresReport {
    fn new(count: &Count) -> Option<Self> {
        let Count::Failures(failures) = count else { return None };
        let signs = &failures.failed_when;
        let statuses = signs.statuses.iter().map(ToString::to_string);
        let members = signs.members.iter().map(|pointer| format!("response.{pointer}"));
        let headers = signs.headers.iter().map(|name| format!("response.header.{name}"));
        Some(Self {
            failed_when: statuses.chain(members).chain(headers).collect(),
            on_success: match failures.on_success {
                OnSuccess::Return => "return",
                OnSuccess::Clear => "clear",
            },
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time in the unit that people would say it in.
fn span(millis: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = units
        .iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{millis}ms"),
        |(unit, name)| format!("{}{name}", millis / unit),
    )
}

const HEADING: [&str; 11] = [
    "rule",
    "key",
    "routes",
    "limit",
    "algorithm",
    "counts",
    "one every",
    "at once",
    "in a minute",
    "enforced",
    "when the table is full",
];

/// The column that says what is counted, and what it says of most rules.
const COUNTS: usize = 5;
const REQUESTS: &str = "requests";

const SIDES: [Side; 11] = [
    Side::Left,
    Side::Left,
    Side::Left,
    Side::Left,
    Side::Left,
    Side::Left,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Left,
    Side::Left,
];

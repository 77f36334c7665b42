//! `sluicegate check`: every fault at once, or what the rules allow.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use sluicegate::policy::checked::{KeyPart, Overflow, Rule};
use sluicegate::policy::{Fault, Policy, PolicyError, Warning};

use crate::allowance::{emission_interval, most_within};
use crate::arguments::Check;
use crate::columns::{self, Side};
use crate::excerpt::{Excerpt, Shown};
use crate::exit::Exit;
use crate::output;

/// Reads the policy and says what is in it.
///
/// # Errors
///
/// When standard output takes no more. A policy with faults is no error but [`Exit::Faulty`].
pub(crate) fn check(arguments: &Check) -> anyhow::Result<Exit> {
    let report = Report::new(arguments);
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text())?;
    }
    Ok(if report.ok { Exit::Success } else { Exit::Faulty })
}

/// What `check` found.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    /// Whether the exit code is 0.
    ok: bool,
    /// Why the file could not be read; it has no faults then, and no rules.
    unreadable: Option<String>,
    faults: Vec<Fault>,
    /// Faults beyond those listed.
    faults_omitted: usize,
    warnings: Vec<Warning>,
    rules: Vec<RuleReport>,
}

/// What one rule allows.
#[derive(Debug, Serialize)]
struct RuleReport {
    name: String,
    key: Vec<String>,
    /// Empty means every request.
    routes: Vec<String>,
    /// In the grammar's shortest form.
    limit: String,
    emission_interval_ns: u64,
    /// Most that may pass at once.
    burst: u64,
    /// Most that may pass in any minute.
    minute: u64,
    /// The share of keys that it is enforced for; the others are evaluated and reported only.
    enforce_percent: u8,
    /// The limit that keys share which find no room in the table; `None` where they are refused.
    overflow: Option<String>,
}

impl Report {
    fn new(arguments: &Check) -> Self {
        let mut report = Self {
            file: arguments.file.display().to_string(),
            ok: false,
            unreadable: None,
            faults: Vec::new(),
            faults_omitted: 0,
            warnings: Vec::new(),
            rules: Vec::new(),
        };
        match Policy::load(&arguments.file) {
            Ok((policy, warnings)) => {
                report.ok = warnings.is_empty() || !arguments.strict;
                report.rules = policy.rules.iter().map(|rule| RuleReport::new(rule, &policy)).collect();
                report.warnings = warnings;
            }
            Err(PolicyError::Faulty(faults)) => {
                report.faults_omitted = faults.omitted();
                report.faults = faults.iter().cloned().collect();
            }
            Err(error) => report.unreadable = Some(format!("{:#}", anyhow::Error::from(error))),
        }
        report
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        if let Some(unreadable) = &self.unreadable {
            let _ = writeln!(text, "error: {}\n = remedy: {UNREADABLE_REMEDY}", Shown(unreadable));
            return text;
        }
        for fault in &self.faults {
            let _ = writeln!(text, "{}", Excerpt::from(fault));
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "{}", Excerpt::from(warning));
        }
        if self.faults_omitted > 0 {
            let _ = writeln!(text, "and {} more faults\n", self.faults_omitted);
        }
        if !self.rules.is_empty() {
            let mut rows = vec![HEADING.map(str::to_owned)];
            rows.extend(self.rules.iter().map(RuleReport::cells));
            for line in columns::align(SIDES, &rows) {
                let _ = writeln!(text, "{line}");
            }
            text.push('\n');
        }
        let faults = self.faults.len() + self.faults_omitted;
        let _ = writeln!(
            text,
            "{}: {}, {}{}",
            Shown(&self.file),
            count(faults, "fault"),
            count(self.warnings.len(), "warning"),
            if faults == 0 && !self.ok {
                ", which --strict takes for faults"
            } else {
                ""
            }
        );
        text
    }
}

impl RuleReport {
    fn new(rule: &Rule, policy: &Policy) -> Self {
        let routes = rule.routes.iter().filter_map(|&index| policy.routes.get(index));
        Self {
            name: rule.name.clone(),
            key: rule.key.iter().map(key_part).collect(),
            routes: routes.map(|route| route.name.clone()).collect(),
            limit: rule.limit.to_string(),
            emission_interval_ns: rule.limit.rate().map_or(0, |rate| {
                u64::try_from(emission_interval(rate).as_nanos()).unwrap_or(u64::MAX)
            }),
            burst: rule.limit.at_once().get(),
            minute: rule
                .limit
                .rate()
                .map_or(u64::MAX, |rate| most_within(rate, Duration::from_mins(1))),
            enforce_percent: rule.enforce.as_percent(),
            overflow: match &rule.overflow {
                Overflow::Shared(limit) => Some(limit.to_string()),
                Overflow::Closed => None,
            },
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
        [
            self.name.clone(),
            list(&self.key, "(one for all)"),
            list(&self.routes, "every request"),
            self.limit.clone(),
            format!("{:?}", Duration::from_nanos(self.emission_interval_ns)),
            self.burst.to_string(),
            self.minute.to_string(),
            match self.enforce_percent {
                0 => "no (shadow)".to_owned(),
                100 => "yes".to_owned(),
                percent => format!("{percent}% of keys"),
            },
            self.overflow.clone().unwrap_or_else(|| "refused".to_owned()),
        ]
    }
}

fn key_part(part: &KeyPart) -> String {
    match part {
        KeyPart::Ip => "ip".to_owned(),
        KeyPart::Route => "route".to_owned(),
        KeyPart::Method => "method".to_owned(),
        KeyPart::Host => "host".to_owned(),
        KeyPart::Header(name) => format!("header.{name}"),
        KeyPart::Body { pointer, .. } => format!("body.{pointer}"),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// Also told by `run`.
pub(crate) const UNREADABLE_REMEDY: &str =
    "name a policy file that can be read; `sluicegate demo --print-policy` prints one to begin with";

const HEADING: [&str; 9] = [
    "rule",
    "key",
    "routes",
    "limit",
    "one every",
    "at once",
    "in a minute",
    "enforced",
    "when the table is full",
];

const SIDES: [Side; 9] = [
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

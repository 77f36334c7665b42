//! `sluicegate check`: every fault at once, or what the rules allow.

mod against;
mod memory;
mod rule;
mod sharing;

use std::fmt::Write as _;
use std::num::NonZeroU32;

use serde::Serialize;
use sluicegate::policy::{Fault, Policy, PolicyError, PolicyText, Warning};

use crate::arguments::Check;
use crate::excerpt::{Excerpt, Shown};
use crate::exit::Exit;
use crate::output;
use against::Change;
use memory::MemoryReport;
use rule::RuleReport;

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
    /// How the memory is divided; `None` where the file has faults.
    memory: Option<MemoryReport>,
    /// What changes for whom; `None` where nothing is compared.
    changes: Option<Vec<Change>>,
    /// Why the policy to compare with could not be read.
    against_unreadable: Option<String>,
    /// Whether the text tells how limits are shared.
    #[serde(skip)]
    shares: bool,
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
            memory: None,
            changes: None,
            against_unreadable: None,
            shares: false,
        };
        let nodes = arguments.nodes.unwrap_or(NonZeroU32::MIN);
        let read = PolicyText::read(&arguments.file);
        let complete = |text: PolicyText| {
            let (mut policy, warnings) = text.policy_for(nodes)?;
            text.complete(&mut policy)?;
            Ok((policy, warnings))
        };
        match read.and_then(complete) {
            Ok((policy, warnings)) => {
                report.ok = warnings.is_empty() || !arguments.strict;
                report.rules = RuleReport::all(&policy, nodes);
                report.shares = arguments.nodes.is_some() || is_shared(&policy);
                report.memory = Some(MemoryReport::new(&policy));
                if let Some(file) = &arguments.against {
                    match against::read(file) {
                        Ok(old) => report.changes = Some(against::changes(&old, &policy)),
                        Err(why) => {
                            report.against_unreadable = Some(format!("{}: {why}", file.display()));
                            report.ok = false;
                        }
                    }
                }
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
            for line in rule::table(&self.rules) {
                let _ = writeln!(text, "{line}");
            }
            text.push('\n');
        }
        if self.shares && !self.rules.is_empty() {
            for line in rule::sharing_table(&self.rules) {
                let _ = writeln!(text, "{line}");
            }
            text.push('\n');
        }
        for line in self.memory.iter().flat_map(MemoryReport::table) {
            let _ = writeln!(text, "{line}");
        }
        if self.memory.is_some() {
            text.push('\n');
        }
        if let Some(why) = &self.against_unreadable {
            let _ = writeln!(
                text,
                "error: nothing to compare with: {}\n = remedy: name the policy in force\n",
                Shown(why)
            );
        }
        if let Some(changes) = &self.changes {
            if changes.is_empty() {
                text.push_str("nothing changes for anybody\n");
            }
            for line in against::table(changes) {
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
            if faults == 0 && !self.ok && self.against_unreadable.is_none() {
                ", which --strict takes for faults"
            } else {
                ""
            }
        );
        text
    }
}

/// Whether the file says anything of other nodes.
fn is_shared(policy: &Policy) -> bool {
    policy.state.share.is_some() || policy.rules.iter().any(|rule| rule.fanout.is_some())
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

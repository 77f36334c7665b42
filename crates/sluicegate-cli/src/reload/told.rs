//! What the log says of readings of the policy file.

use std::collections::VecDeque;

use sluicegate::policy::{Fault, Warning};
use sluicegate_admin::Reloaded;

/// What was told of a file that is not in force. The same again is not: a faulty file is read at every event in its folder.
#[derive(Debug, Default)]
pub(super) struct Told {
    failures: VecDeque<String>,
}

impl Told {
    /// Tells what a reading came to, if that is news. `generation` is the number of the policy in force.
    pub(super) fn tell(&mut self, reloaded: &Reloaded, generation: u32) {
        let failure = match reloaded {
            Reloaded::Applied { warnings } => {
                warn(warnings);
                tracing::info!(generation, "the policy file is in force");
                self.failures.clear();
                return;
            }
            Reloaded::Unchanged if self.failures.is_empty() => {
                tracing::debug!(generation, "the policy file says what is in force already");
                return;
            }
            Reloaded::Unchanged => {
                tracing::info!(generation, "the policy file says again what is in force");
                self.failures.clear();
                return;
            }
            Reloaded::Faulty(faults) | Reloaded::NeedsRestart(faults) => faults.to_string(),
            Reloaded::Unreadable { problem, .. } | Reloaded::Failed { problem } => problem.clone(),
        };
        if self.failures.contains(&failure) {
            return;
        }
        match reloaded {
            Reloaded::Unreadable { remedy, .. } => tracing::error!(remedy, "{failure}"),
            Reloaded::Failed { .. } => tracing::error!("{failure}"),
            _ => {}
        }
        for Fault {
            file,
            line,
            column,
            place,
            problem,
            remedy,
            ..
        } in reloaded.faults().into_iter().flatten()
        {
            tracing::error!(file, line, column, place, remedy, "{problem}");
        }
        let omitted = reloaded.faults().map_or(0, sluicegate::policy::Faults::omitted);
        let outcome = reloaded.as_str();
        tracing::error!(
            outcome,
            omitted,
            generation,
            "the policy file is not in force; the policy before it stays so"
        );
        if self.failures.len() == FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }
}

/// Tells of what is allowed in a policy and probably not meant.
pub(crate) fn warn(warnings: &[Warning]) {
    for Warning {
        line,
        column,
        place,
        text,
        remedy,
        ..
    } in warnings
    {
        tracing::warn!(line, column, place, remedy, "{text}");
    }
}

/// Failures that are remembered as told: whoever writes more broken files in a row reads of some twice.
const FAILURES_MAX: usize = 8;

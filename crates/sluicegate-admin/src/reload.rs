//! What became of the policy file when it was read again, and asking for that.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use sluicegate::policy::{Fault, Faults, Warning};
use tokio::sync::oneshot;

use crate::catalogue;
use crate::readings::{Readings, Source};

/// Whoever can read the policy file again.
pub trait Reload: fmt::Debug + Send + Sync + 'static {
    /// Asks for the file to be read, as it is from now on; what came of it arrives when it has been. `None` where too many ask at
    /// once. Does not wait.
    fn reload(&self) -> Option<oneshot::Receiver<Arc<Reloaded>>>;
}

/// What one reading of the policy file came to.
#[derive(Debug)]
pub enum Reloaded {
    /// Another policy is in force.
    Applied {
        /// What is allowed and probably not meant.
        warnings: Vec<Warning>,
    },
    /// The file says what is in force already.
    Unchanged,
    /// The file cannot be read.
    Unreadable {
        /// Why.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The file is no policy.
    Faulty(Faults),
    /// The file is a policy that a running process cannot take over.
    NeedsRestart(Faults),
    /// The policy cannot be put to work.
    Failed {
        /// Why.
        problem: String,
    },
}

impl Reloaded {
    /// Whether the file is what is in force.
    pub const fn is_in_force(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::Unchanged)
    }

    /// The word for it in answers, logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Unchanged => "unchanged",
            Self::Unreadable { .. } => "unreadable",
            Self::Faulty(_) => "faulty",
            Self::NeedsRestart(_) => "needs_restart",
            Self::Failed { .. } => "failed",
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Applied { .. } | Self::Unchanged => StatusCode::OK,
            Self::Faulty(_) => StatusCode::UNPROCESSABLE_ENTITY,
            // With what is in force, or with what is on the disk.
            Self::NeedsRestart(_) | Self::Unreadable { .. } => StatusCode::CONFLICT,
            Self::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What is wrong with the file, line by line.
    pub const fn faults(&self) -> Option<&Faults> {
        match self {
            Self::Faulty(faults) | Self::NeedsRestart(faults) => Some(faults),
            _ => None,
        }
    }

    /// What is wrong as a whole, and what to do about it.
    fn whole(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Unreadable { problem, remedy } => (Some(problem), Some(remedy)),
            Self::Failed { problem } => (Some(problem), None),
            _ => (None, None),
        }
    }
}

/// The readings of the policy file so far; shared by who reads it and who asks.
#[derive(Debug, Clone)]
pub struct Reloads(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    generation: u32,
    applied_at: Duration,
    last: Arc<Reloaded>,
    /// In the order of [`SUCCESSES`], and of [`FAILURES`].
    successes: [u64; SUCCESSES.len()],
    failures: [u64; FAILURES.len()],
}

impl Reloads {
    /// The file is in force as it was read at the start. `now` is the time since 1970.
    pub fn new(generation: u32, now: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            generation,
            applied_at: now,
            last: Arc::new(Reloaded::Unchanged),
            successes: [0; SUCCESSES.len()],
            failures: [0; FAILURES.len()],
        })))
    }

    /// Notes what a reading came to. `generation` is the number of the policy that is in force now, `now` the time since 1970.
    pub fn note(&self, reloaded: Arc<Reloaded>, generation: u32, now: Duration) {
        let mut state = self.state();
        let counters = SUCCESSES
            .iter()
            .chain(FAILURES)
            .position(|word| *word == reloaded.as_str());
        match counters {
            Some(at @ ..SUCCESSES_END) => state.successes[at] += 1,
            Some(at) => state.failures[at - SUCCESSES_END] += 1,
            None => {}
        }
        if matches!(*reloaded, Reloaded::Applied { .. }) {
            state.applied_at = now;
        }
        state.generation = generation;
        state.last = reloaded;
    }

    /// What the last reading came to.
    pub fn last(&self) -> Arc<Reloaded> {
        Arc::clone(&self.state().last)
    }

    /// The number of the policy in force.
    pub(crate) fn generation(&self) -> u32 {
        self.state().generation
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one store after another that cannot fail.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Reloads {
    fn read(&self, readings: &mut Readings) {
        let state = self.state();
        for (outcome, count) in SUCCESSES.iter().zip(state.successes) {
            readings.whole(&catalogue::CONFIG_RELOADS, &[outcome], count);
        }
        for (reason, count) in FAILURES.iter().zip(state.failures) {
            readings.whole(&catalogue::CONFIG_RELOAD_FAILURES, &[reason], count);
        }
        readings.whole(&catalogue::CONFIG_FILE_IN_FORCE, &[], state.last.is_in_force().into());
        readings.whole(&catalogue::CONFIG_GENERATION, &[], state.generation.into());
        let applied_at = state.applied_at.as_secs_f64();
        readings.fraction(&catalogue::CONFIG_APPLIED_TIMESTAMP_SECONDS, &[], applied_at);
    }
}

/// The labels of the two counters, as [`Reloaded::as_str`] says them.
const SUCCESSES: &[&str] = &["applied", "unchanged"];
const FAILURES: &[&str] = &["unreadable", "faulty", "needs_restart", "failed"];
const SUCCESSES_END: usize = SUCCESSES.len();

/// A reading of the policy file as it is answered in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Told<'a> {
    /// Whether the file is in force.
    ok: bool,
    outcome: &'static str,
    generation: u32,
    /// What is wrong with the file as a whole.
    problem: Option<&'a str>,
    remedy: Option<&'a str>,
    faults: Vec<&'a Fault>,
    faults_omitted: usize,
    warnings: &'a [Warning],
}

impl<'a> Told<'a> {
    /// At most `most` faults.
    pub(crate) fn new(reloaded: &'a Reloaded, generation: u32, most: usize) -> Self {
        let (problem, remedy) = reloaded.whole();
        let faults: Vec<_> = reloaded.faults().into_iter().flatten().take(most).collect();
        let of_all = reloaded.faults().map_or(0, |faults| faults.len() + faults.omitted());
        Self {
            ok: reloaded.is_in_force(),
            outcome: reloaded.as_str(),
            generation,
            problem,
            remedy,
            faults_omitted: of_all - faults.len(),
            faults,
            warnings: match reloaded {
                Reloaded::Applied { warnings } => warnings,
                _ => &[],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_in_its_place() {
        let faults = || sluicegate::policy::Policy::parse("p", "version: 2").expect_err("no such version");
        let problem = || "p".to_owned();
        let all = [
            Reloaded::Applied { warnings: Vec::new() },
            Reloaded::Unchanged,
            Reloaded::Unreadable {
                problem: problem(),
                remedy: "r",
            },
            Reloaded::Faulty(faults()),
            Reloaded::NeedsRestart(faults()),
            Reloaded::Failed { problem: problem() },
        ];
        let reloads = Reloads::new(1, Duration::ZERO);
        for (times, reloaded) in (1..).zip(all) {
            let reloaded = Arc::new(reloaded);
            for _ in 0..times {
                reloads.note(Arc::clone(&reloaded), 2, Duration::from_secs(times));
            }
        }
        let state = reloads.state();
        assert_eq!((state.successes, state.failures), ([1, 2], [3, 4, 5, 6]));
        assert_eq!((state.generation, state.applied_at), (2, Duration::from_secs(1)));
    }
}

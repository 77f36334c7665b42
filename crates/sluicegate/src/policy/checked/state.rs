//! What a node remembers, and how the memory for it is divided.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use sluicegate_state::Memory;

use super::{Algorithm, Rule};

/// What the node remembers.
#[derive(Debug, Clone)]
pub struct State {
    /// Hard bound of the local tables, in bytes, 1 MiB to 1 TiB; 256 MiB unless said.
    pub memory: usize,
    /// How the memory is divided; `None` divides it by what the rules need.
    pub split: Option<Split>,
    /// Where the installation secret and the snapshot are kept; `None` keeps a secret for this process only, and
    /// nothing else.
    pub directory: Option<PathBuf>,
    /// How often what is remembered is written to the directory; `None` never writes it. 10 s unless said, where
    /// there is a directory.
    pub snapshot_every: Option<Duration>,
    /// Most requests that wait in leaky buckets at once, over all rules; one more is refused. 10 000 unless said.
    pub waiting: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            split: None,
            directory: None,
            snapshot_every: None,
            waiting: 10_000,
        }
    }
}

/// Between two snapshots unless said: a crash then forgets ten seconds of requests at most.
pub const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);

/// How the memory is divided, in percent; the three make 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// For cells of 16 bytes: token buckets, leaky buckets and permits.
    pub small: u8,
    /// For cells of 32 bytes: windows, logs, and token buckets that settle, count failures or lock.
    pub wide: u8,
    /// For the entries of logs.
    pub logs: u8,
}

impl State {
    /// Divides the memory between the tables: as [`State::split`] says, else by what `rules` need.
    ///
    /// In bytes, together at most [`State::memory`]. A kind that no rule needs keeps a sixty-fourth, so that a reload
    /// can add such a rule. The others share the rest: cells of either size four parts each, the entries of logs two.
    pub fn divide(&self, rules: &[Rule]) -> Memory {
        if let Some(split) = self.split {
            // In this order no product exceeds 64 bits: a hundredth of the memory first.
            let part = |percent: u8| self.memory / 100 * usize::from(percent);
            return Memory {
                small: part(split.small),
                wide: part(split.wide),
                logs: part(split.logs),
            };
        }
        let needs = Needs::of(rules.iter());
        // Where no rule needs any, the next to come most likely needs a small one.
        let parts = [(needs.small || !needs.wide, 4), (needs.wide, 4), (needs.logs, 2)];
        let spare = self.memory / SPARE;
        let unused = parts.iter().filter(|(needed, _)| !needed).count();
        let rest = self.memory - unused * spare;
        let all: usize = parts.iter().filter(|(needed, _)| *needed).map(|(_, part)| part).sum();
        let [small, wide, logs] = parts.map(|(needed, part)| if needed { rest / all * part } else { spare });
        Memory { small, wide, logs }
    }
}

/// A kind of cell that no rule needs keeps this part of the memory: room for hundreds of keys in the least memory that a policy
/// may name and for ninety thousand in 256 MiB, at a cost of three hundredths.
const SPARE: usize = 64;

/// Which kinds of cells the keys of some rules are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Needs {
    pub(in crate::policy) small: bool,
    pub(in crate::policy) wide: bool,
    pub(in crate::policy) logs: bool,
}

impl Needs {
    pub(in crate::policy) fn of<'r>(rules: impl Iterator<Item = &'r Rule> + Clone) -> Self {
        // One rule that settles makes the whole bucket settle.
        let settling: HashSet<&str> = rules
            .clone()
            .filter(|rule| rule.needs_settling_cell())
            .map(Rule::bucket_name)
            .collect();
        let mut needs = Self {
            small: false,
            wide: false,
            logs: false,
        };
        for rule in rules {
            // A rule without a key has one cell, which lies outside of the tables; the entries of its log do not.
            let keyed = !rule.key.is_empty();
            match rule.algorithm {
                Algorithm::TokenBucket if settling.contains(rule.bucket_name()) => needs.wide |= keyed,
                Algorithm::TokenBucket | Algorithm::LeakyBucket { .. } | Algorithm::Concurrency => needs.small |= keyed,
                Algorithm::SlidingLog => {
                    needs.wide |= keyed;
                    needs.logs = true;
                }
                // Windows.
                _ => needs.wide |= keyed,
            }
        }
        needs
    }
}

//! What a node remembers, and how the memory for it is divided.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Algorithm, Offered, Rule, SecretSource, Share, Sharing};

/// What the node remembers.
#[derive(Debug, Clone)]
pub struct State {
    /// Hard bound of the local tables, in bytes, 1 MiB to 1 TiB; 256 MiB unless said.
    pub memory: usize,
    /// How the memory is divided; `None` divides it by what the rules need.
    pub split: Option<Split>,
    /// Where the snapshot is kept, and the installation secret unless [`secret`](Self::secret) says where that is; `None`
    /// keeps nothing beyond the process.
    pub directory: Option<PathBuf>,
    /// Where the installation secret is that was given; `None` means that one is made, and kept in the directory. Always
    /// there beside [`share`](Self::share): only under one secret do nodes mean one key by one name.
    pub secret: Option<SecretSource>,
    /// What limits are shared by with other nodes; `None` leaves each node alone.
    pub share: Option<Share>,
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
            secret: None,
            share: None,
            snapshot_every: None,
            waiting: 10_000,
        }
    }
}

/// Between two snapshots unless said: a crash then forgets ten seconds of requests at most.
pub const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);

/// How the memory is divided, in percent; the four make 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// For cells of 16 bytes: token buckets, leaky buckets and permits.
    pub small: u8,
    /// For cells of 32 bytes: windows, logs, and token buckets that settle, count failures or lock.
    pub wide: u8,
    /// For the entries of logs.
    pub logs: u8,
    /// For the leases of shared limits; 0 unless said.
    pub leases: u8,
}

/// How the memory is divided, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// For cells of 16 bytes: token buckets, leaky buckets and permits.
    pub small: usize,
    /// For cells of 32 bytes: windows, logs, and token buckets that settle, count failures or lock.
    pub wide: usize,
    /// For the entries of logs.
    pub logs: usize,
    /// For the leases of shared limits; 0 without a store.
    pub leases: usize,
}

impl State {
    /// Divides the memory: as [`State::split`] says, else by what `rules` need.
    ///
    /// Together at most [`State::memory`]. Where any rule shares its limit, a quarter is for leases; without a store
    /// nothing is. Of the rest a kind that no rule needs keeps a sixty-fourth, so that a reload can add such a rule, and
    /// the others share what is left: cells of either size four parts each, the entries of logs two.
    pub fn divide(&self, rules: &[Rule]) -> Division {
        if let Some(split) = self.split {
            // In this order no product exceeds 64 bits: a hundredth of the memory first.
            let part = |percent: u8| self.memory / 100 * usize::from(percent);
            return Division {
                small: part(split.small),
                wide: part(split.wide),
                logs: part(split.logs),
                leases: part(split.leases),
            };
        }
        let needs = Needs::of(rules.iter(), self.share.is_some());
        let leases = match (&self.share, needs.leases) {
            (None, _) => 0,
            (Some(_), false) => self.memory / SPARE,
            (Some(_), true) => self.memory / LEASES,
        };
        let memory = self.memory - leases;
        // Where no rule needs any, the next to come most likely needs a small one.
        let parts = [(needs.small || !needs.wide, 4), (needs.wide, 4), (needs.logs, 2)];
        let spare = memory / SPARE;
        let unused = parts.iter().filter(|(needed, _)| !needed).count();
        let rest = memory - unused * spare;
        let all: usize = parts.iter().filter(|(needed, _)| *needed).map(|(_, part)| part).sum();
        let [small, wide, logs] = parts.map(|(needed, part)| if needed { rest / all * part } else { spare });
        Division {
            small,
            wide,
            logs,
            leases,
        }
    }

    /// Every path that the file may give relative to its own folder.
    pub(in crate::policy) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = self.secret.as_mut().and_then(SecretSource::path_mut);
        let of_share = self.share.as_mut().map(Share::paths_mut).unwrap_or_default();
        self.directory.iter_mut().chain(own).chain(of_share)
    }
}

/// The part of the memory that leases have where limits are shared. One takes four hundred bytes, and is there only for keys
/// that are busy or were a moment ago: in 256 MiB there are some hundred and sixty thousand of them, beside seven million cells.
const LEASES: usize = 4;

/// A kind of cell that no rule needs keeps this part of the memory: room for hundreds of keys in the least memory that a policy
/// may name and for ninety thousand in 256 MiB, at a cost of three hundredths.
const SPARE: usize = 64;

/// Which kinds of memory the keys of some rules are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each kind is needed or not, whatever the others are"
)]
pub(in crate::policy) struct Needs {
    pub(in crate::policy) small: bool,
    pub(in crate::policy) wide: bool,
    pub(in crate::policy) logs: bool,
    pub(in crate::policy) leases: bool,
}

impl Needs {
    /// `is_shared` says whether there is a store.
    pub(in crate::policy) fn of<'r>(rules: impl Iterator<Item = &'r Rule> + Clone, is_shared: bool) -> Self {
        // One rule that settles makes the whole bucket settle.
        let settling: HashSet<&str> = rules
            .clone()
            .filter(|rule| rule.needs_settling_cell())
            .map(Rule::bucket_name)
            .collect();
        // And one that is each node's own the whole bucket.
        let is_own = |rule: &&Rule| rule.sharing == Sharing::Local || matches!(rule.offered(), Offered::Local(_));
        let own: HashSet<&str> = rules.clone().filter(is_own).map(Rule::bucket_name).collect();
        let mut needs = Self {
            small: false,
            wide: false,
            logs: false,
            leases: false,
        };
        for rule in rules {
            needs.leases |= is_shared && !own.contains(rule.bucket_name());
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

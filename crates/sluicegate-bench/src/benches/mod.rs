//! The benches, in the order in which they run.

mod algorithms;
mod batch;
mod decide;
mod fleet;
mod flood;
mod gateway;
mod memory;
mod policy;
mod snapshot;
mod store;
mod tail;
mod threads;

pub(crate) use algorithms::algorithms;
pub(crate) use batch::batch;
pub(crate) use decide::decide;
pub(crate) use fleet::{SEED as FLEET_SEED, real as fleet_real, simulate as fleet, simulated as fleet_simulated};
pub(crate) use flood::{flood, part as flood_part};
pub(crate) use gateway::{gateway, proxy, refuser};
pub(crate) use memory::{memory, part as memory_part};
pub(crate) use policy::{part as policy_part, policy};
pub(crate) use snapshot::snapshot;
pub(crate) use store::store;
pub(crate) use tail::tail;
pub(crate) use threads::threads;

/// How large everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// As the goals were set, or only to see that it works.
    pub(crate) size: Size,
    /// Rounds, where the user asked for a number of them.
    pub(crate) rounds: Option<u32>,
}

/// As the goals were set, or only to see that it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Minutes.
    Full,
    /// Seconds.
    Smoke,
}

impl Scale {
    /// `full`, or `smoke` where only that is asked for.
    pub(crate) fn pick<T>(self, full: T, smoke: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Smoke => smoke,
        }
    }

    /// How often everything is measured in turn: `full` times unless the user says otherwise.
    pub(crate) fn rounds(self, full: u32) -> u32 {
        self.rounds.unwrap_or_else(|| self.pick(full, 1))
    }
}

/// Bytes of our table for this many keys: as many as the goal of bench `memory` allows, and no less than a policy may ask for.
fn memory_for(keys: u32) -> usize {
    (keys as usize * BYTES_A_KEY).max(1 << 20)
}

/// The goal of bench `memory`.
const BYTES_A_KEY: usize = 26;

/// How a number of keys is called in a table.
fn keys_in_words(keys: u32) -> String {
    match keys {
        1 => "one hot key".to_owned(),
        _ if keys.is_multiple_of(1_000_000) => format!("{} M keys", keys / 1_000_000),
        _ => format!("{} k keys", keys / 1_000),
    }
}

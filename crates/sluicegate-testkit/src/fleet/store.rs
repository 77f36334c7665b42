//! The store of the simulation: the product's arithmetic of one key, without the map around it.

use sluicegate_core::sharing::exchange::{self, Rules};
use sluicegate_core::sharing::{Ask, Kind, Reply, Terms, windows};

/// What the store keeps, of each key by its number.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    kind: Kind,
    buckets: Vec<Option<exchange::Kept>>,
    windows: Vec<Option<windows::Kept>>,
    /// Which data this is: another number after a loss.
    pub(super) generation: u64,
}

impl Kept {
    pub(super) fn new(kind: Kind, keys: u32) -> Self {
        let (buckets, windows) = match kind {
            Kind::Bucket => (keys as usize, 0),
            Kind::SlidingWindow | Kind::FixedWindow => (0, keys as usize),
        };
        Self {
            kind,
            buckets: vec![None; buckets],
            windows: vec![None; windows],
            generation: 1,
        }
    }

    pub(super) fn wipe(&mut self) {
        self.buckets.fill(None);
        self.windows.fill(None);
        self.generation += 1;
    }

    pub(super) fn exchange(&mut self, rules: Rules, key: u32, terms: &Terms, ask: &Ask, now: f64) -> Reply {
        let key = key as usize;
        if self.kind == Kind::Bucket {
            let (kept, reply, _) = exchange::bucket_under(rules, self.buckets[key], terms, ask, now);
            self.buckets[key] = Some(kept);
            reply
        } else {
            let (kept, reply, _) = windows::exchange(self.windows[key], terms, ask, now);
            self.windows[key] = Some(kept);
            reply
        }
    }
}

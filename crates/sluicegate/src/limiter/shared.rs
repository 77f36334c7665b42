//! What outlives a policy: the memory of keys, the clock, the secret, and what requests hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluicegate_core::{KeyHasher, Secret, Timestamp};
use sluicegate_state::leases::{Leases, SharedHolding};
use sluicegate_state::snapshot::Fingerprint;
use sluicegate_state::{AnyClock, Clock as _, Table};

use super::registry::Registry;
use crate::secret;

/// What all policies of one limiter share, one after another.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: Table,
    /// What is held of limits that other nodes hold too; `None` where there is no store to share them by.
    pub(crate) leases: Option<Arc<Leases>>,
    pub(crate) clock: AnyClock,
    pub(crate) hasher: KeyHasher,
    /// The secret's, for what is written under it.
    pub(crate) fingerprint: Fingerprint,
    /// What tokens are remembered under.
    pub(super) token_key: [u8; 32],
    /// Requests that wait in queues.
    waiting: AtomicUsize,
    /// Reservations that are found again by an id.
    pub(super) open: Registry,
}

impl Shared {
    pub(super) fn new(table: Table, leases: Option<Arc<Leases>>, clock: AnyClock, secret: &Secret) -> Self {
        Self {
            table,
            leases,
            clock,
            hasher: KeyHasher::new(secret),
            fingerprint: secret::fingerprint(secret),
            token_key: secret::token_key(secret),
            waiting: AtomicUsize::new(0),
            open: Registry::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Requests that wait in queues now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts one more that waits; `false` if there are `most` already.
    pub(super) fn wait(&self, most: usize) -> bool {
        // Relaxed: the count is all that is shared.
        let counted = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < most).then_some(waiting + 1)
            });
        counted.is_ok()
    }

    /// Gives back what was taken of a limit that other nodes hold too.
    pub(super) fn give_back_lent(&self, holding: &SharedHolding) {
        if let Some(leases) = &self.leases {
            leases.give_back(holding, self.now());
        }
    }

    pub(super) fn wait_no_more(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

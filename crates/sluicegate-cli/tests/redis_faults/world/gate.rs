//! A node that can be stopped in the middle of whatever it does.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use sluicegate_redis::RedisStore;
use sluicegate_state::store::{Call, Exchanged, Heartbeat, Lane, Presence, Store, StoreError};

/// A store that stops whoever speaks with it, before and after each call, while its gate is closed: the node's driver then stands still
/// as in a process that was stopped, and what it sent before may have been done.
#[derive(Debug, Clone)]
pub(crate) struct GatedStore {
    store: RedisStore,
    gate: Arc<Gate>,
}

/// Open until it is closed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl GatedStore {
    pub(crate) const fn new(store: RedisStore, gate: Arc<Gate>) -> Self {
        Self { store, gate }
    }
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.is_closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    pub(crate) fn open(&self) {
        *self.is_closed.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.opened.notify_all();
    }

    /// Stands still, with the whole thread, while it is closed.
    fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_closed, |is_closed| *is_closed));
    }
}

impl Store for GatedStore {
    fn lanes(&self) -> u16 {
        self.store.lanes()
    }

    fn lane(&self, shard: u8) -> Lane {
        self.store.lane(shard)
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Exchanged, StoreError> {
        self.gate.pass();
        let exchanged = self.store.exchange(call).await;
        self.gate.pass();
        exchanged
    }

    async fn heartbeat(&self, presence: Presence) -> Result<Heartbeat, StoreError> {
        self.gate.pass();
        self.store.heartbeat(presence).await
    }
}

//! A store in memory: the model that every other store is held to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sluicegate_core::Timestamp;
use sluicegate_core::sharing::{Kind, Terms, exchange, permits, windows};

use crate::clock::{Clock as _, SystemClock};

use super::{
    Answer, Call, Exchanged, Heartbeat, Item, Lane, Presence, Question, Store, StoreError, StoreGeneration, StoreKey,
};

/// A store in memory with one lane. For tests, simulations, and the conformance of other stores.
///
/// Its memory has no bound but its keys'; it is not for nodes in service.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    /// Moves its time on; without it, it is told.
    clock: Option<SystemClock>,
}

#[derive(Debug, Default)]
struct Inner {
    now: f64,
    wipes: u64,
    kept: HashMap<StoreKey, Kept>,
    nodes: HashMap<u64, f64>,
    secret: Option<u64>,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Bucket(exchange::Kept),
    Window(windows::Kept),
    Permits(Vec<permits::Part>),
}

impl MemoryStore {
    /// An empty store whose clock stands at `now`, in microseconds of its own.
    pub fn at(now: f64) -> Self {
        let store = Self::default();
        store.set_now(now);
        store
    }

    /// An empty store whose clock goes by the machine's, from a year after the epoch.
    pub fn ticking() -> Self {
        Self {
            clock: Some(SystemClock::new()),
            ..Self::default()
        }
    }

    /// Sets its clock; it may go back. A store that goes by the machine's clock goes on with that.
    pub fn set_now(&self, now: f64) {
        self.lock().now = now;
    }

    /// Forgets everything, and has another generation from now on.
    pub fn wipe(&self) {
        let mut inner = self.lock();
        inner.wipes += 1;
        inner.kept.clear();
        inner.nodes.clear();
        inner.secret = None;
    }

    /// Answers about one key, at the store's time.
    pub fn answer(&self, item: &Item) -> Answer {
        self.lock().answer(item)
    }

    /// What a call comes to, without a future.
    pub fn exchange_now(&self, call: Call<'_>) -> Exchanged {
        let mut inner = self.lock();
        let generation = StoreGeneration(inner.wipes + 1);
        if call.generation.is_some_and(|expected| expected != generation) {
            return Exchanged::Changed { generation };
        }
        let answers = call.items.iter().map(|item| inner.answer(item)).collect();
        Exchanged::Done { generation, answers }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Each answer is written whole, so whoever panicked has left nothing half done.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clock) = &self.clock {
            let since = clock.now().saturating_since(Timestamp::ZERO);
            inner.now = YEAR_US + since.as_secs_f64() * 1e6;
        }
        inner
    }
}

/// A year in microseconds: what a store's clock shows is never near its beginning.
const YEAR_US: f64 = 365.25 * 86_400.0 * 1e6;

impl Inner {
    fn answer(&mut self, item: &Item) -> Answer {
        let now = self.now;
        let former = self.kept.remove(&item.key);
        let (kept, answer) = match &item.question {
            Question::Units { terms, ask } if is_bucket(terms) => {
                let former = match former {
                    Some(Kept::Bucket(kept)) => Some(kept),
                    _ => None,
                };
                let (kept, reply, _) = exchange::bucket(former, terms, ask, now);
                (Kept::Bucket(kept), Answer::Units(reply))
            }
            Question::Units { terms, ask } => {
                let former = match former {
                    Some(Kept::Window(kept)) => Some(kept),
                    _ => None,
                };
                let (kept, reply, _) = windows::exchange(former, terms, ask, now);
                (Kept::Window(kept), Answer::Units(reply))
            }
            Question::Permits(ask) => {
                let mut parts = match former {
                    Some(Kept::Permits(parts)) => parts,
                    _ => Vec::new(),
                };
                let (reply, _) = permits::exchange(&mut parts, ask, now);
                (Kept::Permits(parts), Answer::Permits(reply))
            }
        };
        self.kept.insert(item.key, kept);
        answer
    }
}

fn is_bucket(terms: &Terms) -> bool {
    terms.kind == Kind::Bucket
}

impl Store for MemoryStore {
    fn lanes(&self) -> u16 {
        1
    }

    fn lane(&self, _shard: u8) -> Lane {
        Lane(0)
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Exchanged, StoreError> {
        Ok(self.exchange_now(call))
    }

    async fn heartbeat(&self, presence: Presence) -> Result<Heartbeat, StoreError> {
        let mut inner = self.lock();
        let now = inner.now;
        inner.nodes.insert(presence.node, now);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few seconds")]
        let memory = super::HEARTBEAT_MEMORY.as_micros() as f64;
        inner.nodes.retain(|_, heard_at| now - *heard_at <= memory);
        let same_secret = *inner.secret.get_or_insert(presence.secret) == presence.secret;
        Ok(Heartbeat {
            nodes: u32::try_from(inner.nodes.len()).unwrap_or(u32::MAX),
            same_secret,
        })
    }
}

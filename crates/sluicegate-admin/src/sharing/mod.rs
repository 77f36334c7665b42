//! How limits are shared with other nodes: for `/metrics`, `/sharing` and `/readyz`.

mod page;
mod scrape;

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use sluicegate::policy::checked::OnStoreLoss;
use sluicegate::{Engine, Limiter, RuleId, StoreStanding};

pub(crate) use page::Standing;

/// A limiter that shares limits, and the servers that it shares them by. Clones tell of the same.
#[derive(Debug, Clone)]
pub struct SharingView {
    limiter: Arc<Limiter>,
    servers: Arc<dyn StoreServers>,
}

/// Whoever speaks with the servers of a store.
pub trait StoreServers: Debug + Send + Sync + 'static {
    /// How each does, in an order of its own that stays. Asked in a scrape; it should read counters and not wait for anything.
    fn servers(&self) -> Vec<StoreServer>;
}

/// How one server of the store does. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreServer {
    /// Its address, or what sentinels call it. Never what it asks for.
    pub server: String,
    /// Whether calls are sent to it.
    pub breaker: Breaker,
    /// The mean round trip of the last eight calls or so, in milliseconds; `None` before the first.
    pub round_trip_ms: Option<f64>,
    /// Calls under way.
    pub in_flight: u32,
    /// Connections that were made, the first among them.
    pub connections: u64,
    /// Times that it had lost the script and was given it again.
    pub script_loads: u64,
    /// Calls that were sent.
    pub calls: u64,
    /// Calls of which nobody knows whether they were done: no answer came in time, or the connection broke.
    pub unknown: u64,
    /// Calls that it reached after their deadline and did not do.
    pub late: u64,
    /// Calls that it refused.
    pub refused: u64,
    /// Calls that were not sent: there was no connection, or too many were under way.
    pub not_sent: u64,
    /// Whether it evicts keys when its memory is full, and then forgets what was used.
    pub may_evict: bool,
}

/// Whether calls are sent to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// There is a connection, and calls are sent.
    Closed,
    /// A connection is being tried.
    HalfOpen,
    /// There is no connection, and for a while none is tried.
    Open,
}

impl Breaker {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl SharingView {
    /// `limiter` shares limits by `servers`.
    pub fn new(limiter: Arc<Limiter>, servers: Arc<dyn StoreServers>) -> Self {
        Self { limiter, servers }
    }

    /// What keeps traffic from being let through here: that without the store every shared rule refuses, and there is none. A node whose
    /// rules go on by its share is as ready as any.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        let is_of_use = self.limiter.store_standing().is_none_or(StoreStanding::is_of_use);
        (!is_of_use && refuses_alone(&self.limiter.engine())).then_some(REFUSAL)
    }
}

const REFUSAL: &str = "the store is not there, and every rule that is shared refuses without it";

/// Whether there are shared rules, and all of them refuse without the store.
fn refuses_alone(engine: &Engine) -> bool {
    let mut losses = (0..)
        .map(RuleId::new)
        .map_while(|rule| engine.sharing(rule))
        .filter(|terms| terms.sharing.is_some())
        .map(|terms| terms.on_store_loss)
        .peekable();
    losses.peek().is_some() && losses.all(|loss| loss == OnStoreLoss::Closed)
}

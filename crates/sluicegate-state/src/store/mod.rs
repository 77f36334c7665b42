//! What nodes share: the contract that every store keeps, and a store in memory that keeps it.
//!
//! A store does what [`sluicegate_core::sharing`] computes, atomically for each key, by a clock of its own. It invents no rule.
//!
//! ```text
//!  Item { StoreKey, Question } ── up to 128 of one lane ──► Call ──► Store::exchange ──► Exchanged { Answer for each }
//! ```

mod memory;

use std::future::Future;
use std::time::Duration;

use sluicegate_core::sharing::{self, permits};

pub use memory::MemoryStore;

/// Parts that all keys are divided into, whatever the number of servers: a new server moves shards, not keys. A constant for all
/// nodes and versions.
// One where every interleaving is tried: each more would square their number and show nothing new.
pub const SHARDS: usize = if cfg!(loom) { 1 } else { 256 };

/// Most keys of one call. More would gain nothing, and a call of 128 keys holds a Redis up for 0.4 ms.
pub const ITEMS_MAX: usize = 128;

/// What a key's state is kept under in the store: 128 bits that tell nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreKey {
    /// Which of the [`SHARDS`].
    pub shard: u8,
    /// A keyed hash of the bucket and the key.
    pub hash: [u8; 16],
}

/// What is asked about one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Question {
    /// Of a bucket or a window.
    Units {
        /// The limit.
        terms: sharing::Terms,
        /// What is asked.
        ask: sharing::Ask,
    },
    /// Of permits.
    Permits(permits::Ask),
}

/// One key's part of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// Whose state.
    pub key: StoreKey,
    /// What is asked about it.
    pub question: Question,
}

/// What the store answers about one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// Of a bucket or a window.
    Units(sharing::Reply),
    /// Of permits.
    Permits(permits::Reply),
}

impl Answer {
    /// Whether what was kept made no sense and was thrown away.
    pub const fn is_of_damage(&self) -> bool {
        match self {
            Self::Units(reply) => reply.damaged,
            Self::Permits(reply) => reply.damaged,
        }
    }
}

/// What one call may cover: keys of shards that one script of one server reaches. Numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

/// Which data a lane's server holds: another number after it was wiped, replaced by a replica that may lack the last writes, or
/// started anew. Zero is never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreGeneration(pub u64);

/// One call: some keys of one lane.
#[derive(Debug, Clone, Copy)]
pub struct Call<'i> {
    /// Which lane.
    pub lane: Lane,
    /// What the node believes that the lane holds; `None` at first contact. If it is something else, nothing is done and the
    /// answer is [`Exchanged::Changed`], so that the node can say first what it remembers.
    pub generation: Option<StoreGeneration>,
    /// At most [`ITEMS_MAX`], all of the lane, no key twice.
    pub items: &'i [Item],
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchanged {
    /// All of it was done.
    Done {
        /// What the lane holds.
        generation: StoreGeneration,
        /// One answer for each item, in their order.
        answers: Vec<Answer>,
    },
    /// Nothing was done: the lane holds other data than the node believed.
    Changed {
        /// What it holds.
        generation: StoreGeneration,
    },
}

/// What the nodes know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Nodes that were heard of within the last [`HEARTBEAT_MEMORY`], this one among them.
    pub nodes: u32,
    /// Whether the store was told another secret's fingerprint by some node: then its keys are not ours.
    pub same_secret: bool,
}

/// How often a node says that it lives.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// For how long a node counts as alive after its last heartbeat: three may be lost before others take its part for theirs.
pub const HEARTBEAT_MEMORY: Duration = Duration::from_millis(3_500);

/// Who says that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// A number from 1 to below 2⁵³, drawn when the node starts.
    pub node: u64,
    /// A fingerprint of the installation's secret, which tells nothing of it: nodes with different secrets would each have the
    /// whole limit.
    pub secret: u64,
}

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It took too long. Whether it was done is unknown.
    #[error("no answer from the store within {waited:?}")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// The connection broke while the call was under way. Whether it was done is unknown.
    #[error("the connection to the store was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no connection, or the breaker is open, or the queue is full; nothing was sent.
    #[error("there is no connection to the store")]
    NotSent(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The store reached the call too late and did nothing.
    #[error("the store reached the call after its deadline, and did nothing")]
    Late,
    /// The store refused the call, and did nothing.
    #[error("the store refused the call: {code}")]
    Refused {
        /// The error's code, such as `OOM` or `NOPERM`; never what the store wrote behind it.
        code: String,
    },
    /// The answer is not of the expected form. Whether it was done is unknown.
    #[error("the store's answer is not of the expected form")]
    BadReply,
}

impl StoreError {
    /// Whether nothing can have been done, so that the same may be said again.
    pub const fn is_undone(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Late | Self::Refused { .. })
    }
}

/// What nodes share. Clones share one connection.
pub trait Store: Clone + Send + Sync + 'static {
    /// How many lanes there are: at least one, at most [`SHARDS`].
    fn lanes(&self) -> u16;

    /// The lane of a shard; below [`Store::lanes`].
    fn lane(&self, shard: u8) -> Lane;

    /// Does one call, atomically for each key. Ends within a deadline of the store's own.
    ///
    /// # Errors
    ///
    /// If there is no answer: see [`StoreError`], and [`StoreError::is_undone`] for what may be said again.
    fn exchange(&self, call: Call<'_>) -> impl Future<Output = Result<Exchanged, StoreError>> + Send;

    /// Says that a node lives, and learns how many do.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    fn heartbeat(&self, presence: Presence) -> impl Future<Output = Result<Heartbeat, StoreError>> + Send;
}

//! The table: buckets, the cells that their keys have, and the charging of several of them together.
//!
//! ```text
//!  Charge ──► take ──► way ──► reach (which cell, own or overflow) ──► kept (what the algorithm makes of its state)
//!                       │                │
//!                       └─► seen: a word, swapped where it was looked at
//!         groups: two candidate groups a key       small: two words, one swap
//!         slots: how cells age, whose they are     wide: four words, one lock each
//!                                                  slab: the entries of sliding logs
//!  export ──► snapshot ──► restore (what outlives the process; counted_in: by which meters it was kept)
//! ```

mod bucket;
mod counted_in;
mod export;
mod generation;
mod groups;
mod hold;
mod kept;
mod reach;
mod restore;
mod seen;
mod slab;
mod slots;
mod small;
mod standing;
mod take;
mod way;
mod wide;

use std::fmt;
use std::sync::Arc;

use sluicegate_core::{KeyHash, Timestamp};

pub use bucket::{BUCKETS_MAX, Bucket, BucketId, BucketIdentity, BucketSpec, Overflow};
pub use export::Listing;
pub use hold::{HOLDS_MAX, Hold, Holding, Takings};
pub use reach::Place;
pub use restore::Restored;
pub use standing::Standing;
pub use take::{Charge, Taken, WhenRefused};

use crate::atomics::Mutex;
use generation::Generation;
use groups::GROUP;
use slab::Slab;
use slots::Slots;
use small::{Ageing, SmallCells};
use wide::WideCells;

/// Bytes of one small cell: tag and state.
pub const SMALL_CELL_BYTES: usize = 16;

/// Bytes of one wide cell: the tag and three words of state.
pub const WIDE_CELL_BYTES: usize = 32;

/// Cells, in parts of eight, that all buckets together may own when there are several: placing a key first fails at
/// two thirds fill, and below this mark practically never, so that what is promised to a bucket can be had.
const SHARED_FILL_EIGHTHS: usize = 5;

/// How many bytes the parts of a table take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// For small cells, 16 bytes each: token buckets, leaky buckets, permits.
    pub small: usize,
    /// For wide cells, 32 bytes each: windows, logs, and buckets that settle.
    pub wide: usize,
    /// For the entries of sliding logs, seven to 128 bytes.
    pub logs: usize,
}

impl Memory {
    /// All of `bytes` for small cells, but for the least that the other parts can have.
    pub const fn small(bytes: usize) -> Self {
        Self {
            small: bytes,
            wide: 0,
            logs: 0,
        }
    }
}

/// What a node remembers of all its keys, within a number of bytes fixed when it is made.
///
/// All methods take `&self` and may be called from any number of threads.
pub struct Table {
    small: SmallCells,
    wide: WideCells,
    slab: Slab,
    slots: Slots,
    /// The buckets of the policy in force, for whoever replaces it.
    newest: Mutex<Generation>,
}

/// Whose cell of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The one cell that all requests share; it is never given away.
    Whole,
    /// The cell of a key.
    Hash(KeyHash),
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Bytes of all its parts: what was asked for, rounded down to whole groups and blocks.
    pub bytes: usize,
    /// Cells there are, small and wide.
    pub cells: usize,
    /// Cells that belong to a key, live or not yet found idle.
    pub owned: usize,
    /// Blocks of the logs' entries, seven entries each.
    pub log_blocks: usize,
    /// Blocks that logs have.
    pub log_blocks_used: usize,
}

/// Why a table, or its next buckets, cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The memory cannot be had.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// More buckets than [`BUCKETS_MAX`], those included that are being replaced.
    TooManyBuckets {
        /// How many there would be.
        buckets: usize,
    },
    /// A bucket without a limit.
    NoLimit {
        /// Its place among the specs.
        index: usize,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory { bytes } => write!(f, "{bytes} bytes for the table cannot be had"),
            Self::TooManyBuckets { buckets } => write!(f, "{buckets} buckets, of which a table holds {BUCKETS_MAX}"),
            Self::NoLimit { index } => write!(f, "the bucket at {index} has no limit"),
        }
    }
}

impl std::error::Error for TableError {}

impl Table {
    /// A table whose parts take at most `memory`, but each at least one group or block. It has no buckets yet; see
    /// [`Table::install`].
    ///
    /// Beside these parts, a table takes some 90 KiB, and half a KiB for each bucket. Memory that was never used costs address space
    /// only.
    ///
    /// # Errors
    ///
    /// If the memory cannot be had.
    pub fn new(memory: Memory) -> Result<Self, TableError> {
        let none = |bytes| TableError::NoMemory { bytes };
        Ok(Self {
            small: SmallCells::with_memory(memory.small).ok_or(none(memory.small))?,
            wide: WideCells::with_memory(memory.wide).ok_or(none(memory.wide))?,
            slab: Slab::with_memory(memory.logs).ok_or(none(memory.logs))?,
            slots: Slots::new(),
            newest: Mutex::new(Generation::default()),
        })
    }

    /// A table with its first buckets, in the order of their specs.
    ///
    /// # Errors
    ///
    /// As [`Table::new`] and [`Table::install`].
    pub fn with_buckets(
        memory: Memory,
        specs: impl IntoIterator<Item = BucketSpec>,
    ) -> Result<(Self, Vec<Arc<Bucket>>), TableError> {
        let table = Self::new(memory)?;
        let buckets = table.install(specs.into_iter().collect(), Timestamp::ZERO)?;
        Ok((table, buckets))
    }

    /// How full the table is. Counts kept at inserts, so this costs nothing on the way of requests.
    pub fn fill(&self) -> Fill {
        Fill {
            bytes: self.small.bytes() + self.wide.bytes() + self.slab.bytes(),
            cells: self.small.cells() + self.wide.cells(),
            owned: self.slots.owned(),
            log_blocks: self.slab.blocks(),
            log_blocks_used: self.slab.used(),
        }
    }

    /// Frees the idle cells among the next `cells` small and as many wide cells after those of the last call, and tells how many.
    ///
    /// Requests find idle cells by themselves where they look; this makes them found elsewhere too, so that counts and
    /// shares stay true. Takes no lock but each wide cell's own; about 10 ns a cell.
    pub fn clean(&self, cells: usize, now: Timestamp) -> usize {
        let mut freed = 0;
        let groups = cells.div_ceil(GROUP);
        self.small.clean(groups, self.at(now), |bucket| {
            freed += 1;
            self.slots.disown(bucket);
        });
        self.wide.clean(groups, now, |held| {
            freed += 1;
            self.discard(held);
        });
        freed
    }

    fn at(&self, now: Timestamp) -> Ageing<'_> {
        Ageing {
            slots: &self.slots,
            now,
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("fill", &self.fill())
            .finish_non_exhaustive()
    }
}

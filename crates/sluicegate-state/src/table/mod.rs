//! The table: buckets, the cells that their keys have, and the charging of several of them together.

mod bucket;
mod cells;
mod take;

use std::fmt;

use sluicegate_core::algorithm::Tick;
use sluicegate_core::{Cost, KeyHash, Mode, RuleId, Timestamp};

pub use bucket::{BUCKETS_MAX, Bucket, BucketId, BucketSpec, Overflow};
pub use cells::CELL_BYTES;
pub use take::{Standing, Taken};

use cells::{Ageing, Cells};

/// Cells, in parts of eight, that all buckets together may own when there are several: placing a key first fails at
/// two thirds fill, and below this mark practically never, so that what is promised to a bucket can be had.
const SHARED_FILL_EIGHTHS: usize = 5;

/// What a node remembers of all its keys, within a number of bytes fixed when it is made.
///
/// All methods take `&self` and may be called from any number of threads.
pub struct Table {
    cells: Cells,
    buckets: Box<[Bucket]>,
    /// How many cells several buckets may own together beyond what is kept for each.
    common: take::Common,
}

/// One rule's charge for one request.
#[derive(Debug, Clone, Copy)]
pub struct Charge {
    /// Who is told.
    pub rule: RuleId,
    /// What is drawn from.
    pub bucket: BucketId,
    /// Whose cell of it.
    pub key: Key,
    /// How much.
    pub cost: Cost,
    /// Whether a refusal counts.
    pub mode: Mode,
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
    /// Bytes of all cells: what `memory` was rounded down to.
    pub bytes: usize,
    /// Cells there are.
    pub cells: usize,
    /// Cells that belong to a key, live or not yet found idle.
    pub owned: usize,
}

/// Why a table cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The memory cannot be had.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// More buckets than [`BUCKETS_MAX`].
    TooManyBuckets {
        /// How many were asked for.
        buckets: usize,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory { bytes } => write!(f, "{bytes} bytes for the table cannot be had"),
            Self::TooManyBuckets { buckets } => write!(f, "{buckets} buckets, of which a table holds {BUCKETS_MAX}"),
        }
    }
}

impl std::error::Error for TableError {}

impl Table {
    /// A table whose cells take at most `memory` bytes, with one bucket for each of `specs`, in their order.
    ///
    /// Beside the cells, a table takes some 10 KiB and 256 bytes a bucket. Memory that was never used costs address space only.
    ///
    /// # Errors
    ///
    /// If the memory cannot be had, or there are more than [`BUCKETS_MAX`] buckets.
    pub fn new(memory: usize, specs: impl IntoIterator<Item = BucketSpec>) -> Result<Self, TableError> {
        let cells = Cells::with_memory(memory).ok_or(TableError::NoMemory { bytes: memory })?;
        let specs: Vec<_> = specs.into_iter().collect();
        if specs.len() > BUCKETS_MAX {
            return Err(TableError::TooManyBuckets { buckets: specs.len() });
        }
        let sharers = specs.iter().filter(|spec| spec.keyed).count();
        let (kept, common) = if sharers < 2 {
            (cells.count(), usize::MAX)
        } else {
            // Half is kept, in equal parts; the other half goes to whoever comes first.
            let shared = cells.count() / 8 * SHARED_FILL_EIGHTHS;
            (shared / 2 / sharers, shared / 2)
        };
        let buckets = specs
            .into_iter()
            .zip(1..)
            .map(|(spec, number)| Bucket::new(BucketId::from_number(number), &spec, kept))
            .collect();
        Ok(Self {
            cells,
            buckets,
            common: take::Common::new(common),
        })
    }

    /// The bucket of the spec at the same place; `None` for an id of another table.
    #[inline]
    pub fn bucket(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.get(id.index())
    }

    /// The buckets, in the order of their specs.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How full the table is. Counts kept at inserts, so this costs nothing on the way of requests.
    pub fn fill(&self) -> Fill {
        let owned = self.buckets.iter().map(Bucket::owned).sum();
        Fill {
            bytes: self.cells.count() * CELL_BYTES,
            cells: self.cells.count(),
            owned,
        }
    }

    /// Frees the idle cells among the next `cells` cells after those of the last call, and tells how many.
    ///
    /// Requests find idle cells by themselves where they look; this makes them found elsewhere too, so that counts and
    /// shares stay true. Takes no lock; about 10 ns a cell.
    pub fn clean(&self, cells: usize, now: Timestamp) -> usize {
        let mut freed = 0;
        self.cells
            .clean(cells.div_ceil(cells::GROUP), &At { table: self, now }, |bucket| {
                freed += 1;
                self.disown(bucket);
            });
        freed
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("fill", &self.fill())
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}

/// A table at one moment: tells how old any of its cells is.
struct At<'a> {
    table: &'a Table,
    now: Timestamp,
}

impl Ageing for At<'_> {
    #[inline]
    fn tick(&self, bucket: u16) -> Option<Tick> {
        let bucket = self.table.buckets.get(usize::from(bucket).checked_sub(1)?)?;
        Some(bucket.meter().tick(self.now))
    }
}

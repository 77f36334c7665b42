//! A bucket: what one or more rules draw from, with its limit, its overflow and its counts.

use std::num::NonZeroU16;

use sluicegate_core::Limit;
use sluicegate_core::algorithm::TokenBucket;

use crate::atomics::{AtomicU64, AtomicUsize, Ordering};

/// Most buckets of one table: the 12 bits that a cell's tag has for them, less the empty cell's.
pub const BUCKETS_MAX: usize = 4095;

/// A bucket's place in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(NonZeroU16);

impl BucketId {
    /// The bucket numbered from 1; the table has checked that there are at most [`BUCKETS_MAX`].
    pub(super) fn from_number(number: u16) -> Self {
        Self(NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN))
    }

    #[inline]
    pub(super) const fn number(self) -> u16 {
        self.0.get()
    }

    /// The bucket's index in its table, from 0.
    #[inline]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What a bucket is made from.
#[derive(Debug, Clone)]
pub struct BucketSpec {
    /// How much each key may draw.
    pub limit: Limit,
    /// Whether keys have cells of their own; without keys the bucket takes no share of the table.
    pub keyed: bool,
    /// What a key meets that finds no free cell.
    pub overflow: Overflow,
}

/// What a key meets that finds no free cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overflow {
    /// All such keys draw from one cell with this limit.
    Shared(Limit),
    /// Such requests are refused.
    Closed,
}

/// What one or more rules draw from.
///
/// Aligned so that no two buckets' counts share a cache line.
#[repr(align(128))]
pub struct Bucket {
    id: BucketId,
    meter: TokenBucket,
    overflow: Option<TokenBucket>,
    /// Cells that are this bucket's for the asking; beyond them it draws on the common ones.
    kept: usize,
    counts: Counts,
}

/// The bucket's own cells and counts, apart from what is only read.
#[repr(align(128))]
pub(super) struct Counts {
    /// The cell of [`super::Key::Whole`].
    pub(super) whole: AtomicU64,
    /// The cell that keys without a cell share.
    pub(super) overflow: AtomicU64,
    /// Cells that belong to keys of this bucket.
    owned: AtomicUsize,
    /// Requests that drew from the overflow cell or met it closed.
    overflowed: AtomicU64,
}

impl Bucket {
    pub(super) fn new(id: BucketId, spec: &BucketSpec, kept: usize) -> Self {
        Self {
            id,
            meter: TokenBucket::new(spec.limit),
            overflow: match spec.overflow {
                Overflow::Shared(limit) => Some(TokenBucket::new(limit)),
                Overflow::Closed => None,
            },
            kept: if spec.keyed { kept } else { 0 },
            counts: Counts {
                whole: AtomicU64::new(0),
                overflow: AtomicU64::new(0),
                owned: AtomicUsize::new(0),
                overflowed: AtomicU64::new(0),
            },
        }
    }

    /// The bucket's place in its table.
    pub const fn id(&self) -> BucketId {
        self.id
    }

    /// The limit, made ready to decide by.
    #[inline]
    pub const fn meter(&self) -> &TokenBucket {
        &self.meter
    }

    /// The limit of the overflow cell; `None` where the overflow is closed.
    pub const fn overflow_meter(&self) -> Option<&TokenBucket> {
        self.overflow.as_ref()
    }

    /// Cells that belong to keys of this bucket, live or not yet found idle.
    pub fn owned(&self) -> usize {
        self.counts.owned.load(Ordering::Relaxed)
    }

    /// Cells that this bucket can always have.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// Requests so far whose key found no free cell.
    pub fn overflowed(&self) -> u64 {
        self.counts.overflowed.load(Ordering::Relaxed)
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Counts {
    /// Adds a cell and tells how many there were before.
    pub(super) fn own(&self) -> usize {
        self.owned.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a cell away and tells how many there were before.
    pub(super) fn disown(&self) -> usize {
        self.owned.fetch_sub(1, Ordering::Relaxed)
    }

    pub(super) fn count_overflow(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("id", &self.id)
            .field("limit", self.meter.limit())
            .field("owned", &self.owned())
            .field("overflowed", &self.overflowed())
            .finish_non_exhaustive()
    }
}

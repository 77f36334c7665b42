//! What one node remembers: a table of cells whose size never changes, and the clock it is read by.
//!
//! ```text
//!  Charge { bucket, key, cost }  ──►  Table::take  ──►  Taken, Report
//!                                        │
//!             ┌──────────────────────────┼───────────────────────────┐
//!        Cells: 16 bytes a key      pinned cell (key: [])      overflow cell
//!        two candidate groups       one per bucket             one per bucket, for keys
//!        of eight cells each                                   that find no free cell
//! ```
//!
//! A hit is lock-free: two loads and one compare-and-swap. Only a key's first request takes a lock, one of 1 024 chosen
//! by the key. No cell that still limits someone is ever given to someone else: a flood of fresh keys finds no room and
//! draws from its rule's overflow cell instead. Nothing is swept, moved or rehashed on a request's path.
//!
//! Read on in this order: [`Clock`], [`Table`], [`Bucket`], [`Charge`].
#![forbid(unsafe_code)]

mod atomics;
mod clock;
pub mod leases;
pub mod snapshot;
pub mod store;
mod table;

pub use clock::{AnyClock, Clock, ManualClock, SystemClock, unix_nanos};
pub use table::{
    BUCKETS_MAX, Bucket, BucketId, BucketIdentity, BucketSpec, Charge, Fill, HOLDS_MAX, Hold, Holding, Key, Listing,
    Memory, Overflow, Place, Restored, SMALL_CELL_BYTES, Standing, Table, TableError, Taken, Takings, WIDE_CELL_BYTES,
    WhenRefused,
};

//! The snapshot file: what a node remembers, kept across a restart.
//!
//! ```text
//!  Header, records  ──►  write  ──►  draft beside the file  ──►  rename      all of it, or the file as it was
//!                                                                   │
//!  chunks of records  ◄──  Snapshot::for_each_chunk  ◄──  open  ◄───┘        all of it, or an error
//! ```
//!
//! A file is used whole or not at all. [`open`] reads all of it, checks every length, index and checksum, and only then
//! hands out a [`Snapshot`]; a second pass hands out the records. Both passes keep one chunk in memory, at most
//! [`CHUNK_BYTES_MAX`], whatever the file says of itself.
//!
//! This module knows files and bytes. What the words of a record mean, and how they are brought to another moment, is
//! known to the table; [`Header::age_ns`] says how much time has passed. The format is in `docs/snapshot.md`, byte by byte.
//!
//! Read on in this order: [`Header`], [`Tag`], [`write()`] and [`Writer`], [`open`] and [`Snapshot`], [`set_aside`].

mod chunk;
mod error;
mod file;
mod header;
mod layout;
mod reader;
mod writer;

pub use chunk::{Chunk, Log, Logs, OwnCell, OwnCells};
pub use error::{Damage, ReadError};
pub use file::{Durability, open, remove_leftovers, set_aside, write};
pub use header::{BUCKETS_MAX, Bucket, Fingerprint, Header, HeaderError, Identity, PARAMETERS_BYTES_MAX, Parameters};
pub use layout::{CHUNK_BYTES_MAX, LOG_ENTRIES_MAX, Own, Storage, Tag, VERSION, WRITTEN_BY_BYTES_MAX};
pub use reader::Snapshot;
pub use writer::{WriteError, Writer, Written};

//! What a limiter remembers, in a file: written beside the traffic, read before it.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use sluicegate_state::snapshot::{self, Durability, Fingerprint, Header, ReadError, WriteError, Written};
use sluicegate_state::{Clock as _, Listing};

use super::Limiter;

/// What came of a snapshot that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What became of its records.
    pub records: sluicegate_state::Restored,
    /// How long ago it was written, by the wall clock; zero if that went back.
    pub away: Duration,
}

/// A mark of how much has happened: of two that are equal, nothing was charged between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    generation: u32,
    /// Requests and questions so far.
    counted: u64,
    /// What is still open: it can be settled without a request.
    held: u64,
}

impl Limiter {
    /// Writes what is remembered to `path`, in the place of the file that may be there; see [`snapshot::write`].
    ///
    /// Runs beside the traffic, in the caller's thread, and takes some 20 ns for each key, more where the disk is slow. A policy that is to be
    /// put in force meanwhile waits for it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; the one that was there before stays.
    pub fn snapshot(&self, path: &Path, durability: Durability) -> Result<Written, WriteError> {
        // Cells that change their buckets would be missed, or written twice.
        let _no_other_policy = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let (table, clock) = (&self.shared.table, &self.shared.clock);
        let listing = table.listing();
        // In this order what passes between the two readings is counted as no time.
        let now = clock.now();
        let written_at = clock.unix_now();
        let header = header(self.shared.fingerprint, written_at, &listing);
        snapshot::write(path, &header, durability, |writer| {
            table.export(&listing, writer, now, clock)
        })
    }

    /// Reads back what [`Self::snapshot`] wrote, by this process or one before it, as far as the policy in force still asks for it;
    /// `None` if there is no file. To be called before the first decision.
    ///
    /// Debts are smaller by the time that has passed since by the wall clock. Permits that were held are free, and what was
    /// reserved counts as charged.
    ///
    /// # Errors
    ///
    /// If the file is not a whole snapshot written under this secret, or is larger than any that a table of four times this one's
    /// memory writes. Nothing is then restored, unless the file changed while it was read.
    pub fn restore(&self, path: &Path) -> Result<Option<Restored>, ReadError> {
        let (table, clock) = (&self.shared.table, &self.shared.clock);
        let bytes_max = BYTES_LEAST + BYTES_FACTOR * table.fill().bytes as u64;
        let Some(mut file) = snapshot::open(path, self.shared.fingerprint, bytes_max)? else {
            return Ok(None);
        };
        // In this order what passes between the two readings is counted as no time.
        let away = Duration::from_nanos(file.header().age_ns(clock.unix_now()));
        let records = table.restore(&mut file, clock.now(), away)?;
        Ok(Some(Restored { records, away }))
    }

    /// How much has happened so far, to compare with what is asked later.
    ///
    /// Reads all counters: some microseconds, more where a policy has many routes.
    pub fn change(&self) -> Change {
        let engine = self.engine.load();
        let requests = engine.metrics.requests().map(|count| count.count);
        let rules = engine.metrics.rules().map(|count| count.count);
        let held = engine.rules.iter().map(|rule| rule.bucket.held());
        Change {
            generation: engine.generation(),
            counted: requests.chain(rules).fold(0, u64::wrapping_add),
            held: held.fold(0, u64::wrapping_add),
        }
    }
}

fn header(fingerprint: Fingerprint, written_at_unix_ns: u64, listing: &Listing) -> Header {
    Header::new(fingerprint, written_at_unix_ns, WRITTEN_BY, listing.to_header())
        .expect("a listing has at most as many buckets as a header, each with an identity of its own")
}

/// Who wrote a file.
const WRITTEN_BY: &str = concat!("sluicegate ", env!("CARGO_PKG_VERSION"));

/// How many times this table's memory the one may have had that wrote a file: whoever divides the memory by more starts empty. A
/// record never takes more bytes than its cell.
const BYTES_FACTOR: u64 = 4;

/// What any file may have: its header, and the own cells of all buckets.
const BYTES_LEAST: u64 = 128 << 20;

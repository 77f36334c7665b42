//! A key's word as it was seen: enough to decide by and, if nobody is faster, to charge by one swap where it was found.

use super::bucket::{Bucket, MOVED};
use super::groups::Tag;
use super::small::{Cell, Swap};
use super::{Key, Table};
use crate::atomics::{AtomicU64, Ordering};

/// A key's word in its place.
#[derive(Clone, Copy)]
pub(super) struct Seen<'t> {
    place: Place<'t>,
    pub(super) state: u64,
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Cell(Cell<'t>, Tag),
    /// The bucket's own, which all share.
    Own(&'t AtomicU64),
}

impl Table {
    /// The key's word as it is found without a lock, for a bucket that keeps one word a key. `None` if the key has no cell, or
    /// what it has is changing its owner.
    #[inline]
    pub(super) fn see<'t>(&'t self, bucket: &'t Bucket, key: Key) -> Option<Seen<'t>> {
        match key {
            Key::Hash(hash) => {
                let spot = bucket.spot(hash);
                let cell = self.small.find_cell(spot)?;
                Some(Seen {
                    state: cell.read(spot.tag)?,
                    place: Place::Cell(cell, spot.tag),
                })
            }
            Key::Whole => {
                let word = bucket.own.whole.small();
                // Acquire, as wherever a bucket's own word is read: who sees it moved sees what the successor's was given.
                let state = word.load(Ordering::Acquire);
                (state != MOVED).then_some(Seen {
                    state,
                    place: Place::Own(word),
                })
            }
        }
    }
}

impl Seen<'_> {
    /// Puts `after` in the place of what was seen. `false` if somebody else was faster, and then nothing has changed. For
    /// `counts`, see [`Cell::swap_of`].
    #[inline]
    pub(super) fn swap(self, after: u64, counts: bool) -> bool {
        if after == self.state {
            return true;
        }
        match self.place {
            Place::Cell(cell, tag) => matches!(cell.swap_of(tag, self.state, after, counts), Swap::Done),
            // Relaxed: the word is all that is shared.
            Place::Own(word) => word
                .compare_exchange(self.state, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok(),
        }
    }
}

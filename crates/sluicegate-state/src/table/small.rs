//! Small cells, of two words: the tag (whose cell it is) and the state, one word of an algorithm that needs no more.
//!
//! Because no instruction that safe code has changes both at once, the order is everything:
//!
//! * Whoever *charges* a cell reads the tag, then the state, then the tag again, and swaps the state only from what was
//!   read. If the tag still stood after the state was read, the state was this key's.
//! * Whoever *takes over* an idle cell first swaps its state for [`CLAIMED`], from a state that was idle: from then on
//!   nobody can charge it. Then it writes the tag, then the new state. A bucket that takes the place of another takes over its live
//!   cells in the same way.
//! * A key's cell is made only under the stripe lock of its tag, after both groups were searched: so there is never a
//!   second one.
//!
//! A thread may read a cell's tag and state and then be suspended; meanwhile the cell goes idle, is taken over, and the new
//! owner's state comes to equal what was read. Of permits, whose states are a few small numbers, and of queues, which go back to what
//! they were when somebody leaves, that must be expected: so whoever changes one looks at the tag once more, and takes the change
//! back if it met another's state. A cell that is freed has a state that no key ever has.
//!
//! Of token buckets it is left to chance. Within one bucket it cannot be (a later owner's TAT is later than an idle one);
//! across buckets, whose ticks differ, it takes a coincidence of 1 in 10¹⁸ in the nanoseconds of a suspended swap, and would
//! charge one request to the wrong key once.

use sluicegate_core::Timestamp;

use super::groups::{Groups, Spot, Tag};
use super::slots::Slots;
use crate::atomics::{AtomicU64, Backoff, MutexGuard, Ordering};

/// Words of one cell: tag and state.
const WORDS: usize = 2;

/// The state of a cell that is changing its owner. No algorithm's state reaches it: those stay below 2⁶³.
const CLAIMED: u64 = u64::MAX;

/// The state of a cell that is nobody's, once it has been somebody's: whoever read zero while it was their key's does not
/// take it for that.
const FREED: u64 = u64::MAX - 1;

/// All small cells.
pub(super) type SmallCells = Groups<WORDS>;

/// One cell in place.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    words: &'a [AtomicU64; WORDS],
}

/// What became of an attempt to change a cell.
pub(super) enum Swap {
    Done,
    /// Somebody else was faster.
    Lost,
}

impl<'a> Cell<'a> {
    fn tag(self) -> &'a AtomicU64 {
        &self.words[0]
    }

    fn state(self) -> &'a AtomicU64 {
        &self.words[1]
    }

    /// The state, if the cell is `tag`'s and not changing its owner.
    #[inline]
    pub(super) fn read(self, tag: Tag) -> Option<u64> {
        // Acquire pairs with the release of a new owner's state in `Slot::give`: who sees that state sees the new tag below.
        let state = self.state().load(Ordering::Acquire);
        self.own(tag, state)
    }

    /// Puts `new` in the place of `old`. If somebody else was faster, what [`Self::read`] would say now: another reading would ask for
    /// the cache line once more, and lose it again to whoever else wants it.
    #[inline]
    pub(super) fn swap(self, tag: Tag, old: u64, new: u64) -> Result<(), Option<u64>> {
        // Relaxed suffices: the state is all that is handed over, and the tag was checked against `old`. Acquire on failure, as in
        // `read`.
        match self
            .state()
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Acquire)
        {
            Ok(_) => Ok(()),
            Err(state) => Err(self.own(tag, state)),
        }
    }

    /// A state that was read, if the cell is `tag`'s and was not changing its owner.
    #[inline]
    fn own(self, tag: Tag, state: u64) -> Option<u64> {
        (state != CLAIMED && self.tag().load(Ordering::Relaxed) == tag.0).then_some(state)
    }

    /// As [`Self::swap`], for algorithms whose states come back: the same few permits are held again and again, and a place in a queue
    /// that is given back leaves what was there before. So the cell may have gone to another key meanwhile and have come to
    /// the state that was read. A charge that met another key's is taken back, as one that was lost.
    ///
    /// A charge keeps the cell from going to anyone else while the tag is looked at. What gives back has no need to look, and must not:
    /// as long as something is held the cell is its key's, and right afterwards it may be anyone's.
    ///
    /// `counts` says that the state is a number of permits: those that were added by mistake can be taken out from under
    /// others. Elsewhere, who was charged since keeps what was said to them.
    #[inline]
    pub(super) fn swap_of(self, tag: Tag, old: u64, new: u64, counts: bool) -> Swap {
        // Acquire pairs with the release of a new owner's state in `Claimed::give`, of which `old` may be a later one: the tag
        // below is then the new owner's.
        let swapped = self
            .state()
            .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed);
        match swapped {
            Err(_) => Swap::Lost,
            Ok(_) if new < old || self.tag().load(Ordering::Relaxed) == tag.0 => Swap::Done,
            Ok(_) => {
                self.take_back(old, new, counts);
                Swap::Lost
            }
        }
    }

    #[cold]
    fn take_back(self, old: u64, new: u64, counts: bool) {
        let mut backoff = Backoff::new();
        let (mut seen, mut back) = (new, old);
        while let Err(other) = self
            .state()
            .compare_exchange(seen, back, Ordering::Relaxed, Ordering::Relaxed)
        {
            if !counts || other == FREED {
                return;
            }
            if other == CLAIMED {
                // It goes to its bucket's successor, with what it has.
                backoff.wait();
                continue;
            }
            (seen, back) = (other, other.saturating_sub(new.saturating_sub(old)));
        }
    }
}

/// What a search for a key's cell under its stripe lock found.
pub(super) enum Found<'a> {
    /// The key has a cell.
    Cell(Cell<'a>),
    /// It has none, but this one is free; it belonged to the bucket numbered `from`, or to none (0).
    Free { claimed: Claimed<'a>, from: u16 },
    /// Every cell in both groups still limits someone.
    Full,
}

/// A cell that nobody can charge until it is given to a key.
pub(super) struct Claimed<'a> {
    cell: Cell<'a>,
}

impl Claimed<'_> {
    /// Gives the cell to a key, with its first state.
    pub(super) fn give(self, tag: Tag, state: u64) {
        self.cell.tag().store(tag.0, Ordering::Release);
        // Release: who reads this state also sees the tag above.
        self.cell.state().store(state, Ordering::Release);
    }

    /// Gives the cell to nobody.
    pub(super) fn free(self) {
        self.give(Tag::EMPTY, FREED);
    }
}

/// Tells idle cells from live ones, whichever bucket they belong to.
#[derive(Clone, Copy)]
pub(super) struct Ageing<'a> {
    pub(super) slots: &'a Slots,
    pub(super) now: Timestamp,
}

impl Ageing<'_> {
    /// For how long a cell has been idle, in its bucket's ticks, which are close to nanoseconds in all of them; `u64::MAX` if it
    /// is empty. `None` while it limits someone or changes its owner.
    fn idle_for(self, tag: Tag, state: u64) -> Option<u64> {
        if state == CLAIMED {
            return None;
        }
        match self.slots.tick(tag.bucket(), self.now) {
            Some(now) => now.as_u64().checked_sub(state),
            None => Some(u64::MAX),
        }
    }

    fn look(self, words: &[AtomicU64; WORDS]) -> Option<u64> {
        let tag = Tag(words[0].load(Ordering::Relaxed));
        self.idle_for(tag, words[1].load(Ordering::Relaxed))
    }
}

impl SmallCells {
    /// The key's cell, without a lock.
    #[inline]
    pub(super) fn find_cell(&self, spot: Spot) -> Option<Cell<'_>> {
        self.find(spot).map(|words| Cell { words })
    }

    /// The key's cell, or a free one for it. Requires the key's stripe lock, `_held`.
    pub(super) fn find_or_claim(&self, spot: Spot, ageing: Ageing<'_>, held: &MutexGuard<'_, ()>) -> Found<'_> {
        loop {
            if let Some((cell, _)) = self.find_settled(spot, held) {
                return Found::Cell(cell);
            }
            let Some(words) = self.choose(spot, |words| ageing.look(words)) else {
                return Found::Full;
            };
            if let Some((claimed, from)) = claim(Cell { words }, ageing) {
                return Found::Free { claimed, from };
            }
            // Another key was faster; look again.
        }
    }

    /// The key's cell and its state, once it is not changing its owner. Requires the key's stripe lock.
    pub(super) fn find_settled(&self, spot: Spot, _held: &MutexGuard<'_, ()>) -> Option<(Cell<'_>, u64)> {
        let mut backoff = Backoff::new();
        loop {
            let cell = self.find_cell(spot)?;
            if let Some(state) = cell.read(spot.tag) {
                return Some((cell, state));
            }
            // Another key, or the cleaner, is taking this cell over, since ours lay idle, or is about to put it
            // back. Whoever it is waits for nothing, so this ends; until then neither answer would be right.
            backoff.wait();
        }
    }

    /// Takes the key's cell away from it, live or not, with its state. Requires the key's stripe lock.
    pub(super) fn seize(&self, spot: Spot, held: &MutexGuard<'_, ()>) -> Option<(Claimed<'_>, u64)> {
        loop {
            let (cell, state) = self.find_settled(spot, held)?;
            // Acquire, as in `claim`: the tag that is checked below was this state's.
            if cell
                .state()
                .compare_exchange(state, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            if cell.tag().load(Ordering::Relaxed) == spot.tag.0 {
                return Some((Claimed { cell }, state));
            }
            cell.state().store(state, Ordering::Release);
        }
    }

    /// Frees the idle cells of the next `groups` groups after those of the last call, and tells `freed` the number of
    /// each one's bucket. Takes no lock and stops nobody.
    pub(super) fn clean(&self, groups: usize, ageing: Ageing<'_>, mut freed: impl FnMut(u16)) {
        for words in self.next(groups).flatten() {
            if words[0].load(Ordering::Relaxed) != Tag::EMPTY.0
                && let Some((claimed, from)) = claim(Cell { words }, ageing)
            {
                claimed.free();
                freed(from);
            }
        }
    }

    /// The tags and states of one group's cells that belong to somebody, once they are not changing their owner.
    pub(super) fn states(&self, group: usize) -> impl Iterator<Item = (Tag, u64)> {
        self.group(group).iter().filter_map(|words| {
            let mut backoff = Backoff::new();
            loop {
                let tag = Tag(words[0].load(Ordering::Acquire));
                if tag == Tag::EMPTY {
                    return None;
                }
                if let Some(state) = (Cell { words }).read(tag) {
                    return Some((tag, state));
                }
                // Whoever is at it may as well leave it as it was.
                backoff.wait();
            }
        })
    }
}

/// Takes an idle cell away from its owner, if it is still idle; with it, the number of the bucket it belonged to.
fn claim<'a>(cell: Cell<'a>, ageing: Ageing<'_>) -> Option<(Claimed<'a>, u16)> {
    let tag = Tag(cell.tag().load(Ordering::Relaxed));
    // Acquire, as in `Cell::read`: the tag that is checked below is the one this state was written for.
    let state = cell.state().load(Ordering::Acquire);
    ageing.idle_for(tag, state)?;
    // Acquire: the check of the tag below must not move up. Relaxed on failure: nothing was learnt.
    cell.state()
        .compare_exchange(state, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
        .ok()?;
    // From here on only this thread changes the cell. Was it, before, this tag's state that lay idle?
    if cell.tag().load(Ordering::Relaxed) == tag.0 {
        return Some((Claimed { cell }, tag.bucket()));
    }
    // It changed its owner between the two reads, and the new owner's state only looks like the idle one.
    cell.state().store(state, Ordering::Release);
    None
}

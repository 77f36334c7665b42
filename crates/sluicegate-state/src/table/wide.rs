//! Wide cells, of four words: the tag, and three words of state for algorithms that need them.
//!
//! The first word of the state is the time, in nanoseconds since the clock's start, from which the state says the same as none
//! at all. So any cell's age can be told without knowing whose it is. Its highest bit is the cell's own lock: whoever sets it
//! reads and changes the other words, tag included, and clears it with the store of the new first word. The lock is held for a few
//! dozen instructions that cannot fail; whoever meets it spins.
//!
//! As with small cells, a key's cell is made only under the stripe lock of its tag, after both groups were searched.

use sluicegate_core::Timestamp;

use super::groups::{Groups, Spot, Tag};
use crate::atomics::{AtomicU64, Backoff, MutexGuard, Ordering};

/// Words of one cell: the tag, and the state.
const WORDS: usize = 4;

/// The lock, in the first word of the state. No time reaches it: those stay below 2⁶³.
const LOCKED: u64 = 1 << 63;

/// What an algorithm keeps in a wide cell.
pub(super) type State = [u64; 3];

/// All wide cells.
pub(super) type WideCells = Groups<WORDS>;

/// One cell in place.
#[derive(Clone, Copy)]
pub(super) struct WideCell<'a> {
    words: &'a [AtomicU64; WORDS],
}

/// A cell that nobody else can read or change until this is dropped.
pub(super) struct Held<'a> {
    cell: WideCell<'a>,
    state: State,
}

impl<'a> WideCell<'a> {
    pub(super) const fn at(words: &'a [AtomicU64; WORDS]) -> Self {
        Self { words }
    }

    /// Locks the cell, whosever it is.
    pub(super) fn hold(self) -> Held<'a> {
        let mut backoff = Backoff::new();
        loop {
            let first = self.words[1].load(Ordering::Relaxed);
            if let Some(held) = self.try_hold(first) {
                return held;
            }
            backoff.wait();
        }
    }

    /// Locks the cell if its first word is still `first` and nobody holds it.
    fn try_hold(self, first: u64) -> Option<Held<'a>> {
        if first & LOCKED != 0 {
            return None;
        }
        // Acquire pairs with the release in `Held::drop`: the other words are those that the last holder left.
        self.words[1]
            .compare_exchange(first, first | LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        let state = [
            first,
            self.words[2].load(Ordering::Relaxed),
            self.words[3].load(Ordering::Relaxed),
        ];
        Some(Held { cell: self, state })
    }
}

impl Held<'_> {
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Keeps a new state.
    pub(super) fn set(&mut self, state: State) {
        debug_assert!(state[0] & LOCKED == 0, "an idle time beyond 2⁶³ ns");
        self.state = state;
    }

    pub(super) fn tag(&self) -> Tag {
        Tag(self.cell.words[0].load(Ordering::Relaxed))
    }

    /// Gives the cell to a key, with its first state.
    pub(super) fn give(mut self, tag: Tag, state: State) {
        self.set(state);
        // Release: who finds the tag and then takes the lock sees a state at least as new; the lock's own release does the rest.
        self.cell.words[0].store(tag.0, Ordering::Release);
    }

    /// Gives the cell to nobody.
    pub(super) fn free(self) {
        self.give(Tag::EMPTY, [0; 3]);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let [first, second, third] = self.state;
        self.cell.words[2].store(second, Ordering::Relaxed);
        self.cell.words[3].store(third, Ordering::Relaxed);
        // Release pairs with the acquire in `try_hold`.
        self.cell.words[1].store(first & !LOCKED, Ordering::Release);
    }
}

/// What a search for a key's cell under its stripe lock found.
pub(super) enum WideFound<'a> {
    /// The key has a cell.
    Cell(Held<'a>),
    /// It has none, but this one is free. Its tag tells whose it was, its state what that left behind.
    Free(Held<'a>),
    /// Every cell in both groups still limits someone.
    Full,
}

impl WideCells {
    /// The key's cell, locked.
    pub(super) fn find_held(&self, spot: Spot) -> Option<Held<'_>> {
        let words = self.find(spot)?;
        let held = WideCell { words }.hold();
        // It may have changed its owner before it was locked.
        (held.tag() == spot.tag).then_some(held)
    }

    /// The key's cell, or a free one for it. Requires the key's stripe lock, `_held`.
    pub(super) fn find_or_claim(&self, spot: Spot, now: Timestamp, _held: &MutexGuard<'_, ()>) -> WideFound<'_> {
        loop {
            if let Some(cell) = self.find_held(spot) {
                return WideFound::Cell(cell);
            }
            let Some(words) = self.choose(spot, |words| idle_for(words, now)) else {
                return WideFound::Full;
            };
            if let Some(cell) = claim(WideCell { words }, now) {
                return WideFound::Free(cell);
            }
            // Another key was faster; look again.
        }
    }

    /// Hands the idle cells of the next `groups` groups after those of the last call to `free`, which has to free them.
    pub(super) fn clean(&self, groups: usize, now: Timestamp, mut free: impl FnMut(Held<'_>)) {
        for words in self.next(groups).flatten() {
            if words[0].load(Ordering::Relaxed) != Tag::EMPTY.0
                && let Some(held) = claim(WideCell { words }, now)
            {
                free(held);
            }
        }
    }

    /// The cells of one group that limited somebody at `now`, when they were looked at; they may be somebody else's by the time they are
    /// held.
    pub(super) fn live(&self, group: usize, now: Timestamp) -> impl Iterator<Item = WideCell<'_>> {
        let live = self
            .group(group)
            .iter()
            .filter(move |words| idle_for(words, now).is_none());
        live.map(|words| WideCell { words })
    }

    /// Whose the cells of one group are, of those that are somebody's.
    pub(super) fn tags(&self, group: usize) -> impl Iterator<Item = Tag> {
        let tags = self
            .group(group)
            .iter()
            .map(|words| Tag(words[0].load(Ordering::Relaxed)));
        tags.filter(|tag| *tag != Tag::EMPTY)
    }
}

/// For how many nanoseconds a cell has been idle, `u64::MAX` if it is empty. `None` while it limits someone or is locked.
fn idle_for(words: &[AtomicU64; WORDS], now: Timestamp) -> Option<u64> {
    if words[0].load(Ordering::Relaxed) == Tag::EMPTY.0 {
        return Some(u64::MAX);
    }
    // A locked cell reads as one that never goes idle.
    now.as_nanos().checked_sub(words[1].load(Ordering::Relaxed))
}

/// Locks a cell that is idle; `None` if it is not, or somebody holds it.
fn claim(cell: WideCell<'_>, now: Timestamp) -> Option<Held<'_>> {
    let first = cell.words[1].load(Ordering::Relaxed);
    // What is swapped is what was found idle, so whoever succeeds holds an idle cell.
    if first > now.as_nanos() {
        return None;
    }
    cell.try_hold(first)
}

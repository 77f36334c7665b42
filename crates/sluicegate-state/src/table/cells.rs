//! The cells: fixed memory, two candidate groups a key, and the one protocol by which a cell changes its owner.
//!
//! A cell is two words, the tag (whose cell it is) and the state (a TAT). Because no instruction that safe code has
//! changes both at once, the order is everything:
//!
//! * Whoever *charges* a cell reads the tag, then the state, then the tag again, and swaps the state only from what was
//!   read. If the tag still stood after the state was read, the state was this key's.
//! * Whoever *takes over* an idle cell first swaps its state for [`CLAIMED`], from a state that was idle: from then on
//!   nobody can charge it. Then it writes the tag, then the new state.
//! * A key's cell is made only under the stripe lock of its tag, after both groups were searched: so there is never a
//!   second one.
//!
//! One case is left to chance. A thread reads a cell's tag and state and is then suspended; meanwhile the cell goes idle, is
//! taken over, and the new owner's TAT comes to equal, to the nanosecond, what was read. Within one bucket that cannot be (a
//! later owner's TAT is later than an idle one); across buckets, whose ticks differ, it takes a coincidence of 1 in 10¹⁸ in
//! the nanoseconds of a suspended swap, and would charge one request to the wrong key once.

use sluicegate_core::KeyHash;
use sluicegate_core::algorithm::{Tat, Tick};

use crate::atomics::{AtomicU64, AtomicUsize, Backoff, Mutex, MutexGuard, Ordering, lock, zeroed};

/// Bytes of one cell: tag and state.
pub const CELL_BYTES: usize = 16;

/// Cells in a group. Eight make two cache lines, which processors fetch as a pair; with two candidate groups a key the
/// table then first overflows at two thirds fill, with groups of four already below 40 %.
#[cfg(not(loom))]
pub(super) const GROUP: usize = 8;
#[cfg(loom)]
pub(super) const GROUP: usize = 2;

/// Words in a group.
const WORDS: usize = 2 * GROUP;

/// The state of a cell that is changing its owner. No TAT reaches it: those stay below 2⁶³.
const CLAIMED: u64 = u64::MAX;

/// Free cells that a key's first group must have for the key to go there; with fewer it goes to the emptier of the two.
/// At half fill nearly all keys are then found in their first group, and the fill at the first overflow is within 1 % of always choosing the emptier.
const FIRST_GROUP_FREE_MIN: usize = GROUP / 2;

/// Locks for making cells. Many more than cores, so that two first requests rarely meet; few enough to cost 8 KiB.
#[cfg(not(loom))]
const STRIPES: usize = 1024;
#[cfg(loom)]
const STRIPES: usize = 2;

/// Whose cell it is: the bucket in the high 12 bits, 52 bits of the key's hash below.
///
/// Two keys of one bucket with the same 52 bits share a cell. Among 10 million keys the odds that any two meet are about 1 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    const HASH_BITS: u32 = 52;

    /// The tag of a key in the bucket numbered `bucket`, 1 to 4095: zero is the empty cell's.
    #[inline]
    pub(super) fn new(bucket: u16, key: KeyHash) -> Self {
        Self((u64::from(bucket) << Self::HASH_BITS) | (key.as_u64() >> (64 - Self::HASH_BITS)))
    }

    /// The number of the bucket, from 1.
    fn bucket(self) -> u16 {
        // No truncation: the shift leaves 12 bits.
        (self.0 >> Self::HASH_BITS) as u16
    }

    /// 64 well mixed bits of the tag, so that one client's cells in several buckets lie apart.
    #[inline]
    fn mix(self) -> u64 {
        let (low, high) = self.0.carrying_mul(0x9FB2_1C65_1E98_DF25, 0);
        low ^ high
    }
}

/// Tells idle cells from live ones, whichever bucket they belong to.
pub(super) trait Ageing {
    /// The time now, in the ticks of the bucket numbered `bucket`; `None` for one that is not there (any more).
    fn tick(&self, bucket: u16) -> Option<Tick>;
}

/// One cell in place.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    tag: &'a AtomicU64,
    state: &'a AtomicU64,
}

/// What became of an attempt to change a cell.
pub(super) enum Swap {
    Done,
    /// Somebody else was faster: read again.
    Lost,
}

impl Cell<'_> {
    /// The state, if the cell is `tag`'s and not changing its owner.
    #[inline]
    pub(super) fn read(&self, tag: Tag) -> Option<Tat> {
        // Acquire pairs with the release of a new owner's state in `claim`: who sees that state sees the new tag below.
        let state = self.state.load(Ordering::Acquire);
        if state == CLAIMED || self.tag.load(Ordering::Relaxed) != tag.0 {
            return None;
        }
        Some(Tat::from_u64(state))
    }

    /// Puts `new` in the place of `old`.
    #[inline]
    pub(super) fn swap(&self, old: Tat, new: Tat) -> Swap {
        // Relaxed suffices: the state is all that is handed over, and the tag was checked against `old`.
        match self
            .state
            .compare_exchange(old.as_u64(), new.as_u64(), Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => Swap::Done,
            Err(_) => Swap::Lost,
        }
    }
}

/// What a search for a key's cell under its stripe lock found.
pub(super) enum Found<'a> {
    /// The key has a cell.
    Cell(Cell<'a>),
    /// It has none, but this one is free; it belonged to the bucket numbered `from`, or to none (0).
    Free { slot: Slot<'a>, from: u16 },
    /// Every cell in both groups still limits someone.
    Full,
}

/// A cell that nobody can charge until it is given to a key.
pub(super) struct Slot<'a> {
    cell: Cell<'a>,
}

impl Slot<'_> {
    /// Gives the cell to a key, with its first state.
    pub(super) fn give(self, tag: Tag, state: Tat) {
        self.cell.tag.store(tag.0, Ordering::Release);
        // Release: who reads this state also sees the tag above.
        self.cell.state.store(state.as_u64(), Ordering::Release);
    }

    /// Gives the cell to nobody.
    pub(super) fn free(self) {
        self.give(Tag(0), Tat::UNSEEN);
    }
}

pub(super) struct Cells {
    words: Box<[AtomicU64]>,
    /// First word of the first group: the memory from the system need not begin on a line's boundary.
    offset: usize,
    groups: usize,
    stripes: Box<[Mutex<()>]>,
    /// Where the cleaner goes on.
    cursor: AtomicUsize,
}

impl Cells {
    /// As many whole groups as fit into `bytes`, at least one; `None` if the memory cannot be had.
    pub(super) fn with_memory(bytes: usize) -> Option<Self> {
        let groups = (bytes / (WORDS * 8)).max(1);
        // One group more, to begin on a boundary of 128 bytes.
        let words = zeroed(groups.checked_add(1)?.checked_mul(WORDS)?)?;
        let misaligned = words.as_ptr().addr() % (WORDS * 8);
        let offset = if misaligned == 0 {
            0
        } else {
            (WORDS * 8 - misaligned) / 8
        };
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Some(Self {
            words,
            offset,
            groups,
            stripes,
            cursor: AtomicUsize::new(0),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.groups * GROUP
    }

    #[inline]
    fn group(&self, index: usize) -> &[AtomicU64; WORDS] {
        let start = self.offset + index * WORDS;
        self.words[start..]
            .first_chunk()
            .expect("an index below the number of groups lies within the words")
    }

    /// The group that a number of 64 even bits falls to.
    #[inline]
    fn place(&self, bits: u64) -> usize {
        let (_, place) = bits.carrying_mul(self.groups as u64, 0);
        #[expect(clippy::cast_possible_truncation, reason = "below `groups`, a usize")]
        let place = place as usize;
        place
    }

    /// The key's other candidate group.
    #[inline]
    fn second(&self, mixed: u64, first: usize) -> usize {
        let second = self.place(mixed.rotate_left(32));
        // Where both are the same, the neighbour stands in, so that no key has fewer cells to go to.
        if second != first {
            second
        } else if first + 1 < self.groups {
            first + 1
        } else {
            0
        }
    }

    /// The key's cell, without a lock. `None` may also mean that the cell is changing its owner this very moment.
    ///
    /// The second group is not fetched ahead: most keys are in their first, and on a large table a load that nobody waits for
    /// still holds up the swap, which waits for all loads before it.
    #[inline]
    pub(super) fn find(&self, tag: Tag) -> Option<Cell<'_>> {
        let mixed = tag.mix();
        let first = self.place(mixed);
        search(self.group(first), tag).or_else(|| search(self.group(self.second(mixed, first)), tag))
    }

    /// The lock under which this key's cell is made.
    pub(super) fn stripe(&self, tag: Tag) -> MutexGuard<'_, ()> {
        // Even bits of the hash; the groups are chosen by mixed ones.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 1 024")]
        let stripe = (tag.0 % STRIPES as u64) as usize;
        lock(&self.stripes[stripe])
    }

    /// The key's cell, or a free one for it. Requires the key's stripe lock, `_held`.
    pub(super) fn find_or_claim(&self, tag: Tag, ageing: &impl Ageing, _held: &MutexGuard<'_, ()>) -> Found<'_> {
        let mut backoff = Backoff::new();
        loop {
            if let Some(cell) = self.find(tag) {
                if cell.read(tag).is_some() {
                    return Found::Cell(cell);
                }
                // Another key, or the cleaner, is taking this cell over, since ours lay idle, or is about to put it
                // back. Whoever it is waits for nothing, so this ends; until then neither answer would be right.
                backoff.wait();
                continue;
            }
            let Some(cell) = self.choose(tag, ageing) else {
                return Found::Full;
            };
            if let Some((slot, from)) = claim(cell, ageing) {
                return Found::Free { slot, from };
            }
            // Another key was faster; look again.
        }
    }

    /// The TAT of the key's cell, once it is not changing its owner. Requires the key's stripe lock.
    pub(super) fn find_settled(&self, tag: Tag, _held: &MutexGuard<'_, ()>) -> Option<Tat> {
        let mut backoff = Backoff::new();
        loop {
            let cell = self.find(tag)?;
            if let Some(tat) = cell.read(tag) {
                return Some(tat);
            }
            backoff.wait();
        }
    }

    /// A free cell in the key's groups: in the first if it has room to spare, else in the emptier one.
    ///
    /// An empty cell goes before an idle one, and among idle ones the longest idle: its key may well come back, and
    /// finding a cell is cheaper than making one.
    fn choose(&self, tag: Tag, ageing: &impl Ageing) -> Option<Cell<'_>> {
        let mixed = tag.mix();
        let place = self.place(mixed);
        let first = room(self.group(place), ageing);
        if first.free >= FIRST_GROUP_FREE_MIN && first.has_empty {
            return first.best;
        }
        let second = room(self.group(self.second(mixed, place)), ageing);
        let first_is_better = match (first.has_empty, second.has_empty) {
            (true, false) => true,
            (false, true) => false,
            _ => first.free >= second.free,
        };
        if first_is_better { first.best } else { second.best }
    }

    /// Frees the idle cells of the next `groups` groups after those of the last call, and tells `freed` the number of
    /// each one's bucket. Takes no lock and stops nobody.
    pub(super) fn clean(&self, groups: usize, ageing: &impl Ageing, mut freed: impl FnMut(u16)) {
        let groups = groups.min(self.groups);
        let start = self.cursor.fetch_add(groups, Ordering::Relaxed);
        for step in 0..groups {
            for cell in cells(self.group(start.wrapping_add(step) % self.groups)) {
                if cell.tag.load(Ordering::Relaxed) != 0
                    && let Some((slot, from)) = claim(cell, ageing)
                {
                    slot.free();
                    freed(from);
                }
            }
        }
    }
}

fn cells(group: &[AtomicU64; WORDS]) -> impl Iterator<Item = Cell<'_>> {
    group.as_chunks::<2>().0.iter().map(|[tag, state]| Cell { tag, state })
}

#[inline]
fn search(group: &[AtomicU64; WORDS], tag: Tag) -> Option<Cell<'_>> {
    // Acquire pairs with the release of the tag in `Slot::give`: who sees the new tag no longer sees the former owner's
    // state.
    cells(group).find(|cell| cell.tag.load(Ordering::Acquire) == tag.0)
}

/// How much room a group has.
struct Room<'a> {
    /// Empty and idle cells.
    free: usize,
    has_empty: bool,
    /// An empty cell, else the longest idle one.
    best: Option<Cell<'a>>,
}

fn room<'a>(group: &'a [AtomicU64; WORDS], ageing: &impl Ageing) -> Room<'a> {
    let mut room = Room {
        free: 0,
        has_empty: false,
        best: None,
    };
    let mut longest = 0;
    for cell in cells(group) {
        let tag = Tag(cell.tag.load(Ordering::Relaxed));
        let Some(idle) = idle_for(tag, cell.state.load(Ordering::Relaxed), ageing) else {
            continue;
        };
        room.free += 1;
        room.has_empty |= tag.0 == 0;
        if room.best.is_none() || idle > longest {
            (room.best, longest) = (Some(cell), idle);
        }
    }
    room
}

/// For how long a cell has been idle, in its bucket's ticks, which are close to nanoseconds in all of them; `u64::MAX` if it
/// is empty. `None` while it limits someone or changes its owner.
fn idle_for(tag: Tag, state: u64, ageing: &impl Ageing) -> Option<u64> {
    if state == CLAIMED {
        return None;
    }
    match ageing.tick(tag.bucket()) {
        Some(now) => now.as_u64().checked_sub(state),
        // Empty, or a bucket's that is gone.
        None => Some(u64::MAX),
    }
}

/// Takes an idle cell away from its owner, if it is still idle; with it, the number of the bucket it belonged to.
fn claim<'a>(cell: Cell<'a>, ageing: &impl Ageing) -> Option<(Slot<'a>, u16)> {
    let tag = Tag(cell.tag.load(Ordering::Relaxed));
    // Acquire, as in `Cell::read`: the tag that is checked below is the one this state was written for.
    let state = cell.state.load(Ordering::Acquire);
    idle_for(tag, state, ageing)?;
    // Acquire: the check of the tag below must not move up. Relaxed on failure: nothing was learnt.
    cell.state
        .compare_exchange(state, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
        .ok()?;
    // From here on only this thread changes the cell. Was it, before, this tag's state that lay idle?
    if cell.tag.load(Ordering::Relaxed) == tag.0 {
        return Some((Slot { cell }, tag.bucket()));
    }
    // It changed its owner between the two reads, and the new owner's state only looks like the idle one.
    cell.state.store(state, Ordering::Release);
    None
}

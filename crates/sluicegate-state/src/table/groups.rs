//! Where a key's cell may lie: fixed memory in groups of eight cells, two candidate groups a key, and the locks under
//! which cells are made. What a cell holds, and how it changes its owner, is told by `small` and `wide`.

use crate::atomics::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, lock, zeroed};

/// Cells in a group. Eight small ones make two cache lines, which processors fetch as a pair; with two candidate groups a key
/// the table then first overflows at two thirds fill, with groups of four already below 40 %.
#[cfg(not(loom))]
pub(super) const GROUP: usize = 8;
#[cfg(loom)]
pub(super) const GROUP: usize = 2;

/// Free cells that a key's first group must have for the key to go there; with fewer it goes to the emptier of the two.
/// At half fill nearly all keys are then found in their first group, and the fill at the first overflow is within 1 % of always
/// choosing the emptier.
pub(super) const FIRST_GROUP_FREE_MIN: usize = GROUP / 2;

/// Words in a cache line of nearly all processors.
const LINE_WORDS: usize = 8;

/// Locks for making cells. Many more than cores, so that two first requests rarely meet; few enough to cost 8 KiB.
#[cfg(not(loom))]
pub(super) const STRIPES: usize = 1024;
#[cfg(loom)]
pub(super) const STRIPES: usize = 2;

/// Whose cell it is: the bucket's number in the high 12 bits, 52 bits of the key's hash below.
///
/// Two keys of one bucket with the same 52 bits share a cell. Among 10 million keys the odds that any two meet are about 1 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u64);

impl Tag {
    const HASH_BITS: u32 = 52;

    /// Nobody's.
    pub(super) const EMPTY: Self = Self(0);

    /// The tag of a key, by the 52 high bits of its hash, in the bucket numbered `bucket`, 1 to 4095: zero is the empty cell's.
    #[inline]
    pub(super) const fn from_parts(bucket: u16, hash: u64) -> Self {
        Self(((bucket as u64) << Self::HASH_BITS) | hash)
    }

    /// The number of the bucket, from 1.
    #[inline]
    pub(super) const fn bucket(self) -> u16 {
        // No truncation: the shift leaves 12 bits.
        (self.0 >> Self::HASH_BITS) as u16
    }

    /// 52 bits of the key's hash.
    pub(super) const fn hash(self) -> u64 {
        self.0 & ((1 << Self::HASH_BITS) - 1)
    }

    /// 64 well mixed bits of the tag, so that one client's cells in several buckets lie apart.
    #[inline]
    fn mix(self) -> u64 {
        let (low, high) = self.0.carrying_mul(0x9FB2_1C65_1E98_DF25, 0);
        low ^ high
    }
}

/// A key's tag, and where its cell may lie.
///
/// A bucket whose limit changed has a new number and with it new tags, but its keys keep their places: those are chosen by the
/// number that the first of its line had. So a search for the new tag passes the old one, and a cell can be taken over where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) tag: Tag,
    mixed: u64,
}

impl Spot {
    #[inline]
    pub(super) fn new(bucket: u16, lineage: u16, hash: u64) -> Self {
        Self {
            tag: Tag::from_parts(bucket, hash),
            mixed: Tag::from_parts(lineage, hash).mix(),
        }
    }
}

/// Memory for cells of `WORDS` words each, the first of which is the tag.
pub(super) struct Groups<const WORDS: usize> {
    words: Box<[AtomicU64]>,
    /// First word of the first group: the memory from the system need not begin on a line's boundary.
    offset: usize,
    count: usize,
    stripes: Box<[Mutex<()>]>,
    /// Where the cleaner goes on.
    cursor: AtomicUsize,
}

impl<const WORDS: usize> Groups<WORDS> {
    const GROUP_WORDS: usize = WORDS * GROUP;

    /// As many whole groups as fit into `bytes`, at least one; `None` if the memory cannot be had.
    pub(super) fn with_memory(bytes: usize) -> Option<Self> {
        let groups = (bytes / (Self::GROUP_WORDS * 8)).max(1);
        // One group more, to begin on its own boundary.
        let words = zeroed(groups.checked_add(1)?.checked_mul(Self::GROUP_WORDS)?)?;
        let misaligned = words.as_ptr().addr() % (Self::GROUP_WORDS * 8);
        let offset = if misaligned == 0 {
            0
        } else {
            (Self::GROUP_WORDS * 8 - misaligned) / 8
        };
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Some(Self {
            words,
            offset,
            count: groups,
            stripes,
            cursor: AtomicUsize::new(0),
        })
    }

    /// Cells there are.
    pub(super) const fn cells(&self) -> usize {
        self.count * GROUP
    }

    /// Groups there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all cells.
    pub(super) const fn bytes(&self) -> usize {
        self.cells() * WORDS * 8
    }

    #[inline]
    pub(super) fn group(&self, index: usize) -> &[[AtomicU64; WORDS]; GROUP] {
        let start = self.offset + index * Self::GROUP_WORDS;
        let (cells, _) = self.words[start..start + Self::GROUP_WORDS].as_chunks::<WORDS>();
        cells.first_chunk().expect("a group's words make a group of cells")
    }

    /// The group that a number of 64 even bits falls to.
    #[inline]
    fn place(&self, bits: u64) -> usize {
        let (_, place) = bits.carrying_mul(self.count as u64, 0);
        #[expect(clippy::cast_possible_truncation, reason = "below `groups`, a usize")]
        let place = place as usize;
        place
    }

    /// The index of the key's first candidate group.
    #[inline]
    pub(super) fn first(&self, spot: Spot) -> usize {
        self.place(spot.mixed)
    }

    /// The index of the key's other candidate group.
    #[inline]
    pub(super) fn second(&self, spot: Spot, first: usize) -> usize {
        let second = self.place(spot.mixed.rotate_left(32));
        // Where both are the same, the neighbour stands in, so that no key has fewer cells to go to.
        if second != first {
            second
        } else if first + 1 < self.count {
            first + 1
        } else {
            0
        }
    }

    /// The key's cell, without a lock.
    ///
    /// The second group is not fetched ahead: most keys are in their first, and on a large table a load that nobody waits for
    /// still holds up the swap, which waits for all loads before it.
    #[inline]
    pub(super) fn find(&self, spot: Spot) -> Option<&[AtomicU64; WORDS]> {
        let first = self.first(spot);
        search(self.group(first), spot.tag).or_else(|| search(self.group(self.second(spot, first)), spot.tag))
    }

    /// Loads each line of the key's first group, and waits for none of them.
    #[inline]
    pub(super) fn fetch(&self, spot: Spot) {
        self.fetch_group(self.first(spot));
    }

    /// Loads the key's second group, if it is not in its first.
    #[inline]
    pub(super) fn fetch_further(&self, spot: Spot) {
        let first = self.first(spot);
        if search(self.group(first), spot.tag).is_none() {
            self.fetch_group(self.second(spot, first));
        }
    }

    #[inline]
    fn fetch_group(&self, index: usize) {
        let group = self.group(index);
        for cell in group.iter().step_by((LINE_WORDS / WORDS).max(1)) {
            // Relaxed: what is read is not looked at. The hint keeps the load from being left out as useless.
            std::hint::black_box(cell[0].load(Ordering::Relaxed));
        }
    }

    /// The lock under which this key's cell is made, the same for all buckets of one line.
    pub(super) fn stripe(&self, spot: Spot) -> MutexGuard<'_, ()> {
        // Even bits of the hash; the groups are chosen by mixed ones.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 1 024")]
        let stripe = (spot.tag.hash() % STRIPES as u64) as usize;
        lock(&self.stripes[stripe])
    }

    /// All locks: as long as they are held, nobody makes a cell. To be asked for by one thread at a time that holds none of them.
    pub(super) fn all_stripes(&self) -> Vec<MutexGuard<'_, ()>> {
        self.stripes.iter().map(lock).collect()
    }

    /// Waits until everybody who makes a cell at this moment is done.
    pub(super) fn pass_stripes(&self) {
        for stripe in &self.stripes {
            drop(lock(stripe));
        }
    }

    /// The next `groups` groups after those of the last call.
    pub(super) fn next(&self, groups: usize) -> impl Iterator<Item = &[[AtomicU64; WORDS]; GROUP]> {
        let groups = groups.min(self.count);
        let start = self.cursor.fetch_add(groups, Ordering::Relaxed);
        (0..groups).map(move |step| self.group(start.wrapping_add(step) % self.count))
    }
}

#[inline]
fn search<const WORDS: usize>(group: &[[AtomicU64; WORDS]; GROUP], tag: Tag) -> Option<&[AtomicU64; WORDS]> {
    // Acquire pairs with the release of the tag where a cell is given to a key: who sees the new tag no longer sees the former
    // owner's state.
    group.iter().find(|cell| cell[0].load(Ordering::Acquire) == tag.0)
}

/// How much room a group has.
pub(super) struct Room<'a, const WORDS: usize> {
    /// Empty and idle cells.
    pub(super) free: usize,
    pub(super) has_empty: bool,
    /// An empty cell, else the longest idle one.
    best: Option<&'a [AtomicU64; WORDS]>,
}

/// Looks a group over. `idle_for` tells for how long a cell has been idle, `u64::MAX` where it is empty, and `None` while it
/// limits someone.
fn room<const WORDS: usize>(
    group: &[[AtomicU64; WORDS]; GROUP],
    idle_for: impl Fn(&[AtomicU64; WORDS]) -> Option<u64>,
) -> Room<'_, WORDS> {
    let mut room = Room {
        free: 0,
        has_empty: false,
        best: None,
    };
    let mut longest = 0;
    for cell in group {
        let Some(idle) = idle_for(cell) else { continue };
        room.free += 1;
        room.has_empty |= cell[0].load(Ordering::Relaxed) == Tag::EMPTY.0;
        if room.best.is_none() || idle > longest {
            (room.best, longest) = (Some(cell), idle);
        }
    }
    room
}

impl<const WORDS: usize> Groups<WORDS> {
    /// A free cell in the key's groups: in the first if it has room to spare, else in the emptier one.
    ///
    /// An empty cell goes before an idle one, and among idle ones the longest idle: its key may well come back, and
    /// finding a cell is cheaper than making one.
    pub(super) fn choose(
        &self,
        spot: Spot,
        idle_for: impl Fn(&[AtomicU64; WORDS]) -> Option<u64>,
    ) -> Option<&[AtomicU64; WORDS]> {
        let place = self.first(spot);
        let first = room(self.group(place), &idle_for);
        if first.free >= FIRST_GROUP_FREE_MIN && first.has_empty {
            return first.best;
        }
        let second = room(self.group(self.second(spot, place)), &idle_for);
        let first_is_better = match (first.has_empty, second.has_empty) {
            (true, false) => true,
            (false, true) => false,
            _ => first.free >= second.free,
        };
        if first_is_better { first.best } else { second.best }
    }
}

//! The slab: where sliding logs keep their entries. Blocks of seven, chained; a log's cell knows the first and the last.
//!
//! A log's blocks are read and written only by who holds the log's cell, so the words need no order of their own. Free blocks
//! are handed out under one lock, once in seven entries.

use sluicegate_core::algorithm::{Entry, Log, LogFull};

use crate::atomics::{AtomicU64, AtomicUsize, Mutex, Ordering, lock, zeroed};

/// Entries of one block: with the number of the next block they fill two cache lines but for one word.
const ENTRIES: usize = 7;

/// Words of one block.
const WORDS: usize = 16;

/// Bytes of one block.
pub(super) const BLOCK_BYTES: usize = WORDS * 8;

/// Most blocks of one slab: their numbers, from 1, take 32 bits. 512 GiB.
const BLOCKS_MAX: usize = u32::MAX as usize - 1;

/// All entries of all logs, in fixed memory.
pub(super) struct Slab {
    words: Box<[AtomicU64]>,
    blocks: usize,
    free: Mutex<Free>,
    used: AtomicUsize,
}

/// Blocks that are nobody's.
struct Free {
    /// The first of a chain of those given back; 0 for none.
    first: u32,
    /// Blocks below this were handed out before; those above were never touched.
    untouched: u32,
}

/// One key's log, while its cell is held.
pub(super) struct Ring<'a> {
    slab: &'a Slab,
    /// Numbers from 1; both 0 in an empty log.
    first: u32,
    last: u32,
    /// The oldest entry's place in the first block, and the next free place in the last.
    first_at: usize,
    last_at: usize,
    len: u16,
    used: u64,
}

impl Slab {
    /// As many blocks as fit into `bytes`, at least one; `None` if the memory cannot be had.
    pub(super) fn with_memory(bytes: usize) -> Option<Self> {
        let blocks = (bytes / BLOCK_BYTES).clamp(1, BLOCKS_MAX);
        Some(Self {
            words: zeroed(blocks.checked_mul(WORDS)?)?,
            blocks,
            free: Mutex::new(Free { first: 0, untouched: 1 }),
            used: AtomicUsize::new(0),
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// Blocks that logs have.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// The log that a cell's second and third word tell of.
    pub(super) fn ring(&self, second: u64, third: u64) -> Ring<'_> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each part was packed from a number of its size"
        )]
        Ring {
            slab: self,
            first: second as u32,
            last: (second >> 32) as u32,
            first_at: usize::from(third as u8),
            last_at: usize::from((third >> 8) as u8),
            len: (third >> 16) as u16,
            used: third >> 32,
        }
    }

    fn word(&self, block: u32, at: usize) -> Option<&AtomicU64> {
        self.words.get((block as usize).checked_sub(1)? * WORDS + at)
    }

    fn get(&self, block: u32, at: usize) -> u64 {
        self.word(block, at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, block: u32, at: usize, value: u64) {
        if let Some(word) = self.word(block, at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn next(&self, block: u32) -> u32 {
        u32::try_from(self.get(block, 0)).unwrap_or(0)
    }

    fn take(&self) -> Result<u32, LogFull> {
        let mut free = lock(&self.free);
        let block = if free.first != 0 {
            let block = free.first;
            free.first = self.next(block);
            block
        } else if free.untouched as usize <= self.blocks {
            free.untouched += 1;
            free.untouched - 1
        } else {
            return Err(LogFull);
        };
        self.set(block, 0, 0);
        self.used.fetch_add(1, Ordering::Relaxed);
        Ok(block)
    }

    /// Takes back `count` blocks, chained from `first` to `last`.
    fn give_back(&self, first: u32, last: u32, count: usize) {
        let mut free = lock(&self.free);
        self.set(last, 0, u64::from(free.first));
        free.first = first;
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Ring<'_> {
    /// The cell's second and third word.
    pub(super) fn to_words(&self) -> [u64; 2] {
        let second = u64::from(self.last) << 32 | u64::from(self.first);
        // Places are at most 7; a log has at most a thousand units, and so at most as many entries.
        let used = u64::from(u32::try_from(self.used).unwrap_or(u32::MAX));
        let third = used << 32 | u64::from(self.len) << 16 | (self.last_at as u64) << 8 | self.first_at as u64;
        [second, third]
    }

    /// Gives all blocks back.
    pub(super) fn clear(&mut self) {
        if self.first == 0 {
            return;
        }
        let mut count = 1;
        let mut block = self.first;
        while block != self.last && count < self.slab.blocks {
            block = self.slab.next(block);
            count += 1;
        }
        self.slab.give_back(self.first, self.last, count);
        (self.first, self.last, self.first_at, self.last_at) = (0, 0, 0, 0);
        (self.len, self.used) = (0, 0);
    }

    fn entry(&self, (block, at): (u32, usize)) -> Entry {
        Entry {
            ends_at: self.slab.get(block, 1 + 2 * at),
            cost: self.slab.get(block, 2 + 2 * at),
        }
    }

    fn write(&self, (block, at): (u32, usize), entry: Entry) {
        self.slab.set(block, 1 + 2 * at, entry.ends_at);
        self.slab.set(block, 2 + 2 * at, entry.cost);
    }

    /// Where the entries lie, from the oldest on.
    fn places(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        let mut place = (self.first, self.first_at);
        (0..self.len).map(move |_| {
            let here = place;
            place = if place.1 + 1 == ENTRIES {
                (self.slab.next(place.0), 0)
            } else {
                (place.0, place.1 + 1)
            };
            here
        })
    }
}

impl Log for Ring<'_> {
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn get(&self, index: usize) -> Option<Entry> {
        // Whole blocks are passed over; the first may have begun before the oldest entry.
        if index >= self.len() {
            return None;
        }
        let mut block = self.first;
        for _ in 0..(self.first_at + index) / ENTRIES {
            block = self.slab.next(block);
        }
        Some(self.entry((block, (self.first_at + index) % ENTRIES)))
    }

    fn set(&mut self, index: usize, entry: Entry) {
        if let Some(place) = self.places().nth(index) {
            self.write(place, entry);
        }
    }

    fn push_newest(&mut self, entry: Entry) -> Result<(), LogFull> {
        if self.len == u16::MAX {
            return Err(LogFull);
        }
        if self.last == 0 || self.last_at == ENTRIES {
            let block = self.slab.take()?;
            if self.last == 0 {
                self.first = block;
            } else {
                self.slab.set(self.last, 0, u64::from(block));
            }
            (self.last, self.last_at) = (block, 0);
        }
        self.write((self.last, self.last_at), entry);
        self.last_at += 1;
        self.len += 1;
        Ok(())
    }

    fn pop_oldest(&mut self) {
        let Some(left) = self.len.checked_sub(1) else { return };
        self.len = left;
        self.first_at += 1;
        if left == 0 {
            self.slab.give_back(self.first, self.last, 1);
            (self.first, self.last, self.first_at, self.last_at) = (0, 0, 0, 0);
        } else if self.first_at == ENTRIES {
            let emptied = self.first;
            (self.first, self.first_at) = (self.slab.next(emptied), 0);
            self.slab.give_back(emptied, emptied, 1);
        }
    }

    fn used(&self) -> u64 {
        self.used
    }

    fn set_used(&mut self, units: u64) {
        self.used = units;
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.places().map(|place| self.entry(place))
    }

    fn newest(&self) -> Option<Entry> {
        // The last block of a log that is not empty has an entry.
        (self.len > 0).then(|| self.entry((self.last, self.last_at.saturating_sub(1))))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn entry(ends_at: u64) -> Entry {
        Entry {
            ends_at,
            cost: ends_at % 3 + 1,
        }
    }

    #[test]
    fn entries_leave_in_the_order_in_which_they_came_and_blocks_return() {
        let slab = Slab::with_memory(4 * BLOCK_BYTES).expect("four blocks");
        let mut ring = slab.ring(0, 0);
        for round in 0..20 {
            for time in 0..28 {
                assert_eq!(ring.push_newest(entry(round * 100 + time)), Ok(()));
                ring.set_used(time + 1);
            }
            assert_eq!(ring.push_newest(entry(0)), Err(LogFull), "four blocks hold 28 entries");
            let [second, third] = ring.to_words();
            ring = slab.ring(second, third);
            assert_eq!((ring.len(), ring.used(), slab.used()), (28, 28, 4));
            assert_eq!(ring.newest(), Some(entry(round * 100 + 27)));
            let all: Vec<_> = ring.entries().collect();
            let one_by_one: Vec<_> = (0..28).filter_map(|index| ring.get(index)).collect();
            assert_eq!(all, one_by_one);
            for time in 0..28 {
                assert_eq!(ring.get(0), Some(entry(round * 100 + time)));
                ring.pop_oldest();
            }
            assert_eq!((ring.get(0), ring.newest(), slab.used()), (None, None, 0));
        }
    }

    #[test]
    fn an_entry_is_written_over_wherever_it_lies() {
        let slab = Slab::with_memory(4 * BLOCK_BYTES).expect("four blocks");
        let mut ring = slab.ring(0, 0);
        for time in 0..20 {
            ring.push_newest(entry(time)).expect("room");
        }
        for _ in 0..5 {
            ring.pop_oldest();
        }
        for index in 0..15 {
            ring.set(
                index,
                Entry {
                    ends_at: 7,
                    cost: index as u64,
                },
            );
            assert_eq!(
                ring.get(index),
                Some(Entry {
                    ends_at: 7,
                    cost: index as u64
                })
            );
        }
        ring.set(15, entry(1));
        assert_eq!(ring.len(), 15);
    }

    #[test]
    fn a_cleared_log_gives_all_its_blocks_back() {
        let slab = Slab::with_memory(4 * BLOCK_BYTES).expect("four blocks");
        let mut ring = slab.ring(0, 0);
        for time in 0..20 {
            ring.push_newest(entry(time)).expect("room");
        }
        for _ in 0..8 {
            ring.pop_oldest();
        }
        ring.clear();
        assert_eq!((slab.used(), ring.len(), ring.newest()), (0, 0, None));
        for time in 0..28 {
            ring.push_newest(entry(time)).expect("room");
        }
        assert_eq!(slab.used(), 4);
    }
}

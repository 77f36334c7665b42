//! Counters that no two threads write at once: counting costs a load and a store, never a contended cache line.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Threads that count in a stripe of their own. Gateways have one a core; whoever comes later shares the last stripe
/// and counts a little slower, but as exactly.
const STRIPES: usize = 64;

/// The stripe that is shared by all threads beyond the others.
const SHARED: usize = STRIPES - 1;

/// A fixed number of counters, striped over threads.
pub(super) struct Stripes {
    counters: usize,
    /// One block of counters a stripe, made when its first thread counts; each on cache lines of its own.
    blocks: [OnceLock<Box<[AtomicU64]>>; STRIPES],
}

impl Stripes {
    pub(super) fn new(counters: usize) -> Self {
        Self {
            counters,
            blocks: [const { OnceLock::new() }; STRIPES],
        }
    }

    /// The current thread's stripe.
    #[inline]
    pub(super) fn stripe(&self) -> Stripe<'_> {
        // While a thread ends its own stripe is gone already.
        let number = OWN.try_with(Own::number).unwrap_or(SHARED);
        // Eight words are a cache line: one more keeps the next block's first counter off this one's last line.
        let block = || (0..self.counters + 8).map(|_| AtomicU64::new(0)).collect();
        Stripe {
            block: self.blocks[number].get_or_init(block),
            exclusive: number != SHARED,
        }
    }

    /// The sum over all threads.
    pub(super) fn sum(&self, counter: usize) -> u64 {
        let made = self.blocks.iter().filter_map(OnceLock::get);
        made.filter_map(|block| block.get(counter))
            .map(|count| count.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// One thread's counters.
#[derive(Clone, Copy)]
pub(super) struct Stripe<'a> {
    block: &'a [AtomicU64],
    exclusive: bool,
}

impl Stripe<'_> {
    /// Adds to a counter. One that is not there counts nothing.
    #[inline]
    pub(super) fn add(&self, counter: usize, amount: u64) {
        let Some(count) = self.block.get(counter) else { return };
        if self.exclusive {
            // No other thread writes here, so nothing is lost between the load and the store.
            count.store(count.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        } else {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// A counter in this stripe alone.
    #[inline]
    pub(super) fn get(&self, counter: usize) -> u64 {
        self.block.get(counter).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(UNASSIGNED)) };
}

const UNASSIGNED: usize = usize::MAX;

/// The stripes that ended threads have left. A thread takes its stripe over under this lock, and so sees all that the
/// one before has counted.
static LEFT: Mutex<Left> = Mutex::new(Left {
    next: 0,
    free: Vec::new(),
});

struct Left {
    next: usize,
    free: Vec<usize>,
}

/// A thread's claim to a stripe, given up when it ends.
struct Own(Cell<usize>);

impl Own {
    #[inline]
    fn number(&self) -> usize {
        match self.0.get() {
            UNASSIGNED => self.assign(),
            number => number,
        }
    }

    #[cold]
    fn assign(&self) -> usize {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        let number = left.free.pop().unwrap_or_else(|| {
            let number = left.next.min(SHARED);
            left.next = number + 1;
            number
        });
        self.0.set(number);
        number
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let number = self.0.get();
        if number < SHARED {
            LEFT.lock().unwrap_or_else(PoisonError::into_inner).free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_whoever_counts() {
        let stripes = Stripes::new(3);
        // More threads than stripes, several generations of them.
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for _ in 0..STRIPES + 10 {
                    scope.spawn(|| (0..500).for_each(|_| stripes.stripe().add(1, 2)));
                }
            });
        }
        assert_eq!(stripes.sum(1), 3 * (STRIPES as u64 + 10) * 1000);
        assert_eq!((stripes.sum(0), stripes.sum(2), stripes.sum(3)), (0, 0, 0));
    }

    #[test]
    fn a_counter_that_is_not_there_counts_nothing() {
        let stripes = Stripes::new(1);
        stripes.stripe().add(1_000, 1);
        assert_eq!(stripes.sum(0), 0);
    }
}

//! The atomics and locks that the table is built of: the processor's own, or loom's, which tries every interleaving.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Waits for another thread that is a few instructions away from done: spinning first, and giving up the processor where
/// that thread seems to have lost it.
pub(crate) struct Backoff {
    rounds: u32,
}

impl Backoff {
    /// Rounds of spinning, about a microsecond in all: longer than the few stores that are waited for, and nothing beside a
    /// time slice lost to a thread that is not running.
    const SPINS: u32 = 64;

    pub(crate) const fn new() -> Self {
        Self { rounds: 0 }
    }

    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds <= Self::SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

    /// Under loom a thread that waits must let another run, or the search never ends.
    #[cfg(loom)]
    pub(crate) fn wait(&mut self) {
        let _ = (self.rounds, Self::SPINS);
        loom::thread::yield_now();
    }
}

/// Zeroed words. On the real machine they come from the system untouched, so that a table which is never filled costs
/// address space and no memory.
#[cfg(not(loom))]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(words).ok()
}

#[cfg(loom)]
pub(crate) fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// Locks, also where a thread panicked while it held the lock: what these locks guard is whole at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

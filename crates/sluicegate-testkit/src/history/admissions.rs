//! The admissions of one key, from any number of threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::meter::{Bound, Meter, Worst};

/// What one key was given, when. 16 bytes an admission.
#[derive(Debug, Default)]
pub struct Admissions {
    /// When, in nanoseconds, and how much; in any order.
    taken: Mutex<Vec<(u64, u64)>>,
}

impl Admissions {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            taken: Mutex::new(Vec::new()),
        }
    }

    /// Adds an admission of `cost` tokens. They may come in any order.
    pub fn admit(&self, at_ns: u64, cost: u64) {
        self.lock().push((at_ns, cost));
    }

    /// The window that came closest to `bound` or went farthest beyond it; `None` if there were no admissions. Sorts them.
    pub fn worst(&self, bound: Bound) -> Option<Worst> {
        let mut meter = Meter::new(bound);
        for (at_ns, cost) in self.by_time().iter() {
            meter.admit(*at_ns, *cost);
        }
        meter.worst()
    }

    /// How many tokens were admitted from `from_ns` up to, but not at, `to_ns`.
    pub fn within(&self, from_ns: u64, to_ns: u64) -> u64 {
        let taken = self.lock();
        let inside = taken.iter().filter(|(at_ns, _)| (from_ns..to_ns).contains(at_ns));
        inside.fold(0, |sum: u64, (_, cost)| sum.saturating_add(*cost))
    }

    /// The most tokens that any window `[t, t + length_ns)` admitted; 0 if its length is zero. Sorts them.
    pub fn most_within(&self, length_ns: u64) -> u64 {
        if length_ns == 0 {
            return 0;
        }
        let taken = self.by_time();
        let (mut first, mut inside, mut most) = (0, 0_u128, 0);
        for (at_ns, cost) in taken.iter() {
            inside += u128::from(*cost);
            // A window that admits the most can be moved back until it ends right behind an admission. Never past this one,
            // which is not `length_ns` before itself.
            while at_ns - taken[first].0 >= length_ns {
                inside -= u128::from(taken[first].1);
                first += 1;
            }
            most = most.max(inside);
        }
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    fn by_time(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        let mut taken = self.lock();
        taken.sort_unstable();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

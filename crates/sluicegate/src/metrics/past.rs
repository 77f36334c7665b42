//! What the policies before the one in force have counted.
//!
//! A counter that restarted at every reload would lose what happened since the last scrape. So a policy's counters begin where
//! those of the same names stood. Requests that the policy before is still deciding count there; its counters are therefore read
//! along until nobody can count in them any more, and only then folded into a sum.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use super::Metrics;
use super::stripes::Stripes;

/// The counts of former policies, in the places of the present one.
pub(super) struct Past {
    /// Of policies that nobody counts by any more.
    sums: Box<[u64]>,
    /// Of policies by which somebody may still count, the latest first.
    open: Vec<Former>,
}

/// A former policy's counters.
struct Former {
    stripes: Arc<Stripes>,
    counting: Weak<()>,
    /// By our places: the former policy's; `None` where it had no such counter.
    places: Box<[Option<u32>]>,
}

impl Past {
    pub(super) fn none() -> Self {
        Self {
            sums: Box::default(),
            open: Vec::new(),
        }
    }

    /// The past of a policy that comes after `former`: that one's past, and itself. `predecessors` gives for each counter of the
    /// new policy its place in `former`.
    pub(super) fn new(former: &Metrics, predecessors: Box<[Option<u32>]>) -> Self {
        let mut sums: Box<[u64]> = predecessors
            .iter()
            .map(|place| place.map_or(0, |place| former.past.folded(place as usize)))
            .collect();
        let mut open = Vec::with_capacity(former.past.open.len() + 1);
        for older in &former.past.open {
            let places = predecessors
                .iter()
                .map(|place| older.places.get(place.as_ref().copied()? as usize).copied()?)
                .collect();
            let older = Former {
                stripes: Arc::clone(&older.stripes),
                counting: Weak::clone(&older.counting),
                places,
            };
            // One place is for `former`.
            if older.is_quiet() || open.len() + 1 == OPEN_MAX {
                for (counter, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(older.sum(counter));
                }
            } else {
                open.push(older);
            }
        }
        open.insert(
            0,
            Former {
                stripes: Arc::clone(&former.stripes),
                counting: Arc::downgrade(&former.counting),
                places: predecessors,
            },
        );
        Self { sums, open }
    }

    pub(super) fn sum(&self, counter: usize) -> u64 {
        let open = self.open.iter().map(|former| former.sum(counter));
        open.fold(self.folded(counter), u64::wrapping_add)
    }

    fn folded(&self, counter: usize) -> u64 {
        self.sums.get(counter).copied().unwrap_or_default()
    }
}

impl Former {
    fn is_quiet(&self) -> bool {
        let is_quiet = self.counting.strong_count() == 0;
        // With the release by which the last reference was dropped: all that was counted before is seen after.
        fence(Ordering::Acquire);
        is_quiet
    }

    fn sum(&self, counter: usize) -> u64 {
        let place = self.places.get(counter).copied().flatten();
        place.map_or(0, |place| self.stripes.sum(place as usize))
    }
}

/// Former policies that are read along. A stream that holds a permit keeps its policy for as long as it is open, but counts no more; one
/// that has to be folded too early loses the requests whose bodies have been awaited since eight reloads ago.
const OPEN_MAX: usize = 8;

//! Who speaks with the store: one at a time, and when it ends, nobody waits for it any more.

use std::sync::Arc;

use super::Leases;
use crate::atomics::Ordering;
use crate::clock::Clock as _;

/// The one that speaks with the store for these leases. When it is dropped, in whatever way it came to its end, all who wait are answered
/// by the failure policy, and each rule goes by it from then on.
#[must_use = "dropped, the leases are alone again"]
pub struct Attendance(Arc<Leases>);

impl Leases {
    /// Begins to speak with the store; `None` if somebody does so already.
    pub fn attend(self: &Arc<Self>) -> Option<Attendance> {
        // With the release at the end of the one before.
        let is_attended = self.is_attended.swap(true, Ordering::AcqRel);
        (!is_attended).then(|| Attendance(Arc::clone(self)))
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.part(self.0.clock.now());
        self.0.is_attended.store(false, Ordering::Release);
    }
}

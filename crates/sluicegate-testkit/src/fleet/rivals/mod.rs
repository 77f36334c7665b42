//! What leases are compared with, made as well as their makers would.

mod exact;
mod push;
mod split;

pub use exact::Exact;
pub use push::Push;
pub use split::Split;

use sluicegate_core::sharing::Terms;

/// A token bucket: what each node or the store of a rival keeps of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Units taken and not yet come back, as of `at`.
    debt: f64,
    at: f64,
}

impl Bucket {
    /// The debt at `now`, at so many times the limit's rate.
    fn debt(&mut self, terms: &Terms, now: f64, part: f64) -> f64 {
        let elapsed = (now - self.at).max(0.0);
        self.debt = (self.debt - elapsed * part * terms.rate()).max(0.0);
        self.at = self.at.max(now);
        self.debt
    }

    /// Takes `cost` if a bucket of so large a part of the limit has it.
    fn take(&mut self, terms: &Terms, now: f64, cost: f64, part: f64) -> bool {
        // A node with a small part of a small burst may still pass one at a time.
        let burst = (terms.burst * part).max(1.0);
        let passes = self.debt(terms, now, part) + cost <= burst;
        if passes {
            self.debt += cost;
        }
        passes
    }
}

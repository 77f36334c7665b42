//! What is put right of a shared rule's charge when its request has ended.

use sluicegate_core::{Cost, Timestamp};

use super::side::Side;
use super::take::{SharedHolding, SharedHoldings};
use super::{Leases, micros, units};

impl Leases {
    /// Corrects what is held to what it turned out to be: permits are released, of a reservation the difference to `actual` is given back or
    /// owed on top.
    ///
    /// A reservation whose units died with the store is not given back: they counted as spent when they did.
    #[expect(clippy::needless_pass_by_value, reason = "what is held ends here, and only once")]
    pub fn settle(&self, holding: SharedHolding, actual: Cost, now: Timestamp) {
        self.settle_at(&holding, actual, micros(now));
    }

    /// Forgets what the key was charged, on all nodes, and with it this reservation; not a lock, nor what others have still open. A window
    /// knows no open charges, and forgets them with the rest.
    #[expect(clippy::needless_pass_by_value, reason = "what is held ends here, and only once")]
    pub fn clear(&self, holding: SharedHolding, now: Timestamp) {
        let time = micros(now);
        self.settle_at(&holding, Cost::ZERO, time);
        // What all keys without an entry share is not one key's to forget.
        if !holding.overflow {
            self.mend(&holding, time, Side::clear);
        }
    }

    /// Gives back what was granted to a request that did not pass, but for what its rules charge those too.
    pub(super) fn give_back_but_penalties(&self, holdings: SharedHoldings) {
        let now = self.time();
        for holding in holdings {
            if !holding.is_penalty() {
                self.give_back_at(&holding, now);
            } else if holding.is_held() {
                self.settle_at(&holding, holding.cost, now);
            }
        }
    }

    fn settle_at(&self, holding: &SharedHolding, actual: Cost, time: f64) {
        if holding.is_permit() {
            self.give_back_at(holding, time);
            return;
        }
        let costs = (units(holding.cost), units(actual));
        self.mend(holding, time, |side, sight| {
            side.settle(sight, &holding.what, costs, holding.charged_at);
        });
    }
}

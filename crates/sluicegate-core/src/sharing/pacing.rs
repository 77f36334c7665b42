//! How many calls a node makes to one server of the store.

/// Calls a second that all nodes together make to one server of the store: about a third of what one core of it does with calls of
/// a few keys, so that it is never the bottleneck.
pub const CALLS_PER_SECOND: f64 = 20_000.0;

/// Calls that a node may make at once after a while of silence: for a few requests that wait, on keys that are due one after another.
const BURST: f64 = 4.0;

/// The pace of one node's calls to one server: a token bucket with its part of [`CALLS_PER_SECOND`].
///
/// What is due while no call may be made gathers, and goes out in one call of many keys: the busier the fleet, the larger the
/// calls, and their number stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pacing {
    level: f64,
    at: f64,
}

impl Pacing {
    /// Of a node that has made no calls yet, at `now` in microseconds of its clock.
    pub const fn new(now: f64) -> Self {
        Self { level: BURST, at: now }
    }

    /// Makes a call if one may be made now. `calls_per_second` is the fleet's, above zero; `nodes` are those that live, at least one.
    pub fn take(&mut self, now: f64, calls_per_second: f64, nodes: f64) -> bool {
        let elapsed = (now - self.at).max(0.0);
        self.level = (self.level + elapsed * own_rate(calls_per_second, nodes)).min(BURST);
        self.at = self.at.max(now);
        // Less than a thousandth of a call missing is rounding of the moment that was waited for.
        let may_call = self.level >= 0.999;
        if may_call {
            self.level -= 1.0;
        }
        may_call
    }

    /// Gives back a call that [`Pacing::take`] allowed and that was not made.
    pub fn give_back(&mut self) {
        self.level = (self.level + 1.0).min(BURST);
    }

    /// When a call may be made, in microseconds of the node's clock; not after the last [`Pacing::take`] if one may be made now.
    pub fn ready_at(&self, calls_per_second: f64, nodes: f64) -> f64 {
        self.at + ((1.0 - self.level) / own_rate(calls_per_second, nodes)).max(0.0)
    }
}

/// Calls a microsecond.
fn own_rate(calls_per_second: f64, nodes: f64) -> f64 {
    calls_per_second / nodes.max(1.0) / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: f64 = 20_000.0;

    #[test]
    fn a_silent_node_makes_four_calls_at_once_and_then_its_part_of_the_fleets() {
        let mut pacing = Pacing::new(0.0);
        let at_once = (0..10).filter(|_| pacing.take(0.0, FLEET, 100.0)).count();
        assert_eq!(at_once, 4);
        // 200 a second is one in 5 ms.
        assert!((pacing.ready_at(FLEET, 100.0) - 5_000.0).abs() < 1.0);
        assert!(!pacing.take(4_900.0, FLEET, 100.0));
        assert!(pacing.take(pacing.ready_at(FLEET, 100.0), FLEET, 100.0));
        let in_a_second = (0..1_000_000u32)
            .filter(|now| pacing.take(10_000.0 + f64::from(*now), FLEET, 100.0))
            .count();
        assert!((199..=203).contains(&in_a_second), "{in_a_second}");
    }

    #[test]
    fn a_call_that_was_not_made_may_be_made_later() {
        let mut pacing = Pacing::new(0.0);
        for _ in 0..100 {
            assert!(pacing.take(0.0, FLEET, 100.0));
            pacing.give_back();
        }
        assert_eq!((0..10).filter(|_| pacing.take(0.0, FLEET, 100.0)).count(), 4);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_earns_nothing() {
        let mut pacing = Pacing::new(1_000_000.0);
        while pacing.take(1_000_000.0, FLEET, 1.0) {}
        assert!(!pacing.take(0.0, FLEET, 1.0));
        assert!(!pacing.take(1_000_000.0, FLEET, 1.0));
    }
}

//! When a connection that still stands is taken for dead.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::Timestamp;

/// For how long nobody was answered. Two numbers that others may write in between: at worst the connection is cut a call later.
#[derive(Default)]
pub(super) struct Silence {
    timeouts: AtomicU32,
    /// When the first of them was over, in nanoseconds; zero for none.
    since: AtomicU64,
}

impl Silence {
    pub(super) fn ends(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
    }

    /// One more call waited in vain; whether that is one too many. Calls that were under way together count as one, however many:
    /// what was sent after the first had waited must have waited, too.
    pub(super) fn goes_on(&self, now: Timestamp, waited: Duration) -> bool {
        let now = now.as_nanos().max(1);
        let first = self
            .since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.err().unwrap_or(now);
        let timeouts = self.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
        let lasted = Duration::from_nanos(now.saturating_sub(since));
        timeouts >= TIMEOUTS_MAX && lasted >= waited
    }
}

/// Timeouts in a row after which the connection may be taken for dead. One may be a hiccup of the server; three are an outage, and its
/// answers, should they ever come, are of no use.
const TIMEOUTS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hiccup_that_many_calls_meet_at_once_does_not_cost_the_connection() {
        let deadline = Duration::from_millis(50);
        let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        let silence = Silence::default();
        // A hundred calls were under way when the server forked for a snapshot.
        assert!((0..100).all(|_| !silence.goes_on(at(1_050), deadline)));
        silence.ends();
        assert!(!silence.goes_on(at(2_000), deadline));
        assert!(!silence.goes_on(at(2_050), deadline));
        // Nobody was answered since, although calls were sent after the first had waited in vain.
        assert!(silence.goes_on(at(2_051), deadline));
        silence.ends();
        assert!(!silence.goes_on(at(9_000), deadline));
    }
}

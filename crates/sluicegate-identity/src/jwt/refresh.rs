//! When keys that come from elsewhere are fetched again: a state machine without a clock and without a network.

use std::time::Duration;

use sluicegate_core::Timestamp;

/// When keys are fetched: at once, then every [`Self::EVERY`]; sooner when tokens name a key that is not known, but never sooner than
/// [`Self::COOL_DOWN`] after the last time, so that made-up key ids start no storm.
///
/// Ask [`poll_fetch`](Self::poll_fetch) now and then; when it says so, fetch, and tell what came of it by
/// [`handle_fetched`](Self::handle_fetched) or [`handle_failed`](Self::handle_failed). Until then it says no more.
///
/// ```
/// use sluicegate_core::Timestamp;
/// use sluicegate_identity::jwt::Refresh;
///
/// let (mut refresh, start) = (Refresh::default(), Timestamp::ZERO);
/// assert!(refresh.poll_fetch(start, false));
/// refresh.handle_fetched(start);
/// assert!(!refresh.poll_fetch(start, true), "an unknown key waits for the cool-down");
/// assert!(refresh.poll_fetch(start.saturating_add(Refresh::COOL_DOWN), true));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Refresh {
    /// When keys are fetched in any case; `None` for at once.
    due_at: Option<Timestamp>,
    /// Before then nothing is fetched.
    not_before: Timestamp,
    is_under_way: bool,
    failures: u32,
    /// An unknown key was named that no fetch has looked for yet.
    is_wanted: bool,
}

impl Refresh {
    /// How often keys are fetched where nothing asks for it: issuers let a new key stand for a day and more before they sign by it, and
    /// one that is taken back should not be believed for long.
    pub const EVERY: Duration = Duration::from_mins(5);

    /// The least time between two fetches. A made-up key id costs its sender nothing; at two fetches a minute it costs nobody else
    /// anything either.
    pub const COOL_DOWN: Duration = Duration::from_secs(30);

    /// The first wait after a failure; it doubles up to [`Self::COOL_DOWN`].
    pub const RETRY: Duration = Duration::from_secs(2);

    /// Whether to fetch now. `is_unknown` says that since the last question a token named a key that is not known.
    pub fn poll_fetch(&mut self, now: Timestamp, is_unknown: bool) -> bool {
        self.is_wanted |= is_unknown;
        let is_due = self.due_at.is_none_or(|due| now >= due) || self.is_wanted;
        if self.is_under_way || !is_due || now < self.not_before {
            return false;
        }
        self.is_under_way = true;
        // What is named while the keys are on their way may be among them.
        self.is_wanted = false;
        true
    }

    /// The keys have come.
    pub fn handle_fetched(&mut self, now: Timestamp) {
        self.is_under_way = false;
        self.failures = 0;
        self.due_at = Some(now.saturating_add(Self::EVERY));
        self.not_before = now.saturating_add(Self::COOL_DOWN);
    }

    /// They have not. Those that were known stay known.
    pub fn handle_failed(&mut self, now: Timestamp) {
        self.is_under_way = false;
        let wait = Self::RETRY
            .saturating_mul(1 << self.failures.min(DOUBLINGS_MAX))
            .min(Self::COOL_DOWN);
        self.failures = self.failures.saturating_add(1);
        self.due_at = Some(now.saturating_add(wait));
        self.not_before = now.saturating_add(wait);
    }
}

/// Beyond so many the wait is [`Refresh::COOL_DOWN`] anyhow.
const DOUBLINGS_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    /// Seconds at which keys are fetched while every token names an unknown key, by whether each fetch succeeds.
    fn fetches(until: u64, succeeds: bool) -> Vec<u64> {
        let mut refresh = Refresh::default();
        let mut fetched = Vec::new();
        for second in 0..until {
            if refresh.poll_fetch(at(second), true) {
                fetched.push(second);
                if succeeds {
                    refresh.handle_fetched(at(second));
                } else {
                    refresh.handle_failed(at(second));
                }
            }
        }
        fetched
    }

    #[test]
    fn unknown_keys_start_at_most_one_fetch_for_each_cool_down() {
        assert_eq!(fetches(100, true), [0, 30, 60, 90]);
    }

    #[test]
    fn a_fetch_that_fails_is_tried_again_after_a_wait_that_doubles_up_to_the_cool_down() {
        assert_eq!(fetches(100, false), [0, 2, 6, 14, 30, 60, 90]);
    }

    #[test]
    fn known_keys_are_fetched_again_at_their_time_and_one_fetch_is_under_way() {
        let mut refresh = Refresh::default();
        assert!(refresh.poll_fetch(at(0), false) && !refresh.poll_fetch(at(1_000), false));
        refresh.handle_fetched(at(10));
        assert!(!refresh.poll_fetch(at(309), false) && refresh.poll_fetch(at(310), false));
    }
}

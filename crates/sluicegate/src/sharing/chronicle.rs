//! What of a store's comings and goings is news.

use std::time::Duration;

use sluicegate_core::Timestamp;
use sluicegate_state::leases::StoreStanding;

/// How a node stands with the store, where that is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct News {
    /// How it stands.
    pub standing: StoreStanding,
    /// What was told last; `None` at first. The same again is a reminder: only of [`StoreStanding::Foreign`] there are some.
    pub before: Option<StoreStanding>,
    /// Nodes that share limits, this one among them.
    pub nodes: u32,
}

/// Keeps what was told, so that nothing is told twice or too often.
#[derive(Debug)]
pub(super) struct Chronicle {
    told: Option<StoreStanding>,
    told_at: Timestamp,
    seen: StoreStanding,
    seen_since: Timestamp,
    /// How much may be told now, as a time: each line takes [`EVERY`] of it.
    room: Duration,
    looked_at: Timestamp,
    looks_soon: bool,
}

impl Chronicle {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            told: None,
            told_at: now,
            seen: StoreStanding::Unmet,
            seen_since: now,
            room: ROOM,
            looked_at: now,
            looks_soon: false,
        }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.looks_soon || now.saturating_since(self.looked_at) >= LOOK_EVERY
    }

    /// Something has happened that may be news.
    pub(super) fn look_soon(&mut self) {
        self.looks_soon = true;
    }

    /// What there is to tell now. To be called every so often, and more often than [`SETTLED_AFTER`].
    pub(super) fn look(&mut self, standing: StoreStanding, nodes: u32, now: Timestamp) -> Option<News> {
        self.room = (self.room + now.saturating_since(self.looked_at)).min(ROOM);
        self.looked_at = now;
        self.looks_soon = false;
        if standing != self.seen {
            (self.seen, self.seen_since) = (standing, now);
        }
        let is_news = if self.told == Some(standing) {
            standing == StoreStanding::Foreign && now.saturating_since(self.told_at) >= REMIND_EVERY
        } else {
            now.saturating_since(self.seen_since) >= settled_after(standing)
        };
        if !is_news || self.room < EVERY {
            return None;
        }
        self.room -= EVERY;
        self.told_at = now;
        Some(News {
            standing,
            before: self.told.replace(standing),
            nodes,
        })
    }
}

/// How long it has to last before it is told. One call that is not answered in time is an outage of a tenth of a second, and nothing
/// that anybody could do something about.
const fn settled_after(standing: StoreStanding) -> Duration {
    match standing {
        StoreStanding::Together | StoreStanding::Foreign => Duration::ZERO,
        StoreStanding::Unmet | StoreStanding::Partly | StoreStanding::Away => SETTLED_AFTER,
    }
}

/// Soon enough for whoever watches a start.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// See above.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// How often it is repeated that limits are not held together for as long as somebody does not do something about it.
const REMIND_EVERY: Duration = Duration::from_mins(1);

/// One line in so much time, on average; a store that comes and goes all the time is told of twice a minute.
const EVERY: Duration = Duration::from_secs(30);

/// Six lines at once: three outages, with their ends.
const ROOM: Duration = Duration::from_mins(3);

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what is seen at which millisecond: `u` unmet, `t` together, `p` partly, `a` away, `f` foreign. Gives back what was told.
    #[track_caller]
    fn check(seen: &[(u64, char)], told: &str) {
        let at = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let mut chronicle = Chronicle::new(at(0));
        let found: Vec<String> = seen
            .iter()
            .filter_map(|(ms, seen)| {
                let standing = match seen {
                    'u' => StoreStanding::Unmet,
                    't' => StoreStanding::Together,
                    'p' => StoreStanding::Partly,
                    'a' => StoreStanding::Away,
                    _ => StoreStanding::Foreign,
                };
                let news = chronicle.look(standing, 2, at(*ms))?;
                Some(format!("{ms} {}", news.standing.as_str()))
            })
            .collect();
        assert_eq!(found.join(", "), told);
    }

    #[test]
    fn a_store_that_is_there_at_the_start_is_told_of_once() {
        check(&[(0, 'u'), (3, 't'), (500, 't'), (90_000, 't')], "3 together");
    }

    #[test]
    fn a_store_that_is_missing_is_told_of_after_a_second() {
        check(
            &[(0, 'u'), (900, 'u'), (1000, 'u'), (2000, 'u'), (9000, 't')],
            "1000 unmet, 9000 together",
        );
    }

    #[test]
    fn a_short_silence_is_no_news() {
        check(
            &[(0, 't'), (100, 'a'), (900, 'a'), (950, 't'), (2000, 't')],
            "0 together",
        );
        check(
            &[(0, 't'), (100, 'a'), (1100, 'a'), (1200, 't')],
            "0 together, 1100 away, 1200 together",
        );
        check(&[(0, 't'), (100, 'p'), (1100, 'p')], "0 together, 1100 partly");
    }

    #[test]
    fn another_secret_is_told_of_at_once_and_again_every_minute() {
        check(
            &[(0, 'f'), (100, 'f'), (59_999, 'f'), (60_000, 'f'), (61_000, 't')],
            "0 foreign, 60000 foreign, 61000 together",
        );
    }

    #[test]
    fn a_store_that_comes_and_goes_is_told_of_twice_a_minute_and_how_it_ends() {
        let mut chronicle = Chronicle::new(Timestamp::ZERO);
        let mut told = 0;
        let look = |chronicle: &mut Chronicle, second: u64, standing| {
            chronicle.look(standing, 1, Timestamp::from_nanos(second * 1_000_000_000))
        };
        for second in 0..3600 {
            let standing = if second / 2 % 2 == 0 {
                StoreStanding::Together
            } else {
                StoreStanding::Away
            };
            told += usize::from(look(&mut chronicle, second, standing).is_some());
        }
        assert!((6 + 110..=6 + 120).contains(&told), "{told} lines in an hour");
        let _ = (3600..3700)
            .filter_map(|second| look(&mut chronicle, second, StoreStanding::Away))
            .count();
        assert_eq!(chronicle.told, Some(StoreStanding::Away));
    }
}

//! The sliding log: every charge of the last period, remembered on its own.

use core::time::Duration;

use super::answer::Answer;
use crate::{Cost, Limit, Retry, Timestamp};

/// Most units per period that a log keeps, and so most entries of one key: a thousand entries are 16 KiB, and finding
/// when a large cost fits again walks them all.
pub const LOG_MAX: u64 = 1_000;

/// One charge in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Nanoseconds since the clock's start from which on it counts no more: a period after it was made. So it can also be
    /// told of a charge made before the clock started.
    pub ends_at: u64,
    /// Its units, at least 1.
    pub cost: u64,
}

/// There is no room for one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFull;

impl core::fmt::Display for LogFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the log has no room for one more entry")
    }
}

impl core::error::Error for LogFull {}

/// Where a key's entries are kept: a queue, the oldest first, and the sum of their units.
///
/// A caller need not order anything: entries are pushed in the order of their ends.
pub trait Log {
    /// Entries in the log.
    fn len(&self) -> usize;

    /// The entry at `index`, 0 for the oldest; `None` past the newest.
    fn get(&self, index: usize) -> Option<Entry>;

    /// Writes over the entry at `index`; there is one.
    fn set(&mut self, index: usize, entry: Entry);

    /// Adds an entry behind the newest.
    ///
    /// # Errors
    ///
    /// If there is no room; the log is then as it was.
    fn push_newest(&mut self, entry: Entry) -> Result<(), LogFull>;

    /// Takes the oldest entry away; nothing happens if there is none.
    fn pop_oldest(&mut self);

    /// The units last told to [`Self::set_used`]; zero for a new log.
    fn used(&self) -> u64;

    /// Remembers the units of all entries together.
    fn set_used(&mut self, units: u64);

    /// Whether there are no entries.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, the oldest first.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The newest entry.
    fn newest(&self) -> Option<Entry> {
        self.len().checked_sub(1).and_then(|index| self.get(index))
    }
}

/// A limit of `n` units in any window of length `P`, exactly, made ready to decide by. The limit's burst plays no part.
///
/// An entry made at `x` counts for `[x, x + P)`; a request of cost `c` passes if the entries that count have at most
/// `n − c` units. Two requests within one nanosecond are two entries. A clock that goes back reads as one that stands: a
/// new entry is never older than the newest.
///
/// It remembers of a key a [`Log`] of at most `n` entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingLog {
    limit: Limit,
    /// n, at most [`LOG_MAX`].
    max: u64,
}

impl SlidingLog {
    /// Keeps to `limit`'s count in any window of its period; to [`LOG_MAX`] where the count is above, which a checked policy
    /// does not ask for.
    pub const fn new(limit: Limit) -> Self {
        let count = limit.count().get();
        Self {
            limit,
            max: if count < LOG_MAX { count } else { LOG_MAX },
        }
    }

    /// The limit this log keeps.
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Decides one request and, if it passes, logs it. Only then entries that count no more are dropped: a refusal, and a
    /// question of cost zero, leave the log as it was.
    ///
    /// # Errors
    ///
    /// If the request would pass but the log has no room for it; nothing is then charged.
    pub fn decide(&self, log: &mut impl Log, now: Timestamp, cost: Cost) -> Result<Answer, LogFull> {
        let answer = self.look(log, now, cost);
        if !answer.passes() || cost.units() == 0 {
            return Ok(answer);
        }
        self.drop_ended(log, now);
        self.push(log, now, cost)?;
        Ok(self.answer(log, now, log.used(), None))
    }

    /// What [`Self::decide`] would answer, except that nothing is charged.
    pub fn look(&self, log: &impl Log, now: Timestamp, cost: Cost) -> Answer {
        let now_seen = seen(log, self.period(), now);
        let used = log
            .entries()
            .take_while(|entry| entry.ends_at <= now_seen)
            .fold(log.used(), |used, entry| used.saturating_sub(entry.cost));
        let cost = cost.units();
        let retry = match self.max.checked_sub(cost) {
            None => Some(Retry::Never),
            Some(room) if used <= room => None,
            Some(room) => Some(Retry::After(until(fits_at(log, now_seen, used - room), now))),
        };
        self.answer(log, now, used, retry)
    }

    /// Takes back a charge of `cost` made at `charged_at`, if it still counts at `now`. Returns whether it did.
    ///
    /// Of entries alike the oldest that was not made before goes: another thread's clock may have made the entry a little
    /// later than it was asked for, and what is left then never counts shorter than the truth.
    pub fn give_back(&self, log: &mut impl Log, cost: Cost, charged_at: Timestamp, now: Timestamp) -> bool {
        self.lessen(log, (cost, cost), charged_at, now)
    }

    /// Corrects a charge of `reserved`, made at `charged_at`, to `actual`: less is given back where the charge still
    /// counts, more becomes an entry of now, and may exceed `n`.
    ///
    /// # Errors
    ///
    /// If there is no room for that entry; what was reserved then stays charged.
    pub fn settle(
        &self,
        log: &mut impl Log,
        reserved: Cost,
        actual: Cost,
        charged_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), LogFull> {
        if actual < reserved {
            let less = Cost::new(reserved.units() - actual.units());
            self.lessen(log, (reserved, less), charged_at, now);
            return Ok(());
        }
        self.overdraw(log, now, Cost::new(actual.units() - reserved.units()))
    }

    /// Logs a charge whether it fits or not.
    ///
    /// A log that has `n` entries already, or no room, counts it to its newest entry, which then is of now: so the number
    /// of entries keeps its bound.
    ///
    /// # Errors
    ///
    /// If there is no entry and no room for one.
    pub fn overdraw(&self, log: &mut impl Log, now: Timestamp, cost: Cost) -> Result<(), LogFull> {
        if cost.units() == 0 {
            return Ok(());
        }
        self.drop_ended(log, now);
        let entries = u64::try_from(log.len()).unwrap_or(u64::MAX);
        if entries < self.max && self.push(log, now, cost).is_ok() {
            return Ok(());
        }
        let newest = log.newest().ok_or(LogFull)?;
        let entry = Entry {
            ends_at: seen(log, self.period(), now) + self.period(),
            cost: newest.cost.saturating_add(cost.units()),
        };
        log.set(log.len() - 1, entry);
        log.set_used(log.used().saturating_add(cost.units()));
        Ok(())
    }

    /// Logs a refused request all the same, as a penalty: what `n` has no room for takes the place of the oldest, so that who
    /// keeps asking waits for a whole period. What is overdrawn already stays so.
    ///
    /// # Errors
    ///
    /// If there is no entry and no room for one.
    pub fn penalize(&self, log: &mut impl Log, now: Timestamp, cost: Cost) -> Result<(), LogFull> {
        self.drop_ended(log, now);
        let cost = cost.min(Cost::new(self.max));
        // At most as much as was logged already, or n: an overdraft is neither forgiven nor made.
        let most = log.used().max(self.max);
        shed(log, most - cost.units());
        self.overdraw(log, now, cost)
    }

    /// When the log is worth nothing any more: the end of its newest entry, zero for an empty one; what the first of its
    /// wide cell's words says.
    pub fn idle_at(&self, log: &impl Log) -> u64 {
        log.newest().map_or(0, |newest| newest.ends_at)
    }

    /// Fits a log of `old`'s, which differs in nothing but its count, to this limit: what is beyond a changed limit is
    /// forgotten, the oldest first.
    pub fn carry_over(&self, old: &Self, log: &mut impl Log) {
        if self.max == old.max {
            return;
        }
        shed(log, self.max);
    }

    /// What to keep of an entry where another clock will read it: how long it still counts.
    pub fn keep(&self, entry: Entry, now: Timestamp) -> Entry {
        Entry {
            ends_at: entry.ends_at.saturating_sub(now.as_nanos()),
            ..entry
        }
    }

    /// The entry that was kept `away` ago, to be pushed in the order kept; `None` if it counts no more.
    pub fn restore(&self, kept: Entry, now: Timestamp, away: Duration) -> Option<Entry> {
        let left = kept.ends_at.min(self.period());
        let left = left.checked_sub(crate::time::saturating_nanos(away))?;
        (left > 0 && kept.cost > 0).then(|| Entry {
            ends_at: now.as_nanos() + left,
            ..kept
        })
    }

    fn push(&self, log: &mut impl Log, now: Timestamp, cost: Cost) -> Result<(), LogFull> {
        let entry = Entry {
            // No overflow: a time below 2⁶², and a period below 2⁵⁹.
            ends_at: seen(log, self.period(), now).saturating_add(self.period()),
            cost: cost.units(),
        };
        log.push_newest(entry)?;
        log.set_used(log.used().saturating_add(entry.cost));
        Ok(())
    }

    /// Takes `less` off an entry of `cost`.
    fn lessen(&self, log: &mut impl Log, (cost, less): (Cost, Cost), charged_at: Timestamp, now: Timestamp) -> bool {
        let ends_at = charged_at.as_nanos() + self.period();
        // Once it counts no more, an entry alike would be somebody else's.
        if ends_at <= seen(log, self.period(), now) {
            return false;
        }
        let alike = |entry: &Entry| entry.ends_at >= ends_at && entry.cost == cost.units();
        let Some((index, entry)) = log.entries().enumerate().find(|(_, entry)| alike(entry)) else {
            return false;
        };
        let left = entry.cost.saturating_sub(less.units());
        if left > 0 {
            log.set(index, Entry { cost: left, ..entry });
        } else {
            remove(log, index);
        }
        log.set_used(log.used().saturating_sub(entry.cost - left));
        true
    }

    fn drop_ended(&self, log: &mut impl Log, now: Timestamp) {
        let now = seen(log, self.period(), now);
        while let Some(oldest) = log.get(0)
            && oldest.ends_at <= now
        {
            log.pop_oldest();
            log.set_used(log.used().saturating_sub(oldest.cost));
        }
    }

    fn answer(&self, log: &impl Log, now: Timestamp, used: u64, retry: Option<Retry>) -> Answer {
        Answer {
            remaining: self.max.saturating_sub(used),
            reset_after: if used == 0 {
                Duration::ZERO
            } else {
                until(self.idle_at(log), now)
            },
            retry,
            delay: Duration::ZERO,
        }
    }

    const fn period(&self) -> u64 {
        self.limit.period_nanos().get()
    }
}

/// The time that counts: `now`, or when the newest entry was made if the clock has gone back since.
fn seen(log: &impl Log, period: u64, now: Timestamp) -> u64 {
    let newest = log.newest().map_or(0, |newest| newest.ends_at.saturating_sub(period));
    newest.max(now.as_nanos())
}

/// When the oldest entries that still count, and have `units` together, count no more.
fn fits_at(log: &impl Log, now: u64, units: u64) -> u64 {
    let mut freed = 0u64;
    let mut counting = log.entries().skip_while(|entry| entry.ends_at <= now);
    let freeing = counting.find(|entry| {
        freed = freed.saturating_add(entry.cost);
        freed >= units
    });
    freeing.map_or(now, |entry| entry.ends_at)
}

/// Forgets the oldest units beyond `most`.
fn shed(log: &mut impl Log, most: u64) {
    while let Some(beyond) = log.used().checked_sub(most)
        && beyond > 0
        && let Some(oldest) = log.get(0)
    {
        if oldest.cost > beyond {
            let cost = oldest.cost - beyond;
            log.set(0, Entry { cost, ..oldest });
            log.set_used(most);
        } else {
            log.pop_oldest();
            log.set_used(log.used() - oldest.cost);
        }
    }
}

/// Closes the gap from the old side: what is taken back is mostly not the newest, and what is older ends first.
fn remove(log: &mut impl Log, index: usize) {
    for older in (0..index).rev() {
        if let Some(entry) = log.get(older) {
            log.set(older + 1, entry);
        }
    }
    log.pop_oldest();
}

const fn until(at: u64, now: Timestamp) -> Duration {
    Duration::from_nanos(at.saturating_sub(now.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    /// A log with room for some entries.
    #[derive(Debug, Clone, PartialEq)]
    struct Kept {
        entries: VecDeque<Entry>,
        room: usize,
        used: u64,
    }

    impl Log for Kept {
        fn len(&self) -> usize {
            self.entries.len()
        }

        fn get(&self, index: usize) -> Option<Entry> {
            self.entries.get(index).copied()
        }

        fn set(&mut self, index: usize, entry: Entry) {
            self.entries[index] = entry;
        }

        fn push_newest(&mut self, entry: Entry) -> Result<(), LogFull> {
            if self.entries.len() == self.room {
                return Err(LogFull);
            }
            self.entries.push_back(entry);
            Ok(())
        }

        fn pop_oldest(&mut self) {
            self.entries.pop_front();
        }

        fn used(&self) -> u64 {
            self.used
        }

        fn set_used(&mut self, units: u64) {
            self.used = units;
        }
    }

    fn room_for(room: usize) -> Kept {
        Kept {
            entries: VecDeque::new(),
            room,
            used: 0,
        }
    }

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn limit(text: &str) -> SlidingLog {
        SlidingLog::new(text.parse().expect(text))
    }

    /// `A` for a pass, `d` for a refusal, of requests of cost 1 at the given milliseconds.
    #[track_caller]
    fn check(text: &str, arrivals_ms: &[u64], expected: &str) {
        let limit = limit(text);
        let mut log = room_for(9);
        let got: alloc::string::String = arrivals_ms
            .iter()
            .map(|ms| {
                let answer = limit.decide(&mut log, at_ms(*ms), Cost::ONE).expect("room");
                if answer.passes() { 'A' } else { 'd' }
            })
            .collect();
        assert_eq!(got, expected, "{text} at {arrivals_ms:?}");
    }

    #[test]
    fn each_charge_counts_for_a_period_and_not_a_nanosecond_longer() {
        check("2/s", &[0, 900, 999, 1_000, 1_001, 1_899, 1_900], "AAdAddA");
    }

    #[test]
    fn two_requests_in_one_nanosecond_count_twice() {
        check("2/s", &[5, 5, 5], "AAd");
    }

    #[test]
    fn a_clock_that_goes_back_reads_as_one_that_stands() {
        check("2/s", &[800, 0, 0, 1_000, 1_799, 1_800], "AAdddA");
    }

    #[test]
    fn a_refusal_says_when_enough_of_the_oldest_count_no_more() {
        let limit = limit("5/s");
        let mut log = room_for(9);
        for (ms, cost) in [(0, 2), (100, 1), (300, 2)] {
            assert!(
                limit
                    .decide(&mut log, at_ms(ms), Cost::new(cost))
                    .expect("room")
                    .passes()
            );
        }
        let wait = |cost| limit.look(&log, at_ms(400), Cost::new(cost)).retry;
        let after = |ms| Some(Retry::After(Duration::from_millis(ms)));
        assert_eq!(
            (wait(0), wait(1), wait(2), wait(3)),
            (None, after(600), after(600), after(700))
        );
        assert_eq!(
            (wait(4), wait(5), wait(6)),
            (after(900), after(900), Some(Retry::Never))
        );
        assert_eq!(limit.look(&log, at_ms(1_050), Cost::ZERO).remaining, 2);
    }

    #[test]
    fn a_log_without_room_charges_nothing() {
        let limit = limit("5/s");
        let mut log = room_for(1);
        assert!(limit.decide(&mut log, at_ms(0), Cost::ONE).expect("room").passes());
        let before = log.clone();
        assert_eq!(limit.decide(&mut log, at_ms(1), Cost::ONE), Err(LogFull));
        assert_eq!(log, before);
        assert!(
            limit
                .decide(&mut log, at_ms(1_000), Cost::ONE)
                .expect("room again")
                .passes()
        );
    }

    #[test]
    fn what_is_taken_back_is_one_entry_of_its_cost() {
        let limit = limit("9/s");
        let mut log = room_for(9);
        for (ms, cost) in [(0, 1), (1, 2), (2, 2), (3, 3)] {
            let _ = limit.decide(&mut log, at_ms(ms), Cost::new(cost)).expect("room");
        }
        let costs = |log: &Kept| log.entries().map(|entry| entry.cost).collect::<alloc::vec::Vec<_>>();
        assert!(!limit.give_back(&mut log, Cost::new(1), at_ms(1), at_ms(3)));
        assert!(limit.give_back(&mut log, Cost::new(2), at_ms(2), at_ms(3)));
        assert_eq!((costs(&log), log.used()), (alloc::vec![1, 2, 3], 6));
        assert!(limit.give_back(&mut log, Cost::new(3), at_ms(0), at_ms(3)));
        assert!(limit.give_back(&mut log, Cost::new(1), at_ms(0), at_ms(3)));
        assert_eq!((costs(&log), log.used()), (alloc::vec![2], 2));
        assert!(!limit.give_back(&mut log, Cost::new(2), at_ms(1), at_ms(1_001)));
        assert!(limit.give_back(&mut log, Cost::new(2), at_ms(1), at_ms(1_000)));
        assert!(log.is_empty() && limit.idle_at(&log) == 0);
    }

    #[test]
    fn a_settled_charge_counts_as_what_it_was() {
        let limit = limit("3/s");
        let mut log = room_for(9);
        let _ = limit.decide(&mut log, at_ms(0), Cost::new(3)).expect("room");
        limit
            .settle(&mut log, Cost::new(3), Cost::new(1), at_ms(0), at_ms(1))
            .expect("room");
        assert_eq!(log.used(), 1);
        for _ in 0..9 {
            limit
                .settle(&mut log, Cost::new(1), Cost::new(4), at_ms(0), at_ms(2))
                .expect("room");
        }
        assert_eq!((log.used(), log.len()), (28, 3));
        assert!(!limit.look(&log, at_ms(1_001), Cost::ZERO).passes());
        assert!(limit.look(&log, at_ms(1_002), Cost::new(3)).passes());
    }

    #[test]
    fn a_penalty_takes_the_place_of_the_oldest() {
        let limit = limit("3/s");
        let mut log = room_for(9);
        for ms in [0, 100, 200, 900, 950] {
            if !limit.decide(&mut log, at_ms(ms), Cost::ONE).expect("room").passes() {
                limit.penalize(&mut log, at_ms(ms), Cost::ONE).expect("room");
            }
        }
        assert_eq!((log.used(), log.len()), (3, 3));
        let wait = limit.look(&log, at_ms(1_000), Cost::ONE).retry;
        assert_eq!(wait, Some(Retry::After(Duration::from_millis(200))));
        limit.overdraw(&mut log, at_ms(1_000), Cost::new(5)).expect("room");
        limit
            .penalize(&mut log, at_ms(1_000), Cost::new(u64::MAX))
            .expect("room");
        assert_eq!(log.used(), 8);
    }

    #[test]
    fn a_lowered_limit_forgets_the_oldest_beyond_it() {
        let mut log = room_for(9);
        for ms in 0..3 {
            let _ = limit("9/s").decide(&mut log, at_ms(ms), Cost::new(3)).expect("room");
        }
        limit("4/s").carry_over(&limit("9/s"), &mut log);
        assert_eq!((log.used(), log.len()), (4, 2));
        assert_eq!(
            limit("4/s").look(&log, at_ms(3), Cost::ONE).retry,
            Some(Retry::After(Duration::from_millis(998)))
        );
    }

    #[test]
    fn another_clock_reads_how_long_each_entry_still_counts() {
        let limit = limit("9/s");
        let kept = limit.keep(
            Entry {
                ends_at: 1_500_000_000,
                cost: 2,
            },
            at_ms(1_000),
        );
        let restored = |away| limit.restore(kept, at_ms(0), Duration::from_millis(away));
        assert_eq!(restored(100).map(|entry| entry.ends_at), Some(400_000_000));
        assert_eq!((restored(500), restored(u64::MAX)), (None, None));
    }
}

//! The sliding window: this window's count, and as much of the last one's as is not yet a period ago.

use core::time::Duration;

use super::answer::{Answer, Ruling, Wide};
use super::windows::Windows;
use crate::{Cost, Limit, Retry, Timestamp};

/// A limit of `n` units in any window of length `P`, nearly, made ready to decide by. The limit's burst plays no part.
///
/// Windows lie side by side, aligned to the Unix epoch. With `previous` and `current` units counted in the last window
/// and in this one, of which `elapsed` has passed, a request of cost `c` passes if
/// `previous·(P − elapsed) + (current + c)·P ≤ n·P`, exactly: as if the last window's units had come evenly.
///
/// Where they came all at its end, some window of length `P` can hold up to 2n − 1 units, never 2n; under steady overload
/// none holds more than n. Tests measure both.
///
/// A clock that goes back before this window's start reads as one that stands there: it may refuse more, and admits
/// nothing more.
///
/// It remembers of a key when both windows are over, and the two counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    windows: Windows,
    limit: Limit,
}

/// Two windows side by side, and what was counted in them.
#[derive(Clone, Copy)]
struct Pair {
    /// When the current window ends.
    ends_at: u64,
    previous: u64,
    current: u64,
}

impl SlidingWindow {
    /// Windows of `limit`'s period. `epoch_at_start` is the Unix time in nanoseconds at which the caller's clock started,
    /// read once.
    pub const fn new(limit: Limit, epoch_at_start: u64) -> Self {
        Self {
            windows: Windows::new(&limit, epoch_at_start),
            limit,
        }
    }

    /// The limit these windows keep.
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Decides one request. Only a key's first charge in two windows divides for the decision; telling what remains
    /// divides once.
    #[inline]
    pub fn decide(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        let mut pair = self.pair(state, now);
        let (max, cost) = (self.count_max(), cost.units());
        let retry = if cost > max {
            Some(Retry::Never)
        } else if self.fits(&pair, now, cost) {
            pair.current += cost;
            None
        } else {
            Some(Retry::After(self.wait(&pair, now, cost)))
        };
        Ruling {
            state: if retry.is_none() && cost > 0 {
                self.keep_pair(pair)
            } else {
                state
            },
            answer: Answer {
                remaining: self.remaining(&pair, now),
                reset_after: self.reset_after(&pair, now),
                retry,
                delay: Duration::ZERO,
            },
        }
    }

    /// When a charge at `now` counts: now, or at the start of its window if the clock has gone back since that began. By this
    /// time it is taken back.
    pub fn counted_at(&self, state: Wide, now: Timestamp) -> Timestamp {
        let begins_at = self.pair(state, now).ends_at.saturating_sub(self.windows.period());
        now.max(Timestamp::from_nanos(begins_at))
    }

    /// The state after a charge of `cost`, made at `charged_at`, is taken back: only the window that was charged gets it.
    #[must_use]
    pub const fn give_back(&self, state: Wide, cost: Cost, charged_at: Timestamp) -> Wide {
        let mut pair = self.pair_of(state);
        let charged_at = charged_at.as_nanos();
        let begins_at = pair.ends_at.saturating_sub(self.windows.period());
        if charged_at >= pair.ends_at {
            return state;
        } else if charged_at >= begins_at {
            pair.current = pair.current.saturating_sub(cost.units());
        } else if charged_at >= begins_at.saturating_sub(self.windows.period()) {
            pair.previous = pair.previous.saturating_sub(cost.units());
        } else {
            return state;
        }
        self.keep_pair(pair)
    }

    /// The state after a charge that is made whether it fits or not, to the window of `now`.
    #[must_use]
    pub fn overdraw(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        if cost.units() == 0 {
            return state;
        }
        let mut pair = self.pair(state, now);
        pair.current = pair.current.saturating_add(cost.units());
        self.keep_pair(pair)
    }

    /// The state after a refused request is charged all the same, as a penalty: as far as `n` reaches within the window of
    /// `now`, whatever the last one still counts.
    #[must_use]
    pub fn penalize(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        let pair = self.pair(state, now);
        let room = self.count_max().saturating_sub(pair.current);
        self.overdraw(state, now, cost.min(Cost::new(room)))
    }

    /// A state of `old`'s, which differs in nothing but its count: what counts now stays, as far as a changed limit
    /// reaches.
    #[must_use]
    pub fn carry_over(&self, old: &Self, state: Wide, now: Timestamp) -> Wide {
        if self.limit == old.limit {
            return state;
        }
        let mut pair = self.pair(state, now);
        pair.current = pair.current.min(self.count_max());
        // A window in which `now` lies is not over: at least a nanosecond is left of it.
        let room = u128::from(self.count_max() - pair.current) * u128::from(self.windows.period());
        let previous_max = room / u128::from(self.left(&pair, now).max(1));
        pair.previous = pair.previous.min(u64::try_from(previous_max).unwrap_or(u64::MAX));
        self.keep_pair(pair)
    }

    /// What to keep of a state where another clock will read it: the current window's end, in Unix time.
    pub fn keep(&self, state: Wide, now: Timestamp) -> [u64; 3] {
        if state.is_idle(now) {
            return [0; 3];
        }
        let pair = self.pair_of(state);
        [self.windows.unix_of(pair.ends_at), pair.previous, pair.current]
    }

    /// The state of what was kept; [`Wide::UNSEEN`] if both windows are over.
    pub fn restore(&self, kept: [u64; 3], now: Timestamp) -> Wide {
        let [ends_at, previous, current] = kept;
        // Of a window that ended before the clock started, the end of the next still may lie ahead.
        let (ends_at, previous, current) = match self.windows.at_unix(ends_at, now) {
            Some(ends_at) => (ends_at, previous, current),
            None => match self.windows.at_unix(ends_at.saturating_add(self.windows.period()), now) {
                Some(ends_at) => (ends_at, current, 0),
                None => return Wide::UNSEEN,
            },
        };
        let state = self.keep_pair(Pair {
            ends_at,
            previous,
            current,
        });
        if state.is_idle(now) { Wide::UNSEEN } else { state }
    }

    /// The windows as they were written.
    const fn pair_of(&self, state: Wide) -> Pair {
        let [idle_at, previous, current] = state.words();
        Pair {
            ends_at: idle_at.saturating_sub(self.windows.period()),
            previous,
            current,
        }
    }

    /// The windows that a charge at `now` counts in.
    fn pair(&self, state: Wide, now: Timestamp) -> Pair {
        let pair = self.pair_of(state);
        if now.as_nanos() < pair.ends_at {
            pair
        } else if now.as_nanos() < state.idle_at() {
            Pair {
                ends_at: state.idle_at(),
                previous: pair.current,
                current: 0,
            }
        } else {
            Pair {
                ends_at: self.windows.end(now),
                previous: 0,
                current: 0,
            }
        }
    }

    const fn keep_pair(&self, pair: Pair) -> Wide {
        if pair.previous == 0 && pair.current == 0 {
            return Wide::UNSEEN;
        }
        // A window ends below 2⁶² + 2⁵⁹; words that nobody wrote could say otherwise.
        let idle_at = pair.ends_at.saturating_add(self.windows.period());
        let idle_at = if idle_at > Wide::NEVER { Wide::NEVER } else { idle_at };
        Wide::from_words([idle_at, pair.previous, pair.current])
    }

    /// Nanoseconds of the current window that are still to come: the share of the last one that still counts.
    fn left(&self, pair: &Pair, now: Timestamp) -> u64 {
        pair.ends_at.saturating_sub(now.as_nanos()).min(self.windows.period())
    }

    fn fits(&self, pair: &Pair, now: Timestamp, cost: u64) -> bool {
        // No overflow: each product is below 2⁶⁵ × 2⁵⁹.
        let period = u128::from(self.windows.period());
        let counted = u128::from(pair.previous) * u128::from(self.left(pair, now));
        counted + (u128::from(pair.current) + u128::from(cost)) * period <= u128::from(self.count_max()) * period
    }

    /// The least wait after which a cost of at most `n`, which does not fit now, would fit.
    fn wait(&self, pair: &Pair, now: Timestamp, cost: u64) -> Duration {
        let room = self.count_max() - cost;
        // What counts falls evenly to the current window's end, and from there on as evenly to the next one's; it does
        // not jump between. So the first point at which the cost fits lies where the line meets the room.
        let fits_at = match room.checked_sub(pair.current) {
            Some(room) => pair.ends_at - self.left_for(room, pair.previous),
            None => pair.ends_at + (self.windows.period() - self.left_for(room, pair.current)),
        };
        Duration::from_nanos(fits_at.saturating_sub(now.as_nanos()))
    }

    /// The most nanoseconds that may be left of a window, so that its share of `count` is at most `room`; at most a
    /// period.
    fn left_for(&self, room: u64, count: u64) -> u64 {
        let period = self.windows.period();
        if room >= count {
            return period;
        }
        let left = u128::from(room) * u128::from(period) / u128::from(count);
        // room < count, so the quotient is below the period.
        u64::try_from(left).unwrap_or(period)
    }

    fn remaining(&self, pair: &Pair, now: Timestamp) -> u64 {
        let counted = u128::from(pair.previous) * u128::from(self.left(pair, now));
        let period = self.windows.period();
        // The short division where it does: it takes a third of the time.
        let counted = match u64::try_from(counted) {
            Ok(counted) => counted.div_ceil(period),
            // left ≤ period, so the quotient is at most `previous`.
            Err(_) => u64::try_from(counted.div_ceil(u128::from(period))).unwrap_or(u64::MAX),
        };
        self.count_max().saturating_sub(counted).saturating_sub(pair.current)
    }

    fn reset_after(&self, pair: &Pair, now: Timestamp) -> Duration {
        let whole_at = if pair.current > 0 {
            pair.ends_at + self.windows.period()
        } else if pair.previous > 0 {
            pair.ends_at
        } else {
            return Duration::ZERO;
        };
        Duration::from_nanos(whole_at.saturating_sub(now.as_nanos()))
    }

    const fn count_max(&self) -> u64 {
        self.limit.count().get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn window(limit: &str) -> SlidingWindow {
        SlidingWindow::new(limit.parse().expect(limit), 0)
    }

    /// `A` for a pass, `d` for a refusal, of requests of cost 1 at the given milliseconds.
    #[track_caller]
    fn check(limit: &str, arrivals_ms: &[u64], expected: &str) {
        let window = window(limit);
        let mut state = Wide::UNSEEN;
        let got: alloc::string::String = arrivals_ms
            .iter()
            .map(|ms| {
                let ruling = window.decide(state, at_ms(*ms), Cost::ONE);
                state = ruling.state;
                if ruling.answer.passes() { 'A' } else { 'd' }
            })
            .collect();
        assert_eq!(got, expected, "{limit} at {arrivals_ms:?}");
    }

    #[test]
    fn the_last_window_counts_by_what_of_it_is_not_yet_a_period_ago() {
        check("4/s", &[0, 0, 0, 0, 0, 1_000, 1_249, 1_250, 1_499, 1_500], "AAAAdddAdA");
    }

    #[test]
    fn after_two_windows_nothing_counts() {
        check("2/s", &[500, 500, 1_000, 2_000, 2_000, 2_000], "AAdAAd");
        check("2/s", &[0, 0, 9_500, 9_500, 9_500], "AAAAd");
    }

    #[test]
    fn a_clock_that_goes_back_admits_nothing_more() {
        check(
            "4/s",
            &[999, 999, 999, 999, 1_500, 1_500, 1_000, 0, 1_500, 1_750],
            "AAAAAAdddA",
        );
    }

    #[track_caller]
    fn check_wait(limit: &str, charges_ms: &[u64], now_ms: u64, cost: u64, expected: Option<Duration>) {
        let window = window(limit);
        let mut state = Wide::UNSEEN;
        for ms in charges_ms {
            let ruling = window.decide(state, at_ms(*ms), Cost::ONE);
            assert!(ruling.answer.passes(), "{limit}: {ms}");
            state = ruling.state;
        }
        let answer = window.decide(state, at_ms(now_ms), Cost::new(cost)).answer;
        let expected = expected.map_or(Retry::Never, Retry::After);
        assert_eq!(answer.retry, Some(expected));
    }

    #[test]
    fn a_refusal_knows_the_first_nanosecond_at_which_it_would_pass() {
        let millis = |ms| Some(Duration::from_millis(ms));
        check_wait("4/s", &[0, 0, 0, 0], 1_000, 1, millis(250));
        check_wait("4/s", &[0, 0, 0, 0], 100, 1, millis(1_150));
        check_wait("4/s", &[0, 0, 0, 0], 100, 4, millis(1_900));
        check_wait("4/s", &[0, 0, 0, 0], 100, 5, None);
        check_wait("3/s", &[0, 0, 0], 1_000, 1, Some(Duration::from_nanos(333_333_334)));
        // This window is full by itself, and most of it still counts in the next.
        check_wait(
            "4/s",
            &[0, 1_750, 1_750, 1_750],
            1_800,
            3,
            Some(Duration::from_nanos(866_666_667)),
        );
    }

    #[test]
    fn a_refund_goes_to_the_window_that_was_charged_and_no_other() {
        let window = window("8/s");
        let left = |state, ms| window.decide(state, at_ms(ms), Cost::ZERO).answer.remaining;
        let first = window.decide(Wide::UNSEEN, at_ms(0), Cost::new(8)).state;
        let second = window.decide(first, at_ms(1_500), Cost::new(2)).state;
        assert_eq!(left(second, 1_500), 2);
        assert_eq!(left(window.give_back(second, Cost::new(2), at_ms(1_500)), 1_500), 4);
        assert_eq!(left(window.give_back(second, Cost::new(4), at_ms(0)), 1_500), 4);
        let third = window.decide(second, at_ms(2_000), Cost::new(1)).state;
        assert_eq!(window.give_back(third, Cost::new(8), at_ms(0)), third);
    }

    #[test]
    fn another_clock_reads_the_same_windows() {
        let (before, now) = (window("8/s"), at_ms(1_500));
        let state = before.decide(Wide::UNSEEN, at_ms(0), Cost::new(8)).state;
        let state = before.decide(state, now, Cost::new(3)).state;
        let kept = before.keep(state, now);
        let left = |epoch_ms: u64| {
            let after = SlidingWindow::new(*before.limit(), epoch_ms * 1_000_000);
            let restored = after.restore(kept, at_ms(0));
            after.decide(restored, at_ms(0), Cost::ZERO).answer.remaining
        };
        assert_eq!(left(1_500), 1);
        assert_eq!(left(1_750), 3);
        assert_eq!(left(2_500), 6);
        assert_eq!(left(3_000), 8);
    }

    #[test]
    fn a_lowered_limit_cuts_what_counts_to_itself_and_no_further() {
        let (old, new) = (window("8/s"), window("4/s"));
        let state = old.decide(Wide::UNSEEN, at_ms(0), Cost::new(8)).state;
        // A quarter into the next window six of the eight still count: cut to four of them, five and a third before.
        let cut = new.carry_over(&old, state, at_ms(1_250));
        let left = |ms| new.decide(cut, at_ms(ms), Cost::ZERO).answer.remaining;
        assert_eq!((left(1_250), left(1_500), left(1_999)), (0, 1, 3));
        assert_eq!(old.carry_over(&old, state, at_ms(1_250)), state);
    }
}

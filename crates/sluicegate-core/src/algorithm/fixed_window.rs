//! The fixed window: a count that starts afresh in each window.

use core::time::Duration;

use super::answer::{Answer, Ruling, Wide};
use super::choice::Align;
use super::windows::Windows;
use crate::{Cost, Limit, Retry, Timestamp};

/// A limit of `n` units in each window of length `P`, made ready to decide by. The limit's burst plays no part.
///
/// A request of cost `c` passes if the window's count, with it, is at most `n`. No window admits more; but `n` at the end
/// of one and `n` at the start of the next are 2n within a moment, which is this algorithm's known weakness.
///
/// A window begins at a whole period since the Unix epoch, or at the first charge after the last window
/// ([`Align`]). It lasts until its end whatever the clock does meanwhile: one that goes back, even before the window's
/// start, still counts in it.
///
/// It remembers of a key when the window ends and what was counted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    windows: Windows,
    align: Align,
    limit: Limit,
}

/// A window, and what was counted in it.
#[derive(Clone, Copy)]
struct Window {
    ends_at: u64,
    count: u64,
}

impl Window {
    const fn of(state: Wide) -> Self {
        let [ends_at, count, _] = state.words();
        Self { ends_at, count }
    }

    const fn keep(self) -> Wide {
        // A window in which nothing was counted need not be kept.
        if self.count == 0 {
            return Wide::UNSEEN;
        }
        Wide::from_words([self.ends_at, self.count, 0])
    }
}

impl FixedWindow {
    /// Windows of `limit`'s period. `epoch_at_start` is the Unix time in nanoseconds at which the caller's clock started,
    /// read once; only [`Align::Epoch`] asks for it.
    pub const fn new(limit: Limit, align: Align, epoch_at_start: u64) -> Self {
        Self {
            windows: Windows::new(&limit, epoch_at_start),
            align,
            limit,
        }
    }

    /// The limit these windows keep.
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Where windows begin.
    pub const fn align(&self) -> Align {
        self.align
    }

    /// Decides one request. Divides only where a new window begins.
    #[inline]
    pub fn decide(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        let mut window = self.window(state, now);
        let (max, cost) = (self.count_max(), cost.units());
        let retry = if cost > max {
            Some(Retry::Never)
        } else if window.count > max - cost {
            Some(Retry::After(until(window.ends_at, now)))
        } else {
            window.count += cost;
            None
        };
        Ruling {
            state: if retry.is_none() && cost > 0 {
                window.keep()
            } else {
                state
            },
            answer: Answer {
                remaining: max.saturating_sub(window.count),
                reset_after: if window.count == 0 {
                    Duration::ZERO
                } else {
                    until(window.ends_at, now)
                },
                retry,
                delay: Duration::ZERO,
            },
        }
    }

    /// When a charge at `now` counts: now, or at the start of its window if the clock has gone back since that began. By this
    /// time it is taken back.
    pub fn counted_at(&self, state: Wide, now: Timestamp) -> Timestamp {
        let begins_at = self.window(state, now).ends_at.saturating_sub(self.windows.period());
        now.max(Timestamp::from_nanos(begins_at))
    }

    /// The state after a charge of `cost`, made at `charged_at`, is taken back: only the window that was charged gets it.
    #[must_use]
    pub const fn give_back(&self, state: Wide, cost: Cost, charged_at: Timestamp) -> Wide {
        let mut window = Window::of(state);
        let begins_at = window.ends_at.saturating_sub(self.windows.period());
        let charged_at = charged_at.as_nanos();
        if charged_at < begins_at || charged_at >= window.ends_at {
            return state;
        }
        window.count = window.count.saturating_sub(cost.units());
        window.keep()
    }

    /// The state after a charge that is made whether it fits or not; the count may then be above `n` until the window
    /// ends.
    #[must_use]
    pub fn overdraw(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        if cost.units() == 0 {
            return state;
        }
        let mut window = self.window(state, now);
        window.count = window.count.saturating_add(cost.units());
        window.keep()
    }

    /// The state after a refused request is charged all the same, as a penalty: as far as `n` reaches.
    #[must_use]
    pub fn penalize(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        let window = self.window(state, now);
        let room = self.count_max().saturating_sub(window.count);
        self.overdraw(state, now, cost.min(Cost::new(room)))
    }

    /// A state of `old`'s, which differs in nothing but its count: what was counted stays, as far as a changed limit
    /// reaches.
    #[must_use]
    pub fn carry_over(&self, old: &Self, state: Wide) -> Wide {
        if self.limit == old.limit {
            return state;
        }
        let mut window = Window::of(state);
        window.count = window.count.min(self.count_max());
        window.keep()
    }

    /// What to keep of a state where another clock will read it: the window's end, in Unix time, or how far ahead it lies
    /// if windows begin with the first hit.
    pub fn keep(&self, state: Wide, now: Timestamp) -> [u64; 3] {
        let window = Window::of(state);
        if state.is_idle(now) {
            return [0; 3];
        }
        let ends_at = match self.align {
            Align::Epoch => self.windows.unix_of(window.ends_at),
            Align::FirstHit => window.ends_at - now.as_nanos(),
        };
        [ends_at, window.count, 0]
    }

    /// The state of what was kept `away` ago; [`Wide::UNSEEN`] if its window is over.
    pub fn restore(&self, kept: [u64; 3], now: Timestamp, away: Duration) -> Wide {
        let [ends_at, count, _] = kept;
        let ends_at = match self.align {
            Align::Epoch => self.windows.at_unix(ends_at, now),
            Align::FirstHit => {
                let left = ends_at.min(self.windows.period());
                Some(now.as_nanos() + left.saturating_sub(crate::time::saturating_nanos(away)))
            }
        };
        match ends_at {
            Some(ends_at) if ends_at > now.as_nanos() => Window { ends_at, count }.keep(),
            _ => Wide::UNSEEN,
        }
    }

    /// The window that a charge at `now` counts in.
    fn window(&self, state: Wide, now: Timestamp) -> Window {
        let window = Window::of(state);
        if now.as_nanos() < window.ends_at {
            return window;
        }
        let ends_at = match self.align {
            Align::Epoch => self.windows.end(now),
            Align::FirstHit => now.as_nanos() + self.windows.period(),
        };
        Window { ends_at, count: 0 }
    }

    const fn count_max(&self) -> u64 {
        self.limit.count().get()
    }
}

/// From `now` to a point after it.
const fn until(at: u64, now: Timestamp) -> Duration {
    Duration::from_nanos(at.saturating_sub(now.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Unix time at which these tests' clock starts: 300 ms into a window of a second.
    const EPOCH_AT_START: u64 = 1_800_000_000_300_000_000;

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn window(limit: &str, align: Align) -> FixedWindow {
        FixedWindow::new(limit.parse().expect(limit), align, EPOCH_AT_START)
    }

    /// `A` for a pass, `d` for a refusal, of requests of cost 1 at the given milliseconds.
    #[track_caller]
    fn check(limit: &str, align: Align, arrivals_ms: &[u64], expected: &str) {
        let window = window(limit, align);
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
    fn windows_begin_at_whole_periods_since_the_epoch() {
        check("2/s", Align::Epoch, &[0, 699, 699, 700, 1_699, 1_699, 1_700], "AAdAAdA");
    }

    #[test]
    fn windows_begin_at_the_first_hit_and_the_next_at_the_first_after_the_end() {
        check(
            "2/s",
            Align::FirstHit,
            &[600, 1_599, 1_599, 1_600, 2_599, 2_599, 9_000],
            "AAdAAdA",
        );
    }

    #[test]
    fn a_clock_that_goes_back_still_counts_in_its_window() {
        check("2/s", Align::Epoch, &[800, 0, 0, 800, 1_699, 1_700], "AAdddA");
        check("2/s", Align::FirstHit, &[800, 0, 0, 800, 1_799, 1_800], "AAdddA");
    }

    #[test]
    fn two_windows_meet_with_twice_the_count() {
        check("3/s", Align::Epoch, &[699, 699, 699, 700, 700, 700, 700], "AAAAAAd");
    }

    #[test]
    fn a_refusal_says_when_the_window_ends_or_that_waiting_will_not_help() {
        let window = window("2/s", Align::Epoch);
        let full = window.decide(Wide::UNSEEN, at_ms(200), Cost::new(2));
        assert_eq!(
            (full.answer.remaining, full.answer.reset_after),
            (0, Duration::from_millis(500))
        );
        let refused = window.decide(full.state, at_ms(400), Cost::ONE);
        assert_eq!(refused.answer.retry, Some(Retry::After(Duration::from_millis(300))));
        assert_eq!(refused.state, full.state);
        let never = window.decide(full.state, at_ms(400), Cost::new(3));
        assert_eq!(never.answer.retry, Some(Retry::Never));
    }

    #[test]
    fn a_refund_goes_to_the_window_that_was_charged_and_no_other() {
        let window = window("5/s", Align::Epoch);
        let first = window.decide(Wide::UNSEEN, at_ms(600), Cost::new(4)).state;
        let left = |state, ms| window.decide(state, at_ms(ms), Cost::ZERO).answer.remaining;
        assert_eq!(left(window.give_back(first, Cost::new(3), at_ms(600)), 650), 4);
        let second = window.decide(first, at_ms(701), Cost::new(4)).state;
        assert_eq!(left(window.give_back(second, Cost::new(4), at_ms(600)), 702), 1);
        assert_eq!(window.give_back(second, Cost::new(4), at_ms(701)), Wide::UNSEEN);
    }

    #[test]
    fn an_overdraft_refuses_even_a_cost_of_zero_until_the_window_ends() {
        let window = window("5/s", Align::Epoch);
        let state = window.overdraw(Wide::UNSEEN, at_ms(0), Cost::new(u64::MAX));
        let state = window.overdraw(state, at_ms(0), Cost::new(9));
        let answer = window.decide(state, at_ms(0), Cost::ZERO).answer;
        assert_eq!(
            (answer.remaining, answer.retry),
            (0, Some(Retry::After(Duration::from_millis(700))))
        );
        assert_eq!(window.decide(state, at_ms(700), Cost::ZERO).answer.remaining, 5);
    }

    #[test]
    fn another_clock_reads_the_same_window_and_none_that_is_over() {
        let (before, now) = (window("5/s", Align::Epoch), at_ms(500));
        let state = before.decide(Wide::UNSEEN, now, Cost::new(3)).state;
        let kept = before.keep(state, now);
        // The new clock starts 150 ms later than the moment of keeping, at 950 ms of the same second.
        let after = FixedWindow::new(*before.limit(), Align::Epoch, EPOCH_AT_START + 650_000_000);
        let restored = after.restore(kept, at_ms(0), Duration::from_millis(150));
        let answer = after.decide(restored, at_ms(0), Cost::ZERO).answer;
        assert_eq!((answer.remaining, answer.reset_after), (2, Duration::from_millis(50)));
        assert_eq!(after.restore(kept, at_ms(50), Duration::from_millis(200)), Wide::UNSEEN);
        // A wall clock that went back by an hour: the window of now is as far used, and ends when it ends.
        let earlier = FixedWindow::new(*before.limit(), Align::Epoch, EPOCH_AT_START - 3_600_000_000_000);
        let restored = earlier.restore(kept, at_ms(0), Duration::ZERO);
        let answer = earlier.decide(restored, at_ms(0), Cost::ZERO).answer;
        assert_eq!((answer.remaining, answer.reset_after), (2, Duration::from_millis(700)));
    }
}

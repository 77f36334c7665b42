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

    /// A state of a limit that differs in nothing but its count: what was counted stays, as far as this limit reaches.
    #[must_use]
    pub fn carry_over(&self, state: Wide) -> Wide {
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

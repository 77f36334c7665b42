//! Where the time comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluicegate_core::Timestamp;

/// A monotonic clock. Read once per decision, and handed down as a value.
pub trait Clock: Send + Sync {
    /// The time since this clock's start. Within one thread never earlier than the time before.
    fn now(&self) -> Timestamp;

    /// The Unix time, in nanoseconds, at this clock's start: what windows are aligned by. Read from the wall once and for all, so that
    /// no later step of it moves a window; zero where the wall's clock is before 1970.
    fn epoch_at_start(&self) -> u64;

    /// The Unix time now, in nanoseconds, for what outlives the process: as the wall shows it, steps included. Where there is no
    /// wall, as [`Self::now`] says.
    fn unix_now(&self) -> u64 {
        self.epoch_at_start().saturating_add(self.now().as_nanos())
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn epoch_at_start(&self) -> u64 {
        (**self).epoch_at_start()
    }

    fn unix_now(&self) -> u64 {
        (**self).unix_now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn epoch_at_start(&self) -> u64 {
        (**self).epoch_at_start()
    }

    fn unix_now(&self) -> u64 {
        (**self).unix_now()
    }
}

/// The machine's clock: its time stamp counter where that is steady, else the system's monotonic clock.
///
/// The obvious choice, `std::time::Instant`, costs 20 ns and more a reading, more than the whole decision. The counter
/// costs what the instruction costs (5 to 10 ns) and is calibrated once, at the process's first `SystemClock`, which takes up to 200 ms.
/// It is not disciplined afterwards: it may run fast or slow by some 10 parts in a million, and so do limits.
#[derive(Debug, Clone)]
pub struct SystemClock {
    source: quanta::Clock,
    start: u64,
    epoch_at_start: u64,
}

impl SystemClock {
    /// A clock that starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that holds the machine's clock"
    )]
    pub fn new() -> Self {
        let source = quanta::Clock::new();
        let start = source.raw();
        Self {
            source,
            start,
            epoch_at_start: unix_nanos(),
        }
    }
}

/// The wall's clock: nanoseconds since 1970, zero before. For what is kept beyond the process, where no monotonic clock reaches.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall's clock"
)]
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        // A counter that went back between two cores gives zero here, and a bucket takes earlier times as no time.
        Timestamp::from_nanos(self.source.delta_as_nanos(self.start, self.source.raw()))
    }

    fn epoch_at_start(&self) -> u64 {
        self.epoch_at_start
    }

    fn unix_now(&self) -> u64 {
        unix_nanos()
    }
}

/// A clock that stands until it is moved, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            nanos: AtomicU64::new(now.as_nanos()),
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, span: Duration) {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(span, Ordering::Relaxed);
    }

    /// Sets the clock, also back.
    pub fn set(&self, now: Timestamp) {
        self.nanos.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// A manual clock starts in 1970.
    fn epoch_at_start(&self) -> u64 {
        0
    }
}

/// Either clock, so that what holds one need not be generic over it.
#[derive(Debug, Clone)]
pub enum AnyClock {
    /// The machine's.
    System(SystemClock),
    /// One that a test or a simulation moves.
    Manual(Arc<ManualClock>),
}

impl From<SystemClock> for AnyClock {
    fn from(clock: SystemClock) -> Self {
        Self::System(clock)
    }
}

impl From<Arc<ManualClock>> for AnyClock {
    fn from(clock: Arc<ManualClock>) -> Self {
        Self::Manual(clock)
    }
}

impl Clock for AnyClock {
    #[inline]
    fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    fn epoch_at_start(&self) -> u64 {
        match self {
            Self::System(clock) => clock.epoch_at_start(),
            Self::Manual(clock) => clock.epoch_at_start(),
        }
    }

    fn unix_now(&self) -> u64 {
        match self {
            Self::System(clock) => clock.unix_now(),
            Self::Manual(clock) => clock.unix_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_hands_out_an_earlier_time_than_before() {
        let clock = SystemClock::new();
        let mut before = clock.now();
        for _ in 0..100_000 {
            let now = clock.now();
            assert!(now >= before);
            before = now;
        }
    }

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let clock = ManualClock::at(Timestamp::from_nanos(5));
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.now(), Timestamp::from_nanos(12));
        clock.set(Timestamp::ZERO);
        assert_eq!(clock.now(), Timestamp::ZERO);
    }
}

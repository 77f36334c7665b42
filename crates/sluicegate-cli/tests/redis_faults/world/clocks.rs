//! Clocks of nodes that are wrong: set elsewhere, running apart, and jumping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sluicegate::{AnyClock, Clock as _, ManualClock, SystemClock};
use sluicegate_core::Timestamp;

use super::ms;

/// How a node's clock differs from the machine's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Skew {
    /// By how much it is ahead.
    pub(crate) ahead: Duration,
    /// By how many of a million it is too fast.
    pub(crate) fast_ppm: u32,
}

/// Clocks, and a thread that moves them on each millisecond.
#[derive(Debug)]
pub(crate) struct Clocks {
    hands: Arc<[Hand]>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Hand {
    clock: Arc<ManualClock>,
    ahead_ns: AtomicU64,
    fast_ppm: u32,
}

impl Clocks {
    pub(crate) fn start(by: SystemClock, skews: &[Skew]) -> Self {
        let hand = |skew: &Skew| Hand {
            clock: Arc::new(ManualClock::at(by.now())),
            ahead_ns: AtomicU64::new(nanos(skew.ahead)),
            fast_ppm: skew.fast_ppm,
        };
        let hands: Arc<[Hand]> = skews.iter().map(hand).collect();
        hands.iter().for_each(|hand| hand.turn(by.now()));
        let (stop, stopped) = mpsc::channel::<()>();
        let turned = Arc::clone(&hands);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(ms(1)) == Err(RecvTimeoutError::Timeout) {
                turned.iter().for_each(|hand| hand.turn(by.now()));
            }
        });
        Self {
            hands,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The clock of a node; `None` if it goes by the machine's.
    pub(crate) fn of(&self, node: usize) -> Option<AnyClock> {
        let hand = self.hands.get(node)?;
        Some(Arc::clone(&hand.clock).into())
    }

    /// Sets a node's clock ahead, as after its machine was suspended.
    pub(crate) fn jump(&self, node: usize, by: Duration) {
        self.hands[node].ahead_ns.fetch_add(nanos(by), Ordering::Relaxed);
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has shown in what the test expected.
            let _ = thread.join();
        }
    }
}

impl Hand {
    fn turn(&self, now: Timestamp) {
        let now = now.as_nanos();
        let drift = now / 1_000_000 * u64::from(self.fast_ppm);
        self.clock.set(Timestamp::from_nanos(
            now + drift + self.ahead_ns.load(Ordering::Relaxed),
        ));
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

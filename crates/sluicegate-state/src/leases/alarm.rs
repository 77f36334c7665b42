//! How the driver sleeps until something is due.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::wheel::{NEVER, TICK_US};
use super::{LaneSet, Leases};
use crate::atomics::{AtomicU64, Mutex, Ordering, fence, lock};

/// Wakes the driver when something is due before what it sleeps for.
pub(super) struct Alarm {
    /// Until which tick the driver sleeps; zero while it is awake.
    sleeps_until: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            sleeps_until: AtomicU64::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Something is due. Not to be called under a lock.
    pub(super) fn ring(&self, ring: Ring) {
        let Some(tick) = ring.0 else { return };
        // With the driver's fence: it says until when it sleeps and then looks once more at what is due, while whoever gets here has said
        // what is due and then looks until when it sleeps. One of the two sees the other.
        fence(Ordering::SeqCst);
        if tick < self.sleeps_until.load(Ordering::SeqCst) && self.sleeps_until.swap(0, Ordering::SeqCst) != 0 {
            let waker = lock(&self.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// By when something has come to be due that the driver may not know of.
#[derive(Clone, Copy)]
#[must_use]
pub(super) struct Ring(pub(super) Option<u64>);

/// Ends when something is due earlier than `until` said. Made by [`Leases::due_before`].
#[must_use]
pub struct Due<'l> {
    leases: &'l Leases,
    until: u64,
    except: LaneSet,
}

impl Leases {
    /// When the next entry of a lane that is not among `except` is due, in microseconds of the node's clock; infinite if none is.
    pub fn next_due(&self, except: &LaneSet) -> f64 {
        time_of(self.dues(except).min())
    }

    /// When the first request has waited for too long, in microseconds of the node's clock: when [`Leases::expire`] is to be called.
    pub fn next_late(&self) -> f64 {
        time_of(self.lates.iter().map(|late| late.load(Ordering::SeqCst)).min())
    }

    pub(super) fn dues(&self, except: &LaneSet) -> impl Iterator<Item = u64> {
        let has_exceptions = !except.is_empty();
        let dues = (0..=u8::MAX).zip(&self.dues);
        let asked = dues.filter(move |(shard, _)| !has_exceptions || !except.has(self.surroundings.lane(*shard)));
        asked.map(|(_, due)| due.load(Ordering::SeqCst))
    }

    /// A future that ends once something of a lane that is not among `except` is due earlier than `time`, in microseconds of the node's
    /// clock: what a driver sleeps by, beside a timer for `time` itself. `except` are the lanes that may not be asked before then: what
    /// is due there is due already, and must not keep the driver awake. Of `time` zero, only what is urgent ends it: that is due
    /// before all else. One driver sleeps at a time.
    pub const fn due_before(&self, time: f64, except: LaneSet) -> Due<'_> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an infinite time saturates, which is never"
        )]
        let tick = (time / TICK_US) as u64;
        Due {
            leases: self,
            until: if tick == 0 { 1 } else { tick },
            except,
        }
    }
}

/// When a tick begins, in microseconds; infinite if there is none.
#[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2⁵³")]
pub(super) fn time_of(tick: Option<u64>) -> f64 {
    match tick {
        None | Some(NEVER) => f64::INFINITY,
        Some(tick) => tick as f64 * TICK_US,
    }
}

impl Future for Due<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = &self.leases.alarm;
        *lock(&alarm.waker) = Some(cx.waker().clone());
        alarm.sleeps_until.store(self.until, Ordering::SeqCst);
        // With the one of whoever rings.
        fence(Ordering::SeqCst);
        if self.leases.dues(&self.except).any(|due| due < self.until) {
            alarm.sleeps_until.store(0, Ordering::SeqCst);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        self.leases.alarm.sleeps_until.store(0, Ordering::SeqCst);
    }
}

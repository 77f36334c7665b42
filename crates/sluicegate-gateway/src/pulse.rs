//! The deadlines of one worker: a coarse clock, and a look at every connection at each of its ticks.
//!
//! A timer of the runtime's costs a lock and two walks through a wheel whenever a request starts or ends, and nearly all
//! of them are thrown away unused. Here a deadline is set by storing a number and lifted by storing another; one timer
//! for the whole worker compares them, a few loads for each connection and tick. A deadline is never early, and late
//! by at most two ticks.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A point on a worker's coarse clock, in ticks since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    /// The first tick that is surely `span` or more away.
    pub(crate) fn after(self, span: Ticks) -> Self {
        // One more, since the current tick has partly passed.
        Self(self.0.saturating_add(span.0).saturating_add(1).min(RUNG - 1))
    }
}

/// A span in ticks, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks(u64);

/// What is looked at on every tick.
pub(crate) trait Timed {
    /// Rings every alarm whose time has come.
    fn look(&self, now: Tick);
}

/// The coarse clock of one worker, and all that hangs on it.
pub(crate) struct Pulse<T> {
    started_at: Instant,
    tick: Duration,
    now: Cell<Tick>,
    attending: RefCell<Vec<Rc<Attendant<T>>>>,
    /// Tells the beat that there is somebody to beat for again.
    arrived: Notify,
}

/// One that is looked at, and where it stands in the list.
pub(crate) struct Attendant<T> {
    place: Cell<usize>,
    timed: T,
}

impl<T: Timed> Pulse<T> {
    /// A clock fit for deadlines as short as `shortest`.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one clock that the gateway's deadlines are held by"
    )]
    pub(crate) fn new(shortest: Duration) -> Self {
        Self {
            started_at: Instant::now(),
            tick: (shortest / TICKS_PER_DEADLINE).clamp(TICK_MIN, TICK_MAX),
            now: Cell::new(Tick(1)),
            attending: RefCell::new(Vec::new()),
            arrived: Notify::new(),
        }
    }

    /// The current tick. Costs one load.
    pub(crate) fn now(&self) -> Tick {
        self.now.get()
    }

    /// `span` in ticks.
    pub(crate) fn ticks(&self, span: Duration) -> Ticks {
        Ticks(u64::try_from(span.as_nanos().div_ceil(self.tick.as_nanos())).unwrap_or(u64::MAX))
    }

    /// Has `timed` looked at until the attendance is dropped.
    pub(crate) fn attend(self: &Rc<Self>, timed: T) -> Attendance<T> {
        let mut attending = self.attending.borrow_mut();
        if attending.is_empty() {
            // The clock stood still while nobody looked at it.
            self.now.set(self.read());
            self.arrived.notify_one();
        }
        let attendant = Rc::new(Attendant {
            place: Cell::new(attending.len()),
            timed,
        });
        attending.push(Rc::clone(&attendant));
        Attendance {
            pulse: Rc::clone(self),
            attendant,
        }
    }

    /// How many are looked at.
    pub(crate) fn attending(&self) -> usize {
        self.attending.borrow().len()
    }

    /// Shows every attendant to `see`.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&T)) {
        self.attending
            .borrow()
            .iter()
            .for_each(|attendant| see(&attendant.timed));
    }

    /// Beats for ever: moves the clock and looks at everybody; `beside` is called at each beat. Stands still while
    /// there is nobody and `beside` says that it needs no more beats.
    pub(crate) async fn beat(&self, mut beside: impl FnMut(Tick) -> Beat) {
        loop {
            let now = self.read();
            self.now.set(now);
            self.for_each(|timed| timed.look(now));
            if beside(now) == Beat::Rest && self.attending() == 0 {
                self.arrived.notified().await;
            } else {
                tokio::time::sleep(self.tick).await;
            }
        }
    }

    fn read(&self) -> Tick {
        let ticks = self.started_at.elapsed().as_nanos() / self.tick.as_nanos();
        // Tick 0 stands for "no deadline"; 2⁶⁴ ticks of 5 ms are three billion years.
        Tick(u64::try_from(ticks).unwrap_or(u64::MAX - 2) + 1)
    }
}

/// Whether a beat's side work needs another beat by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It does.
    Go,
    /// It does not.
    Rest,
}

/// Keeps one attendant in its pulse.
pub(crate) struct Attendance<T> {
    pulse: Rc<Pulse<T>>,
    attendant: Rc<Attendant<T>>,
}

impl<T> Attendance<T> {
    /// The attendant, for those that set its alarms.
    pub(crate) fn share(&self) -> Rc<Attendant<T>> {
        Rc::clone(&self.attendant)
    }
}

impl<T> Deref for Attendance<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.attendant
    }
}

impl<T> Deref for Attendant<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.timed
    }
}

impl<T> Drop for Attendance<T> {
    fn drop(&mut self) {
        let mut attending = self.pulse.attending.borrow_mut();
        let place = self.attendant.place.get();
        attending.swap_remove(place);
        if let Some(moved) = attending.get(place) {
            moved.place.set(place);
        }
    }
}

/// One deadline: unset, set to a tick, or rung.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// 0 is unset, `RUNG` is past, anything else the tick it is due at.
    due: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Alarm {
    /// Rings once `span` has passed.
    pub(crate) fn set(&self, now: Tick, span: Ticks) {
        self.due.set(now.after(span).0);
    }

    /// Rings at `due`.
    pub(crate) fn set_at(&self, due: Tick) {
        self.due.set(due.0);
    }

    /// As [`Alarm::set`], if it is unset: a wait that goes on is not a new one.
    pub(crate) fn set_if_unset(&self, now: Tick, span: Ticks) {
        if self.due.get() == 0 {
            self.set(now, span);
        }
    }

    /// Names the task to be woken.
    pub(crate) fn wakes(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Unsets it.
    pub(crate) fn clear(&self) {
        self.due.set(0);
    }

    /// Whether it is set, or has rung.
    pub(crate) fn is_set(&self) -> bool {
        self.due.get() != 0
    }

    /// Whether its time has come and nobody set or cleared it since.
    pub(crate) fn has_rung(&self) -> bool {
        self.due.get() == RUNG
    }

    /// Rings if it is due.
    pub(crate) fn look(&self, now: Tick) {
        let due = self.due.get();
        if due != 0 && due <= now.0 {
            self.due.set(RUNG);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

const RUNG: u64 = u64::MAX;

/// How much finer than the shortest deadline the clock is: with 16, two ticks make at most an eighth of it.
const TICKS_PER_DEADLINE: u32 = 16;

/// Below this the beat itself would show in the load of an idle gateway.
const TICK_MIN: Duration = Duration::from_millis(5);

/// Late by two of these is well within the second by which a stalled connection should be gone; ten beats a second
/// over 10 000 connections cost about a thousandth of a core.
const TICK_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    impl Timed for Alarm {
        fn look(&self, now: Tick) {
            Alarm::look(self, now);
        }
    }

    fn started(shortest: Duration) -> Rc<Pulse<Alarm>> {
        let pulse = Rc::new(Pulse::new(shortest));
        let beating = Rc::clone(&pulse);
        tokio::task::spawn_local(async move { beating.beat(|_| Beat::Rest).await });
        pulse
    }

    async fn after(span: Duration) {
        tokio::time::sleep(span).await;
        // The beat and this test wake at the same moment; let the beat go first.
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn an_alarm_rings_never_early_and_at_most_two_ticks_late() {
        let deadline = Duration::from_secs(10);
        let pulse = started(deadline);
        let alarm = pulse.attend(Alarm::default());
        for offset_ms in [0, 1, 50, 99, 100] {
            after(Duration::from_millis(offset_ms)).await;
            alarm.set(pulse.now(), pulse.ticks(deadline));
            after(deadline.saturating_sub(Duration::from_millis(1))).await;
            assert!(!alarm.has_rung(), "early, set {offset_ms} ms into a tick");
            after(2 * TICK_MAX + Duration::from_millis(1)).await;
            assert!(alarm.has_rung(), "late, set {offset_ms} ms into a tick");
        }
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn a_cleared_alarm_does_not_ring() {
        let pulse = started(Duration::from_secs(1));
        let alarm = pulse.attend(Alarm::default());
        alarm.set(pulse.now(), pulse.ticks(Duration::from_secs(1)));
        alarm.clear();
        after(Duration::from_secs(100)).await;
        assert!(!alarm.has_rung());
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn the_clock_is_right_for_the_first_to_come_after_a_rest() {
        let pulse = started(Duration::from_secs(1));
        drop(pulse.attend(Alarm::default()));
        after(Duration::from_hours(1)).await;
        let alarm = pulse.attend(Alarm::default());
        alarm.set(pulse.now(), pulse.ticks(Duration::from_secs(1)));
        after(Duration::from_millis(990)).await;
        assert!(!alarm.has_rung());
        after(Duration::from_millis(300)).await;
        assert!(alarm.has_rung());
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn who_leaves_is_forgotten_and_the_others_stay() {
        let pulse = started(Duration::from_secs(1));
        let mut all: Vec<_> = (0..5).map(|_| pulse.attend(Alarm::default())).collect();
        drop(all.remove(0));
        drop(all.remove(3));
        assert_eq!(pulse.attending(), 3);
        for alarm in &all {
            alarm.set(pulse.now(), pulse.ticks(Duration::from_secs(1)));
        }
        after(Duration::from_secs(2)).await;
        assert!(all.iter().all(|alarm| alarm.has_rung()));
    }
}

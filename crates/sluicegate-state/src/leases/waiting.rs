//! Requests that wait for the store.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrayvec::ArrayVec;
use sluicegate_core::{RULES_MAX, RuleId};

use super::Leases;
use super::entries::{Entries, Stripe};
use super::side::What;
use super::take::{SharedHolding, SharedHoldings};
use super::wheel::{NEVER, NONE, tick};
use crate::atomics::{Mutex, lock};

/// Most requests that wait for the store in one of 256 stripes. A hot key of an exact limit has some thousand under way at a
/// time; beyond this, requests are refused as if the store had not answered.
pub const WAITERS_MAX: usize = 4_096;

/// Whom an answer is for: one charge of one request.
pub(super) struct Waiter {
    pub(super) cost: f64,
    /// By the node's clock, in microseconds.
    pub(super) deadline: f64,
    /// Whose entry.
    pub(super) place: u32,
    /// Whether its units are part of an ask that is under way.
    pub(super) was_asked: bool,
    /// The next that waits for the same entry.
    pub(super) next: u32,
    owed: Owed,
}

/// To whom an answer is owed.
pub(super) enum Owed {
    /// To a request.
    Promise(Promise),
    /// To nobody: a rule in shadow mode only has its units spent.
    Nobody,
    /// It was given.
    Answered,
}

/// What became of one charge that waited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answered {
    /// Taken.
    Granted(What),
    /// Refused; after so many microseconds it might not be.
    Refused { retry_after: f64 },
}

/// The waiters of a stripe, in order of arrival: which is that of their deadlines.
pub(super) struct Queue {
    waiters: Vec<Waiter>,
    free: Vec<u32>,
    order: VecDeque<u32>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            waiters: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
        }
    }

    /// When the first deadline is, as a tick.
    pub(super) fn next_deadline(&self) -> u64 {
        let first = self.order.front().map(|index| &self.waiters[*index as usize]);
        first.map_or(NEVER, |waiter| tick(waiter.deadline) + 1)
    }

    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= WAITERS_MAX
    }

    fn add(&mut self, waiter: Waiter) -> u32 {
        let index = if let Some(index) = self.free.pop() {
            self.waiters[index as usize] = waiter;
            index
        } else {
            self.waiters.push(waiter);
            u32::try_from(self.waiters.len() - 1).unwrap_or(NONE)
        };
        self.order.push_back(index);
        index
    }

    /// The first whose deadline is over; it is the caller's to answer, if it was not answered before.
    fn pop_late(&mut self, now: f64) -> Option<u32> {
        let index = *self.order.front()?;
        if self.waiters[index as usize].deadline > now {
            return None;
        }
        self.order.pop_front();
        Some(index)
    }

    /// Forgets those at the front that are answered: no entry lists them any more.
    fn clear_answered(&mut self) {
        while let Some(index) = self.order.front().copied()
            && matches!(self.waiters[index as usize].owed, Owed::Answered)
        {
            self.order.pop_front();
            self.free.push(index);
        }
    }

    pub(super) fn at(&mut self, index: u32) -> &mut Waiter {
        &mut self.waiters[index as usize]
    }
}

impl Stripe {
    /// Lets a charge wait for an entry.
    pub(super) fn wait(&mut self, place: u32, cost: f64, deadline: f64, owed: Owed) {
        let index = self.queue.add(Waiter {
            cost,
            deadline,
            place,
            was_asked: false,
            next: NONE,
            owed,
        });
        let entry = self.entries.at(place);
        if entry.last_waiter == NONE {
            entry.first_waiter = index;
        } else {
            self.queue.at(entry.last_waiter).next = index;
        }
        entry.last_waiter = index;
    }

    /// Marks all that wait for an entry as asked for.
    pub(super) fn ask_for_waiters(&mut self, place: u32) {
        let mut index = self.entries.at(place).first_waiter;
        while index != NONE {
            let waiter = self.queue.at(index);
            waiter.was_asked = true;
            index = waiter.next;
        }
    }

    /// The first that waits for an entry.
    pub(super) fn first_waiter(&mut self, place: u32) -> Option<&mut Waiter> {
        let index = self.entries.at(place).first_waiter;
        (index != NONE).then(|| self.queue.at(index))
    }

    /// Takes the first that waits for an entry out of its list; it stays in the queue, answered, until those before it are.
    pub(super) fn pop_waiter(&mut self, place: u32) -> Option<(f64, Owed)> {
        let Self { entries, queue, .. } = self;
        let entry = entries.at(place);
        if entry.first_waiter == NONE {
            return None;
        }
        let waiter = queue.at(entry.first_waiter);
        entry.first_waiter = waiter.next;
        if entry.first_waiter == NONE {
            entry.last_waiter = NONE;
        }
        let popped = (waiter.cost, waiter.owed.take());
        queue.clear_answered();
        Some(popped)
    }

    /// Takes out the next whose deadline is over without an answer: for which entry, how much, whether it was asked for, and its promise.
    pub(super) fn pop_late(&mut self, now: f64) -> Option<Late> {
        while let Some(index) = self.queue.pop_late(now) {
            self.queue.free.push(index);
            let waiter = self.queue.at(index);
            let owed = waiter.owed.take();
            if matches!(owed, Owed::Answered) {
                continue;
            }
            let late = Late {
                place: waiter.place,
                cost: waiter.cost,
                was_asked: waiter.was_asked,
                owed,
            };
            unlink(&mut self.entries, &mut self.queue, late.place, index);
            return Some(late);
        }
        None
    }
}

/// One that waited in vain.
pub(super) struct Late {
    pub(super) place: u32,
    pub(super) cost: f64,
    pub(super) was_asked: bool,
    pub(super) owed: Owed,
}

/// Takes a waiter out of its entry's list; mostly it is the first.
fn unlink(entries: &mut Entries, queue: &mut Queue, place: u32, index: u32) {
    let next = queue.at(index).next;
    let entry = entries.at(place);
    if entry.first_waiter == index {
        entry.first_waiter = next;
        if next == NONE {
            entry.last_waiter = NONE;
        }
        return;
    }
    let mut before = entry.first_waiter;
    while before != NONE {
        let waiter = queue.at(before);
        if waiter.next == index {
            waiter.next = next;
            if next == NONE {
                entries.at(place).last_waiter = before;
            }
            return;
        }
        before = waiter.next;
    }
}

/// What is owed to one charge of a request that waits.
pub(super) struct Promise {
    shared: Arc<Mutex<State>>,
    which: usize,
    is_held: bool,
}

/// What the charges of one request wait for.
#[derive(Default)]
struct State {
    answers: ArrayVec<Option<Answered>, RULES_MAX>,
    missing: usize,
    /// Nobody waits any more.
    is_abandoned: bool,
    /// What is spent all the same: a bit for each.
    penalties: u32,
    waker: Option<Waker>,
}

impl Owed {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Answered)
    }

    /// Whether nobody hears the answer, and the units are to be charged all the same.
    pub(super) fn is_for_nobody(&self) -> bool {
        match self {
            Self::Promise(promise) => promise.is_for_nobody(),
            Self::Nobody => true,
            Self::Answered => false,
        }
    }
}

/// Whom answers woke: to be woken once the stripe's lock is free, since a waker may run anything, also the end of a request that
/// gives back what it has of the very same stripe.
#[derive(Default)]
#[must_use]
pub(super) struct Woken(Vec<Waker>);

impl Woken {
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Promise {
    /// Whether what is granted is put right when the request ends.
    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    fn is_for_nobody(&self) -> bool {
        let state = lock(&self.shared);
        state.is_abandoned && state.penalties & (1 << self.which) != 0
    }

    /// Answers, and tells whom that wakes. `Err` if nobody waits for it any more.
    pub(super) fn keep(self, answer: Answered) -> Result<Option<Waker>, NobodyWaits> {
        let mut state = lock(&self.shared);
        if state.is_abandoned {
            return Err(NobodyWaits {
                is_penalty: state.penalties & (1 << self.which) != 0,
            });
        }
        state.answers[self.which] = Some(answer);
        state.missing -= 1;
        let waker = if state.missing == 0 { state.waker.take() } else { None };
        Ok(waker)
    }
}

/// The request has left, and what it was granted is nobody's.
pub(super) struct NobodyWaits {
    /// It stays charged all the same.
    pub(super) is_penalty: bool,
}

/// Charges of one request that wait for the store. Await it: it ends with what became of them. Dropped before, it withdraws them and
/// gives back what was taken.
#[must_use]
pub struct Waiting {
    leases: Arc<Leases>,
    shared: Arc<Mutex<State>>,
    charges: SharedHoldings,
    is_over: bool,
}

/// What became of charges that waited: all were taken, or none is.
#[derive(Debug)]
#[must_use]
pub enum Waited {
    /// All were taken.
    All(Box<SharedHoldings>),
    /// At least one was refused, and the others are given back.
    Nothing {
        /// Which of them, and after how many microseconds it might not be.
        refused: Vec<(RuleId, f64)>,
    },
}

impl Waiting {
    pub(super) fn new(leases: Arc<Leases>) -> Self {
        Self {
            leases,
            shared: Arc::default(),
            charges: ArrayVec::new(),
            is_over: false,
        }
    }

    /// Adds a charge and makes the promise that will answer it. At most [`RULES_MAX`].
    pub(super) fn promise(&mut self, holding: SharedHolding) -> Promise {
        let mut state = lock(&self.shared);
        let which = state.answers.len();
        let is_held = holding.is_held();
        state.answers.push(None);
        state.missing += 1;
        self.charges.push(holding);
        Promise {
            shared: Arc::clone(&self.shared),
            which,
            is_held,
        }
    }

    /// The request is refused by something else: withdraws its charges, but for those that rules charge a refused request.
    pub fn refuse(mut self) {
        let penalties = (0..).zip(&self.charges).filter(|(_, charge)| charge.is_penalty());
        lock(&self.shared).penalties = penalties.fold(0, |bits, (which, _)| bits | 1 << which);
        let granted = self.abandon();
        self.leases.give_back_but_penalties(granted);
    }

    /// Ends all that was promised; what is granted later finds nobody. Hands out what was granted until now.
    fn abandon(&mut self) -> SharedHoldings {
        self.is_over = true;
        let mut state = lock(&self.shared);
        state.is_abandoned = true;
        let answers = std::mem::take(&mut state.answers);
        drop(state);
        let mut granted = ArrayVec::new();
        for (mut holding, answer) in self.charges.drain(..).zip(answers) {
            if let Some(Answered::Granted(what)) = answer {
                holding.grant(what);
                granted.push(holding);
            }
        }
        granted
    }
}

impl Future for Waiting {
    type Output = Waited;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited> {
        let mut refused = Vec::new();
        {
            let mut state = lock(&self.shared);
            if state.missing > 0 {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            for (holding, answer) in self.charges.iter().zip(&state.answers) {
                if let Some(Answered::Refused { retry_after }) = answer {
                    refused.push((holding.rule(), *retry_after));
                }
            }
        }
        let granted = self.abandon();
        if refused.is_empty() {
            return Poll::Ready(Waited::All(Box::new(granted)));
        }
        self.leases.give_back_but_penalties(granted);
        Poll::Ready(Waited::Nothing { refused })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let now = self.leases.time();
        for holding in self.abandon() {
            self.leases.give_back_at(&holding, now);
        }
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("charges", &self.charges.len())
            .finish_non_exhaustive()
    }
}

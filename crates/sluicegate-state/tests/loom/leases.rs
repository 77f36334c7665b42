//! Leases: the driver's sleep, and who waits for the store.

use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_state::leases::{
    Batch, Ended, LaneSet, Leases, Patience, SharedBucket, SharedBucketSpec, SharedCharge, SharedLimit, SharedMades,
    SharedTaken, Waited, Waiting,
};
use sluicegate_state::store::{Exchanged, Lane, MemoryStore, StoreGeneration};

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(5_000_000_000);

struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn leases() -> StdArc<Leases> {
    let clock = StdArc::new(ManualClock::at(NOW));
    let leases = Leases::new(0, [7; 32], clock.into(), 42);
    leases.surroundings().answered(Lane(0), 500.0, StoreGeneration(1));
    StdArc::new(leases)
}

/// One unit an hour.
fn bucket() -> StdArc<SharedBucket> {
    let limit = "1/h".parse().expect("a limit");
    let plan = Plan {
        terms: Terms::new(Kind::Bucket, &limit, 0.0),
        sharing: Sharing::Exact,
        on_store_loss: OnStoreLoss::Closed,
        cost_max: 1.0,
        fanout: 0.0,
        spacing: None,
    };
    StdArc::new(SharedBucket::new(SharedBucketSpec {
        identity: BucketIdentity(77),
        limit: SharedLimit::Units(plan),
        overflow: None,
    }))
}

fn ask(leases: &StdArc<Leases>, bucket: &StdArc<SharedBucket>) -> Option<Box<Waiting>> {
    let charge = SharedCharge {
        rule: RuleId::new(0),
        bucket,
        key: Key::Whole,
        cost: Cost::ONE,
        mode: Mode::Enforced,
        hold: sluicegate_state::Hold::No,
        when_refused: WhenRefused::Nothing,
    };
    match leases.take(
        &[charge],
        Patience::Waits,
        NOW,
        &mut Report::new(),
        &mut SharedMades::new(),
    ) {
        SharedTaken::Waits(waiting) => Some(waiting),
        SharedTaken::All | SharedTaken::Nothing => None,
    }
}

fn sync(leases: &Leases, store: &MemoryStore) {
    let mut batch = Batch::new();
    if leases.collect(Lane(0), NOW, &mut batch) == 0 {
        return;
    }
    if let Exchanged::Done { answers, .. } = store.exchange_now(batch.call()) {
        leases.complete(&mut batch, Ended::Answered(&answers), NOW);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_driver_that_falls_asleep_is_woken_by_what_comes_to_be_due_meanwhile() {
    model(|| {
        let (leases, bucket) = (leases(), bucket());
        let other = StdArc::clone(&leases);
        let thread = thread::spawn(move || ask(&other, &bucket));
        let counts = StdArc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(StdArc::clone(&counts));
        let mut due = leases.due_before(f64::INFINITY, LaneSet::default());
        let slept = poll(&mut due, &waker).is_pending();
        let _waiting = thread.join().expect("no panic");
        let is_woken = counts.0.load(Ordering::SeqCst) > 0;
        assert!(!slept || is_woken, "something is due, and the driver sleeps");
    });
}

#[test]
fn a_request_that_leaves_while_it_is_answered_keeps_nothing() {
    model(|| {
        let (leases, bucket, store) = (leases(), bucket(), MemoryStore::at(1e12));
        let waiting = ask(&leases, &bucket).expect("it has to ask");
        let (other, there) = (StdArc::clone(&leases), store.clone());
        let thread = thread::spawn(move || sync(&other, &there));
        drop(waiting);
        thread.join().expect("no panic");
        // Either it was never granted, or it is to be given back with the next question.
        let is_owed = leases.next_due(&LaneSet::default()).is_finite();
        assert!(is_owed, "what was taken for nobody is lost");
    });
}

#[test]
fn an_answer_wakes_whoever_begins_to_wait_for_it() {
    model(|| {
        let (leases, bucket, store) = (leases(), bucket(), MemoryStore::at(1e12));
        let mut waiting = ask(&leases, &bucket).expect("it has to ask");
        let other = StdArc::clone(&leases);
        let thread = thread::spawn(move || sync(&other, &store));
        let counts = StdArc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(StdArc::clone(&counts));
        let first = poll(&mut *waiting, &waker);
        thread.join().expect("no panic");
        if first.is_pending() {
            assert_eq!(counts.0.load(Ordering::SeqCst), 1);
            assert!(matches!(poll(&mut *waiting, &waker), Poll::Ready(Waited::All(_))));
        }
    });
}

#[test]
fn nobody_begins_to_wait_for_a_driver_that_has_left() {
    model(|| {
        let (leases, bucket) = (leases(), bucket());
        let attendance = leases.attend().expect("nobody does");
        let other = StdArc::clone(&leases);
        let thread = thread::spawn(move || ask(&other, &bucket));
        drop(attendance);
        let waiting = thread.join().expect("no panic");
        if let Some(mut waiting) = waiting {
            assert!(poll(&mut *waiting, Waker::noop()).is_ready(), "it would wait for ever");
        }
    });
}

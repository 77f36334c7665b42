//! What a node holds of shared limits, against a store in memory and in simulated time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_core::{Cost, KeyHasher, Limit, Mode, PartKind, Report, RuleId, Secret, Timestamp};
use sluicegate_state::leases::{
    Batch, Ended, Leases, SharedBucket, SharedBucketSpec, SharedCharge, SharedLimit, SharedMades, SharedTaken, Waited,
    Waiting,
};
use sluicegate_state::store::{Exchanged, Lane, MemoryStore, StoreGeneration};
use sluicegate_state::{BucketIdentity, Clock as _, Key, ManualClock, WhenRefused};

/// One node, and the store it shares with others.
struct Node {
    leases: Arc<Leases>,
    clock: Arc<ManualClock>,
    store: MemoryStore,
}

impl Node {
    /// A node that has just found its store.
    fn beside(store: &MemoryStore, clock: &Arc<ManualClock>) -> Self {
        let leases = Leases::new(1 << 20, [7; 32], Arc::clone(clock).into(), 42);
        leases.surroundings().answered(Lane(0), 500.0, StoreGeneration(1));
        Self {
            leases: Arc::new(leases),
            clock: Arc::clone(clock),
            store: store.clone(),
        }
    }

    fn alone() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
        Self::beside(&MemoryStore::at(1e12), &clock)
    }

    fn bucket(&self, limit: &str, sharing: Sharing, on_store_loss: OnStoreLoss) -> Arc<SharedBucket> {
        let limit: Limit = limit.parse().expect("a limit");
        let plan = Plan {
            terms: Terms::new(Kind::Bucket, &limit, 0.0),
            sharing,
            on_store_loss,
            cost_max: 1.0,
            fanout: 0.0,
        };
        Arc::new(SharedBucket::new(SharedBucketSpec {
            identity: BucketIdentity(77),
            limit: SharedLimit::Units(plan),
            overflow: None,
        }))
    }

    fn ask(&self, buckets: &[&Arc<SharedBucket>], key: u8, cost: u64) -> SharedTaken {
        let hasher = KeyHasher::new(&Secret::from_bytes([1; 32]));
        let key = hasher.key().part(PartKind::Ip, &[key]).finish();
        let charges: Vec<_> = (0..)
            .zip(buckets)
            .map(|(rule, bucket)| SharedCharge {
                rule: RuleId::new(rule),
                bucket,
                key: Key::Hash(key),
                cost: Cost::new(cost),
                mode: Mode::Enforced,
                when_refused: WhenRefused::Nothing,
            })
            .collect();
        let mut mades = SharedMades::new();
        self.leases
            .take(&charges, self.clock.now(), &mut Report::new(), &mut mades)
    }

    fn passes(&self, bucket: &Arc<SharedBucket>, key: u8) -> bool {
        matches!(self.ask(&[bucket], key, 1), SharedTaken::All)
    }

    /// Lets so much time pass, for the store too.
    fn pass(&self, span: Duration) {
        self.clock.advance(span);
        let since = self.clock.now().saturating_since(Timestamp::ZERO);
        self.store.set_now(1e12 + since.as_secs_f64() * 1e6);
    }

    /// Does what is due: answers come after `round_trip`. Tells how many keys were asked about.
    fn sync(&self, round_trip: Duration) -> usize {
        let mut batch = Batch::new();
        self.leases.expire(self.clock.now());
        let keys = self.leases.collect(Lane(0), self.clock.now(), &mut batch);
        if keys == 0 {
            return 0;
        }
        let exchanged = self.store.exchange_now(batch.call());
        self.pass(round_trip);
        match exchanged {
            Exchanged::Done { answers, .. } => {
                self.leases
                    .complete(&mut batch, Ended::Answered(&answers), self.clock.now());
            }
            Exchanged::Changed { generation } => {
                self.leases.surroundings().answered(Lane(0), 500.0, generation);
                self.leases.complete(&mut batch, Ended::Undone, self.clock.now());
            }
        }
        keys
    }
}

fn poll(waiting: &mut Waiting) -> Poll<Waited> {
    let waiting = Pin::new(waiting);
    std::future::Future::poll(waiting, &mut Context::from_waker(Waker::noop()))
}

/// What a request waits for that has to ask.
#[track_caller]
fn waits(taken: SharedTaken) -> Box<Waiting> {
    let waiting = match taken {
        SharedTaken::Waits(waiting) => Some(waiting),
        SharedTaken::All | SharedTaken::Nothing => None,
    };
    waiting.expect("the key has to ask the store")
}

const ROUND_TRIP: Duration = Duration::from_micros(500);

#[test]
fn a_cold_key_of_a_leased_limit_waits_for_one_answer_and_passes() {
    let node = Node::alone();
    let bucket = node.bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(node.sync(ROUND_TRIP), 1);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
}

#[test]
fn a_leased_limit_admits_its_burst_and_not_one_more() {
    let node = Node::alone();
    let bucket = node.bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let mut admitted = 0;
    for _ in 0..20 {
        match node.ask(&[&bucket], 1, 1) {
            SharedTaken::All => admitted += 1,
            SharedTaken::Nothing => {}
            SharedTaken::Waits(mut waiting) => {
                node.sync(ROUND_TRIP);
                admitted += usize::from(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
            }
        }
    }
    assert_eq!(admitted, 5);
}

#[test]
fn a_key_at_its_limit_costs_the_store_nothing() {
    let node = Node::alone();
    let bucket = node.bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    for _ in 0..6 {
        if let SharedTaken::Waits(mut waiting) = node.ask(&[&bucket], 1, 1) {
            node.sync(ROUND_TRIP);
            let _ = poll(&mut waiting);
        }
    }
    let keys: usize = (0..1_000)
        .map(|_| {
            assert!(!node.passes(&bucket, 1));
            node.sync(ROUND_TRIP)
        })
        .sum();
    assert_eq!(keys, 0, "exchanges for a thousand refusals within half a second");
}

#[test]
fn a_hybrid_limit_never_waits() {
    let node = Node::alone();
    let bucket = node.bucket("100/s burst 200", Sharing::Hybrid, OnStoreLoss::Local);
    for round in 0..2_000 {
        let taken = node.ask(&[&bucket], 1, 1);
        assert!(!matches!(taken, SharedTaken::Waits(_)), "request {round} waits");
        if round % 7 == 0 {
            node.sync(ROUND_TRIP);
        }
    }
}

#[test]
fn a_waiter_whose_time_is_over_is_refused() {
    let node = Node::alone();
    let bucket = node.bucket("5/min", Sharing::Leased, OnStoreLoss::Closed);
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    node.pass(Duration::from_millis(6));
    node.leases.expire(node.clock.now());
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::Nothing { .. })));
}

#[test]
fn what_was_taken_for_a_request_that_left_is_given_back() {
    let node = Node::alone();
    let bucket = node.bucket("1/h", Sharing::Leased, OnStoreLoss::Local);
    let waiting = waits(node.ask(&[&bucket], 1, 1));
    drop(waiting);
    node.sync(ROUND_TRIP);
    // The token that nobody waited for goes back with the next exchange.
    node.pass(Duration::from_millis(10));
    assert_eq!(node.sync(ROUND_TRIP), 1);
    node.pass(Duration::from_secs(3));
    let mut waiting = waits(node.ask(&[&bucket], 1, 1));
    node.sync(ROUND_TRIP);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Waited::All(_))));
}

#[test]
fn a_wiped_store_is_told_before_it_gives_anything_away() {
    let node = Node::alone();
    let bucket = node.bucket("1/h burst 10", Sharing::Leased, OnStoreLoss::Local);
    let ask = || match node.ask(&[&bucket], 1, 1) {
        SharedTaken::All => true,
        SharedTaken::Nothing => false,
        SharedTaken::Waits(mut waiting) => {
            for _ in 0..3 {
                node.sync(ROUND_TRIP);
            }
            matches!(poll(&mut waiting), Poll::Ready(Waited::All(_)))
        }
    };
    let before = (0..10).filter(|_| ask()).count();
    assert_eq!(before, 10);
    node.store.wipe();
    node.pass(Duration::from_secs(20));
    let after = (0..10).filter(|_| ask()).count();
    assert_eq!(after, 0, "admitted again after the store was wiped");
}

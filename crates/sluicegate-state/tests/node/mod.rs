//! One node beside a store in memory, in simulated time.
#![allow(dead_code, reason = "each file of tests uses its part")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Spacing, Terms};
use sluicegate_core::{Cost, KeyHasher, Limit, Mode, PartKind, Report, RuleId, Secret, Timestamp};
use sluicegate_state::leases::{
    Batch, Ended, Leases, Patience, SharedBucket, SharedBucketSpec, SharedCharge, SharedLimit, SharedMades,
    SharedTaken, Waited, Waiting,
};
use sluicegate_state::store::{Exchanged, Lane, MemoryStore, StoreGeneration};
use sluicegate_state::{BucketIdentity, Clock as _, Hold, Key, ManualClock, WhenRefused};

/// One node, and the store it shares with others.
pub(crate) struct Node {
    pub(crate) leases: Arc<Leases>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: MemoryStore,
}

impl Node {
    /// A node that has just found its store.
    pub(crate) fn beside(store: &MemoryStore, clock: &Arc<ManualClock>) -> Self {
        Self::with_memory(BYTES, store, clock)
    }

    /// The same with so much memory for keys.
    pub(crate) fn with_memory(bytes: usize, store: &MemoryStore, clock: &Arc<ManualClock>) -> Self {
        let leases = Leases::new(bytes, [7; 32], Arc::clone(clock).into(), 42);
        leases.surroundings().answered(Lane(0), 500.0, StoreGeneration(1));
        Self {
            leases: Arc::new(leases),
            clock: Arc::clone(clock),
            store: store.clone(),
        }
    }

    pub(crate) fn alone() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
        Self::beside(&MemoryStore::at(1e12), &clock)
    }

    pub(crate) fn bucket(limit: &str, sharing: Sharing, on_store_loss: OnStoreLoss) -> Arc<SharedBucket> {
        let limit: Limit = limit.parse().expect("a limit");
        let plan = Plan {
            terms: Terms::new(Kind::Bucket, &limit, 0.0),
            sharing,
            on_store_loss,
            cost_max: 1.0,
            fanout: 0.0,
            spacing: None,
        };
        Arc::new(SharedBucket::new(SharedBucketSpec {
            identity: BucketIdentity(77),
            limit: SharedLimit::Units(plan),
            overflow: None,
        }))
    }

    /// A bucket whose requests leave one after another.
    pub(crate) fn queue(limit: &str, sharing: Sharing, spacing: Spacing) -> Arc<SharedBucket> {
        let bucket = Self::bucket(limit, sharing, OnStoreLoss::Local);
        let mut spec = bucket.spec().clone();
        if let SharedLimit::Units(plan) = &mut spec.limit {
            *plan = plan.spaced(spacing);
        }
        Arc::new(SharedBucket::new(spec))
    }

    /// A charge of one unit on a key.
    pub(crate) fn charge(bucket: &Arc<SharedBucket>, rule: u16, key: u64, cost: u64) -> SharedCharge<'_> {
        let hasher = KeyHasher::new(&Secret::from_bytes([1; 32]));
        let key = hasher.key().part(PartKind::Value, &key.to_le_bytes()).finish();
        SharedCharge {
            rule: RuleId::new(rule),
            bucket,
            key: Key::Hash(key),
            cost: Cost::new(cost),
            mode: Mode::Enforced,
            hold: Hold::No,
            when_refused: WhenRefused::Nothing,
        }
    }

    pub(crate) fn ask(&self, buckets: &[&Arc<SharedBucket>], key: u64, cost: u64) -> SharedTaken {
        let charges = (0..).zip(buckets);
        let charges: Vec<_> = charges
            .map(|(rule, bucket)| Self::charge(bucket, rule, key, cost))
            .collect();
        self.take(&charges, Patience::Waits, &mut Report::new())
    }

    pub(crate) fn take(&self, charges: &[SharedCharge<'_>], patience: Patience, report: &mut Report) -> SharedTaken {
        let mut mades = SharedMades::new();
        self.leases
            .take(charges, patience, self.clock.now(), report, &mut mades)
    }

    pub(crate) fn passes(&self, bucket: &Arc<SharedBucket>, key: u64) -> bool {
        matches!(self.ask(&[bucket], key, 1), SharedTaken::All)
    }

    /// Lets so much time pass, for the store too.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
        let since = self.clock.now().saturating_since(Timestamp::ZERO);
        self.store.set_now(1e12 + since.as_secs_f64() * 1e6);
    }

    /// Does what is due: answers come after `round_trip`. Tells how many keys were asked about.
    pub(crate) fn sync(&self, round_trip: Duration) -> usize {
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

pub(crate) fn poll(waiting: &mut Waiting) -> Poll<Waited> {
    let waiting = Pin::new(waiting);
    std::future::Future::poll(waiting, &mut Context::from_waker(Waker::noop()))
}

/// What a request waits for that has to ask.
#[track_caller]
pub(crate) fn waits(taken: SharedTaken) -> Box<Waiting> {
    let waiting = match taken {
        SharedTaken::Waits(waiting) => Some(waiting),
        SharedTaken::All | SharedTaken::Nothing => None,
    };
    waiting.expect("the key has to ask the store")
}

/// Within one data centre.
pub(crate) const ROUND_TRIP: Duration = Duration::from_micros(500);

/// Room for some keys in each stripe.
pub(crate) const BYTES: usize = 4 << 20;

//! Every interleaving of two threads on a table of one group of two cells, tried by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo nextest run -p sluicegate-state --test loom --release`.
#![cfg(loom)]

#[path = "loom/leases.rs"]
mod leases;
#[path = "loom/permits.rs"]
mod permits;
#[path = "loom/small.rs"]
mod small;
#[path = "loom/succession.rs"]
mod succession;
#[path = "loom/wide.rs"]
mod wide;

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::algorithm::{Algorithm, Meter, MeterSpec, Settle};
use sluicegate_core::{Cost, KeyHash, KeyHasher, Mode, PartKind, Report, RuleId, Secret, Timestamp};
use sluicegate_state::{
    Bucket, BucketIdentity, BucketSpec, Charge, Hold, Holding, Key, ManualClock, Memory, Overflow, SMALL_CELL_BYTES,
    Table, Taken, Takings, WhenRefused,
};

const HOUR: u64 = 3_600_000_000_000;

fn table() -> Arc<Table> {
    let limit = "1/s burst 1".parse().expect("a limit");
    let spec = BucketSpec::token_bucket(BucketIdentity(1), limit, None);
    let memory = Memory::small(2 * SMALL_CELL_BYTES);
    Arc::new(Table::with_buckets(memory, [spec]).expect("a small table").0)
}

fn key(number: u64) -> KeyHash {
    KeyHasher::new(&Secret::from_bytes([3; 32]))
        .key()
        .part(PartKind::Value, &number.to_le_bytes())
        .finish()
}

fn passes(table: &Table, number: u64, now: u64) -> bool {
    table
        .charge(
            &table.buckets().swap_remove(0),
            Key::Hash(key(number)),
            Cost::ONE,
            Timestamp::from_nanos(now),
        )
        .passes()
}

/// As many interleavings as differ in at most so many switches of a thread that could have gone on: nearly all faults show with
/// two, and without a bound the models below take hours.
const SWITCHES_MAX: usize = 3;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(SWITCHES_MAX);
    builder.check(run);
}

fn meter(algorithm: Algorithm, text: &str, settle: Option<Settle>) -> Meter {
    Meter::new(&MeterSpec {
        algorithm,
        limit: text.parse().expect("a limit"),
        largest_burst: None,
        settle,
        epoch_at_start: 0,
    })
}

fn spec(name: u128, meter: Meter) -> BucketSpec {
    BucketSpec::new(BucketIdentity(name), meter, Overflow::Closed)
}

/// Two small cells and two wide ones.
fn with(specs: impl IntoIterator<Item = BucketSpec>) -> (Arc<Table>, Vec<std::sync::Arc<Bucket>>) {
    let memory = Memory::small(2 * SMALL_CELL_BYTES);
    let (table, buckets) = Table::with_buckets(memory, specs).expect("a small table");
    (Arc::new(table), buckets)
}

fn charge(bucket: &std::sync::Arc<Bucket>, number: u64, hold: Hold) -> Charge<'_> {
    Charge {
        rule: RuleId::new(0),
        bucket,
        meter: 0,
        key: Key::Hash(key(number)),
        cost: Cost::ONE,
        mode: Mode::Enforced,
        hold,
        when_refused: WhenRefused::Nothing,
    }
}

/// What a request holds, if it passes.
fn hold(table: &Table, bucket: &std::sync::Arc<Bucket>, number: u64, now: u64) -> Option<Holding> {
    let mut takings = Takings::new();
    let clock = ManualClock::at(Timestamp::from_nanos(now));
    let request = [charge(bucket, number, Hold::UntilTheEnd)];
    match table.take(&request, &clock, &mut Report::new(), &mut takings) {
        Taken::All { .. } => takings.take_held(|_| true),
        Taken::Nothing => None,
    }
}

fn pass(table: &Table, bucket: &Bucket, number: u64, cost: u64, now: u64) -> bool {
    let now = Timestamp::from_nanos(now);
    table
        .charge(bucket, Key::Hash(key(number)), Cost::new(cost), now)
        .passes()
}

fn left(table: &Table, bucket: &Bucket, number: u64, now: u64) -> u64 {
    let now = Timestamp::from_nanos(now);
    table
        .charge(bucket, Key::Hash(key(number)), Cost::ZERO, now)
        .remaining()
}

fn settle(table: &Table, holding: Holding, actual: u64, now: u64) {
    table.settle(holding, Cost::new(actual), Timestamp::from_nanos(now));
}

fn one_window() -> (Arc<Table>, Vec<std::sync::Arc<Bucket>>) {
    with([spec(1, meter(Algorithm::SlidingWindow, "1/s", None))])
}

fn one_permit() -> (Arc<Table>, Vec<std::sync::Arc<Bucket>>) {
    with([spec(1, meter(Algorithm::Concurrency, "1/s", None))])
}

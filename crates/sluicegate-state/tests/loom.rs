//! Every interleaving of two threads on a table of one group of two cells, tried by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo nextest run -p sluicegate-state --test loom --release`.
#![cfg(loom)]

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

#[test]
fn two_first_requests_of_one_key_make_one_cell() {
    loom::model(|| {
        let table = table();
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 1, HOUR));
        let here = passes(&table, 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there, "a burst of one passes exactly once");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn a_key_that_comes_back_and_a_key_that_takes_its_idle_cell_never_share_it() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0) && passes(&table, 2, HOUR));
        // Key 2 is live, key 1 idle: one cell, wanted by key 1 again and by key 3.
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 3, HOUR));
        let here = passes(&table, 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there, "one of them has the cell, the other found none");
        assert!(!passes(&table, 1, HOUR) && !passes(&table, 2, HOUR) && !passes(&table, 3, HOUR));
        assert_eq!(table.fill().owned, 2);
    });
}

#[test]
fn the_cleaner_never_frees_a_cell_that_is_being_charged() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        assert!(passes(&table, 1, HOUR));
        thread.join().expect("no panic");
        assert!(!passes(&table, 1, HOUR), "the charge was lost");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn two_keys_that_want_the_same_idle_cell_never_both_get_it() {
    loom::model(|| {
        let table = table();
        assert!(passes(&table, 1, 0) && passes(&table, 2, HOUR));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || passes(&other, 3, HOUR));
        let here = passes(&table, 4, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here != there);
        assert_eq!(table.fill().owned, 2);
    });
}

/// Two buckets whose ticks differ: whoever takes a cell over from the other must not be judged by the other's time.
#[test]
fn a_cell_that_changes_its_bucket_is_never_judged_by_the_former_ones_time() {
    loom::model(|| {
        let spec = |name, limit: &str, keyed| BucketSpec {
            keyed,
            ..BucketSpec::token_bucket(BucketIdentity(name), limit.parse().expect("a limit"), None)
        };
        // Two cells are too few to share out, so only one of the buckets asks for a share.
        let specs = [spec(1, "1/s burst 1", false), spec(2, "700M/s burst 1000", true)];
        let table = Arc::new(
            Table::with_buckets(Memory::small(2 * SMALL_CELL_BYTES), specs)
                .expect("a small table")
                .0,
        );
        let charge = |table: &Table, bucket: usize, number: u64, now: u64| {
            let bucket = &table.buckets().swap_remove(bucket);
            let standing = table.charge(bucket, Key::Hash(key(number)), Cost::ONE, Timestamp::from_nanos(now));
            (standing.passes(), standing.overflow())
        };
        // Idle just now by its own bucket's ticks; by the other's, which are longer, it would be in debt for 18 minutes.
        assert_eq!(charge(&table, 0, 1, HOUR - 1_000_000_000), (true, false));
        // The other cell is taken, or it would be the one that is chosen.
        assert_eq!(charge(&table, 1, 9, HOUR), (true, false));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || charge(&other, 1, 2, HOUR));
        let here = charge(&table, 1, 2, HOUR);
        let there = thread.join().expect("no panic");
        // Its limit admits a thousand at once: a refusal could only come from another's state, or for want of a cell.
        for (passed, overflow) in [here, there] {
            assert!(passed || overflow);
        }
    });
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

#[test]
fn two_charges_of_one_wide_cell_pass_once() {
    model(|| {
        let (table, buckets) = one_window();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || pass(&other, &bucket, 1, 1, HOUR));
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        assert!(here != thread.join().expect("no panic"));
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn an_idle_wide_cell_goes_to_its_owner_or_to_another_and_never_to_both() {
    model(|| {
        let (table, buckets) = one_window();
        assert!(pass(&table, &buckets[0], 1, 1, 0) && pass(&table, &buckets[0], 2, 1, HOUR));
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || pass(&other, &bucket, 3, 1, HOUR));
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        assert!(
            here != thread.join().expect("no panic"),
            "one has the cell, the other found none"
        );
        assert!((1..4).all(|number| !pass(&table, &buckets[0], number, 1, HOUR)));
        assert_eq!(table.fill().owned, 2);
    });
}

#[test]
fn the_cleaner_never_frees_a_wide_cell_that_is_being_charged() {
    model(|| {
        let (table, buckets) = one_window();
        assert!(pass(&table, &buckets[0], 1, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        assert!(pass(&table, &buckets[0], 1, 1, HOUR));
        thread.join().expect("no panic");
        assert!(!pass(&table, &buckets[0], 1, 1, HOUR), "the charge was lost");
        assert_eq!(table.fill().owned, 1);
    });
}

#[test]
fn the_cleaner_gives_a_logs_entries_back_once() {
    model(|| {
        let (table, buckets) = with([spec(1, meter(Algorithm::SlidingLog, "1/s", None))]);
        assert!(pass(&table, &buckets[0], 1, 1, 0));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        // One block for all logs: it can be had only once the former entry is gone.
        let here = pass(&table, &buckets[0], 1, 1, HOUR);
        thread.join().expect("no panic");
        assert!(here && !pass(&table, &buckets[0], 1, 1, HOUR));
        assert_eq!((table.fill().owned, table.fill().log_blocks_used), (1, 1));
    });
}

#[test]
fn the_last_permit_goes_to_one_of_two() {
    model(|| {
        let (table, buckets) = one_permit();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR));
        let here = hold(&table, &buckets[0], 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(here.is_some() != there.is_some());
        for holding in here.into_iter().chain(there) {
            settle(&table, holding, 0, HOUR);
        }
        assert_eq!((left(&table, &buckets[0], 1, HOUR), buckets[0].held()), (1, 0));
    });
}

#[test]
fn a_permit_that_is_released_while_another_asks_for_it_is_neither_lost_nor_doubled() {
    model(|| {
        let (table, buckets) = one_permit();
        let first = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR));
        settle(&table, first, 0, HOUR);
        let second = thread.join().expect("no panic");
        assert_eq!(left(&table, &buckets[0], 1, HOUR), u64::from(second.is_none()));
    });
}

/// The cell of a key without permits lies idle with the very state that it had when it was somebody's: the cleaner once took
/// it, and the permit went into a cell that was nobody's.
#[test]
fn the_cleaner_never_takes_a_cell_that_a_permit_is_counted_in() {
    model(|| {
        let (table, buckets) = one_permit();
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || other.clean(2, Timestamp::from_nanos(HOUR)));
        let here = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        thread.join().expect("no panic");
        assert!(hold(&table, &buckets[0], 1, HOUR).is_none(), "the permit was lost");
        settle(&table, here, 0, HOUR);
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 0);
    });
}

/// The same where another key had the cell in between, and released it to the same state again.
#[test]
fn a_permit_is_never_counted_to_another_key() {
    model(|| {
        let (table, buckets) = one_permit();
        // The other cell is taken.
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            if let Some(holding) = hold(&other, &bucket, 3, HOUR) {
                settle(&other, holding, 0, HOUR);
            }
        });
        let here = hold(&table, &buckets[0], 1, HOUR);
        thread.join().expect("no panic");
        if let Some(holding) = here {
            assert!(hold(&table, &buckets[0], 1, HOUR).is_none(), "the permit was lost");
            settle(&table, holding, 0, HOUR);
        }
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1, "a permit was counted where nobody releases it");
    });
}

/// A release leaves an idle cell, which may be another key's before the one who released is done.
#[test]
fn a_release_is_never_taken_for_a_charge_of_the_next_owners() {
    model(|| {
        let (table, buckets) = one_permit();
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let first = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            if let Some(holding) = hold(&other, &bucket, 3, HOUR) {
                settle(&other, holding, 0, HOUR);
            }
        });
        settle(&table, first, 0, HOUR);
        thread.join().expect("no panic");
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1, "a permit that nobody holds");
    });
}

/// An empty cell and one whose permits are all back may read the same: whoever takes it has to know whose it was.
#[test]
fn a_cell_that_was_had_by_another_in_between_is_counted_off_that_one() {
    // Of another stripe, or the one would wait for the other.
    let stripe = |number| (key(number).as_u64() >> 12) % 2;
    let another = (2..).find(|number| stripe(*number) != stripe(1)).expect("one of many");
    model(move || {
        let (table, buckets) = one_permit();
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            let holding = hold(&other, &bucket, another, HOUR).expect("it is free");
            settle(&other, holding, 0, HOUR);
        });
        let here = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        thread.join().expect("no panic");
        table.clean(2, Timestamp::from_nanos(HOUR));
        assert_eq!(table.fill().owned, 1);
        settle(&table, here, 0, HOUR);
    });
}

/// A charge that met a freed cell keeps nobody out of it, and once took itself back from whoever came next.
#[test]
fn a_charge_that_was_too_late_takes_nothing_back_from_the_next_owner() {
    model(|| {
        let (table, buckets) = one_permit();
        let _live = hold(&table, &buckets[0], 2, HOUR).expect("it is free");
        let before = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        settle(&table, before, 0, HOUR);
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            other.clean(2, Timestamp::from_nanos(HOUR));
            hold(&other, &bucket, 3, HOUR)
        });
        let here = hold(&table, &buckets[0], 1, HOUR);
        let there = thread.join().expect("no panic");
        assert!(
            here.is_some() != there.is_some(),
            "one has the cell, the other found none"
        );
        let number = if here.is_some() { 1 } else { 3 };
        assert!(hold(&table, &buckets[0], number, HOUR).is_none(), "the permit was lost");
    });
}

#[test]
fn of_two_reservations_and_one_that_is_given_back_as_many_pass_as_fit() {
    model(|| {
        let (table, buckets) = with([spec(
            1,
            meter(Algorithm::TokenBucket, "2/h", Some(Settle { lock: None })),
        )]);
        let open = hold(&table, &buckets[0], 1, HOUR).expect("two fit");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || hold(&other, &bucket, 1, HOUR).is_some());
        settle(&table, open, 0, HOUR);
        let here = hold(&table, &buckets[0], 1, HOUR).is_some();
        assert!(
            here && thread.join().expect("no panic"),
            "both fit once the first is back"
        );
        assert!(hold(&table, &buckets[0], 1, HOUR).is_none());
        assert_eq!(buckets[0].held(), 2);
    });
}

/// A lowered limit, put in force while a request decides by the former: the successor knows of every charge.
fn take_over(former: fn() -> Meter, next: fn() -> Meter, keyed: bool) {
    model(move || {
        let one = |meter| BucketSpec {
            keyed,
            ..spec(1, meter)
        };
        let (table, buckets) = with([one(former())]);
        let key = if keyed { Key::Hash(key(1)) } else { Key::Whole };
        let now = Timestamp::from_nanos(HOUR);
        assert!(table.charge(&buckets[0], key, Cost::ONE, now).passes());
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || other.charge(&bucket, key, Cost::ONE, now).passes());
        let newer = table.install(vec![one(next())], now).expect("few buckets");
        let here = table.charge(&newer[0], key, Cost::ONE, now).passes();
        table.sweep(now);
        let there = thread.join().expect("no panic");
        let admitted = 1 + u64::from(here) + u64::from(there);
        let standing = table.charge(&newer[0], key, Cost::ZERO, now);
        assert_eq!(standing.remaining(), 3 - admitted, "{here} {there}");
        assert_eq!(table.fill().owned, usize::from(keyed));
        assert_eq!(buckets[0].owned(), 0);
    });
}

#[test]
fn a_successor_takes_a_small_cell_over_with_every_charge_through_its_predecessor() {
    take_over(
        || meter(Algorithm::TokenBucket, "1/h burst 9", None),
        || meter(Algorithm::TokenBucket, "1/h burst 3", None),
        true,
    );
}

#[test]
fn a_successor_takes_a_wide_cell_over_with_every_charge_through_its_predecessor() {
    take_over(
        || meter(Algorithm::SlidingWindow, "9 per 1d", None),
        || meter(Algorithm::SlidingWindow, "3 per 1d", None),
        true,
    );
}

#[test]
fn a_successor_takes_the_cell_of_all_keys_over_with_every_charge_through_its_predecessor() {
    take_over(
        || meter(Algorithm::TokenBucket, "1/h burst 9", None),
        || meter(Algorithm::TokenBucket, "1/h burst 3", None),
        false,
    );
}

#[test]
fn a_successor_takes_permits_over_and_each_is_released_where_it_is_counted() {
    model(|| {
        let (table, buckets) = with([spec(1, meter(Algorithm::Concurrency, "3/s", None))]);
        let first = hold(&table, &buckets[0], 1, HOUR).expect("it is free");
        let (other, bucket) = (Arc::clone(&table), buckets[0].clone());
        let thread = thread::spawn(move || {
            settle(&other, first, 0, HOUR);
            hold(&other, &bucket, 1, HOUR)
        });
        let now = Timestamp::from_nanos(HOUR);
        let next = spec(1, meter(Algorithm::Concurrency, "5/s", None));
        let newer = table.install(vec![next], now).expect("few buckets");
        table.sweep(now);
        let second = thread.join().expect("no panic").expect("it is free");
        assert_eq!((left(&table, &newer[0], 1, HOUR), newer[0].held()), (4, 1));
        settle(&table, second, 0, HOUR);
        assert_eq!((left(&table, &newer[0], 1, HOUR), newer[0].held()), (5, 0));
    });
}

/// A request whose place in the first queue has to move, since somebody joined the second, and finds the first taken by then.
#[test]
fn a_place_in_a_queue_is_given_up_once_and_never_another_request_with_it() {
    model(|| {
        let queue = |name, text| {
            let max_wait = Duration::from_hours(1);
            spec(name, meter(Algorithm::LeakyBucket { max_wait, free: 0 }, text, None))
        };
        let whole = |spec| BucketSpec { keyed: false, ..spec };
        // Nobody can stand behind the first one in the first queue.
        let (table, buckets) = with([whole(queue(1, "1/s burst 1")), whole(queue(2, "1/s burst 3"))]);
        let request = |table: &Table, buckets: &[&std::sync::Arc<Bucket>]| {
            let charges: Vec<_> = buckets
                .iter()
                .map(|bucket| Charge {
                    key: Key::Whole,
                    ..charge(bucket, 0, Hold::No)
                })
                .collect();
            let clock = ManualClock::at(Timestamp::from_nanos(HOUR));
            let taken = table.take(&charges, &clock, &mut Report::new(), &mut Takings::new());
            matches!(taken, Taken::All { .. })
        };
        let (other, two) = (Arc::clone(&table), buckets.clone());
        let thread = thread::spawn(move || {
            let _ = request(&other, &[&two[1]]);
            request(&other, &[&two[0]])
        });
        let here = request(&table, &[&buckets[0], &buckets[1]]);
        let there = thread.join().expect("no panic");
        assert!(!(here && there), "two stand where one has room");
        let behind = request(&table, &[&buckets[0]]);
        assert!(behind != (here || there), "{here} {there} {behind}");
    });
}

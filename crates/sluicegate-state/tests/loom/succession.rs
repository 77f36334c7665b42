//! A bucket in the place of another, beside charges through the former.

use super::*;

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

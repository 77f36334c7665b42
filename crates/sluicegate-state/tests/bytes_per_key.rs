//! What a key takes of the table by each algorithm, as `docs/algorithms.md` and `docs/memory.md` say it.

use std::time::Duration;

use sluicegate_core::algorithm::{Algorithm, Align, Meter, MeterSpec, Settle};
use sluicegate_core::{Cost, KeyHasher, PartKind, Secret, Timestamp};
use sluicegate_state::{BucketIdentity, BucketSpec, Key, Memory, Overflow, Table};

/// Large enough that the first key without a cell comes at much the same fill for every secret.
const PART: usize = 4 << 20;

/// A table of one bucket that has given a cell to each key, `charges` times, until one found none. Returns the keys that did.
fn fill(algorithm: Algorithm, settle: Option<Settle>, charges: usize, secret: u8) -> (Table, usize) {
    let meter = Meter::new(&MeterSpec {
        algorithm,
        limit: "1000/h".parse().expect("a limit"),
        largest_burst: None,
        settle,
        epoch_at_start: 0,
    });
    let memory = Memory {
        small: PART,
        wide: PART,
        logs: 16 * PART,
    };
    let spec = BucketSpec::new(BucketIdentity(1), meter, Overflow::Closed);
    let (table, buckets) = Table::with_buckets(memory, [spec]).expect("memory");
    let hasher = KeyHasher::new(&Secret::from_bytes([secret; 32]));
    let mut keys = 0;
    loop {
        let key = Key::Hash(hasher.key().part(PartKind::Value, &usize::to_le_bytes(keys)).finish());
        let found = (0..charges).all(|_| !table.charge(&buckets[0], key, Cost::ONE, Timestamp::ZERO).overflow());
        if !found {
            return (table, keys);
        }
        keys += 1;
        assert!(keys < PART, "a cell takes more than a byte");
    }
}

#[track_caller]
fn check(algorithm: Algorithm, settle: Option<Settle>, expected: std::ops::RangeInclusive<usize>) {
    for secret in 1..5 {
        let (_, keys) = fill(algorithm, settle, 1, secret);
        let bytes = PART.div_ceil(keys);
        assert!(
            expected.contains(&bytes),
            "{} takes {bytes} bytes a key",
            algorithm.as_str()
        );
    }
}

#[test]
fn a_key_of_one_word_takes_at_most_25_bytes_of_the_table() {
    let leaky = Algorithm::LeakyBucket {
        max_wait: Duration::MAX,
        free: 0,
    };
    for algorithm in [Algorithm::TokenBucket, leaky, Algorithm::Concurrency] {
        check(algorithm, None, 16..=25);
    }
}

#[test]
fn a_key_of_three_words_takes_at_most_50_bytes_of_the_table() {
    for align in [Align::Epoch, Align::FirstHit] {
        check(Algorithm::FixedWindow { align }, None, 32..=50);
    }
    check(Algorithm::SlidingWindow, None, 32..=50);
    check(Algorithm::SlidingLog, None, 32..=50);
    check(Algorithm::TokenBucket, Some(Settle::default()), 32..=50);
}

#[test]
fn a_log_takes_one_block_for_each_seven_entries() {
    for (charges, blocks) in [(1, 1), (7, 1), (8, 2), (14, 2), (15, 3)] {
        let (table, keys) = fill(Algorithm::SlidingLog, None, charges, 9);
        assert_eq!(table.fill().log_blocks_used, keys * blocks, "{charges} entries");
    }
}

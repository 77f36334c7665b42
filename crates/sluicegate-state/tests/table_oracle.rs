//! The table against an oracle: a sharded map without any memory bound, which knows of the table only which keys drew
//! from the overflow, and checks that no other key did.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers, printed or used as indexes"
)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use hashbrown::HashTable;
use proptest::prelude::*;
use sluicegate_core::algorithm::{Meter, Tat, TokenBucket, WordMeter};
use sluicegate_core::{Cost, KeyHash, KeyHasher, Limit, PartKind, Secret, Timestamp};
use sluicegate_state::{Bucket, BucketIdentity, BucketSpec, Key, Memory, SMALL_CELL_BYTES, Table};

fn hasher() -> KeyHasher {
    KeyHasher::new(&Secret::from_bytes([42; 32]))
}

fn key(hasher: &KeyHasher, number: u64) -> KeyHash {
    hasher.key().part(PartKind::Value, &number.to_le_bytes()).finish()
}

fn limit(text: &str) -> Limit {
    text.parse().expect(text)
}

fn one_bucket(cells: usize, rule: &str, overflow: &str) -> Table {
    let overflow = (overflow != "closed").then(|| limit(overflow));
    let spec = BucketSpec::token_bucket(BucketIdentity(1), limit(rule), overflow);
    let memory = Memory::small(cells * SMALL_CELL_BYTES);
    Table::with_buckets(memory, [spec]).expect("a small table").0
}

fn token_bucket(meter: &Meter) -> &TokenBucket {
    match meter {
        Meter::Word(WordMeter::TokenBucket(bucket)) => bucket,
        _ => unreachable!("the tables here have token buckets only"),
    }
}

/// What the table should remember, without a bound: a TAT for each key, and one for the overflow.
struct Oracle<'a> {
    bucket: &'a Bucket,
    shards: Vec<Mutex<HashTable<(KeyHash, Tat)>>>,
    overflow: Mutex<Tat>,
    hash: RandomState,
}

impl<'a> Oracle<'a> {
    fn new(bucket: &'a Bucket) -> Self {
        let shards = (0..16).map(|_| Mutex::new(HashTable::new())).collect();
        Self {
            bucket,
            shards,
            overflow: Mutex::new(Tat::UNSEEN),
            hash: RandomState::new(),
        }
    }

    /// Asks table and oracle the same, and holds their answers against each other.
    fn check(&self, table: &Table, key: KeyHash, cost: Cost, now: Timestamp) -> Result<bool, TestCaseError> {
        let hash = self.hash.hash_one(key.as_u64());
        let mut shard = self.shards[key.as_u64() as usize % self.shards.len()]
            .lock()
            .expect("no panics");
        let entry = shard
            .entry(
                hash,
                |(other, _)| *other == key,
                |(other, _)| self.hash.hash_one(other.as_u64()),
            )
            .or_insert((key, Tat::UNSEEN))
            .into_mut();
        let standing = table.charge(self.bucket, Key::Hash(key), cost, now);
        let decide = |meter: &TokenBucket, tat: &mut Tat| {
            let verdict = meter.decide(*tat, meter.tick(now), cost);
            *tat = verdict.tat();
            (verdict.passes(), meter.remaining(&verdict), meter.retry(&verdict))
        };
        let answer = (standing.passes(), standing.remaining(), standing.retry());
        if standing.overflow() {
            let live = !entry.1.is_idle(token_bucket(self.bucket.meter()).tick(now));
            prop_assert!(!live, "a key with a live cell was sent to the overflow");
            let meter = token_bucket(self.bucket.overflow_meter().expect("an overflow that is shared"));
            let mut overflow = self.overflow.lock().expect("no panics");
            prop_assert_eq!(answer, decide(meter, &mut overflow));
        } else {
            prop_assert_eq!(answer, decide(token_bucket(self.bucket.meter()), &mut entry.1));
        }
        Ok(standing.overflow())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From empty to 110 % of all cells and back to idle, with costs from nothing to beyond the burst: every answer is
    /// the oracle's, and only keys without a live cell draw from the overflow.
    #[test]
    fn every_answer_is_the_oracles_from_empty_to_overfull(
        seed in any::<u64>(),
        cells in 16usize..600,
        steps in proptest::collection::vec((0u64..1 << 32, 0u64..7, 0u64..400), 2_000..6_000),
    ) {
        let table = one_bucket(cells, "10/s burst 5", "100/s burst 50");
        let bucket = &table.buckets().swap_remove(0);
        let oracle = Oracle::new(bucket);
        let hasher = hasher();
        let universe = table.fill().cells as u64 * 11 / 10;
        let mut now = Timestamp::from_nanos(1_000_000_000);
        for (noise, cost, step_ms) in steps {
            // Mostly the clock stands, so that cells stay live and the table fills.
            if step_ms < 4 {
                now = now.saturating_add(Duration::from_millis(step_ms * 150));
            } else if step_ms == 5 {
                table.clean(64, now);
            }
            oracle.check(&table, key(&hasher, seed ^ (noise % universe)), Cost::new(cost), now)?;
        }
        prop_assert!(table.fill().owned <= table.fill().cells);
    }
}

/// On a clock that stands, each key may pass exactly `burst` times whoever asks: twice that would be two live cells,
/// one more a lost charge.
#[test]
fn threads_that_race_for_the_same_fresh_keys_never_make_two_cells_and_never_lose_a_charge() {
    const THREADS: usize = 4;
    const BURST: u64 = 3;
    let hasher = hasher();
    let table = one_bucket(1024, "1/s burst 3", "1/s burst 200");
    let bucket = &table.buckets().swap_remove(0);
    let universe = table.fill().cells * 11 / 10;
    let barrier = Barrier::new(THREADS);
    for round in 0..60u64 {
        // Every round is an hour later: all cells lie idle, and fresh keys take them over.
        let now = Timestamp::from_nanos(3_600_000_000_000 * (round + 1));
        let keys: Vec<_> = (0..universe as u64).map(|n| key(&hasher, round << 32 | n)).collect();
        let own: Vec<_> = keys.iter().map(|_| AtomicU64::new(0)).collect();
        let spilled: Vec<_> = keys.iter().map(|_| AtomicU64::new(0)).collect();
        let overflow_passes = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..=BURST {
                        for (index, key) in keys.iter().enumerate() {
                            let standing = table.charge(bucket, Key::Hash(*key), Cost::ONE, now);
                            match (standing.overflow(), standing.passes()) {
                                (false, true) => own[index].fetch_add(1, Ordering::Relaxed),
                                (true, true) => overflow_passes.fetch_add(1, Ordering::Relaxed),
                                (true, false) => spilled[index].fetch_add(1, Ordering::Relaxed),
                                (false, false) => 0,
                            };
                        }
                    }
                });
            }
        });
        for (own, spilled) in own.iter().zip(&spilled) {
            let (own, spilled) = (own.load(Ordering::Relaxed), spilled.load(Ordering::Relaxed));
            assert!(own == BURST || own == 0, "{own} passes through a cell of burst {BURST}");
            assert!(
                own == 0 || spilled == 0,
                "a key with a live cell was sent to the overflow"
            );
        }
        let with_cell = own.iter().filter(|own| own.load(Ordering::Relaxed) > 0).count();
        // What the rounds before left idle and nobody has taken over yet.
        table.clean(table.fill().cells, now);
        assert_eq!(table.fill().owned, with_cell, "cells owned and keys that drew from one");
        if with_cell < universe {
            assert_eq!(
                overflow_passes.load(Ordering::Relaxed),
                200,
                "the overflow admits its burst, not more"
            );
        }
    }
}

/// T2 of the threat list.
#[test]
fn a_flood_of_fresh_keys_never_frees_a_drained_client() {
    let hasher = hasher();
    let table = one_bucket(64 * 1024, "1/min burst 5", "10/min burst 50");
    let bucket = &table.buckets().swap_remove(0);
    let victim = Key::Hash(key(&hasher, u64::MAX));
    let start = Timestamp::from_nanos(1);
    let charge = |key, now| table.charge(bucket, key, Cost::ONE, now);
    assert_eq!((0..20).filter(|_| charge(victim, start).passes()).count(), 5);
    let wait = charge(victim, start).retry();
    for number in 0..10 * table.fill().cells as u64 {
        let _ = charge(
            Key::Hash(key(&hasher, number)),
            start.saturating_add(Duration::from_nanos(number)),
        );
    }
    assert!(bucket.overflowed() > 0, "the flood did not fill the table");
    let standing = charge(victim, start);
    assert!(!standing.passes() && !standing.overflow());
    assert_eq!(standing.retry(), wait);
}

#[test]
fn a_closed_overflow_refuses_keys_without_a_cell_and_nobody_else() {
    let hasher = hasher();
    let table = one_bucket(16, "1/min", "closed");
    let bucket = &table.buckets().swap_remove(0);
    let now = Timestamp::from_nanos(1);
    let standings: Vec<_> = (0..200)
        .map(|number| table.charge(bucket, Key::Hash(key(&hasher, number)), Cost::ONE, now))
        .collect();
    assert!(standings.iter().any(sluicegate_state::Standing::overflow));
    assert!(
        standings
            .iter()
            .all(|standing| standing.passes() != standing.overflow())
    );
    assert!(
        standings
            .iter()
            .all(|standing| standing.passes() || standing.retry().is_some())
    );
}

/// Memory per key, as the bytes of the table over the keys in it when the first one found no room.
#[test]
fn a_table_takes_at_most_26_bytes_a_key_at_its_first_overflow() {
    for seed in 0..4 {
        let hasher = KeyHasher::new(&Secret::from_bytes([seed; 32]));
        let table = one_bucket(1 << 20, "1/h", "1/h");
        let bucket = &table.buckets().swap_remove(0);
        let now = Timestamp::from_nanos(1);
        let first = (0..1 << 20).find(|number| {
            table
                .charge(bucket, Key::Hash(key(&hasher, *number)), Cost::ONE, now)
                .overflow()
        });
        let keys = first.expect("a table that overflows in the end");
        let bytes = table.fill().bytes as f64 / keys as f64;
        println!("secret {seed}: {keys} keys, {bytes:.2} bytes a key");
        assert!(bytes <= 26.0, "{bytes:.2} bytes a key");
    }
}

#[test]
fn idle_cells_are_freed_and_live_ones_never() {
    let hasher = hasher();
    let table = one_bucket(4096, "1/s burst 10", "closed");
    let bucket = &table.buckets().swap_remove(0);
    let start = Timestamp::from_nanos(0);
    for number in 0..1000 {
        // Every other key is drained for ten seconds, the others for one.
        let cost = if number % 2 == 0 { 1 } else { 10 };
        assert!(
            table
                .charge(bucket, Key::Hash(key(&hasher, number)), Cost::new(cost), start)
                .passes()
        );
    }
    let later = start.saturating_add(Duration::from_secs(2));
    let freed: usize = (0..64).map(|_| table.clean(64, later)).sum();
    assert_eq!((freed, table.fill().owned), (500, 500));
    for number in (1..1000).step_by(2) {
        let standing = table.charge(bucket, Key::Hash(key(&hasher, number)), Cost::ZERO, later);
        assert_eq!(standing.remaining(), 2);
    }
}

/// One rule's flood takes at most what is common; what is kept for the other stays to be had.
#[test]
fn a_flood_of_one_bucket_leaves_another_its_share() {
    let hasher = hasher();
    let spec = |name| BucketSpec::token_bucket(BucketIdentity(name), limit("1/h"), None);
    let memory = Memory::small(8192 * SMALL_CELL_BYTES);
    let (table, buckets) = Table::with_buckets(memory, [spec(1), spec(2)]).expect("a small table");
    let (flooded, quiet) = (&buckets[0], &buckets[1]);
    let now = Timestamp::from_nanos(1);
    for number in 0..100_000 {
        let _ = table.charge(flooded, Key::Hash(key(&hasher, number)), Cost::ONE, now);
    }
    assert!(flooded.overflowed() > 0);
    for number in 0..quiet.kept() as u64 {
        let standing = table.charge(quiet, Key::Hash(key(&hasher, number)), Cost::ONE, now);
        assert!(!standing.overflow(), "key {number} of {} found no cell", quiet.kept());
    }
    assert!(table.fill().owned <= table.fill().cells * 5 / 8);
}

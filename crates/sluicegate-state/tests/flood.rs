//! A flood of fresh keys (T1 and T2 of the threat list): the memory bound holds, and nobody gets free by it.

use std::sync::atomic::{AtomicU64, Ordering};

use sluicegate_core::{Cost, KeyHasher, PartKind, Secret};
use sluicegate_state::{BucketIdentity, BucketSpec, Clock, Key, Memory, SystemClock, Table};

const KEYS: u64 = 10_000_000;
const MEMORY: usize = 64 << 20;

/// What the process has in memory now, in bytes; `None` where the system does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Two threads send ten million keys, each seen once, as fast as they can; the table has cells for 4.2 million.
#[test]
fn ten_million_fresh_keys_stay_within_the_memory_bound_and_free_no_drained_client() {
    let hasher = KeyHasher::new(&Secret::from_bytes([6; 32]));
    let key = |number: u64| Key::Hash(hasher.key().part(PartKind::Value, &number.to_le_bytes()).finish());
    // An hour's limit, so that no cell goes idle while the flood lasts.
    let limit = "5/h".parse().expect("a limit");
    let overflow = Some("50/h".parse().expect("a limit"));
    let spec = BucketSpec::token_bucket(BucketIdentity(1), limit, overflow);
    let before = resident();
    let (table, buckets) = Table::with_buckets(Memory::small(MEMORY), [spec]).expect("64 MiB");
    let bucket = &buckets[0];
    let clock = SystemClock::new();
    let victims: Vec<_> = (0..100).map(|number| key(u64::MAX - number)).collect();
    for victim in &victims {
        while table.charge(bucket, *victim, Cost::ONE, clock.now()).passes() {}
    }

    let through_overflow = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (table, clock, key, through_overflow) = (&table, &clock, &key, &through_overflow);
            scope.spawn(move || {
                for number in (half * KEYS / 2)..((half + 1) * KEYS / 2) {
                    let standing = table.charge(bucket, key(number), Cost::ONE, clock.now());
                    if standing.overflow() && standing.passes() {
                        through_overflow.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });

    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(
            grown <= MEMORY + (64 << 20),
            "{grown} bytes more in memory, with a bound of {MEMORY}"
        );
    }
    assert!(bucket.overflowed() > KEYS / 2, "the flood did not fill the table");
    assert!(
        through_overflow.into_inner() <= 51,
        "the overflow admits its own limit and no more"
    );
    for victim in &victims {
        let standing = table.charge(bucket, *victim, Cost::ONE, clock.now());
        assert!(!standing.passes() && !standing.overflow(), "a drained client was freed");
    }
}

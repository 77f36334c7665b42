//! Floods of fresh keys by every algorithm, and how many bytes a key takes in each kind of cell.
//!
//! A table knows no absolute number: a tenth of the memory under a tenth of the keys says what ten million keys say to 64 MiB, and
//! nine algorithms take seconds rather than minutes. `./x soak` sends all ten million to each.

#![allow(clippy::cast_precision_loss, reason = "small numbers, printed")]

mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::test_runner::Config;
use sluicegate_core::algorithm::{Algorithm, Meter, Storage};
use sluicegate_core::{Cost, KeyHasher, PartKind, Secret, Timestamp};
use sluicegate_state::{Bucket, BucketSpec, Key, Memory, Overflow, Table, WIDE_CELL_BYTES};
use world::{clean, meter, one_of_each, settling, spec};

/// Where proptest is asked for more cases than usual, this is a soak.
fn is_soak() -> bool {
    Config::default().cases > 1_000
}

/// Well into a day, so that no window ends while a test lasts.
const NOW: Timestamp = Timestamp::from_nanos(1_000 * 86_400_000_000_000 + 5);

struct Keys(KeyHasher);

impl Keys {
    fn new(seed: u8) -> Self {
        Self(KeyHasher::new(&Secret::from_bytes([seed; 32])))
    }

    fn key(&self, number: u64) -> Key {
        Key::Hash(self.0.key().part(PartKind::Value, &number.to_le_bytes()).finish())
    }
}

fn pass(table: &Table, bucket: &Bucket, key: Key) -> (bool, bool) {
    let standing = table.charge(bucket, key, Cost::ONE, NOW);
    (standing.passes(), standing.overflow())
}

/// What the process has in memory now, in bytes; `None` where the system does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Two threads send keys that are seen once; the table has cells for fewer than half of them, and the logs entries for fewer still.
#[test]
fn a_flood_of_fresh_keys_stays_within_the_bound_and_frees_no_drained_client_by_any_algorithm() {
    const VICTIMS: u64 = 100;
    const OVERFLOW: u64 = 50;
    let (keys, bytes) = if is_soak() {
        (10_000_000, 64 << 20)
    } else {
        (1_000_000, 6_400 << 10)
    };
    let memory = Memory {
        small: bytes,
        wide: 2 * bytes,
        logs: bytes,
    };
    // By the overflow's own algorithm; where logs have no room there is none for the overflow's either.
    for ((name, limit), (_, shared)) in one_of_each("5 per 1d").into_iter().zip(one_of_each("50 per 1d")) {
        let shared = match shared {
            Meter::Log(_) => meter(Algorithm::TokenBucket, "50 per 1d"),
            other => other,
        };
        let flooded = BucketSpec {
            overflow: Overflow::Shared(shared),
            ..spec(1, [limit])
        };
        let before = resident();
        let (table, buckets) = Table::with_buckets(memory, [flooded]).expect("a table");
        let (bucket, hasher) = (&buckets[0], Keys::new(6));
        let victim = |number| hasher.key(u64::MAX - number);
        for number in 0..VICTIMS {
            let passed = (0..9).filter(|_| pass(&table, bucket, victim(number)).0).count();
            assert_eq!(passed, 5, "{name}");
        }
        let through_overflow = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let (table, hasher, through_overflow) = (&table, &hasher, &through_overflow);
                scope.spawn(move || {
                    for number in (half * keys / 2)..((half + 1) * keys / 2) {
                        if pass(table, bucket, hasher.key(number)) == (true, true) {
                            through_overflow.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(
            bucket.overflowed() > keys / 2,
            "{name}: the flood did not fill the table"
        );
        assert_eq!(
            through_overflow.into_inner(),
            OVERFLOW,
            "{name}: the overflow admits its limit, and no more"
        );
        if let (Some(before), Some(after)) = (before, resident()) {
            let (grown, most) = (after.saturating_sub(before), table.fill().bytes + (16 << 20));
            assert!(
                grown <= most,
                "{name}: {grown} bytes more in memory, with a bound of {most}"
            );
        }
        for number in 0..VICTIMS {
            assert_eq!(
                pass(&table, bucket, victim(number)),
                (false, false),
                "{name}: a drained client was freed"
            );
        }
        let fill = table.fill();
        assert!(fill.owned <= fill.cells && fill.log_blocks_used <= fill.log_blocks);
        // Two windows later all is idle and can be had again, but for permits, which nobody has released.
        if name != "concurrency" {
            let later = NOW.saturating_add(Duration::from_hours(72));
            clean(&table, later);
            let fill = table.fill();
            assert_eq!((fill.owned, fill.log_blocks_used), (0, 0), "{name}");
            assert!(
                !table.charge(bucket, hasher.key(1), Cost::ONE, later).overflow(),
                "{name}"
            );
        }
    }
}

/// A log's entries run out before its cells do. Who has used up its limit stays refused, who has not draws from the overflow, and
/// nobody's entries are taken while they count.
#[test]
fn keys_whose_logs_find_no_room_draw_from_the_overflow_until_entries_are_idle() {
    let memory = Memory {
        small: 0,
        wide: 4_096 * WIDE_CELL_BYTES,
        // Sixteen blocks of seven entries.
        logs: 16 * 128,
    };
    let logged = BucketSpec {
        overflow: Overflow::Shared(meter(Algorithm::TokenBucket, "40 per 1d")),
        ..spec(1, [meter(Algorithm::SlidingLog, "14 per 1d")])
    };
    let (table, buckets) = Table::with_buckets(memory, [logged]).expect("a table");
    let (bucket, hasher) = (&buckets[0], Keys::new(6));
    let passed = |number, times: usize| {
        (0..times)
            .map(|_| pass(&table, bucket, hasher.key(number)))
            .collect::<Vec<_>>()
    };
    // Seven keys use up their limits, in two blocks each; two have a block each.
    for number in 0..7 {
        assert_eq!(passed(number, 14), [(true, false); 14]);
    }
    for number in 7..9 {
        assert_eq!(passed(number, 7), [(true, false); 7]);
    }
    assert_eq!((table.fill().log_blocks_used, table.fill().log_blocks), (16, 16));
    assert_eq!(passed(0, 1), [(false, false)], "drained, and stays so");
    assert_eq!(passed(7, 2), [(true, true); 2], "its next entry has no room");
    assert_eq!(passed(99, 2), [(true, true); 2], "nor has another's first");
    let owned = table.fill().owned;
    assert_eq!(owned, 9, "a key without an entry has no cell");
    assert_eq!(passed(99, 40).iter().filter(|(passes, _)| *passes).count(), 36);
    let later = NOW.saturating_add(Duration::from_hours(24));
    clean(&table, later);
    assert_eq!((table.fill().log_blocks_used, table.fill().owned), (0, 0));
    assert!(!table.charge(bucket, hasher.key(99), Cost::ONE, later).overflow());
}

/// The bytes of a table over the keys in it when the first one found no room.
#[test]
fn a_key_takes_at_most_26_bytes_in_small_cells_and_52_in_wide_ones_at_the_first_overflow() {
    const CELLS: usize = 1 << 18;
    let max_wait = Duration::from_hours(24);
    let meters = [
        ("token_bucket", meter(Algorithm::TokenBucket, "1 per 1d")),
        (
            "leaky_bucket",
            meter(Algorithm::LeakyBucket { max_wait, free: 0 }, "1 per 1d"),
        ),
        ("concurrency", meter(Algorithm::Concurrency, "1/s")),
        ("sliding_window", meter(Algorithm::SlidingWindow, "1 per 1d")),
        ("settling token_bucket", settling("1 per 1d", None)),
    ];
    for (name, meter) in meters {
        let (cell, most) = if meter.storage() == Storage::Word {
            (16, 26.0)
        } else {
            (32, 52.0)
        };
        let memory = Memory {
            small: if cell == 16 { CELLS * 16 } else { 0 },
            wide: if cell == 32 { CELLS * 32 } else { 0 },
            logs: 0,
        };
        for seed in 0..3 {
            let (table, buckets) = Table::with_buckets(memory, [spec(1, [meter])]).expect("a table");
            let hasher = Keys::new(seed);
            let first = (0..CELLS as u64).find(|number| pass(&table, &buckets[0], hasher.key(*number)).1);
            let keys = first.expect("a table that overflows in the end");
            let bytes = (CELLS * cell) as f64 / keys as f64;
            println!("{name}, secret {seed}: {keys} keys, {bytes:.2} bytes a key");
            assert!(bytes <= most, "{name}: {bytes:.2} bytes a key");
        }
    }
}

/// Ten entries take two blocks of seven. The slab is larger than the cells have use for, so that those overflow first.
#[test]
fn a_key_with_a_log_of_ten_entries_takes_at_most_308_bytes_at_the_first_overflow() {
    const CELLS: usize = 1 << 16;
    for seed in 0..3 {
        let memory = Memory {
            small: 0,
            wide: CELLS * WIDE_CELL_BYTES,
            logs: 2 * CELLS * 128,
        };
        let log = meter(Algorithm::SlidingLog, "10 per 1d");
        let (table, buckets) = Table::with_buckets(memory, [spec(1, [log])]).expect("a table");
        let hasher = Keys::new(seed);
        let full = |number: &u64| (0..10).any(|_| pass(&table, &buckets[0], hasher.key(*number)).1);
        let keys = (0..CELLS as u64).find(full).expect("a table that overflows in the end");
        let blocks = table.fill().log_blocks_used * 128;
        let cells = (CELLS * WIDE_CELL_BYTES) as f64 / keys as f64;
        let bytes = (CELLS * WIDE_CELL_BYTES + blocks) as f64 / keys as f64;
        println!(
            "sliding_log, secret {seed}: {keys} keys of 10 entries, {bytes:.2} bytes a key, {cells:.2} of it for cells"
        );
        assert!(bytes <= 308.0, "{bytes:.2} bytes a key");
    }
}

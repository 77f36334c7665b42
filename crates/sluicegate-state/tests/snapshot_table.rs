//! What a table remembers, through a snapshot into another: every algorithm, under another clock, other limits and other memory.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use sluicegate_core::algorithm::{Algorithm, Align, Meter, MeterSpec, Settle};
use sluicegate_core::{Cost, KeyHash, KeyHasher, Mode, PartKind, Report, Retry, RuleId, Secret, Timestamp};
use sluicegate_state::snapshot::{self, Fingerprint, Header, Own, Snapshot, Tag, Writer};
use sluicegate_state::{
    Bucket, BucketIdentity, BucketSpec, Charge, Hold, Key, ManualClock, Memory, Overflow, Restored, SMALL_CELL_BYTES,
    Table, Taken, Takings, WIDE_CELL_BYTES, WhenRefused,
};

const FINGERPRINT: Fingerprint = Fingerprint([0x5A; 16]);

const SECOND: u64 = 1_000_000_000;

/// When the first node's clock started, in Unix time: some minutes past an hour.
const STARTED_AT: u64 = 1_800_000_000 * SECOND + 123;

/// What a node knows beside its limits.
#[derive(Clone, Copy)]
struct Clock {
    started_at: u64,
    now: Timestamp,
}

impl Clock {
    fn unix(self) -> u64 {
        self.started_at + self.now.as_nanos()
    }

    fn after(self, span: Duration) -> Self {
        Self {
            now: self.now.saturating_add(span),
            ..self
        }
    }
}

/// The first node, 100 s after its start.
const FIRST: Clock = Clock {
    started_at: STARTED_AT,
    now: Timestamp::from_nanos(100 * SECOND),
};

/// A node that shows `unix` 3 s after its start.
fn second(unix: u64) -> Clock {
    let now = 3 * SECOND;
    Clock {
        started_at: unix - now,
        now: Timestamp::from_nanos(now),
    }
}

/// All algorithms that keep something, by name, and what makes their cells other than token buckets'.
fn algorithms() -> [(&'static str, Algorithm, Option<Settle>); 8] {
    let leaky = Algorithm::LeakyBucket {
        max_wait: Duration::from_hours(24),
        free: 0,
    };
    let fixed = |align| Algorithm::FixedWindow { align };
    let locking = Settle {
        lock: Some(Duration::from_mins(15)),
    };
    [
        ("token bucket", Algorithm::TokenBucket, None),
        ("leaky bucket", leaky, None),
        ("fixed window", fixed(Align::Epoch), None),
        ("first-hit window", fixed(Align::FirstHit), None),
        ("sliding window", Algorithm::SlidingWindow, None),
        ("sliding log", Algorithm::SlidingLog, None),
        ("settling bucket", Algorithm::TokenBucket, Some(Settle::default())),
        ("locking bucket", Algorithm::TokenBucket, Some(locking)),
    ]
}

fn meter((_, algorithm, settle): (&str, Algorithm, Option<Settle>), limit: &str, clock: Clock) -> Meter {
    Meter::new(&MeterSpec {
        algorithm,
        limit: limit.parse().expect(limit),
        largest_burst: None,
        settle,
        epoch_at_start: clock.started_at,
    })
}

const ROOMY: Memory = Memory {
    small: 1 << 20,
    wide: 1 << 20,
    logs: 1 << 20,
};

/// A table with one bucket.
fn table(memory: Memory, meter: Meter, overflow: Overflow) -> (Table, Arc<Bucket>) {
    let spec = BucketSpec::new(BucketIdentity(7), meter, overflow);
    let (table, buckets) = Table::with_buckets(memory, [spec]).expect("a small table");
    (table, Arc::clone(&buckets[0]))
}

fn key(number: u64) -> Key {
    let hasher = KeyHasher::new(&Secret::from_bytes([42; 32]));
    Key::Hash(hash(&hasher, number))
}

fn hash(hasher: &KeyHasher, number: u64) -> KeyHash {
    hasher.key().part(PartKind::Value, &number.to_le_bytes()).finish()
}

fn save(table: &Table, clock: Clock) -> Vec<u8> {
    let listing = table.listing();
    let header = Header::new(FINGERPRINT, clock.unix(), "test", listing.to_header()).expect("a header");
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header).expect("memory takes all");
    table
        .export(&listing, &mut writer, clock.now, &ManualClock::at(clock.now))
        .expect("memory takes all");
    writer.finish().expect("memory takes all");
    bytes
}

fn open(bytes: &[u8]) -> Snapshot<Cursor<&[u8]>> {
    Snapshot::check(Cursor::new(bytes), FINGERPRINT, u64::MAX).expect("a whole file")
}

/// Restores as a node does that shows the time of `clock`.
fn load(table: &Table, bytes: &[u8], clock: Clock) -> Restored {
    let mut snapshot = open(bytes);
    let away = Duration::from_nanos(snapshot.header().age_ns(clock.unix()));
    table.restore(&mut snapshot, clock.now, away).expect("a whole file")
}

/// What is left of a key, and how long until it is whole.
fn left(table: &Table, bucket: &Bucket, key: Key, now: Timestamp) -> (u64, Duration) {
    let standing = table.charge(bucket, key, Cost::ZERO, now);
    (standing.remaining(), standing.reset_after())
}

/// Until the key passes again.
fn wait(table: &Table, bucket: &Bucket, key: Key, now: Timestamp) -> Duration {
    match table.charge(bucket, key, Cost::ONE, now).retry() {
        Some(Retry::After(wait)) => wait,
        other => unreachable!("{other:?} of a key that is used up"),
    }
}

/// The same as after the time that has passed, but for less than a microsecond that rounding adds to the wait.
#[track_caller]
fn assert_goes_on((left_before, whole_before): (u64, Duration), (left, whole): (u64, Duration), what: &str) {
    assert_eq!(left, left_before, "{what}");
    let added = whole.checked_sub(whole_before);
    assert!(
        added.is_some_and(|added| added < Duration::from_micros(1)),
        "{what}: whole after {whole:?}, and it would have been {whole_before:?}"
    );
}

#[test]
fn every_algorithm_goes_on_where_it_was_under_another_clock() {
    let away = Duration::from_millis(5_300);
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let before = meter(algorithm, "10/min", FIRST);
        let (old, bucket) = table(ROOMY, before, Overflow::Shared(before));
        for number in 0..9 {
            for charge in 0..=number {
                let at = FIRST.after(Duration::from_millis(700 * charge));
                assert!(old.charge(&bucket, key(number), Cost::ONE, at.now).passes(), "{name}");
            }
        }
        let written = FIRST.after(Duration::from_secs(10));
        let (then, clock) = (written.after(away), second(written.after(away).unix()));
        let bytes = save(&old, written);
        let after = meter(algorithm, "10/min", clock);
        let (new, heir) = table(ROOMY, after, Overflow::Shared(after));
        let restored = load(&new, &bytes, clock);
        assert_eq!(restored.cells, heir.owned() as u64, "{name}");
        assert_eq!(restored.no_room + restored.passed_over, 0, "{name}");
        for number in 0..10 {
            let expected = left(&old, &bucket, key(number), then.now);
            assert_goes_on(expected, left(&new, &heir, key(number), clock.now), name);
        }
    }
}

#[test]
fn the_cells_of_a_whole_bucket_and_of_its_overflow_go_on_too() {
    // One group of eight cells, and seven entries: most keys draw from the overflow.
    let tiny = Memory::small(0);
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let token_bucket = ("", Algorithm::TokenBucket, None);
        // Where logs have no room there is none for one of the overflow.
        let overflow_by = if name == "sliding log" { token_bucket } else { algorithm };
        let make = |clock| {
            let overflow = Overflow::Shared(meter(overflow_by, "100/min", clock));
            table(tiny, meter(algorithm, "5/min", clock), overflow)
        };
        let (old, bucket) = make(FIRST);
        for number in 0..40 {
            assert!(
                old.charge(&bucket, key(number), Cost::ONE, FIRST.now).passes(),
                "{name}"
            );
        }
        assert!(bucket.overflowed() > 30, "{name}");
        for _ in 0..3 {
            assert!(old.charge(&bucket, Key::Whole, Cost::ONE, FIRST.now).passes(), "{name}");
        }
        let bytes = save(&old, FIRST);
        let clock = second(FIRST.unix());
        let (new, heir) = make(clock);
        let restored = load(&new, &bytes, clock);
        assert_eq!(restored.no_room, 0, "{name}: {restored:?}");
        let expected = left(&old, &bucket, Key::Whole, FIRST.now);
        assert_goes_on(expected, left(&new, &heir, Key::Whole, clock.now), name);
        // A key without a cell asks the overflow when it is charged.
        let remaining = |table: &Table, bucket: &Bucket, now| {
            let standing = table.charge(bucket, key(99), Cost::ONE, now);
            assert!(standing.passes(), "{name}");
            standing.remaining()
        };
        let expected = remaining(&old, &bucket, FIRST.now);
        assert_eq!(remaining(&new, &heir, clock.now), expected, "{name}");
    }
}

#[test]
fn a_limit_that_changed_while_the_node_was_down_keeps_what_was_used_as_far_as_it_reaches() {
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let (old, bucket) = {
            let meter = meter(algorithm, "10/h", FIRST);
            table(ROOMY, meter, Overflow::Shared(meter))
        };
        for target in [key(1), Key::Whole] {
            for _ in 0..8 {
                assert!(old.charge(&bucket, target, Cost::ONE, FIRST.now).passes(), "{name}");
            }
        }
        let bytes = save(&old, FIRST);
        let clock = second(FIRST.unix());
        for (limit, remaining) in [("20/h", 12), ("5/h", 0), ("9/h", 1)] {
            let meter = meter(algorithm, limit, clock);
            let (new, heir) = table(ROOMY, meter, Overflow::Shared(meter));
            load(&new, &bytes, clock);
            for target in [key(1), Key::Whole] {
                let (found, whole) = left(&new, &heir, target, clock.now);
                assert_eq!(found, remaining, "{name} at {limit}");
                // Cut to the new burst: nobody is kept out for longer than who uses up a full one.
                let longest = Duration::from_hours(if name == "sliding window" { 2 } else { 1 });
                assert!(
                    whole <= longest + Duration::from_micros(1),
                    "{name} at {limit}: {whole:?}"
                );
            }
        }
    }
}

#[test]
fn a_lock_stays_to_its_end_whatever_becomes_of_the_limit() {
    let [.., locking] = algorithms();
    let (old, bucket) = table(ROOMY, meter(locking, "5/min", FIRST), Overflow::Closed);
    for _ in 0..5 {
        assert!(old.charge(&bucket, key(1), Cost::ONE, FIRST.now).passes());
    }
    let locked = wait(&old, &bucket, key(1), FIRST.now);
    assert_eq!(locked.as_secs(), 15 * 60);
    let bytes = save(&old, FIRST);
    for limit in ["5/min", "50/min", "1/min"] {
        let clock = second(FIRST.unix() + 60 * SECOND);
        let (new, heir) = table(ROOMY, meter(locking, limit, clock), Overflow::Closed);
        load(&new, &bytes, clock);
        let left = wait(&new, &heir, key(1), clock.now);
        let expected = Duration::from_mins(14);
        assert!(
            left >= expected && left < expected + Duration::from_micros(1),
            "{limit}: {left:?}"
        );
    }
}

#[test]
fn a_wall_clock_that_went_back_is_no_time_and_one_that_went_forward_pays_back_as_much() {
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let (old, bucket) = table(ROOMY, meter(algorithm, "10 per 2h", FIRST), Overflow::Closed);
        for _ in 0..10 {
            assert!(old.charge(&bucket, key(1), Cost::ONE, FIRST.now).passes(), "{name}");
        }
        let bytes = save(&old, FIRST);
        let hour = 3600 * SECOND;

        for back in [hour, 24 * hour] {
            let clock = second(FIRST.unix() - back);
            let (new, heir) = table(ROOMY, meter(algorithm, "10 per 2h", clock), Overflow::Closed);
            load(&new, &bytes, clock);
            let (found, whole) = left(&new, &heir, key(1), clock.now);
            assert_eq!(found, 0, "{name}");
            // A day back makes nobody wait for a day.
            let longest = Duration::from_hours(if name == "sliding window" { 4 } else { 2 });
            assert!(whole <= longest + Duration::from_micros(1), "{name}: {whole:?}");
        }
        for (forward, remaining) in [(hour, None), (5 * hour, Some(10))] {
            let then = FIRST.after(Duration::from_nanos(forward));
            let clock = second(then.unix());
            let (new, heir) = table(ROOMY, meter(algorithm, "10 per 2h", clock), Overflow::Closed);
            load(&new, &bytes, clock);
            let expected = left(&old, &bucket, key(1), then.now);
            assert_goes_on(expected, left(&new, &heir, key(1), clock.now), name);
            assert!(remaining.is_none_or(|remaining| expected.0 == remaining), "{name}");
        }
    }
}

#[test]
fn permits_and_idle_keys_are_not_written() {
    let permits = Meter::permits("3".parse().expect("a count"));
    let (old, bucket) = table(ROOMY, permits, Overflow::Shared(permits));
    for target in [key(1), Key::Whole] {
        assert!(old.charge(&bucket, target, Cost::ONE, FIRST.now).passes());
    }
    assert_eq!(open(&save(&old, FIRST)).records(), 0);
    for algorithm in algorithms() {
        let (old, bucket) = table(ROOMY, meter(algorithm, "10/s", FIRST), Overflow::Closed);
        for target in [key(1), Key::Whole] {
            assert!(old.charge(&bucket, target, Cost::ONE, FIRST.now).passes());
        }
        assert_eq!(open(&save(&old, FIRST)).records(), 2, "{}", algorithm.0);
        let later = FIRST.after(Duration::from_secs(2));
        assert_eq!(open(&save(&old, later)).records(), 0, "{}", algorithm.0);
    }
}

#[test]
fn what_is_reserved_when_a_node_goes_counts_as_charged() {
    let [.., settling, _] = algorithms();
    let (old, bucket) = table(ROOMY, meter(settling, "10/min", FIRST), Overflow::Closed);
    let charge = Charge {
        rule: RuleId::new(0),
        bucket: &bucket,
        meter: 0,
        key: key(1),
        cost: Cost::new(6),
        mode: Mode::Enforced,
        hold: Hold::UntilTheEnd,
        when_refused: WhenRefused::Nothing,
    };
    let mut takings = Takings::new();
    let taken = old.take(&[charge], &ManualClock::at(FIRST.now), &mut Report::new(), &mut takings);
    assert!(matches!(taken, Taken::All { .. }));
    let clock = second(FIRST.unix());
    let (new, heir) = table(ROOMY, meter(settling, "10/min", clock), Overflow::Closed);
    load(&new, &save(&old, FIRST), clock);
    assert_eq!(left(&new, &heir, key(1), clock.now).0, 4);
    // Nobody will settle it, so it refills like any debt.
    assert_eq!(left(&new, &heir, key(1), clock.after(Duration::from_mins(1)).now).0, 10);
}

#[test]
fn a_bucket_that_no_policy_asks_for_any_more_is_passed_over() {
    let spec =
        |number, limit: &str| BucketSpec::token_bucket(BucketIdentity(number), limit.parse().expect(limit), None);
    let (old, buckets) = Table::with_buckets(ROOMY, [spec(1, "9/h"), spec(2, "9/h")]).expect("a small table");
    for bucket in &buckets {
        assert!(old.charge(bucket, key(1), Cost::ONE, FIRST.now).passes());
    }
    let bytes = save(&old, FIRST);
    let (new, buckets) = Table::with_buckets(ROOMY, [spec(3, "9/h"), spec(2, "9/h")]).expect("a small table");
    let restored = load(&new, &bytes, second(FIRST.unix()));
    assert_eq!((restored.cells, restored.passed_over), (1, 1));
    assert_eq!((buckets[0].owned(), buckets[1].owned()), (0, 1));

    // Of the buckets that were replaced while the node ran, only what took their place is written.
    old.install(vec![spec(2, "90/h")], FIRST.now).expect("room");
    old.sweep(FIRST.now);
    let bytes = save(&old, FIRST);
    assert_eq!(open(&bytes).header().buckets().len(), 1);
    assert_eq!(open(&bytes).records(), 1);
}

#[test]
fn a_smaller_memory_keeps_what_fits_and_counts_the_rest() {
    let keys = 20_000;
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let meter_at = |clock| meter(algorithm, "100/h", clock);
        let large = Memory {
            small: 2 * keys * SMALL_CELL_BYTES,
            wide: 2 * keys * WIDE_CELL_BYTES,
            logs: 4 << 20,
        };
        let (old, bucket) = table(large, meter_at(FIRST), Overflow::Closed);
        let hasher = KeyHasher::new(&Secret::from_bytes([42; 32]));
        for number in 0..keys as u64 {
            let key = Key::Hash(hash(&hasher, number));
            assert!(old.charge(&bucket, key, Cost::ONE, FIRST.now).passes(), "{name}");
        }
        let bytes = save(&old, FIRST);
        let clock = second(FIRST.unix());
        for divisor in [1, 3, 5] {
            let memory = Memory {
                small: large.small / divisor,
                wide: large.wide / divisor,
                logs: large.logs / divisor,
            };
            let (new, heir) = table(memory, meter_at(clock), Overflow::Closed);
            let restored = load(&new, &bytes, clock);
            assert_eq!(restored.cells + restored.no_room, keys as u64, "{name} / {divisor}");
            assert_eq!(restored.cells, heir.owned() as u64, "{name} / {divisor}");
            assert_eq!(restored.no_room == 0, divisor == 1, "{name} / {divisor}: {restored:?}");
            let cells = 2 * keys / divisor;
            assert!(restored.cells >= cells as u64 / 2, "{name} / {divisor}: {restored:?}");
            let blocks = if name == "sliding log" { restored.cells } else { 0 };
            assert_eq!(new.fill().log_blocks_used as u64, blocks, "{name} / {divisor}");
            let found = (0..keys as u64)
                .filter(|number| left(&new, &heir, Key::Hash(hash(&hasher, *number)), clock.now).0 == 99)
                .count();
            assert_eq!(found as u64, restored.cells, "{name} / {divisor}");
        }
    }
}

/// The walk that follows the file's order looked at one of a key's groups only, whether or not the key had a cell.
#[test]
fn what_is_restored_twice_or_beside_the_traffic_is_there_once() {
    let keys = 20_000;
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let memory = Memory {
            small: 2 * keys * SMALL_CELL_BYTES,
            wide: 2 * keys * WIDE_CELL_BYTES,
            logs: 4 << 20,
        };
        let make = || table(memory, meter(algorithm, "100/h", FIRST), Overflow::Closed);
        let (old, bucket) = make();
        let hasher = KeyHasher::new(&Secret::from_bytes([42; 32]));
        let all: Vec<Key> = (0..keys as u64)
            .map(|number| Key::Hash(hash(&hasher, number)))
            .collect();
        for key in &all {
            assert!(old.charge(&bucket, *key, Cost::new(2), FIRST.now).passes(), "{name}");
        }
        let bytes = save(&old, FIRST);
        let (new, heir) = make();
        // Some came before, with less than is in the file.
        for key in all.iter().step_by(3) {
            assert!(new.charge(&heir, *key, Cost::ONE, FIRST.now).passes(), "{name}");
        }
        let came = heir.owned() as u64;
        assert_eq!(load(&new, &bytes, FIRST).cells, keys as u64 - came, "{name}");
        assert_eq!(load(&new, &bytes, FIRST).cells, 0, "{name}");
        assert_eq!(heir.owned(), keys, "{name}");
        let blocks = if name == "sliding log" { keys } else { 0 };
        assert_eq!(new.fill().log_blocks_used, blocks, "{name}");
        for key in &all {
            assert_eq!(left(&new, &heir, *key, FIRST.now).0, 98, "{name}");
        }
    }
}

#[test]
fn a_restored_flood_of_one_bucket_leaves_the_share_of_another() {
    let spec = |number| BucketSpec::token_bucket(BucketIdentity(number), "9/h".parse().expect("a limit"), None);
    let cells = |cells: usize| Memory::small(cells * SMALL_CELL_BYTES);
    let (old, buckets) = Table::with_buckets(cells(1 << 16), [spec(1), spec(2)]).expect("a small table");
    for (bucket, keys) in buckets.iter().zip([20_000, 100]) {
        for number in 0..keys {
            assert!(old.charge(bucket, key(number), Cost::ONE, FIRST.now).passes());
        }
    }
    let bytes = save(&old, FIRST);
    let (new, buckets) = Table::with_buckets(cells(1 << 13), [spec(1), spec(2)]).expect("a smaller table");
    let restored = load(&new, &bytes, second(FIRST.unix()));
    let kept = buckets[1].kept();
    assert_eq!(buckets[1].owned(), 100);
    // Five eighths of the cells are shared out: its own quarter of that, and the common half.
    assert_eq!(buckets[0].owned(), 3 * kept, "of {restored:?}");
}

#[test]
fn of_two_records_of_one_key_the_larger_debt_stays() {
    for (name, storage, index) in [
        ("token bucket", snapshot::Storage::Word, 0),
        ("fixed window", snapshot::Storage::Wide, 2),
        ("sliding log", snapshot::Storage::Log, 5),
    ] {
        let meter = meter(algorithms()[index], "10/h", FIRST);
        let (old, bucket) = table(ROOMY, meter, Overflow::Closed);
        let files: Vec<Vec<u8>> = [2, 5]
            .map(|charges| {
                for _ in 0..charges {
                    assert!(old.charge(&bucket, key(1), Cost::ONE, FIRST.now).passes());
                }
                save(&old, FIRST)
            })
            .into();
        for order in [[0, 1], [1, 0]] {
            let header = open(&files[0]).header().clone();
            assert_eq!(header.buckets()[0].storage, storage);
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, &header).expect("memory takes all");
            for file in order {
                copy(&files[file], &mut writer);
            }
            writer.finish().expect("memory takes all");
            let (new, heir) = table(ROOMY, meter, Overflow::Closed);
            let restored = load(&new, &bytes, FIRST);
            assert_eq!((restored.cells, heir.owned()), (1, 1), "{name}");
            assert_eq!(left(&new, &heir, key(1), FIRST.now).0, 3, "{name} {order:?}");
            let blocks = usize::from(storage == snapshot::Storage::Log);
            assert_eq!(new.fill().log_blocks_used, blocks, "{name}");
        }
    }
}

/// Writes the records of one file into another.
fn copy(bytes: &[u8], writer: &mut Writer<'_>) {
    let copied = open(bytes).for_each_chunk(|chunk| {
        let copied: Result<(), _> = match chunk {
            snapshot::Chunk::Word(records) => records
                .iter()
                .try_for_each(|[tag, state]| writer.word(Tag::from_u64(*tag), *state)),
            snapshot::Chunk::Wide(records) => records
                .iter()
                .try_for_each(|[tag, state @ ..]| writer.wide(Tag::from_u64(*tag), *state)),
            snapshot::Chunk::Log(mut logs) => logs.try_for_each(|log| writer.log(log.tag, log.entries)),
            snapshot::Chunk::Own(mut cells) => {
                cells.try_for_each(|cell| writer.own(cell.bucket, cell.which, cell.words))
            }
        };
        copied.expect("memory takes all");
    });
    copied.expect("a whole file");
}

/// Each cell is read at a moment of its own, so what is restored lies between what was charged before and after.
#[test]
fn a_snapshot_beside_the_traffic_restores_no_more_than_was_left_when_it_was_begun() {
    const KEYS: u64 = 2_000;
    for algorithm in algorithms() {
        let (name, ..) = algorithm;
        let meter = meter(algorithm, "1000/h", FIRST);
        let memory = Memory {
            logs: 64 << 20,
            ..ROOMY
        };
        let (old, bucket) = table(memory, meter, Overflow::Closed);
        let charged: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        let keys: Vec<Key> = (0..KEYS).map(key).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (old, bucket, charged, keys, is_over) = (&old, &bucket, &charged, &keys, &is_over);
                scope.spawn(move || {
                    for round in 0_u64.. {
                        let number = (round * 7 + thread * 1_001) % KEYS;
                        if is_over.load(Ordering::Relaxed) || round > KEYS * 200 {
                            return;
                        }
                        let index = usize::try_from(number).expect("few keys");
                        if old.charge(bucket, keys[index], Cost::ONE, FIRST.now).passes() {
                            charged[index].fetch_add(1, Ordering::Release);
                        }
                    }
                });
            }
            for _ in 0..5 {
                let before: Vec<u64> = charged.iter().map(|count| count.load(Ordering::Acquire)).collect();
                let bytes = save(&old, FIRST);
                let (new, heir) = table(memory, meter, Overflow::Closed);
                load(&new, &bytes, FIRST);
                for (index, before) in before.iter().enumerate() {
                    let remaining = left(&new, &heir, keys[index], FIRST.now).0;
                    // One more a thread may be charged and not counted yet.
                    let after = charged[index].load(Ordering::Acquire) + 2;
                    let used = 1_000 - remaining;
                    assert!((*before..=after).contains(&used), "{name}: {before} ≤ {used} ≤ {after}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

proptest! {
    /// A sound file need not be one of ours: whatever it says, nobody is harmed but who it names, and counts stay true.
    #[test]
    fn any_words_and_parameters_are_restored_without_harm(
        words in prop::collection::vec((any::<u64>(), any::<[u64; 4]>(), any::<bool>()), 0..50),
        parameters in prop::collection::vec(any::<u8>(), 58),
        keeps in any::<bool>(),
        away in any::<u64>(),
        now in 0..(1_u64 << 62),
    ) {
        for algorithm in algorithms() {
            let meter = meter(algorithm, "10/min", FIRST);
            let (table, bucket) = table(Memory::small(0), meter, Overflow::Shared(meter));
            let mut buckets = table.listing().to_header();
            if !keeps {
                // Numbers of algorithms that there are, mostly.
                let mut bytes = parameters.clone();
                bytes[0] %= 10;
                bytes[1] %= 10;
                buckets[0].parameters = snapshot::Parameters::new(&bytes).expect("they fit");
            }
            let storage = buckets[0].storage;
            let header = Header::new(FINGERPRINT, 0, "test", buckets).expect("a header");
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, &header).expect("memory takes all");
            for (tag, [one, two, three, four], own) in &words {
                let tag = Tag::new(0, *tag);
                match storage {
                    _ if *own => {
                        let which = if one % 2 == 0 { Own::Whole } else { Own::Overflow };
                        writer.own(0, which, &[[*two, *three], [*four, 0]])
                    }
                    snapshot::Storage::Word => writer.word(tag, *one),
                    snapshot::Storage::Wide => writer.wide(tag, [*one, *two, *three]),
                    snapshot::Storage::Log => writer.log(tag, &[[*one, *two], [*three, *four]]),
                }
                .expect("memory takes all");
            }
            writer.finish().expect("memory takes all");
            let (now, away) = (Timestamp::from_nanos(now), Duration::from_nanos(away));
            let mut snapshot = open(&bytes);
            let restored = table.restore(&mut snapshot, now, away).expect("a whole file");
            prop_assert!(restored.cells >= bucket.owned() as u64);
            for target in [key(1), Key::Whole] {
                let _ = left(&table, &bucket, target, now);
            }
            let _ = table.clean(16, now);
        }
    }
}

#[test]
fn what_a_bucket_is_counted_in_makes_the_same_meters_again() {
    for algorithm in algorithms() {
        for limit in ["1/d", "1000/min burst 7", "3 per 7s burst 1000", "1000 per 90d"] {
            let meter = meter(algorithm, limit, FIRST);
            let (old, bucket) = table(ROOMY, meter, Overflow::Closed);
            assert!(old.charge(&bucket, key(1), Cost::ONE, FIRST.now).passes());
            let clock = second(FIRST.unix());
            let (new, heir) = table(ROOMY, self::meter(algorithm, limit, clock), Overflow::Closed);
            load(&new, &save(&old, FIRST), clock);
            let expected = left(&old, &bucket, key(1), FIRST.now);
            assert_goes_on(
                expected,
                left(&new, &heir, key(1), clock.now),
                &format!("{} {limit}", algorithm.0),
            );
        }
    }
}

//! What the tests of the table share: short words for its parts.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::algorithm::{Algorithm, Align, Meter, MeterSpec, Settle};
use sluicegate_core::{Cost, KeyHasher, Limit, Mode, PartKind, Report, RuleId, Secret, Timestamp};
use sluicegate_state::{
    Bucket, BucketIdentity, BucketSpec, Charge, Clock, Hold, Holding, Key, Memory, Overflow, Standing, Table, Taken,
    Takings, WhenRefused,
};

/// Room for all keys of a test that is not about room.
pub(crate) const AMPLE: Memory = Memory {
    small: 256 << 10,
    wide: 512 << 10,
    logs: 256 << 10,
};

pub(crate) fn limit(text: &str) -> Limit {
    text.parse().expect(text)
}

pub(crate) fn key(number: u64) -> Key {
    let hasher = KeyHasher::new(&Secret::from_bytes([42; 32]));
    Key::Hash(hasher.key().part(PartKind::Value, &number.to_le_bytes()).finish())
}

pub(crate) const fn at_ms(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

/// A meter of a limit; `text` of a concurrency is `COUNT/s`.
pub(crate) fn meter(algorithm: Algorithm, text: &str) -> Meter {
    metered(algorithm, text, None)
}

/// A token bucket whose charges are settled, or that locks.
pub(crate) fn settling(text: &str, lock: Option<Duration>) -> Meter {
    metered(Algorithm::TokenBucket, text, Some(Settle { lock }))
}

fn metered(algorithm: Algorithm, text: &str, settle: Option<Settle>) -> Meter {
    Meter::new(&MeterSpec {
        algorithm,
        limit: limit(text),
        largest_burst: None,
        settle,
        epoch_at_start: 0,
    })
}

/// Meters of one leaky bucket, the strictest first.
pub(crate) fn leaky(max_wait: Duration, texts: &[&str]) -> Vec<Meter> {
    let largest = texts.iter().map(|text| limit(text).burst()).max();
    let one = |text: &&str| {
        Meter::new(&MeterSpec {
            algorithm: Algorithm::LeakyBucket { max_wait, free: 0 },
            limit: limit(text),
            largest_burst: largest,
            settle: None,
            epoch_at_start: 0,
        })
    };
    texts.iter().map(one).collect()
}

/// A meter of every algorithm, each with the limit `text`, that refuses rather than waits too long.
pub(crate) fn one_of_each(text: &str) -> [(&'static str, Meter); 9] {
    let max_wait = Duration::from_hours(24);
    [
        ("token bucket", meter(Algorithm::TokenBucket, text)),
        (
            "leaky bucket",
            meter(Algorithm::LeakyBucket { max_wait, free: 0 }, text),
        ),
        (
            "fixed window",
            meter(Algorithm::FixedWindow { align: Align::Epoch }, text),
        ),
        (
            "first-hit window",
            meter(Algorithm::FixedWindow { align: Align::FirstHit }, text),
        ),
        ("sliding window", meter(Algorithm::SlidingWindow, text)),
        ("sliding log", meter(Algorithm::SlidingLog, text)),
        ("concurrency", meter(Algorithm::Concurrency, text)),
        ("settling bucket", settling(text, None)),
        ("locking bucket", settling(text, Some(Duration::from_mins(15)))),
    ]
}

/// A bucket with a cell for each key, and nothing for those that find none.
pub(crate) fn spec(name: u128, meters: impl Into<Vec<Meter>>) -> BucketSpec {
    BucketSpec {
        identity: BucketIdentity(name),
        meters: meters.into(),
        keyed: true,
        overflow: Overflow::Closed,
    }
}

/// One unit, enforced and spent.
pub(crate) fn charge(rule: u16, bucket: &Arc<Bucket>, key: Key) -> Charge<'_> {
    Charge {
        rule: RuleId::new(rule),
        bucket,
        meter: 0,
        key,
        cost: Cost::ONE,
        mode: Mode::Enforced,
        hold: Hold::No,
        when_refused: WhenRefused::Nothing,
    }
}

/// One unit, held until the request's end.
pub(crate) fn held(rule: u16, bucket: &Arc<Bucket>, key: Key) -> Charge<'_> {
    Charge {
        hold: Hold::UntilTheEnd,
        ..charge(rule, bucket, key)
    }
}

/// What a request has taken and how long it waits; `None` if it was refused.
pub(crate) fn take(table: &Table, charges: &[Charge<'_>], clock: &impl Clock) -> Option<(Takings, Duration)> {
    let mut takings = Takings::new();
    match table.take(charges, clock, &mut Report::new(), &mut takings) {
        Taken::All { delay } => Some((takings, delay)),
        Taken::Nothing => {
            assert!(takings.is_empty(), "a refused request holds nothing");
            None
        }
    }
}

/// The one charge that a request holds, if it passes.
pub(crate) fn reserve(table: &Table, charge: Charge<'_>, clock: &impl Clock) -> Option<Holding> {
    let (mut takings, _) = take(table, &[charge], clock)?;
    takings.take_held(|_| true)
}

/// Gives back all that a request has taken.
pub(crate) fn leave(table: &Table, mut takings: Takings, now: Timestamp) {
    while let Some(holding) = takings.take_held(|_| true) {
        table.give_back(holding, now);
    }
    for holding in takings.take_queued() {
        table.give_back(holding, now);
    }
}

/// Where a key stands, without a charge.
pub(crate) fn ask<'b>(table: &Table, bucket: &'b Bucket, key: Key, now: Timestamp) -> Standing<'b> {
    table.charge(bucket, key, Cost::ZERO, now)
}

/// Frees all idle cells.
pub(crate) fn clean(table: &Table, now: Timestamp) {
    table.clean(table.fill().cells, now);
}

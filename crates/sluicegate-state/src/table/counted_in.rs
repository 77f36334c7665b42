//! What a bucket's state is counted in, as a snapshot keeps it: enough to make the meters again, whatever the limits are by then.

use std::num::NonZeroU64;
use std::time::Duration;

use sluicegate_core::Limit;
use sluicegate_core::algorithm::{Algorithm, Align, Meter, MeterSpec, Settle, WideMeter, WordMeter};

use super::bucket::Bucket;
use crate::snapshot::Parameters;

/// The meters by which a bucket's state was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CountedIn {
    /// Of its keys, and of its whole cell.
    pub(super) meter: Meter,
    /// Of its overflow; `None` where that was closed.
    pub(super) overflow: Option<Meter>,
}

/// Bytes of a bucket's parameters: the numbers of both algorithms; count, period, burst and largest burst; and the overflow's
/// count, period and burst.
const BYTES: usize = 2 + 4 * 8 + 3 * 8;

impl CountedIn {
    pub(super) fn of(bucket: &Bucket) -> Parameters {
        let mut bytes = [0; BYTES];
        let largest_burst = bucket.meters().filter_map(Meter::limit).map(Limit::burst).max();
        bytes[0] = number(bucket.meter());
        put(&mut bytes[2..], bucket.meter(), largest_burst);
        if let Some(meter) = bucket.overflow_meter() {
            bytes[1] = number(meter);
            put(&mut bytes[2 + 4 * 8..], meter, None);
        }
        Parameters::new(&bytes).unwrap_or_default()
    }

    /// `None` if the parameters say nothing that a bucket could be made of.
    pub(super) fn from(parameters: &Parameters) -> Option<Self> {
        let bytes: &[u8; BYTES] = parameters.as_bytes().try_into().ok()?;
        let [algorithm, overflow, numbers @ ..] = bytes;
        let mut words = [0; 7];
        for (word, bytes) in words.iter_mut().zip(numbers.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [count, period, burst, largest, overflow_numbers @ ..] = words;
        let [overflow_count, overflow_period, overflow_burst] = overflow_numbers;
        Some(Self {
            meter: meter(*algorithm, [count, period, burst], NonZeroU64::new(largest))?,
            overflow: match overflow {
                0 => None,
                number => Some(meter(*number, [overflow_count, overflow_period, overflow_burst], None)?),
            },
        })
    }
}

/// The numbers by which files know algorithms; they are never used for another.
const fn number(meter: &Meter) -> u8 {
    match meter {
        Meter::Word(WordMeter::TokenBucket(_)) => 1,
        Meter::Word(WordMeter::LeakyBucket(_)) => 2,
        Meter::Word(WordMeter::Concurrency(_)) => 3,
        Meter::Wide(WideMeter::FixedWindow(meter)) => match meter.align() {
            Align::Epoch => 4,
            Align::FirstHit => 5,
        },
        Meter::Wide(WideMeter::SlidingWindow(_)) => 6,
        Meter::Wide(WideMeter::Settling(_)) => 7,
        Meter::Log(_) => 8,
    }
}

/// Writes a limit's count, period in nanoseconds and burst, and the largest burst of all that share its tick. Zeros for permits, of
/// which nothing is kept.
fn put(bytes: &mut [u8], meter: &Meter, largest_burst: Option<NonZeroU64>) {
    let Some(limit) = meter.limit() else { return };
    let period = u64::try_from(limit.period().as_nanos()).unwrap_or(u64::MAX);
    let numbers = [limit.count().get(), period, limit.burst().get()];
    let numbers = numbers.into_iter().chain(largest_burst.map(NonZeroU64::get));
    for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
}

/// The meter of those numbers, as far as bringing its state to another time and limit depends on it: that asks neither how long
/// it locks or lets wait, nor when the clock started.
fn meter(number: u8, [count, period, burst]: [u64; 3], largest_burst: Option<NonZeroU64>) -> Option<Meter> {
    let (algorithm, settle) = match number {
        1 => (Algorithm::TokenBucket, None),
        2 => {
            let (max_wait, free) = (Duration::ZERO, 0);
            (Algorithm::LeakyBucket { max_wait, free }, None)
        }
        3 => return Some(Meter::permits(sluicegate_core::Permits::new(NonZeroU64::MIN))),
        4 => (Algorithm::FixedWindow { align: Align::Epoch }, None),
        5 => (Algorithm::FixedWindow { align: Align::FirstHit }, None),
        6 => (Algorithm::SlidingWindow, None),
        7 => (Algorithm::TokenBucket, Some(Settle { lock: None })),
        8 => (Algorithm::SlidingLog, None),
        _ => return None,
    };
    Some(Meter::new(&MeterSpec {
        algorithm,
        limit: Limit::new(count, Duration::from_nanos(period), burst).ok()?,
        largest_burst,
        settle,
        epoch_at_start: 0,
    }))
}

//! Random limits, clocks and costs, spread so that every order of magnitude is as likely as the next.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use sluicegate_core::Limit;
use sluicegate_core::algorithm::{Algorithm, Align, LOG_MAX, Meter, MeterSpec, Settle};

/// So many random histories for each property, unless `PROPTEST_CASES` is set: proptest puts that number in the place of
/// any that a test asks for, whether it is more or less.
pub(crate) fn histories(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let most = cases.max(default.cases);
    ProptestConfig {
        cases,
        // Some draws are no limits, or lie beyond the clock; their number grows with the cases.
        max_local_rejects: most.saturating_mul(4),
        max_global_rejects: most,
        ..default
    }
}

/// One step of a history: how the clock moves, and what the request costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    kind: u8,
    time: u64,
    cost: u64,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..16, any::<u64>(), any::<u64>()).prop_map(|(kind, time, cost)| Step { kind, time, cost });
    proptest::collection::vec(step, 1..40)
}

/// Latest time that histories reach, 2⁶⁰ ns: 36 years.
pub(crate) const HORIZON: u64 = 1 << 60;

impl Step {
    /// The next time: the clock stands, or moves by parts of an interval, a period or a burst, or jumps anywhere.
    pub(crate) fn time(self, limit: &Limit, now: u64) -> u64 {
        let later = now.saturating_add(self.span(limit)).min(HORIZON);
        match self.kind {
            14 => now.saturating_sub(self.span(limit)),
            15 => self.time % HORIZON,
            _ => later,
        }
    }

    /// The next time of a clock that never goes back.
    pub(crate) fn later(self, limit: &Limit, now: u64) -> u64 {
        now.saturating_add(self.span(limit)).min(HORIZON)
    }

    fn span(self, limit: &Limit) -> u64 {
        let period = nanos(limit.period());
        let interval = period / limit.count();
        let some = |most: u64| self.time % most.max(1);
        match self.kind {
            0..=3 => 0,
            4 | 5 | 14 => some(interval.saturating_mul(2)),
            6 => interval,
            7 => interval + 1,
            8 | 9 => some(period),
            10 => period,
            11 => period - 1,
            12 => some(period.saturating_mul(3)),
            _ => some(interval.saturating_mul(limit.burst().get().min(64))),
        }
    }

    /// What the request costs: mostly little, sometimes all there is and a little more, rarely anything.
    pub(crate) fn cost(self, most: u64) -> u64 {
        match self.cost % 16 {
            0 => self.cost,
            1..=3 => (self.cost >> 8) % most.saturating_add(2),
            4..=7 => (self.cost >> 8) % (most / 4).saturating_add(2),
            _ => (self.cost >> 8) % 3,
        }
    }

    /// A number below `most` that has nothing to do with the step's time and cost.
    pub(crate) fn pick(self, most: u64) -> u64 {
        (self.time ^ self.cost.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) % most.max(1)
    }
}

/// The whole nanoseconds of a span that a limit or a meter told.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a span of less than 584 years")
}

/// An odd number of some magnitude below 2^`bits`.
fn magnitude(bits: u32) -> impl Strategy<Value = u64> {
    (0..bits, any::<u64>()).prop_map(|(bit, noise)| (1u64 << bit) | (noise & ((1u64 << bit) - 1)))
}

/// Limits of any size: a third have whole nanoseconds for an interval, so that their ticks are nanoseconds.
pub(crate) fn limits() -> impl Strategy<Value = Limit> {
    let any = (magnitude(30), magnitude(58), magnitude(64));
    let any = any.prop_filter_map("the rate is above the highest", |(count, period, burst)| {
        Limit::new(count, Duration::from_nanos(period), burst).ok()
    });
    prop_oneof![2 => any, 1 => whole_limits(), 2 => small_limits()]
}

/// Limits whose interval is a whole number of nanoseconds, and whose burst is not enormous.
pub(crate) fn whole_limits() -> impl Strategy<Value = Limit> {
    (magnitude(10), magnitude(40), 1u64..40).prop_map(|(count, interval, burst)| {
        Limit::new(count, Duration::from_nanos(count * interval), burst).expect("within all bounds")
    })
}

/// Limits that short histories exhaust.
pub(crate) fn small_limits() -> impl Strategy<Value = Limit> {
    (1u64..12, magnitude(58), 1u64..12).prop_filter_map("the rate is above the highest", |(count, period, burst)| {
        Limit::new(count, Duration::from_nanos(period), burst).ok()
    })
}

/// When a clock starts: often no matter, mostly about today.
pub(crate) fn epochs() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1_700_000_000_000_000_000u64..1_900_000_000_000_000_000,
        0u64..1 << 61
    ]
}

pub(crate) fn algorithms() -> impl Strategy<Value = Algorithm> {
    let leaky = (magnitude(50), 0u64..4).prop_map(|(max_wait, free)| Algorithm::LeakyBucket {
        max_wait: Duration::from_nanos(max_wait),
        free,
    });
    prop_oneof![
        Just(Algorithm::TokenBucket),
        leaky,
        Just(Algorithm::FixedWindow { align: Align::Epoch }),
        Just(Algorithm::FixedWindow { align: Align::FirstHit }),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::SlidingLog),
        Just(Algorithm::Concurrency),
    ]
}

/// What meters are made from, of every algorithm, settling ones among them; locks are no part of it.
pub(crate) fn specs() -> impl Strategy<Value = MeterSpec> {
    let sharing = proptest::option::of(magnitude(20));
    (algorithms(), limits(), sharing, any::<bool>(), epochs()).prop_map(
        |(algorithm, limit, largest_burst, settle, epoch_at_start)| {
            let limit = match algorithm {
                Algorithm::SlidingLog => fewer(&limit, LOG_MAX),
                _ => limit,
            };
            MeterSpec {
                algorithm,
                limit,
                largest_burst: largest_burst.and_then(NonZeroU64::new),
                settle: settle.then_some(Settle { lock: None }),
                epoch_at_start,
            }
        },
    )
}

pub(crate) fn fewer(limit: &Limit, most: u64) -> Limit {
    let count = (limit.count().get() - 1) % most + 1;
    Limit::new(count, limit.period(), limit.burst().get()).expect("fewer units are below the highest rate")
}

/// Most units that pass at once under a spec.
pub(crate) fn most(spec: &MeterSpec) -> u64 {
    match Meter::new(spec) {
        Meter::Word(sluicegate_core::algorithm::WordMeter::Concurrency(_)) | Meter::Log(_) => spec.limit.count().get(),
        Meter::Wide(sluicegate_core::algorithm::WideMeter::Settling(_)) | Meter::Word(_) => spec.limit.burst().get(),
        Meter::Wide(_) => spec.limit.count().get(),
    }
}

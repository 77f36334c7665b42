//! What a limit lets pass, in numbers a reader can check.

use std::time::Duration;

use sluicegate_core::Limit;

/// Most that `limit` lets pass within any `span`: `B + n·Δ/P`, rounded down.
pub(crate) fn most_within(limit: &Limit, span: Duration) -> u64 {
    // The span is cut to what u64 holds in nanoseconds (584 years), so both factors are below 2⁶⁴ and the product fits.
    let nanos = span.as_nanos().min(u128::from(u64::MAX));
    let refilled = u128::from(limit.count().get()) * nanos / limit.period().as_nanos().max(1);
    u64::try_from(refilled)
        .unwrap_or(u64::MAX)
        .saturating_add(limit.burst().get())
}

/// The spacing of units at the limit's rate, `P/n`, rounded down to a nanosecond.
pub(crate) fn emission_interval(limit: &Limit) -> Duration {
    // A period is at most ten years, which u64 holds in nanoseconds many times over.
    let period = u64::try_from(limit.period().as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(period / limit.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_allows_its_burst_and_what_refills() {
        let limit: Limit = "20/s burst 40".parse().expect("a limit");
        for (millis, allowed) in [(0, 40), (49, 40), (50, 41), (1000, 60), (10_000, 240)] {
            assert_eq!(
                most_within(&limit, Duration::from_millis(millis)),
                allowed,
                "{millis} ms"
            );
        }
        let large: Limit = "1000000000/s".parse().expect("a limit");
        assert!(most_within(&large, Duration::MAX) > 0);
    }

    #[test]
    fn the_emission_interval_is_the_period_shared_by_its_units() {
        for (text, nanos) in [
            ("20/s", 50_000_000),
            ("3/s", 333_333_333),
            ("1 per 2d", 172_800_000_000_000),
        ] {
            let limit: Limit = text.parse().expect("a limit");
            assert_eq!(emission_interval(&limit), Duration::from_nanos(nanos), "{text}");
        }
    }
}

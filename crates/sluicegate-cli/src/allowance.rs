//! What a limit lets pass, in numbers a reader can check.

use std::time::Duration;

use sluicegate::policy::checked::{Algorithm, Rule, RuleLimit};
use sluicegate_core::Limit;

/// Most units that one key may take at one moment: the burst, of a leaky bucket as many as may wait, of a window its
/// count, or all permits.
pub(crate) fn at_once(rule: &Rule) -> u64 {
    let RuleLimit::Rate(rate) = &rule.limit else {
        return rule.limit.at_once().get();
    };
    match rule.algorithm {
        Algorithm::LeakyBucket { max_wait, free } => {
            // Those that are free, the one that leaves at once, and those behind it whose turn comes in time. A wait
            // is at most a minute and a rate at most 10⁹/s, so that no product exceeds 128 bits.
            let waiting = max_wait.as_nanos() * u128::from(rate.count().get()) / rate.period().as_nanos().max(1);
            let most = u64::try_from(waiting).unwrap_or(u64::MAX).saturating_add(1);
            most.saturating_add(free).min(rate.burst().get())
        }
        Algorithm::TokenBucket => rate.burst().get(),
        _ => rate.count().get(),
    }
}

/// Most units that one key may take within any `span`; `None` for permits, which know no time.
pub(crate) fn most_of(rule: &Rule, span: Duration) -> Option<u64> {
    let rate = rule.limit.rate()?;
    let windows = u64::try_from(span.as_nanos().div_ceil(rate.period().as_nanos().max(1))).unwrap_or(u64::MAX);
    Some(match rule.algorithm {
        Algorithm::TokenBucket => most_within(rate, span),
        // It is the token bucket of as many as can wait.
        Algorithm::LeakyBucket { .. } => refilled(rate, span).saturating_add(at_once(rule)),
        // No true window passes more than the count.
        Algorithm::SlidingLog => rate.count().get().saturating_mul(windows),
        // The span may begin within one window and end in another: one more than fit into it.
        _ => rate.count().get().saturating_mul(windows.saturating_add(1)),
    })
}

/// The spacing of a rule's units at its rate; `None` for windows, logs and permits, which do not space.
pub(crate) fn emission_interval(rule: &Rule) -> Option<Duration> {
    match rule.algorithm {
        Algorithm::TokenBucket | Algorithm::LeakyBucket { .. } => rule.limit.rate().map(interval),
        _ => None,
    }
}

/// Most that `limit` lets pass within any `span`: `B + n·Δ/P`, rounded down.
pub(crate) fn most_within(limit: &Limit, span: Duration) -> u64 {
    refilled(limit, span).saturating_add(limit.burst().get())
}

/// `n·Δ/P`, rounded down.
fn refilled(limit: &Limit, span: Duration) -> u64 {
    // The span is cut to what u64 holds in nanoseconds (584 years), so both factors are below 2⁶⁴ and the product fits.
    let nanos = span.as_nanos().min(u128::from(u64::MAX));
    let refilled = u128::from(limit.count().get()) * nanos / limit.period().as_nanos().max(1);
    u64::try_from(refilled).unwrap_or(u64::MAX)
}

/// The spacing of units at the limit's rate, `P/n`, rounded down to a nanosecond.
fn interval(limit: &Limit) -> Duration {
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
    fn every_algorithm_allows_what_its_bound_says() {
        for (fields, once, minute) in [
            ("limit: 1/s burst 10", 10, Some(70)),
            // A second of waiting: the one that leaves now and ten behind it.
            ("limit: 10/s burst 40, algorithm: leaky_bucket", 11, Some(611)),
            ("limit: 10/s burst 40, algorithm: leaky_bucket, free: 5", 16, Some(616)),
            (
                "limit: 10/s burst 40, algorithm: leaky_bucket, max_wait: 1min",
                40,
                Some(640),
            ),
            // Seams on both sides.
            ("limit: 100/min, algorithm: fixed_window", 100, Some(200)),
            ("limit: 100 per 7s, algorithm: fixed_window", 100, Some(1_000)),
            ("limit: 100/h, algorithm: sliding_window", 100, Some(200)),
            ("limit: 100/min, algorithm: sliding_log", 100, Some(100)),
            ("limit: 100 per 7s, algorithm: sliding_log", 100, Some(900)),
            ("limit: 20, algorithm: concurrency", 20, None),
        ] {
            let text = format!("version: 1\nrules: [{{ name: a, key: ip, {fields} }}]\n");
            let (policy, _) = sluicegate::policy::Policy::parse("policy.yaml", &text).expect(fields);
            let rule = &policy.rules[0];
            assert_eq!(
                (at_once(rule), most_of(rule, Duration::from_mins(1))),
                (once, minute),
                "{fields}"
            );
        }
    }

    #[test]
    fn the_emission_interval_is_the_period_shared_by_its_units() {
        for (text, nanos) in [
            ("20/s", 50_000_000),
            ("3/s", 333_333_333),
            ("1 per 2d", 172_800_000_000_000),
        ] {
            let limit: Limit = text.parse().expect("a limit");
            assert_eq!(interval(&limit), Duration::from_nanos(nanos), "{text}");
        }
    }
}

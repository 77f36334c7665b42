//! What an algorithm's name does not tell.

use std::time::Duration;

use super::super::super::checked::{Algorithm, Count, Rule, RuleLimit};
use super::super::super::findings::Findings;
use super::super::rules::Entry;
use super::span;

/// Adds the warnings about one rule's algorithm.
pub(super) fn give(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) {
    let RuleLimit::Rate(rate) = rule.limit else { return };
    match rule.algorithm {
        Algorithm::FixedWindow { .. } if rule.rationale.is_none() => {
            let count = rate.count();
            findings.warning(
                entry.spots.algorithm,
                format!(
                    "up to {} may pass within a moment, {count} at the end of one window and {count} at the start of the next",
                    count.saturating_add(count.get())
                ),
                "use token_bucket or sliding_window, or say in `rationale` why this is meant",
            );
        }
        Algorithm::SlidingWindow if rule.rationale.is_none() && matches!(rule.count, Count::Failures(_)) => {
            findings.warning(
                entry.spots.algorithm,
                "a sliding window estimates: in its worst case nearly twice the count of guesses pass in one period",
                "use token_bucket, whose bound is exact, or say in `rationale` why this is meant",
            );
        }
        Algorithm::LeakyBucket { max_wait, free } => {
            let (burst, count) = (u128::from(rate.burst().get()), u128::from(rate.count().get()));
            // The first unit leaves at once, and so do those that are free: the last one waits for all others. Too
            // many that are free are a fault that is noted elsewhere.
            let queued = (burst - 1).saturating_sub(u128::from(free));
            let longest = queued * rate.period().as_nanos() / count;
            let longest = Duration::from_nanos(u64::try_from(longest).unwrap_or(u64::MAX));
            match entry.spots.max_wait {
                // A round number a little above is what people write.
                Some(spot) if max_wait > longest.saturating_mul(5) / 4 => findings.warning(
                    spot,
                    format!(
                        "no request ever waits longer than {}, when all {burst} of the burst are waiting",
                        span(longest)
                    ),
                    "raise the burst to let more wait, or lower this",
                ),
                _ if entry.says_burst && max_wait < longest => {
                    let waiting = max_wait.as_nanos() * count / rate.period().as_nanos();
                    findings.warning(
                        entry.spots.limit,
                        format!(
                            "of a burst of {burst} only {} ever pass at once: more would wait longer than {}",
                            waiting + 1 + u128::from(free),
                            span(max_wait)
                        ),
                        "lower the burst, or raise `max_wait`",
                    );
                }
                _ => {}
            }
        }
        _ => {}
    }
}

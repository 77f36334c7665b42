//! How much may pass and how that is kept: that limit, algorithm and the algorithm's own fields fit each other.

use std::num::NonZeroU64;

use sluicegate_core::algorithm::LeakyBucket;

use super::super::checked::{Algorithm, Align, LOG_MAX, Overflow, RuleLimit};
use super::super::findings::{Findings, Located, Spot};
use super::super::scalar::{AlgorithmWord, LimitText, OverflowText, Span, Whole};
use super::super::shape::Field;

/// The fields of a rule that are judged together here.
pub(super) struct Raw<const WAIT_MIN: u64, const WAIT_MAX: u64, const FREE_MIN: u64, const FREE_MAX: u64> {
    pub(super) limit: Field<LimitText>,
    pub(super) algorithm: Field<AlgorithmWord>,
    pub(super) max_wait: Field<Span<WAIT_MIN, WAIT_MAX>>,
    pub(super) free: Field<Whole<FREE_MIN, FREE_MAX>>,
    pub(super) align: Field<Align>,
    pub(super) overflow: Field<OverflowText>,
}

/// A limit with the algorithm that keeps it.
pub(super) struct Kept {
    pub(super) limit: RuleLimit,
    /// Whether the file says a burst.
    pub(super) says_burst: bool,
    pub(super) algorithm: Algorithm,
    pub(super) overflow: Overflow,
}

/// `None` once a fault is noted.
pub(super) fn check<const WAIT_MIN: u64, const WAIT_MAX: u64, const FREE_MIN: u64, const FREE_MAX: u64>(
    raw: Raw<WAIT_MIN, WAIT_MAX, FREE_MIN, FREE_MAX>,
    findings: &mut Findings<'_>,
) -> Option<Kept> {
    // Whatever stands beside a word that cannot be read may be right.
    let word = match raw.algorithm {
        Field::Absent => AlgorithmWord::TokenBucket,
        Field::Faulty => return None,
        Field::Given(word) => word.value,
    };
    let limit = raw.limit.given().and_then(|limit| check_limit(&limit, word, findings));
    let max_wait = only_with(raw.max_wait, word, AlgorithmWord::LeakyBucket, MAX_WAIT_ALONE, findings);
    let free = only_with(raw.free, word, AlgorithmWord::LeakyBucket, FREE_ALONE, findings);
    let align = only_with(raw.align, word, AlgorithmWord::FixedWindow, ALIGN_ALONE, findings);
    if let (Some(limit), Some(free)) = (&limit, &free) {
        check_free(free, limit.limit.at_once(), findings);
    }
    let overflow = match raw.overflow {
        Field::Absent => limit
            .as_ref()
            .map(|limit| Overflow::Shared(limit.limit.times(OVERFLOW_FACTOR))),
        Field::Faulty => None,
        Field::Given(overflow) => check_overflow(&overflow, word, findings),
    };
    let LimitText { limit, says_burst } = limit?;
    Some(Kept {
        limit,
        says_burst,
        algorithm: match word {
            AlgorithmWord::TokenBucket => Algorithm::TokenBucket,
            AlgorithmWord::LeakyBucket => Algorithm::LeakyBucket {
                max_wait: max_wait.map_or(LeakyBucket::MAX_WAIT_DEFAULT, |span| span.value.0),
                free: free.map_or(0, |free| free.value.0),
            },
            AlgorithmWord::FixedWindow => Algorithm::FixedWindow {
                align: align.map_or(Align::Epoch, |align| align.value),
            },
            AlgorithmWord::SlidingWindow => Algorithm::SlidingWindow,
            AlgorithmWord::SlidingLog => Algorithm::SlidingLog,
            AlgorithmWord::Concurrency => Algorithm::Concurrency,
        },
        overflow: overflow?,
    })
}

const MAX_WAIT_ALONE: &str = "only a leaky bucket lets requests wait";
const FREE_ALONE: &str = "only a leaky bucket delays, so that only there some units can be free of it";
const ALIGN_ALONE: &str = "only fixed windows are aligned";

/// The value of a field that one algorithm knows.
fn only_with<T>(
    field: Field<T>,
    word: AlgorithmWord,
    needed: AlgorithmWord,
    why: &str,
    findings: &mut Findings<'_>,
) -> Option<Located<T>> {
    let field = field.given()?;
    if word == needed {
        return Some(field);
    }
    findings.fault_in_name(
        field.spot,
        why,
        format!("write algorithm: {}, or remove the field", needed.as_str()),
    );
    None
}

/// That a limit is of the kind that its algorithm keeps.
fn check_limit(limit: &Located<LimitText>, word: AlgorithmWord, findings: &mut Findings<'_>) -> Option<LimitText> {
    is_of_kind(&limit.value, word, limit.spot, findings).then_some(limit.value)
}

fn is_of_kind(text: &LimitText, word: AlgorithmWord, spot: Spot, findings: &mut Findings<'_>) -> bool {
    let limit = text.limit;
    match (&limit, word) {
        (RuleLimit::Rate(rate), AlgorithmWord::Concurrency) => findings.fault(
            spot,
            format!("\"{limit}\" has a period, and permits are held for as long as a request takes"),
            format!("write how many may be under way at once, as in limit: {}", rate.count()),
        ),
        (RuleLimit::AtOnce(count), word) if word != AlgorithmWord::Concurrency => findings.fault(
            spot,
            format!("\"{count}\" is not a limit: the period is missing"),
            "write it with its period, as in 100/min; only algorithm: concurrency has none",
        ),
        (RuleLimit::Rate(rate), word)
            if text.says_burst && !matches!(word, AlgorithmWord::TokenBucket | AlgorithmWord::LeakyBucket) =>
        {
            findings.fault(
                spot,
                format!("\"{limit}\" has a burst, which only the token bucket and the leaky bucket know"),
                format!("leave the burst out: all {} of a period may come at once", rate.count()),
            );
        }
        (RuleLimit::Rate(rate), AlgorithmWord::SlidingLog) if rate.count().get() > LOG_MAX => findings.fault(
            spot,
            format!(
                "\"{limit}\" would have the log remember {} requests of each key",
                rate.count()
            ),
            format!("write a count of at most {LOG_MAX}, or algorithm: sliding_window"),
        ),
        _ => return true,
    }
    false
}

fn check_free<const MIN: u64, const MAX: u64>(
    free: &Located<Whole<MIN, MAX>>,
    burst: NonZeroU64,
    findings: &mut Findings<'_>,
) {
    if free.value.0 >= burst.get() {
        findings.fault(
            free.spot,
            format!(
                "\"{}\" is the whole burst of {burst}, so that nothing would ever wait",
                free.value.0
            ),
            "write fewer than the burst, or use token_bucket",
        );
    }
}

fn check_overflow(
    overflow: &Located<OverflowText>,
    word: AlgorithmWord,
    findings: &mut Findings<'_>,
) -> Option<Overflow> {
    match &overflow.value {
        OverflowText::Closed => Some(Overflow::Closed),
        OverflowText::Shared(text) => {
            // Where logs have no room, there is none for a log of the overflow either: a token bucket keeps that.
            let word = match word {
                AlgorithmWord::SlidingLog => AlgorithmWord::TokenBucket,
                word => word,
            };
            is_of_kind(text, word, overflow.spot, findings).then_some(Overflow::Shared(text.limit))
        }
    }
}

/// How many times its own limit a rule's keys share when they find no room. A flood of new keys then still passes no
/// faster than ten clients, and ten honest newcomers do not notice that the table is full.
const OVERFLOW_FACTOR: NonZeroU64 = NonZeroU64::new(10).expect("ten is not zero");

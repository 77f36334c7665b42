//! What becomes of a request, and what its sender is told.

use core::time::Duration;

use arrayvec::ArrayVec;

use crate::algorithm::{Answer, TokenBucket, Verdict};

/// Most rules that may match one request. A policy that could exceed it is refused when it is loaded.
pub const RULES_MAX: usize = 16;

/// What becomes of a request. A refusal is a decision, never an error.
///
/// `A` is the proof of admission that a door hands on to whatever serves the request.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Decision<A> {
    /// It passes now.
    Allow {
        /// Proof of admission: nothing can be forwarded without it.
        admitted: A,
        /// Where each rule stands after this request.
        report: Report,
    },
    /// It passes, but not before `after`; everything is charged already.
    Delay {
        /// Proof of admission.
        admitted: A,
        /// How long the request has to wait; the longest wait of all its rules.
        after: Duration,
        /// Where each rule stands after this request.
        report: Report,
    },
    /// It must prove itself first. A door that cannot challenge refuses.
    Challenge {
        /// Where each rule stands; nothing was charged.
        report: Report,
    },
    /// It is refused, and nothing of it stays charged.
    Deny {
        /// What stood in the way.
        reason: Reason,
        /// When the same request may pass.
        retry: Retry,
        /// Where each rule stands; those that refuse have a [`RuleState::retry`].
        report: Report,
    },
}

impl<A> Decision<A> {
    /// Where each rule stands.
    pub const fn report(&self) -> &Report {
        match self {
            Self::Allow { report, .. }
            | Self::Delay { report, .. }
            | Self::Challenge { report }
            | Self::Deny { report, .. } => report,
        }
    }

    /// Whether the request goes on, now or after a wait.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Allow { .. } | Self::Delay { .. })
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// At least one enforced rule has too little left for the request's cost.
    Limit,
    /// An attribute that a rule with `on_missing_key: refuse` keys on is absent.
    MissingKey,
    /// An attribute that a rule counts by is there and is not what it has to be, such as a cost that is no number.
    BadValue,
}

/// When the same request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After this long, if nobody else draws from the same cells; never zero.
    After(Duration),
    /// The request cannot pass as it is: its cost is above a burst, or an attribute is missing. Waiting will not help.
    Never,
}

impl Retry {
    /// The later of the two; `Never` is later than any time.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(one), Self::After(two)) => Self::After(one.max(two)),
            _ => Self::Never,
        }
    }
}

/// A rule's place in its policy, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u16);

impl RuleId {
    /// The rule at `index`.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The rule's index in its policy.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An entry's place in its policy's allow-list, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowId(u16);

impl AllowId {
    /// The entry at `index`.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The entry's index in its policy.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether a rule's refusal counts for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It counts.
    Enforced,
    /// It is reported only.
    Shadow,
}

/// Where one rule stands with this request's client.
///
/// 32 bytes, so that a report with [`RULES_MAX`] of them is cheap to hand on: spans are kept in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RuleState {
    /// Whole units left now.
    pub remaining: u64,
    reset_nanos: u64,
    /// Or [`PASSES`], or [`NEVER`].
    retry_nanos: u64,
    /// Which rule.
    pub rule: RuleId,
    /// Whether its refusal counts.
    pub mode: Mode,
    /// Whether the key found no free cell and drew from the rule's shared overflow.
    pub overflow: bool,
}

/// What stands for a retry where the rule lets the request pass.
const PASSES: u64 = u64::MAX;

/// What stands for [`Retry::Never`].
const NEVER: u64 = u64::MAX - 1;

/// The longest span that is kept: 584 years, and all that are longer, which nobody outlives.
const LONGEST: u64 = u64::MAX - 2;

impl RuleState {
    /// What a rule said, of the key's own cell.
    #[inline]
    pub const fn new(rule: RuleId, mode: Mode, answer: &Answer) -> Self {
        Self {
            remaining: answer.remaining,
            reset_nanos: to_nanos(answer.reset_after),
            retry_nanos: retry_nanos(answer.retry),
            rule,
            mode,
            overflow: false,
        }
    }

    /// What a rule by a token bucket said, of the key's own cell.
    #[inline]
    pub const fn of_bucket(rule: RuleId, mode: Mode, bucket: &TokenBucket, verdict: &Verdict) -> Self {
        Self {
            remaining: bucket.remaining(verdict),
            reset_nanos: match bucket.reset_nanos(verdict) {
                Some(nanos) if nanos < LONGEST => nanos,
                _ => LONGEST,
            },
            retry_nanos: if verdict.passes() {
                PASSES
            } else {
                retry_nanos(bucket.retry(verdict))
            },
            rule,
            mode,
            overflow: false,
        }
    }

    /// Until the limit is whole again, with no further requests; zero when it is.
    #[inline]
    pub const fn reset_after(&self) -> Duration {
        to_span(self.reset_nanos)
    }

    /// `None` if the rule lets the request pass, else when it would.
    #[inline]
    pub const fn retry(&self) -> Option<Retry> {
        match self.retry_nanos {
            PASSES => None,
            NEVER => Some(Retry::Never),
            wait => Some(Retry::After(to_span(wait))),
        }
    }

    /// Whether this rule, alone, lets the request pass.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.retry_nanos == PASSES
    }

    /// Whether this rule refuses the request, and that counts.
    #[inline]
    pub const fn refuses(&self) -> bool {
        !self.passes() && matches!(self.mode, Mode::Enforced)
    }
}

#[expect(
    clippy::missing_fields_in_debug,
    reason = "two are shown as the spans they stand for"
)]
impl core::fmt::Debug for RuleState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RuleState")
            .field("rule", &self.rule)
            .field("mode", &self.mode)
            .field("overflow", &self.overflow)
            .field("remaining", &self.remaining)
            .field("reset_after", &self.reset_after())
            .field("retry", &self.retry())
            .finish()
    }
}

#[inline]
const fn retry_nanos(retry: Option<Retry>) -> u64 {
    match retry {
        None => PASSES,
        Some(Retry::Never) => NEVER,
        Some(Retry::After(wait)) => to_nanos(wait),
    }
}

#[inline]
const fn to_nanos(span: Duration) -> u64 {
    match span.as_secs().checked_mul(NANOS_PER_SEC) {
        // A second less, so that the sum stays below.
        Some(nanos) if nanos < LONGEST - NANOS_PER_SEC => nanos + span.subsec_nanos() as u64,
        _ => LONGEST,
    }
}

#[inline]
const fn to_span(nanos: u64) -> Duration {
    if nanos == LONGEST {
        Duration::MAX
    } else {
        Duration::from_nanos(nanos)
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Where every rule that applies stands, in the policy's order; at most [`RULES_MAX`]. Lives on the stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    generation: u32,
    allowed_by: Option<AllowId>,
    states: ArrayVec<RuleState, RULES_MAX>,
}

impl Report {
    /// No rules.
    pub const fn new() -> Self {
        Self::of_generation(0)
    }

    /// No rules yet, of the policy that is numbered `generation` among those that were in force one after another.
    pub const fn of_generation(generation: u32) -> Self {
        Self {
            generation,
            allowed_by: None,
            states: ArrayVec::new_const(),
        }
    }

    /// Which entry of the policy's allow-list let the request pass, so that no rule was asked; `None` where none did.
    pub const fn allowed_by(&self) -> Option<AllowId> {
        self.allowed_by
    }

    /// Says that an entry of the allow-list let the request pass.
    pub const fn allow_by(&mut self, entry: AllowId) {
        self.allowed_by = Some(entry);
    }

    /// Which of the policies that were in force one after another the rules belong to.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Adds a rule's state; one beyond [`RULES_MAX`] is left out, which a checked policy cannot bring about.
    #[inline]
    pub fn push(&mut self, state: RuleState) {
        let pushed = self.states.try_push(state);
        debug_assert!(
            pushed.is_ok(),
            "a policy was loaded with more than {RULES_MAX} rules on one request"
        );
    }

    /// Puts the states into the policy's order, where they were not added in it.
    pub fn sort(&mut self) {
        self.states.sort_unstable_by_key(|state| state.rule);
    }

    /// Takes out the states of rules that `keeps` does not keep.
    pub fn retain(&mut self, mut keeps: impl FnMut(RuleId) -> bool) {
        self.states.retain(|state| keeps(state.rule));
    }

    /// Puts a rule's state in the place of the one at `place`; where there is none, nothing changes.
    #[inline]
    pub fn replace(&mut self, place: usize, state: RuleState) {
        if let Some(former) = self.states.get_mut(place) {
            *former = state;
        }
    }

    /// The states, in the policy's order.
    pub fn states(&self) -> &[RuleState] {
        &self.states
    }

    /// The state of the one rule that matters most to the client: of the enforced rules, one that refuses before one
    /// that passes, then the one with the longest wait, then the one with the least left. `None` where no enforced
    /// rule applied.
    pub fn most_restrictive(&self) -> Option<&RuleState> {
        let wait = |state: &RuleState| match state.retry() {
            None => Duration::ZERO,
            Some(Retry::After(wait)) => wait,
            Some(Retry::Never) => Duration::MAX,
        };
        self.states
            .iter()
            .filter(|state| state.mode == Mode::Enforced)
            .min_by_key(|state| (core::cmp::Reverse(wait(state)), state.remaining))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(reset_after: Duration, retry: Option<Retry>) -> RuleState {
        let answer = Answer {
            remaining: 1,
            reset_after,
            retry,
            delay: Duration::ZERO,
        };
        RuleState::new(RuleId::new(0), Mode::Enforced, &answer)
    }

    #[test]
    fn spans_are_told_as_they_were_said() {
        let spans = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_hours(24 * 365 * 584),
            Duration::MAX,
        ];
        for span in spans {
            assert_eq!(state(span, None).reset_after(), span);
            for retry in [None, Some(Retry::After(span)), Some(Retry::Never)] {
                let state = state(span, retry);
                assert_eq!((state.retry(), state.passes()), (retry, retry.is_none()));
            }
        }
    }

    #[test]
    fn a_token_buckets_state_is_that_of_its_answer() {
        use crate::algorithm::Tat;

        for limit in ["3/s burst 10", "1 per 3650d burst 1000000000", "1/s"] {
            let bucket = TokenBucket::new(limit.parse().expect(limit));
            let now = bucket.tick(crate::Timestamp::from_nanos(12_345_678_901));
            for (ahead, cost) in [(0, 1), (1 << 30, 1), (1 << 61, 1), (1 << 62, 0), (0, u64::MAX)] {
                let verdict = bucket.decide(Tat::from_u64(now.as_u64() + ahead), now, crate::Cost::new(cost));
                let (rule, mode) = (RuleId::new(3), Mode::Shadow);
                let expected = RuleState::new(rule, mode, &bucket.answer(&verdict));
                assert_eq!(
                    RuleState::of_bucket(rule, mode, &bucket, &verdict),
                    expected,
                    "{limit}, {ahead}"
                );
            }
        }
    }

    #[test]
    fn a_span_too_long_to_be_kept_reads_as_the_longest() {
        let span = Duration::from_secs(u64::MAX / NANOS_PER_SEC);
        assert_eq!(
            state(span, Some(Retry::After(span))).retry(),
            Some(Retry::After(Duration::MAX))
        );
    }

    #[test]
    fn a_rules_state_is_half_a_cache_line() {
        assert_eq!(size_of::<RuleState>(), 32);
    }
}

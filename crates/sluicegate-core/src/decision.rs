//! What becomes of a request, and what its sender is told.

use core::time::Duration;

use arrayvec::ArrayVec;

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
        /// Where each rule stands; those that refuse carry a [`RuleState::retry`].
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

/// Whether a rule's refusal counts for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It counts.
    Enforced,
    /// It is reported only.
    Shadow,
}

/// Where one rule stands with this request's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleState {
    /// Which rule.
    pub rule: RuleId,
    /// Whether its refusal counts.
    pub mode: Mode,
    /// Whether the key found no free cell and drew from the rule's shared overflow.
    pub overflow: bool,
    /// Whole units left now.
    pub remaining: u64,
    /// Until the limit is whole again, with no further requests; zero when it is.
    pub reset_after: Duration,
    /// `None` if the rule lets the request pass, else when it would.
    pub retry: Option<Retry>,
}

impl RuleState {
    /// Whether this rule, alone, lets the request pass.
    pub const fn passes(&self) -> bool {
        self.retry.is_none()
    }

    /// Whether this rule refuses the request, and that counts.
    pub const fn refuses(&self) -> bool {
        self.retry.is_some() && matches!(self.mode, Mode::Enforced)
    }
}

/// Where every rule that applies stands, in the policy's order; at most [`RULES_MAX`]. Lives on the stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    generation: u32,
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
            states: ArrayVec::new_const(),
        }
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

    /// The states, in the policy's order.
    pub fn states(&self) -> &[RuleState] {
        &self.states
    }

    /// The state of the one rule that matters most to the client: of the enforced rules, one that refuses before one
    /// that passes, then the one with the longest wait, then the one with the least left. `None` where no enforced
    /// rule applied.
    pub fn most_restrictive(&self) -> Option<&RuleState> {
        let wait = |state: &RuleState| match state.retry {
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

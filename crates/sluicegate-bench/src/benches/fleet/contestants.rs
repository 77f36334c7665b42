//! Who takes part, and how each is played.

use sluicegate_core::sharing::Sharing;
use sluicegate_testkit::fleet::{self, Leases, Link, Outcome, Push, Setup, Split};

use super::rivals::Exact;

/// A way for nodes to keep one limit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contestant {
    /// Ours; nobody ever waits.
    Hybrid,
    /// Ours; a cold or empty key may wait.
    Leased,
    /// Ours; one of these two, by the limit.
    Auto,
    /// A script call for each request.
    Exact,
    /// What passed is pushed ten times a second.
    PushOften,
    /// What passed is pushed once a second.
    PushSeldom,
    /// Each node has a hundredth for itself.
    Split,
}

/// What the store's work costs its processor, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// Of a call.
    pub(super) call: f64,
    /// Of each of its keys.
    pub(super) key: f64,
}

/// What ours costs: the script of `sluicegate-redis`. Bench `store` measures some 240 000 keys of full calls in a second of the server's
/// processor, which is 4 µs each; a call of one key takes 13 to 19 µs.
pub(super) const OURS: Costs = Costs { call: 12.0, key: 4.0 };

/// What a script of one key costs when many are on their way at once: bench `store` measures some 150 000 in a second of the server's
/// processor.
pub(super) const EXACT: Costs = Costs { call: 0.0, key: 6.5 };

/// What a push costs: an addition and an expiry for each key. Taken for as cheap as ours, which does more.
pub(super) const PUSH: Costs = OURS;

impl Contestant {
    /// In the order of the tables.
    pub(super) const ALL: [Self; 7] = [
        Self::Hybrid,
        Self::Leased,
        Self::Auto,
        Self::Exact,
        Self::PushOften,
        Self::PushSeldom,
        Self::Split,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "ours, hybrid",
            Self::Leased => "ours, leased",
            Self::Auto => "ours, auto",
            Self::Exact => "exact per request",
            Self::PushOften => "push-pull, 100 ms",
            Self::PushSeldom => "push-pull, 1 s",
            Self::Split => "limit/N",
        }
    }

    /// How a picture calls it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Hybrid | Self::Leased | Self::Auto => "Sluicegate",
            Self::Exact => "Exact per request",
            Self::PushOften | Self::PushSeldom => "Push and pull",
            Self::Split => "Limit ÷ 100",
        }
    }

    /// What it does, in a few words below its title.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Hybrid => "leases, nobody waits",
            Self::Leased => "leases, may wait 5 ms",
            Self::Auto => "leases, as the limit needs",
            Self::Exact => "a script each, pipelined",
            Self::PushOften => "ten times a second",
            Self::PushSeldom => "once a second",
            Self::Split => "right while load is even",
        }
    }

    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Hybrid | Self::Leased | Self::Auto)
    }

    const fn costs(self) -> Costs {
        match self {
            Self::Hybrid | Self::Leased | Self::Auto | Self::Split => OURS,
            Self::Exact => EXACT,
            Self::PushOften | Self::PushSeldom => PUSH,
        }
    }

    /// Plays it. `setup`'s own way of sharing and costs do not matter.
    pub(super) fn play(self, setup: &Setup, seed: u64) -> Outcome {
        let mut setup = setup.clone();
        let Costs { call, key } = self.costs();
        setup.link = Link {
            call_costs: call,
            key_costs: key,
            ..setup.link
        };
        let mut ours = |sharing| {
            setup.plan.sharing = sharing;
            fleet::run(&setup, &mut Leases::new(&setup, seed), seed)
        };
        match self {
            Self::Hybrid => ours(Sharing::Hybrid),
            Self::Leased => ours(Sharing::Leased),
            Self::Auto => ours(Sharing::Auto),
            Self::Exact => fleet::run(&setup, &mut Exact::new(&setup), seed),
            Self::PushOften => fleet::run(&setup, &mut Push::new(&setup, 100_000.0), seed),
            Self::PushSeldom => fleet::run(&setup, &mut Push::new(&setup, 1_000_000.0), seed),
            Self::Split => fleet::run(&setup, &mut Split::default(), seed),
        }
    }
}

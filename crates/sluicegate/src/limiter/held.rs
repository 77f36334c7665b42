//! What is held until a request, or whatever else it is for, has ended: of a limit that this node keeps alone, or together with others.

use sluicegate_core::{Cost, RuleId};
use sluicegate_state::leases::SharedHolding;
use sluicegate_state::{Holding, Takings};

use super::shared::Shared;

/// A charge that is held: a permit, or a reservation. It is settled, or cleared, once.
#[derive(Debug)]
#[must_use]
pub(super) enum Held {
    Alone(Holding),
    Together(SharedHolding),
}

impl Held {
    /// Takes out one of those that rules of which `found` says so have taken.
    pub(super) fn take_of(takings: &mut Takings, found: impl Fn(RuleId) -> bool) -> Option<Self> {
        let alone = takings.take_held(|holding| found(holding.rule()));
        alone.map(Self::Alone).or_else(|| {
            let together = takings.take_held_together(|holding| found(holding.rule()));
            together.map(Self::Together)
        })
    }

    /// Takes out one, whatever it is.
    pub(super) fn take(takings: &mut Takings) -> Option<Self> {
        Self::take_of(takings, |_| true)
    }

    /// Takes out one that stays charged when its request is refused.
    pub(super) fn take_penalty(takings: &mut Takings) -> Option<Self> {
        let alone = takings.take_held(Holding::is_penalty).map(Self::Alone);
        alone.or_else(|| {
            takings
                .take_held_together(SharedHolding::is_penalty)
                .map(Self::Together)
        })
    }

    /// The rules by which something is held.
    pub(super) fn rules(takings: &Takings) -> impl Iterator<Item = RuleId> {
        let alone = takings.held().iter().map(Holding::rule);
        alone.chain(takings.held_together().iter().map(SharedHolding::rule))
    }

    /// Whose charge it is.
    pub(super) const fn rule(&self) -> RuleId {
        match self {
            Self::Alone(holding) => holding.rule(),
            Self::Together(holding) => holding.rule(),
        }
    }

    /// How much was charged.
    pub(super) const fn cost(&self) -> Cost {
        match self {
            Self::Alone(holding) => holding.cost(),
            Self::Together(holding) => holding.cost(),
        }
    }

    /// Corrects it to what it turned out to be; a permit is released.
    pub(super) fn settle(self, shared: &Shared, actual: Cost) {
        let now = shared.now();
        match self {
            Self::Alone(holding) => shared.table.settle(holding, actual, now),
            Self::Together(holding) => {
                if let Some(leases) = &shared.leases {
                    leases.settle(holding, actual, now);
                }
            }
        }
    }

    /// It stays charged as it was; a permit is released.
    pub(super) fn keep(self, shared: &Shared) {
        let reserved = self.cost();
        self.settle(shared, reserved);
    }

    /// What the key was charged is forgotten with it.
    pub(super) fn clear(self, shared: &Shared) {
        let now = shared.now();
        match self {
            Self::Alone(holding) => shared.table.clear(holding, now),
            Self::Together(holding) => {
                if let Some(leases) = &shared.leases {
                    leases.clear(holding, now);
                }
            }
        }
    }

    /// As if it had never been taken.
    pub(super) fn give_back(self, shared: &Shared) {
        match self {
            Self::Alone(holding) => shared.table.give_back(holding, shared.now()),
            Self::Together(holding) => shared.give_back_lent(&holding),
        }
    }
}

//! What a request takes from a limit.

use http::HeaderName;
use sluicegate_core::Cost;

use super::attributes::Attributes;
use crate::body::{Pointer, Value, cost_of};
use crate::claims::Claim;
use crate::condition::{Amount, Attribute, NoValue};
use crate::policy::checked::{CostSource, CostSpec};

/// A rule's cost, made ready.
#[derive(Debug)]
pub(super) enum RuleCost {
    /// The same for every request.
    Fixed(Cost),
    /// By the request's route: one for each, and last for requests of none.
    ByRoute(Box<[Cost]>),
    /// What the request claims.
    Claimed {
        source: Source,
        /// Of a request that claims nothing.
        default: Cost,
        /// A larger claim is cut down to it.
        max: Cost,
    },
}

/// Where a request claims its cost.
#[derive(Debug)]
pub(super) enum Source {
    Header(HeaderName),
    Body(Pointer),
    Amount(Amount),
}

/// A claim that is no cost.
pub(super) struct BadCost;

impl RuleCost {
    pub(super) fn new(spec: &CostSpec) -> Self {
        let source = match &spec.reserve {
            CostSource::Fixed(units) => return Self::Fixed(Cost::new(*units)),
            CostSource::Header(name) => Source::Header(name.clone()),
            CostSource::Body(pointer) => Source::Body(pointer.clone()),
            CostSource::Amount(amount) => Source::Amount(amount.clone()),
            CostSource::ByClass(costs) => {
                let all = costs.of_routes.iter().chain([&costs.of_none]);
                return Self::ByRoute(all.map(|units| Cost::new(*units)).collect());
            }
        };
        Self::Claimed {
            source,
            default: Cost::new(spec.default),
            max: Cost::new(spec.max.unwrap_or(u64::MAX)),
        }
    }

    /// The request's cost.
    #[inline]
    pub(super) fn of(&self, attributes: &Attributes<'_>) -> Result<Cost, BadCost> {
        match self {
            Self::Fixed(cost) => Ok(*cost),
            Self::ByRoute(costs) => Ok(costs.get(attributes.route.place).copied().unwrap_or(Cost::ONE)),
            Self::Claimed { source, default, max } => {
                let claimed = source.claimed(attributes)?;
                Ok(claimed.unwrap_or(*default).min(*max))
            }
        }
    }

    /// The header that it reads, if any.
    pub(super) const fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Claimed {
                source: Source::Header(name),
                ..
            } => Some(name),
            _ => None,
        }
    }

    /// What it asks of a request by an expression.
    pub(super) fn asks(&self) -> &[Attribute] {
        match self {
            Self::Claimed {
                source: Source::Amount(amount),
                ..
            } => amount.reads(),
            _ => &[],
        }
    }
}

impl Source {
    /// `None` where the request claims nothing.
    #[cold]
    fn claimed(&self, attributes: &Attributes<'_>) -> Result<Option<Cost>, BadCost> {
        match self {
            Self::Header(name) => match attributes.header(name) {
                Claim::Absent => Ok(None),
                Claim::One(value) => Cost::parse(value.as_bytes().trim_ascii())
                    .map(Some)
                    .map_err(|_| BadCost),
                // One of them might be the smaller one.
                Claim::Several => Err(BadCost),
            },
            Self::Amount(amount) => amount
                .of(attributes)
                .map(|units| Some(Cost::new(units)))
                .map_err(|NoValue| BadCost),
            Self::Body(pointer) => match attributes.member(pointer) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => cost_of(value).map(Some).map_err(|_| BadCost),
            },
        }
    }
}

//! The nodes of each contestant.

use std::pin::Pin;
use std::sync::Arc;

use sluicegate::AnyClock;
use sluicegate_core::sharing::Plan;

use super::super::super::store::{Node, RULE, Setting};
use super::load::Load;
use super::rivals::{Exact, PushPull};
use crate::error::BenchError;

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contestant {
    Hybrid,
    Leased,
    Exact,
    PushOften,
    PushSeldom,
}

impl Contestant {
    /// In the order of the table.
    pub(super) const ALL: [Self; 5] = [
        Self::Hybrid,
        Self::Leased,
        Self::Exact,
        Self::PushOften,
        Self::PushSeldom,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "ours, hybrid",
            Self::Leased => "ours, leased",
            Self::Exact => "exact per request",
            Self::PushOften => "push-pull, 100 ms",
            Self::PushSeldom => "push-pull, 1 s",
        }
    }
}

/// All nodes of one contestant.
pub(super) enum Fleet {
    Ours {
        nodes: Vec<Node>,
        /// Whether a request may have to wait.
        waits: bool,
    },
    Exact(Exact),
    PushPull(PushPull),
}

/// Whether a request passes.
pub(super) enum Verdict {
    Now(bool),
    Later(Pin<Box<dyn Future<Output = bool>>>),
}

impl Fleet {
    /// Starts as many nodes as the load says.
    pub(super) async fn start(
        setting: &Setting,
        contestant: Contestant,
        load: &Load,
        plan: &Plan,
        clock: &AnyClock,
    ) -> Result<Self, BenchError> {
        let ours = |sharing: &str, waits| -> Result<Self, BenchError> {
            let terms = format!("limit: {}, sharing: {sharing}", load.limit);
            let nodes = setting.nodes(load.nodes, &terms, clock)?;
            Ok(Self::Ours { nodes, waits })
        };
        let push = async |millis| PushPull::start(setting, load, &plan.terms, clock, millis).await;
        Ok(match contestant {
            Contestant::Hybrid => ours("hybrid", false)?,
            Contestant::Leased => ours("leased", true)?,
            Contestant::Exact => Self::Exact(Exact::start(setting, load, &plan.terms).await?),
            Contestant::PushOften => Self::PushPull(push(100).await?),
            Contestant::PushSeldom => Self::PushPull(push(1_000).await?),
        })
    }

    /// Has a node decide.
    pub(super) fn decide(&self, node: u32, key: u32) -> Result<Verdict, BenchError> {
        let failed = |error| BenchError::set_up("sluicegate", &error);
        Ok(match self {
            Self::Ours { nodes, waits: false } => {
                let checked = nodes[node as usize].limiter.check(RULE, key);
                Verdict::Now(checked.map_err(failed)?.passes())
            }
            Self::Ours { nodes, waits: true } => {
                let limiter = Arc::clone(&nodes[node as usize].limiter);
                Verdict::Later(Box::pin(async move {
                    let checked = limiter.check_waiting(RULE, key, 1).await;
                    checked.is_ok_and(|checked| checked.passes())
                }))
            }
            Self::Exact(exact) => exact.decide(node, key),
            Self::PushPull(push) => Verdict::Now(push.decide(node, key)),
        })
    }

    /// Keys that the store was asked about so far.
    pub(super) fn operations(&self) -> u64 {
        match self {
            Self::Ours { nodes, .. } => nodes
                .iter()
                .filter_map(|node| Some(node.limiter.sharing()?.counts.keys))
                .sum(),
            Self::Exact(exact) => exact.operations(),
            Self::PushPull(push) => push.operations(),
        }
    }
}

//! How a limit is shared: what was asked for, and what that comes to for a number of nodes.

use libm::floor;

use super::spacing::Spacing;
use super::{Kind, Terms};

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// [`Mode::Hybrid`] where what nodes may let through before they report is at most a tenth of the burst and no
    /// request costs more than one node's part of that; [`Mode::Leased`] otherwise.
    #[default]
    Auto,
    /// Every request asks the store.
    Exact,
    /// From leases; a cold or empty key may wait.
    Leased,
    /// From leases, and beyond them a little on trust; nothing ever waits.
    Hybrid,
}

/// How a limit is shared among the nodes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every request asks the store.
    Exact,
    /// From leases; a cold or empty key may wait.
    Leased,
    /// From leases, and beyond them up to an allowance that is reported afterwards.
    Hybrid,
}

impl Mode {
    /// The word of the policy file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Leased => "leased",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What is answered while the store cannot be asked: the failure policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnStoreLoss {
    /// By the node's last known share of the limit.
    #[default]
    Local,
    /// Refusals, once the leases are spent.
    Closed,
    /// Everything passes.
    Open,
}

impl OnStoreLoss {
    /// The word of the policy file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// A limit as its rule shares it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The limit. Its overdraft is set anew in [`View::terms`].
    pub terms: Terms,
    /// What the rule asks for.
    pub sharing: Sharing,
    /// What is answered while the store is away.
    pub on_store_loss: OnStoreLoss,
    /// The most that one request costs, in units; infinite where nobody knows.
    pub cost_max: f64,
    /// How many nodes can see one key; zero where that is as many as live.
    pub fanout: f64,
    /// How requests wait for their turn; `None` where they do not. Set by [`Plan::spaced`].
    pub spacing: Option<Spacing>,
}

/// The part of the burst that all nodes together may let through before they report it.
pub const OMEGA: f64 = 0.1;

/// Most nodes that each may owe one unit of a small limit: as many as may hold permits of one key.
const NODES_MAX: f64 = 2_000.0;

/// Bursts that a key may owe whose requests tell afterwards what they cost: more than any answer is worth, and what goes beyond is
/// forgiven.
const SETTLED_BURSTS: f64 = 1_000.0;

/// The longest that a debt lasts, in microseconds: three years.
const DEBT_MAX_US: f64 = 1e14;

/// The part of the refill rate that all nodes together may let through without ever reporting it.
pub const SIGMA: f64 = 0.05;

/// How long a request may wait for the store, in microseconds: longer than a round trip within a data centre at its worst, short
/// beside any request that is worth limiting.
pub const WAIT_US: f64 = 5_000.0;

/// How often a lease is renewed at its limit, in microseconds, at least and at most. A tenth of a second is the shortest that
/// an operator would see; a limit that is used up in less is renewed sooner, but no more than a hundred times a second.
const PERIOD_US: (f64, f64) = (10_000.0, 100_000.0);

impl Plan {
    /// Nodes that share the limit, when `live` are alive: the larger of that and the fanout.
    pub fn nodes(&self, live: f64) -> f64 {
        live.max(self.fanout).max(1.0)
    }

    /// Units that one of `nodes` may let through before it reports them: at least one, whatever the limit.
    pub fn allowance(&self, nodes: f64) -> f64 {
        floor(OMEGA * self.terms.burst / nodes).max(1.0)
    }

    /// How the limit is shared among `nodes`.
    pub fn mode(&self, nodes: f64) -> Mode {
        match self.sharing {
            Sharing::Exact => Mode::Exact,
            Sharing::Hybrid => Mode::Hybrid,
            Sharing::Auto if nodes <= OMEGA * self.terms.burst && self.cost_max <= self.allowance(nodes) => {
                Mode::Hybrid
            }
            Sharing::Auto | Sharing::Leased => Mode::Leased,
        }
    }

    /// Units that the debt may exceed the burst by. After an outage each node reports up to its share of the burst; and what passed on
    /// trust is owed for as long as it takes to come back, when the nodes that it passed may long be gone. So this does not go
    /// by how many live: in a fleet that shrinks, an honest debt would be taken for damage, and forgotten.
    fn overdraft(&self) -> f64 {
        if self.terms.holds {
            // What requests turn out to have cost, whatever they said before.
            let most = DEBT_MAX_US / self.terms.interval - self.terms.burst;
            return (SETTLED_BURSTS * self.terms.burst).min(most).max(self.terms.burst);
        }
        // What leaves in time may be less than what other nodes, by another policy, have charged already.
        let whole = self.spacing.map_or(self.terms.burst, |spacing| spacing.burst());
        let on_trust = OMEGA * whole;
        let on_trust = match self.sharing {
            Sharing::Hybrid => on_trust.max(NODES_MAX),
            Sharing::Auto | Sharing::Exact | Sharing::Leased => on_trust,
        };
        2.0 * whole - self.terms.burst + on_trust
    }

    /// How often a lease is renewed, in microseconds.
    pub(super) fn period(&self) -> f64 {
        (self.terms.whole() / 4.0).clamp(PERIOD_US.0, PERIOD_US.1)
    }

    /// What a decision at `now` goes by.
    pub fn view(&self, at: Now) -> View<'_> {
        let nodes = self.nodes(at.nodes);
        let mode = self.mode(nodes);
        View {
            plan: self,
            mode,
            nodes,
            allowance: if mode == Mode::Hybrid {
                self.allowance(nodes)
            } else {
                0.0
            },
            at,
        }
    }
}

/// What a node knows of its surroundings at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// The moment, in microseconds of the node's own clock, which never goes back.
    pub time: f64,
    /// How long the store takes to answer, in microseconds, smoothed.
    pub round_trip: f64,
    /// Nodes that live, smoothed; at least one.
    pub nodes: f64,
    /// Whether the key's part of the store cannot be asked.
    pub is_down: bool,
    /// Which data the store holds; zero before the first contact.
    pub generation: u64,
}

/// A plan, for the nodes there are, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// How it is shared now.
    pub mode: Mode,
    /// Nodes that share it.
    pub nodes: f64,
    /// What this node may let through before it reports it; zero but in hybrid mode.
    pub allowance: f64,
    /// The moment.
    pub at: Now,
}

impl View<'_> {
    /// The terms that go to the store: with all that nodes may owe it.
    pub fn terms(&self) -> Terms {
        Terms {
            overdraft: self.plan.overdraft(),
            ..self.plan.terms
        }
    }

    /// What may be forgotten of the units let through and not reported, in a microsecond. Windows forget nothing before they end.
    pub(super) fn forgiven_rate(&self) -> f64 {
        match self.plan.terms.kind {
            Kind::Bucket if self.mode == Mode::Hybrid => SIGMA * self.plan.terms.rate() / self.nodes,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small numbers, exactly")]
mod tests {
    use super::*;
    use crate::Limit;

    fn plan(limit: &str, sharing: Sharing, cost_max: f64) -> Plan {
        let limit: Limit = limit.parse().expect("a limit");
        Plan {
            terms: Terms::new(Kind::Bucket, &limit, 0.0),
            sharing,
            on_store_loss: OnStoreLoss::Local,
            cost_max,
            fanout: 0.0,
            spacing: None,
        }
    }

    #[test]
    fn auto_trusts_nodes_with_a_tenth_of_the_burst_and_with_no_cost_beyond_their_part_of_it() {
        for (nodes, cost_max, mode) in [
            (100.0, 1.0, Mode::Hybrid),
            (101.0, 1.0, Mode::Leased),
            (10.0, 10.0, Mode::Hybrid),
            (10.0, 11.0, Mode::Leased),
            (1.0, f64::INFINITY, Mode::Leased),
        ] {
            let plan = plan("100/s burst 1000", Sharing::Auto, cost_max);
            assert_eq!(plan.mode(nodes), mode, "{nodes} nodes, costs up to {cost_max}");
        }
    }

    #[test]
    fn a_node_may_owe_one_unit_of_any_limit_and_nothing_outside_of_hybrid_mode() {
        let at = |nodes: f64| Now {
            time: 0.0,
            round_trip: 1_000.0,
            nodes,
            is_down: false,
            generation: 1,
        };
        for (nodes, allowance) in [(1.0, 100.0), (30.0, 3.0), (100.0, 1.0), (5_000.0, 1.0)] {
            let hybrid = plan("100/s burst 1000", Sharing::Hybrid, 1.0);
            assert_eq!(hybrid.view(at(nodes)).allowance, allowance);
            let leased = plan("100/s burst 1000", Sharing::Leased, 1.0);
            assert_eq!(leased.view(at(nodes)).allowance, 0.0);
        }
    }

    #[test]
    fn a_fanout_counts_where_fewer_nodes_live() {
        let plan = Plan {
            fanout: 8.0,
            ..plan("100/s burst 1000", Sharing::Hybrid, 1.0)
        };
        assert_eq!(
            [0.0, 1.0, 8.0, 20.0].map(|live| plan.nodes(live)),
            [8.0, 8.0, 8.0, 20.0]
        );
    }

    /// Regression: an honest debt of nodes that had gone was taken for damage, and forgotten.
    #[test]
    fn what_may_be_owed_does_not_shrink_with_the_fleet() {
        let plan = plan("5/min", Sharing::Hybrid, 1.0);
        let at = |nodes: f64| Now {
            time: 0.0,
            round_trip: 1_000.0,
            nodes,
            is_down: false,
            generation: 1,
        };
        let owed = |nodes: f64| plan.view(at(nodes)).terms().overdraft;
        assert_eq!(owed(1.0), owed(1_000.0));
        assert!(owed(1.0) >= 1_000.0);
    }

    #[test]
    fn leases_live_half_as_long_as_a_burst_takes_to_come_back_within_bounds() {
        for (limit, ttl, period) in [
            ("1000/s burst 100", 250_000.0, 25_000.0),
            ("100/s burst 200", 1_000_000.0, 100_000.0),
            ("1000/s burst 1", 250_000.0, 10_000.0),
            ("5/h", 10_000_000.0, 100_000.0),
        ] {
            let plan = plan(limit, Sharing::Leased, 1.0);
            assert_eq!((plan.terms.ttl, plan.period()), (ttl, period), "{limit}");
        }
    }
}

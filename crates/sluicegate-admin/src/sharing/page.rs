//! How sharing goes, in words and numbers: `/sharing`, and its member of `/readyz`.

use std::num::NonZeroU32;

use serde::Serialize;
use sluicegate::policy::checked::{Mode, Outage, SharingTerms};
use sluicegate::{Engine, RuleId, SharingCounts, StoreStanding};

use super::{SharingView, StoreServer};

/// What `/readyz` says of the store.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    standing: &'static str,
}

/// What `/sharing` says.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    standing: &'static str,
    nodes: f64,
    lanes: usize,
    lanes_up: usize,
    round_trip_ms: f64,
    lag_ms: f64,
    foreign_secret: bool,
    keys: usize,
    keys_max: usize,
    keys_alone: usize,
    outstanding_units: f64,
    unreported_units: f64,
    counts: Counts,
    servers: Vec<StoreServer>,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Counts {
    calls: u64,
    undone: u64,
    changed: u64,
    unknown: u64,
    key_operations: u64,
    damaged: u64,
    waited: u64,
    late: u64,
}

/// How one rule's limit is held.
#[derive(Debug, PartialEq, Serialize)]
struct Rule {
    #[serde(rename = "rule")]
    name: String,
    /// The mode in force; never `auto`.
    mode: &'static str,
    /// Nodes that it is reckoned with: those that live, or its fanout if that is more.
    nodes: u32,
    /// What one node may let through of a key before the store knows of it; `None` but in `hybrid`.
    allowance: Option<u64>,
    /// Most units of a key beyond its limit at once, as things stand; `None` where there is no bound.
    excess_units: Option<u64>,
    /// What comes on top of the rate for as long as it is asked for, as a part of it.
    excess_rate: Option<f64>,
    /// What is answered without the store; `None` where none is asked.
    on_store_loss: Option<&'static str>,
}

impl SharingView {
    pub(crate) fn standing(&self) -> Option<Standing> {
        let standing = self.limiter.store_standing()?.as_str();
        Some(Standing { standing })
    }

    /// `None` where nothing is shared.
    pub(crate) fn page(&self) -> Option<Page> {
        let status = self.limiter.sharing()?;
        let SharingCounts {
            calls,
            keys,
            undone,
            unknown,
            changed,
            damaged,
            waited,
            late,
        } = status.counts;
        Some(Page {
            standing: status.standing.as_str(),
            nodes: status.nodes,
            lanes: status.lanes,
            lanes_up: status.lanes_up,
            round_trip_ms: status.round_trip_us / 1e3,
            lag_ms: status.lag_us / 1e3,
            foreign_secret: status.is_foreign,
            keys: status.keys,
            keys_max: status.keys_max,
            keys_alone: status.keys_alone,
            outstanding_units: status.held,
            unreported_units: status.unreported,
            counts: Counts {
                calls,
                undone,
                changed,
                unknown,
                key_operations: keys,
                damaged,
                waited,
                late,
            },
            servers: self.servers.servers(),
            rules: rules(&self.limiter.engine(), status.standing, live(status.nodes)),
        })
    }
}

/// So many, and one that is about to be forgotten.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is at least one"
)]
fn live(nodes: f64) -> NonZeroU32 {
    NonZeroU32::new(nodes.ceil() as u32).unwrap_or(NonZeroU32::MIN)
}

fn rules(engine: &Engine, standing: StoreStanding, live: NonZeroU32) -> Vec<Rule> {
    let named = (0..).map(RuleId::new).zip(engine.rule_names());
    let rule = |(id, name)| Some(Rule::new(name, engine.sharing(id)?, standing, live));
    named.filter_map(rule).collect()
}

impl Rule {
    fn new(name: &str, terms: &SharingTerms, standing: StoreStanding, live: NonZeroU32) -> Self {
        let (mode, excess) = (terms.mode(live), terms.excess(live));
        let bounded = match (mode, standing) {
            (None, _) | (_, StoreStanding::Together) => Some((excess.units, excess.rate)),
            // Each of the parties has the whole limit, and how many there are is not known.
            (_, StoreStanding::Foreign) => None,
            _ => match terms.outage(live) {
                Outage::Bounded { units, rate } => Some((excess.units.saturating_add(units), excess.rate + rate)),
                Outage::Unbounded => None,
            },
        };
        Self {
            name: name.to_owned(),
            mode: mode.map_or("local", Mode::as_str),
            nodes: terms.nodes(live).get(),
            allowance: (mode == Some(Mode::Hybrid)).then(|| terms.allowance(live).get()),
            excess_units: bounded.map(|(units, _)| units),
            excess_rate: bounded.map(|(_, rate)| rate),
            on_store_loss: mode.map(|_| terms.on_store_loss.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate::policy::Policy;
    use sluicegate::{Limiter, ManualClock, Secret};

    use super::*;

    fn rules_of(text: &str, standing: StoreStanding, live: u32) -> Vec<Rule> {
        let policy = format!(
            "version: 1\nstate: {{memory: 8MiB, secret_file: s, share: \"redis://127.0.0.1:1\"}}\nrules:\n{text}"
        );
        let (policy, _) = Policy::parse("test", &policy).expect("no faults");
        let clock = std::sync::Arc::new(ManualClock::default());
        let limiter = Limiter::new(&policy, &Secret::from_bytes([7; 32]), clock).expect("a small table");
        rules(&limiter.engine(), standing, NonZeroU32::new(live).expect("a node"))
    }

    #[test]
    fn the_mode_in_force_and_its_allowance_follow_the_nodes_that_live() {
        let told = |live| {
            let rules = rules_of("  - {name: a, key: ip, limit: 100/s}\n", StoreStanding::Together, live);
            (rules[0].mode, rules[0].allowance, rules[0].excess_units)
        };
        assert_eq!(told(2), ("hybrid", Some(5), Some(10)));
        assert_eq!(told(11), ("leased", None, Some(0)));
    }

    #[test]
    fn the_worst_case_of_a_rule_follows_how_the_node_stands_with_the_store() {
        let rules = "  - {name: local, key: ip, limit: 100/h}\n  - {name: closed, key: ip, limit: 100/h, on_store_loss: closed}\n  - {name: open, key: ip, limit: 100/h, on_store_loss: open}\n  - {name: own, key: ip, limit: 100/h, sharing: local}\n";
        let told = |standing| -> Vec<Option<u64>> {
            let rules = rules_of(rules, standing, 20);
            rules.iter().map(|rule| rule.excess_units).collect()
        };
        assert_eq!(told(StoreStanding::Together), [Some(0), Some(0), Some(0), Some(1900)]);
        assert_eq!(told(StoreStanding::Away), [Some(195), Some(0), None, Some(1900)]);
        assert_eq!(told(StoreStanding::Foreign), [None, None, None, Some(1900)]);
        let rates = rules_of(rules, StoreStanding::Away, 20);
        let rates: Vec<_> = rates.iter().map(|rule| rule.excess_rate).collect();
        assert_eq!(rates, [Some(0.95), Some(0.0), None, Some(19.0)]);
    }
}

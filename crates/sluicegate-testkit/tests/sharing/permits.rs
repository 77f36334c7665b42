//! Permits that nodes share: never more in use than there are, and none missing for long.
#![expect(clippy::cast_precision_loss, reason = "a few nodes")]

use proptest::prelude::*;
use sluicegate_core::sharing::permits::{self, Part};
use sluicegate_core::sharing::{Now, OnStoreLoss, PermitLease, PermitPlan};
use sluicegate_testkit::fleet::Chance;

use super::common::cases;

/// A fleet whose nodes begin and end streams of one key at random, in steps of ten milliseconds.
struct Fleet {
    plan: PermitPlan,
    nodes: Vec<Node>,
    kept: Vec<Part>,
    chance: Chance,
    now: f64,
    is_up: bool,
    /// The probability that a reply is lost.
    loses: f64,
}

struct Node {
    lease: PermitLease,
    is_dead: bool,
    changed_at: f64,
    /// The store's data is other than it knows.
    is_stale: bool,
}

const STEP_US: f64 = 10_000.0;

impl Fleet {
    fn new(nodes: u32, limit: f64, seed: u64) -> Self {
        let node = || Node {
            lease: PermitLease::new(),
            is_dead: false,
            changed_at: f64::NEG_INFINITY,
            is_stale: false,
        };
        Self {
            plan: PermitPlan {
                limit,
                on_store_loss: OnStoreLoss::Closed,
                fanout: 0.0,
            },
            nodes: (0..nodes).map(|_| node()).collect(),
            kept: Vec::new(),
            chance: Chance::new(seed),
            now: 0.0,
            is_up: true,
            loses: 0.0,
        }
    }

    fn at(&self) -> Now {
        Now {
            time: self.now,
            round_trip: 1_000.0,
            nodes: self.nodes.len() as f64,
            is_down: !self.is_up,
            generation: 1,
        }
    }

    /// Plays so many seconds in which each node wants to have `wanted` streams open, each of which lasts a second on average.
    fn play(&mut self, seconds: f64, wanted: impl Fn(usize) -> f64) {
        let ends_at = self.now + seconds * 1e6;
        while self.now < ends_at {
            self.now += STEP_US;
            for index in 0..self.nodes.len() {
                if !self.nodes[index].is_dead {
                    self.begin_and_end(index, wanted(index));
                    self.speak(index);
                }
            }
            assert!(self.in_use() <= self.plan.limit, "{} in use", self.in_use());
            let kept: f64 = self
                .kept
                .iter()
                .filter(|part| part.ends_at > self.now)
                .map(|part| part.permits)
                .sum();
            assert!(kept <= self.plan.limit, "{kept} given out");
        }
    }

    fn begin_and_end(&mut self, index: usize, wanted: f64) {
        let plan = self.plan;
        let view = plan.view(self.at(), self.nodes[index].changed_at);
        let mut lease = self.nodes[index].lease;
        let mut open = lease.in_use();
        while open > 0.0 {
            if self.chance.happens(STEP_US / 1e6) || lease.in_use() > wanted {
                lease.release(1.0);
            }
            open -= 1.0;
        }
        while lease.in_use() < wanted {
            let look = lease.look(&view, 1.0);
            lease.spend(&view, look, 1.0);
            if !look.passes() {
                break;
            }
        }
        self.nodes[index].lease = lease;
    }

    fn speak(&mut self, index: usize) {
        let mut lease = self.nodes[index].lease;
        if !self.is_up || lease.due_at() > self.now {
            return;
        }
        if self.nodes[index].is_stale {
            // What a call is told that names other data than there is.
            self.nodes[index].is_stale = false;
            self.nodes[index].changed_at = self.now;
        }
        let plan = self.plan;
        let view = plan.view(self.at(), self.nodes[index].changed_at);
        let number = index as f64 + 1.0;
        if let Some(ask) = lease.build(&view, number) {
            let (reply, _) = permits::exchange(&mut self.kept, &ask, self.now + 5e8);
            if self.chance.happens(self.loses) {
                lease.failed(&view);
            } else {
                lease.apply(&view, &ask, &reply, self.now, self.chance.part());
            }
        }
        // Whoever waited was answered by what is there now, above, in the next step.
        lease.leave(f64::INFINITY);
        self.nodes[index].lease = lease;
    }

    fn in_use(&self) -> f64 {
        let living = self.nodes.iter().filter(|node| !node.is_dead);
        living.map(|node| node.lease.in_use()).sum()
    }

    fn wipe(&mut self) {
        self.kept.clear();
        self.is_new();
    }

    /// The store is back, after longer than parts last.
    fn is_back(&mut self) {
        self.is_up = true;
        self.is_new();
    }

    fn is_new(&mut self) {
        for node in &mut self.nodes {
            node.is_stale = true;
        }
    }
}

#[test]
fn permits_go_to_the_nodes_that_use_them() {
    let mut fleet = Fleet::new(10, 100.0, 1);
    fleet.play(5.0, |_| 50.0);
    assert!(fleet.in_use() >= 95.0, "{} of 100", fleet.in_use());
    // All of it moves to one node.
    fleet.play(5.0, |node| if node == 0 { 200.0 } else { 0.0 });
    assert!(fleet.in_use() >= 95.0, "{} of 100", fleet.in_use());
    fleet.play(10.0, |_| 0.0);
    assert!(fleet.nodes.iter().all(|node| node.lease.is_idle()));
    assert!(fleet.kept.is_empty());
}

#[test]
fn permits_of_nodes_that_died_are_missed_until_their_part_ends() {
    let mut fleet = Fleet::new(10, 100.0, 1);
    fleet.play(5.0, |_| 10.0);
    for node in &mut fleet.nodes[..5] {
        node.is_dead = true;
    }
    fleet.play(1.0, |_| 20.0);
    assert!(fleet.in_use() <= 60.0, "they may still be in use: {}", fleet.in_use());
    fleet.play(4.0, |_| 20.0);
    assert!(fleet.in_use() >= 95.0, "{} of 100", fleet.in_use());
}

#[test]
fn a_store_that_forgets_its_permits_gives_out_none_until_the_last_of_them_has_ended() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(10, 100.0, seed);
        fleet.play(5.0, |node| if node < 5 { 20.0 } else { 0.0 });
        fleet.wipe();
        // The others would take all of it: the play fails if more are in use than there are.
        fleet.play(10.0, |_| 50.0);
        assert!(fleet.in_use() >= 90.0, "{} of 100", fleet.in_use());
    }
}

#[test]
fn a_closed_rule_gives_out_no_permits_once_its_part_has_ended() {
    let mut fleet = Fleet::new(10, 100.0, 1);
    fleet.play(5.0, |_| 10.0);
    fleet.is_up = false;
    fleet.play(4.0, |_| 20.0);
    let left = fleet.in_use();
    fleet.play(5.0, |_| 20.0);
    assert!(fleet.in_use() < left, "open streams end, and none begins");
    fleet.is_back();
    fleet.play(5.0, |_| 20.0);
    assert!(fleet.in_use() >= 95.0, "{} of 100", fleet.in_use());
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_fleet_has_more_permits_in_use_than_there_are(seed: u64) {
        let mut chance = Chance::new(seed);
        let nodes = 2 + chance.below(20);
        let limit = chance.spread(1.0, 200.0).floor();
        let mut fleet = Fleet::new(nodes, limit, seed);
        fleet.loses = chance.pick([0.0, 0.01, 0.1]);
        for _ in 0..10 {
            let most = limit * chance.spread(0.1, 3.0) / f64::from(nodes);
            let busy = chance.below(nodes) as usize;
            match chance.below(6) {
                0 => fleet.wipe(),
                1 if fleet.is_up => fleet.is_up = false,
                1 => fleet.is_back(),
                2 => {
                    let dies = chance.below(nodes) as usize;
                    fleet.nodes[dies].is_dead = true;
                }
                _ => {}
            }
            fleet.play(chance.between(0.5, 4.0), |node| if node == busy { 3.0 * most } else { most });
        }
    }
}

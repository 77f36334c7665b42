//! Requests that leave one after another, on several nodes that share a store in memory, in simulated time.
#![expect(clippy::cast_precision_loss, reason = "counts of a test")]

mod node;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::sharing::{Sharing, Spacing};
use sluicegate_core::{Report, Timestamp};
use sluicegate_state::leases::{
    Patience, SharedBucket, SharedHolding, SharedMade, SharedMades, SharedTaken, Waited, Waiting,
};
use sluicegate_state::store::MemoryStore;
use sluicegate_state::{Clock as _, ManualClock};

use node::{Node, ROUND_TRIP, poll};

const AT_ONCE: Duration = Duration::ZERO;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn spacing(max_wait_ms: u64) -> Spacing {
    Spacing::new(ms(max_wait_ms), 0)
}

/// Some nodes beside one store.
struct Fleet {
    nodes: Vec<Node>,
    bucket: Arc<SharedBucket>,
    /// Requests that wait for the store, each with its node.
    waiting: Vec<(usize, Box<Waiting>)>,
    /// Of each node, when what it let through left.
    left: Vec<Vec<Timestamp>>,
    refused: usize,
    chance: u64,
}

/// What is taken of a bucket, as it is to be given back.
type Passed = (Timestamp, SharedHolding);

impl Fleet {
    fn new(count: u32, limit: &str, sharing: Sharing, spacing: Spacing) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_nanos(5_000_000_000)));
        let store = MemoryStore::at(1e12);
        let nodes: Vec<_> = (0..count).map(|_| Node::beside(&store, &clock)).collect();
        for node in &nodes {
            node.leases.surroundings().count_nodes(count);
            node.pass(AT_ONCE);
        }
        Self {
            left: vec![Vec::new(); nodes.len()],
            nodes,
            bucket: Node::queue(limit, sharing, spacing),
            waiting: Vec::new(),
            refused: 0,
            chance: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn now(&self) -> Timestamp {
        self.nodes[0].clock.now()
    }

    /// A request of so many units at a node: when it leaves, and what it holds; `None` if it is refused, or has to ask the store first.
    fn request_of(&mut self, node: usize, cost: u64) -> Option<Passed> {
        let bucket = Arc::clone(&self.bucket);
        let charges = [Node::charge(&bucket, 0, 1, cost)];
        let (now, mut mades) = (self.now(), SharedMades::new());
        let leases = &self.nodes[node].leases;
        match leases.take(&charges, Patience::Waits, now, &mut Report::new(), &mut mades) {
            SharedTaken::All => {
                let holding = mades.first().map(SharedMade::hold)?;
                Some((holding.departs_at().unwrap_or(now), holding))
            }
            SharedTaken::Nothing => {
                self.refused += 1;
                None
            }
            SharedTaken::Waits(waiting) => {
                self.waiting.push((node, waiting));
                None
            }
        }
    }

    /// Lets nodes speak with the store until nobody waits for it; gives back who passed, each with its node.
    fn answers(&mut self, round_trip: Duration) -> Vec<(usize, Passed)> {
        let mut passed = Vec::new();
        for _ in 0..4 {
            for node in &self.nodes {
                node.sync(round_trip);
            }
            let now = self.now();
            for (node, mut waiting) in std::mem::take(&mut self.waiting) {
                match poll(&mut waiting) {
                    Poll::Pending => self.waiting.push((node, waiting)),
                    Poll::Ready(Waited::Nothing { .. }) => self.refused += 1,
                    Poll::Ready(Waited::All(holdings)) => {
                        let holding = holdings.into_iter().next().expect("one charge");
                        passed.push((node, (holding.departs_at().unwrap_or(now), holding)));
                    }
                }
            }
        }
        passed
    }

    /// A request of one unit, with the store's answer if it needs one: in how many milliseconds it leaves.
    fn request(&mut self, node: usize) -> Option<Passed> {
        let passed = self.request_of(node, 1);
        passed.or_else(|| self.answers(AT_ONCE).pop().map(|(_, passed)| passed))
    }

    fn wait_ms(&mut self, node: usize) -> Option<u128> {
        let (at, _) = self.request(node)?;
        Some(at.saturating_since(self.now()).as_millis())
    }

    /// Requests at random on all nodes, `per_step` a millisecond, for so many of them; some of those that wait leave.
    fn run(&mut self, steps: u32, per_step: f64, leaves: f64, round_trip: impl Fn(f64) -> Duration) {
        let mut queued: Vec<(usize, Passed)> = Vec::new();
        for _ in 0..steps {
            while self.draw() < per_step / (1.0 + per_step) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
                let node = (self.draw() * self.nodes.len() as f64) as usize;
                let passed = self.request_of(node, 1);
                queued.extend(passed.map(|passed| (node, passed)));
            }
            let chance = self.draw();
            queued.extend(self.answers(round_trip(chance)));
            if self.draw() < leaves && !queued.is_empty() {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
                let index = (self.draw() * queued.len() as f64) as usize;
                if queued[index].1.0 > self.now() {
                    let (node, (_, holding)) = queued.swap_remove(index);
                    self.nodes[node].leases.give_back(&holding, self.now());
                }
            }
            let now = self.now();
            for (node, (at, _)) in queued.extract_if(.., |(_, (at, _))| *at <= now) {
                self.left[node].push(at);
            }
            self.nodes[0].pass(ms(1));
        }
        for (node, (at, _)) in queued {
            self.left[node].push(at);
        }
        for left in &mut self.left {
            left.sort_unstable();
        }
    }

    /// All departures, in their order.
    fn all_left(&self) -> Vec<Timestamp> {
        let mut all: Vec<_> = self.left.iter().flatten().copied().collect();
        all.sort_unstable();
        all
    }

    fn draw(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The least time between one departure and the next.
fn least_gap(left: &[Timestamp]) -> Duration {
    let gaps = left.windows(2).map(|pair| pair[1].saturating_since(pair[0]));
    gaps.min().unwrap_or(Duration::MAX)
}

#[test]
fn what_two_nodes_let_go_of_an_exact_queue_is_never_closer_than_its_interval() {
    for (per_step, passes) in [(0.005, 30..90), (0.05, 118..123), (2.0, 118..123)] {
        let mut fleet = Fleet::new(2, "10/s burst 20", Sharing::Exact, spacing(2_000));
        fleet.run(10_000, per_step, 0.0, |_| AT_ONCE);
        let left = fleet.all_left();
        assert!(least_gap(&left) >= ms(100), "{:?} at {per_step}", least_gap(&left));
        assert!(passes.contains(&left.len()), "{} at {per_step}", left.len());
        assert!(fleet.left.iter().all(|left| left.len() > 15), "both let some through");
    }
}

/// A node learns of its place when the answer is there, which took its time.
#[test]
fn across_nodes_an_exact_queue_is_as_even_as_round_trips_are() {
    let round_trip = |chance: f64| Duration::from_micros(if chance < 0.5 { 200 } else { 1_400 });
    let mut fleet = Fleet::new(2, "10/s burst 20", Sharing::Exact, spacing(1_000));
    fleet.run(10_000, 0.05, 0.0, round_trip);
    let jitter = ms(3);
    let left = fleet.all_left();
    assert!(left.len() > 100);
    assert!(
        least_gap(&left) >= ms(100).saturating_sub(jitter),
        "{:?}",
        least_gap(&left)
    );
    for left in &fleet.left {
        assert!(least_gap(left) >= ms(100), "{:?} on one node", least_gap(left));
    }
}

#[test]
fn who_leaves_an_exact_queue_makes_nobody_of_its_node_leave_too_early() {
    let mut fleet = Fleet::new(1, "10/s burst 20", Sharing::Exact, spacing(1_000));
    fleet.run(20_000, 0.05, 0.003, |_| AT_ONCE);
    let left = fleet.all_left();
    assert!(least_gap(&left) >= ms(100), "{:?}", least_gap(&left));
    assert!((120..=211).contains(&left.len()), "{}", left.len());
}

#[test]
fn a_wait_beyond_the_longest_is_refused_without_a_word_to_the_store() {
    let mut fleet = Fleet::new(2, "10/s burst 20", Sharing::Exact, spacing(200));
    let waits: Vec<_> = (0..5).map(|turn| fleet.wait_ms(turn % 2)).collect();
    assert_eq!(waits, [Some(0), Some(100), Some(200), None, None]);
    let exchanges: usize = (0..50)
        .map(|_| {
            fleet.nodes[0].pass(ms(1));
            assert!(fleet.request_of(0, 1).is_none() && fleet.waiting.is_empty());
            fleet.nodes[0].sync(AT_ONCE)
        })
        .sum();
    assert_eq!(exchanges, 0);
    fleet.nodes[0].pass(ms(50));
    assert_eq!(fleet.wait_ms(0), Some(200), "what was refused took no place");
}

#[test]
fn who_leaves_before_the_answer_leaves_no_gap() {
    let mut fleet = Fleet::new(1, "10/s burst 20", Sharing::Exact, spacing(1_000));
    for _ in 0..4 {
        assert!(fleet.request_of(0, 1).is_none());
    }
    drop(fleet.waiting.remove(1));
    let now = fleet.now();
    let passed = fleet.answers(AT_ONCE);
    let waits: Vec<_> = passed.iter().map(|(_, (at, _))| at.saturating_since(now)).collect();
    assert_eq!(waits, [ms(0), ms(100), ms(200)]);
    // The unit that nobody used goes back with the next exchange, and with it the place behind the three.
    fleet.nodes[0].pass(ms(6));
    assert_eq!(fleet.nodes[0].sync(AT_ONCE), 1);
    let wait = fleet.wait_ms(0).expect("there is room");
    assert!((294..=300).contains(&wait), "{wait}");
}

#[test]
fn the_last_of_an_exact_queue_gives_its_place_back_and_no_other_does() {
    let mut fleet = Fleet::new(1, "10/h burst 4", Sharing::Exact, spacing(3_600_000));
    let places: Vec<_> = (0..4).map(|_| fleet.request(0).expect("there is room")).collect();
    let give_back = |fleet: &Fleet, index: usize| {
        let (_, holding) = &places[index];
        fleet.nodes[0].leases.give_back(holding, fleet.now());
        fleet.nodes[0].pass(ms(10));
        fleet.nodes[0].sync(AT_ONCE)
    };
    assert_eq!(give_back(&fleet, 1), 0, "two stand behind it");
    assert_eq!(give_back(&fleet, 3), 1);
    fleet.nodes[0].pass(ms(60_000));
    let (at, _) = fleet.request(0).expect("the last place is free");
    assert!(at >= places[3].0 && at <= places[3].0.saturating_add(ms(100)), "{at:?}");
}

#[test]
fn leases_bound_the_rate_of_a_queue_and_each_node_spaces_its_own() {
    for (sharing, beyond) in [(Sharing::Leased, 0.0), (Sharing::Hybrid, 20.0)] {
        for leaves in [0.0, 0.02] {
            let mut fleet = Fleet::new(2, "100/s burst 200", sharing, spacing(500));
            fleet.run(20_000, 0.5, leaves, |_| ROUND_TRIP);
            let left = fleet.all_left();
            // The most beyond the rate in any stretch, as a bucket that is never refused sees it.
            let (mut debt, mut worst, mut former) = (0.0_f64, 0.0_f64, left[0]);
            for at in &left {
                debt = (debt - 100.0 * at.saturating_since(former).as_secs_f64()).max(0.0) + 1.0;
                worst = worst.max(debt);
                former = *at;
            }
            assert!(worst <= 200.0 + beyond + 1.0, "{worst} at once, {sharing:?}");
            for left in &fleet.left {
                assert!(least_gap(left) >= ms(10), "{:?}, {sharing:?}", least_gap(left));
                assert!(left.len() > 300, "{}", left.len());
            }
            let span = fleet.now().saturating_since(left[0]).as_secs_f64();
            // Places that were left stay empty, but for the last.
            let least = 100.0 * span * (1.0 - leaves * 10.0 - 0.05);
            assert!(
                left.len() as f64 > least,
                "{} in {span} s, {sharing:?}, {leaves}",
                left.len()
            );
        }
    }
}

#[test]
fn who_leaves_a_leased_queue_gives_its_unit_back_whoever_stands_behind() {
    let mut fleet = Fleet::new(1, "10/h burst 4", Sharing::Leased, spacing(3_600_000));
    let places: Vec<_> = (0..4).map(|_| fleet.request(0).expect("there is room")).collect();
    assert!(fleet.request(0).is_none());
    fleet.nodes[0].leases.give_back(&places[1].1, fleet.now());
    for _ in 0..3 {
        fleet.nodes[0].pass(ms(1_000));
        fleet.nodes[0].sync(AT_ONCE);
    }
    fleet.nodes[0].pass(ms(60_000));
    let (at, _) = fleet.request(0).expect("its unit is back");
    assert!(at > places[3].0, "the place is not: somebody stands behind it");
}

#[test]
fn five_nodes_of_an_exact_queue_pass_on_what_it_allows_and_nothing_closer() {
    for seed in [1, 2, 3] {
        let mut fleet = Fleet::new(5, "50/s burst 100", Sharing::Exact, spacing(1_000));
        fleet.chance ^= seed << 32;
        fleet.run(10_000, 0.2, 0.0, |_| AT_ONCE);
        let left = fleet.all_left();
        assert!(least_gap(&left) >= ms(20), "{:?}", least_gap(&left));
        assert!(
            (545..=552).contains(&left.len()),
            "{} of 500, and fifty that wait at the end",
            left.len()
        );
        assert!(fleet.refused > 500);
    }
}

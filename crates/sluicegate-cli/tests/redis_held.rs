//! What two nodes put right together after they let it pass: costs that settle, failures and locks, on a real `redis-server`.

use std::collections::VecDeque;
use std::time::Duration;

use sluicegate::policy::Policy;
use sluicegate::{Attempt, Clock as _, Grant, Limiter, Reservation, Retry, Secret, Sharer, SystemClock};
use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisServer;
use tokio::runtime::{Builder, Runtime};

/// For what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// One node. Ends its share first, then its limiter.
struct Node {
    _sharer: Sharer,
    limiter: Limiter,
}

impl Node {
    fn start(number: u64, rules: &str, server: &RedisServer, clock: &SystemClock) -> Self {
        let text = format!(
            "version: 1\nstate: {{memory: 8MiB, secret_file: secret, share: \"redis://127.0.0.1:1\"}}\nrules:\n{rules}"
        );
        let (policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
        let limiter = Limiter::new(&policy, &Secret::from_bytes([3; 32]), clock.clone()).expect("a limiter");
        let addresses = Addresses::Ring(vec![format!("redis://{}", server.address())]);
        let config = StoreConfig::new(addresses, number);
        let sharer = limiter
            .share(|runtime, clock| RedisStore::start(&config, clock, runtime))
            .expect("a thread, and an address");
        Self {
            _sharer: sharer,
            limiter,
        }
    }

    async fn reserve(&self, rule: &str, units: u64) -> Option<Reservation> {
        let taken = self.limiter.reserve(rule, "acme").cost(units).take_waiting().await;
        taken.expect("the rule settles").granted()
    }
}

/// Two nodes of one server, and who waits for them.
struct World {
    nodes: [Node; 2],
    clock: SystemClock,
    runtime: Runtime,
    _server: RedisServer,
}

impl World {
    /// Both nodes know each other.
    fn start(rules: &str) -> Self {
        let server = RedisServer::start().expect("a server");
        let clock = SystemClock::new();
        let nodes = [1, 2].map(|number| Node::start(number, rules, &server, &clock));
        poll::until_true("both nodes know each other", PATIENCE, || {
            nodes.iter().all(|node| {
                let sharing = node.limiter.sharing();
                sharing.is_some_and(|sharing| sharing.lanes_up == 1 && sharing.nodes > 1.5)
            })
        })
        .expect("they share a server");
        Self {
            nodes,
            clock,
            runtime: Builder::new_current_thread().build().expect("a runtime"),
            _server: server,
        }
    }

    fn reserve(&self, node: usize, rule: &str, units: u64) -> Option<Reservation> {
        self.runtime.block_on(self.nodes[node].reserve(rule, units))
    }

    fn attempt(&self, node: usize) -> Grant<Attempt> {
        let attempt = self.nodes[node].limiter.attempt_waiting("pins", "card");
        self.runtime.block_on(attempt).expect("it counts failures")
    }

    /// An attempt that there is room for: the store may be too late for the first.
    fn begin(&self, node: usize) -> Attempt {
        poll::until("an attempt", PATIENCE, || self.attempt(node).granted()).expect("fewer than three are counted")
    }
}

#[test]
fn a_lock_that_failures_on_one_node_began_holds_on_the_other_until_its_end() {
    const LOCK: Duration = Duration::from_secs(5);
    // A failure comes back in twenty minutes, so that only the lock's end lets anybody pass.
    let world = World::start(
        "  - {name: pins, key: program, limit: 3/h, count: failures, exceed: {lock: 5s}, on_store_loss: closed}\n",
    );
    world.begin(0).failed();
    world.begin(0).failed();
    let last = world.begin(0);
    let failed_at = world.clock.now();
    last.failed();
    poll::until_true("a refusal with what is left of the lock", LOCK, || {
        let Grant::Refused(check) = world.attempt(1) else {
            return false;
        };
        let elapsed = world.clock.now().saturating_since(failed_at);
        let left = LOCK.saturating_sub(elapsed)..=LOCK;
        matches!(check.retry(), Some(Retry::After(wait)) if left.contains(&wait))
    })
    .expect("the other node is locked too");
    for node in [1, 0] {
        let attempt = world.begin(node);
        assert!(world.clock.now().saturating_since(failed_at) >= LOCK);
        attempt.succeeded();
    }
}

#[test]
fn a_success_on_one_node_clears_what_failed_on_both_at_a_server() {
    let world = World::start(
        "  - {name: pins, key: program, limit: 3/d, count: failures, on_success: clear, on_store_loss: closed}\n",
    );
    world.begin(0).failed();
    world.begin(1).failed();
    let third = world.begin(0);
    assert!(!world.attempt(1).is_granted(), "two have failed and one is open");
    third.succeeded();
    let open = [1, 0, 1].map(|node| world.begin(node));
    for node in [0, 1] {
        assert!(!world.attempt(node).is_granted(), "three are open");
    }
    drop(open);
}

/// What was let through: when it was asked for, when it was granted, and what it turned out to cost.
struct Passed {
    asked_after: Duration,
    granted_after: Duration,
    used: u64,
}

/// Reserves and settles on both nodes until more than the burst and a second's refill has really been used. What it takes to get there
/// would not fit if what was reserved and not used did not come back.
#[track_caller]
fn check_costs_that_settle(sharing: &str) {
    const BURST: f64 = 1_000.0;
    const RATE: f64 = 100.0;
    const RESERVED: u64 = 100;
    /// Each at most what was reserved: what is beyond it is owed, and may be beyond the limit.
    const USED: [u64; 5] = [5, 60, 30, 0, 55];
    /// Of one node, so that most of the burst is not outstanding.
    const OPEN_MAX: usize = 2;
    /// A unit of floating point, many times over.
    const ROUNDING: f64 = 1.0;

    let world = World::start(&format!(
        "  - {{name: tokens, key: program, limit: 100/s burst 1000, cost: {{reserve: 100, settle: program}}, sharing: {sharing}, on_store_loss: closed}}\n"
    ));
    let [first, second] = &world.nodes;
    let begun_at = world.clock.now();
    let elapsed = || world.clock.now().saturating_since(begun_at);
    let mut passed: Vec<Passed> = Vec::new();
    let mut open = [VecDeque::new(), VecDeque::new()];
    let mut total = 0;
    poll::until_true("more than a burst is really used", PATIENCE, || {
        let asked_after = elapsed();
        let (one, other) = world
            .runtime
            .block_on(async { tokio::join!(first.reserve("tokens", RESERVED), second.reserve("tokens", RESERVED)) });
        let granted_after = elapsed();
        for (granted, open) in [one, other].into_iter().zip(&mut open) {
            let is_refused = granted.is_none();
            if let Some(reservation) = granted {
                let used = USED[passed.len() % USED.len()];
                total += used;
                passed.push(Passed {
                    asked_after,
                    granted_after,
                    used,
                });
                open.push_back((reservation, used));
            }
            if (is_refused || open.len() > OPEN_MAX)
                && let Some((reservation, used)) = open.pop_front()
            {
                let _ = reservation.settle(used);
            }
        }
        total >= 1_100
    })
    .expect("what is not used comes back");
    let may_pass = |span: Duration| BURST + RATE * span.as_secs_f64() + ROUNDING;
    for (index, first) in passed.iter().enumerate() {
        let mut used = 0;
        for last in &passed[index..] {
            used += last.used;
            let span = last.granted_after.saturating_sub(first.asked_after);
            assert!(
                f64::from(u32::try_from(used).expect("thousands")) <= may_pass(span),
                "{used} in {span:?}"
            );
        }
    }
    let reserved = RESERVED * u64::try_from(passed.len()).expect("dozens");
    assert!(
        f64::from(u32::try_from(reserved).expect("thousands")) > may_pass(elapsed()),
        "{reserved}"
    );
}

#[test]
fn what_settles_on_two_nodes_of_a_server_keeps_to_a_leased_limit_and_the_rest_comes_back() {
    check_costs_that_settle("leased");
}

#[test]
fn what_settles_on_two_nodes_of_a_server_keeps_to_an_exact_limit_and_the_rest_comes_back() {
    check_costs_that_settle("exact");
}

#[test]
fn a_stream_that_outlives_its_leases_at_a_server_gets_its_refund() {
    const RULES: [&str; 2] = ["leased", "exact"];
    const BURST: u64 = 20;
    /// In which the whole burst comes back by itself.
    const REFILL: Duration = Duration::from_secs(4);
    /// Three lease epochs, each half of a refill: a lease is good for two at most.
    const STREAM: Duration = Duration::from_secs(6);
    /// What is not given back is not there again by then.
    const SOONER: Duration = REFILL.saturating_sub(Duration::from_secs(1));

    let rules = RULES.map(|rule| {
        format!(
            "  - {{name: {rule}, key: program, limit: 20 per 4s, cost: {{reserve: 20, settle: program}}, sharing: {rule}, on_store_loss: closed}}\n"
        )
    });
    let world = World::start(&rules.concat());
    let streams = RULES.map(|rule| {
        let stream = poll::until("all of it", PATIENCE, || world.reserve(0, rule, BURST));
        stream.expect("nothing is used yet")
    });
    let begun_at = world.clock.now();
    poll::until_true("the stream's end", PATIENCE, || {
        for rule in RULES {
            assert!(world.reserve(1, rule, 1).is_none(), "all of {rule} is outstanding");
        }
        world.clock.now().saturating_since(begun_at) >= STREAM
    })
    .expect("time passes");
    for (stream, rule) in streams.into_iter().zip(RULES) {
        let _ = stream.settle(0);
        let again = poll::until(rule, SOONER, || world.reserve(1, rule, BURST));
        assert!(again.is_ok(), "{again:?}");
    }
}

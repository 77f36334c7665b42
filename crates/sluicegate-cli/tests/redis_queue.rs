//! A leaky bucket that two nodes hold together, on a real `redis-server`.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{Clock as _, Decision, Limiter, Outcome, Request, Secret, Sharer, SystemClock};
use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::RedisServer;
use tokio::runtime::Builder;

/// What everybody goes by: requests leave a tenth of a second apart, and wait half a second at most.
const RULE: &str = "{name: queue, key: ip, algorithm: leaky_bucket, limit: 10/s burst 20, max_wait: 500ms, sharing: exact, on_store_loss: closed}";
const INTERVAL: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How late an answer may be: who is charged in time is not refused for that.
const ANSWER: Duration = Duration::from_millis(5);

/// For what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// One node. Ends its share first, then its limiter.
struct Node {
    sharer: Sharer,
    limiter: Limiter,
}

impl Node {
    fn start(number: u64, server: &RedisServer, clock: &SystemClock) -> Self {
        let text = format!(
            "version: 1\nstate: {{memory: 8MiB, secret_file: secret, share: \"redis://127.0.0.1:1\"}}\nrules: [{RULE}]\n"
        );
        let (policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
        let limiter = Limiter::new(&policy, &Secret::from_bytes([3; 32]), clock.clone()).expect("a limiter");
        let addresses = Addresses::Ring(vec![format!("redis://{}", server.address())]);
        let config = StoreConfig::new(addresses, number);
        let sharer = limiter
            .share(|runtime, clock| RedisStore::start(&config, clock, runtime))
            .expect("a thread, and an address");
        Self { sharer, limiter }
    }

    async fn decide(&self) -> Decision {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some(IpAddr::from([192, 0, 2, 1])),
            headers: &HeaderMap::new(),
        };
        match self.limiter.decide(&request) {
            Outcome::Decided(decision) => decision,
            Outcome::Pending(ticket) => ticket.await.decided().expect("no rule reads the body"),
            Outcome::NeedsBody(_) => unreachable!("no rule reads the body"),
        }
    }

    /// Requests that the store was too late for.
    fn late(&self) -> u64 {
        self.limiter.sharing().expect("it shares").counts.late
    }
}

/// Whoever is admitted `k`-th cannot leave before `k` intervals: the store gives each place away once, and a node counts its wait from
/// an answer that comes after that. A request that the store answered too late may give a place back that is not the last.
#[test]
fn requests_of_two_nodes_leave_an_exact_queue_one_interval_apart_and_wait_no_longer_than_they_may() {
    let server = RedisServer::start().expect("a server");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let clock = SystemClock::new();
    let nodes = [1, 2].map(|number| Node::start(number, &server, &clock));
    poll::until_true("both nodes know each other", PATIENCE, || {
        nodes.iter().all(|node| {
            let sharing = node.limiter.sharing();
            sharing.is_some_and(|sharing| sharing.lanes_up == 1 && sharing.nodes > 1.5)
        })
    })
    .expect("they share a server");
    let begun_at = clock.now();
    let mut departures = Vec::new();
    let (mut refused, mut kept) = (0, Vec::new());
    while departures.len() < 15 {
        let [one, other] = &nodes;
        let (one, other) = runtime.block_on(async { tokio::join!(one.decide(), other.decide()) });
        for decision in [one, other] {
            let wait = match &decision {
                Decision::Delay { after, .. } => *after,
                Decision::Allow { .. } => Duration::ZERO,
                _ => {
                    refused += 1;
                    continue;
                }
            };
            assert!(wait <= MAX_WAIT + ANSWER, "{wait:?}");
            departures.push(clock.now().saturating_add(wait));
            // Dropped, it would leave the queue.
            kept.push(decision);
        }
        let waited = clock.now().saturating_since(begun_at);
        assert!(waited < PATIENCE, "{} in {waited:?}", departures.len());
    }
    departures.sort_unstable();
    let late: u64 = nodes.iter().map(Node::late).sum();
    let places = (0..)
        .zip(&departures)
        .map(|(place, at)| (place, at.saturating_since(begun_at)));
    for (place, left_after) in places {
        let before = u32::try_from(place - late.min(place)).expect("fifteen");
        assert!(
            left_after >= INTERVAL * before,
            "{left_after:?} at place {place}, {late} were late"
        );
    }
    assert!(refused > 0, "two nodes ask as fast as they can");
    drop(kept);
    for node in nodes {
        drop(node.sharer);
    }
}

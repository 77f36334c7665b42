//! Nodes, each as a program has it: a limiter, and what keeps its limits in step with the store.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{AnyClock, Clock as _, Decision, Limiter, Outcome, Request, Secret, Sharer, SystemClock};
use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
use sluicegate_state::leases::SharingStatus;
use sluicegate_testkit::history::{self, Answer, Expected, History, Report, Tally};
use sluicegate_testkit::poll;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::bound::{Mishaps, Shared};
use super::clocks::{Clocks, Skew};
use super::gate::{Gate, GatedStore};
use super::{Load, PATIENCE, ms};

/// Nodes that share one limit.
pub(crate) struct Fleet {
    nodes: Vec<Node>,
    limit: Shared,
    book: Arc<Book>,
    /// The clocks of nodes that go by their own.
    clocks: Clocks,
    /// Whoever waits does it here.
    runtime: Runtime,
    /// Ended after the nodes.
    _connections: Connections,
}

/// Where stores keep their connections.
struct Connections {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Node {
    limiter: Limiter,
    store: RedisStore,
    gate: Arc<Gate>,
    sharer: Option<Sharer>,
}

/// What was decided.
struct Book {
    history: History,
    clock: SystemClock,
    waited: AtomicU64,
    longest_ns: AtomicU64,
}

impl Fleet {
    /// So many nodes that share `limit` at `addresses`; returns when each knows of all.
    pub(crate) fn start(nodes: usize, limit: Shared, addresses: &Addresses) -> Self {
        Self::start_by(&[], nodes, limit, addresses)
    }

    /// As [`Fleet::start`], where the first nodes go by clocks of their own.
    pub(crate) fn start_by(skews: &[Skew], nodes: usize, limit: Shared, addresses: &Addresses) -> Self {
        let fleet = Self::start_apart(skews, nodes, limit, addresses);
        fleet.until("all nodes know each other", |status| {
            status.lanes_up == status.lanes && status.nodes > f64::from(u32::try_from(nodes).unwrap_or(0)) - 0.5
        });
        fleet
    }

    fn start_apart(skews: &[Skew], nodes: usize, limit: Shared, addresses: &Addresses) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connections = Connections::start();
        let book = Book {
            history: History::new(),
            clock: SystemClock::new(),
            waited: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        };
        let clocks = Clocks::start(book.clock.clone(), skews);
        let node = |number| {
            let clock = clocks.of(number).unwrap_or_else(|| book.clock.clone().into());
            Node::start(number, limit, addresses, &clock, &connections.runtime)
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            limit,
            book: Arc::new(book),
            runtime,
            clocks,
            _connections: connections,
        }
    }

    /// Sends requests for so long and waits until each is answered. Tells how these were.
    pub(crate) fn run(&self, load: &Load, lasts: Duration) -> Tally {
        let book = &self.book;
        let begun_at = book.now_ns();
        self.runtime.block_on(async {
            let mut tick = interval(ms(1));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut waiting = JoinSet::new();
            let (mut sent, lasts_ns) = (0_u64, nanos(lasts));
            loop {
                tick.tick().await;
                let elapsed = (book.now_ns() - begun_at).min(lasts_ns);
                let due = u128::from(load.per_second) * u128::from(elapsed) / 1_000_000_000;
                while u128::from(sent) < due {
                    let (node, key) = load.request(sent);
                    self.ask(node, key, &mut waiting);
                    sent += 1;
                }
                if elapsed >= lasts_ns {
                    break;
                }
            }
            all_answered(waiting).await;
        });
        let ended_at = book.now_ns();
        book.history
            .tally(|decision| (begun_at..=ended_at).contains(&decision.at_ns))
    }

    /// Sends all of these, as `(node, key)`, in one moment, and waits until each is answered. Tells how these were.
    pub(crate) fn send(&self, requests: impl IntoIterator<Item = (usize, u32)>) -> Tally {
        let begun_at = self.book.now_ns();
        self.runtime.block_on(async {
            let mut waiting = JoinSet::new();
            for (node, key) in requests {
                self.ask(node, key, &mut waiting);
            }
            all_answered(waiting).await;
        });
        self.book.history.tally(|decision| decision.at_ns >= begun_at)
    }

    fn ask(&self, node: usize, key: u32, waiting: &mut JoinSet<()>) {
        let asked_at = self.book.now_ns();
        let headers = HeaderMap::new();
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | key))),
            headers: &headers,
        };
        let whose = (node, key, asked_at);
        match self.nodes[node].limiter.decide(&request) {
            Outcome::Decided(decision) => self.book.record(whose, &decision),
            Outcome::NeedsBody(_) => unreachable!("no rule reads the body"),
            Outcome::Pending(ticket) => {
                self.book.waited.fetch_add(1, Ordering::Relaxed);
                let book = Arc::clone(&self.book);
                waiting.spawn(async move {
                    let Outcome::Decided(decision) = ticket.await else {
                        unreachable!("a ticket without a body ends with a decision");
                    };
                    book.record(whose, &decision);
                });
            }
        }
    }

    /// Waits until every node's status `is_so`, while nobody asks.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&SharingStatus) -> bool) {
        let all = || self.statuses().iter().all(&is_so);
        let waited = poll::until_true(what, PATIENCE, all);
        assert!(waited.is_ok(), "{what}: {:#?}", self.statuses().first());
    }

    /// Goes on with `load` until every node's status `is_so`.
    #[track_caller]
    pub(crate) fn run_until(&self, load: &Load, what: &str, is_so: impl Fn(&SharingStatus) -> bool) {
        let begun_at = self.book.now_ns();
        while !self.statuses().iter().all(&is_so) {
            self.run(load, ms(50));
            let waited = self.book.now_ns() - begun_at;
            assert!(waited < nanos(PATIENCE), "{what}: {:#?}", self.statuses().first());
        }
    }

    /// Goes on with `load` until the store answers again and no key goes by its share.
    #[track_caller]
    pub(crate) fn run_until_together(&self, load: &Load) {
        self.run_until(load, "the store is back", |status| {
            status.lanes_up == status.lanes && status.keys_alone == 0
        });
    }

    /// Goes on with `load` for so long. Tells what was admitted, as a part of what comes back of all its keys in that time.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    pub(crate) fn run_at_rate(&self, load: &Load, lasts: Duration) -> f64 {
        let (_, rate) = self.limit.burst_and_rate();
        let begun_at = self.book.now_ns();
        let admitted = self.run(load, lasts).allowed as f64;
        // A busy machine may need longer.
        let seconds = (self.book.now_ns() - begun_at) as f64 / 1e9;
        admitted / (rate * f64::from(load.keys) * seconds)
    }

    /// Goes on with `load` until all keys together are admitted about their rate for half a second: neither locked out nor let through.
    #[track_caller]
    pub(crate) fn run_until_accurate(&self, load: &Load) {
        let halves = (0..HALVES_TRIED).map(|_| self.run_at_rate(load, ms(500)));
        let seen: Vec<_> = halves.take_while(|part| !(0.85..1.15).contains(part)).collect();
        assert!(
            seen.len() < HALVES_TRIED,
            "of what comes back in half a second were admitted {seen:?}"
        );
    }

    /// Goes on with `load` until something of it is let through.
    #[track_caller]
    pub(crate) fn run_until_admitted(&self, load: &Load) {
        let is_shut = (0..SECONDS_TRIED).all(|_| self.run(load, ms(500)).allowed == 0);
        assert!(!is_shut, "nothing is let through any more");
    }

    /// Goes on with `load`, a second at a time, until nothing of it is let through any more.
    #[track_caller]
    pub(crate) fn run_until_drained(&self, load: &Load) {
        let seconds = (0..SECONDS_TRIED).map(|_| self.run(load, ms(1_000)).allowed);
        let seen: Vec<_> = seconds.take_while(|admitted| *admitted > 0).collect();
        assert!(seen.len() < SECONDS_TRIED, "still admitted: {seen:?}");
    }

    pub(crate) fn statuses(&self) -> Vec<SharingStatus> {
        let status = |node: &Node| node.limiter.sharing().expect("it shares");
        self.nodes.iter().map(status).collect()
    }

    /// The store of a node.
    pub(crate) fn store(&self, node: usize) -> &RedisStore {
        &self.nodes[node].store
    }

    /// The clocks of those nodes that go by their own.
    pub(crate) const fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Stops a node, as `kill -STOP` does; the test sends it nothing until it goes on.
    pub(crate) fn freeze(&self, node: usize) {
        self.nodes[node].gate.close();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, node: usize) {
        self.nodes[node].gate.open();
    }

    /// Ends a node as `kill -9` does: nothing is given back. The test sends it nothing more.
    pub(crate) fn kill(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.gate.close();
        // Its thread stands still until the test is over.
        std::mem::forget(node.sharer.take());
    }

    /// Keys that the store was asked about, so far, by all nodes.
    pub(crate) fn keys_asked(&self) -> u64 {
        self.statuses().iter().map(|status| status.counts.keys).sum()
    }

    /// Requests that had to wait, so far.
    pub(crate) fn waited(&self) -> u64 {
        self.book.waited.load(Ordering::Relaxed)
    }

    /// Holds all that was decided to the limit's bound: no window of any key had more, and every request was answered.
    #[track_caller]
    pub(crate) fn assert_holds(&self, mishaps: Mishaps) -> Report {
        let longest = Duration::from_nanos(self.book.longest_ns.load(Ordering::Relaxed));
        let bound = self.limit.bound(self.nodes.len(), mishaps, longest);
        let report = self.book.history.check(&Expected::new().bound(bound));
        assert!(
            report.holds(),
            "{report}\nwith {bound:?}, the longest decision {longest:?}"
        );
        report
    }
}

impl Drop for Fleet {
    /// Nodes leave together: each takes a few round trips, and a quarter of a second where nobody answers.
    fn drop(&mut self) {
        thread::scope(|scope| {
            for node in &mut self.nodes {
                node.gate.open();
                let sharer = node.sharer.take();
                scope.spawn(move || drop(sharer));
            }
        });
    }
}

impl Node {
    fn start(number: usize, limit: Shared, addresses: &Addresses, clock: &AnyClock, runtime: &Handle) -> Self {
        let text = format!(
            "version: 1\nstate: {{memory: 64MiB, secret_file: secret, share: {{redis: \"redis://127.0.0.1:1\"}}}}\nroutes:\n  - {{name: all, path: \"/{{*rest}}\", upstream: up}}\ngateway: {{listen: \"127.0.0.1:0\", upstreams: {{up: {{servers: \"127.0.0.1:1\"}}}}}}\nrules:\n{}",
            limit.rule()
        );
        let (policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
        let limiter = Limiter::new(&policy, &Secret::from_bytes([3; 32]), clock.clone()).expect("a limiter");
        let config = StoreConfig::new(addresses.clone(), number as u64 + 1);
        let store = RedisStore::start(&config, clock.clone(), runtime.clone()).expect("addresses");
        let gate = Arc::<Gate>::default();
        let gated = GatedStore::new(store.clone(), Arc::clone(&gate));
        let sharer = limiter
            .share(|_runtime, _clock| Ok::<_, std::convert::Infallible>(gated))
            .expect("a thread");
        Self {
            limiter,
            store,
            gate,
            sharer: Some(sharer),
        }
    }
}

impl Connections {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || drop(runtime.block_on(stopped)));
        Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has shown in what the test expected.
            let _ = thread.join();
        }
    }
}

impl Book {
    fn now_ns(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    fn record(&self, (node, key, asked_at): (usize, u32, u64), decision: &Decision) {
        let at_ns = self.now_ns();
        self.longest_ns.fetch_max(at_ns - asked_at, Ordering::Relaxed);
        self.history.record(history::Decision {
            at_ns,
            node: u32::try_from(node).unwrap_or(u32::MAX),
            key: key.into(),
            cost: 1,
            answer: if decision.passes() { Answer::Allow } else { Answer::Deny },
        });
    }
}

/// Waits for all that wait.
async fn all_answered(mut waiting: JoinSet<()>) {
    let all = async {
        while waiting
            .join_next()
            .await
            .transpose()
            .expect("no decision panics")
            .is_some()
        {}
    };
    timeout(PATIENCE, all).await.expect("every request is answered");
}

/// A ring of these servers.
pub(crate) fn ring(servers: &[SocketAddr]) -> Addresses {
    Addresses::Ring(servers.iter().map(|server| format!("redis://{server}")).collect())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// In how many half seconds a limit has to be accurate again once: noise takes a few, a lock-out all.
const HALVES_TRIED: usize = 20;

/// In how many seconds keys are used up: they are asked for more often than they come back.
const SECONDS_TRIED: usize = 20;

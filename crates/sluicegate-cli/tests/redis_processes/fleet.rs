//! Nodes that are processes, and what they are held to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sluicegate_testkit::history::{Answer, Expected, Report, Tally};
use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::FaultProxy;
use sluicegate_testkit::upstream::{Upstream, ok};
use tempfile::TempDir;

use crate::bound::{Mishaps, Shared};
use crate::clients::{Client, End, Seen, Whereabouts};
use crate::process::{FILE, Running, get};

/// What a test of this folder ends with.
pub(crate) type Tested = Result<(), Box<dyn std::error::Error>>;

/// Nodes that share one limit, each behind a proxy of its own to the store.
pub(crate) struct Fleet {
    nodes: Vec<Node>,
    limit: Shared,
    upstream: Upstream,
    seen: Arc<Seen>,
}

struct Node {
    /// `None` while it is dead.
    running: Mutex<Option<Running>>,
    store: FaultProxy,
    whereabouts: Whereabouts,
}

/// The key that is asked for three times as often as it comes back, and the one that is asked for a third as often.
pub(crate) const STORMED: u8 = 0;
pub(crate) const CALM: u8 = 1;

impl Fleet {
    /// So many nodes that share `limit` at `store`; returns when each knows of all.
    pub(crate) fn start(nodes: usize, limit: Shared, store: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        let seen = Arc::new(Seen::new());
        let upstream = Upstream::answering({
            let seen = Arc::clone(&seen);
            move |request| {
                seen.pass(request);
                ok("ok")
            }
        })?;
        let node = |_| -> std::io::Result<Node> {
            Ok(Node {
                running: Mutex::new(None),
                store: FaultProxy::before(store)?,
                whereabouts: Whereabouts {
                    gateway: Mutex::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
                    stops: AtomicU64::new(0),
                },
            })
        };
        let fleet = Self {
            nodes: (0..nodes).map(node).collect::<Result<_, _>>()?,
            limit,
            upstream,
            seen,
        };
        for number in 0..nodes {
            fleet.revive(number);
        }
        let knows_all = format!("sluicegate_sharing_nodes {nodes}.0\n");
        fleet.until("all nodes know each other", |node| {
            node.admin("/metrics").contains(&knows_all)
        });
        Ok(fleet)
    }

    /// Does `meanwhile` under the load of all clients, and waits until each of them has been answered.
    pub(crate) fn under_load(&self, meanwhile: impl FnOnce() -> Tested) -> Tested {
        let end = End::default();
        thread::scope(|scope| {
            // Also when a test fails: whoever waits for its clients would wait for ever.
            let over = Over(&end);
            for client in self.clients() {
                let of = &self.nodes[client.node as usize].whereabouts;
                let (seen, end) = (&self.seen, &end);
                scope.spawn(move || client.ask(of, seen, end));
            }
            let done = meanwhile();
            drop(over);
            done
        })
    }

    /// Three that storm and a calm one to each node.
    fn clients(&self) -> Vec<Client> {
        let (_, rate) = self.limit.burst_and_rate();
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let every = |per_second: f64| Duration::from_secs_f64(1.0 / per_second);
        let storm = every(3.0 * rate / f64::from(nodes) / 3.0);
        let calm = every(rate / 3.0 / f64::from(nodes));
        let of_node = |node| {
            let client = move |key, every| Client { node, key, every };
            [storm; 3]
                .map(|every| client(STORMED, every))
                .into_iter()
                .chain([client(CALM, calm)])
        };
        (0..nodes).flat_map(of_node).collect()
    }

    /// Lets the load go on for so long.
    pub(crate) fn go_on(&self, span: Duration) {
        let from = self.seen.now_ns();
        let is_over = || u128::from(self.seen.now_ns() - from) >= span.as_nanos();
        poll::until_true("time goes on", span + PATIENCE, is_over).expect("the clock goes");
    }

    /// Lets the load go on until every node says that it keeps its limits together with the others, and what passes of the stormed key
    /// in half a second is about its rate: neither locked out nor let through.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub(crate) fn go_on_until_accurate(&self) -> Tested {
        self.until("all nodes are together", |node| {
            node.admin("/sharing").contains(r#""standing":"together""#)
        });
        let (_, rate) = self.limit.burst_and_rate();
        let mut seen = Vec::new();
        for _ in 0..HALVES_TRIED {
            let from = self.seen.now_ns();
            self.go_on(Duration::from_millis(500));
            let to = self.seen.now_ns();
            let passed = self
                .seen
                .passed
                .tally(|passed| passed.key == u64::from(STORMED) && (from..to).contains(&passed.at_ns));
            let part = passed.allowed as f64 / (rate * (to - from) as f64 / 1e9);
            if (0.85..1.15).contains(&part) {
                return Ok(());
            }
            seen.push(part);
        }
        Err(format!("of what comes back in half a second passed {seen:?}").into())
    }

    /// Stops a node's process: nothing of it runs, and its connections stay.
    pub(crate) fn stop(&self, node: usize) {
        let node = &self.nodes[node];
        // Before it stands still, so that none is missed of what was under way.
        node.whereabouts.stops.fetch_add(1, Ordering::AcqRel);
        node.with(|running| running.signal("STOP"));
    }

    /// Lets a stopped process go on.
    pub(crate) fn resume(&self, node: usize) {
        let node = &self.nodes[node];
        node.with(|running| running.signal("CONT"));
        node.whereabouts.stops.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends a node as `kill -9` does.
    pub(crate) fn kill(&self, node: usize) {
        // Dropping it kills it.
        drop(
            self.nodes[node]
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// Starts a node, which knows nothing of what it was before, and returns when it listens.
    pub(crate) fn revive(&self, node: usize) {
        let node = &self.nodes[node];
        let running = start(&self.policy(node));
        *node.whereabouts.gateway.lock().unwrap_or_else(PoisonError::into_inner) = running.gateway;
        *node.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// What lies between a node and the store.
    pub(crate) fn store_of(&self, node: usize) -> &FaultProxy {
        &self.nodes[node].store
    }

    fn policy(&self, node: &Node) -> String {
        format!(
            "\
version: 1
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 8MiB, secret_file: ./secret, share: {{ redis: \"redis://{}\" }} }}
routes:
  - {{ name: everything, path: \"/{{*rest}}\", upstream: api }}
rules:
{}gateway:
  listen: [ {{ address: 127.0.0.1:0 }} ]
  upstreams: {{ api: {{ servers: [\"{}\"] }} }}
",
            node.store.address(),
            self.limit.rule(),
            self.upstream.address()
        )
    }

    /// Waits until it is so of every node that is alive.
    fn until(&self, what: &str, is_so: impl Fn(&Node) -> bool) {
        let all = || self.nodes.iter().all(&is_so);
        poll::until_true(what, PATIENCE, all).expect("it comes to be so");
    }

    /// Holds all that was decided to what is promised: safety of what reached the upstream, no 5xx, each admission there once, every
    /// request answered or cut off, and processes within their bounds. Tells what was told.
    pub(crate) fn assert_holds(&self, mishaps: Mishaps) -> Report {
        let held = self.seen.held.load(Ordering::Relaxed);
        let mishaps = Mishaps {
            lost: mishaps.lost + held,
            ..mishaps
        };
        let longest = self.seen.longest();
        let bound = self.limit.bound(self.nodes.len(), mishaps, longest);
        let safe = self.seen.passed.check(&Expected::new().bound(bound));
        assert!(
            safe.holds(),
            "{safe}\nwith {bound:?}, the longest request {longest:?}, {held} held"
        );

        let cut = self.seen.cut.load(Ordering::Relaxed);
        let told = self.seen.told.check(&Expected::new().upstream(safe.tally.allowed, cut));
        assert!(told.holds(), "{told}\nwith {cut} cut");
        assert_eq!(self.seen.hung.load(Ordering::Relaxed), 0, "answered or closed");
        for node in &self.nodes {
            node.with(|running| assert_within_bounds(running.pid()));
        }
        told
    }

    /// What the calm clients were told.
    pub(crate) fn calm(&self) -> Tally {
        self.seen.told.tally(|told| told.key == u64::from(CALM))
    }

    /// Requests that were under way while their node stood still, and what they were told.
    pub(crate) fn held(&self) -> u64 {
        self.seen.held.load(Ordering::Relaxed)
    }

    /// Answers of a node so far.
    pub(crate) fn answered(&self, node: u32) -> u64 {
        self.seen
            .told
            .tally(|told| told.node == node && told.answer != Answer::Fail)
            .all()
    }
}

impl Node {
    /// Looks at its process.
    fn with<T>(&self, look: impl FnOnce(&Running) -> T) -> T {
        look(
            self.running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .expect("it is alive"),
        )
    }

    fn admin(&self, path: &str) -> String {
        get(self.with(|running| running.admin), path).1
    }
}

/// Ends the load when dropped.
struct Over<'a>(&'a End);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.say();
    }
}

fn start(policy: &str) -> Running {
    let folder = TempDir::new().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "11".repeat(32)).expect("a file of ours");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    fs::write(folder.path().join(FILE), policy).expect("a file of ours");
    Running::with_folder(folder, "warn").read_on()
}

/// I5: neither what it waited for nor what it could not tell the store has piled up.
fn assert_within_bounds(pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is alive");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: u64 = resident.and_then(|kilobytes| kilobytes.parse().ok()).expect("a number");
    assert!(resident <= RESIDENT_KB_MAX, "{resident} kB in memory");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is alive").count();
    assert!(files <= FILES_MAX, "{files} open files");
}

/// Of a build for tests, with 8 MiB of state and a few threads.
const RESIDENT_KB_MAX: u64 = 128 << 10;

/// Four clients, as many connections to the upstream, one to the store and one that is made anew, listeners and pollers of each core.
const FILES_MAX: usize = 256;

/// In how many half seconds a limit has to be accurate again once: noise takes a few, a lock-out all.
const HALVES_TRIED: usize = 20;

/// For what hangs.
const PATIENCE: Duration = Duration::from_secs(30);

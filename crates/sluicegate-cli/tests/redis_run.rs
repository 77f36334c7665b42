//! `sluicegate run` with limits that nodes share: real gateways, real requests, a real `redis-server`.

#[path = "run/process.rs"]
#[allow(dead_code, reason = "the other tests of `run` use the rest")]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use process::{FILE, Running, get};
use sluicegate_testkit::poll;
use sluicegate_testkit::redis::{RedisOptions, RedisServer};
use sluicegate_testkit::upstream::{Upstream, ok};
use tempfile::TempDir;

/// A word that no output may hold.
const CANARY: &str = "canary-4f1d-hunter2";

/// Node secrets.
const OURS: &str = "11";
const THEIRS: &str = "22";

/// One node: its gateway runs with a limit of 5/h for each client, and whatever `rules` add.
struct Node {
    running: Running,
}

/// What nodes differ in.
struct Fleet<'a> {
    upstream: &'a Upstream,
    store: String,
    rules: &'a str,
}

impl Fleet<'_> {
    /// Starts a node with the secret of these two digits.
    fn node(&self, secret: &str) -> Node {
        let folder = TempDir::new().expect("a folder");
        write_secretly(&folder.path().join("secret"), &secret.repeat(32));
        write_secretly(&folder.path().join("password"), CANARY);
        let text = format!(
            "\
version: 1
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 8MiB, secret_file: ./secret, share: {{ {} }} }}
routes:
  - {{ name: everything, path: \"/{{*rest}}\", upstream: api }}
rules:
{}
gateway:
  listen: [ {{ address: 127.0.0.1:0 }} ]
  upstreams: {{ api: {{ servers: [\"{}\"] }} }}
",
            self.store,
            self.rules,
            self.upstream.address()
        );
        fs::write(folder.path().join(FILE), text).expect("a file of ours");
        Node {
            running: Running::with_folder(folder, "trace").read_on(),
        }
    }

    /// Starts so many nodes, and returns when each knows of all.
    fn nodes<const COUNT: usize>(&self) -> [Node; COUNT] {
        let nodes = [(); COUNT].map(|()| self.node(OURS));
        for node in &nodes {
            node.wait_for("sluicegate_sharing_nodes", &format!("{COUNT}.0"));
            node.wait_until_together();
        }
        nodes
    }
}

impl Node {
    fn admits(&self) -> bool {
        let status = get(self.running.gateway, "/").0;
        assert!(matches!(status, 200 | 429), "answered by {status}");
        status == 200
    }

    fn admin(&self, path: &str) -> String {
        get(self.running.admin, path).1
    }

    /// A number of the metrics, as it stands there; with its labels where it has some.
    fn metric(&self, name: &str) -> Option<String> {
        let metrics = self.admin("/metrics");
        let mut lines = metrics.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
    }

    #[track_caller]
    fn wait_for(&self, name: &str, value: &str) {
        let what = format!("{name} is {value}");
        let is_so = || self.metric(name).as_deref() == Some(value);
        poll::until_true(&what, PATIENCE, is_so).expect("the metric comes to be so");
    }

    #[track_caller]
    fn wait_until(&self, standing: &str) {
        let expected = format!("\"standing\":\"{standing}\"");
        let is_so = || self.admin("/sharing").contains(&expected);
        poll::until_true(&expected, PATIENCE, is_so).expect("the store comes to stand so");
    }

    #[track_caller]
    fn wait_until_together(&self) {
        self.wait_until("together");
    }

    /// Ends in good order; gives back what it logged.
    fn end(self) -> String {
        self.running.signal("TERM");
        let (code, log) = self.running.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }
}

/// For what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn write_secretly(path: &Path, text: &str) {
    fs::write(path, text).expect("a file of ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a file of ours");
}

fn upstream() -> Upstream {
    Upstream::answering(|_| ok("ok")).expect("an upstream")
}

fn at(address: SocketAddr) -> String {
    format!("redis: \"redis://{address}\"")
}

const LOGIN: &str = "  - { name: login, key: ip, limit: 5/h }";

/// How many of `requests` pass, put to the nodes in turn.
fn admitted(nodes: &[&Node], requests: usize) -> usize {
    nodes.iter().cycle().take(requests).filter(|node| node.admits()).count()
}

/// That five have passed. On a machine so busy that a server's answer took longer than a twentieth of a second, that was an outage, of
/// which one burst more at most is promised.
#[track_caller]
fn assert_one_limit(passed: usize, nodes: &[&Node]) {
    let failed = |node: &&Node| {
        ["undone", "unknown"].iter().any(|outcome| {
            let calls = format!("sluicegate_sharing_calls_total{{outcome=\"{outcome}\"}}");
            node.metric(&calls).as_deref() != Some("0")
        })
    };
    if nodes.iter().any(failed) {
        assert!(
            (5..=10).contains(&passed),
            "{passed} of 5, and calls to the store had failed"
        );
    } else {
        assert_eq!(passed, 5);
    }
}

#[test]
fn two_gateways_with_one_limit_admit_it_once() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: LOGIN,
    };
    let [one, two] = fleet.nodes();
    let passed = admitted(&[&one, &two], 30);
    assert_one_limit(passed, &[&one, &two]);
    assert_eq!(
        upstream.requests().len(),
        passed,
        "what is refused does not reach the upstream"
    );
    let log = one.end();
    assert!(log.contains("limits are shared nodes="), "{log}");
    drop(two);
}

#[test]
fn a_node_that_starts_without_its_store_answers_by_its_share_and_joins_it_when_it_comes() {
    let store = RedisServer::start().expect("a server");
    store.kill().expect("a server of ours");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: format!("{}, fanout: 2", at(store.address())),
        rules: LOGIN,
    };
    let node = fleet.node(OURS);
    let alone = admitted(&[&node], 10);
    assert!(
        (1..5).contains(&alone),
        "{alone}: a part of the limit, and not all of it"
    );
    assert!(
        node.admin("/sharing").contains("\"standing\":\"unmet\""),
        "{}",
        node.admin("/sharing")
    );
    let (status, readiness) = get(node.running.admin, "/readyz");
    assert_eq!(status, 200, "it goes on by its share: {readiness}");
    assert!(readiness.contains(r#""store":{"standing":"unmet"}"#), "{readiness}");
    assert_eq!(
        node.metric(&format!("sluicegate_store_connected{{server=\"{}\"}}", store.address()))
            .as_deref(),
        Some("0")
    );
    store.restart_empty().expect("a server of ours");
    node.wait_until_together();
    // What passed by the share was told to the store: the limit is not there once more.
    let after = admitted(&[&node], 30);
    assert!(alone + after <= 6, "{alone} before, {after} after");
    let log = node.end();
    assert!(log.contains("limits are shared nodes=1"), "{log}");
}

#[test]
fn a_node_that_stops_gives_back_what_it_holds() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: "  - { name: everyone, key: [], limit: 100/h burst 100, sharing: leased }",
    };
    let [one, two] = fleet.nodes();
    assert_eq!(admitted(&[&one], 10), 10);
    let held = one
        .metric("sluicegate_sharing_outstanding_units")
        .and_then(|units| units.parse().ok());
    let held: f64 = held.expect("a number");
    assert!(held >= 1.0, "{held} units held: nothing that could be given back");
    assert!(outstanding(&store) >= 1.0, "the store knows of them");
    one.end();
    // By the store's own value, at the moment when the process is gone. By itself it would come back after ten seconds.
    let left = outstanding(&store);
    assert!(left < 1e-6, "{left} units are still out on leases");
    // The other may take them at once. It asks again after two seconds at most where it was refused, and one unit may be lost to rounding.
    let mut passed = 0;
    let rest = || {
        passed += admitted(&[&two], 10);
        passed >= 89
    };
    poll::until_true("what is left of the limit", Duration::from_secs(7), rest).expect("it is given back");
}

/// Units that are out on leases, by the value of the only key that the store holds: the fourth and fifth of its six numbers.
fn outstanding(store: &RedisServer) -> f64 {
    let names = store
        .command(&["KEYS", "sg:{??}:????????????????"])
        .expect("it answers");
    let [name] = names.elements() else {
        unreachable!("one rule has one key, and not {names:?}");
    };
    let value = store
        .command(&[&b"GET"[..], name.bytes().expect("a name")])
        .expect("it answers");
    let value = value.bytes().expect("a value");
    assert_eq!(value.len(), 48);
    let number = |place: usize| {
        let bytes = value[8 * place..][..8].try_into().expect("eight bytes");
        f64::from_le_bytes(bytes)
    };
    number(3) + number(4)
}

#[test]
fn a_lost_store_and_its_return_are_told_once_each_and_leave_the_limit_held() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: LOGIN,
    };
    let [one, two] = fleet.nodes();
    assert_one_limit(admitted(&[&one, &two], 10), &[&one, &two]);
    store.kill().expect("a server of ours");
    one.wait_until("away");
    two.wait_until("away");
    // On each node what it knows was used stays so; the share of the limit may pass once more.
    let while_away = admitted(&[&one, &two], 20);
    assert!(while_away <= 5, "{while_away}: more than one more burst");
    let told = || one.admin("/readyz").contains(r#""store":{"standing":"away"}"#);
    poll::until_true("the store is told to be away", PATIENCE, told).expect("it is");
    // It is asked ten times a second whether it is back: twenty times later, it has been away for longer than goes without a line.
    let server = format!(
        "sluicegate_store_call_failures_total{{server=\"{}\",reason=\"not_sent\"}}",
        store.address()
    );
    let asked = || {
        one.metric(&server)
            .and_then(|count| count.parse::<u64>().ok())
            .is_some_and(|count| count > 20)
    };
    poll::until_true("it is asked twenty times", PATIENCE, asked).expect("it is");
    store.restart_empty().expect("a server of ours");
    one.wait_until_together();
    let log = one.end();
    for line in ["the store is away", "limits are shared again"] {
        assert_eq!(log.matches(line).count(), 1, "{line}:\n{log}");
    }
}

#[test]
fn a_node_with_another_secret_is_told_so_and_keeps_its_limits_alone() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: LOGIN,
    };
    let [one] = fleet.nodes();
    let stranger = fleet.node(THEIRS);
    stranger.wait_until("foreign");
    assert_eq!(
        stranger.metric("sluicegate_sharing_foreign_secret").as_deref(),
        Some("1")
    );
    assert_eq!(one.metric("sluicegate_sharing_foreign_secret").as_deref(), Some("0"));
    // The stranger takes nothing of it.
    assert_one_limit(admitted(&[&one], 10), &[&one]);
    let log = stranger.end();
    let error = log
        .lines()
        .find(|line| line.contains("used by nodes with another secret"));
    assert!(
        error.is_some_and(|line| line.contains("ERROR") && line.contains("state.secret_file")),
        "{log}"
    );
}

#[test]
fn rules_that_refuse_without_the_store_make_a_node_without_it_unready() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: "  - { name: login, key: ip, limit: 5/h, on_store_loss: closed }\n  - { name: own, key: ip, limit: 50/h, sharing: local }",
    };
    let [node] = fleet.nodes();
    assert_eq!(get(node.running.admin, "/readyz").0, 200);
    store.kill().expect("a server of ours");
    node.wait_until("away");
    let (status, readiness) = get(node.running.admin, "/readyz");
    assert_eq!(status, 503, "{readiness}");
    assert!(
        readiness.contains("every rule that is shared refuses without it"),
        "{readiness}"
    );
    store.restart_empty().expect("a server of ours");
    node.wait_until_together();
    assert_eq!(get(node.running.admin, "/readyz").0, 200);
}

#[test]
fn the_sharing_page_tells_of_the_store_and_of_each_rule() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: "  - { name: login, key: ip, limit: 5/h }\n  - { name: wide, key: ip, limit: 1000/s }\n  - { name: own, key: ip, limit: 50/h, sharing: local }",
    };
    let [one, two] = fleet.nodes();
    assert_one_limit(admitted(&[&one, &two], 10), &[&one, &two]);
    let page = one.admin("/sharing");
    for part in [
        r#""nodes":2.0"#,
        r#""lanes":1,"lanes_up":1"#,
        r#""foreign_secret":false"#,
        &format!(r#""server":"{}","breaker":"closed""#, store.address()),
        r#""may_evict":false"#,
        r#"{"rule":"login","mode":"leased","nodes":2,"allowance":null,"excess_units":0,"excess_rate":0.0,"on_store_loss":"local"}"#,
        r#"{"rule":"wide","mode":"hybrid","nodes":2,"allowance":50,"excess_units":100,"excess_rate":0.05,"on_store_loss":"local"}"#,
        r#"{"rule":"own","mode":"local","nodes":2,"allowance":null,"excess_units":50,"excess_rate":1.0,"on_store_loss":null}"#,
    ] {
        assert!(page.contains(part), "no {part} in:\n{page}");
    }
    let metrics = one.admin("/metrics");
    let server = store.address();
    for line in [
        "sluicegate_sharing_nodes 2.0".to_owned(),
        "sluicegate_sharing_lanes 1".to_owned(),
        "sluicegate_sharing_lanes_up 1".to_owned(),
        "sluicegate_sharing_foreign_secret 0".to_owned(),
        format!("sluicegate_store_connected{{server=\"{server}\"}} 1"),
        format!("sluicegate_store_breaker{{server=\"{server}\",state=\"closed\"}} 1"),
        format!("sluicegate_store_connections_total{{server=\"{server}\"}} 1"),
        format!("sluicegate_store_call_failures_total{{server=\"{server}\",reason=\"refused\"}} 0"),
        format!("sluicegate_store_may_evict{{server=\"{server}\"}} 0"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
}

/// The heartbeat goes to the first server that is there, so that nothing else would ask the one that is gone.
#[test]
fn a_server_of_a_ring_that_is_gone_is_missed_without_any_traffic() {
    let servers = [(); 3].map(|()| RedisServer::start().expect("a server"));
    let urls = servers
        .each_ref()
        .map(|server| format!("\"redis://{}\"", server.address()));
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: format!("redis: [{}]", urls.join(", ")),
        rules: LOGIN,
    };
    let [node] = fleet.nodes();
    node.wait_for("sluicegate_sharing_lanes_up", "3");
    // It takes calls and answers none, and its connection stands.
    servers[2].pause().expect("a server of ours");
    node.wait_for("sluicegate_sharing_lanes_up", "2");
    node.wait_until("partly");
    let (status, readiness) = get(node.running.admin, "/readyz");
    assert_eq!(status, 200, "{readiness}");
    assert!(readiness.contains(r#""standing":"partly""#), "{readiness}");
    servers[2].resume().expect("a server of ours");
    node.wait_for("sluicegate_sharing_lanes_up", "3");
    node.wait_until_together();
    servers[1].kill().expect("a server of ours");
    node.wait_for("sluicegate_sharing_lanes_up", "2");
    node.wait_until("partly");
    servers[1].restart_empty().expect("a server of ours");
    node.wait_until_together();
    assert!(upstream.requests().is_empty(), "nobody has asked anything");
}

#[test]
fn another_store_in_the_policy_file_needs_a_restart_and_the_one_in_use_stays() {
    let store = RedisServer::start().expect("a server");
    let upstream = upstream();
    let fleet = Fleet {
        upstream: &upstream,
        store: at(store.address()),
        rules: LOGIN,
    };
    let [node] = fleet.nodes();
    let text = fs::read_to_string(node.running.file()).expect("a file of ours");
    let moved = text.replace(&store.address().to_string(), "127.0.0.1:1");
    fs::write(node.running.file(), moved).expect("a file of ours");
    let told = || node.admin("/readyz").contains("needs_restart");
    poll::until_true("the change needs a restart", PATIENCE, told).expect("it is told");
    assert!(
        node.admin("/readyz").contains("state.share"),
        "{}",
        node.admin("/readyz")
    );
    assert_eq!(node.metric("sluicegate_sharing_lanes_up").as_deref(), Some("1"));
}

#[test]
fn a_password_is_in_no_output_whether_the_server_takes_it_or_not() {
    for right in [true, false] {
        let password = if right { CANARY } else { "another" };
        let store = RedisOptions::new().password(password).start().expect("a server");
        let upstream = upstream();
        let fleet = Fleet {
            upstream: &upstream,
            store: format!("{}, password_file: ./password", at(store.address())),
            rules: LOGIN,
        };
        let node = fleet.node(OURS);
        if right {
            node.wait_until_together();
        } else {
            // When the server has refused the second time, the node has told of the first.
            let twice = || store.stats_of("hello").is_ok_and(|stats| stats.calls >= 2);
            poll::until_true("the server refuses", PATIENCE, twice).expect("it does");
        }
        let shown = [node.admin("/metrics"), node.admin("/sharing"), node.admin("/readyz")].concat();
        let log = node.end();
        assert!(log.contains("DEBUG") || log.contains("TRACE"), "all levels are on");
        for digits in [CANARY, "hunter2", &OURS.repeat(32)] {
            assert!(!shown.contains(digits), "in the admin pages:\n{shown}");
            assert!(!log.contains(digits), "in the log:\n{log}");
        }
        if !right {
            assert!(log.contains("WRONGPASS") || log.contains("refused"), "{log}");
        }
    }
}

#[test]
fn a_password_that_is_not_there_keeps_the_doors_shut() {
    let folder = TempDir::new().expect("a folder");
    write_secretly(&folder.path().join("secret"), &OURS.repeat(32));
    let text = "version: 1\nstate: { memory: 1MiB, secret_file: ./secret, share: { redis: \"redis://127.0.0.1:1\", password_file: ./missing } }\ngateway: { listen: [ { address: 127.0.0.1:0 } ], upstreams: { api: { servers: [\"127.0.0.1:1\"] } } }\nrules: [ { name: a, key: ip, limit: 5/h } ]\n";
    let file = folder.path().join(FILE);
    fs::write(&file, text).expect("a file of ours");
    let output = process::binary()
        .args(["run", "-c"])
        .arg(&file)
        .output()
        .expect("built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("limits cannot be shared: the password in ") && said.contains("missing"),
        "{said}"
    );
}

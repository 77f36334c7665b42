//! The admin listener as a scraper, a health check and a hostile page see it: over a real socket.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluicegate::policy::Policy;
use sluicegate_admin::{
    Admin, AdminError, Console, PolicyFile, Readiness, Readings, Reload, Reloaded, Reloads, Source, catalogue,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

#[derive(Debug)]
struct One;

impl Source for One {
    fn read(&self, readings: &mut Readings) {
        readings.whole(&catalogue::BUILD, &["test"], 1);
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Starts a listener that lives as long as the test's runtime.
fn start(readiness: Readiness) -> SocketAddr {
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free loopback port");
    let address = admin.address();
    tokio::spawn(admin.serve(Console::new(vec![Arc::new(One)], readiness, None, None), pending()));
    address
}

async fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("the listener is bound");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the request is small");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("the answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn each_page_answers_with_its_own_type_and_anything_else_is_not_found() {
    let readiness = Readiness::new();
    let address = start(readiness);
    for (path, status, content_type, holds) in [
        ("/", 200, "text/html; charset=utf-8", "/metrics"),
        (
            "/metrics",
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "sluicegate_build_info{version=\"test\"} 1\n",
        ),
        ("/healthz", 200, "text/plain; charset=utf-8", "ok"),
        ("/admin", 404, "text/plain; charset=utf-8", "nothing here"),
        ("//metrics", 404, "text/plain; charset=utf-8", "nothing here"),
    ] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {content_type}")),
            "{path}: {}",
            answer.head
        );
        assert!(answer.body.contains(holds), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn no_answer_may_be_kept_framed_or_guessed_at() {
    let address = start(Readiness::new());
    for path in ["/", "/metrics", "/healthz", "/readyz", "/nowhere"] {
        let head = get(address, path).await.head;
        for line in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(line), "{path} has no {line}: {head}");
        }
    }
}

#[tokio::test]
async fn readiness_is_told_with_its_reason_at_every_stage() {
    let readiness = Readiness::new();
    let address = start(readiness.clone());

    let answer = get(address, "/readyz").await;
    assert_eq!(
        (answer.status, answer.body.contains(r#""stage":"starting""#)),
        (503, true),
        "{}",
        answer.body
    );
    readiness.ready();
    let answer = get(address, "/readyz").await;
    assert_eq!(
        (answer.status, answer.body.contains(r#""ready":true"#)),
        (200, true),
        "{}",
        answer.body
    );
    readiness.draining();
    let answer = get(address, "/readyz").await;
    assert_eq!(
        (answer.status, answer.body.contains(r#""stage":"draining""#)),
        (503, true),
        "{}",
        answer.body
    );
    assert_eq!(get(address, "/healthz").await.status, 200, "a draining process lives");
}

/// A page that rebinds its own name to 127.0.0.1 reads nothing (DNS rebinding).
#[tokio::test]
async fn hosts_other_than_addresses_and_localhost_are_misdirected() {
    let address = start(Readiness::new());
    let port = address.port();
    let ask = |target: &str, hosts: &[&str]| {
        let mut lines = vec![format!("GET {target} HTTP/1.1")];
        lines.extend(hosts.iter().map(|host| format!("Host: {host}")));
        lines.extend(["Connection: close".to_owned(), String::new(), String::new()]);
        lines.join("\r\n")
    };
    for (target, hosts, status) in [
        ("/healthz", &["localhost"][..], 200),
        ("/healthz", &["LOCALHOST:80"], 200),
        ("/healthz", &["127.0.0.1"], 200),
        ("/healthz", &["[::1]:9900"], 200),
        ("/healthz", &["evil.test"], 421),
        ("/healthz", &["evil.test:9900"], 421),
        ("/healthz", &["localhost.evil.test"], 421),
        ("/healthz", &["127.0.0.1.evil.test"], 421),
        ("/healthz", &["127.0.0.1@evil.test"], 421),
        ("/healthz", &[""], 421),
        ("/healthz", &["localhost", "evil.test"], 421),
        ("http://evil.test/healthz", &["localhost"], 421),
        ("http://localhost/healthz", &["evil.test"], 421),
        ("/nowhere", &["evil.test"], 421),
    ] {
        let answer = send(address, &ask(target, hosts)).await;
        assert_eq!(answer.status, status, "{target} with {hosts:?}");
    }
    let answer = send(address, &ask("/metrics", &[&format!("evil.test:{port}")])).await;
    assert!(!answer.body.contains("sluicegate_"), "a refused host reads no number");
}

#[tokio::test]
async fn nothing_can_be_written() {
    let address = start(Readiness::new());
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(send(address, &request).await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn a_told_listener_stops_and_frees_its_port() {
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free loopback port");
    let address = admin.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(
        admin.serve(Console::new(Vec::new(), Readiness::new(), None, None), async {
            let _ = stopped.await;
        }),
    );
    assert_eq!(get(address, "/healthz").await.status, 200);
    // A connection that was never used does not hold it up for longer than the deadline.
    let _idle = TcpStream::connect(address).await.expect("the listener is bound");
    stop.send(()).expect("the listener is still there");
    served.await.expect("no panic").expect("a clean stop");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}

#[test]
fn an_address_others_can_reach_is_refused_before_it_is_bound() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9900", "[::ffff:192.0.2.1]:9900"] {
        let address: SocketAddr = address.parse().expect("an address");
        let error = Admin::bind(address).expect_err("not loopback");
        assert!(
            matches!(error, AdminError::NotLoopback { address: told } if told == address),
            "{error}"
        );
    }
}

#[test]
fn a_taken_address_is_named_in_the_error() {
    let first = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free loopback port");
    let error = Admin::bind(first.address()).expect_err("taken");
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

/// A policy file that always reads the same.
#[derive(Debug)]
struct Always {
    reloaded: Arc<Reloaded>,
    asked: AtomicUsize,
    /// More than this wait for no answer.
    most: usize,
}

impl Reload for Always {
    fn reload(&self) -> Option<oneshot::Receiver<Arc<Reloaded>>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let (tell, told) = oneshot::channel();
        tell.send(Arc::clone(&self.reloaded)).expect("it is still there");
        (asked < self.most).then_some(told)
    }
}

/// A listener with a policy file, which reads as `reloaded` says.
fn start_with_file(reloaded: Reloaded) -> (SocketAddr, Arc<Always>) {
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free loopback port");
    let address = admin.address();
    let (reloads, reloaded) = (Reloads::new(1, Duration::from_secs(5)), Arc::new(reloaded));
    reloads.note(Arc::clone(&reloaded), 1, Duration::from_secs(9));
    let reload = Arc::new(Always {
        reloaded,
        asked: AtomicUsize::new(0),
        most: 2,
    });
    let readiness = Readiness::new();
    readiness.ready();
    let file = PolicyFile {
        reload: Arc::<Always>::clone(&reload),
        reloads: reloads.clone(),
    };
    let console = Console::new(vec![Arc::new(reloads)], readiness, Some(file), None);
    tokio::spawn(admin.serve(console, pending()));
    (address, reload)
}

async fn post(address: SocketAddr, fields: &str) -> Answer {
    let fields = fields.replace("{address}", &address.to_string());
    send(
        address,
        &format!("POST /reload HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"),
    )
    .await
}

fn faulty() -> Reloaded {
    let text = "version: 1\nrules:\n  - { name: a, key: ip, limit: 5/fortnight }\nx: 1\ny: 2\nz: 3\nw: 4\n";
    Reloaded::Faulty(Policy::parse("policy.yaml", text).expect_err("no such unit"))
}

#[tokio::test]
async fn who_asks_for_a_reload_is_told_what_came_of_it() {
    let problem = || "no room".to_owned();
    let needs = || Policy::parse("policy.yaml", "version: 2").expect_err("no such version");
    for (reloaded, status, holds) in [
        (
            Reloaded::Applied { warnings: Vec::new() },
            200,
            r#"{"ok":true,"outcome":"applied","generation":1,"#,
        ),
        (Reloaded::Unchanged, 200, r#"{"ok":true,"outcome":"unchanged","#),
        (faulty(), 422, r#""place":"rules[0].limit","line":3,"column":32,"#),
        (faulty(), 422, r#""faults_omitted":0"#),
        (Reloaded::NeedsRestart(needs()), 409, r#""outcome":"needs_restart","#),
        (
            Reloaded::Unreadable {
                problem: problem(),
                remedy: "r",
            },
            409,
            r#""problem":"no room","remedy":"r""#,
        ),
        (
            Reloaded::Failed { problem: problem() },
            500,
            r#"{"ok":false,"outcome":"failed","#,
        ),
    ] {
        let (address, _) = start_with_file(reloaded);
        let answer = post(address, "Host: {address}\r\n").await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(holds), "{holds}: {}", answer.body);
        assert!(
            answer.head.contains("content-type: application/json"),
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn a_faulty_file_is_named_where_readiness_is_told_and_makes_nobody_less_ready() {
    let (address, _) = start_with_file(faulty());
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for holds in [
        r#""ready":true"#,
        r#""policy":{"ok":false,"outcome":"faulty""#,
        r#""line":3"#,
        r#""faults_omitted":2"#,
    ] {
        assert!(answer.body.contains(holds), "{holds}: {}", answer.body);
    }
    let metrics = get(address, "/metrics").await.body;
    for line in [
        r#"sluicegate_config_reload_failures_total{reason="faulty"} 1"#,
        "sluicegate_config_file_in_force 0",
        "sluicegate_config_generation 1",
        "sluicegate_config_applied_timestamp_seconds 5.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
}

/// T48: a page that somebody visits can make the browser send a POST here; it reads nothing and changes nothing.
#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let (address, reload) = start_with_file(Reloaded::Unchanged);
    for (fields, status) in [
        ("Host: {address}\r\nOrigin: http://evil.test\r\n", 403),
        ("Host: {address}\r\nOrigin: null\r\n", 403),
        ("Host: {address}\r\nOrigin: https://{address}\r\n", 403),
        (
            "Host: {address}\r\nOrigin: http://{address}\r\nOrigin: http://evil.test\r\n",
            403,
        ),
        ("Host: localhost:1\r\nOrigin: http://localhost:2\r\n", 403),
        ("Origin: http://\r\n", 403),
        ("Host: {address}\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Host: {address}\r\nSec-Fetch-Site: same-site\r\n", 403),
        ("Host: evil.test\r\n", 421),
        ("Host: evil.test\r\nOrigin: http://evil.test\r\n", 421),
        ("Host: {address}\r\nContent-Type: text/plain\r\n", 415),
        (
            "Host: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            415,
        ),
    ] {
        assert_eq!(post(address, fields).await.status, status, "{fields}");
    }
    assert_eq!(
        get(address, "/reload").await.status,
        405,
        "reading it is no way to change anything"
    );
    assert_eq!(reload.asked.load(Ordering::SeqCst), 0);
    let ours = "Host: {address}\r\nOrigin: http://{address}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json; charset=utf-8\r\n";
    assert_eq!(post(address, ours).await.status, 200);
    assert_eq!(
        post(address, "Host: {address}\r\nSec-Fetch-Site: none\r\n")
            .await
            .status,
        200
    );
    assert_eq!(post(address, "Host: {address}\r\n").await.status, 503, "too many wait");
}

#[tokio::test]
async fn without_a_policy_file_there_is_nothing_to_reload() {
    let address = start(Readiness::new());
    assert_eq!(post(address, "Host: {address}\r\n").await.status, 404);
    assert!(!get(address, "/readyz").await.body.contains("policy"));
}

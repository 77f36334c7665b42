//! The admin listener as a scraper, a health check and a hostile page see it: over a real socket.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use sluicegate_admin::{Admin, AdminError, Console, Readiness, Readings, Source, catalogue};
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
    tokio::spawn(admin.serve(Console::new(vec![Arc::new(One)], readiness), pending()));
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
    let served = tokio::spawn(admin.serve(Console::new(Vec::new(), Readiness::new()), async {
        let _ = stopped.await;
    }));
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

//! Requests whose body decides: it is read in the gateway, within bounds, and the server hears of them only then.

mod support;

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{Running, gateway_with, upstreams};

const RULES: &str = "rules:\n  - { name: by-body, key: ip, limit: 1M/s }\n";
const STUB: &str = "X-Stub-Body: 2048\r\n";

fn recording() -> Upstream {
    Upstream::answering(|request| ok(&request.text())).expect("a free port")
}

fn reading(upstream: &Upstream, lines: &str) -> Running {
    gateway_with(&format!("{}{lines}", upstreams(&[upstream])), RULES)
}

fn head(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{STUB}{fields}\r\n")
}

#[test]
fn the_server_hears_of_it_when_the_body_is_here_and_gets_all_of_it() {
    let upstream = recording();
    let gateway = reading(&upstream, "");
    let mut client = gateway.client();
    client.send(head("Transfer-Encoding: chunked\r\n").as_bytes());
    client.send(b"5\r\nfirst\r\n");
    assert_eq!(
        gateway.ask(&(head("Content-Length: 4\r\n") + "deny")).status(),
        Some(429)
    );
    assert_eq!(gateway.ask("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(200));
    assert_eq!(upstream.requests().len(), 1);
    client.send(b"5\r\n last\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).text(), "first last");
    let answer = client.ask(&(head("Content-Length: 5\r\n") + "whole"));
    assert_eq!(answer.text(), "whole");
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(
        (seen.header("content-length"), seen.text().as_str()),
        (Some("5"), "whole")
    );
    assert_eq!(gateway.traffic.connections_accepted(), 3);
}

#[test]
fn a_client_that_expects_to_be_told_is_told_before_its_body_is_read() {
    let upstream = recording();
    let gateway = reading(&upstream, "");
    let mut client = gateway.client();
    client.send(head("Expect: 100-continue\r\nContent-Length: 5\r\n").as_bytes());
    assert_eq!(client.answer_head().status(), Some(100));
    client.send(b"whole");
    let answer = client.answer(ReadBody::Whole);
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "whole"));
    assert!(upstream.last().is_some_and(|seen| seen.lines("expect").is_empty()));
    // It says itself that it is not worth sending.
    client.send(head("Expect: 100-continue\r\nContent-Length: 2049\r\n").as_bytes());
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(413));
    assert!(client.is_closed());
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_body_that_is_too_large_or_cannot_be_read_is_the_clients_fault() {
    let upstream = recording();
    let gateway = reading(&upstream, "caps: { body_bytes: 1KiB }");
    for (fields, body, status) in [
        ("Content-Length: 2049\r\n", "x".repeat(2049), 413),
        (
            "Transfer-Encoding: chunked\r\n",
            format!("801\r\n{}\r\n0\r\n\r\n", "x".repeat(2049)),
            413,
        ),
        // Above the cap of the gateway, within that of the rule.
        (
            "Transfer-Encoding: chunked\r\n",
            format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025)),
            413,
        ),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n".to_owned(), 400),
        ("Content-Length: 1\r\n", "!".to_owned(), 400),
    ] {
        let answer = gateway.ask(&(head(fields) + &body));
        assert_eq!(answer.status(), Some(status), "{fields}{body}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_body_that_stops_coming_is_a_408_and_one_whose_client_leaves_is_forgotten() {
    let upstream = recording();
    let gateway = reading(&upstream, "deadlines: { request_body_idle: 150ms }");
    let mut client = gateway.client();
    client.send(head("Content-Length: 5\r\n").as_bytes());
    client.send(b"1");
    let answer = client.answer(ReadBody::Whole);
    assert_eq!(
        (answer.status(), answer.header("cache-control")),
        (Some(408), Some("no-store"))
    );
    assert!(client.is_closed());

    let mut client = gateway.client();
    client.send(head("Content-Length: 5\r\n").as_bytes());
    drop(client);
    while gateway.traffic.connections_now() > 0 {
        std::thread::yield_now();
    }
    assert!(upstream.requests().is_empty());
}

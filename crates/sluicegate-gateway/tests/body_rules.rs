//! Requests whose body decides: it is read in the gateway, within bounds, and the server hears of them only then.

mod support;

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{Running, gateway_with, upstreams};

/// One request for each user of its body, which is read up to 2 KiB.
const RULES: &str = "identity: { body_bytes: 2KiB }\nroutes:\n  - { name: form, methods: POST, path: /, upstream: all }\n\
                     \x20 - { name: rest, path: \"/{*rest}\", upstream: all }\n\
                     rules:\n  - { name: by-user, routes: form, key: body./user, limit: 1/d }\n";

fn recording() -> Upstream {
    Upstream::answering(|request| ok(&request.text())).expect("a free port")
}

fn reading(upstream: &Upstream, lines: &str) -> Running {
    gateway_with(&format!("{}{lines}", upstreams(&[upstream])), RULES)
}

fn head(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n{fields}\r\n")
}

#[test]
fn the_server_hears_of_it_when_the_body_is_here_and_gets_all_of_it() {
    let upstream = recording();
    let gateway = reading(&upstream, "");
    let mut client = gateway.client();
    client.send(head("Transfer-Encoding: chunked\r\n").as_bytes());
    client.send(b"5\r\nuser=\r\n");
    let bob = head("Content-Length: 8\r\n") + "user=bob";
    assert_eq!(gateway.ask(&bob).status(), Some(200));
    assert_eq!(gateway.ask(&bob).status(), Some(429));
    assert_eq!(gateway.get("/other").status(), Some(200));
    assert_eq!(upstream.requests().len(), 2);
    client.send(b"3\r\nann\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).text(), "user=ann");
    let answer = client.ask(&(head("Content-Length: 8\r\n") + "user=eve"));
    assert_eq!(answer.text(), "user=eve");
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(
        (seen.header("content-length"), seen.text().as_str()),
        (Some("8"), "user=eve")
    );
    assert_eq!(gateway.traffic.connections_accepted(), 4);
}

#[test]
fn a_client_that_expects_to_be_told_is_told_before_its_body_is_read() {
    let upstream = recording();
    let gateway = reading(&upstream, "");
    let mut client = gateway.client();
    client.send(head("Expect: 100-continue\r\nContent-Length: 8\r\n").as_bytes());
    assert_eq!(client.answer_head().status(), Some(100));
    client.send(b"user=ann");
    let answer = client.answer(ReadBody::Whole);
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "user=ann"));
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
        ("Content-Length: 13\r\n", "user=a&user=b".to_owned(), 400),
        (
            "Content-Encoding: gzip\r\nContent-Length: 6\r\n",
            "user=a".to_owned(),
            415,
        ),
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

//! Limits in the gateway's request path: what a refused client reads, and what it cannot get around.

mod support;

use sluicegate_testkit::upstream::{Message, ReadBody, Upstream, ok};
use support::{Running, gateway_with, upstreams};

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

/// Three requests an hour for each client: no test lives to see a fourth.
fn limited(upstream: &Upstream, more: &str) -> Running {
    let rules = format!("{more}rules:\n  - {{ name: per-client, key: ip, limit: 3/h }}\n");
    gateway_with(&upstreams(&[upstream]), &rules)
}

#[track_caller]
fn statuses(answers: &[Message]) -> Vec<u16> {
    answers
        .iter()
        .map(|answer| answer.status().expect("an answer has a status"))
        .collect()
}

#[test]
fn a_client_above_its_limit_is_refused_and_told_so_and_the_upstream_hears_nothing() {
    let upstream = recording();
    let gateway = limited(&upstream, "");
    let mut client = gateway.client();
    let answers: Vec<_> = (0..5)
        .map(|_| client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    assert_eq!(statuses(&answers), [200, 200, 200, 429, 429]);
    assert_eq!(upstream.requests().len(), 3);
    for answer in &answers {
        assert!(
            answer.header("ratelimit").is_some() && answer.header("ratelimit-policy").is_some(),
            "{answer:?}"
        );
    }
    let refused = &answers[4];
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.text().contains("per-client"));
}

#[test]
fn a_refused_head_has_all_the_headers_and_no_body() {
    let upstream = recording();
    let gateway = limited(&upstream, "");
    let mut client = gateway.client();
    for _ in 0..3 {
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let head = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let get = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status(), get.status()), (Some(429), Some(429)));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[test]
fn a_refused_client_with_a_body_reads_its_answer_and_may_go_on() {
    let upstream = recording();
    let gateway = limited(&upstream, "");
    let mut client = gateway.client();
    for _ in 0..3 {
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // Small and already here: read and forgotten, and the connection is as good as before.
    for _ in 0..2 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(answer.status(), Some(429));
    }
    // Too large to be read for nothing: answered and closed, and the answer is not lost on the way.
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    client.send(&vec![b'x'; 3_000_000]);
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(429));
    assert!(client.is_closed());
    // Not even asked for.
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(429));
    assert!(client.is_closed());
}

#[test]
fn the_gateways_own_answers_carry_the_limits_too_and_count() {
    let upstream = recording();
    let gateway = limited(&upstream, "routes:\n  - { name: only, path: /only, upstream: all }\n");
    let mut client = gateway.client();
    let answers: Vec<_> = (0..4)
        .map(|_| client.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    assert_eq!(statuses(&answers), [404, 404, 404, 429]);
    assert!(answers.iter().all(|answer| answer.header("ratelimit").is_some()));
}

#[test]
fn what_is_no_proper_request_is_not_counted() {
    let upstream = recording();
    let gateway = limited(&upstream, "");
    for _ in 0..5 {
        assert_eq!(
            gateway.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status(),
            Some(400)
        );
        // Half a head, and gone.
        gateway.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n");
    }
    let mut client = gateway.client();
    let answers: Vec<_> = (0..4)
        .map(|_| client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    assert_eq!(statuses(&answers), [200, 200, 200, 429]);
}

/// T7, T8 and T46 of the threat list, against the key.
#[test]
fn no_header_makes_a_stranger_another_client() {
    let upstream = recording();
    let gateway = limited(&upstream, "");
    let mut client = gateway.client();
    let mut answers = Vec::new();
    for number in 0..20 {
        for name in [
            "X-Forwarded-For",
            "Forwarded",
            "X-Real-IP",
            "True-Client-IP",
            "X_Forwarded_For",
        ] {
            let value = if name == "Forwarded" {
                format!("for=198.51.100.{number}")
            } else {
                format!("198.51.100.{number}")
            };
            answers.push(client.ask(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\nConnection: x-forwarded-for, keep-alive\r\n\r\n"
            )));
        }
    }
    let admitted = answers.iter().filter(|answer| answer.status() == Some(200)).count();
    assert_eq!((admitted, answers.len(), upstream.requests().len()), (3, 100, 3));
}

#[test]
fn behind_a_trusted_hop_each_client_has_a_limit_of_its_own() {
    let upstream = recording();
    let gateway = limited(&upstream, "identity: { trusted_proxies: [127.0.0.0/8, 10.0.0.0/8] }\n");
    let mut client = gateway.client();
    let mut ask = |chain: &str| {
        client
            .ask(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {chain}\r\n\r\n"
            ))
            .status()
            .unwrap_or_default()
    };
    // The first from the right that is no proxy of ours; what stands before it is the client's own invention.
    let first: Vec<_> = (0..4)
        .map(|number| ask(&format!("203.0.113.{number}, 198.51.100.1, 10.1.1.1")))
        .collect();
    assert_eq!(first, [200, 200, 200, 429]);
    assert_eq!(ask("198.51.100.2"), 200);
}

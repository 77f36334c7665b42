//! Which server gets a request, and what a client is told when none can answer.

mod support;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::mpsc;

use sluicegate_testkit::upstream::{Upstream, ok};
use support::{PATIENCE, gateway, gateway_to, gateway_with, upstreams};

fn named(name: &'static str) -> Upstream {
    Upstream::answering(move |_| ok(name)).expect("a free port")
}

/// An address that nobody listens on. Held open by nobody, so that another test may take it; the tests that use it
/// would then see an answer of a stranger's and fail, which no run has shown.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .to_string()
}

#[test]
fn servers_share_requests_by_weight() {
    let (heavy, light) = (named("heavy"), named("light"));
    let gateway = gateway(&format!(
        "threads: 1\nupstreams: {{ all: {{ servers: [{{ address: \"{}\", weight: 3 }}, \"{}\"] }} }}",
        heavy.address(),
        light.address()
    ));
    let mut client = gateway.client();
    let mut counts = HashMap::new();
    for _ in 0..40 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([("heavy".to_owned(), 30), ("light".to_owned(), 10)])
    );
    // One client needs one connection to each.
    assert_eq!((heavy.connections(), light.connections()), (1, 1));
}

#[test]
fn a_server_that_refuses_connections_is_passed_over() {
    let alive = named("alive");
    let gateway = gateway(&format!(
        "upstreams: {{ all: {{ servers: [\"{}\", \"{}\"] }} }}",
        nobody(),
        alive.address()
    ));
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "alive");
    }
    assert_eq!(alive.requests().len(), 20);
}

#[test]
fn no_server_at_all_is_a_502() {
    let gateway = gateway(&format!(
        "upstreams: {{ all: {{ servers: [\"{}\", \"{}\"] }} }}",
        nobody(),
        nobody()
    ));
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.status(), Some(502));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.text().contains("no upstream server could be reached"));
    }
}

#[test]
fn a_server_that_breaks_off_is_a_502_and_is_not_asked_again() {
    let upstream = Upstream::scripted(|connection| connection.request().map(drop)).expect("a free port");
    let answer = gateway_to(&[&upstream]).ask("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(answer.status(), Some(502));
    assert_eq!(
        upstream.requests().len(),
        1,
        "a request that may have been carried out is not repeated"
    );
}

#[test]
fn an_answer_that_is_not_http_is_a_502() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    })
    .expect("a free port");
    let answer = gateway_to(&[&upstream]).get("/");
    assert_eq!(answer.status(), Some(502));
    assert!(!answer.text().contains("SSH"));
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    })
    .expect("a free port");
    assert_eq!(gateway_to(&[&upstream]).get("/").status(), Some(502));
}

#[test]
fn a_head_without_end_is_a_502() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"HTTP/1.1 200 OK\r\n")?;
        // Ends with an error once the gateway has had enough.
        loop {
            connection.write(b"x-more: and more and more and more and more and more\r\n")?;
        }
    })
    .expect("a free port");
    assert_eq!(gateway_to(&[&upstream]).get("/").status(), Some(502));
}

#[test]
fn a_late_answer_is_a_504() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        assert!(
            connection.is_closed_within(PATIENCE),
            "the gateway gives the connection up"
        );
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ response_head: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status(), Some(504));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // The client's connection is as good as before.
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(504));
}

#[test]
fn a_request_that_no_route_takes_is_a_404() {
    let upstream = named("here");
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "routes:\n  - { name: only, methods: [GET], path: /only, upstream: all }\n",
    );
    let mut client = gateway.client();
    assert_eq!(client.ask("GET /only HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(200));
    for request in ["GET /other HTTP/1.1", "POST /only HTTP/1.1"] {
        let answer = client.ask(&format!("{request}\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (answer.status(), answer.header("cache-control")),
            (Some(404), Some("no-store"))
        );
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn routes_choose_the_upstream() {
    let (users, items) = (named("users"), named("items"));
    let gateway = gateway_with(
        &format!(
            "upstreams: {{ users: {{ servers: \"{}\" }}, items: {{ servers: \"{}\" }} }}",
            users.address(),
            items.address()
        ),
        "routes:\n  - { name: items, path: \"/items/{id}\", upstream: items }\n  - { name: rest, path: \"/{*rest}\", upstream: users }\n",
    );
    assert_eq!(gateway.get("/items/7").text(), "items");
    assert_eq!(gateway.get("/").text(), "users");
}

#[test]
fn connections_to_a_server_are_used_again() {
    let upstream = named("here");
    let gateway = gateway(&format!("threads: 1\n{}", upstreams(&[&upstream])));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "here");
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (10, 1));
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_given_up_and_replaced() {
    let (told, closed) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        // One request for each connection, and no word of it in the answer.
        connection.request()?;
        connection.write(ok("here").as_bytes())?;
        connection.finish()?;
        assert!(
            connection.is_closed_within(PATIENCE),
            "the gateway sees the end and closes too"
        );
        told.send(()).map_err(io::Error::other)
    })
    .expect("a free port");
    let gateway = gateway(&format!("threads: 1\n{}", upstreams(&[&upstream])));
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "here");
        closed
            .recv_timeout(PATIENCE)
            .expect("the gateway closes idle connections that have ended");
    }
    assert_eq!(upstream.connections(), 3);
}

/// The gateway notices such an end every tenth of a second. A request before that once waited for its answer until
/// `response_head`.
#[test]
fn a_connection_that_the_server_has_just_closed_loses_no_request() {
    let (told, closed) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        connection.request()?;
        connection.write(ok("here").as_bytes())?;
        connection.finish()?;
        told.send(()).map_err(io::Error::other)?;
        connection.rest().map(drop)
    })
    .expect("a free port");
    let gateway = gateway(&format!("threads: 1\n{}", upstreams(&[&upstream])));
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "here");
        closed.recv_timeout(PATIENCE).expect("the script ends its side");
    }
}

#[test]
fn a_name_is_resolved_when_a_connection_is_made() {
    let upstream = named("here");
    let gateway = gateway(&format!(
        "upstreams: {{ all: {{ servers: \"localhost:{}\" }} }}",
        upstream.address().port()
    ));
    assert_eq!(gateway.get("/").text(), "here");
}

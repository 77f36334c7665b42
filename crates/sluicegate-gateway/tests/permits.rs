//! Permits are held to the end of the answer, and come free wherever a request's way ends before: T35 and T36 of the threat
//! list.

mod support;

use std::io;
use std::net::Shutdown;

use sluicegate::Limiter;
use sluicegate_testkit::upstream::{Connection, Message, ReadBody, Upstream, ok, read_chunk};
use support::{Client, PATIENCE, Running, gateway_with, upstreams};

/// Ten requests at a time, whoever asks.
const RULES: &str = "rules:\n  - { name: concurrent-requests, key: ip, algorithm: concurrency, limit: 10 }\n";

/// How often each way is gone: far above the ten permits that a leak would eat up.
const ROUNDS: usize = 30;

/// A server that does what the path says.
fn server() -> Upstream {
    Upstream::scripted(|connection| {
        while let Some(request) = connection.request_head()? {
            match request.target() {
                "/ok" => connection.write(ok("here").as_bytes())?,
                "/swallow" => while connection.chunk()?.is_some() {},
                "/half-a-head" => return stay(connection, b"HTTP/1.1 200 OK\r\nx-more: an"),
                "/stream" => return stay(connection, STREAM),
                "/break" => return connection.write(STREAM),
                "/close" => return Ok(()),
                "/switch" => return stay(connection, SWITCH),
                "/switch-and-close" => return connection.write(SWITCH),
                "/flood" => {
                    connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
                    loop {
                        connection.write(chunk.as_bytes())?;
                    }
                }
                _ => return stay(connection, b""),
            }
        }
        Ok(())
    })
    .expect("a free port")
}

/// The head of an answer and its first event.
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Says this much, and then nothing until the gateway gives up.
fn stay(connection: &mut Connection, words: &[u8]) -> io::Result<()> {
    connection.write(words)?;
    connection.rest().map(drop)
}

fn limited(upstream: &Upstream, lines: &str) -> Running {
    gateway_with(&format!("{}{lines}", upstreams(&[upstream])), RULES)
}

fn held(gateway: &Running) -> u64 {
    held_of(&gateway.limiter)
}

/// The gauge: permits of the one rule.
fn held_of(limiter: &Limiter) -> u64 {
    let engine = limiter.engine();
    let rule = engine.rule("concurrent-requests").expect("the rule");
    engine.bucket(rule).expect("its bucket").held()
}

/// Returns once this many permits are held; hangs if that never comes.
fn wait_for_held(gateway: &Running, permits: u64) {
    while held(gateway) != permits {
        std::thread::yield_now();
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A request that the server has.
fn asked(gateway: &Running, upstream: &Upstream, request: &str) -> Client {
    let before = upstream.requests().len();
    let mut client = gateway.client();
    client.send(request.as_bytes());
    assert!(upstream.wait_for(before + 1, PATIENCE));
    client
}

/// Nothing is held, and ten requests at a time have room, but not eleven.
#[track_caller]
fn assert_all_free(gateway: &Running, upstream: &Upstream) {
    wait_for_held(gateway, 0);
    let streams: Vec<_> = (0..10).map(|_| asked(gateway, upstream, &get("/stream"))).collect();
    assert_eq!(held(gateway), 10);
    assert_eq!(gateway.ask(&get("/ok")).status(), Some(429));
    drop(streams);
    wait_for_held(gateway, 0);
    assert_eq!(gateway.ask(&get("/ok")).status(), Some(200));
}

#[test]
fn ten_streams_are_held_and_the_eleventh_waits_for_one_of_them_to_end() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    let mut streams: Vec<_> = (0..10)
        .map(|_| {
            let mut client = gateway.client();
            client.send(get("/stream").as_bytes());
            assert_eq!(client.answer_head().status(), Some(200));
            let event = read_chunk(&mut client.reader).expect("an event");
            assert_eq!(event.as_deref(), Some(&b"data: 1\n\n"[..]));
            client
        })
        .collect();
    let mut eleventh = gateway.client();
    let refused = eleventh.ask(&get("/stream"));
    assert_eq!(refused.status(), Some(429));
    assert!(refused.text().contains("concurrent-requests"), "{refused:?}");
    streams.pop();
    wait_for_held(&gateway, 9);
    eleventh.send(get("/stream").as_bytes());
    assert_eq!(eleventh.answer_head().status(), Some(200));
    drop((streams, eleventh));
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_whole_answer_frees_it_also_on_a_connection_that_stays() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    let mut client = gateway.client();
    for _ in 0..ROUNDS {
        assert_eq!(client.ask(&get("/ok")).text(), "here");
        wait_for_held(&gateway, 0);
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_client_that_leaves_before_its_request_has_a_head_holds_nothing() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    for _ in 0..ROUNDS {
        gateway.client().send(&get("/ok").as_bytes()[..20]);
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_frees_it() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    for _ in 0..ROUNDS {
        let request = "POST /swallow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        let client = asked(&gateway, &upstream, request);
        assert!(held(&gateway) > 0);
        drop(client);
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_client_that_leaves_before_the_server_answers_frees_it() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    for path in ["/hang", "/half-a-head"] {
        for _ in 0..ROUNDS {
            let client = asked(&gateway, &upstream, &get(path));
            assert!(held(&gateway) > 0);
            drop(client);
            wait_for_held(&gateway, 0);
        }
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_answer_frees_it() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    for path in ["/stream", "/flood"] {
        for _ in 0..ROUNDS {
            let mut client = asked(&gateway, &upstream, &get(path));
            assert_eq!(client.answer_head().status(), Some(200));
            assert!(held(&gateway) > 0);
            drop(client);
            wait_for_held(&gateway, 0);
        }
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_server_that_breaks_off_frees_it() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    for _ in 0..ROUNDS {
        assert_eq!(gateway.ask(&get("/close")).status(), Some(502));
        let mut client = gateway.client();
        client.send(get("/break").as_bytes());
        // Nothing at all, or something without its end.
        let answer = Message::read(&mut client.reader, ReadBody::Whole);
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_server_that_cannot_be_reached_frees_it() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    drop(upstream);
    for _ in 0..ROUNDS {
        assert_eq!(gateway.ask(&get("/ok")).status(), Some(502));
    }
    wait_for_held(&gateway, 0);
}

#[test]
fn every_deadline_that_cuts_a_request_off_frees_it() {
    let upstream = server();
    let gateway = limited(
        &upstream,
        "deadlines: { response_head: 150ms, response_body_idle: 150ms, request_body_idle: 150ms, write_stall: 150ms }",
    );
    let upload = "POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1".to_owned();
    for (request, status) in [(get("/hang"), 504), (get("/half-a-head"), 504), (upload, 408)] {
        let mut clients: Vec<_> = (0..10).map(|_| asked(&gateway, &upstream, &request)).collect();
        for client in &mut clients {
            assert_eq!(client.answer(ReadBody::Whole).status(), Some(status));
        }
        wait_for_held(&gateway, 0);
    }
    let mut streams: Vec<_> = (0..5).map(|_| asked(&gateway, &upstream, &get("/stream"))).collect();
    let floods: Vec<_> = (0..5).map(|_| asked(&gateway, &upstream, &get("/flood"))).collect();
    for client in &mut streams {
        assert_eq!(client.answer_head().status(), Some(200));
    }
    wait_for_held(&gateway, 0);
    drop((streams, floods));
    // Not `assert_all_free`: its streams would be cut off too.
    assert_eq!(gateway.ask(&get("/ok")).status(), Some(200));
}

#[test]
fn an_upgraded_connection_holds_it_until_it_closes() {
    let upstream = server();
    let gateway = limited(&upstream, "");
    let switch = |path: &str| {
        let mut client = gateway.client();
        client.send(
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.answer_head().status(), Some(101));
        client
    };
    for _ in 0..ROUNDS / 10 {
        let tunnels: Vec<_> = (0..10).map(|_| switch("/switch")).collect();
        assert_eq!(held(&gateway), 10);
        assert_eq!(gateway.ask(&get("/ok")).status(), Some(429));
        for (number, tunnel) in tunnels.iter().enumerate() {
            if number % 2 == 0 {
                tunnel
                    .reader
                    .get_ref()
                    .shutdown(Shutdown::Write)
                    .expect("an open socket");
            }
        }
        drop(tunnels);
        wait_for_held(&gateway, 0);
    }
    for _ in 0..ROUNDS {
        assert!(switch("/switch-and-close").is_closed());
    }
    assert_all_free(&gateway, &upstream);
}

#[test]
fn a_drain_that_cuts_off_frees_all() {
    let upstream = server();
    let gateway = limited(&upstream, "deadlines: { drain: 200ms }");
    let limiter = std::sync::Arc::clone(&gateway.limiter);
    let mut clients: Vec<_> = (0..8).map(|_| asked(&gateway, &upstream, &get("/stream"))).collect();
    clients.push(asked(&gateway, &upstream, &get("/hang")));
    assert_eq!(held(&gateway), 9);
    assert_eq!(gateway.drain().cut, 9);
    assert_eq!(held_of(&limiter), 0);
}

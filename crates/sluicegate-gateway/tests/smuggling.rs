//! One request hidden in another: refused by the gateway, and never seen by an upstream that keeps every byte.

mod support;

#[path = "support/payloads.rs"]
mod payloads;

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use payloads::{SMUGGLED, payloads};
use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{Running, gateway_by, gateway_with, policy_on, upstreams};

/// Sends bytes on a connection of their own; gives back all that came until the gateway closed it.
fn send(gateway: &Running, bytes: &[u8]) -> String {
    let mut client = gateway.client();
    client.send(bytes);
    let mut text = Vec::new();
    // A reset closes too.
    let _ = client.reader.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

/// T45
#[test]
fn forty_ways_of_hiding_a_request_end_the_connection_and_no_upstream_sees_two() {
    // Every byte that reached the upstream, one entry for each connection.
    let wires: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let upstream = Upstream::scripted({
        let wires = Arc::clone(&wires);
        move |connection| {
            // No parser's opinion: whatever comes is kept, and answered once a head may be over.
            let mut wire = Vec::new();
            loop {
                match connection.bytes(1) {
                    Ok(byte) => wire.extend(byte),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error),
                }
                if wire.ends_with(b"\r\n\r\n") {
                    connection.write(ok("here").as_bytes())?;
                }
            }
            wires.lock().map_err(|_| io::ErrorKind::Other)?.push(wire);
            Ok(())
        }
    })
    .expect("a free port");
    // One of them begins as HTTP/2 does, and is to be no request of HTTP/1.1 either.
    let listen = "{ address: \"127.0.0.1:0\", http2: false }";
    let gateway = gateway_by(&policy_on(listen, &upstreams(&[&upstream]), ""));
    let payloads = payloads();
    assert!(payloads.len() >= 40, "{}", payloads.len());
    for payload in &payloads {
        let answers = send(&gateway, payload.as_bytes());
        assert!(
            answers.starts_with("HTTP/1.1 400 "),
            "{payload:?} is answered with {answers:?}"
        );
        assert_eq!(
            answers.matches("\"status\":").count(),
            1,
            "{payload:?} is answered with {answers:?}"
        );
        assert!(
            answers.to_ascii_lowercase().contains("\r\nconnection: close\r\n"),
            "{answers}"
        );
    }
    drop(gateway);
    for wire in wires.lock().expect("nobody panicked").iter() {
        let text = String::from_utf8_lossy(wire);
        assert!(!text.contains(SMUGGLED), "{text}");
        assert!(text.matches(" HTTP/1.").count() <= 1, "{text}");
    }
}

#[test]
fn what_has_two_meanings_is_charged_to_nobody() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "rules: [{ name: all, key: ip, limit: 6/min burst 5 }]\n",
    );
    for payload in payloads() {
        // In a body a limit is charged before the chunk is here that says so.
        if !payload.contains("Transfer-Encoding: chunked\r\n\r\n") {
            send(&gateway, payload.as_bytes());
        }
    }
    assert!(
        gateway.traffic.heads_refused() >= 30,
        "{}",
        gateway.traffic.heads_refused()
    );
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status(), Some(200));
    }
    assert_eq!(gateway.get("/").status(), Some(429));
    assert_eq!(upstream.requests().len(), 5);
}

#[test]
fn requests_before_one_that_is_refused_get_their_answers_first() {
    let upstream = recording();
    let gateway = gateway_with(&upstreams(&[&upstream]), "");
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n";
    let answers = send(&gateway, format!("{good}{good}{bad}{good}").as_bytes());
    let statuses: Vec<_> = answers
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answers[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"]);
    assert!(
        answers.ends_with("\"detail\":\"the request's length is said twice or is no number\"}"),
        "{answers}"
    );
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_judged_as_a_whole_one() {
    let upstream = recording();
    let gateway = gateway_with(&upstreams(&[&upstream]), "");
    let mut client = gateway.client();
    for byte in
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(200));
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!((seen.text().as_str(), seen.header("x-sum")), ("abc", None));
    for byte in b"GET /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r" {
        client.send(&[*byte]);
    }
    client.send(b"\n");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(400));
    assert!(client.is_closed());
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_body_that_breaks_its_framing_never_reaches_the_upstream_whole() {
    let upstream = recording();
    let gateway = gateway_with(&upstreams(&[&upstream]), "");
    let answer = send(
        &gateway,
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\nX: y\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(upstream.requests().is_empty());
}

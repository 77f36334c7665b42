//! Proxies that say whose connection they pass on before its first byte.

mod support;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{Client, Running, gateway_by, gateway_with, policy_on, upstreams};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The beginning of a header of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

/// A gateway whose clients come through proxies that the policy trusts: those in 127.0.0.0/24.
fn gateway(upstream: &Upstream) -> Running {
    gateway_by(&policy_on(
        "{ address: 127.0.0.1:0, proxy_protocol: true }",
        &format!("{}deadlines: {{ request_head: 1s }}\n", upstreams(&[upstream])),
        "identity: { trusted_proxies: [127.0.0.0/24] }\nrules: [{ name: clients, key: ip, limit: 6/min burst 2 }]\n",
    ))
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// C8
#[test]
fn a_trusted_proxy_names_the_client_of_a_connection() {
    let upstream = recording();
    let gateway = gateway(&upstream);
    let one = b"PROXY TCP4 203.0.113.1 192.0.2.2 4711 443\r\n".to_vec();
    let two = v2(0x21, 0x11, &[203, 0, 113, 2, 192, 0, 2, 2, 1, 2, 3, 4, 4, 0, 1, 0]);
    let clothed = b"PROXY TCP6 ::ffff:203.0.113.1 ::1 1 2\r\n".to_vec();
    let own = v2(0x20, 0, &[]);
    for (header, client, status) in [
        (&one, "203.0.113.1", 200),
        (&one, "203.0.113.1", 200),
        (&clothed, "203.0.113.1", 429),
        (&two, "203.0.113.2", 200),
        (&own, "127.0.0.1", 200),
    ] {
        let mut proxy = gateway.client();
        // What a client says of itself is not believed: it is no proxy of ours.
        proxy.send(
            &[
                header,
                &b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"[..],
            ]
            .concat(),
        );
        assert_eq!(proxy.answer(ReadBody::Whole).status(), Some(status), "{client}");
        if status == 200 {
            let seen = upstream.last().expect("the upstream was asked");
            let expected = if client == "127.0.0.1" {
                "198.51.100.7, 127.0.0.1"
            } else {
                client
            };
            assert_eq!(seen.header("x-forwarded-for"), Some(expected));
        }
    }
    // It holds for the whole connection, and may come in parts.
    let mut proxy = gateway.client();
    for byte in &two {
        proxy.send(&[*byte]);
    }
    assert_eq!(proxy.ask(REQUEST).status(), Some(200));
    assert_eq!(proxy.ask(REQUEST).status(), Some(429));
}

/// C8
#[test]
fn who_is_not_trusted_is_closed_upon_and_so_is_who_says_nothing() {
    let upstream = recording();
    let gateway = gateway(&upstream);
    let header = "PROXY TCP4 203.0.113.1 192.0.2.2 4711 443\r\n";
    let stranger: SocketAddr = "127.0.9.9:0".parse().expect("an address");
    let mut client = Client::from(stranger, gateway.address);
    // It may be gone already.
    let _ = client
        .reader
        .get_mut()
        .write_all(format!("{header}{REQUEST}").as_bytes());
    assert!(client.is_closed());
    for bytes in [
        REQUEST,
        "PROXY TCP4 203.0.113.1\r\n",
        "PROXY TCP5 a b c d\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
    ] {
        let mut proxy = gateway.client();
        let _ = proxy.reader.get_mut().write_all(bytes.as_bytes());
        assert!(proxy.is_closed(), "{bytes:?}");
    }
    // Too late, and too soon over.
    let mut proxy = gateway.client();
    proxy.send(b"PROXY TCP4 203");
    assert!(proxy.is_closed());
    let mut proxy = gateway.client();
    proxy.send(b"PROXY TCP4 203");
    proxy
        .reader
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("an open socket");
    assert!(proxy.is_closed());
    assert!(upstream.requests().is_empty());
}

/// C8
#[test]
fn a_header_that_nobody_asks_for_is_no_request() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "identity: { trusted_proxies: [127.0.0.0/8] }\n",
    );
    for header in [
        b"PROXY TCP4 203.0.113.1 192.0.2.2 4711 443\r\n".to_vec(),
        v2(0x20, 0, &[]),
    ] {
        let mut proxy = gateway.client();
        proxy.send(&[header, REQUEST.into()].concat());
        assert_eq!(proxy.answer(ReadBody::Whole).status(), Some(400));
        assert!(proxy.is_closed());
    }
    assert!(upstream.requests().is_empty());
}

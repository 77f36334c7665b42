//! Client connections: their heads, their waits, their number, and their end.

mod support;

use std::io;
use std::sync::Mutex;
use std::sync::mpsc;

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{PATIENCE, gateway, gateway_to, upstreams};

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_connection_serves_request_after_request() {
    let upstream = recording();
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    // All at once, and one that arrives byte by byte.
    client.send(&REQUEST.repeat(5));
    for byte in REQUEST {
        client.send(&[*byte]);
    }
    for _ in 0..6 {
        assert_eq!(client.answer(ReadBody::Whole).text(), "here");
    }
    assert_eq!(gateway.traffic.connections_accepted(), 1);
}

#[test]
fn a_client_that_asks_to_close_is_closed_upon() {
    let upstream = recording();
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (answer.text().as_str(), answer.header("connection")),
        ("here", Some("close"))
    );
    assert!(client.is_closed());
    // The client's wish is not the upstream connection's.
    assert_eq!(gateway.get("/").text(), "here");
}

#[test]
fn a_head_above_its_caps_is_a_431() {
    let upstream = recording();
    let gateway = gateway(&format!(
        "{}caps: {{ head_bytes: 8KiB, headers: 20 }}",
        upstreams(&[&upstream])
    ));
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(8000)));
    assert_eq!(answer.status(), Some(200));
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(8200)));
    assert_eq!(answer.status(), Some(431));
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(19)));
    assert_eq!(answer.status(), Some(200));
    let mut client = gateway.client();
    let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20)));
    assert_eq!(
        (answer.status(), answer.header("cache-control")),
        (Some(431), Some("no-store"))
    );
    assert!(client.is_closed());
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200)));
    assert_eq!(answer.status(), Some(431));
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn more_headers_than_hyper_takes_by_itself_pass_where_the_cap_allows_it() {
    let upstream = recording();
    let gateway = gateway(&format!("{}caps: {{ headers: 300 }}", upstreams(&[&upstream])));
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(299)));
    assert_eq!(answer.status(), Some(200));
    let answer = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(300)));
    assert_eq!(answer.status(), Some(431));
}

#[test]
fn a_head_that_does_not_end_is_a_408_however_it_trickles() {
    let upstream = recording();
    let gateway = gateway(&format!(
        "{}deadlines: {{ request_head: 200ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let mut writer = client.reader.get_ref().try_clone().expect("a second handle");
    let trickle = std::thread::spawn(move || {
        // Ends with an error once the gateway has closed the connection: well before a head's cap of bytes.
        while io::Write::write_all(&mut writer, b"x").is_ok() {
            std::thread::yield_now();
        }
    });
    let answer = client.answer(ReadBody::Whole);
    // Either the deadline or, on a fast machine, the cap of bytes comes first; both are refusals.
    assert!(matches!(answer.status(), Some(408 | 431)), "{answer:?}");
    drop(client);
    trickle.join().expect("the writer ends");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_late_head_is_told_so() {
    let upstream = recording();
    let gateway = gateway(&format!(
        "{}deadlines: {{ request_head: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n");
    let answer = client.answer(ReadBody::Whole);
    assert_eq!(
        (answer.status(), answer.header("cache-control")),
        (Some(408), Some("no-store"))
    );
    assert!(client.is_closed());
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let upstream = recording();
    let lines = upstreams(&[&upstream]);
    let before_its_first_request = gateway(&format!("{lines}deadlines: {{ request_head: 150ms }}"));
    assert!(before_its_first_request.client().is_closed());
    let between_two = gateway(&format!("{lines}deadlines: {{ keep_alive: 150ms }}"));
    let mut client = between_two.client();
    client.send(REQUEST);
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(200));
    assert!(client.is_closed());
}

#[test]
fn connections_above_the_cap_wait_for_a_place() {
    let upstream = recording();
    let gateway = gateway(&format!(
        "threads: 1\n{}caps: {{ connections: 2 }}",
        upstreams(&[&upstream])
    ));
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    for client in &mut clients[..2] {
        assert_eq!(client.answer(ReadBody::Whole).status(), Some(200));
    }
    assert_eq!(
        (gateway.traffic.connections_now(), gateway.traffic.connections_max()),
        (2, 2)
    );
    assert_eq!(upstream.requests().len(), 2);
    clients.drain(..2);
    for client in &mut clients {
        assert_eq!(client.answer(ReadBody::Whole).status(), Some(200));
    }
    drop(clients);
    let read = 4 * REQUEST.len() as u64;
    while gateway.traffic.connections_now() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(
        (gateway.traffic.connections_accepted(), gateway.traffic.bytes_read()),
        (4, read)
    );
    assert!(gateway.traffic.bytes_written() > 4 * 40);
}

#[test]
fn a_drain_lets_the_request_under_way_end_and_the_next_one_in() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let upstream = Upstream::scripted(move |connection| {
        while let Some(request) = connection.request()? {
            if request.target() == "/slow" {
                let waiting = gone_on.lock().map_err(|_| io::ErrorKind::Other)?;
                waiting.recv_timeout(PATIENCE).map_err(io::Error::other)?;
            }
            connection.write(ok("done").as_bytes())?;
        }
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let (mut slow, mut idle) = (gateway.client(), gateway.client());
    assert_eq!(idle.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "done");
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(upstream.wait_for(2, PATIENCE));
    gateway.stop();
    // No new connections are taken any more: the sockets are closed, or the system's queue drops them on closing.
    while std::net::TcpStream::connect(gateway.address).is_ok() {
        std::thread::yield_now();
    }
    go.send(()).expect("the script waits");
    let answer = slow.answer(ReadBody::Whole);
    assert_eq!(
        (answer.text().as_str(), answer.header("connection")),
        ("done", Some("close"))
    );
    assert!(slow.is_closed());
    // Whoever asks nothing more is closed upon.
    assert!(idle.is_closed());
    assert_eq!(gateway.drain().cut, 0);
}

#[test]
fn a_drain_serves_what_stands_in_the_listen_queue() {
    let upstream = recording();
    let gateway = gateway(&format!(
        "threads: 1\n{}caps: {{ connections: 1 }}",
        upstreams(&[&upstream])
    ));
    let mut first = gateway.client();
    assert_eq!(first.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "here");
    // The one place is taken: these wait, one accepted and two in the queue.
    let mut waiting: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut waiting {
        client.send(REQUEST);
    }
    gateway.stop();
    drop(first);
    for client in &mut waiting {
        let answer = client.answer(ReadBody::Whole);
        assert_eq!(answer.text(), "here");
    }
    drop(waiting);
    assert_eq!(gateway.drain().cut, 0);
}

#[test]
fn a_drain_cuts_off_what_is_not_done_by_its_deadline_and_says_how_much() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        assert!(
            connection.is_closed_within(PATIENCE),
            "the gateway gives the request up"
        );
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway(&format!("{}deadlines: {{ drain: 200ms }}", upstreams(&[&upstream])));
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    assert!(upstream.wait_for(3, PATIENCE));
    assert_eq!(gateway.drain().cut, 3);
    for client in &mut clients {
        assert!(client.is_closed());
    }
}

#[test]
fn a_drain_without_anybody_ends_at_once() {
    let upstream = recording();
    assert_eq!(gateway_to(&[&upstream]).drain().cut, 0);
}

#[test]
fn garbage_is_refused_and_the_gateway_goes_on() {
    let upstream = recording();
    let gateway = gateway_to(&[&upstream]);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.send(garbage);
        client
            .reader
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .expect("an open socket");
        let _ = client.is_closed();
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(gateway.get("/").text(), "here");
}

//! Answers that are complete before their request is: what the client still sends is the request's, and goes on to the
//! server.

mod support;

use std::io::{self, Write};
use std::sync::{Mutex, mpsc};

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{PATIENCE, Running, gateway, gateway_with, upstreams};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server that answers at once, then reads the body to its end and says what it was.
fn hasty() -> (Upstream, mpsc::Receiver<String>) {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        while connection.request_head()?.is_some() {
            connection.write(ok("early").as_bytes())?;
            let mut body = Vec::new();
            while let Some(chunk) = connection.chunk()? {
                body.extend(chunk);
            }
            // Whoever does not listen is gone, and the test with it.
            let _ = told.send(String::from_utf8_lossy(&body).into_owned());
        }
        Ok(())
    })
    .expect("a free port");
    (upstream, heard)
}

/// Long enough for a test to send a head in it, on a machine with much else to do.
const REQUEST_HEAD: &str = "deadlines: { request_head: 400ms }";

/// Returns once `request_head` has passed: it closes a connection that says nothing.
fn outlast_request_head(gateway: &Running) {
    assert!(gateway.client().is_closed());
}

/// The next bytes of the body were once taken for the next head's first: `request_head` later they were answered by a
/// stray 408, and the upload was cut off.
#[test]
fn an_upload_goes_on_after_its_answer_for_as_long_as_it_takes() {
    let (upstream, heard) = hasty();
    let gateway = gateway(&format!("{}{REQUEST_HEAD}", upstreams(&[&upstream])));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(HEAD);
        client.send(b"1\r\na\r\n");
        assert_eq!(client.answer(ReadBody::Whole).text(), "early");
        outlast_request_head(&gateway);
        client.send(b"1\r\nb\r\n");
        outlast_request_head(&gateway);
        client.send(b"1\r\nc\r\n0\r\n\r\n");
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("abc"));
    }
    // Now it is idle again, and a head is one.
    client.send(b"POST / HTTP/1.1\r\n");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(408));
    assert!(client.is_closed());
}

#[test]
fn an_upload_that_stops_after_its_answer_is_closed_upon_without_another_word() {
    let (upstream, heard) = hasty();
    let gateway = gateway(&format!(
        "{}deadlines: {{ request_body_idle: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(HEAD);
    assert_eq!(client.answer(ReadBody::Whole).text(), "early");
    client.send(b"1\r\na\r\n");
    assert!(client.is_closed());
    drop(upstream);
    assert!(heard.recv_timeout(PATIENCE).is_err(), "half a body looked whole");
}

#[test]
fn a_drain_waits_for_an_upload_that_outlives_its_answer() {
    let (upstream, heard) = hasty();
    let gateway = gateway(&upstreams(&[&upstream]));
    let mut idle = gateway.client();
    let answer = idle.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(answer.text(), "early");
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok(""));
    let mut client = gateway.client();
    client.send(HEAD);
    assert_eq!(client.answer(ReadBody::Whole).text(), "early");
    gateway.stop();
    // Closed after the grace.
    assert!(idle.is_closed());
    client.send(b"2\r\nab\r\n0\r\n\r\n");
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("ab"));
    assert!(client.is_closed());
    assert_eq!(gateway.drain().cut, 0);
}

/// The server's connection was once driven by a task that only the server could end: it took no place under the cap, and
/// no drain waited for it.
#[test]
fn a_server_that_answers_and_then_takes_nothing_is_given_up() {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        connection.request_head()?;
        connection.write(ok("early").as_bytes())?;
        // Ends with an error once the gateway has closed the connection. Reading would be taking.
        while connection.write(b"more than that").is_ok() {}
        told.send(()).map_err(io::Error::other)
    })
    .expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ write_stall: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).text(), "early");
    let socket = client.reader.get_mut();
    socket.set_write_timeout(Some(PATIENCE)).expect("an open socket");
    let error = loop {
        if let Err(error) = socket.write_all(&[b'x'; 16_384]) {
            break error;
        }
    };
    assert!(
        !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        "nobody closed the client's connection"
    );
    heard
        .recv_timeout(PATIENCE)
        .expect("nobody closed the server's connection");
    while gateway.traffic.connections_now() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_drain_counts_uploads_that_it_cuts_off_after_their_answers() {
    let (upstream, heard) = hasty();
    let gateway = gateway(&format!("{}deadlines: {{ drain: 200ms }}", upstreams(&[&upstream])));
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(HEAD);
        assert_eq!(client.answer(ReadBody::Whole).text(), "early");
    }
    assert_eq!(gateway.drain().cut, 3);
    drop(upstream);
    assert!(heard.recv_timeout(PATIENCE).is_err(), "half a body looked whole");
}

/// The client is served and gone while the last part of what it sent still waits here for the server to take it.
#[test]
fn an_upload_arrives_whole_though_its_client_has_gone() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        connection.request_head()?;
        connection.write(ok("early").as_bytes())?;
        // All of them wait for the one sender to be dropped.
        drop(gone_on.lock().map(|waiting| waiting.recv_timeout(PATIENCE)));
        let mut size = 0;
        while let Some(chunk) = connection.chunk()? {
            size += chunk.len();
        }
        told.send(size).map_err(io::Error::other)
    })
    .expect("a free port");
    let gateway = gateway_with(
        &format!("{}deadlines: {{ keep_alive: 150ms }}", upstreams(&[&upstream])),
        "routes:\n  - { name: only, methods: [POST], path: /, upstream: all }\n",
    );
    // From below what a pair of sockets holds to above it, in steps smaller than what the gateway holds.
    let sizes: Vec<usize> = (300_000..4_500_000).step_by(300_000).collect();
    let clients: Vec<_> = sizes
        .iter()
        .map(|&size| {
            let mut client = gateway.client();
            std::thread::spawn(move || {
                client.send(HEAD);
                assert_eq!(client.answer(ReadBody::Whole).text(), "early");
                client.send(format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)).as_bytes());
            })
        })
        .collect();
    assert!(upstream.wait_for(sizes.len(), PATIENCE));
    // Time for the clients to send what there is room for: as long as idle connections live.
    for _ in 0..2 {
        let mut idle = gateway.client();
        assert_eq!(idle.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(404));
        assert!(idle.is_closed());
    }
    drop(go);
    for client in clients {
        client.join().expect("the client has sent everything");
    }
    let mut arrived: Vec<_> = sizes
        .iter()
        .map(|_| heard.recv_timeout(PATIENCE).expect("an upload was cut off"))
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, sizes);
    assert_eq!(gateway.drain().cut, 0);
}

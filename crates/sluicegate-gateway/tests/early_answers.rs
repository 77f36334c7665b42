//! Answers that are complete before their request is: what the client still sends is the request's, and goes on to the
//! server.

mod support;

use std::io::Write;
use std::sync::mpsc;

use sluicegate_testkit::upstream::{Message, ReadBody, Upstream, ok};
use support::{PATIENCE, Running, gateway, upstreams};

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

/// Returns once `request_head` has passed, and more: it closes a connection that says nothing.
fn outlast_request_head(gateway: &Running) {
    for _ in 0..2 {
        assert!(gateway.client().is_closed());
    }
}

/// The next bytes of the body were once taken for the next head's first: `request_head` later they were answered by a
/// stray 408, and the upload was cut off.
#[test]
fn an_upload_goes_on_after_its_answer_for_as_long_as_it_takes() {
    let (upstream, heard) = hasty();
    let gateway = gateway(&format!(
        "{}deadlines: {{ request_head: 120ms }}",
        upstreams(&[&upstream])
    ));
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

/// What hyper reads and forgets of a body that nobody wants was once taken for a head's first bytes.
#[test]
fn a_body_that_nobody_wants_is_not_taken_for_a_head() {
    let upstream = Upstream::answering(|_| ok("here")).expect("a free port");
    let gateway = support::gateway_with(
        &format!("{}deadlines: {{ request_head: 120ms }}", upstreams(&[&upstream])),
        "routes:\n  - { name: only, path: /only, upstream: all }\n",
    );
    let mut client = gateway.client();
    client.send(b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    // Either the rest is there when hyper looks for it and the connection goes on, or it is closed upon.
    let _ = client.reader.get_mut().write_all(b"abcde");
    if let Ok(answer) = Message::read(&mut client.reader, ReadBody::Whole) {
        assert_eq!(answer.and_then(|answer| answer.status()), Some(404));
    }
    outlast_request_head(&gateway);
    // In neither case anything is said that was not asked for.
    drop(client.reader.get_ref().shutdown(std::net::Shutdown::Write));
    assert!(client.is_closed());
}

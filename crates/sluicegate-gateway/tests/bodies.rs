//! Bodies in both directions: streamed, capped, and under deadlines for their next bytes.

mod support;

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::mpsc;

use sluicegate_testkit::upstream::{Message, ReadBody, Upstream, ok, read_chunk};
use support::{Client, PATIENCE, gateway, gateway_to, upstreams};

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

#[test]
fn the_first_part_of_an_answer_arrives_before_the_last_is_written() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let upstream = Upstream::scripted(move |connection| {
        connection.request()?;
        connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        let waiting = gone_on.lock().map_err(|_| io::ErrorKind::Other)?;
        waiting.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        connection.write(b"4\r\nlast\r\n0\r\n\r\n")
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().status(), Some(200));
    assert_eq!(
        read_chunk(&mut client.reader).expect("a chunk").as_deref(),
        Some(&b"first"[..])
    );
    go.send(()).expect("the script waits");
    assert_eq!(
        read_chunk(&mut client.reader).expect("a chunk").as_deref(),
        Some(&b"last"[..])
    );
    assert_eq!(read_chunk(&mut client.reader).expect("the end"), None);
}

#[test]
fn the_first_part_of_a_request_arrives_before_the_last_is_sent() {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        connection.request_head()?;
        while let Some(chunk) = connection.chunk()? {
            told.send(chunk).map_err(io::Error::other)?;
        }
        connection.write(ok("done").as_bytes())
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(heard.recv_timeout(PATIENCE).expect("it streams"), b"first");
    client.send(b"4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(heard.recv_timeout(PATIENCE).expect("it streams"), b"last");
    assert_eq!(client.answer(ReadBody::Whole).text(), "done");
}

#[test]
fn large_bodies_pass_both_ways_unharmed() {
    let size = 5_000_000;
    let upstream = Upstream::answering(move |request| ok(&request.text())).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    let body: String = (0..size)
        .map(|index| char::from(b'a' + u8::try_from(index % 26).expect("below 26")))
        .collect();
    for _ in 0..2 {
        let answer = client.ask(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}"
        ));
        assert_eq!(answer.status(), Some(200));
        assert!(answer.text() == body, "{} bytes came back", answer.body.len());
    }
    assert_eq!(
        upstream.connections(),
        1,
        "the connection is used again after a large body"
    );
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended() {
    let upstream = Upstream::scripted(|connection| {
        connection.request_head()?;
        connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
        let mut size = 0;
        while let Some(chunk) = connection.chunk()? {
            size += chunk.len();
        }
        let size = size.to_string();
        connection.write(format!("{:x}\r\n{size}\r\n0\r\n\r\n", size.len()).as_bytes())
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    assert_eq!(client.answer_head().status(), Some(200));
    assert_eq!(
        read_chunk(&mut client.reader).expect("a chunk").as_deref(),
        Some(&b"early"[..])
    );
    client.send(b"2\r\nyz\r\n0\r\n\r\n");
    assert_eq!(
        read_chunk(&mut client.reader).expect("a chunk").as_deref(),
        Some(&b"3"[..])
    );
    assert_eq!(read_chunk(&mut client.reader).expect("the end"), None);
}

#[test]
fn a_body_above_the_cap_is_a_413_by_its_announcement_or_by_its_size() {
    let upstream = recording();
    let gateway = gateway(&format!("{}caps: {{ body_bytes: 1KiB }}", upstreams(&[&upstream])));
    let fits = "x".repeat(1024);
    let answer = gateway.ask(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{fits}"
    ));
    assert_eq!(answer.status(), Some(200));
    let answer = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(
        (answer.status(), answer.header("cache-control")),
        (Some(413), Some("no-store"))
    );
    let answer = gateway.ask(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{fits}\r\n1\r\ny\r\n"
    ));
    assert_eq!(answer.status(), Some(413));
    assert_eq!(
        upstream.requests().len(),
        1,
        "a body that was cut off never looks whole"
    );
}

#[test]
fn a_refused_client_that_is_still_sending_reads_its_answer() {
    let upstream = recording();
    let gateway = gateway(&format!("{}caps: {{ body_bytes: 1KiB }}", upstreams(&[&upstream])));
    let size = 3_000_000;
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").as_bytes());
        // Everything is sent before anything is read; a reset on the way would be an error here or below.
        client.send(&vec![b'x'; size]);
        assert_eq!(client.answer(ReadBody::Whole).status(), Some(413));
    }
}

#[test]
fn a_body_that_stops_coming_is_a_408() {
    let upstream = Upstream::scripted(|connection| {
        connection.request_head()?;
        assert!(
            connection.is_closed_within(PATIENCE),
            "the gateway gives the request up"
        );
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ request_body_idle: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    let answer = client.answer(ReadBody::Whole);
    assert_eq!(
        (answer.status(), answer.header("cache-control")),
        (Some(408), Some("no-store"))
    );
    assert!(client.is_closed());
}

#[test]
fn an_answer_that_stops_coming_ends_the_connection_without_a_proper_end() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        assert!(connection.is_closed_within(PATIENCE), "the gateway gives the answer up");
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ response_body_idle: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.answer_head();
    assert_eq!(
        read_chunk(&mut client.reader).expect("a chunk").as_deref(),
        Some(&b"first"[..])
    );
    assert!(read_chunk(&mut client.reader).is_err(), "the end was made up");
}

#[test]
fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let upstream = Upstream::scripted(move |connection| {
            connection.request()?;
            connection.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nfirst\r\n").as_bytes())
        })
        .expect("a free port");
        let gateway = gateway_to(&[&upstream]);
        let mut client = gateway.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // Nothing at all, or something without its end.
        let answer = Message::read(&mut client.reader, ReadBody::Whole);
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_upstream_request_with_it() {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        let request = connection.request_head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if request.target() == "/streaming" {
            connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        }
        told.send(connection.is_closed_within(PATIENCE))
            .map_err(io::Error::other)
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    for (number, request) in ["GET /waiting", "GET /streaming", "POST /uploading"]
        .into_iter()
        .enumerate()
    {
        let mut client = gateway.client();
        let length = if request.starts_with("POST") {
            "Content-Length: 10\r\n"
        } else {
            ""
        };
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n{length}\r\n").as_bytes());
        assert!(upstream.wait_for(number + 1, PATIENCE), "{request}");
        drop(client);
        assert!(heard.recv_timeout(PATIENCE).expect("the script ends"), "{request}");
    }
}

#[test]
fn a_client_that_expects_to_be_told_is_told_once_and_only_if_its_body_is_wanted() {
    let upstream = recording();
    let gateway = gateway(&format!("{}caps: {{ body_bytes: 1KiB }}", upstreams(&[&upstream])));
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.answer_head().start, "HTTP/1.1 100 Continue");
    client.send(b"abc");
    assert_eq!(client.answer(ReadBody::Whole).text(), "here");
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!((seen.text().as_str(), seen.header("expect")), ("abc", None));

    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(413));
    assert!(client.is_closed(), "the body was not read, so its end is not known");
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
        // Ends with an error once the gateway has closed the connection.
        loop {
            connection.write(chunk.as_bytes())?;
        }
    })
    .expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ write_stall: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while gateway.traffic.connections_accepted() == 0 || gateway.traffic.connections_now() > 0 {
        std::thread::yield_now();
    }
    let Client { mut reader } = client;
    // What lay in the socket's buffers can still be read; it is no whole answer.
    let mut rest = Vec::new();
    let read = reader.read_to_end(&mut rest);
    assert!(read.is_err() || !rest.ends_with(b"0\r\n\r\n"));
}

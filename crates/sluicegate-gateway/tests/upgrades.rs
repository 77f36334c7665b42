//! Connections that leave HTTP for another protocol: what it takes, and what passes then.

mod support;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};

use sluicegate_testkit::upstream::{Connection, ReadBody, Upstream, ok};
use support::{Client, PATIENCE, Running, gateway, gateway_to, gateway_with, upstreams};

const REQUEST: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A server that goes over to another protocol with every client, and goes on by `script`.
fn switching(script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
    Upstream::scripted(move |connection| {
        connection.request_head()?;
        connection.write(SWITCH)?;
        script(connection)
    })
    .expect("a free port")
}

/// A server that goes over and then repeats what it is told.
fn echoing() -> Upstream {
    switching(|connection| {
        loop {
            let byte = connection.bytes(1)?;
            connection.write(&byte)?;
        }
    })
}

/// A client that has gone over.
#[track_caller]
fn switched(gateway: &Running) -> Client {
    let mut client = gateway.client();
    client.send(REQUEST.as_bytes());
    assert_eq!(client.answer_head().status(), Some(101));
    client
}

#[track_caller]
fn read(client: &mut Client, count: usize) -> String {
    let mut bytes = vec![0; count];
    client.reader.read_exact(&mut bytes).expect("the tunnel is open");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn wait_until_nobody_is_connected(gateway: &Running) {
    while gateway.traffic.connections_now() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn what_both_sides_agree_on_passes_both_ways() {
    let upstream = echoing();
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    client.send(REQUEST.as_bytes());
    let answer = client.answer_head();
    assert_eq!(answer.status(), Some(101));
    assert_eq!(
        (answer.header("connection"), answer.header("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(answer.lines("content-length").is_empty() && answer.lines("transfer-encoding").is_empty());
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(
        (seen.header("connection"), seen.header("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    for words in ["\0\u{1}no HTTP", "GET / HTTP/1.1\r\n\r\n", "again"] {
        client.send(words.as_bytes());
        assert_eq!(read(&mut client, words.len()), words);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn what_the_server_says_behind_its_101_arrives() {
    let upstream = Upstream::scripted(|connection| {
        connection.request_head()?;
        connection.write(&[SWITCH, b"welcome"].concat())?;
        connection.bytes(1).map(drop)
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    assert_eq!(read(&mut switched(&gateway), 7), "welcome");
}

#[test]
fn nothing_behind_the_request_reaches_the_server_before_its_101() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        while connection
            .request_head()?
            .is_some_and(|request| request.target() == "/other")
        {
            connection.write(ok("other").as_bytes())?;
        }
        let waiting = gone_on.lock().map_err(|_| io::ErrorKind::Other)?;
        waiting.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        told.send(connection.has_bytes()?).map_err(io::Error::other)?;
        connection.write(SWITCH)?;
        let early = connection.bytes(5)?;
        connection.write(&early)
    })
    .expect("a free port");
    let gateway = gateway(&format!("threads: 1\n{}", upstreams(&[&upstream])));
    let mut client = gateway.client();
    client.send(format!("{REQUEST}early").as_bytes());
    assert!(upstream.wait_for(1, PATIENCE));
    // The one worker has had its turns: what it would pass on, it has passed on.
    for _ in 0..3 {
        assert_eq!(gateway.get("/other").text(), "other");
    }
    go.send(()).expect("the script waits");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(client.answer_head().status(), Some(101));
    assert_eq!(read(&mut client, 5), "early");
}

#[test]
fn a_server_that_stays_with_http_is_heard_as_ever() {
    let upstream = Upstream::answering(|_| ok("no")).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.ask(REQUEST);
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "no"));
        assert!(answer.lines("upgrade").is_empty());
    }
    // Both connections are as good as before.
    assert_eq!((gateway.traffic.connections_accepted(), upstream.connections()), (1, 1));
}

#[test]
fn what_waits_behind_a_declined_offer_is_the_next_request() {
    // More than the sockets hold, so that the answer is still on its way when the server has given it.
    let large = "a".repeat(8 << 20);
    let expected = large.clone();
    let upstream = Upstream::answering(move |request| match request.target() {
        "/socket" => ok(&large),
        _ => ok("next"),
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = gateway.client();
    for text in [format!("{REQUEST}{next}"), format!("{REQUEST}{next}")] {
        client.send(text.as_bytes());
        let answer = client.answer(ReadBody::Whole);
        assert_eq!((answer.status(), answer.text() == expected), (Some(200), true));
        assert_eq!(client.answer(ReadBody::Whole).text(), "next");
    }
    // In parts, and judged like any other.
    client.send(REQUEST.as_bytes());
    client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n");
    client.send(b"Transfer-Encoding: x\r\n\r\n");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(200));
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(400));
    assert!(client.is_closed());
    assert!(upstream.requests().iter().all(|request| request.target() != "/bad"));
}

#[test]
fn an_offer_that_connection_does_not_name_or_that_comes_with_a_body_is_not_passed_on() {
    let upstream = Upstream::answering(|_| ok("plain")).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
    ] {
        assert_eq!(gateway.ask(request).text(), "plain", "{request}");
        let seen = upstream.last().expect("the upstream was asked");
        assert!(
            seen.lines("upgrade").is_empty() && seen.lines("connection").is_empty(),
            "{seen:?}"
        );
    }
}

/// What passes in such a tunnel would be requests that no limit counts.
#[test]
fn nobody_goes_over_to_http_by_another_name() {
    let upstream = Upstream::answering(|_| ok("plain")).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    for http in ["h2c", "H2C", "HTTP/2.0", "TLS/1.0"] {
        let answer = gateway.ask(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {http}\r\n\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        ));
        assert_eq!(answer.text(), "plain");
        let seen = upstream.last().expect("the upstream was asked");
        for gone in ["upgrade", "connection", "http2-settings"] {
            assert!(seen.lines(gone).is_empty(), "{http}: {seen:?}");
        }
    }
}

#[test]
fn a_101_that_was_not_asked_for_is_a_502() {
    let upstream = switching(|_| Ok(()));
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
    ];
    for request in requests {
        assert_eq!(client.ask(request).status(), Some(502), "{request}");
    }
}

#[test]
fn each_side_may_end_before_the_other() {
    let (told, heard) = mpsc::channel();
    let upstream = switching(move |connection| {
        told.send(connection.rest()?).map_err(io::Error::other)?;
        connection.write(b"and good bye")
    });
    let gateway = gateway_to(&[&upstream]);
    let mut client = switched(&gateway);
    client.send(b"that is all");
    client
        .reader
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("an open socket");
    assert_eq!(
        heard.recv_timeout(PATIENCE).expect("the script reads on"),
        b"that is all"
    );
    assert_eq!(read(&mut client, 12), "and good bye");
    assert!(client.is_closed());

    let (told, heard) = mpsc::channel();
    let upstream = switching(move |connection| {
        connection.write(b"that is all")?;
        connection.finish()?;
        told.send(connection.rest()?).map_err(io::Error::other)
    });
    let gateway = gateway_to(&[&upstream]);
    let mut client = switched(&gateway);
    assert_eq!(read(&mut client, 11), "that is all");
    assert!(client.is_closed());
    client.send(b"and good bye");
    client
        .reader
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("an open socket");
    assert_eq!(
        heard.recv_timeout(PATIENCE).expect("the script reads on"),
        b"and good bye"
    );
    wait_until_nobody_is_connected(&gateway);
}

#[test]
fn who_goes_away_takes_the_other_side_along() {
    let (told, heard) = mpsc::channel();
    let upstream = switching(move |connection| {
        let gone = connection.is_closed_within(PATIENCE);
        told.send(gone).map_err(io::Error::other)
    });
    let gateway = gateway_to(&[&upstream]);
    drop(switched(&gateway));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(true));
    wait_until_nobody_is_connected(&gateway);

    let upstream = switching(|_| Ok(()));
    let gateway = gateway_to(&[&upstream]);
    assert!(switched(&gateway).is_closed());
    wait_until_nobody_is_connected(&gateway);
}

#[test]
fn bytes_for_a_server_that_takes_none_are_not_collected_and_it_is_given_up() {
    let (told, heard) = mpsc::channel();
    let upstream = switching(move |connection| {
        // Ends with an error once the gateway has closed the connection. Reading would be taking.
        while connection.write(b"more").is_ok() {}
        told.send(()).map_err(io::Error::other)
    });
    let gateway = gateway(&format!(
        "{}deadlines: {{ write_stall: 150ms }}",
        upstreams(&[&upstream])
    ));
    let mut client = switched(&gateway);
    // Were it not read from, it would be the one that takes nothing.
    let mut reader = client.reader.get_ref().try_clone().expect("a second handle");
    let reading = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
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
    let _ = reading.join().expect("the reader ends");
    wait_until_nobody_is_connected(&gateway);
}

#[test]
fn a_tunnel_in_which_nothing_passes_is_closed_and_one_in_use_is_not() {
    let upstream = echoing();
    let gateway = gateway(&format!(
        "{}deadlines: {{ upgraded_idle: 400ms, drain: 200ms }}",
        upstreams(&[&upstream])
    ));
    let (mut busy, mut idle) = (switched(&gateway), switched(&gateway));
    let mut writer = busy.reader.get_ref().try_clone().expect("a second handle");
    let using = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() {
            std::thread::yield_now();
        }
    });
    assert!(idle.is_closed());
    while gateway.traffic.connections_now() > 1 {
        std::thread::yield_now();
    }
    read(&mut busy, 1);
    assert_eq!(gateway.traffic.connections_now(), 1);
    drop(gateway);
    using.join().expect("the writer ends");
}

#[test]
fn a_tunnel_holds_its_place_under_the_cap_of_connections() {
    let upstream = echoing();
    let gateway = gateway(&format!(
        "threads: 1\n{}caps: {{ connections: 1 }}",
        upstreams(&[&upstream])
    ));
    let mut first = switched(&gateway);
    let mut second = gateway.client();
    second.send(REQUEST.as_bytes());
    first.send(b"still here");
    assert_eq!(read(&mut first, 10), "still here");
    assert_eq!((gateway.traffic.connections_now(), upstream.requests().len()), (1, 1));
    drop(first);
    assert_eq!(second.answer_head().status(), Some(101));
}

#[test]
fn a_drain_leaves_tunnels_their_time_then_cuts_them_off_and_counts_them() {
    let upstream = echoing();
    let gateway = gateway(&format!("{}deadlines: {{ drain: 700ms }}", upstreams(&[&upstream])));
    let (mut stays, mut goes) = (switched(&gateway), switched(&gateway));
    let mut idle = gateway.client();
    gateway.stop();
    // Closed after the grace, which is half of this drain.
    assert!(idle.is_closed());
    for client in [&mut stays, &mut goes] {
        client.send(b"still here");
        assert_eq!(read(client, 10), "still here");
    }
    drop(goes);
    assert_eq!(gateway.drain().cut, 1);
    assert!(stays.is_closed());
}

#[test]
fn who_asks_to_go_over_while_the_gateway_drains_still_may() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let upstream = Upstream::scripted(move |connection| {
        connection.request_head()?;
        let waiting = gone_on.lock().map_err(|_| io::ErrorKind::Other)?;
        waiting.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        connection.write(SWITCH)?;
        let word = connection.bytes(4)?;
        connection.write(&word)
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    client.send(REQUEST.as_bytes());
    assert!(upstream.wait_for(1, PATIENCE));
    gateway.stop();
    while std::net::TcpStream::connect(gateway.address).is_ok() {
        std::thread::yield_now();
    }
    go.send(()).expect("the script waits");
    let answer = client.answer_head();
    assert_eq!(
        (answer.status(), answer.header("connection")),
        (Some(101), Some("upgrade"))
    );
    client.send(b"word");
    assert_eq!(read(&mut client, 4), "word");
    assert!(client.is_closed());
    drop(client);
    assert_eq!(gateway.drain().cut, 0);
}

#[test]
fn requests_to_go_over_count_like_any_other() {
    let upstream = echoing();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "rules:\n  - { name: per-client, key: ip, limit: 3/h }\n",
    );
    let tunnels: Vec<_> = (0..3).map(|_| switched(&gateway)).collect();
    let mut client = gateway.client();
    client.send(REQUEST.as_bytes());
    let refused = client.answer(ReadBody::Whole);
    assert_eq!(refused.status(), Some(429));
    assert!(refused.header("retry-after").is_some() && refused.lines("upgrade").is_empty());
    // Refused in HTTP, it is still a client of ours.
    assert_eq!(client.ask(REQUEST).status(), Some(429));
    assert_eq!(upstream.requests().len(), 3);
    drop(tunnels);
}

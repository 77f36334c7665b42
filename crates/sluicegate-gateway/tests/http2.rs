//! HTTP/2 with clients: many requests on a connection, what is no request, and clients that give up, stall or never end.

mod support;
mod tls_world;

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Mutex, mpsc};

use h2::client::SendRequest;
use http::{Request, Response, StatusCode, Version};
use sluicegate_testkit::upstream::{Upstream, ok};
use support::{PATIENCE, Running, gateway, gateway_by, gateway_to, gateway_with, policy_on, upstreams};
use tls_world::{Authority, Folder};

/// Runs a client; what it drives beside its work goes with it.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

async fn connect(gateway: &Running) -> SendRequest<bytes::Bytes> {
    let socket = tokio::net::TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    let (client, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    client
}

fn get(path: &str) -> Request<()> {
    let uri = format!("http://gateway.test{path}");
    Request::builder()
        .uri(uri)
        .version(Version::HTTP_2)
        .body(())
        .expect("a request")
}

async fn ask(client: &mut SendRequest<bytes::Bytes>, request: Request<()>) -> Response<h2::RecvStream> {
    let mut ready = client.clone().ready().await.expect("the connection is open");
    let (answer, _) = ready.send_request(request, true).expect("it may be sent");
    answer.await.expect("an answer")
}

async fn text(answer: Response<h2::RecvStream>) -> String {
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("the body goes on");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        text.extend_from_slice(&data);
    }
    String::from_utf8(text).expect("text")
}

#[test]
fn many_requests_share_a_connection_and_reach_servers_as_http_1() {
    let upstream = Upstream::answering(|request| ok(&request.target().repeat(30_000))).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    run(async {
        let mut client = connect(&gateway).await;
        let mut answers = Vec::new();
        for number in 0..20 {
            client = client.ready().await.expect("there is room");
            let (answer, _) = client
                .send_request(get(&format!("/{number:02}")), true)
                .expect("it may be sent");
            answers.push(tokio::spawn(
                async move { text(answer.await.expect("an answer")).await },
            ));
        }
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.expect("it ends"), format!("/{number:02}").repeat(30_000));
        }
    });
    assert_eq!(gateway.traffic.connections_accepted(), 1);
    let request = upstream.last().expect("it came");
    assert_eq!(
        (request.header("host"), request.header("x-forwarded-proto")),
        (Some("gateway.test"), Some("http"))
    );
}

#[test]
fn a_body_goes_up_and_cookies_come_together() {
    let upstream = Upstream::answering(|request| ok(&request.text())).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    run(async {
        let client = connect(&gateway).await;
        let mut request = get("/");
        *request.method_mut() = http::Method::POST;
        for cookie in ["a=1", "b=2", "c=3"] {
            request.headers_mut().append("cookie", cookie.parse().expect("a value"));
        }
        let mut client = client.ready().await.expect("there is room");
        let (answer, mut body) = client.send_request(request, false).expect("it may be sent");
        for (piece, is_last) in [("one ", false), ("two", true)] {
            body.send_data(piece.into(), is_last).expect("it may be sent");
        }
        assert_eq!(text(answer.await.expect("an answer")).await, "one two");
    });
    assert_eq!(upstream.last().expect("it came").lines("cookie"), ["a=1; b=2; c=3"]);
}

#[test]
fn a_grpc_call_over_its_limit_is_answered_by_trailers_alone() {
    let upstream = Upstream::answering(|_| ok("")).expect("a free port");
    let rules = "rules: [ { name: a, key: ip, limit: 1/h } ]\n";
    let gateway = gateway_with(&upstreams(&[&upstream]), rules);
    run(async {
        let mut client = connect(&gateway).await;
        let call = || {
            let mut request = get("/acme.Service/Method");
            *request.method_mut() = http::Method::POST;
            request
                .headers_mut()
                .insert("content-type", "application/grpc".parse().expect("a value"));
            request.headers_mut().insert("te", "trailers".parse().expect("a value"));
            request
        };
        assert_eq!(ask(&mut client, call()).await.status(), StatusCode::OK);
        let limited = ask(&mut client, call()).await;
        assert_eq!(limited.status(), StatusCode::OK);
        let field = |name: &str| {
            limited
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(field("grpc-status").as_deref(), Some("8"));
        assert_eq!(field("content-type").as_deref(), Some("application/grpc"));
        assert!(field("retry-after").is_some() && field("grpc-message").is_some());
        assert!(limited.body().is_end_stream(), "nothing follows the head");
    });
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_stream_that_is_reset_gives_back_its_permit_and_other_streams_go_on() {
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::scripted(move |connection| {
        while let Some(request) = connection.request()? {
            if request.target() == "/held" {
                arrived.send(()).expect("the test waits");
                // Until the gateway closes it.
                connection.rest()?;
                return Ok(());
            }
            connection.write(ok("x").as_bytes())?;
        }
        Ok(())
    })
    .expect("a free port");
    let rules = "rules: [ { name: a, key: ip, algorithm: concurrency, limit: 1 } ]\n";
    let gateway = gateway_with(&upstreams(&[&upstream]), rules);
    let arrivals = Mutex::new(arrivals);
    run(async {
        let mut client = connect(&gateway).await;
        for _ in 0..3 {
            let mut ready = client.clone().ready().await.expect("there is room");
            let (answer, mut stream) = ready.send_request(get("/held"), true).expect("it may be sent");
            let mut has_arrived = false;
            while !has_arrived {
                tokio::task::yield_now().await;
                has_arrived = arrivals.lock().expect("one at a time").try_recv().is_ok();
            }
            assert_eq!(
                ask(&mut client, get("/other")).await.status(),
                StatusCode::TOO_MANY_REQUESTS
            );
            stream.send_reset(h2::Reason::CANCEL);
            drop(answer);
            // A liveness poll: each turn is one exchange.
            while ask(&mut client, get("/other")).await.status() != StatusCode::OK {}
        }
    });
}

/// A client of raw frames.
struct Raw(TcpStream);

impl Raw {
    fn connect(gateway: &Running, settings: &[u8]) -> Self {
        let mut socket = TcpStream::connect(gateway.address).expect("it listens");
        socket.set_nodelay(true).expect("a socket of ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("it is read");
        let mut raw = Self(socket);
        raw.send(&frame(4, 0, 0, settings));
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        // The gateway may have had enough already.
        let _ = self.0.write_all(bytes);
    }

    /// The next frame: kind, flags, stream, content; `None` at the connection's end.
    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut content).ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), content))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// Fields as they stand, none of them in a table.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat();
    fields
        .iter()
        .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
        .collect()
}

const GOOD: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/x"),
];

/// T18 of the threat list.
#[test]
fn what_is_no_request_in_http2_ends_its_stream_or_is_a_400_and_reaches_nobody() {
    let upstream = Upstream::answering(|_| ok("no")).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let with = |more: &[(&'static str, &'static str)]| [&GOOD[..], more].concat();
    let but = |name: &str, value: &'static str| {
        GOOD.map(|(known, good)| (known, if known == name { value } else { good }))
            .to_vec()
    };
    let without = |name: &str| GOOD.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let cases = [
        ("a name in capitals", with(&[("X-Upper", "1")])),
        ("a field of the connection", with(&[("connection", "close")])),
        ("a coding of the transfer", with(&[("transfer-encoding", "chunked")])),
        ("te that is not trailers", with(&[("te", "gzip")])),
        (
            "a pseudo-field behind another field",
            [&[("x-a", "1")][..], &GOOD].concat(),
        ),
        ("a pseudo-field twice", with(&[(":path", "/y")])),
        ("an unknown pseudo-field", with(&[(":extra", "1")])),
        ("an empty path", but(":path", "")),
        ("a path without a slash", but(":path", "x")),
        ("a star that is not for OPTIONS", but(":path", "*")),
        ("a path that is a URL", but(":path", "http://a.test/x")),
        ("another scheme", but(":scheme", "ftp")),
        ("a tunnel", vec![(":method", "CONNECT"), (":authority", "a.test:80")]),
        ("a host that is not the authority", with(&[("host", "b.test")])),
        ("no host at all", without(":authority")),
        ("an authority with a user", but(":authority", "user@a.test")),
        ("a blank before a value", with(&[("x-a", " 1")])),
        ("a blank behind a value", with(&[("x-a", "1\t")])),
        ("a line end in a value", with(&[("x-a", "1\r\nx-b: 2")])),
        ("less than was announced", with(&[("content-length", "5")])),
    ];
    for (what, lines) in cases {
        let mut raw = Raw::connect(&gateway, &[]);
        raw.send(&frame(1, 5, 1, &fields(&lines)));
        loop {
            match raw.read() {
                // Reset, or the whole connection refused.
                Some((3, _, 1, _) | (7, ..)) | None => break,
                Some((1, _, 1, content)) => {
                    // `:status` 400, from the table of fixed fields (RFC 7541, appendix A).
                    assert_eq!(content.first(), Some(&0x8c), "{what}");
                    break;
                }
                Some(_) => {}
            }
        }
    }
    let mut raw = Raw::connect(&gateway, &[]);
    raw.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    while raw.read().is_some() {}
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    let mut raw = Raw::connect(&gateway, &[]);
    raw.send(&frame(1, 5, 1, &fields(&GOOD)));
    while !matches!(raw.read().expect("it is answered"), (1, _, 1, content) if content.first() == Some(&0x88)) {}
}

/// T38 of the threat list; CVE-2023-44487.
#[test]
fn whoever_resets_its_streams_at_once_is_told_to_calm_down() {
    let upstream = Upstream::answering(|_| ok("x")).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut raw = Raw::connect(&gateway, &[]);
    let block = fields(&GOOD);
    let burst: Vec<u8> = (0..1000)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [frame(1, 5, stream, &block), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    raw.send(&burst);
    let reason = loop {
        match raw.read() {
            Some((7, _, _, content)) => break content[4..8].to_vec(),
            Some(_) => {}
            None => unreachable!("it was closed without a word"),
        }
    };
    // ENHANCE_YOUR_CALM
    assert_eq!(reason, 11_u32.to_be_bytes());
}

/// As above, by a client that waits until each request is under way.
#[test]
fn whoever_gives_up_its_requests_one_by_one_is_closed_upon_in_the_end() {
    // Until the gateway closes it.
    let upstream = Upstream::scripted(|connection| connection.rest().map(drop)).expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut raw = Raw::connect(&gateway, &[]);
    let block = fields(&GOOD);
    let given_up = (0..700_u32).find(|number| {
        let stream = 2 * number + 1;
        raw.send(&[frame(1, 5, stream, &block), frame(6, 0, 0, &[7; 8])].concat());
        // Its echo says that what came before it has been read.
        let is_open = loop {
            match raw.read() {
                Some((6, 1, 0, _)) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        raw.send(&frame(3, 0, stream, &8_u32.to_be_bytes()));
        !is_open
    });
    assert!(given_up.is_some_and(|count| count > 100), "{given_up:?}");
}

#[test]
fn a_stream_whose_client_takes_nothing_is_reset_and_the_connection_goes_on() {
    let upstream = Upstream::answering(|_| ok(&"x".repeat(1_000_000))).expect("a free port");
    let gateway = gateway(&format!(
        "{}deadlines: {{ write_stall: 300ms }}",
        upstreams(&[&upstream])
    ));
    let mut raw = Raw::connect(&gateway, &[]);
    raw.send(&frame(1, 5, 1, &fields(&GOOD)));
    // Of the first 65 535 bytes the rest stands behind a window that is never opened.
    while !matches!(raw.read().expect("the connection goes on"), (3, _, 1, _)) {}
    raw.send(&frame(6, 0, 0, &[7; 8]));
    while !matches!(raw.read().expect("the connection goes on"), (6, 1, 0, _)) {}
}

#[test]
fn a_drain_ends_a_connection_in_http2_by_a_goaway_when_its_streams_have_ended() {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::scripted(move |connection| {
        while connection.request()?.is_some() {
            may_go.lock().expect("one at a time").recv().expect("the test says so");
            connection.write(ok("late").as_bytes())?;
        }
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    run(async {
        let socket = tokio::net::TcpStream::connect(gateway.address)
            .await
            .expect("it listens");
        let (client, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
        let ended = tokio::spawn(connection);
        let mut client = client.ready().await.expect("there is room");
        let (answer, _) = client.send_request(get("/"), true).expect("it may be sent");
        while upstream.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.stop();
        go.send(()).expect("it waits");
        assert_eq!(text(answer.await.expect("an answer")).await, "late");
        ended.await.expect("it ends").expect("by a GOAWAY, and not by a cut");
    });
    assert_eq!(gateway.drain().cut, 0);
}

#[test]
fn curl_speaks_http2_in_clear_and_by_the_handshake_where_the_policy_lets_it() {
    let upstream = Upstream::answering(|_| ok("x")).expect("a free port");
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.put("server", &authority.server(&["gateway.test"], 2100));
    let versions = |http2: &str| {
        let tls = folder.listen("");
        let tls = if http2.is_empty() {
            tls
        } else {
            format!("{}, {http2} }}", tls.trim_end_matches(" }").to_owned() + " }")
        };
        let plain = if http2.is_empty() {
            "127.0.0.1:0".to_owned()
        } else {
            format!("{{ address: \"127.0.0.1:0\", {http2} }}")
        };
        [(plain, "http", "--http2-prior-knowledge"), (tls, "https", "--http2")].map(|(listen, scheme, option)| {
            let gateway = gateway_by(&policy_on(&listen, &upstreams(&[&upstream]), ""));
            let url = format!("{scheme}://{}/", gateway.address);
            let mut curl = Command::new("curl");
            curl.args([
                "-sk",
                option,
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
                &url,
            ]);
            let told = curl.output().expect("curl runs");
            String::from_utf8_lossy(&told.stdout).into_owned()
        })
    };
    assert_eq!(versions(""), ["2 200", "2 200"]);
    let [plain, tls] = versions("http2: false");
    assert!(!plain.contains("200"), "{plain}");
    assert_eq!(tls, "1.1 200");
}

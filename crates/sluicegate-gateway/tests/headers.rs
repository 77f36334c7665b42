//! What is removed and written on the way, as the upstream and the client see it.

mod support;

use sluicegate_testkit::upstream::{Upstream, ok};
use support::{gateway_to, gateway_with, upstreams};

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

#[test]
fn hop_by_hop_headers_and_those_that_connection_names_stay_behind() {
    let upstream = recording();
    let answer = gateway_to(&[&upstream]).ask(
        "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: timeout=5\r\n\
         X-Secret: 1\r\nTE: trailers\r\nTrailer: X-Sum\r\nUpgrade: websocket\r\nProxy-Authorization: Basic eA==\r\n\
         Proxy-Connection: keep-alive\r\nProxy: http://evil.test\r\nX-Kept: 2\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "here"));
    let seen = upstream.last().expect("the upstream was asked");
    for gone in [
        "connection",
        "keep-alive",
        "x-secret",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "proxy",
    ] {
        assert!(seen.lines(gone).is_empty(), "{gone}: {:?}", seen.lines(gone));
    }
    assert_eq!(seen.header("x-kept"), Some("2"));
    assert_eq!(seen.header("host"), Some("gateway.test"));
}

#[test]
fn an_answers_hop_by_hop_headers_stay_behind_too() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         X-Kept: 2\r\nRateLimit-Policy: \"theirs\";q=1\r\nContent-Length: 4\r\n\r\nhere"
            .to_owned()
    })
    .expect("a free port");
    let answer = gateway_to(&[&upstream]).get("/");
    for gone in ["connection", "x-inner", "keep-alive", "proxy-authenticate"] {
        assert!(answer.lines(gone).is_empty(), "{gone}: {:?}", answer.lines(gone));
    }
    assert_eq!(answer.header("x-kept"), Some("2"));
    // Limits of the upstream's own are its to announce.
    assert!(answer.lines("ratelimit-policy").contains(&"\"theirs\";q=1"));
}

#[test]
fn a_stranger_cannot_say_who_it_is() {
    let upstream = recording();
    gateway_to(&[&upstream]).ask(
        "GET / HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 198.51.100.7\r\nForwarded: for=198.51.100.7\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: admin.test\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 198.51.100.7\r\n\
         True-Client-IP: 198.51.100.7\r\nCF-Connecting-IP: 198.51.100.7\r\nX-Client-IP: 198.51.100.7\r\n\
         X-Original-Forwarded-For: 198.51.100.7\r\nX_Forwarded_For: 198.51.100.7\r\nX-Real_IP: 198.51.100.7\r\n\r\n",
    );
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("gateway.test"));
    let claimed = seen.headers.iter().find(|(_, value)| value.contains("198.51.100.7"));
    assert_eq!(claimed, None);
    assert!(seen.lines("x-forwarded-port").is_empty());
}

#[test]
fn a_trusted_hop_has_its_list_continued() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "identity: { trusted_proxies: [127.0.0.0/8] }\n",
    );
    gateway.ask(
        "GET / HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\
         X-Real-IP: 198.51.100.7\r\n\r\n",
    );
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.7, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert!(seen.lines("x-real-ip").is_empty());
}

#[test]
fn the_policy_chooses_the_header_and_the_other_one_is_removed() {
    let upstream = recording();
    let gateway = gateway_with(&upstreams(&[&upstream]), "identity: { forwarded_header: forwarded }\n");
    gateway.ask("GET / HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n");
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(
        seen.header("forwarded"),
        Some("for=127.0.0.1;host=\"gateway.test\";proto=http")
    );
    assert!(seen.lines("x-forwarded-for").is_empty());
}

/// T46: a client that names the gateway's own headers as hop-by-hop.
#[test]
fn connection_cannot_name_away_what_the_gateway_writes() {
    let upstream = recording();
    let answer = gateway_to(&[&upstream]).ask(
        "GET / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\
         Connection: close, host, content-length, x-forwarded-for, x-forwarded-proto, x-forwarded-host\r\n\r\nabc",
    );
    assert_eq!(answer.status(), Some(200));
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(seen.header("host"), Some("gateway.test"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("gateway.test"));
    assert_eq!(seen.text(), "abc");
}

#[test]
fn a_target_in_absolute_form_wins_over_host() {
    let upstream = recording();
    gateway_to(&[&upstream]).ask("GET http://right.test:81/a?b=c HTTP/1.1\r\nHost: wrong.test\r\n\r\n");
    let seen = upstream.last().expect("the upstream was asked");
    assert_eq!(seen.target(), "/a?b=c");
    assert_eq!(seen.header("host"), Some("right.test:81"));
    assert_eq!(seen.header("x-forwarded-host"), Some("right.test:81"));
}

#[test]
fn no_host_two_hosts_and_a_bad_host_are_refused_and_the_connection_closed() {
    let upstream = recording();
    let gateway = gateway_to(&[&upstream]);
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: u@a\r\n",
        "Host: \r\n",
    ] {
        let mut client = gateway.client();
        let answer = client.ask(&format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
        assert_eq!(answer.status(), Some(400), "{hosts:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(client.is_closed(), "{hosts:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_tunnel_is_refused() {
    let upstream = recording();
    let answer = gateway_to(&[&upstream]).ask("CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n");
    assert_eq!(answer.status(), Some(400));
    assert!(upstream.requests().is_empty());
}

#[test]
fn targets_and_methods_pass_as_they_are() {
    let upstream = recording();
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    for (method, target) in [
        ("GET", "/a/b?c=d&e=%20"),
        ("DELETE", "/"),
        ("PATCH", "/x,y=z"),
        ("REPORT", "/caf%C3%A9"),
        ("GET", "/?"),
    ] {
        assert_eq!(
            client
                .ask(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
                .status(),
            Some(200)
        );
        let seen = upstream.last().expect("the upstream was asked");
        assert_eq!((seen.method(), seen.target()), (method, target));
    }
}

#[test]
fn the_answer_to_head_keeps_its_length_and_has_no_body() {
    let upstream = Upstream::scripted(|connection| {
        while let Some(request) = connection.request()? {
            let body = if request.method() == "HEAD" { "" } else { "body" };
            connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{body}").as_bytes())?;
        }
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    let head = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status(), head.header("content-length")), (Some(200), Some("4")));
    // A body would be read as the start of this answer.
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "body");
}

#[test]
fn an_old_client_is_answered_in_its_own_version() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n\r\n".to_owned()
    })
    .expect("a free port");
    let gateway = gateway_to(&[&upstream]);
    let mut client = gateway.client();
    let answer = client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(
        (answer.start.as_str(), answer.text().as_str()),
        ("HTTP/1.0 200 OK", "here")
    );
    assert!(client.is_closed());
    assert_eq!(upstream.last().expect("the upstream was asked").start, "GET / HTTP/1.1");
}

#[test]
fn an_old_servers_answer_goes_on_as_http_1_1() {
    let upstream = Upstream::scripted(|connection| {
        connection.request()?;
        connection.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    })
    .expect("a free port");
    let answer = gateway_to(&[&upstream]).get("/");
    assert_eq!(
        (answer.start.as_str(), answer.text().as_str()),
        ("HTTP/1.1 200 OK", "until the end")
    );
}

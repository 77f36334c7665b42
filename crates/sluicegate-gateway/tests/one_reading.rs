//! One reading of a request: what was limited is what the upstream sees.

mod support;

use sluicegate_testkit::upstream::{Upstream, ok};
use support::{Running, gateway_with, upstreams};

fn recording() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

/// A gateway that lets five requests to its login pass.
fn gateway(upstream: &Upstream, more: &str) -> Running {
    gateway_with(
        &upstreams(&[upstream]),
        &format!(
            "routes:\n  - {{ name: login, path: /login }}\n  - {{ name: batch, path: \"/items:batch\" }}\n\
             rules:\n  - {{ name: guess, routes: [login, batch], key: ip, limit: 6/min burst 5 }}\n{more}"
        ),
    )
}

#[track_caller]
fn status(gateway: &Running, target: &str) -> u16 {
    gateway.get(target).status().expect("an answer has a status")
}

/// T16
#[test]
fn twenty_spellings_of_a_path_share_one_bucket_and_the_upstream_sees_one() {
    let upstream = recording();
    let gateway = gateway(&upstream, "");
    let mut passed = 0;
    for target in [
        "//login",
        "/./login",
        "/x/../login",
        "/../login",
        "/%2e/login",
        "/x/%2E%2e/login",
        "/%6Cogin",
        "/%6c%6f%67%69%6e",
        "/login/",
        "/login//",
        "/login/.",
        "/login;a=b",
        "/login;a=b/",
        "/..;/login",
        "/login?x",
        "/login/?x=//y",
        "http://gateway.test//login",
        "/x\\..\\login",
        "/x%2f..%2flogin",
        "/login%00",
        "/%c0%ae%c0%ae/login",
        "/login%5c",
        "/login%",
    ] {
        match status(&gateway, target) {
            200 => passed += 1,
            400 | 429 => {}
            other => unreachable!("{target}: {other}"),
        }
    }
    assert_eq!(passed, 5);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 5);
    for request in seen {
        let target = request.target();
        assert_eq!(target.split('?').next(), Some("/login"), "{target}");
    }
}

#[test]
fn a_path_that_has_no_one_form_is_charged_to_nobody_and_reaches_nobody() {
    let upstream = recording();
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client();
    for _ in 0..20 {
        let answer = client.ask("GET /login%2f HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        assert_eq!(answer.status(), Some(400));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert!(upstream.requests().is_empty());
    for _ in 0..5 {
        assert_eq!(status(&gateway, "/login"), 200);
    }
    assert_eq!(status(&gateway, "/login"), 429);
}

#[test]
fn an_escaped_delimiter_is_no_way_around_a_route() {
    let upstream = recording();
    let gateway = gateway(&upstream, "");
    for target in [
        "/items:batch",
        "/items%3Abatch",
        "/items%3abatch",
        "/items:batch",
        "//items%3abatch/",
    ] {
        assert_eq!(status(&gateway, target), 200, "{target}");
    }
    for target in ["/items:batch", "/items%3abatch"] {
        assert_eq!(status(&gateway, target), 429, "{target}");
    }
    // What may mean something else to the server is passed on as it was written.
    assert_eq!(upstream.requests()[1].target(), "/items%3Abatch");
}

#[test]
fn what_the_policy_keeps_is_passed_on() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "paths: { merge_slashes: false, trailing_slash: keep, matrix_params: keep, encoded_slash: keep }\n",
    );
    for target in ["/a//b/", "/a;v=1", "/group%2Fname", "/a/./b?c=%2f"] {
        assert_eq!(status(&gateway, target), 200, "{target}");
    }
    let seen: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.target().to_owned())
        .collect();
    assert_eq!(seen, ["/a//b/", "/a;v=1", "/group%2Fname", "/a/b?c=%2f"]);
}

#[test]
fn a_star_is_for_options_alone() {
    let upstream = recording();
    let gateway = gateway_with(&upstreams(&[&upstream]), "");
    assert_eq!(gateway.ask("GET * HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(400));
    assert_eq!(gateway.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(404));
}

/// T14
#[test]
fn spellings_of_a_host_draw_from_one_bucket_on_the_wire() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "rules: [{ name: hosts, key: host, limit: 6/min burst 6 }]\n",
    );
    for (target, host) in [
        ("/", "a.example"),
        ("/", "A.Example"),
        ("/", "a.example."),
        ("/", "a.example:80"),
        ("http://a.example:8080/", "other.example"),
        ("HTTP://A.EXAMPLE./", "a.example"),
    ] {
        let answer = gateway.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), Some(200), "{target} {host}");
    }
    assert_eq!(
        gateway.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").status(),
        Some(429)
    );
    assert_eq!(
        gateway.ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").status(),
        Some(200)
    );
}

/// T8
#[test]
fn claims_of_an_address_make_no_new_client() {
    let upstream = recording();
    for name in [
        "X-Real-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Original-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-For",
        "Forwarded",
    ] {
        let gateway = gateway_with(
            &upstreams(&[&upstream]),
            "rules: [{ name: clients, key: ip, limit: 6/min burst 2 }]\n",
        );
        let mut client = gateway.client();
        let ask = |number: usize| {
            client
                .ask(&format!(
                    "GET / HTTP/1.1\r\nHost: a\r\n{name}: 203.0.113.{number}\r\n\r\n"
                ))
                .status()
        };
        let passed = (0..10).map(ask).filter(|status| *status == Some(200)).count();
        assert_eq!(passed, 2, "{name}");
    }
}

/// A gateway that lets two requests write, and any read.
fn writing(upstream: &Upstream, gateway_lines: &str) -> Running {
    gateway_with(
        &format!("{}{gateway_lines}", upstreams(&[upstream])),
        "routes:\n  - { name: write, methods: [POST, PUT, DELETE], path: /x }\n  - { name: rest, path: \"/{*rest}\" }\n\
         rules:\n  - { name: writes, routes: write, key: [ip, method], limit: 6/min burst 2 }\n",
    )
}

/// T17
#[test]
fn no_upstream_is_asked_for_another_method_by_a_header() {
    let upstream = recording();
    let gateway = writing(&upstream, "");
    for method in ["GET", "POST", "OPTIONS"] {
        for name in [
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X_HTTP_Method_Override",
        ] {
            gateway.ask(&format!(
                "{method} /x?_method=DELETE HTTP/1.1\r\nHost: a\r\n{name}: DELETE\r\n\r\n"
            ));
        }
    }
    let seen = upstream.requests();
    assert_eq!(seen.iter().filter(|request| request.method() == "POST").count(), 2);
    assert_eq!(seen.len(), 10);
    for request in seen {
        let asked = request
            .headers
            .iter()
            .find(|(name, _)| name.to_ascii_lowercase().contains("method"));
        assert_eq!(asked, None);
    }
}

/// T17
#[test]
fn a_method_that_is_asked_for_by_a_header_is_counted_as_that() {
    let upstream = recording();
    let gateway = writing(&upstream, "method_override: honour\n");
    let ask = |method: &str, asked: &str| {
        let text = format!("{method} /x HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: {asked}\r\n\r\n");
        gateway.ask(&text).status()
    };
    assert_eq!(ask("POST", "DELETE"), Some(200));
    assert_eq!(ask("POST", "delete"), Some(200));
    assert_eq!(ask("POST", "DELETE"), Some(429));
    assert_eq!(gateway.ask("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(429));
    assert_eq!(ask("POST", "PUT"), Some(200));
    assert_eq!(ask("POST", "GET"), Some(400));
    assert_eq!(ask("GET", "DELETE"), Some(200));
    let seen: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.method().to_owned())
        .collect();
    assert_eq!(seen, ["DELETE", "DELETE", "PUT", "GET"]);
}

/// T17
#[test]
fn a_method_in_small_letters_is_another_one() {
    let upstream = recording();
    let gateway = writing(&upstream, "");
    for _ in 0..3 {
        let answer = gateway.ask("post /x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.status(), Some(200), "no route names it");
    }
    assert_eq!(upstream.last().expect("the upstream was asked").method(), "post");
}

/// T46
#[test]
fn a_header_that_connection_names_is_counted_by_all_the_same() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "rules: [{ name: keys, key: header.x-api-key, limit: 6/min burst 2 }]\n",
    );
    let ask = |connection: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\nConnection: {connection}\r\n\r\n");
        gateway.ask(&text).status()
    };
    let asked = ["close", "X-Api-Key", "x-api-key, close", "x-forwarded-for, x-api-key"].map(ask);
    assert_eq!(asked, [Some(200), Some(200), Some(429), Some(429)]);
}

/// T19
#[test]
fn whatever_reaches_an_upstream_was_counted() {
    let upstream = recording();
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "rules: [{ name: all, key: ip, limit: 1000/min }]\n",
    );
    for line in [
        "GET /healthz HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET /.well-known/acme-challenge/x HTTP/1.1",
        "POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo HTTP/1.1",
        "OPTIONS /x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "HEAD /x HTTP/1.1",
        "TRACE /x HTTP/1.1",
        "PROPFIND /x HTTP/1.1",
        "get /x HTTP/1.1",
        "GET http://gateway.test/x HTTP/1.1",
        "GET /x HTTP/1.0",
        "CONNECT gateway.test:80 HTTP/1.1",
        "GET /%2f HTTP/1.1",
        "GET /x#y HTTP/1.1",
    ] {
        gateway.ask(&format!("{line}\r\nHost: gateway.test\r\n\r\n"));
    }
    gateway.ask("GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    gateway.ask("GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n");
    let engine = gateway.limiter.engine();
    let counted: u64 = engine.metrics().requests().map(|count| count.count).sum();
    // The gateway has no route for `*`, and answers by itself what it refused to read.
    assert_eq!(counted, upstream.requests().len() as u64 + 1);
    assert_eq!(upstream.requests().len(), 13);
}

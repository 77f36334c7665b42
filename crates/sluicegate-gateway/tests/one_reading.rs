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

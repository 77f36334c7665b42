//! The layer around a service that counts its calls, on a clock that the test moves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use sluicegate_tower::{Admission, Admit, InExtensions, Limit, LimitLayer, Peer, Replay, Together};
use support::limiter;
use tower::{Layer, Service, ServiceExt};

const TWO_PER_CLIENT: &str = "  - { name: per-client, key: ip, limit: 2/s }\n";

fn request(from: [u8; 4]) -> Request<Empty<Bytes>> {
    let mut request = Request::get("/items/7")
        .header("host", "api.example")
        .body(Empty::new())
        .unwrap();
    request.extensions_mut().insert(Peer(from.into()));
    request
}

/// What came back: the status, and the whole body.
async fn ask<S, B>(service: &mut S, request: Request<Empty<Bytes>>) -> (Response<()>, Bytes)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn what_is_admitted_reaches_the_service_and_what_is_not_does_not() {
    let (limiter, clock) = limiter(TWO_PER_CLIENT);
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = tower::service_fn({
        let calls = Arc::clone(&calls);
        move |request: Request<Replay<Empty<Bytes>>>| {
            calls.fetch_add(1, Ordering::Relaxed);
            let route = request.extensions().get::<Admission>().and_then(Admission::route);
            async move {
                Ok::<_, Infallible>(Response::new(Full::from(format!(
                    "{:?}",
                    route.map(sluicegate::RouteId::index)
                ))))
            }
        }
    });
    let mut service = LimitLayer::new(limiter).layer(inner);
    for remaining in [1, 0] {
        let (head, body) = ask(&mut service, request([192, 0, 2, 1])).await;
        assert_eq!((head.status().as_u16(), &body[..]), (200, &b"Some(0)"[..]));
        let standing = head.headers()["ratelimit"].to_str().unwrap();
        assert!(
            standing.starts_with(&format!("\"per-client\";r={remaining}")),
            "{standing}"
        );
        assert!(head.headers().contains_key("ratelimit-policy"));
    }
    let (head, body) = ask(&mut service, request([192, 0, 2, 1])).await;
    assert_eq!((head.status().as_u16(), calls.load(Ordering::Relaxed)), (429, 2));
    assert_eq!(head.headers()["retry-after"], "1");
    assert_eq!(head.headers()["cache-control"], "no-store");
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    assert_eq!(head.headers()["content-length"], body.len().to_string().as_str());
    assert!(
        head.headers()["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"per-client\";r=0")
    );
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["status"], 429);

    clock.advance(Duration::from_millis(500));
    assert_eq!(ask(&mut service, request([192, 0, 2, 1])).await.0.status(), 200);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn each_peer_has_a_limit_of_its_own_wherever_it_is_found() {
    let (limiter, _) = limiter(TWO_PER_CLIENT);
    let inner = tower::service_fn(|_: Request<Replay<Empty<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::from("in")))
    });
    let mut found = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
    let mut told = LimitLayer::new(Arc::clone(&limiter))
        .peer_from(|extensions: &Extensions| extensions.get::<[u8; 4]>().copied().map(IpAddr::from))
        .layer(inner);
    for _ in 0..2 {
        assert_eq!(ask(&mut found, request([192, 0, 2, 1])).await.0.status(), 200);
        assert_eq!(ask(&mut found, request([192, 0, 2, 2])).await.0.status(), 200);
    }
    assert_eq!(ask(&mut found, request([192, 0, 2, 1])).await.0.status(), 429);
    // The other way of telling finds the same client used up, and another one fresh.
    for (peer, status) in [([192_u8, 0, 2, 2], 429), ([192, 0, 2, 3], 200)] {
        let mut asked = Request::get("/items/7").body(Empty::new()).unwrap();
        asked.extensions_mut().insert(peer);
        assert_eq!(ask(&mut told, asked).await.0.status(), status);
    }
}

#[tokio::test]
async fn who_has_no_address_is_limited_with_all_who_have_none() {
    let (limiter, _) = limiter(TWO_PER_CLIENT);
    let inner = tower::service_fn(|_: Request<Replay<Empty<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::from("in")))
    });
    let mut service = LimitLayer::new(limiter).layer(inner);
    for status in [200, 200, 429] {
        let asked = Request::get("/").body(Empty::new()).unwrap();
        assert_eq!(ask(&mut service, asked).await.0.status(), status);
    }
}

#[tokio::test]
async fn request_and_proof_go_together_to_a_service_that_asks_for_both() {
    let (limiter, _) = limiter(TWO_PER_CLIENT);
    let inner = tower::service_fn(|Admit { request, admission }: Admit<Replay<Empty<Bytes>>>| async move {
        let text = format!("{} {}", request.uri().path(), admission.route().is_some());
        Ok::<_, Infallible>(Response::new(Full::from(text)))
    });
    let mut layered = LimitLayer::new(Arc::clone(&limiter))
        .hand_over::<Together>()
        .layer(inner);
    assert_eq!(ask(&mut layered, request([192, 0, 2, 1])).await.1, "/items/7 true");
    let mut for_peer = Limit::for_peer(limiter, [192, 0, 2, 1].into(), inner);
    // What the extensions say is not looked at: the connection's peer has one request left.
    assert_eq!(ask(&mut for_peer, request([192, 0, 2, 9])).await.1, "/items/7 true");
    assert_eq!(ask(&mut for_peer, request([192, 0, 2, 9])).await.0.status(), 429);
}

/// T14 of the threat list: spellings of one host.
#[tokio::test]
async fn spellings_of_a_host_share_one_limit() {
    let (limiter, _) = limiter("  - { name: per-host, key: host, limit: 3/h }\n");
    let inner = tower::service_fn(|_: Request<Replay<Empty<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::from("in")))
    });
    let mut service = LimitLayer::new(limiter).layer(inner);
    for (host, status) in [
        ("a.example", 200),
        ("A.Example", 200),
        ("a.example.", 200),
        ("a.example:80", 429),
        ("a.example:8080", 429),
        ("b.example", 200),
    ] {
        let asked = Request::get("/").header("host", host).body(Empty::new()).unwrap();
        assert_eq!(ask(&mut service, asked).await.0.status(), status, "{host}");
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_its_own() {
    let (limiter, _) = limiter(TWO_PER_CLIENT);
    let inner =
        tower::service_fn(|_: Request<Replay<Empty<Bytes>>>| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let service = LimitLayer::new(limiter).hand_over::<InExtensions>().layer(inner);
    assert_eq!(service.oneshot(request([192, 0, 2, 1])).await.err(), Some("broken"));
}

/// D10 of the requirements: told of a low `r`, a client might not follow.
#[tokio::test]
async fn a_redirection_is_not_told_of_limits() {
    let (limiter, _) = limiter(TWO_PER_CLIENT);
    let inner = tower::service_fn(|_: Request<Replay<Empty<Bytes>>>| async {
        Ok::<_, Infallible>(Response::builder().status(307).body(Full::<Bytes>::default()).unwrap())
    });
    let mut service = LimitLayer::new(limiter).hand_over::<InExtensions>().layer(inner);
    let (head, _) = ask(&mut service, request([192, 0, 2, 1])).await;
    assert_eq!(head.status(), 307);
    assert!(!head.headers().contains_key("ratelimit") && !head.headers().contains_key("ratelimit-policy"));
}

/// T16
#[tokio::test]
async fn the_inner_service_gets_the_path_that_was_limited() {
    let (limiter, _clock) = limiter("  - { name: items, routes: item, key: ip, limit: 2/h }\n");
    let inner = tower::service_fn(|request: Request<Replay<Empty<Bytes>>>| async move {
        Ok::<_, Infallible>(Response::new(Full::from(request.uri().to_string())))
    });
    let mut service = LimitLayer::new(limiter).layer(inner);
    let mut answers = Vec::new();
    for target in ["//items/./%37?a=//b", "/items/7;v=1/", "/%69tems/8", "/items%2f7"] {
        let mut request = request([192, 0, 2, 1]);
        *request.uri_mut() = target.parse().unwrap();
        let (head, body) = ask(&mut service, request).await;
        answers.push((head.status().as_u16(), String::from_utf8(body.to_vec()).unwrap()));
    }
    assert_eq!(answers[0], (200, "/items/7?a=//b".to_owned()));
    assert_eq!(answers[1], (200, "/items/7".to_owned()));
    assert_eq!(answers[2].0, 429);
    assert_eq!(answers[3].0, 400);
}

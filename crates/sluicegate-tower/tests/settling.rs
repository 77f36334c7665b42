//! What an answer puts right: by its head, by its body, and only if it came to its end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use sluicegate::Limiter;
use sluicegate_tower::{LimitLayer, Replay};
use support::{FedBody, fed, limiter, part};
use tower::{Layer, ServiceExt, service_fn};

type Asked = Request<Replay<Empty<Bytes>>>;

/// A hundred a day, sixty reserved for each: a second request passes only if the first one cost less.
const TOKENS: &str =
    "  - { name: tokens, key: [], limit: 100/d, cost: { reserve: 60, settle: response./usage/total } }\n";

const USAGE: &str = r#"{"answer":"42","usage":{"total":10}}"#;

fn request(method: &Method) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri("/items/7").header("host", "a");
    let request = request.header("accept-encoding", "gzip, br");
    request.body(Empty::new()).unwrap()
}

fn json<B>(status: u16, body: B) -> Response<B> {
    let response = Response::builder().status(status);
    response.header("content-type", "application/json").body(body).unwrap()
}

/// Whether another request would be admitted. It leaves before it is answered, so that it is charged what was reserved.
async fn has_room(limiter: &Arc<Limiter>) -> bool {
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let asked = LimitLayer::new(Arc::clone(limiter))
        .layer(inner)
        .oneshot(request(&Method::GET));
    asked.await.unwrap().status() == 200
}

#[tokio::test]
async fn a_body_that_was_read_to_its_end_tells_the_cost() {
    let (limiter, _) = limiter(TOKENS);
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(json(200, Full::<Bytes>::from(USAGE))) });
    let asked = LimitLayer::new(Arc::clone(&limiter))
        .layer(inner)
        .oneshot(request(&Method::GET));
    let body = asked.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, USAGE);
    assert!(has_room(&limiter).await);
}

/// So do servers with a body whose length they know.
#[tokio::test]
async fn a_body_of_which_nothing_is_left_need_not_be_asked_for_its_end() {
    let (limiter, _) = limiter(TOKENS);
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(json(200, Full::<Bytes>::from(USAGE))) });
    let asked = LimitLayer::new(Arc::clone(&limiter))
        .layer(inner)
        .oneshot(request(&Method::GET));
    let mut response = asked.await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    assert!(has_room(&limiter).await);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_charged_as_reserved() {
    // Not read at all, and half-way through.
    for parts in [&[][..], &[&USAGE[..20]]] {
        let (limiter, _) = limiter(TOKENS);
        let (feeder, body) = fed::<Infallible>();
        let body = Arc::new(Mutex::new(Some(body)));
        let inner = service_fn(move |_: Asked| {
            let body: FedBody<Infallible> = body.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(json(200, body)) }
        });
        let asked = LimitLayer::new(Arc::clone(&limiter))
            .layer(inner)
            .oneshot(request(&Method::GET));
        let mut response = asked.await.unwrap();
        for text in parts {
            feeder.send(Ok(part(text))).unwrap();
            response.body_mut().frame().await.unwrap().unwrap();
        }
        drop(response);
        assert!(!has_room(&limiter).await, "{parts:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_charged_as_reserved() {
    let (limiter, _) = limiter(TOKENS);
    let inner = service_fn(|_: Asked| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let asked = LimitLayer::new(Arc::clone(&limiter))
        .layer(inner)
        .oneshot(request(&Method::GET));
    let left = tokio::time::timeout(std::time::Duration::from_millis(1), asked).await;
    assert!(left.is_err());
    assert!(!has_room(&limiter).await);
}

#[tokio::test]
async fn an_answers_status_gives_back_what_was_reserved_for_a_failure() {
    let rule = "  - { name: failures, key: [], count: failures, limit: 1/d }\n";
    for (method, status, has_room_then) in [
        (Method::POST, 200, true),
        (Method::HEAD, 200, true),
        (Method::POST, 204, true),
        (Method::POST, 500, true),
        (Method::POST, 401, false),
        (Method::HEAD, 403, false),
    ] {
        let (limiter, _) = limiter(rule);
        let inner =
            service_fn(move |_: Asked| async move { Ok::<_, Infallible>(json(status, Full::<Bytes>::from("-"))) });
        let asked = LimitLayer::new(Arc::clone(&limiter))
            .layer(inner)
            .oneshot(request(&method));
        // Whoever answers a HEAD, or a 204, does not ask for a body.
        drop(asked.await.unwrap());
        assert_eq!(has_room(&limiter).await, has_room_then, "{method} {status}");
    }
}

#[tokio::test]
async fn the_service_is_asked_for_a_plain_answer_where_a_rule_reads_it() {
    for (rule, expected) in [
        (TOKENS, "identity"),
        ("  - { name: per-client, key: [], limit: 1/d }\n", "gzip, br"),
    ] {
        let (limiter, _) = limiter(rule);
        let inner = service_fn(|asked: Asked| async move {
            let encodings = asked.headers()["accept-encoding"].clone();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(encodings.as_bytes().to_vec())))
        });
        let asked = LimitLayer::new(limiter).layer(inner).oneshot(request(&Method::GET));
        let body = asked.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}

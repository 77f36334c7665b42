//! What a request holds comes free where its way ends, wherever that is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use sluicegate::Limiter;
use sluicegate_tower::{LimitBody, LimitLayer, Replay};
use support::{Fed, FedBody, fed, limiter, part};
use tokio::sync::mpsc::UnboundedSender;
use tower::{Layer, Service, ServiceExt, service_fn};

type Asked = Request<Replay<Empty<Bytes>>>;

const ONE_AT_A_TIME: &str = "  - { name: one-at-a-time, key: [], algorithm: concurrency, limit: 1 }\n";

fn one_at_a_time() -> Arc<Limiter> {
    limiter(ONE_AT_A_TIME).0
}

fn request(method: &Method) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri("/items/7").header("host", "a");
    request.body(Empty::new()).unwrap()
}

/// Whether nobody holds the one permit.
async fn is_free(limiter: &Arc<Limiter>) -> bool {
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let asked = LimitLayer::new(Arc::clone(limiter))
        .layer(inner)
        .oneshot(request(&Method::GET));
    let status = asked.await.unwrap().status().as_u16();
    assert!(status == 200 || status == 429, "{status}");
    status == 200
}

/// Asks a service that answers with this status, and with a body that the test feeds.
async fn ask_for(
    limiter: &Arc<Limiter>,
    method: &Method,
    status: u16,
) -> (
    UnboundedSender<Fed<&'static str>>,
    Response<LimitBody<FedBody<&'static str>>>,
) {
    let (feeder, body) = fed();
    let answer = Arc::new(Mutex::new(Some(Response::builder().status(status).body(body).unwrap())));
    let inner = service_fn(move |_: Asked| {
        let answer = answer.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(answer) }
    });
    let asked = LimitLayer::new(Arc::clone(limiter))
        .layer(inner)
        .oneshot(request(method));
    (feeder, asked.await.unwrap())
}

#[tokio::test]
async fn a_permit_is_held_to_the_end_of_the_body() {
    let limiter = one_at_a_time();
    let (feeder, mut response) = ask_for(&limiter, &Method::GET, 200).await;
    assert!(!is_free(&limiter).await);
    for text in ["first", "second"] {
        feeder.send(Ok(part(text))).unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
        assert!(!is_free(&limiter).await);
    }
    drop(feeder);
    assert!(response.body_mut().frame().await.is_none());
    // Though the body itself is still there.
    assert!(is_free(&limiter).await);
    drop(response);
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn a_body_that_is_dropped_half_way_gives_it_back() {
    let limiter = one_at_a_time();
    let (feeder, mut response) = ask_for(&limiter, &Method::GET, 200).await;
    feeder.send(Ok(part("first"))).unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert!(!is_free(&limiter).await);
    drop(response);
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn a_body_that_breaks_gives_it_back_at_once() {
    let limiter = one_at_a_time();
    let (feeder, mut response) = ask_for(&limiter, &Method::GET, 200).await;
    feeder.send(Err("reset")).unwrap();
    assert_eq!(response.body_mut().frame().await.unwrap().err(), Some("reset"));
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_gives_it_back() {
    let limiter = one_at_a_time();
    let inner = service_fn(|_: Asked| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let mut service = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
    let answer = service.ready().await.unwrap().call(request(&Method::GET));
    let mut answer = Box::pin(answer);
    assert!(poll_once(answer.as_mut()).await.is_none());
    assert!(!is_free(&limiter).await);
    drop(answer);
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn a_service_that_fails_gives_it_back() {
    let limiter = one_at_a_time();
    let inner = service_fn(|_: Asked| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let mut service = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
    let answer = service.ready().await.unwrap().call(request(&Method::GET)).await;
    assert_eq!(answer.err(), Some("broken"));
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn a_handler_that_panics_gives_it_back() {
    let limiter = one_at_a_time();
    for at_once in [true, false] {
        let inner = service_fn(move |_: Asked| {
            assert!(!at_once, "in the call");
            async { panic!("in the future") }
        });
        let service = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
        let answer: tokio::task::JoinHandle<Result<Response<LimitBody<Full<Bytes>>>, Infallible>> =
            tokio::spawn(async move { service.oneshot(request(&Method::GET)).await });
        assert!(answer.await.unwrap_err().is_panic());
        assert!(is_free(&limiter).await);
    }
}

/// A server writes no body there, so that it never reads to the end of one.
#[tokio::test]
async fn an_answer_without_a_body_is_over_when_it_is_sent() {
    let limiter = one_at_a_time();
    for (method, status) in [
        (Method::HEAD, 200),
        (Method::GET, 204),
        (Method::GET, 304),
        (Method::GET, 101),
    ] {
        let (feeder, response) = ask_for(&limiter, &method, status).await;
        assert!(!is_free(&limiter).await);
        drop(response);
        assert!(is_free(&limiter).await, "{method} {status}");
        drop(feeder);
    }
}

#[tokio::test]
async fn a_connection_that_leaves_http_can_keep_it() {
    let limiter = one_at_a_time();
    let (_feeder, mut response) = ask_for(&limiter, &Method::GET, 101).await;
    let passage = response.body_mut().take_passage();
    assert!(passage.is_some() && response.body_mut().take_passage().is_none());
    drop(response);
    assert!(!is_free(&limiter).await);
    drop(passage);
    assert!(is_free(&limiter).await);
}

#[tokio::test]
async fn a_refused_request_holds_nothing() {
    let limiter = one_at_a_time();
    let (feeder, first) = ask_for(&limiter, &Method::GET, 200).await;
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let mut service = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
    let mut refused = service
        .ready()
        .await
        .unwrap()
        .call(request(&Method::GET))
        .await
        .unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.body_mut().take_passage().is_none());
    drop((feeder, first));
    assert!(is_free(&limiter).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_its_turn_holds_it_and_gives_it_back_if_it_leaves() {
    let pace = "  - { name: pace, key: [], algorithm: leaky_bucket, limit: 1/s burst 10, max_wait: 10s }\n";
    let (limiter, _) = limiter(&format!("{ONE_AT_A_TIME}{pace}"));
    assert!(is_free(&limiter).await);
    let inner = service_fn(|_: Asked| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let mut service = LimitLayer::new(Arc::clone(&limiter)).layer(inner);
    let mut answer = Box::pin(service.ready().await.unwrap().call(request(&Method::GET)));
    assert!(poll_once(answer.as_mut()).await.is_none());
    assert!(!is_free(&limiter).await);
    drop(answer);
    let mut answer = Box::pin(service.ready().await.unwrap().call(request(&Method::GET)));
    assert!(poll_once(answer.as_mut()).await.is_none());
    let response = answer.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!is_free(&limiter).await);
    drop(response);
    assert!(is_free(&limiter).await);
}

/// Polls once.
async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(move |cx| {
        let polled = future.take().unwrap().poll(cx);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

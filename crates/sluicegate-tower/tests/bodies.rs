//! Rules that decide by a request's body: what is read, for how long, and what the service sees of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sluicegate::Limiter;
use sluicegate_tower::{BodyFault, LimitLayer, Replay};
use support::{FedBody, fed, limiter, part};
use tower::{Layer, ServiceExt, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What came back, and what the service saw.
struct Answer {
    status: u16,
    body: String,
    calls: usize,
}

fn reading() -> Arc<Limiter> {
    limiter("  - { name: other, key: ip, limit: 1M/s }\n").0
}

fn request<B>(bytes_max: usize, body: B) -> Request<B> {
    let request = Request::post("/items/7").header("host", "a");
    let request = request.header("x-stub-body", bytes_max.to_string());
    request.body(body).unwrap()
}

/// Asks a service that answers with what it reads.
async fn ask<B>(limiter: &Arc<Limiter>, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes, Error: Into<Error>> + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = service_fn({
        let calls = Arc::clone(&calls);
        move |request: Request<Replay<B>>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move {
                let exact = request.body().size_hint().exact();
                let Ok(whole) = request.into_body().collect().await else {
                    return Ok(Response::new(Full::from("broken")));
                };
                let trailers = whole.trailers().map_or(0, HeaderMap::len);
                let text = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
                Ok::<_, Infallible>(Response::new(Full::from(format!("{text} {exact:?} {trailers}"))))
            }
        }
    });
    let asked = LimitLayer::new(Arc::clone(limiter)).layer(inner).oneshot(request);
    let (head, body) = asked.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
        calls: calls.load(Ordering::Relaxed),
    }
}

#[tokio::test]
async fn the_service_sees_what_a_rule_has_read() {
    let limiter = reading();
    let answer = ask(&limiter, request(64, Full::from("whole"))).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "whole Some(5) 0"));

    let (feeder, body) = fed::<Error>();
    for text in ["in", " ", "pieces"] {
        feeder.send(Ok(part(text))).unwrap();
    }
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("0"))]);
    feeder.send(Ok(Frame::trailers(trailers))).unwrap();
    drop(feeder);
    let answer = ask(&limiter, request(64, body)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "in pieces None 1"));
}

#[tokio::test]
async fn a_body_that_no_rule_reads_is_not_waited_for() {
    let (feeder, body) = fed::<Error>();
    let mut asked = request(64, body);
    asked.headers_mut().remove("x-stub-body");
    let inner = service_fn(|request: Request<Replay<FedBody<Error>>>| async move {
        assert!(!request.body().is_end_stream());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let answer = LimitLayer::new(reading()).layer(inner).oneshot(asked).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(feeder);
}

#[tokio::test]
async fn a_body_that_its_rules_refuse_does_not_reach_the_service() {
    let answer = ask(&reading(), request(64, Full::from("deny me"))).await;
    assert_eq!((answer.status, answer.calls), (429, 0));
}

#[tokio::test]
async fn a_body_above_what_is_read_is_a_413_announced_or_not() {
    let limiter = reading();
    for (size, status) in [(64, 200), (65, 413)] {
        let text = "x".repeat(size);
        let announced = ask(&limiter, request(64, Full::from(text.clone()))).await;
        let (feeder, body) = fed::<Error>();
        feeder.send(Ok(part(&text[..40]))).unwrap();
        feeder.send(Ok(part(&text[40..]))).unwrap();
        drop(feeder);
        let streamed = ask(&limiter, request(64, body)).await;
        assert_eq!((announced.status, streamed.status), (status, status), "{size}");
    }
}

/// A body that says its size and must not be asked for more.
struct Announced(u64);

impl Body for Announced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        unreachable!("a client would be told to go on")
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_asked_for() {
    let answer = ask(&reading(), request(64, Announced(65))).await;
    assert_eq!((answer.status, answer.calls), (413, 0));
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&document["status"], &document["type"]),
        (&413.into(), &"about:blank".into())
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_the_clients_fault() {
    let limiter = reading();
    for text in ["!", ""] {
        let answer = ask(&limiter, request(64, Full::from(text))).await;
        assert_eq!((answer.status, answer.calls), (400, 0), "{text:?}");
        let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(document["title"], "Bad Request");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("of the server's own")]
struct Own(#[source] BodyFault);

#[tokio::test]
async fn a_body_that_breaks_off_is_answered_as_its_error_says() {
    let limiter = reading();
    for (error, status) in [
        (Error::from("anything"), 400),
        (BodyFault::Late.into(), 408),
        (Own(BodyFault::TooLarge).into(), 413),
    ] {
        let (feeder, body) = fed::<Error>();
        feeder.send(Ok(part("begun"))).unwrap();
        feeder.send(Err(error)).unwrap();
        let answer = ask(&limiter, request(64, body)).await;
        assert_eq!((answer.status, answer.calls), (status, 0));
    }
}

/// However it trickles.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_a_408() {
    let limiter = reading();
    let (feeder, body) = fed::<Error>();
    let trickle = tokio::spawn(async move {
        while feeder.send(Ok(part("x"))).is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    });
    let answer = ask(&limiter, request(64, body)).await;
    assert_eq!((answer.status, answer.calls), (408, 0));
    trickle.await.unwrap();
}

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
use support::{FedBody, fed, limiter, limiter_of, part};
use tower::{Layer, ServiceExt, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What came back, and what the service saw.
struct Answer {
    status: u16,
    body: String,
    calls: usize,
}

/// One request for each user of its body, and the least of bytes that a policy can have read.
fn reading() -> Arc<Limiter> {
    limiter_of(
        "identity: { body_bytes: 1KiB }\n",
        "  - { name: by-user, key: body./user, limit: 1/d }\n",
    )
    .0
}

const BYTES_MAX: usize = 1024;

fn request<B>(body: B) -> Request<B> {
    let request = Request::post("/items/7").header("host", "a");
    request.header("content-type", "application/json").body(body).unwrap()
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
    let answer = ask(&limiter, request(Full::from(r#"{"user":"a"}"#))).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"user":"a"} Some(12) 0"#)
    );

    let (feeder, body) = fed::<Error>();
    for text in [r#"{"us"#, r#"er":"#, r#""b"}"#] {
        feeder.send(Ok(part(text))).unwrap();
    }
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("0"))]);
    feeder.send(Ok(Frame::trailers(trailers))).unwrap();
    drop(feeder);
    let answer = ask(&limiter, request(body)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"user":"b"} None 1"#));
}

#[tokio::test]
async fn a_body_that_no_rule_reads_is_not_waited_for() {
    let (feeder, body) = fed::<Error>();
    let inner = service_fn(|request: Request<Replay<FedBody<Error>>>| async move {
        assert!(!request.body().is_end_stream());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let (limiter, _) = limiter("  - { name: per-client, key: ip, limit: 1/d }\n");
    let answer = LimitLayer::new(limiter).layer(inner).oneshot(request(body)).await;
    assert_eq!(answer.unwrap().status(), 200);
    drop(feeder);
}

#[tokio::test]
async fn a_body_that_its_rules_refuse_does_not_reach_the_service() {
    let limiter = reading();
    for (user, expected) in [("a", (200, 1)), ("a", (429, 0)), ("b", (200, 1))] {
        let answer = ask(&limiter, request(Full::from(format!(r#"{{"user":"{user}"}}"#)))).await;
        assert_eq!((answer.status, answer.calls), expected, "{user}");
    }
}

#[tokio::test]
async fn a_body_above_what_is_read_is_a_413_announced_or_not() {
    for (size, status) in [(BYTES_MAX, 200), (BYTES_MAX + 1, 413)] {
        let text = format!("{:size$}", r#"{"user":"a"}"#);
        let announced = ask(&reading(), request(Full::from(text.clone()))).await;
        let (feeder, body) = fed::<Error>();
        feeder.send(Ok(part(&text[..700]))).unwrap();
        feeder.send(Ok(part(&text[700..]))).unwrap();
        drop(feeder);
        let streamed = ask(&reading(), request(body)).await;
        assert_eq!((announced.status, streamed.status), (status, status), "{size}");
    }
}

/// The head's rules take first, and a client that they refuse cannot make anybody read.
#[tokio::test]
async fn a_request_that_its_head_refuses_is_not_read() {
    let (limiter, _) =
        limiter("  - { name: per-client, key: [], limit: 1/d }\n  - { name: by-user, key: body./user, limit: 1/d }\n");
    assert_eq!(ask(&limiter, request(Full::from(r#"{"user":"a"}"#))).await.status, 200);
    let (feeder, body) = fed::<Error>();
    assert_eq!(ask(&limiter, request(body)).await.status, 429);
    drop(feeder);
}

/// What the head's rules had taken is there for the next.
#[tokio::test]
async fn a_body_that_fails_or_whose_client_leaves_gives_everything_back() {
    let (limiter, _) =
        limiter("  - { name: everyone, key: [], limit: 1/d }\n  - { name: by-user, key: body./user, limit: 1/d }\n");
    assert_eq!(ask(&limiter, request(Full::from("{"))).await.status, 400);
    let (feeder, body) = fed::<Error>();
    let inner = service_fn(|_: Request<Replay<FedBody<Error>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let answer = LimitLayer::new(Arc::clone(&limiter))
        .layer(inner)
        .oneshot(request(body));
    feeder.send(Ok(part("{"))).unwrap();
    let left = tokio::time::timeout(std::time::Duration::from_millis(1), answer).await;
    assert!(left.is_err(), "it waits for the rest");
    assert_eq!(ask(&limiter, request(Full::from(r#"{"user":"a"}"#))).await.status, 200);
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
    let answer = ask(&reading(), request(Announced(BYTES_MAX as u64 + 1))).await;
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
    let json = "application/json";
    for (text, media, status, title) in [
        ("{!", json, 400, "Bad Request"),
        (r#"{"user":"a""#, json, 400, "Bad Request"),
        (r#"{"user":"a","user":"b"}"#, json, 400, "Bad Request"),
        ("a", "text/plain", 415, "Unsupported Media Type"),
    ] {
        let mut asked = request(Full::from(text));
        asked.headers_mut().insert("content-type", media.parse().unwrap());
        let answer = ask(&limiter, asked).await;
        assert_eq!((answer.status, answer.calls), (status, 0), "{text:?}");
        let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&document["title"], &document["status"]),
            (&title.into(), &status.into())
        );
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
        feeder.send(Ok(part("{"))).unwrap();
        feeder.send(Err(error)).unwrap();
        let answer = ask(&limiter, request(body)).await;
        assert_eq!((answer.status, answer.calls), (status, 0));
    }
}

/// However it trickles.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_a_408() {
    let limiter = reading();
    let (feeder, body) = fed::<Error>();
    let trickle = tokio::spawn(async move {
        while feeder.send(Ok(part(" "))).is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    });
    let answer = ask(&limiter, request(body)).await;
    assert_eq!((answer.status, answer.calls), (408, 0));
    trickle.await.unwrap();
}

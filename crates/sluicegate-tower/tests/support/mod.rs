//! Limiters by a few rules, and bodies that a test feeds.

#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use sluicegate::policy::Policy;
use sluicegate::{Limiter, ManualClock, Secret};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A limiter by these rules, and its clock.
pub fn limiter(rules: &str) -> (Arc<Limiter>, Arc<ManualClock>) {
    limiter_of("", rules)
}

/// As [`limiter`], with more of the policy before.
pub fn limiter_of(more: &str, rules: &str) -> (Arc<Limiter>, Arc<ManualClock>) {
    let text = format!(
        "version: 1\nstate: {{ memory: 1MiB }}\n{more}routes:\n  - {{ name: item, path: \"/items/{{id}}\" }}\nrules:\n{rules}"
    );
    let (policy, _) = Policy::parse("test", &text).unwrap();
    let clock = Arc::new(ManualClock::default());
    (
        Arc::new(Limiter::new(&policy, &Secret::from_bytes([7; 32]), Arc::clone(&clock)).unwrap()),
        clock,
    )
}

/// What a body gives next.
pub type Fed<E> = Result<Frame<Bytes>, E>;

/// A body that gives what it is fed, and ends when its feeder is dropped.
pub struct FedBody<E>(UnboundedReceiver<Fed<E>>);

pub fn fed<E>() -> (UnboundedSender<Fed<E>>, FedBody<E>) {
    let (feeder, fed) = unbounded_channel();
    (feeder, FedBody(fed))
}

/// A part of a body.
pub fn part(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

impl<E> Body for FedBody<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Fed<E>>> {
        self.0.poll_recv(cx)
    }
}

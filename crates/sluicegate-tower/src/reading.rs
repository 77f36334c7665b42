//! Reading a request's body for the rules that decide by it, before anybody else may.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use pin_project_lite::pin_project;
use sluicegate::body::ReadFault;
use sluicegate::{BodyQuestion, Decision};
use tokio::time::Sleep;

use crate::fault::BodyFault;
use crate::replay::Replay;
use crate::service::{BoxError, POLLED_AGAIN};

pin_project! {
    /// The limiter's answer to a body, and the body to be read again. Dropped, it withdraws the request: the question gives
    /// back what it took.
    pub(crate) struct Reading<B> {
        #[pin]
        body: B,
        #[pin]
        deadline: Sleep,
        question: Option<BodyQuestion>,
        // Copied, so that it takes no more than it has bytes: each frame may be a few of them in a large buffer of a server's.
        data: BytesMut,
        trailers: Option<HeaderMap>,
    }
}

impl<B> Reading<B> {
    pub(crate) fn new(question: BodyQuestion, body: B) -> Self {
        Self {
            body,
            deadline: tokio::time::sleep(BODY_MAX),
            question: Some(question),
            data: BytesMut::new(),
            trailers: None,
        }
    }
}

impl<B> Future for Reading<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<(Decision, Replay<B>), BodyFault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let question = this.question.as_mut().expect(POLLED_AGAIN);
        let bytes_max = question.bytes_max();
        let too_large = ReadFault::TooLarge {
            bytes_max: bytes_max as u64,
        };
        // Before the first byte of it is asked for, where it says so itself.
        let least = this.data.len() as u64 + this.body.size_hint().lower();
        if least > bytes_max as u64 {
            return Poll::Ready(Err(too_large.into()));
        }
        loop {
            let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
                return this.deadline.poll(cx).map(|()| Err(BodyFault::Late));
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| BodyFault::of(&*error.into()).unwrap_or(BodyFault::Broken))?;
            match frame.into_data() {
                Ok(data) if data.len() > bytes_max - this.data.len() => return Poll::Ready(Err(too_large.into())),
                Ok(data) => {
                    question.feed(&data)?;
                    this.data.extend_from_slice(&data);
                }
                Err(other) => *this.trailers = other.into_trailers().ok(),
            }
        }
        let question = this.question.take().expect(POLLED_AGAIN);
        let decision = question.finish()?;
        let body = Replay::read(mem::take(this.data).freeze(), this.trailers.take());
        Poll::Ready(Ok((decision, body)))
    }
}

/// How long a body may take to arrive where a rule needs all of it: as long as the slowest connection in use needs for a
/// body of the default size, 64 KiB at 2 KB/s. What the head's rules have reserved is held for it meanwhile.
const BODY_MAX: Duration = Duration::from_secs(30);

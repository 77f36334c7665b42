//! Reading a request's body for the rules that decide by it, before anybody else may.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use sluicegate::body::ReadFault;
use sluicegate::{BodyQuestion, Outcome};
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
        // `None` once it was answered.
        inquiry: Option<Inquiry>,
    }
}

/// A question, and what was read for it so far.
struct Inquiry {
    question: Box<BodyQuestion>,
    /// Copied, so that it takes no more than it has bytes: each frame may be a few of them in a large buffer of a server's.
    data: BytesMut,
    trailers: Option<HeaderMap>,
    /// Whether the question wants no more of it, and the rest is read only to be passed on.
    unreadable: bool,
}

impl<B> Reading<B> {
    pub(crate) fn new(question: Box<BodyQuestion>, body: B) -> Self {
        Self {
            body,
            deadline: tokio::time::sleep(BODY_MAX),
            inquiry: Some(Inquiry {
                question,
                data: BytesMut::new(),
                trailers: None,
                unreadable: false,
            }),
        }
    }
}

impl<B> Future for Reading<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<(Outcome, Replay<B>), BodyFault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inquiry = this.inquiry.as_mut().expect(POLLED_AGAIN);
        let read = match inquiry.read(this.body, cx) {
            // A rule that is not enforced may refuse nobody, not even who is slow.
            Poll::Pending if inquiry.question.is_advisory() => return Poll::Pending,
            Poll::Pending => {
                ready!(this.deadline.poll(cx));
                Err(BodyFault::Late)
            }
            Poll::Ready(read) => read,
        };
        let Inquiry {
            question,
            data,
            trailers,
            unreadable,
        } = this.inquiry.take().expect(POLLED_AGAIN);
        if let Err(fault) = read {
            question.refused();
            return Poll::Ready(Err(fault));
        }
        let outcome = if unreadable {
            question.finish_unread()
        } else if question.is_advisory() {
            question.finish_advisory()
        } else {
            question.finish()?
        };
        Poll::Ready(Ok((outcome, Replay::read(data.freeze(), trailers))))
    }
}

impl Inquiry {
    /// Reads what there is. Ready at the body's end.
    fn read<B>(&mut self, mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Result<(), BodyFault>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        // Before the first byte of it is asked for, where it says so itself.
        self.check_room(body.size_hint().lower())?;
        while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| BodyFault::of(&*error.into()).unwrap_or(BodyFault::Broken))?;
            self.take(frame)?;
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), BodyFault> {
        match frame.into_data() {
            Ok(data) => {
                self.check_room(data.len() as u64)?;
                if !self.unreadable
                    && let Err(fault) = self.question.feed(&data)
                {
                    if !self.question.is_advisory() {
                        return Err(fault.into());
                    }
                    self.unreadable = true;
                }
                self.data.extend_from_slice(&data);
            }
            Err(other) => self.trailers = other.into_trailers().ok(),
        }
        Ok(())
    }

    /// Whether so many bytes more are not too many.
    fn check_room(&self, more: u64) -> Result<(), ReadFault> {
        let bytes_max = self.question.bytes_max() as u64;
        if more > bytes_max - self.data.len() as u64 {
            return Err(ReadFault::TooLarge { bytes_max });
        }
        Ok(())
    }
}

/// How long a body may take to arrive where a rule needs all of it: as long as the slowest connection in use needs for a
/// body of the default size, 64 KiB at 2 KB/s. What the head's rules have reserved is held for it meanwhile.
const BODY_MAX: Duration = Duration::from_secs(30);

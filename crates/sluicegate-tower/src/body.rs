//! The body of an answer: the inner service's, or a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::passage::Passage;

pin_project! {
    /// The inner service's body as it is, or the document that says why a request was refused.
    ///
    /// The body of an admitted request carries what the request holds. Permits come free when the body is dropped, or
    /// has been read to its end.
    #[derive(Debug)]
    pub struct LimitBody<B> {
        #[pin]
        side: Side<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = SideProjection]
    enum Side<B> {
        // The body goes first, and with it whatever work it stands for.
        Inner { #[pin] body: B, passage: Option<Passage> },
        Refusal { document: Option<Bytes> },
    }
}

impl<B> LimitBody<B> {
    /// The request was admitted, and the inner service answered with `body`.
    #[inline]
    pub(crate) fn inner(body: B, passage: Passage) -> Self {
        Self {
            side: Side::Inner {
                body,
                passage: Some(passage),
            },
        }
    }

    /// It was not, and this is why.
    pub(crate) fn refusal(document: Bytes) -> Self {
        Self {
            side: Side::Refusal {
                // Where there is nothing to say, that is the end, and in HTTP/2 the head says so itself: gRPC asks for it.
                document: Some(document).filter(|document| !document.is_empty()),
            },
        }
    }

    /// Takes out what the request holds, so that it outlives the body: for an answer of 101, whose body is empty while
    /// the connection goes on in another protocol. Drop it when that has ended. `None` for a refusal, and if it was
    /// taken before.
    ///
    /// Without this a request holds its permits only until its 101 is sent: what becomes of the connection then, no layer
    /// can see.
    pub fn take_passage(&mut self) -> Option<Passage> {
        match &mut self.side {
            Side::Inner { passage, .. } => passage.take(),
            Side::Refusal { .. } => None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().side.project() {
            SideProjection::Inner { mut body, passage } => {
                let polled = body.as_mut().poll_frame(cx);
                if let (Poll::Ready(polled), Some(passage)) = (&polled, passage) {
                    match polled {
                        Some(Ok(frame)) => {
                            passage.passes(frame.data_ref().map(|data| &**data), body.is_end_stream());
                        }
                        Some(Err(_)) => passage.broke(),
                        None => passage.ended(),
                    }
                }
                polled
            }
            SideProjection::Refusal { document } => Poll::Ready(document.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.side {
            Side::Inner { body, .. } => body.is_end_stream(),
            Side::Refusal { document } => document.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.side {
            Side::Inner { body, .. } => body.size_hint(),
            Side::Refusal { document } => SizeHint::with_exact(document.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

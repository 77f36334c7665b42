//! The body of an answer: the inner service's, or a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The inner service's body as it is, or the document that says why a request was refused.
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
        Inner { #[pin] body: B },
        Refusal { document: Option<Bytes> },
    }
}

impl<B> LimitBody<B> {
    /// The request was admitted, and the inner service answered with `body`.
    #[inline]
    pub(crate) fn inner(body: B) -> Self {
        Self {
            side: Side::Inner { body },
        }
    }

    /// It was not, and this is why.
    pub(crate) fn refusal(document: Bytes) -> Self {
        Self {
            side: Side::Refusal {
                document: Some(document),
            },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().side.project() {
            SideProjection::Inner { body } => body.poll_frame(cx),
            SideProjection::Refusal { document } => Poll::Ready(document.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.side {
            Side::Inner { body } => body.is_end_stream(),
            Side::Refusal { document } => document.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.side {
            Side::Inner { body } => body.size_hint(),
            Side::Refusal { document } => SizeHint::with_exact(document.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

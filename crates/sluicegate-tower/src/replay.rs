//! The body of a request on its way to the inner service, whether a rule has read it before or not.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// What the client sends, as it comes; or, where a rule had to read it first, all of it once more.
    #[derive(Debug)]
    pub struct Replay<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = SourceProjection]
    enum Source<B> {
        Straight { #[pin] body: B },
        // Each until it was given; `data` is never empty.
        Read { data: Option<Bytes>, trailers: Option<HeaderMap> },
    }
}

impl<B> Replay<B> {
    /// Nobody has read any of it.
    #[inline]
    pub(crate) const fn straight(body: B) -> Self {
        Self {
            source: Source::Straight { body },
        }
    }

    /// The body, if nobody has read any of it.
    pub(crate) fn unread(self) -> Option<B> {
        match self.source {
            Source::Straight { body } => Some(body),
            Source::Read { .. } => None,
        }
    }

    /// It was read to its end.
    pub(crate) fn read(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            source: Source::Read {
                data: (!data.is_empty()).then_some(data),
                trailers,
            },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Replay<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().source.project() {
            SourceProjection::Straight { body } => body.poll_frame(cx),
            SourceProjection::Read { data, trailers } => {
                let frame = data.take().map(Frame::data);
                let frame = frame.or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Straight { body } => body.is_end_stream(),
            Source::Read { data, trailers } => data.is_none() && trailers.is_none(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Straight { body } => body.size_hint(),
            Source::Read { data, trailers } => {
                let bytes = data.as_ref().map_or(0, |data| data.len() as u64);
                if trailers.is_none() {
                    return SizeHint::with_exact(bytes);
                }
                // A message of known length has no place for trailers.
                let mut hint = SizeHint::new();
                hint.set_lower(bytes);
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn read(data: &'static str, trailers: Option<HeaderMap>) -> Replay<Full<Bytes>> {
        Replay::read(Bytes::from_static(data.as_bytes()), trailers)
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("never"))])
    }

    #[tokio::test]
    async fn what_was_read_is_given_once_with_its_length_and_its_trailers() {
        let mut body = read("abc", None);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
        let frame = body.frame().await.expect("a frame").expect("nothing can fail");
        assert_eq!(frame.into_data().ok().as_deref(), Some(&b"abc"[..]));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
        assert!(body.frame().await.is_none());

        let body = read("abc", Some(trailers()));
        assert_eq!((body.size_hint().exact(), body.size_hint().lower()), (None, 3));
        let whole = body.collect().await.expect("nothing can fail");
        assert_eq!(whole.trailers(), Some(&trailers()));
        assert_eq!(whole.to_bytes(), "abc");
    }

    #[tokio::test]
    async fn an_empty_body_is_at_its_end_and_trailers_alone_are_not() {
        assert!(read("", None).is_end_stream());
        let body = read("", Some(trailers()));
        assert!(!body.is_end_stream());
        let whole = body.collect().await.expect("nothing can fail");
        assert_eq!(whole.trailers(), Some(&trailers()));
    }

    #[tokio::test]
    async fn what_nobody_read_passes_as_it_is() {
        let body = Replay::straight(Full::from("abc"));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
        assert_eq!(body.collect().await.expect("nothing can fail").to_bytes(), "abc");
    }
}

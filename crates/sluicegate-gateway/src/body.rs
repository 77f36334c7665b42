//! The bodies that stream through: a request's on its way to the upstream, an answer's on its way to the client.
//!
//! Neither is ever collected. Each frame passes as it comes, under a cap and a deadline for the next one.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use sluicegate_tower::{BodyFault, Replay};

use crate::connection::{Receipt, SharedWatch};
use crate::upstream::{Link, Server};

/// A client's body as it is sent to a server.
pub(crate) type Outbound = Replay<RequestBody>;

/// A client's body, as the limiter or an upstream connection reads it.
pub(crate) struct RequestBody {
    incoming: Incoming,
    /// `None` means unbounded.
    bytes_left: Option<u64>,
    receipt: Receipt,
}

impl RequestBody {
    /// `bytes_max`: `None` means unbounded.
    pub(crate) fn new(incoming: Incoming, bytes_max: Option<u64>, watch: SharedWatch) -> Self {
        Self {
            receipt: Receipt::new(watch, incoming.is_end_stream()),
            incoming,
            bytes_left: bytes_max,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            return match this.receipt.pending(cx.waker()) {
                Ok(()) => Poll::Pending,
                Err(_too_long) => Poll::Ready(Some(Err(BodyFault::Late))),
            };
        };
        this.receipt.progressed();
        let Some(frame) = frame.transpose().map_err(|_| BodyFault::Broken)? else {
            this.receipt.ended();
            return Poll::Ready(None);
        };
        if this.incoming.is_end_stream() {
            this.receipt.ended();
        }
        if let (Some(left), Some(data)) = (&mut this.bytes_left, frame.data_ref()) {
            *left = left.checked_sub(data.len() as u64).ok_or(BodyFault::TooLarge)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What goes back to a client: an upstream's body, or a text of the gateway's own.
pub(crate) enum Reply {
    /// Streamed from a server.
    Relay(Relay),
    /// `None` once it was read.
    Text(Option<Bytes>),
}

/// An answer's body on its way from a server to a client.
pub(crate) struct Relay {
    incoming: Incoming,
    /// `None` once the whole answer is here, or the connection is driven apart from it.
    link: Option<Box<Link>>,
    server: Rc<Server>,
    watch: SharedWatch,
}

/// Why an answer's body broke off. The client sees its connection end early; there is no way to say more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyFault {
    #[error("the upstream's body stopped coming")]
    Late,
    #[error("the upstream's body broke off")]
    Broken(#[source] hyper::Error),
}

impl From<Bytes> for Reply {
    fn from(text: Bytes) -> Self {
        Self::Text(Some(text))
    }
}

impl Reply {
    /// No body at all.
    pub(crate) const fn nothing() -> Self {
        Self::Text(None)
    }

    /// The body of an answer whose head came over `link` from `server`.
    pub(crate) fn relay(incoming: Incoming, link: Box<Link>, server: Rc<Server>, watch: SharedWatch) -> Self {
        let mut relay = Relay {
            incoming,
            link: Some(link),
            server,
            watch,
        };
        if relay.watch.is_uploading() {
            // The answer came before the whole request was read.
            if let Some(link) = relay.link.take() {
                relay.watch.uploads().take_on(link);
            }
        }
        relay.part_if_done();
        Self::Relay(relay)
    }
}

impl Relay {
    /// Gives the connection back as soon as it has brought the whole answer, even if the client has not read it yet.
    #[inline]
    fn part_if_done(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_ready()) {
            self.server.keep(link, self.watch.now());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let Some(link) = &mut self.link else { return polled };
        if polled.is_ready() {
            // The connection may have to see for itself that the body is over.
            if matches!(polled, Poll::Ready(None)) && link.drive(cx).is_ready() {
                self.link = None;
            }
            self.part_if_done();
            return polled;
        }
        if link.drive(cx).is_ready() {
            self.link = None;
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.part_if_done();
        polled
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyFault>>> {
        match &mut *self {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Relay(relay) => {
                let polled = relay.poll(cx);
                let wait = relay.watch.download();
                if polled.is_pending() {
                    return match wait.pending(cx.waker()) {
                        Ok(()) => Poll::Pending,
                        Err(_too_long) => Poll::Ready(Some(Err(ReplyFault::Late))),
                    };
                }
                wait.progressed();
                Poll::Ready(ready!(polled).map(|frame| frame.map_err(ReplyFault::Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.watch.download().progressed();
        // hyper does not ask for the end of a body whose length it knows; the connection may be done all the same.
        self.part_if_done();
    }
}

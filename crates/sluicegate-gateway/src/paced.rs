//! A body on its way into a stream of HTTP/2: in pieces, and under a deadline for the client to take each.
//!
//! The library takes what it is given and keeps it until the client's window opens. In small pieces that is little, and the time from one
//! piece to the call for the next is what the client takes for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::connection::SharedWatch;

pin_project! {
    /// A body that is handed on in pieces.
    pub(crate) struct Paced<B> {
        #[pin]
        body: B,
        rest: Bytes,
        watch: SharedWatch,
    }
}

impl<B: Body<Data = Bytes>> Paced<B> {
    pub(crate) fn new(body: B, watch: SharedWatch) -> Self {
        let paced = Self {
            body,
            rest: Bytes::new(),
            watch,
        };
        if paced.is_end_stream() {
            paced.watch.said_all();
        }
        paced
    }
}

impl<B: Body<Data = Bytes>> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        this.watch.piece_taken();
        if this.rest.is_empty() {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(trailers) => {
                        this.watch.said_all();
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.watch.said_all();
                    return Poll::Ready(None);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.remaining().min(PIECE_BYTES));
        if this.rest.is_empty() && this.body.is_end_stream() {
            this.watch.said_all();
        } else {
            this.watch.piece_given();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// The least that the largest frame of every client is: a client on the worst of lines takes this much in half a minute.
const PIECE_BYTES: usize = 16 * 1024;

//! One connection to an upstream server, driven by the request that uses it.
//!
//! hyper's usual way is a task of its own for each connection, woken to send and waking the client's task to hand back.
//! A request drives its connection itself here: the same bytes with two wake-ups less, and dropping the request, since
//! its client went away, closes the connection at once.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use sluicegate_tower::Passage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::line::{Flow, Line};
use crate::body::Outbound;
use crate::connection::SharedWatch;
use crate::tunnel::Mouth;

/// An open connection. Idle, sending, or receiving; only one request at a time.
pub(crate) struct Link {
    sender: SendRequest<Outbound>,
    wire: Wire,
    flow: Rc<Flow>,
}

/// The half of a connection that has to be driven.
enum Wire {
    Open(Connection<TokioIo<Line>, Outbound>),
    /// HTTP has come to its end. Driven on, hyper would close what has gone over to another protocol.
    Over(Connection<TokioIo<Line>, Outbound>),
    Gone,
}

impl Wire {
    #[inline]
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Open(connection) = self else {
            return Poll::Ready(());
        };
        if Pin::new(connection).poll(cx).is_pending() {
            return Poll::Pending;
        }
        if let Self::Open(connection) = std::mem::replace(self, Self::Gone) {
            *self = Self::Over(connection);
        }
        Poll::Ready(())
    }
}

/// A connection to a server that has left HTTP.
pub(crate) struct Far {
    mouth: Mouth<Line>,
    /// What the request holds until the connection closes.
    passage: Option<Passage>,
}

impl Far {
    /// Keeps what the request holds.
    pub(crate) fn keep(&mut self, passage: Option<Passage>) {
        self.passage = passage;
    }

    /// The server's mouth of the tunnel, and what is to be dropped behind it.
    pub(crate) fn into_parts(self) -> (Mouth<impl AsyncRead + AsyncWrite + Unpin>, Option<Passage>) {
        (self.mouth, self.passage)
    }
}

/// Why a request got no answer on a link.
pub(crate) enum Failure {
    /// Nothing of it was sent: another link may take it.
    Unsent(Box<Request<Outbound>>),
    /// It may have been sent, so that nobody may send it again.
    Broken(hyper::Error),
    /// No answer within the deadline.
    Late,
}

impl Link {
    /// Speaks HTTP/1.1 over a connected socket.
    pub(crate) async fn new(stream: TcpStream) -> Result<Box<Self>, hyper::Error> {
        let (line, flow) = Line::new(stream);
        let (sender, wire) = Builder::new()
            .max_header_size(ANSWER_HEAD_BYTES_MAX)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            // Most requests are a head alone. Copied into one buffer with whatever small body they have, they leave by a
            // plain write, which saves 2 to 3 % of the CPU of a proxied request.
            .writev(false)
            .handshake(TokioIo::new(line))
            .await?;
        Ok(Box::new(Self {
            sender,
            wire: Wire::Open(wire),
            flow,
        }))
    }

    /// Sends the request and drives the connection up to the answer's head.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outbound>,
        watch: &SharedWatch,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.try_send_request(request));
        watch.await_answer();
        let wire = &mut self.wire;
        let answer = std::future::poll_fn(|cx| {
            let over = wire.drive(cx).is_ready();
            let mut polled = answer.as_mut().poll(cx);
            if over && polled.is_pending() {
                // It ended before it took the request, which hyper gives back only when the connection is let go.
                *wire = Wire::Gone;
                polled = answer.as_mut().poll(cx);
            }
            match polled {
                Poll::Pending if watch.turn().has_rung() => Poll::Ready(Err(Failure::Late)),
                Poll::Pending => Poll::Pending,
                Poll::Ready(answer) => Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                    Some(request) => Failure::Unsent(Box::new(request)),
                    None => Failure::Broken(error.into_error()),
                })),
            }
        })
        .await;
        watch.answered();
        answer
    }

    /// Lets more of an answer's body in. Ready when the connection is over.
    #[inline]
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.drive(cx)
    }

    /// Leaves HTTP behind, after a 101. `None` if the connection broke.
    pub(crate) async fn leave_http(mut self: Box<Self>) -> Option<Box<Far>> {
        // At once: the request has no body, and the answer has none.
        std::future::poll_fn(|cx| self.drive(cx)).await;
        let Wire::Over(connection) = self.wire else { return None };
        let parts = connection.into_parts();
        Some(Box::new(Far {
            mouth: Mouth::new(parts.io.into_inner(), parts.read_buf),
            passage: None,
        }))
    }

    /// Whether it may carry the next request.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.wire, Wire::Open(_)) && self.sender.is_ready()
    }

    /// Bytes sent so far, if the server takes no more for now; `None` if it took all there were.
    pub(crate) fn blocked_at(&self) -> Option<u64> {
        self.flow.blocked_at()
    }
}

/// Most bytes of an answer's head; more is a bad answer. Twice what common servers will write.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes read at once from a server, reached only while reads fill their buffers. A megabyte of answer costs 1.6 times
/// the CPU of unbounded reads with 64 KiB, 1.3 times with this; a client that stops reading makes us hold two of them.
const READ_BUFFER_BYTES_MAX: usize = 256 * 1024;

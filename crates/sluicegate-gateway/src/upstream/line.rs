//! The adapter between hyper and a server's socket: it knows whether the server takes what it is sent.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A server's socket. hyper keeps it to itself, so that what it is asked lies beside it.
pub(super) struct Line {
    stream: TcpStream,
    flow: Rc<Flow>,
}

/// What a server took so far.
#[derive(Debug, Default)]
pub(super) struct Flow {
    sent: Cell<u64>,
    blocked: Cell<bool>,
}

impl Flow {
    /// Bytes sent so far, if more wait for the server to take them; `None` if none wait.
    pub(super) fn blocked_at(&self) -> Option<u64> {
        self.blocked.get().then(|| self.sent.get())
    }
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> (Self, Rc<Flow>) {
        let flow = Rc::new(Flow::default());
        let line = Self {
            stream,
            flow: Rc::clone(&flow),
        };
        (line, flow)
    }
}

impl AsyncRead for Line {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.flow.blocked.set(written.is_pending());
        if let Poll::Ready(Ok(count)) = written {
            // 2⁶⁴ bytes are beyond any connection's life.
            self.flow.sent.set(self.flow.sent.get().wrapping_add(count as u64));
        }
        written
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! The gate between a client's plain bytes and hyper: lets pass what [`Framing`] finds one meaning in, and nothing behind it.
//!
//! Bytes are judged where hyper has asked for them, in its own buffer; only a head that comes in parts and what waits behind an offer
//! to leave HTTP are copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::SharedWatch;
use crate::framing::{Framing, HeadCaps, Then};

/// A client's connection behind the gate. Wrap it in hyper-util's `TokioIo` to hand it to hyper.
pub(super) struct Gate<S> {
    inner: S,
    framing: Framing,
    /// What came behind an offer to leave HTTP, at most what one read brings: nothing more is read before it is declined.
    held: Bytes,
    shut: Option<Shut>,
    watch: SharedWatch,
}

/// Why nothing more passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shut {
    /// A head is refused. To hyper the client is silent, so that requests before it get their answers; the watch knows.
    InHead,
    /// A body is. Its reader has to know at once, before a server takes it for whole.
    InBody,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, caps: HeadCaps, watch: SharedWatch) -> Self {
        Self {
            inner,
            framing: Framing::new(caps),
            held: Bytes::new(),
            shut: None,
            watch,
        }
    }

    /// What lies behind the gate, and what came from there and was not let through.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.inner, self.held)
    }

    /// Whether what comes behind an offer still waits: its request is not answered, or was, by a 101.
    fn is_waiting(&self) -> bool {
        self.framing.is_waiting() && (!self.watch.has_answered(self.framing.requests()) || self.watch.is_going_over())
    }

    /// Lets pass what may of the bytes behind the first `before` of `buf`.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> Poll<io::Result<()>> {
        let new = &buf.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let look = self.framing.handle(new);
        match look.then {
            Then::GoOn => {}
            Then::Wait => {
                let behind = &new[look.passes..];
                self.held = if self.held.is_empty() {
                    Bytes::copy_from_slice(behind)
                } else {
                    [behind, &self.held].concat().into()
                };
            }
            Then::Refuse(doubt) if doubt.is_of_head() => {
                self.shut = Some(Shut::InHead);
                self.watch.refuse(doubt, self.framing.requests());
            }
            Then::Refuse(_) => self.shut = Some(Shut::InBody),
        }
        buf.set_filled(before + look.passes);
        match self.shut {
            // Nothing at all would be the end of the connection to hyper.
            Some(shut) if look.passes == 0 => shut.read(),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Shut {
    fn read(self) -> Poll<io::Result<()>> {
        match self {
            Self::InHead => Poll::Pending,
            Self::InBody => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(shut) = this.shut {
            return shut.read();
        }
        let before = buf.filled().len();
        if this.framing.is_waiting() {
            if this.is_waiting() {
                this.watch.hold_back(this.framing.requests());
                if !this.held.is_empty() {
                    return Poll::Pending;
                }
                // Read on, so that a client that goes away is noticed.
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
                this.held = Bytes::copy_from_slice(&buf.filled()[before..]);
                buf.set_filled(before);
                return Poll::Pending;
            }
            this.framing.resume();
        }
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        } else {
            let count = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..count]);
            this.held.advance(count);
        }
        this.judge(buf, before)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

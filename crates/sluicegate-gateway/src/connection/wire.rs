//! The adapter at a client's socket: every byte in either direction passes here, as it is on the wire.
//!
//! It tells the watch that bytes came, holds the deadline for a client that takes none, and counts.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::traffic::Tally;
use super::watch::SharedWatch;
use crate::tls::Transport;

/// A client's socket under watch, TLS already taken off.
pub(crate) struct Wire {
    stream: Transport,
    watch: SharedWatch,
    tally: Tally,
    /// The client closed its side.
    ended: bool,
    /// Read already, to see which version of HTTP it is.
    ahead: Bytes,
}

impl Wire {
    pub(crate) fn new(stream: Transport, watch: SharedWatch, tally: Tally) -> Self {
        Self {
            stream,
            watch,
            tally,
            ended: false,
            ahead: Bytes::new(),
        }
    }

    /// Whether the client begins as only HTTP/2 does; what was read to see it is read again by whoever reads next. Where the handshake
    /// was about the version, nothing is read.
    pub(super) async fn begins_as_http2(&mut self) -> bool {
        if let Transport::Tls(stream) = &self.stream {
            return stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        }
        let mut head = [0; PREFACE.len()];
        let mut count = 0;
        let watch = self.watch.clone();
        let is_http2 = poll_fn(|cx| {
            watch.turn().wakes(cx.waker());
            while count < PREFACE.len() {
                let mut buf = ReadBuf::new(&mut head[count..]);
                match Pin::new(&mut *self).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => count += buf.filled().len(),
                    // Whoever reads next meets the same.
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending if watch.turn().has_rung() => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
                if head[..count] != PREFACE[..count] {
                    return Poll::Ready(false);
                }
            }
            Poll::Ready(true)
        })
        .await;
        self.ahead = Bytes::copy_from_slice(&head[..count]);
        is_http2
    }

    /// Writes what fits into the socket's buffer without waiting; for a last word before closing.
    pub(crate) fn say(&mut self, words: &[u8]) {
        self.stream.say(words);
    }

    /// Says that nothing more comes, if that can be said without waiting: under TLS it takes a word, and without one the client
    /// could not tell the end from a cut.
    pub(crate) fn part(&mut self) {
        self.stream.part();
    }

    /// Says why a head is refused, and counts it.
    pub(crate) fn refuse_head(&mut self, answer: &[u8]) {
        self.tally.refuse_head();
        self.say(answer);
    }

    /// Whether the client closed its side.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => {
                self.watch.wrote();
                self.tally.wrote(*count);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.watch.write_blocked(cx.waker()).is_err() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }

    /// What TLS has taken and the client has not is written by a flush, and only there is seen that a client takes nothing.
    fn flushed_tls(&mut self, flushed: Poll<io::Result<()>>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.has_taken() || matches!(flushed, Poll::Ready(Ok(()))) {
            self.watch.wrote();
        }
        if flushed.is_pending() && self.watch.write_blocked(cx.waker()).is_err() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        flushed
    }
}

impl AsyncRead for Wire {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            let count = buf.filled().len() - before;
            if count > 0 {
                self.watch.heard();
                self.tally.read(count);
            } else if buf.remaining() > 0 {
                self.ended = true;
            }
        }
        read
    }
}

impl AsyncWrite for Wire {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written, cx)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(self.stream, Transport::Tls(_)) {
            return self.flushed_tls(flushed, cx);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How a client begins that speaks HTTP/2 and knows that we do (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What handshakes call it (RFC 9113, section 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";

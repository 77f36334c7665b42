//! The adapter at a client's socket: every byte in either direction passes here, as it is on the wire.
//!
//! It tells the watch that bytes came, holds the deadline for a client that takes none, and counts.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::traffic::Tally;
use super::watch::SharedWatch;

/// A client's socket under watch.
pub(crate) struct Wire {
    stream: TcpStream,
    watch: SharedWatch,
    tally: Tally,
    /// The client closed its side.
    ended: bool,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, watch: SharedWatch, tally: Tally) -> Self {
        Self {
            stream,
            watch,
            tally,
            ended: false,
        }
    }

    /// Writes what fits into the socket's buffer without waiting; for a last word before closing.
    pub(crate) fn say(&self, words: &[u8]) {
        // Whoever does not listen is closed upon all the same.
        let _ = self.stream.try_write(words);
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
}

impl AsyncRead for Wire {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

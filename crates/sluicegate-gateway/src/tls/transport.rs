//! A client's socket, with TLS over it or without.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sluicegate_identity::{ClientHello, HelloReader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Bytes as a client means them, whichever way they cross the network.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    /// Writes what can be written without waiting; for a last word before closing.
    pub(crate) fn say(&mut self, words: &[u8]) {
        // Whoever does not listen is closed upon all the same.
        match self {
            Self::Plain(socket) => drop(socket.try_write(words)),
            Self::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(&mut **stream).poll_write(&mut cx, words);
                let _ = Pin::new(stream).poll_flush(&mut cx);
            }
        }
    }

    /// Says the word of the end, where there is one and it can be said without waiting.
    pub(crate) fn part(&mut self) {
        if let Self::Tls(stream) = self {
            stream.get_mut().1.send_close_notify();
            let _ = Pin::new(stream).poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Whether the client has taken bytes since this was last asked. A plain socket has taken what was written to it, and is not asked.
    pub(crate) fn has_taken(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => mem::take(&mut stream.get_mut().0.has_taken),
        }
    }
}

/// The socket below TLS. TLS takes more bytes than its client does, so that only here is seen what that has taken.
pub(crate) struct Socket {
    stream: TcpStream,
    has_taken: bool,
    hello: Hello,
}

/// The client's first message, looked at on its way to the TLS library, which does not hand out all of it.
enum Hello {
    Awaited(Box<HelloReader>),
    Read(Box<ClientHello>),
    /// It was none, or it was taken.
    Gone,
}

impl Hello {
    fn see(&mut self, bytes: &[u8]) {
        let Self::Awaited(reader) = self else { return };
        match reader.feed(bytes) {
            Ok(None) => {}
            Ok(Some(hello)) => *self = Self::Read(Box::new(hello)),
            // The library will say so too.
            Err(_) => *self = Self::Gone,
        }
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            has_taken: false,
            hello: Hello::Awaited(Box::default()),
        }
    }

    /// The client's first message, once.
    pub(super) fn take_hello(&mut self) -> Option<Box<ClientHello>> {
        match mem::replace(&mut self.hello, Hello::Gone) {
            Hello::Read(hello) => Some(hello),
            Hello::Awaited(_) | Hello::Gone => None,
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        self.has_taken |= matches!(written, Poll::Ready(Ok(1..)));
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.hello.see(&buf.filled()[before..]);
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Both ways to the same methods.
macro_rules! either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

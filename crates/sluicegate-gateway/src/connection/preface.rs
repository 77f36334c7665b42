//! What comes before a connection's own bytes, and before TLS: the header of a proxy in front.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::watch::Watch;
use crate::proxy::{self, HEADER_BYTES_MAX};

/// What a proxy has said.
pub(crate) struct Preface {
    /// `None` where the connection is the proxy's own, or it does not know.
    pub(crate) client: Option<IpAddr>,
    /// How many bytes that took.
    pub(crate) length: usize,
}

/// Reads the header of the PROXY protocol, and not a byte beyond it. `None` if it is none, or is not here when the connection's first
/// head has to be: then there is nobody to answer, and the connection is to be closed.
pub(crate) async fn read_preface(stream: &mut TcpStream, watch: &Watch) -> Option<Preface> {
    let mut reading = Reading {
        bytes: vec![0; HEADER_BYTES_MAX],
        taken: 0,
    };
    poll_fn(|cx| {
        watch.turn().wakes(cx.waker());
        match reading.poll(stream, cx) {
            Poll::Ready(read) => Poll::Ready(read.ok()),
            Poll::Pending if watch.turn().has_rung() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A header that is being read.
struct Reading {
    bytes: Vec<u8>,
    /// How many of them are off the socket.
    taken: usize,
}

impl Reading {
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Preface>> {
        loop {
            // Looked at where it stands: what is behind the header is TLS's, or hyper's.
            let mut ahead = ReadBuf::new(&mut self.bytes[self.taken..]);
            let seen = ready!(stream.poll_peek(cx, &mut ahead))?;
            if seen == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let header = proxy::read(&self.bytes[..self.taken + seen]).map_err(io::Error::other)?;
            // As long as more has to come, all that is here is the header's.
            let whole = header.map_or(self.taken + seen, |header| header.length);
            while self.taken < whole {
                let mut part = ReadBuf::new(&mut self.bytes[self.taken..whole]);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut part))?;
                let count = part.filled().len();
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.taken += count;
            }
            if let Some(header) = header {
                return Poll::Ready(Ok(Preface {
                    client: header.client,
                    length: header.length,
                }));
            }
        }
    }
}

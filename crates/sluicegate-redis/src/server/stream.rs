//! The way to a server: names, sockets, TLS, and how much of what it says is listened to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::LinkError;
use crate::endpoint::Endpoint;

/// A connection that breaks when its server says more than anybody asked for.
pub(super) struct Metered {
    stream: Pin<Box<dyn Duplex>>,
    unanswered: Unanswered,
}

/// Bytes that came since the last answer was complete. Whoever got one sets it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Unanswered(Arc<AtomicUsize>);

impl Unanswered {
    pub(super) fn answered(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Connects. The name is resolved anew each time, so that a store that moved is found.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Metered, LinkError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let addresses = lookup_host((endpoint.host.as_str(), endpoint.port))
        .await
        .map_err(LinkError::Unreachable)?;
    for address in addresses.take(ADDRESSES_MAX) {
        match timeout(ADDRESS_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return secure(stream, endpoint).await,
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(LinkError::Unreachable(last))
}

async fn secure(stream: TcpStream, endpoint: &Endpoint) -> Result<Metered, LinkError> {
    stream.set_nodelay(true).map_err(LinkError::Unreachable)?;
    let stream: Pin<Box<dyn Duplex>> = match &endpoint.tls {
        None => Box::pin(stream),
        Some(config) => {
            let name = ServerName::try_from(endpoint.host.clone())
                .map_err(|error| LinkError::Untrusted(io::Error::other(error)))?;
            let connector = TlsConnector::from(Arc::clone(config));
            Box::pin(connector.connect(name, stream).await.map_err(LinkError::Untrusted)?)
        }
    };
    Ok(Metered {
        stream,
        unanswered: Unanswered::default(),
    })
}

impl Metered {
    pub(super) fn unanswered(&self) -> Unanswered {
        self.unanswered.clone()
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.stream.as_mut().poll_read(cx, buffer))?;
        let came = buffer.filled().len() - before;
        // A number by itself: an answer that is counted a moment late only makes the next one seem longer.
        let unanswered = self.unanswered.0.fetch_add(came, Ordering::Relaxed);
        if unanswered.saturating_add(came) > ANSWER_BYTES_MAX {
            return Poll::Ready(Err(io::Error::other("the server says more than any answer is long")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

/// What bytes go through.
trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// Addresses of one name that are tried for one connection. More would not be reached before the attempt's time is over.
const ADDRESSES_MAX: usize = 4;

/// How long one address may take to accept, so that one that swallows everything does not hide the next: a third of what
/// a connection may take in all.
const ADDRESS_DEADLINE: Duration = Duration::from_millis(300);

/// Two hundred times the longest answer to a call (128 keys, 8.4 kB): that many may come in one piece. A server that says more before
/// one answer is complete is not what we speak to, and must not fill our memory.
const ANSWER_BYTES_MAX: usize = 2 << 20;

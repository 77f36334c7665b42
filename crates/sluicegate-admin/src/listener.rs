//! The admin listener: bounded, on loopback, apart from the gateway's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Console;

/// A bound admin listener that takes no connections yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the admin listener did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Other machines could reach the address, and nothing here asks who is calling.
    #[error("the admin listener may only be on a loopback address, not on {address}")]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system did not give us the address.
    #[error("the admin listener cannot be bound to {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bound socket could not be handed to the runtime.
    #[error("the admin listener's socket cannot be used")]
    Socket(#[source] io::Error),
}

impl Admin {
    /// Binds the listener; port 0 asks the system for a free one.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotLoopback`] for an address that is not loopback (there is no authentication yet), and
    /// [`AdminError::Bind`] when the system refuses it.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        // 127.0.0.0/8 mapped into IPv6 is loopback too; `to_canonical` sees it.
        if !address.ip().to_canonical().is_loopback() {
            return Err(AdminError::NotLoopback { address });
        }
        let bound = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bound)?;
        listener.set_nonblocking(true).map_err(AdminError::Socket)?;
        let address = listener.local_addr().map_err(AdminError::Socket)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `console` until `stop` is done, then finishes the answers under way, for at most a second. Needs a
    /// Tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`AdminError::Socket`] when the runtime does not take the socket.
    pub async fn serve(self, console: Console, stop: impl Future<Output = ()>) -> Result<(), AdminError> {
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(AdminError::Socket)?;
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (closing, closed) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);

        loop {
            let accepted = async {
                // A closed semaphore is the only error there is, and nobody closes it.
                let permit = Arc::clone(&free).acquire_owned().await.ok();
                (permit, listener.accept().await)
            };
            tokio::select! {
                () = &mut stop => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let connection = serve_connection(stream, console.clone(), closed.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin listener could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
            while connections.try_join_next().is_some() {}
        }

        drop(listener);
        drop(closing);
        // Beyond the deadline the rest is dropped, which closes it.
        let _ = timeout(FINISH_DEADLINE, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        Ok(())
    }
}

async fn serve_connection(stream: TcpStream, console: Console, mut closed: watch::Receiver<()>) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(console.into_router()))
    );
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection.as_mut() => return,
        _ = closed.changed() => {}
        () = sleep(CONNECTION_AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FINISH_DEADLINE, connection).await;
}

/// Connections served at once; more wait in the listen queue. A scraper or two, health checks and an operator's browser
/// (six connections) fit many times over.
const CONNECTIONS_MAX: usize = 64;

/// From a connection's first byte, or its last answer, to the end of a request's head. Scrapes come every 5 s to 60 s, and
/// a scraper that reconnects pays a loopback handshake.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// Bytes buffered of a request. Nothing here takes a body or a long head; 8 KiB is the least that hyper accepts.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// After this a connection is closed in good order: the bound for a client that never reads its answer.
const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);

/// How long answers under way may take after being told to finish.
const FINISH_DEADLINE: Duration = Duration::from_secs(1);

/// Before the next try when the system has no descriptor left: long enough not to spin, short enough not to be missed by a
/// health check.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

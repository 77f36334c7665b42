//! The demo's upstream: answers everything, and counts what reached it from the cast and from others.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::cast::CLIENT_HEADER;
use crate::worker::Worker;

/// Requests that reached the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// From the demo's own clients.
    pub(crate) cast: u64,
    /// From anybody else, such as a user who tries it with curl.
    pub(crate) others: u64,
}

/// The same while they come in. Relaxed throughout: they are read once the thread that counts has ended.
#[derive(Debug, Default)]
struct Counters {
    cast: AtomicU64,
    others: AtomicU64,
}

impl Counters {
    fn count(&self, headers: &HeaderMap) {
        let counter = if headers.contains_key(CLIENT_HEADER) {
            &self.cast
        } else {
            &self.others
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self) -> Received {
        Received {
            cast: self.cast.load(Ordering::Relaxed),
            others: self.others.load(Ordering::Relaxed),
        }
    }
}

/// A running upstream; it ends with [`Upstream::stop`], or when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    worker: Worker<()>,
}

impl Upstream {
    /// Listens on a free loopback port, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system gives us no port or no thread.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port for the toy upstream")?;
        let address = listener.local_addr().context("the toy upstream has no address")?;
        listener
            .set_nonblocking(true)
            .context("the toy upstream's socket cannot be used")?;
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = oneshot::channel();
        let count = Arc::clone(&counters);
        let worker = Worker::start("toy-upstream", move || async move {
            tokio::select! {
                () = serve(listener, count) => {}
                _ = stopped => {}
            }
        })?;
        Ok(Self {
            address,
            counters,
            stop,
            worker,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and gives back what reached it.
    ///
    /// # Errors
    ///
    /// When its thread ended by a panic.
    pub(crate) fn stop(self) -> anyhow::Result<Received> {
        // It may have ended before: then nobody listens, which is as good.
        let _ = self.stop.send(());
        self.worker.join()?;
        Ok(self.counters.received())
    }
}

async fn serve(listener: TcpListener, counters: Arc<Counters>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the toy upstream's socket cannot be used"),
    };
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // A closed semaphore is the only error there is, and nobody closes it.
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or broken off before it was taken.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let counters = Arc::clone(&counters);
        // No deadlines: an idle connection closed by us just as the gateway reuses it would look like a lost request.
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                counters.count(request.headers());
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(GREETING)))) }
            });
            // The gateway closes connections when it likes; there is nothing to tell anyone.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            drop(permit);
        });
    }
}

const GREETING: &[u8] = b"hello from the toy upstream\n";

/// Connections at once: every request that passes at the same time has one, and the demo's policy bounds those.
const CONNECTIONS_MAX: usize = 512;

/// Before the next try when the system has no descriptor left: long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

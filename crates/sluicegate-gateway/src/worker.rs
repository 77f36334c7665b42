//! One worker: a thread with a runtime, listening sockets, upstream connections and deadlines of its own. The limiter,
//! the cap of connections and the order to stop are all that it shares.

use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::Limiter;
use sluicegate::policy::checked::{Gateway, Identity};
use sluicegate_tower::Limit;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connection::{Place, Reception, SharedWatch, Traffic, Watch};
use crate::forward::{Switchboard, forward};
use crate::headers::Peer;
use crate::listen::Sockets;
use crate::pulse::{Attendance, Beat, Pulse, Tick};
use crate::shutdown::Shutdown;
use crate::upstream::Upstream;

/// What all workers of a gateway share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) identity: Arc<Identity>,
    /// By route: the upstream that takes it, if any.
    pub(crate) routes: Arc<[Option<usize>]>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) traffic: Arc<Traffic>,
}

/// A worker on its thread.
struct Worker {
    shared: Shared,
    pulse: Rc<Pulse<Watch>>,
    reception: Reception,
    switchboard: Rc<Switchboard>,
    limiter: LocalLimiter,
}

/// The limiter as a worker's requests hold it: counted within the thread, so that no request touches a counter that
/// other cores touch too.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is the point: it is not shared with other cores"
)]
struct LocalLimiter(Rc<Arc<Limiter>>);

impl Deref for LocalLimiter {
    type Target = Limiter;

    #[inline]
    fn deref(&self) -> &Limiter {
        &self.0
    }
}

/// Runs `work` to its end, on a runtime made on the worker's thread. A lookup that hangs does not hold up the end.
pub(crate) fn on_runtime<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUPS_MAX)
        .build_local(LocalOptions::default())?;
    let outcome = runtime.block_on(work);
    // To drop the runtime would be to wait for its threads, and with them for as long as the system's resolver likes.
    runtime.shutdown_background();
    Ok(outcome)
}

/// Names that one worker looks up at once; more wait, at most one for each server. Nothing else blocks. One name server
/// that does not answer takes one of them for seconds, and the names that it does not know are still found.
pub(crate) const LOOKUPS_MAX: usize = 4;

/// Serves until the order to stop, then drains; gives back how many requests were cut off.
pub(crate) async fn work(shared: Shared, sockets: Sockets, mut shutdown: Shutdown) -> io::Result<usize> {
    let worker = Rc::new(Worker::new(shared));
    let beating = tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.pulse.beat(|now| worker.tend(now)).await }
    });
    let accepting: Vec<JoinHandle<()>> = sockets
        .into_iter()
        .map(|socket| {
            let listener = TcpListener::from_std(socket)?;
            Ok(tokio::task::spawn_local(
                Rc::clone(&worker).accept(listener, shutdown.clone()),
            ))
        })
        .collect::<io::Result<_>>()?;
    shutdown.ordered().await;
    let cut = worker.drain(accepting).await;
    beating.abort();
    Ok(cut)
}

impl Worker {
    fn new(shared: Shared) -> Self {
        let gateway = &*shared.gateway;
        let pulse = Rc::new(Pulse::new(shortest(gateway)));
        Self {
            reception: Reception::new(gateway, &pulse),
            switchboard: Rc::new(Switchboard {
                routes: shared.routes.to_vec(),
                upstreams: gateway
                    .upstreams
                    .iter()
                    .map(|upstream| Upstream::new(upstream, gateway, &pulse))
                    .collect(),
                body_bytes_max: gateway.caps.body_bytes,
            }),
            limiter: LocalLimiter(Rc::new(Arc::clone(&shared.limiter))),
            pulse,
            shared,
        }
    }

    /// Accepts until the order to stop, then what already stands in the listen queue, and closes the socket.
    async fn accept(self: Rc<Self>, listener: TcpListener, mut shutdown: Shutdown) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.ordered() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.receive(stream, from.ip()).await,
                Err(error) => back_off(&error).await,
            }
        }
        // Asked of the system itself: the runtime may not have heard yet of the last to come.
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept() {
                Ok((stream, from)) => {
                    if let Ok(stream) = adopt(stream) {
                        self.receive(stream, from.ip()).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => back_off(&error).await,
            }
        }
    }

    /// Serves a connection as soon as there is a place for it. Until then nothing more is accepted: the cap is exceeded
    /// by one waiting connection for each listening socket at most.
    async fn receive(self: &Rc<Self>, stream: TcpStream, address: IpAddr) {
        let place = self.shared.traffic.place().await;
        let attendance = self.reception.attend();
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move { worker.serve(stream, address, place, attendance).await });
    }

    async fn serve(&self, stream: TcpStream, address: IpAddr, place: Place, attendance: Attendance<Watch>) {
        // An answer's end must not wait for the client to acknowledge its beginning.
        if stream.set_nodelay(true).is_err() {
            // Whoever is gone already needs no service.
            return;
        }
        let peer = Rc::new(Peer::new(address, &self.shared.identity));
        let address = peer.address();
        let service = |watch: SharedWatch| {
            let switchboard = Rc::clone(&self.switchboard);
            let inner = tower::service_fn(move |admit| {
                forward(Rc::clone(&switchboard), Rc::clone(&watch), Rc::clone(&peer), admit)
            });
            Limit::for_peer(self.limiter.clone(), address, inner)
        };
        self.reception.serve(stream, place.take(), attendance, service).await;
    }

    /// One beat's side work: upstream connections that are no longer worth keeping.
    fn tend(&self, now: Tick) -> Beat {
        let mut next = Beat::Rest;
        for upstream in &self.switchboard.upstreams {
            if upstream.tend(now) {
                next = Beat::Go;
            }
        }
        next
    }

    /// Lets requests under way end, up to the deadline; gives back how many did not.
    async fn drain(&self, accepting: Vec<JoinHandle<()>>) -> usize {
        // Before the queue is emptied: those in it wait for places that others have to leave.
        self.reception.drain();
        let drained = timeout(self.shared.gateway.deadlines.drain, async {
            for listener in accepting {
                // A listener that panicked accepts no more either.
                let _ = listener.await;
            }
            while self.pulse.attending() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        });
        if drained.await.is_ok() {
            return 0;
        }
        let mut cut = 0;
        self.pulse.for_each(|watch| cut += usize::from(watch.is_busy()));
        cut
    }
}

fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// After an accept that failed: goes on at once where only that connection was lost, and waits where the system has run
/// out of something, since the queue stays readable and trying again at once would burn a core.
async fn back_off(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::debug!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_BACK_OFF).await;
    }
}

/// The shortest span that connections are watched for; the pulse is fine enough for it.
fn shortest(gateway: &Gateway) -> Duration {
    let deadlines = &gateway.deadlines;
    [
        deadlines.request_head,
        deadlines.request_body_idle,
        deadlines.response_head,
        deadlines.response_body_idle,
        deadlines.write_stall,
        deadlines.keep_alive,
        deadlines.upgraded_idle,
        deadlines.upstream_idle,
    ]
    .into_iter()
    .min()
    .unwrap_or_default()
}

/// Between two tries to accept while the system is out of file descriptors or memory: twenty tries a second cost
/// nothing, and the first descriptor that comes free is taken within a twentieth.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// How often a drain looks whether everybody has gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// The end of a drain once waited for the system's resolver, far beyond the drain's deadline.
    #[test]
    fn a_lookup_that_hangs_does_not_hold_up_the_end() {
        let (release, hung) = mpsc::channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        on_runtime(async move {
            tokio::task::spawn_blocking(move || {
                // A bound for a test that fails; nobody sends.
                let _ = hung.recv_timeout(Duration::from_secs(20));
                end.store(true, Ordering::SeqCst);
            });
        })
        .expect("a runtime can be had");
        assert!(!ended.load(Ordering::SeqCst));
        drop(release);
    }
}

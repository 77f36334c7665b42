//! One worker: a thread with a runtime, listening sockets, upstream connections and deadlines of its own. The limiter,
//! the settings, the cap of connections and the order to stop are all that it shares.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::Limiter;
use sluicegate::address::{is_trusted, plain};
use sluicegate::policy::checked::Gateway;
use sluicegate_tower::{FixedCaller, Limit};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connection::{Place, Reception, SharedWatch, Tally, Traffic, Watch, read_preface};
use crate::forward::{Caller, Switchboards, forward};
use crate::headers::Scheme;
use crate::listen::Sockets;
use crate::pulse::{Attendance, Beat, Pulse, Tick};
use crate::settings::Published;
use crate::shutdown::Shutdown;
use crate::tls::{Shaken, Transport};

/// What all workers of a gateway share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) published: Arc<Published>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) traffic: Arc<Traffic>,
}

/// A worker on its thread.
struct Worker {
    shared: Shared,
    pulse: Rc<Pulse<Watch>>,
    reception: RefCell<Rc<Reception>>,
    switchboards: Rc<Switchboards>,
    limiter: LocalLimiter,
    /// Who a client is that shows nothing by its connection.
    nobody: Arc<sluicegate::Caller>,
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
        .enumerate()
        .map(|(place, socket)| {
            let listener = TcpListener::from_std(socket)?;
            Ok(tokio::task::spawn_local(Rc::clone(&worker).accept(
                listener,
                place,
                shutdown.clone(),
            )))
        })
        .collect::<io::Result<_>>()?;
    shutdown.ordered().await;
    let cut = worker.drain(accepting).await;
    beating.abort();
    Ok(cut)
}

/// A client that has just connected.
struct Arrival {
    stream: TcpStream,
    address: IpAddr,
    /// By which of the policy's listeners.
    listener: usize,
    place: Place,
}

impl Worker {
    fn new(shared: Shared) -> Self {
        let setup = shared.published.newest();
        let pulse = Rc::new(Pulse::new(shortest(&setup.gateway)));
        Self {
            reception: RefCell::new(Rc::new(Reception::new(&setup, &pulse))),
            switchboards: Rc::new(Switchboards::new(&setup, Arc::clone(&shared.published), &pulse)),
            limiter: LocalLimiter(Rc::new(Arc::clone(&shared.limiter))),
            nobody: Arc::default(),
            pulse,
            shared,
        }
    }

    /// Accepts until the order to stop, then what already stands in the listen queue, and closes the socket. `place` is the
    /// listener's in the policy's list.
    async fn accept(self: Rc<Self>, listener: TcpListener, place: usize, mut shutdown: Shutdown) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.ordered() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.receive(stream, from.ip(), place).await,
                Err(error) => back_off(&error).await,
            }
        }
        // Asked of the system itself: the runtime may not have heard yet of the last to come.
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept() {
                Ok((stream, from)) => {
                    if let Ok(stream) = adopt(stream) {
                        self.receive(stream, from.ip(), place).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => back_off(&error).await,
            }
        }
    }

    /// Serves a connection as soon as there is a place for it. Until then nothing more is accepted: the cap is exceeded
    /// by one waiting connection for each listening socket at most.
    async fn receive(self: &Rc<Self>, stream: TcpStream, address: IpAddr, listener: usize) {
        let place = self.shared.traffic.place().await;
        let reception = self.reception();
        let attendance = reception.attend();
        let worker = Rc::clone(self);
        let arrival = Arrival {
            stream,
            address,
            listener,
            place,
        };
        tokio::task::spawn_local(async move { worker.serve(&reception, arrival, attendance).await });
    }

    /// How connections are served now, by the policy that was published last.
    fn reception(&self) -> Rc<Reception> {
        let mut reception = self.reception.borrow_mut();
        let setup = self.shared.published.newest();
        if reception.generation() != setup.generation {
            *reception = Rc::new(reception.renewed(&setup));
        }
        Rc::clone(&reception)
    }

    async fn serve(&self, reception: &Reception, arrival: Arrival, attendance: Attendance<Watch>) {
        let Arrival {
            mut stream,
            address,
            listener,
            place,
        } = arrival;
        // An answer's end must not wait for the client to acknowledge its beginning.
        if stream.set_nodelay(true).is_err() {
            // Whoever is gone already needs no service.
            return;
        }
        let mut tally = place.take();
        let address = self.client_of(&mut stream, plain(address), listener, &attendance, &mut tally);
        // Who came past a proxy that it had to come through is nobody's client.
        let Some(address) = address.await else { return };
        let (shaken, scheme) = match reception.terms(listener) {
            None => (
                Shaken {
                    stream: Transport::Plain(stream),
                    caller: Arc::clone(&self.nobody),
                },
                Scheme::Http,
            ),
            Some(terms) => {
                // Boxed, so that a handshake weighs on a connection only as long as it lasts.
                let shaken = Box::pin(terms.shake_hands(stream, &attendance)).await;
                self.shared.traffic.shook_hands(shaken.is_some());
                let Some(shaken) = shaken else { return };
                (shaken, Scheme::Https)
            }
        };
        let Shaken { stream, caller: known } = shaken;
        let caller = Rc::new(Caller::new(address, scheme));
        let from = FixedCaller {
            peer: address,
            caller: known,
        };
        let service = |watch: SharedWatch| {
            let (switchboards, caller) = (Rc::clone(&self.switchboards), Rc::clone(&caller));
            let inner = tower::service_fn(move |admit| {
                forward(Rc::clone(&switchboards), Rc::clone(&watch), Rc::clone(&caller), admit)
            });
            Limit::for_caller(self.limiter.clone(), from.clone(), inner)
        };
        reception.serve((stream, listener), tally, attendance, service).await;
    }

    /// Whose connection it is: the peer's or, where proxies stand before the listener, whom the peer names. `None` where that cannot be
    /// told. The length of what was read goes to the `tally`.
    async fn client_of(
        &self,
        stream: &mut TcpStream,
        peer: IpAddr,
        listener: usize,
        watch: &Watch,
        tally: &mut Tally,
    ) -> Option<IpAddr> {
        let setup = self.shared.published.newest();
        if !setup
            .gateway
            .listen
            .get(listener)
            .is_some_and(|listen| listen.proxy_protocol)
        {
            return Some(peer);
        }
        // Anybody else could name any client, and one who names none would be the proxy to every limit.
        if !is_trusted(&setup.identity, peer) {
            return None;
        }
        // Boxed, as a handshake is.
        let preface = Box::pin(read_preface(stream, watch)).await?;
        tally.read(preface.length);
        Some(preface.client.map_or(peer, plain))
    }

    /// One beat's side work: upstream connections that are no longer worth keeping.
    fn tend(&self, now: Tick) -> Beat {
        if self.switchboards.tend(now) {
            Beat::Go
        } else {
            Beat::Rest
        }
    }

    /// Lets requests under way end, up to the deadline; gives back how many did not.
    async fn drain(&self, accepting: Vec<JoinHandle<()>>) -> usize {
        // Before the queue is emptied: those in it wait for places that others have to leave.
        self.reception.borrow().drain();
        let drained = timeout(self.shared.published.newest().gateway.deadlines.drain, async {
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

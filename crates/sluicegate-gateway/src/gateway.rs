//! The gateway as a value: bound, then run on threads of its own until it is told to stop.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use rustix::process::{Resource, getrlimit};
use sluicegate::Limiter;
use sluicegate::policy::Policy;

use crate::connection::Traffic;
use crate::error::{BindError, RunError};
use crate::listen::{self, Sockets};
use crate::settings::{Published, Settings, Setup};
use crate::shutdown::{Shutdown, Trigger, shutdown};
use crate::tls::{Former, Terms};
use crate::worker::{LOOKUPS_MAX, Shared, on_runtime, work};

/// The way into the gateway: [`Gateway::bind`].
#[derive(Debug)]
pub struct Gateway;

/// A gateway that holds its addresses and serves nobody yet; clients wait in the listen queue.
pub struct Bound {
    shared: Shared,
    settings: Settings,
    sockets: Vec<Sockets>,
    addresses: Vec<SocketAddr>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Requests that were still under way when their time was over, and were cut off.
    pub cut: usize,
}

impl Gateway {
    /// Takes the addresses that the policy's `gateway` listens on, once for every worker.
    ///
    /// `limiter` decides every request; it has to be made of the same policy, since its routes name the upstreams. From then on
    /// another policy is put in force by [`Settings::replace`] and not by the limiter alone.
    ///
    /// # Errors
    ///
    /// If the policy has no `gateway`, a listener's certificates or keys cannot be used, or the system refuses an address.
    pub fn bind(policy: &Policy, limiter: Arc<Limiter>) -> Result<Bound, BindError> {
        let gateway = policy.gateway.as_ref().ok_or(BindError::NoGateway)?;
        let workers = gateway.threads.unwrap_or_else(cores).max(1);
        let listen: Vec<_> = gateway.listen.iter().map(|listen| listen.address).collect();
        // Before any address is taken: what is wrong with a file takes longer to mend than an address to find free.
        let former = Former {
            terms: &[],
            now: limiter.unix_now(),
        };
        let tls = Terms::of_all(gateway, former)?;
        let (sockets, addresses) = listen::bind(&listen, workers)?;
        let generation = limiter.engine().generation();
        let published = Arc::new(Published::new(Setup::new(policy, gateway, tls.into(), generation)));
        let settings = Settings::new(gateway, Arc::clone(&published), Arc::clone(&limiter));
        settings.warn_of_expiry();
        let shared = Shared {
            published,
            traffic: Arc::new(Traffic::new(fitting(
                gateway.caps.connections,
                workers,
                addresses.len(),
            ))),
            limiter,
        };
        Ok(Bound {
            shared,
            settings,
            sockets,
            addresses,
        })
    }
}

impl Bound {
    /// The addresses in the policy's order, each port 0 replaced by the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connections and bytes, counted while the gateway runs.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.shared.traffic)
    }

    /// What may be replaced while the gateway runs.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Serves on one thread per worker, each named `gateway-N`, and blocks until `stop` is ordered and the drain is
    /// over: no new connections, those in the listen queue and every request under way are served, and what is not done
    /// by the policy's `drain` deadline is cut off.
    ///
    /// # Errors
    ///
    /// If a worker cannot start, or panics. The others are drained first.
    pub fn run(self, stop: Shutdown) -> Result<Drained, RunError> {
        // One worker that fails stops the others, by a second order beside the caller's.
        let (failed, failure) = shutdown();
        let (failed, stop) = (Arc::new(failed), stop.or(failure));
        let threads: Vec<_> = self
            .sockets
            .into_iter()
            .enumerate()
            .map(|(worker, sockets)| {
                let (shared, stop) = (self.shared.clone(), stop.clone());
                let failed = FireUnlessDone {
                    failed: Arc::clone(&failed),
                    done: false,
                };
                thread::Builder::new()
                    .name(format!("gateway-{worker}"))
                    .spawn(move || failed.watch(|| on_runtime(work(shared, sockets, stop))?))
                    // The closure's guard was dropped with it, so that those before this one stop.
                    .map_err(|source| RunError::Start { worker, source })
            })
            .collect();
        let outcomes = threads
            .into_iter()
            .enumerate()
            .map(|(worker, thread)| match thread?.join() {
                Ok(Ok(cut)) => Ok(cut),
                Ok(Err(source)) => Err(RunError::Start { worker, source }),
                Err(_panic) => Err(RunError::Panicked { worker }),
            });
        // Every worker is waited for, also behind one that failed.
        outcomes
            .collect::<Vec<_>>()
            .into_iter()
            .try_fold(0, |cut, outcome| Ok(cut + outcome?))
            .map(|cut| Drained { cut })
    }
}

/// Stops the other workers if its own does not end well, be it by an error or a panic.
struct FireUnlessDone {
    failed: Arc<Trigger>,
    done: bool,
}

impl FireUnlessDone {
    fn watch<T, E>(mut self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let outcome = work();
        self.done = outcome.is_ok();
        outcome
    }
}

impl Drop for FireUnlessDone {
    fn drop(&mut self) {
        if !self.done {
            self.failed.fire();
        }
    }
}

/// The cap of connections, or fewer where the process may not open as many files: each client may need a connection to
/// a server, and one that was accepted and cannot be answered is worse off than one that waits in the listen queue.
fn fitting(cap: usize, workers: usize, addresses: usize) -> usize {
    let Some(descriptors) = getrlimit(Resource::Nofile)
        .current
        .and_then(|most| usize::try_from(most).ok())
    else {
        return cap;
    };
    let fitting = fitting_into(descriptors, workers, addresses);
    if fitting < cap {
        tracing::warn!(
            cap,
            fitting,
            descriptors,
            "fewer connections than the policy allows: too few file descriptors"
        );
    }
    cap.min(fitting)
}

/// The most clients that can each have a connection to a server within so many descriptors; at least one.
fn fitting_into(descriptors: usize, workers: usize, addresses: usize) -> usize {
    // Every listener is one, and may hold one client that waits for a place.
    let worker = DESCRIPTORS_PER_WORKER + 2 * addresses;
    (descriptors.saturating_sub(DESCRIPTORS_RESERVED + workers * worker) / 2).max(1)
}

/// Kept for the process: standard streams, the files it reads, the admin listener and those who ask there.
const DESCRIPTORS_RESERVED: usize = 32;

/// Kept for each worker: its poller, its waker, the runtime's ear for signals, and for each lookup of a name the socket
/// that asks and a file that says whom to ask.
const DESCRIPTORS_PER_WORKER: usize = 3 + 2 * LOOKUPS_MAX;

/// One worker per core that this process may use; one where the system does not say.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What workers need for themselves was once left out, and many cores took it from the clients.
    #[test]
    fn clients_and_servers_leave_enough_for_the_workers() {
        for (descriptors, workers, addresses) in [(1024, 2, 1), (1024, 16, 2), (65_536, 1024, 4)] {
            let clients = fitting_into(descriptors, workers, addresses);
            let left = descriptors - 2 * clients;
            assert!(left >= DESCRIPTORS_RESERVED + workers * (DESCRIPTORS_PER_WORKER + addresses));
        }
        assert_eq!(fitting_into(64, 64, 1), 1, "some service is better than none");
    }
}

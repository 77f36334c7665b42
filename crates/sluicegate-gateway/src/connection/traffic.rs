//! Connections and bytes, counted over all workers; each open connection holds one place under the cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all client connections of a gateway came to so far.
#[derive(Debug)]
pub struct Traffic {
    places: Arc<Semaphore>,
    connections_max: usize,
    accepted: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    heads_refused: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    /// No traffic yet; at most `connections_max` connections at once.
    pub(crate) fn new(connections_max: usize) -> Self {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            accepted: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            heads_refused: AtomicU64::new(0),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Client connections open now.
    pub fn connections_now(&self) -> usize {
        self.connections_max - self.places.available_permits()
    }

    /// The most client connections that may be open at once: the policy's cap, or fewer where the process may not open
    /// enough files.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Client connections accepted since the start.
    pub fn connections_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// TLS handshakes that came to a connection, since the start.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// TLS handshakes that came to nothing: no TLS, no version or certificate that both sides take, or too late.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn shook_hands(&self, well: bool) {
        let counter = if well {
            &self.handshakes
        } else {
            &self.handshakes_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections closed for a head that has more than one meaning, or more bytes or fields than its caps, since the start.
    pub fn heads_refused(&self) -> u64 {
        self.heads_refused.load(Ordering::Relaxed)
    }

    /// Bytes read from clients, without what TLS adds, over connections that have ended.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes written to clients, without what TLS adds, over connections that have ended.
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits for a place under the cap. While all are taken, clients wait in the listen queue.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        Place {
            traffic: Arc::clone(self),
            _permit: permit,
        }
    }
}

/// A place under the cap of connections, given back when dropped.
pub(crate) struct Place {
    traffic: Arc<Traffic>,
    /// `None` cannot be: nobody closes the semaphore.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// A connection took it.
    pub(crate) fn take(self) -> Tally {
        self.traffic.accepted.fetch_add(1, Ordering::Relaxed);
        Tally {
            place: self,
            read: 0,
            written: 0,
        }
    }
}

/// Counts one connection's bytes, and adds them to the gateway's when it ends: the shared counters are touched once for
/// each connection, not once for each read.
pub(crate) struct Tally {
    place: Place,
    read: u64,
    written: u64,
}

impl Tally {
    /// The connection ends for a head that is refused.
    pub(crate) fn refuse_head(&self) {
        self.place.traffic.heads_refused.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn read(&mut self, count: usize) {
        self.read += count as u64;
    }

    #[inline]
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.place.traffic.read.fetch_add(self.read, Ordering::Relaxed);
        self.place.traffic.written.fetch_add(self.written, Ordering::Relaxed);
    }
}

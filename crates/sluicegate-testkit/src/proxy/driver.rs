//! The proxy's thread: accepts connections and changes the mode.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc as queue, watch};
use tokio::task::{JoinSet, LocalSet};

use super::chance::Chance;
use super::connection;
use super::{Counts, Mode};

/// A mode, and whom to tell once it holds.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) mode: Mode,
    pub(super) done: mpsc::Sender<io::Result<()>>,
}

/// What the thread and its owner both see.
#[derive(Debug)]
pub(super) struct Shared {
    server: Mutex<SocketAddr>,
    pub(super) counted: Counted,
}

/// [`Counts`] as they grow.
#[derive(Debug, Default)]
pub(super) struct Counted {
    accepted: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) request_bytes: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) reply_bytes: AtomicU64,
    pub(super) replies: AtomicU64,
    pub(super) replies_spoilt: AtomicU64,
    pub(super) chunks_lost: AtomicU64,
}

impl Shared {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server: Mutex::new(server),
            counted: Counted::default(),
        }
    }

    pub(super) fn point_to(&self, server: SocketAddr) {
        *self.lock() = server;
    }

    pub(super) fn server(&self) -> SocketAddr {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, SocketAddr> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        let counted = &self.counted;
        // Only the thread writes, and nothing is read by the light of another count.
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            accepted: read(&counted.accepted),
            open: read(&counted.open),
            connected: read(&counted.connected),
            request_bytes: read(&counted.request_bytes),
            requests: read(&counted.requests),
            reply_bytes: read(&counted.reply_bytes),
            replies: read(&counted.replies),
            replies_spoilt: read(&counted.replies_spoilt),
            chunks_lost: read(&counted.chunks_lost),
        }
    }
}

/// Adds to a count.
pub(super) fn count(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// The mode in force, as connections see it.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) mode: Mode,
    /// How many replies the mode could have picked so far.
    seen: AtomicU64,
    /// How many it has picked.
    picked: AtomicU64,
    /// What is left to chance. Only the proxy's thread asks.
    chance: Mutex<Chance>,
}

impl InForce {
    fn new(mode: Mode) -> Self {
        let seed = if let Mode::Lossy { seed, .. } = mode { seed } else { 0 };
        Self {
            mode,
            seen: AtomicU64::new(0),
            picked: AtomicU64::new(0),
            chance: Mutex::new(Chance::new(seed)),
        }
    }

    /// Whether the mode picks the reply that begins now, to this command: as which, counted from 0.
    pub(super) fn picks(&self, command: Option<&[u8]>) -> Option<u64> {
        let replies = self.mode.picks()?;
        if !replies.are_to(command) {
            return None;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        replies
            .picks_number(number)
            .then(|| self.picked.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a chunk counts as lost at this try.
    pub(super) fn loses(&self, permille: u16) -> bool {
        // With 1000 nothing would ever arrive.
        let permille = permille.min(999);
        self.chance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .permille(permille)
    }
}

/// What a connection watches.
pub(super) type ModeInForce = watch::Receiver<Arc<InForce>>;

/// Runs until `orders` is closed.
pub(super) fn run(
    runtime: &Runtime,
    listener: StdListener,
    shared: &Arc<Shared>,
    orders: queue::UnboundedReceiver<Order>,
) {
    let tasks = LocalSet::new();
    // If the listener cannot be watched, no order is answered and `set` says so.
    let _ = tasks.block_on(runtime, drive(listener, shared, orders));
}

async fn drive(
    listener: StdListener,
    shared: &Arc<Shared>,
    mut orders: queue::UnboundedReceiver<Order>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut listener = Some(TcpListener::from_std(listener)?);
    let (mode, watched) = watch::channel(Arc::new(InForce::new(Mode::Pass)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An order is in force before the next connection is accepted.
            biased;
            order = orders.recv() => {
                let Some(Order { mode: wanted, done }) = order else {
                    return Ok(());
                };
                let listening = relisten(&mut listener, address, &wanted).await;
                let breaks = matches!(wanted, Mode::Refuse | Mode::Reset);
                mode.send_replace(Arc::new(InForce::new(wanted)));
                while breaks && connections.join_next().await.is_some() {}
                // Whoever asked may have gone.
                let _ = done.send(listening);
            }
            Some(_ended) = connections.join_next() => {}
            stream = accept(listener.as_ref()), if listener.is_some() && connections.len() < CONNECTIONS_MAX => {
                count(&shared.counted.accepted, 1);
                let (shared, mode) = (Arc::clone(shared), watched.clone());
                connections.spawn_local(connection::serve(stream, shared, mode));
            }
        }
    }
}

/// Closes the listener, or has it again.
async fn relisten(listener: &mut Option<TcpListener>, address: SocketAddr, wanted: &Mode) -> io::Result<()> {
    if *wanted == Mode::Refuse {
        *listener = None;
    } else if listener.is_none() {
        *listener = Some(TcpListener::bind(address).await?);
    }
    Ok(())
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // A client that was gone again, or no descriptors for a moment.
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

/// Until descriptors may have come free.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Ten times what a test with a hundred nodes opens.
const CONNECTIONS_MAX: usize = 1024;

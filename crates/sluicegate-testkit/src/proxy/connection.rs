//! One connection: a client, and the server once something is to pass.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Mode;
use super::driver::{InForce, ModeInForce, Shared, count};
use super::pump::{self, Direction};
use super::replies::Spoiler;

/// A connection is over and both sides are to be reset.
#[derive(Debug)]
pub(super) struct Broken;

/// What the two directions of a connection tell each other.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    /// Bytes of this connection were swallowed, so that nothing more may pass.
    pub(super) has_hole: Cell<bool>,
    /// The commands that wait for a reply, in order. `None` where the client does not speak Redis's protocol.
    pub(super) waiting: RefCell<Option<VecDeque<Vec<u8>>>>,
}

impl Link {
    /// A command was sent.
    pub(super) fn asked(&self, command: &[u8]) {
        count(&self.shared.counted.requests, 1);
        let mut waiting = self.waiting.borrow_mut();
        if let Some(commands) = waiting.as_mut() {
            commands.push_back(command.to_vec());
            // A client that listens without being answered, such as a replica: its replies cannot be told apart.
            if commands.len() > WAITING_MAX {
                *waiting = None;
            }
        }
    }
}

/// Far beyond what any client has under way.
const WAITING_MAX: usize = 1 << 16;

/// Serves a connection to its end.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>, mode: ModeInForce) {
    count(&shared.counted.open, 1);
    let link = Link {
        shared: Arc::clone(&shared),
        has_hole: Cell::new(false),
        waiting: RefCell::new(Some(VecDeque::new())),
    };
    let mut ending = mode.clone();
    tokio::select! {
        biased;
        () = until_broken(&mut ending) => reset(&client),
        ended = relay(&client, &link, mode) => {
            if ended.is_err() {
                reset(&client);
            }
        }
    }
    drop(client);
    shared.counted.open.fetch_sub(1, Ordering::Relaxed);
}

/// Returns when a mode is set that no connection survives, or when the proxy stops.
async fn until_broken(mode: &mut ModeInForce) {
    let breaks = |in_force: &Arc<InForce>| matches!(in_force.mode, Mode::Refuse | Mode::Reset);
    // An error means that there will be no other mode.
    let _ = mode.wait_for(breaks).await;
}

async fn relay(client: &TcpStream, link: &Link, mut mode: ModeInForce) -> Result<(), Broken> {
    silent_while_blackhole(client, link, &mut mode).await?;
    let server = TcpStream::connect(link.shared.server()).await.map_err(|_| Broken)?;
    count(&link.shared.counted.connected, 1);
    // Each byte that a mode sends is to be seen at once.
    client.set_nodelay(true).map_err(|_| Broken)?;
    server.set_nodelay(true).map_err(|_| Broken)?;
    let requests = Direction::requests(link);
    let answers = Direction::replies(link, Spoiler::default());
    let ended = tokio::select! {
        ended = pump::run(client, &server, requests, mode.clone()) => ended,
        ended = pump::run(&server, client, answers, mode) => ended,
    };
    if ended.is_err() {
        reset(&server);
    }
    ended
}

/// Keeps a server that nothing is to reach out of it, and so a server that is gone.
async fn silent_while_blackhole(client: &TcpStream, link: &Link, mode: &mut ModeInForce) -> Result<(), Broken> {
    let mut swallowed = vec![0; SWALLOWED_BYTES];
    while link.has_hole.get() || matches!(mode.borrow_and_update().mode, Mode::Blackhole | Mode::Stall) {
        let is_stalled = mode.borrow().mode == Mode::Stall && !link.has_hole.get();
        tokio::select! {
            changed = mode.changed() => changed.map_err(|_| Broken)?,
            read = pump::read(client, &mut swallowed), if !is_stalled => {
                let read = read?;
                if read == 0 {
                    return Err(Broken);
                }
                count(&link.shared.counted.request_bytes, read as u64);
                link.has_hole.set(true);
            }
        }
    }
    Ok(())
}

/// How much is swallowed at a time.
const SWALLOWED_BYTES: usize = 1 << 12;

/// Makes closing a connection reset it.
fn reset(stream: &TcpStream) {
    // What is closed already is reset already.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

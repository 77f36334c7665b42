//! A TCP proxy before one server, which does to its connections what networks and failing servers do.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use sluicegate_testkit::proxy::{FaultProxy, Mode, Replies};
//! use sluicegate_testkit::redis::RedisServer;
//!
//! let server = RedisServer::start()?;
//! let proxy = FaultProxy::before(server.address())?;
//! // … the client under test connects to `proxy.address()` …
//! proxy.set(Mode::late(Duration::from_millis(80)))?;
//! proxy.set(Mode::Lose(Replies::to(&["EVALSHA"]).every(3)))?;
//! proxy.set(Mode::Pass)?;
//! assert!(proxy.counts().accepted <= 2, "it reconnected once at most");
//! # Ok(())
//! # }
//! ```
//!
//! One thread does all of it. Up to 1 024 connections are open at a time; of each, up to 4 MiB are under way in a direction,
//! and whoever sends more waits.

mod chance;
mod connection;
mod driver;
mod mode;
mod pump;
mod replies;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc as queue;

pub use mode::{Mode, Replies};

use crate::ports;
use driver::{Order, Shared};

/// A proxy on a free port of 127.0.0.1. It stops, and breaks its connections, when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: Option<queue::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a proxy that passes everything to `server`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = ports::listen()?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::new(server));
        // Unbounded, so that a caller inside another runtime may send; each caller waits for the answer to its only order.
        let (orders, received) = queue::unbounded_channel();
        let with = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || driver::run(&runtime, listener, &with, received))?;
        Ok(Self {
            address,
            shared,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Where clients connect, in every mode the same.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to every connection, open or new. What [`Mode`] promises holds when this returns.
    ///
    /// # Errors
    ///
    /// If somebody else has taken the port while it was refused.
    pub fn set(&self, mode: Mode) -> io::Result<()> {
        let stopped = || io::Error::other("the proxy has stopped");
        let (done, answer) = mpsc::channel();
        let orders = self.orders.as_ref().ok_or_else(stopped)?;
        orders.send(Order { mode, done }).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())?
    }

    /// Sends connections that are accepted from now on to another server, as a name that points elsewhere does. Open ones stay.
    pub fn point_to(&self, server: SocketAddr) {
        self.shared.point_to(server);
    }

    /// What it has seen since its start.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Its thread ends when nobody can order anything any more.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy has shown in what the test expected.
            let _ = thread.join();
        }
    }
}

/// What a proxy has seen. Messages are counted on connections that speak the Redis protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted, also those that were reset at once. One that is refused is not seen. A client is connected a moment
    /// before it is counted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections to the server.
    pub connected: u64,
    /// Bytes that came from clients, also those that were swallowed.
    pub request_bytes: u64,
    /// Requests that came whole from clients, also those that were swallowed.
    pub requests: u64,
    /// Bytes that came from the server, also those that were swallowed.
    pub reply_bytes: u64,
    /// Replies that the server began to send, other than pushes.
    pub replies: u64,
    /// Replies that were lost, cut or replaced because the mode picked them.
    pub replies_spoilt: u64,
    /// Chunks that were late because they counted as lost once or more.
    pub chunks_lost: u64,
}

//! Free ports of the loopback address, where they can be given back and had again.
//!
//! A port that the system chooses lies in the range from which it also gives ports to outgoing connections: a server that goes
//! and comes back may find it taken, and a client that looks for a server which is not there may even find itself. So ports
//! come from below that range, where only servers are.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port on which nobody listens, and nobody on the cluster bus port that belongs to it. Somebody else may take it before the
/// caller does, who then asks for another.
///
/// # Errors
///
/// If there is none in [`PORTS_TRIED`] tries.
pub(crate) fn free() -> io::Result<u16> {
    listener().map(|(_, port)| port)
}

/// A listener on such a port.
///
/// # Errors
///
/// As [`free`].
pub(crate) fn listen() -> io::Result<TcpListener> {
    listener().map(|(listener, _)| listener)
}

fn listener() -> io::Result<(TcpListener, u16)> {
    let mut refused = None;
    for _ in 0..PORTS_TRIED {
        let port = next();
        match on(port).and_then(|listener| on(port + CLUSTER_BUS).map(|_bus| listener)) {
            Ok(listener) => return Ok((listener, port)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn on(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Each process begins elsewhere, since tests run as many processes at once.
fn next() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(SCATTER);
    let step = COUNT.fetch_add(1, Ordering::Relaxed);
    let offset = begin.wrapping_add(step) % u32::from(PORTS);
    FIRST + u16::try_from(offset).unwrap_or_default()
}

/// With the bus ports, 22 000 to 29 999, below 32 768, where Linux begins to hand out ports to outgoing connections.
const FIRST: u16 = 12_000;
const PORTS: u16 = 8_000;

/// What Redis adds to a port for the bus of its cluster.
const CLUSTER_BUS: u16 = 10_000;

/// Processes that start one after another begin far apart: 2³² over the golden ratio.
const SCATTER: u32 = 2_654_435_769;

/// With half of all ports taken, all of these are taken once in 10¹⁹.
const PORTS_TRIED: usize = 64;

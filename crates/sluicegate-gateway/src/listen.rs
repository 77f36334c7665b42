//! Listening sockets: one for every address and worker, all of them on the same port.
//!
//! With SO_REUSEPORT the kernel spreads connections over the workers' sockets by a hash of the addresses, so that no
//! lock and no hand-over lies between a connection and its worker.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;

/// The sockets of one worker, in the order of the policy's addresses.
pub(crate) type Sockets = Vec<TcpListener>;

/// Binds every address once for each of `workers`; gives back the sockets by worker, and the addresses as bound.
///
/// A port of 0 is resolved by the first worker's socket, and the others join it there.
pub(crate) fn bind(addresses: &[SocketAddr], workers: usize) -> Result<(Vec<Sockets>, Vec<SocketAddr>), BindError> {
    let mut by_worker: Vec<Sockets> = (0..workers).map(|_| Vec::with_capacity(addresses.len())).collect();
    let mut bound = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let refused = |source| BindError::Listen { address, source };
        let mut resolved = address;
        if address.port() != 0 {
            probe(address).map_err(refused)?;
        }
        for sockets in &mut by_worker {
            let socket = listen(resolved).map_err(refused)?;
            resolved = socket.local_addr().map_err(refused)?;
            sockets.push(socket);
        }
        bound.push(resolved);
    }
    Ok((by_worker, bound))
}

/// Refuses an address that any other process listens on. SO_REUSEPORT alone would let a second gateway of the same user
/// join in, unseen, and each would admit the whole limit.
fn probe(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last run's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` on one port are two addresses of the policy, not a clash.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Connections that may wait for one worker to accept them; the system caps it (Linux: `net.core.somaxconn`, 4096).
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn port_0_is_resolved_once_and_shared_by_all_workers() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (by_worker, bound) = bind(&[any, any], 3).unwrap();
        assert_eq!(by_worker.len(), 3);
        assert_ne!(bound[0], bound[1]);
        for sockets in by_worker {
            let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
            assert_eq!(addresses, bound);
        }
    }

    #[test]
    fn an_address_of_somebody_else_is_refused_by_name() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let refused = bind(&[elsewhere], 1).unwrap_err();
        assert_eq!(refused.to_string(), "cannot listen on 192.0.2.1:0");
    }

    #[test]
    fn a_second_gateway_on_the_same_port_is_refused() {
        let (_first, bound) = bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], 2).unwrap();
        assert!(matches!(bind(&bound, 2), Err(BindError::Listen { .. })));
    }

    #[test]
    fn a_port_that_a_stranger_holds_alone_is_refused() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(
            bind(&[stranger.local_addr().unwrap()], 1),
            Err(BindError::Listen { .. })
        ));
    }
}

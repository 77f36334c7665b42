//! What can keep a gateway from starting or running. Faults of single requests are answers, not errors: see `problem`.

use std::io;
use std::net::SocketAddr;

use crate::tls::TlsError;

/// Why a gateway could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The caller's policy has no `gateway`.
    #[error("the policy has no gateway")]
    NoGateway,
    /// The system refused a listening socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// As the policy names it.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A listener cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a gateway that was bound could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system refused a thread, a poller or a timer.
    #[error("cannot start worker {worker}")]
    Start {
        /// Counted from 0.
        worker: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A defect of ours: a worker ended by a panic, outside any connection. The other workers were drained.
    #[error("worker {worker} panicked")]
    Panicked {
        /// Counted from 0.
        worker: usize,
    },
}

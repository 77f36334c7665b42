//! Real `redis-server` processes for tests, and a client of our own to look into them and to spoil what they hold.
//!
//! Each server is a child process on a free port of 127.0.0.1 with a folder of its own, and is gone when its value is dropped: by
//! its own process id, also when it is stopped or a test panics. The server that a system package brings is never used.

mod client;
mod clock;
mod cluster;
mod options;
mod process;
pub(crate) mod resp;
mod sentinel;
mod server;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

pub use client::Client;
pub use cluster::{Migration, NODE_TIMEOUT, RedisCluster};
pub use options::RedisOptions;
pub use resp::{Malformed, Reply};
pub use sentinel::RedisSentinel;
pub use server::{CommandStats, RedisServer};

use crate::poll::TooLate;

/// Why a server did not do what a test wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// A program is not on the search path, or a library not where packages put it.
    #[error("{} is not there: install the package {package} (Debian: apt-get install {package})", program.display())]
    Missing {
        /// What was looked for.
        program: PathBuf,
        /// What brings it.
        package: &'static str,
    },
    /// The system refused a file, a port or a process.
    #[error("{what}")]
    System {
        /// What it refused.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended instead of answering.
    #[error("the server ended with {status} and said:\n{said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        said: String,
    },
    /// What was waited for did not come.
    #[error(transparent)]
    Late(#[from] TooLate),
    /// The connection broke, or there was no answer for ten seconds.
    #[error("no answer from {address}")]
    Disconnected {
        /// The server.
        address: SocketAddr,
        /// What happened to the connection.
        #[source]
        source: io::Error,
    },
    /// The server answered with an error, which begins with its code: `OOM command not allowed …`.
    #[error("the server refused {command}: {said}")]
    Refused {
        /// The first word of the command.
        command: String,
        /// The error as it came.
        said: String,
    },
    /// There is no node that does this.
    #[error("no node {what}")]
    NoNode {
        /// What it was to do.
        what: &'static str,
    },
    /// The answer is not what this command answers.
    #[error("{command} was answered with {found:?}")]
    Unexpected {
        /// The first word of the command.
        command: String,
        /// The answer.
        found: Reply,
    },
}

impl RedisError {
    /// For `map_err` on what the system was asked for.
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

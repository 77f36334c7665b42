//! Why there is no connection, and what a failed call comes to.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use sluicegate_state::store::StoreError;

/// Why there is no connection to a server. Holds nothing that the server wrote but the codes of its errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Its name has no address, or nobody answers there.
    #[error("the store's server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// It is not whom we trust, or does not speak TLS.
    #[error("the store's server cannot be trusted")]
    Untrusted(#[source] io::Error),
    /// It did not answer.
    #[error("the store's server did not answer within {0:?}")]
    Silent(Duration),
    /// The connection broke.
    #[error("the store's server closed the connection")]
    Lost,
    /// It refused to serve us.
    #[error("the store's server refused: {code}")]
    Refused {
        /// The error's code.
        code: String,
    },
    /// What it says is none of Redis's protocol.
    #[error("what answers is no Redis of version 6.2 or later")]
    Foreign,
    /// It copies from another, and takes no writes.
    #[error("the store's server is a replica")]
    Replica,
    /// The sentinel knows no primary of that name.
    #[error("the sentinel knows no primary of that name")]
    NoPrimary,
}

impl LinkError {
    pub(super) fn of(error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::Refused { code: shown(code) };
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Refused {
                code: "WRONGPASS".to_owned(),
            },
            ErrorKind::Io => Self::Lost,
            _ => Self::Foreign,
        }
    }
}

/// Why a call to one server gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// As the store says it.
    Store(StoreError),
    /// Nothing was done: in this cluster, another node has the shard.
    Moved {
        /// Where, `host:port`.
        to: String,
    },
    /// Nothing was done: these keys are just moving to another node, which takes them if told that it was asked for.
    Ask {
        /// Where, `host:port`.
        to: String,
    },
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// A call that was sent, and what the client made of the answer.
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.redirect_node()) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some((to, _))) => Self::Moved { to: to.to_owned() },
            (ErrorKind::Server(ServerErrorKind::Ask), Some((to, _))) => Self::Ask { to: to.to_owned() },
            (ErrorKind::Io, _) => StoreError::Lost(Box::new(LinkError::Lost)).into(),
            _ => match code_of(error) {
                // The scripts write only once all is known, and what can refuse a write refuses the first.
                Some(code) => StoreError::Refused { code: shown(code) }.into(),
                None => StoreError::BadReply.into(),
            },
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Store(StoreError::Lost(_) | StoreError::BadReply) => true,
            // It became a replica, or takes us for someone else.
            Self::Store(StoreError::Refused { code }) => {
                ["READONLY", "MASTERDOWN", "LOADING", "NOAUTH"].contains(&code.as_str())
            }
            _ => false,
        }
    }
}

/// The code of a refusal. Before version 7, what refuses a write of a script is told at the end of a longer text:
/// `ERR Error running script (…): @user_script: 431: -OOM command not allowed …`.
fn code_of(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    let of_write = || error.detail()?.rsplit_once(": -")?.1.split(' ').next();
    if code == "ERR" {
        of_write().or(Some(code))
    } else {
        Some(code)
    }
}

/// An error's code, if it looks like one: what stands in its place is not repeated.
fn shown(code: &str) -> String {
    let is_code = (1..=CODE_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { code.to_owned() } else { "ERR".to_owned() }
}

/// The longest code of Redis has twelve letters.
const CODE_MAX: usize = 16;

//! What tests share: a recording upstream, real Redis servers with the faults they can have, a proxy that injects the faults
//! of a network, and a checker of what nodes admitted.
//!
//! | module | is |
//! | --- | --- |
//! | [`upstream`] | a server that records what reaches it |
//! | [`redis`] | `redis-server` as a child process: alone, as a replica, a cluster of six, or watched by sentinels |
//! | [`proxy`] | a TCP proxy in front of one server: late, cut, silent, one-way, refused, garbled |
//! | [`history`] | what nodes decided, and whether it was within its bound in every window |
//! | [`fleet`] | nodes that share limits, and a store, in simulated time |
//! | [`store_conformance`] | what every store keeps to |
//! | [`certificates`] | certificates with their keys, and whom they are of |
//! | `tokens` (a feature) | keys that sign tokens, and the tokens |
//! | [`poll`] | waiting for what other processes do |
//! | [`environment`] | what whoever runs the tests may ask for |
#![forbid(unsafe_code)]

pub mod certificates {
    //! Certificates for tests, without the servers that show them.

    pub use crate::redis::tls::*;
}
pub mod environment;
pub mod fleet;
pub mod history;
pub mod poll;
mod ports;
pub mod proxy;
pub mod redis;
pub mod store_conformance;
#[cfg(feature = "tokens")]
pub mod tokens;
pub mod upstream;

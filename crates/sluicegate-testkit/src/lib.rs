//! What tests share: a recording upstream, and real Redis servers with the faults they can have.
//!
//! | module | is |
//! | --- | --- |
//! | [`upstream`] | a server that records what reaches it |
//! | [`redis`] | `redis-server` as a child process: alone, or as a replica |
//! | [`poll`] | waiting for what other processes do |
#![forbid(unsafe_code)]

pub mod poll;
mod ports;
pub mod redis;
pub mod upstream;

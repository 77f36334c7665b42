//! What nodes share, in Redis or Valkey.
//!
//! ```text
//!  RedisStore: Store ── lane ──► Server ── Link ──► EVALSHA exchange.lua ──► Redis
//!     ring: a lane is a server      │ keeper: find, open, greet, probe, publish, back off
//!     cluster: a lane is a shard    └ Health: counts and spans, read without a lock
//! ```
//!
//! Read on in this order: [`StoreConfig`], [`RedisStore`], [`Health`], [`script`], [`names`].
//!
//! A call that may have been done is never called undone and never sent again: see
//! [`StoreError::is_undone`](sluicegate_state::store::StoreError::is_undone).
#![forbid(unsafe_code)]

mod chance;
mod cluster;
mod config;
mod health;
pub mod names;
mod ring;
pub mod script;
mod server;
mod store;

pub use config::{Addresses, ConfigError, DEADLINE, DEADLINE_MAX, Password, StoreConfig, TlsConfig};
pub use health::{Breaker, Count, Health, Trouble};
pub use server::LinkError;
pub use store::RedisStore;

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
//!
//! ```no_run
//! use sluicegate_redis::{Addresses, RedisStore, StoreConfig};
//! use sluicegate_state::SystemClock;
//! use sluicegate_state::store::{Presence, Store};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = Addresses::Ring(vec!["redis://10.0.0.1".into(), "redis://10.0.0.2".into()]);
//! let config = StoreConfig::new(addresses, 0x5EED);
//! let store = RedisStore::start(&config, SystemClock::new().into(), tokio::runtime::Handle::current())?;
//! let told = store.heartbeat(Presence { node: 17, secret: 42 }).await?;
//! assert!(told.same_secret);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod chance;
mod cluster;
mod config;
mod endpoint;
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

//! Metrics and health on a listener of their own, apart from the traffic they tell about.
//!
//! ```text
//!  Limiter ──┐
//!  Store ────┤
//!            ├─ Source ──► Readings ──► prometheus-client ──► GET /metrics
//!  Gateway ──┘             (bounded)
//!  Readiness ───────────────────────────────────────────────► GET /readyz
//!  Reloads ─────────────────────────────────────────────────────┤
//!  SharingView ─────────────────────────────────────────────────┴──► GET /sharing
//!  Reload ◄──────────────────────────────────────────────────── POST /reload
//! ```
//!
//! In reading order: [`catalogue`] names every metric there is, [`Source`] is what can be asked for numbers,
//! [`Readings`] collects the answers under a bound, [`Readiness`] says whether traffic should come, [`Reloads`] what became of the policy
//! file, [`SharingView`] how limits are shared with other nodes, and [`Admin`] is the listener. Labels hold words of the configuration only, so traffic can raise a number and never add a series.
//!
//! What is absent: this crate writes nothing to the limiter, reads no file and knows no client; who may is behind [`Reload`]. It does not start on an address that
//! other machines can reach, since nothing here asks who is calling.
//!
//! ```
//! use std::net::SocketAddr;
//! use sluicegate_admin::{Admin, AdminError};
//!
//! let everywhere: SocketAddr = "0.0.0.0:9900".parse()?;
//! assert!(matches!(Admin::bind(everywhere), Err(AdminError::NotLoopback { .. })));
//!
//! let here = Admin::bind("127.0.0.1:0".parse()?)?;
//! assert!(here.address().ip().is_loopback());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod catalogue;
mod console;
mod guard;
mod listener;
mod readiness;
mod readings;
mod reload;
mod scrape;
mod sharing;
mod sources;

pub use console::{Console, PolicyFile};
pub use listener::{Admin, AdminError};
pub use readiness::{Readiness, Stage};
pub use readings::{Readings, SERIES_MAX, Source};
pub use reload::{Reload, Reloaded, Reloads};
pub use sharing::{Breaker, SharingView, StoreServer, StoreServers};
pub use sources::{BuildSource, LimiterSource};

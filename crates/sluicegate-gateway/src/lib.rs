//! The gateway: a reverse proxy with limits in its request path.
//!
//! ```text
//!  client ── Wire ── Gate ─── hyper ── Door ── Limit ── forward ── Upstream ── Link ── server
//!            bytes,   one      HTTP    host,   path, the  headers,    turns,     hyper
//!            stalls   meaning          caps    limiter    bodies      failover
//! ```
//!
//! Every worker is a thread with a runtime, listening sockets (SO_REUSEPORT), upstream connections and deadlines of its
//! own; a request stays on the worker that accepted it, and in one task. What workers share is the limiter, the cap of
//! connections and the order to stop.
//!
//! Read [`Gateway::bind`], [`Bound::run`] and [`Settings::replace`] first, then `worker`, `tls` for listeners that speak it, `connection`,
//! [`framing`], `door`, `forward`, `upstream`,
//! `uploads` for requests that are answered before they have ended, and `tunnel` for connections that leave HTTP.
//! `docs/gateway.md` says what is removed, what is written, and which deadline and cap holds where.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use sluicegate::policy::Policy;
//! use sluicegate::{Limiter, SystemClock, secret};
//! use sluicegate_gateway::{Gateway, shutdown};
//!
//! let text = "version: 1\ngateway: { listen: 127.0.0.1:8080, upstreams: { api: { servers: 127.0.0.1:9001 } } }\n";
//! let (policy, _warnings) = Policy::parse("policy.yaml", text)?;
//! let limiter = Limiter::new(&policy, &secret::generate()?, SystemClock::new())?;
//! let bound = Gateway::bind(&policy, Arc::new(limiter))?;
//! println!("listening on {:?}", bound.addresses());
//!
//! // Whoever hears the signal to stop holds the trigger.
//! let (trigger, stop) = shutdown();
//! let drained = bound.run(stop)?;
//! println!("{} requests were cut off", drained.cut);
//! # drop(trigger);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod body;
mod connection;
mod door;
mod doors;
mod error;
mod forward;
pub mod framing;
mod gateway;
mod headers;
mod listen;
mod paced;
mod problem;
pub mod proxy;
mod pulse;
mod settings;
mod shutdown;
mod tls;
mod tunnel;
mod uploads;
mod upstream;
mod worker;

pub use self::connection::Traffic;
pub use self::error::{BindError, RunError};
pub use self::gateway::{Bound, Drained, Gateway};
pub use self::settings::{ReplaceError, Settings};
pub use self::shutdown::{Shutdown, Trigger, shutdown};
pub use self::tls::{Certificate, EXPIRY_WARNING, TlsError};

//! The front door: a policy file becomes a [`Limiter`], which decides on requests and says what their senders are told.
//!
//! ```text
//!  policy file ──► Policy ──► Limiter::new
//!                                │
//!  Request ──────────────────► decide ──► Outcome ──► Allow: Admitted, Report ──► announce (RateLimit fields)
//!     route, keys, charges ──► Table          └─────► Deny ───────────────────► refusal (429, problem document)
//! ```
//!
//! A program that limits something of its own needs neither file nor request; `docs/library.md` tells of all that it can ask:
//!
//! ```
//! use sluicegate::Limiter;
//!
//! let limiter = Limiter::builder().limit("emails", "10/h").build()?;
//! assert!(limiter.check("emails", "alice")?.passes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A door asks about requests by a policy:
//!
//! ```
//! use http::{HeaderMap, Method};
//! use sluicegate::policy::Policy;
//! use sluicegate::{Decision, Limiter, Outcome, Request, SystemClock, secret};
//!
//! let text = "version: 1\nrules:\n  - {name: per-client, key: ip, limit: 1/s}\n";
//! let (policy, _warnings) = Policy::parse("policy.yaml", text)?;
//! let limiter = Limiter::new(&policy, &secret::generate()?, SystemClock::new())?;
//! let request = Request {
//!     method: &Method::GET,
//!     host: "api.example",
//!     path: "/",
//!     query: "",
//!     peer: Some([192, 0, 2, 1].into()),
//!     headers: &HeaderMap::new(),
//! };
//! assert!(matches!(limiter.decide(&request), Outcome::Decided(Decision::Allow { .. })));
//! assert!(matches!(limiter.decide(&request), Outcome::Decided(Decision::Deny { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read on in this order: [`Limiter`], [`Builder`], [`Check`], [`Grant`]; then [`policy::Policy`], [`Request`], [`Decision`], [`Refusal`].
//!
//! Rust 1.91 or later.
#![forbid(unsafe_code)]

pub mod address;
pub mod body;
pub mod certificate;
mod claims;
pub mod condition;
mod fingerprint;
mod identity;
mod limiter;
pub mod metrics;
pub mod password;
pub mod path;
mod paths;
pub mod policy;
mod request;
mod route;
pub mod secret;
#[cfg(feature = "sharing")]
mod sharing;
mod told;

pub use limiter::{
    Admitted, AskError, AskedRule, Attempt, BodyQuestion, BuildError, Builder, Change, Check, Cleaner,
    DEADLINE_DEFAULT, Decision, Engine, Grant, Key, KeyParts, Limiter, LimiterError, LocalLimiter, OPEN_MAX, Outcome,
    Permit, Reservation, ReservationId, Reserve, Restored, Rule, RuleFaults, RuleHandle, Settled, Ticket,
};
pub use policy::checked::{Algorithm, Align, OnSuccess, Sharing};
pub use request::{Request, canonical_host};
pub use route::{PathConflict, RouteId};
#[cfg(feature = "sharing")]
pub use sharing::{News, ShareError, Sharer};
pub use sluicegate_core::sharing::OnStoreLoss;
pub use sluicegate_core::{AllowId, Cost, Limit, Mode, Reason, Report, Retry, RuleId, RuleState, Secret};
#[cfg(feature = "jwt")]
pub use sluicegate_identity::jwt;
pub use sluicegate_identity::{Caller, FreshKey, Ja4, KeyDigest, VouchKind, Vouched};
pub use sluicegate_state::leases::{SharedBucket, SharingCounts, SharingStatus, StoreStanding};
pub use sluicegate_state::snapshot::{Durability, ReadError, WriteError, Written};
pub use sluicegate_state::{AnyClock, Clock, ManualClock, SystemClock};
pub use told::{Announcement, Refusal};

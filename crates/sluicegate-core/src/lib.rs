//! The pure heart of Sluicegate: what a limit means, and whether one more request keeps to it.
//!
//! ```text
//!  "5/s burst 10" ──parse──► Limit ──┐
//!                       Algorithm ──┴─compile──► Meter ◄── state (one word, three, or a log; remembered by the caller)
//!                                                  │
//!                          Timestamp, Cost ──────► decide ──────► Ruling { state to keep, Answer }
//! ```
//!
//! Nothing here reads a clock, draws a random number, writes a log or waits: the same arguments give the same answer,
//! for ever. Read on in this order: [`Timestamp`], [`Limit`], [`Cost`], [`KeyHasher`], [`algorithm::Meter`] with
//! [`algorithm::TokenBucket`], which has a quicker way of its own, and [`Decision`].
//!
//! ```
//! use sluicegate_core::algorithm::{Tat, TokenBucket};
//! use sluicegate_core::{Cost, Timestamp};
//!
//! let bucket = TokenBucket::new("2/s burst 1".parse()?);
//! let start = bucket.tick(Timestamp::from_nanos(0));
//! let first = bucket.decide(Tat::UNSEEN, start, Cost::ONE);
//! let second = bucket.decide(first.tat(), start, Cost::ONE);
//! assert!(first.passes() && !second.passes());
//! # Ok::<(), sluicegate_core::ParseLimitError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod algorithm;
mod cost;
mod decision;
mod key;
mod limit;
pub mod sharing;
mod time;

pub use cost::{Cost, CostFault};
pub use decision::{AllowId, Decision, Mode, RULES_MAX, Reason, Report, Retry, RuleId, RuleState};
pub use key::{KeyBuilder, KeyHash, KeyHasher, PartKind, Secret};
pub use limit::{Limit, LimitFault, ParseLimitError, Permits};
pub use time::Timestamp;

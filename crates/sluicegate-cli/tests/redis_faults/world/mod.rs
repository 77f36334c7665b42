//! Nodes that share limits, the load on them, and what they are held to.

mod bound;
mod clocks;
mod fleet;
mod gate;
mod load;

pub(crate) use bound::{Mishaps, Shared};
pub(crate) use clocks::Skew;
pub(crate) use fleet::{Fleet, ring};
pub(crate) use load::Load;

use std::time::Duration;

/// What a test of this folder ends with.
pub(crate) type Tested = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take that has to happen some time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whole milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

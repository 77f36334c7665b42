//! How a limit is kept: pure functions of what is remembered, the time and the cost.

mod ticks;
mod token_bucket;

pub use ticks::{Tick, TickScale};
pub use token_bucket::{Tat, TokenBucket, Verdict};

//! Every algorithm against exact arithmetic, written anew for the purpose: whatever the limit, the clock and the costs.
//!
//! `cell` keeps what a table would keep; `histories` makes limits, clocks and costs; `common` holds what all algorithms
//! promise alike, and the other modules hold what each promises, against a model of its own in big numbers.

mod cell;
mod histories;

mod common;

mod concurrency;
mod fixed_window;
mod leaky_bucket;
mod settling;
mod sliding_log;
mod sliding_window;
mod token_bucket;

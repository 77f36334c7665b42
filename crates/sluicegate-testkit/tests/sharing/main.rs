//! What nodes promise that share a limit, in simulated time.

mod common;
mod faults;
mod limits_of_leases;
mod many_keys;
mod permits;
mod search;
mod steady;

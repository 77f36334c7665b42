//! What nodes promise that share a limit, in simulated time.

mod common;
mod faults;
mod limits_of_leases;
mod many_keys;
mod permits;
mod rivals;
mod search;
mod settling;
mod steady;

//! What nodes promise that share a limit, in simulated time.

mod common;
mod limits_of_leases;
mod steady;

//! Limits that nodes hold together where each node is a process: the built command as a gateway, under load by real requests, while
//! processes are stopped, killed and cut off from the store.
//!
//! What passed is what reached the upstream, and when. No window of it may hold more than the rule's printed bound and the fault's term;
//! what clients were told is held against it. Safety is asserted always; that something comes to be is waited for, for as long as only
//! what hangs takes.

#[path = "../redis_faults/world/bound.rs"]
#[allow(dead_code, reason = "the nodes of one process use the rest")]
mod bound;
mod clients;
mod fleet;
mod frozen;
#[path = "../run/process.rs"]
#[allow(dead_code, reason = "the other tests of `run` use the rest")]
mod process;
mod random;

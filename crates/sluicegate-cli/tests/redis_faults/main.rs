//! Limits that nodes hold together, on real servers, while one fault after another is done to them.
//!
//! All nodes run in this process, each with its own limiter, connections and threads. Every decision goes into one history by one
//! clock, and no window of it may hold more than the rule's printed bound and the fault's term. Safety is asserted always; that
//! something comes to be is waited for, for as long as only what hangs takes.

mod clock_jumps;
mod clocks;
mod clusters;
mod data_loss;
mod frozen;
mod herd;
mod limits;
mod partitions;
mod random;
mod spoilt;
mod stopped;
mod world;

//! The front door: policy file, limiter, and what a client is told.

pub mod address;
pub mod policy;

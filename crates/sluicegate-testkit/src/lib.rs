//! The reference model, recording upstream and child processes that tests share.
#![forbid(unsafe_code)]

pub mod upstream;

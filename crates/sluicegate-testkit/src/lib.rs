//! The reference model, recording upstream and child processes that tests share.

pub mod upstream;

//! What nodes share, in Redis or Valkey.
//!
//! [`script`] is the one text that the servers run, and what is written for it and read from it; [`names`] is what things are
//! called there.
#![forbid(unsafe_code)]

pub mod names;
pub mod script;

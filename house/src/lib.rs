//! The rules of the house, as tests.
//!
//! `ARCHITECTURE.md` says what is absent from each crate, and why; the tests of this crate fail when one of those things
//! comes in. They ask cargo how the workspace hangs together and read its sources as text. No crate depends on this one.
//!
//! - `tests/floors.rs`: no crate imports one from its own floor or from above.
//! - `tests/purity.rs`: the pure crates are `no_std`, and so is all that they depend on.
//! - `tests/absence.rs`: `unsafe`, the clock, the environment and files stay where they are allowed.
//!
//! The binary `features` lists the features that `./x test` then checks one by one.
#![forbid(unsafe_code)]

pub mod sources;
pub mod workspace;

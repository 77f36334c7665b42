//! What a server runs: the script of exchanges, what is written for it, and what is read from it.
//!
//! ```text
//!  Item … ──► request::Header, request::records ──► exchange.lua ──► answer::read ──► Said { Answer … }
//! ```
//!
//! The scripts' texts are constants; keys and numbers only ever reach them as `KEYS` and `ARGV`.

mod answer;
mod request;

pub use answer::{Said, read};
pub use request::{Generation, Header, Unfit, records};

/// The script of an exchange; its head says what it takes and answers.
pub const EXCHANGE: &str = include_str!("exchange.lua");

/// The script of a heartbeat.
pub const PRESENCE: &str = include_str!("presence.lua");

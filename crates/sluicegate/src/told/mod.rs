//! What a client is told: the limits that apply to it, where it stands, and what a refusal means.

mod announcer;
mod problem;
mod refusal;

pub use announcer::Announcement;
pub(crate) use announcer::Announcer;
pub use refusal::Refusal;
pub(crate) use refusal::{Refused, Wire};

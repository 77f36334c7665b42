//! What the laboratory adds to the rivals of the testkit.

mod bucket;
mod exact;

pub(super) use bucket::{Allowed, Bucket};
pub(super) use exact::Exact;

//! What is taken out of messages on their way through, and what is written into them.

mod forwarded;
mod hop;
mod method;
mod target;
mod upgrade;

pub(crate) use self::forwarded::{Peer, Scheme, write_forwarded};
pub(crate) use self::hop::{strip_answer, strip_request};
pub(crate) use self::method::settle_method;
pub(crate) use self::target::{settle_fields, settle_host, to_origin_form};
pub(crate) use self::upgrade::Offer;

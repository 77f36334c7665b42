//! TLS on listeners.
//!
//! ```text
//!  files ── material ── terms ── handshake ── Transport ── Wire ── hyper
//!           what they    of one    with one     plain or
//!           say          listener  client       TLS
//! ```
//!
//! `material` reads the files and `leaf` what a certificate says of itself; `terms` makes of them what a listener's handshakes go by;
//! `names` picks the certificate; `handshake` is one client's; `transport` is what its connection is from then on.

mod error;
mod handshake;
mod leaf;
mod material;
mod names;
mod terms;
mod transport;

pub use self::error::TlsError;
pub(crate) use self::handshake::Shaken;
pub use self::terms::{Certificate, EXPIRY_WARNING};
pub(crate) use self::terms::{Former, Terms};
pub(crate) use self::transport::Transport;

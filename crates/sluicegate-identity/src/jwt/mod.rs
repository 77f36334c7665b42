//! JSON Web Tokens (RFC 7519): who a token says that its bearer is, if it was signed by a key that the policy trusts.
//!
//! ```text
//!  token ──► Cache: seen before? ──yes──────────────────────────► Vouched
//!     └─no─► Token: three parts, header, claims, nothing twice
//!              └──► KeySet: the key of that id and algorithm ──► signature ──► claims fit Terms ──► Vouched, into the cache
//! ```
//!
//! A token chooses nothing: neither the algorithm (the policy lists them, and each key is for some), nor where a key comes from (`jku`,
//! `x5u`, `jwk` and `x5c` are not looked at), nor a rule of its own (`crit` is refused). Whatever is not as it should be makes the
//! token nobody's: there is no half-verified caller.
//!
//! Written upon a library of signatures rather than one of tokens: the ones there are read a clock of their own, let the last of two
//! claims of one name win, and parse a key for each token.
//!
//! [`Verifier`] and [`KeySet`] need the feature `jwt`.

#[cfg(feature = "jwt")]
mod cache;
#[cfg(feature = "jwt")]
mod json;
#[cfg(feature = "jwt")]
mod keys;
mod refresh;
mod terms;
#[cfg(feature = "jwt")]
mod token;
#[cfg(feature = "jwt")]
mod verifier;

#[cfg(feature = "jwt")]
pub use cache::CACHED_MAX;
#[cfg(feature = "jwt")]
pub use keys::{KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX, KeySet, KeySetFault};
pub use refresh::Refresh;
pub use terms::{Algorithm, Terms};
#[cfg(feature = "jwt")]
pub use token::{TOKEN_BYTES_MAX, TokenFault};
#[cfg(feature = "jwt")]
pub use verifier::{LEEWAY, NAME_BYTES_MAX, Verifier};

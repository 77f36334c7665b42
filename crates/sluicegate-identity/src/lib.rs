//! Who is calling, verified.
//!
//! ```text
//!  an API key ──► KeyDigest ──► Directory::find ──────────────────┐
//!  a token ──► jwt::Verifier: cache, else signature and claims ───┼──► Vouched ──► Caller: key, user, certificate
//!  a certificate that TLS has verified ──► certificate ───────────┤
//!  what a program has verified itself ────────────────────────────┘
//!
//!  a TLS client's first bytes ──► HelloReader ──► ClientHello ──► Ja4: what kind of program it is, which proves nothing
//! ```
//!
//! What is not verified is not an identity: whoever shows a key that nobody has issued is as if it had shown none, so that
//! neither a made-up key nor another's name is ever a bucket of its own.
//!
//! ```
//! use sluicegate_identity::{Directory, KeyDigest, KeyEntry};
//!
//! let entry = KeyEntry::new("ci", KeyDigest::of(b"sg_secret")).tenant("acme").tier("premium");
//! let directory = Directory::new(vec![entry])?;
//! let known = directory.find(b"sg_secret", || 0).expect("the key is known");
//! assert_eq!(known.tenant(), Some("acme"));
//! assert!(directory.find(b"sg_other", || 0).is_none());
//! # Ok::<(), sluicegate_identity::DirectoryError>(())
//! ```
//!
//! Read on in this order: [`Caller`], [`Vouched`], [`Directory`], [`KeyDigest`], [`FreshKey`]; then `jwt` and `certificate`, each a feature,
//! [`HelloReader`] and [`Ja4`].
//!
//! Pure but for what is handed in: no clock, no randomness, no file, no network. Rust 1.91 or later.
#![forbid(unsafe_code)]

mod caller;
#[cfg(feature = "certificates")]
pub mod certificate;
pub mod claims;
mod digest;
mod directory;
mod fresh;
mod hello;
mod ja4;
pub mod jwt;

pub use caller::{Caller, VouchKind, Vouched};
pub use digest::{DigestFault, KeyDigest};
pub use directory::{Directory, DirectoryError, KEYS_MAX, KeyEntry};
pub use fresh::{FreshKey, KEY_PREFIX};
pub use hello::{ClientHello, HelloReader, NoHello};
pub use ja4::Ja4;

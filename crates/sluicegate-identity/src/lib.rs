//! Who is calling, verified.
//!
//! ```text
//!  an API key ──► KeyDigest ──► Directory::find ──────────────────┐
//!  a token ──► jwt::Verifier: cache, else signature and claims ───┼──► Vouched ──► Caller: key, user, certificate
//!  what a program has verified itself ────────────────────────────┘
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
//! Read on in this order: [`Caller`], [`Vouched`], [`Directory`], [`KeyDigest`], [`FreshKey`]; then [`jwt`].
//!
//! Pure but for what is handed in: no clock, no randomness, no file, no network. Rust 1.91 or later.
#![forbid(unsafe_code)]

mod caller;
mod digest;
mod directory;
mod fresh;
pub mod jwt;

pub use caller::{Caller, VouchKind, Vouched};
pub use digest::{DigestFault, KeyDigest};
pub use directory::{Directory, DirectoryError, KEYS_MAX, KeyEntry};
pub use fresh::{FreshKey, KEY_PREFIX};

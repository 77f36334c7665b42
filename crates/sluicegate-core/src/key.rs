//! What a cell is stored under: a keyed hash of a request's attributes.
//!
//! The bytes themselves are never kept. Each part is hashed on its own, with its length, its kind and the digest of
//! the parts before it, so that no two lists of parts read alike: (`a:b`, `c`) and (`a`, `b:c`) differ, as do an empty
//! part and an absent one.
//!
//! # Format 1, pinned
//!
//! The hash is rapidhash v3 (the `rapidhash_v3` output of the crate's stable interface, with avalanche and the
//! protected mix). Its eight 64-bit secrets are the 64 bytes that BLAKE3 derives from the [`Secret`] with the context
//! `sluicegate key hash 1`, little-endian: seed first. Part *i* is hashed over its bytes, with the seed
//! `digest(i−1) xor (kind × 0x9E37_79B9_7F4A_7C15)`; `digest(0)` is the first secret. Snapshots depend on every word of
//! this paragraph; a change is a new format number.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};

/// An installation's secret, 32 bytes: without it nobody can tell which keys share a cell.
///
/// Nodes that share state share it. Its `Debug` form shows nothing of it.
#[derive(Clone)]
pub struct Secret([u8; Secret::LEN]);

impl Secret {
    /// Bytes in a secret.
    pub const LEN: usize = 32;

    /// Takes 32 bytes from a good random source.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that keeps them in a file.
    pub const fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Turns lists of attribute values into [`KeyHash`]es under one secret. Made once, at load.
#[derive(Clone)]
pub struct KeyHasher {
    secrets: RapidSecrets,
}

impl KeyHasher {
    /// Derives the hash's own secrets; a few microseconds.
    pub fn new(secret: &Secret) -> Self {
        let mut derive = blake3::Hasher::new_derive_key("sluicegate key hash 1");
        derive.update(&secret.0);
        let mut bytes = [0; 64];
        derive.finalize_xof().fill(&mut bytes);
        let mut words = [0u64; 8];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        let [seed, secrets @ ..] = words;
        Self {
            secrets: RapidSecrets { seed, secrets },
        }
    }

    /// Begins a key.
    #[inline]
    pub const fn key(&self) -> KeyBuilder<'_> {
        KeyBuilder {
            hasher: self,
            digest: self.secrets.seed,
        }
    }
}

impl core::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyHasher(…)")
    }
}

/// A key in the making: add its parts in the rule's order, then finish.
#[derive(Clone, Copy)]
pub struct KeyBuilder<'a> {
    hasher: &'a KeyHasher,
    digest: u64,
}

impl KeyBuilder<'_> {
    /// Adds one attribute's value, of any length. No allocation; a nanosecond or two up to 16 bytes.
    #[inline]
    #[must_use]
    pub const fn part(self, kind: PartKind, value: &[u8]) -> Self {
        // An odd constant (2⁶⁴ divided by the golden ratio) spreads the kinds over all bits of the seed.
        let seed = self.digest ^ (kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let secrets = RapidSecrets {
            seed,
            secrets: self.hasher.secrets.secrets,
        };
        Self {
            hasher: self.hasher,
            digest: rapidhash_v3_inline::<true, false, true>(value, &secrets),
        }
    }

    /// The hash of all parts so far.
    #[inline]
    pub const fn finish(self) -> KeyHash {
        KeyHash(self.digest)
    }
}

impl core::fmt::Debug for KeyBuilder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyBuilder(…)")
    }
}

/// What kind of attribute a part is; the numbers belong to format 1 and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PartKind {
    /// Stands where an attribute is absent and one cell is shared by all such requests.
    Absent = 0,
    /// A client's address, cut to its prefix.
    Ip = 1,
    /// A route's name.
    Route = 2,
    /// A request's method.
    Method = 3,
    /// A canonical host.
    Host = 4,
    /// A header's value.
    Header = 5,
    /// A rule's name: not part of a cell's key, but of what is drawn from the same secret.
    Rule = 6,
    /// A value that a program names itself, through the library.
    Value = 7,
    /// A member of a request's body.
    Body = 8,
    /// A whole number that a program names itself.
    Number = 9,
    /// The id of a verified API key.
    Key = 10,
    /// A verified user.
    User = 11,
    /// The subject of a verified client certificate.
    Certificate = 12,
    /// The tenant that a verified caller belongs to.
    Tenant = 13,
    /// The tier of a verified caller.
    Tier = 14,
    /// A claim about a verified caller.
    Claim = 15,
    /// The alternative name of a verified client certificate. (What lies between is kept for attributes of the request line.)
    CertificateName = 24,
    /// A TLS client's JA4.
    Ja4 = 25,
    /// A client's JA4 and the order of its header lines.
    Fingerprint = 26,
    /// The subject of a verified client certificate, where it is asked for by itself.
    CertificateSubject = 27,
    /// The SPIFFE id of a verified client certificate, where it is asked for by itself.
    Spiffe = 28,
    /// A canonical path.
    Path = 32,
    /// What a parameter of a route's path stands for.
    PathPart = 33,
    /// A cookie's value.
    Cookie = 34,
    /// A parameter of the query, decoded.
    Query = 35,
    /// A route's class.
    Sensitivity = 36,
}

/// A keyed 64-bit hash of a key's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash as a number, for whoever lays cells out by it.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether this key belongs to the `percent` of keys for which the rule hashed as `rule` is enforced.
    ///
    /// Under one secret the answer is the same on every node and at every time, and a key that belongs to a share
    /// belongs to every larger one. 0 takes in no key, 100 every key.
    pub fn falls_within(self, percent: u8, rule: KeyHash) -> bool {
        let (low, high) = (self.0 ^ rule.0).carrying_mul(0xD6E8_FEB8_6659_FD93, 0);
        // Scales 64 even bits to 0‥100 without bias worth the name (100 in 2⁶⁴).
        let place = (u128::from(low ^ high) * 100) >> 64;
        place < u128::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(byte: u8) -> KeyHasher {
        KeyHasher::new(&Secret::from_bytes([byte; 32]))
    }

    fn hash(parts: &[(PartKind, &[u8])]) -> KeyHash {
        let hasher = hasher(7);
        parts
            .iter()
            .fold(hasher.key(), |key, (kind, value)| key.part(*kind, value))
            .finish()
    }

    /// T5 of the threat list: four ways in which joined keys are confused.
    #[test]
    fn no_two_lists_of_parts_read_alike() {
        use PartKind::{Absent, Header, Host, Ip};
        type Parts = [(PartKind, &'static [u8])];
        let pairs: [[&Parts; 2]; 6] = [
            [&[(Header, b"a:b"), (Header, b"c")], &[(Header, b"a"), (Header, b"b:c")]],
            [&[(Header, b"x_"), (Header, b"y")], &[(Header, b"x"), (Header, b"_y")]],
            [&[(Header, b"")], &[(Absent, b"")]],
            [&[(Header, b"a\0"), (Header, b"b")], &[(Header, b"a"), (Header, b"\0b")]],
            [&[(Header, b"a"), (Header, b"")], &[(Header, b"a")]],
            [&[(Ip, b"host"), (Host, b"ip")], &[(Host, b"host"), (Ip, b"ip")]],
        ];
        for [left, right] in pairs {
            assert_ne!(hash(left), hash(right), "{left:?} and {right:?}");
        }
    }

    /// Snapshots and nodes of another build must agree; a failure here means a new format number.
    #[test]
    fn format_1_is_pinned() {
        let key = hash(&[
            (PartKind::Ip, &[4, 192, 0, 2, 1]),
            (PartKind::Header, b"a value longer than sixteen bytes"),
        ]);
        assert_eq!(key.as_u64(), 689_583_121_258_760_484);
    }

    #[test]
    fn two_secrets_hash_differently() {
        let key = |byte| hasher(byte).key().part(PartKind::Value, b"alice").finish();
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn a_part_longer_than_any_block_counts_to_its_last_byte() {
        let mut long = [b'x'; 8192];
        let one = hash(&[(PartKind::Header, &long)]);
        long[8191] = b'y';
        assert_ne!(one, hash(&[(PartKind::Header, &long)]));
    }

    #[test]
    fn a_share_takes_in_about_its_percentage_and_grows_without_losing_anyone() {
        let hasher = hasher(9);
        let rule = hasher.key().part(PartKind::Rule, b"new").finish();
        let keys = || (0..20_000u32).map(|n| hasher.key().part(PartKind::Value, &n.to_le_bytes()).finish());
        let ten = keys().filter(|key| key.falls_within(10, rule)).count();
        assert!((1_800..2_200).contains(&ten), "{ten} of 20000 at 10 %");
        for key in keys() {
            assert!(!key.falls_within(0, rule) && key.falls_within(100, rule));
            assert!(!key.falls_within(10, rule) || key.falls_within(11, rule));
        }
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let secret = Secret::from_bytes([0x41; 32]);
        let shown = alloc::format!("{secret:?} {:?} {:?}", hasher(0x41), hasher(0x41).key());
        assert!(!shown.contains("65") && !shown.contains("41"), "{shown}");
    }
}

//! What is kept of an API key: its SHA-256, by which it is known again and from which nobody makes it.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of an API key (FIPS 180-4). A key is random with at least 128 bits, so that a plain hash is enough: there is nothing
/// to guess by a dictionary, and a slow one would be paid by every request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; Self::LEN]);

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct DigestFault;

impl KeyDigest {
    /// Bytes in a digest.
    pub const LEN: usize = 32;

    /// The digest of a key as a client sends it. Costs some hundred nanoseconds for keys of up to 55 bytes.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits, lower or upper case.
    ///
    /// # Errors
    ///
    /// If it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, DigestFault> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::LEN || !rest.is_empty() {
            return Err(DigestFault);
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(DigestFault);
        let mut bytes = [0; Self::LEN];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| DigestFault)?;
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Takes as long wherever two digests differ.
impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// 64 hexadecimal digits in lower case, as a key file has it.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha_256_of_the_key_and_reads_back() {
        // FIPS 180-4's example of one block.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyDigest::of(b"abc").to_string(), text);
        assert_eq!(KeyDigest::from_hex(text), Ok(KeyDigest::of(b"abc")));
        assert_eq!(KeyDigest::from_hex(&text.to_uppercase()), Ok(KeyDigest::of(b"abc")));
    }

    #[test]
    fn anything_else_is_no_digest() {
        for text in [
            "",
            "ba",
            &"g".repeat(64),
            &"a".repeat(63),
            &"a".repeat(65),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            assert_eq!(KeyDigest::from_hex(text), Err(DigestFault), "{text}");
        }
    }
}

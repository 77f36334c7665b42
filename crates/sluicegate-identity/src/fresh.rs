//! A new API key.

use std::fmt::{self, Write as _};

use crate::digest::KeyDigest;

/// What every key that is made here begins with, so that people and scanners of repositories know one when they see it.
pub const KEY_PREFIX: &str = "sg_";

/// A new API key, to be shown once and then forgotten. `Debug` does not show it.
pub struct FreshKey(String);

impl FreshKey {
    /// Random bytes in a key, 160 bits: well above the 128 below which keys could be found by trying.
    pub const BYTES: usize = 20;

    /// The key of bytes from a good random source: the prefix and 40 hexadecimal digits, which are one word to whoever copies it.
    pub fn from_random(bytes: [u8; Self::BYTES]) -> Self {
        let mut text = String::with_capacity(KEY_PREFIX.len() + 2 * Self::BYTES);
        text.push_str(KEY_PREFIX);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The key itself, for the one place that prints it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_and_all_of_its_randomness() {
        let key = FreshKey::from_random([0xab; FreshKey::BYTES]);
        assert_eq!(key.expose(), format!("sg_{}", "ab".repeat(20)));
        assert_eq!(key.digest(), KeyDigest::of(key.expose().as_bytes()));
        assert!(!format!("{key:?}").contains("ab"));
    }
}

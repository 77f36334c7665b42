//! What is drawn: how long to wait before connecting again, and what fresh data is called.

use std::sync::atomic::{AtomicU64, Ordering};

/// A seeded generator that many may draw from at once: splitmix64, which gives each step of a counter a number of its own.
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn number(&self) -> u64 {
        // Each caller gets a step of its own, in whatever order; nothing else hangs on it.
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    /// Evenly from 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn fraction(&self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Spreads a number over all 64 bits.
pub(crate) const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// FNV-1a, spread: the same on every node and in every version, since nodes have to agree on it.
pub(crate) fn hash(text: &[u8]) -> u64 {
    mix(text.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    }))
}

/// The golden ratio's fraction of 2⁶⁴, so that all steps differ.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

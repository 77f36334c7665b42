//! What is drawn: numbers, and nonsense.

/// A seeded generator: splitmix64.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below `most`")]
    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(crate) fn up_to(&mut self, most: f64) -> f64 {
        most * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// What nobody of ours would write: mostly of a right length, with numbers that cannot be.
    pub(crate) fn nonsense(&mut self, now: f64) -> Vec<u8> {
        let count = [5, 6, 7, 3, 9, 12][self.below(6)];
        let odd = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            -0.0,
            0.0,
            1.0,
            1e10,
            1e18,
            1e300,
            f64::MAX,
            f64::MIN_POSITIVE,
            now,
            now + 1e6,
            now * 2.0,
        ];
        let mut bytes: Vec<u8> = (0..count)
            .flat_map(|_| {
                let number = if self.below(3) == 0 {
                    odd[self.below(odd.len())]
                } else {
                    self.up_to(1e4)
                };
                number.to_le_bytes()
            })
            .collect();
        if self.below(6) == 0 {
            bytes.truncate(self.below(bytes.len() + 1));
        }
        bytes
    }
}

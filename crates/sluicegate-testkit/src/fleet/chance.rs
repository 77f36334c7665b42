//! Random numbers from one printed seed.

/// A generator of random numbers: Steele, Lea and Flood's SplitMix64. Not for secrets.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A generator that gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number drawn evenly from 0 to below 1.
    pub const fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number from 0 to below `count`; 0 if there are none.
    pub const fn below(&mut self, count: u32) -> u32 {
        (((self.bits() >> 32) * count as u64) >> 32) as u32
    }

    /// A number drawn evenly between two.
    pub const fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.part()
    }

    /// A number between two positive ones, of which every order of magnitude is as likely as the next.
    pub fn spread(&mut self, least: f64, most: f64) -> f64 {
        least * (most / least).powf(self.part())
    }

    /// Whether something of this probability happens.
    pub const fn happens(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    /// How long until the next of events that come at random, `mean` apart.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }

    /// One of some values.
    pub fn pick<T: Copy, const COUNT: usize>(&mut self, values: [T; COUNT]) -> T {
        values[self.below(COUNT as u32) as usize]
    }
}

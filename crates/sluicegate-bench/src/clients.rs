//! Who asks: an endless row of clients, each with a key that is written into a buffer on the stack.

use arrayvec::ArrayString;

/// A client's key, such as `client-0001234567`: 17 bytes in a buffer that no allocator has seen.
pub(crate) type Key = ArrayString<24>;

/// One client in the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Which one.
    pub(crate) index: u32,
    /// The key under which limiters know it.
    pub(crate) key: Key,
}

impl Client {
    /// The client at `index`.
    #[inline]
    pub(crate) fn at(index: u32) -> Self {
        Self { index, key: key(index) }
    }
}

/// Clients drawn evenly from a range of indexes, again and again; the same seed gives the same row.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    first: u32,
    count: u32,
    state: u64,
}

impl Clients {
    /// Draws from `count` clients beginning with `first`.
    pub(crate) const fn new(first: u32, count: u32, seed: u64) -> Self {
        Self {
            first,
            count,
            // Neighbouring seeds begin far apart.
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// The next client.
    #[inline]
    pub(crate) fn draw(&mut self) -> Client {
        // Knuth's multiplier (MMIX); the high half of a linear congruence is random enough to defeat every cache.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let drawn = ((self.state >> 32) * u64::from(self.count)) >> 32;
        // Below `count`, a u32.
        Client::at(self.first + drawn as u32)
    }
}

/// `client-` and ten digits.
#[inline]
fn key(index: u32) -> Key {
    let mut key = Key::new();
    key.push_str("client-");
    let (high, low) = (index / 100_000_000, index % 100_000_000);
    let (left, right) = (low / 10_000, low % 10_000);
    for pair in [high, left / 100, left % 100, right / 100, right % 100] {
        let at = pair as usize * 2;
        key.push_str(&PAIRS[at..at + 2]);
    }
    key
}

/// The numbers below one hundred, two digits each.
const PAIRS: &str = "\
    0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_its_index_in_ten_digits() {
        for index in [0, 7, 99, 100, 1_234_567, 99_999_999, 100_000_000, u32::MAX] {
            assert_eq!(key(index).as_str(), format!("client-{index:010}"));
        }
    }

    #[test]
    fn clients_are_drawn_evenly_from_their_range() {
        let mut drawn = [0; 10];
        let mut clients = Clients::new(1_000, 10, 1);
        for _ in 0..100_000 {
            drawn[(clients.draw().index - 1_000) as usize] += 1;
        }
        assert!(drawn.iter().all(|count| (9_500..10_500).contains(count)), "{drawn:?}");
    }
}

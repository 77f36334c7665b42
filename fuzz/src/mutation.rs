//! Inputs that are almost right: the kept ones, changed a little by a seeded generator.

/// Longest input, in bytes. What reads text here is linear in it, so that longer ones find nothing more, only later.
pub const INPUT_MAX: usize = 4096;

/// Most changes to one input: enough to leave a form behind, few enough that most of it is still understood.
const CHANGES_MAX: u64 = 8;

/// A generator of inputs: the same seed, corpus and dictionary give the same inputs, for ever.
#[derive(Debug)]
pub struct Mutator<'a> {
    random: SplitMix64,
    corpus: &'a [Vec<u8>],
    dictionary: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    /// Starts at `seed`. An empty corpus counts as one empty input.
    pub const fn new(seed: u64, corpus: &'a [Vec<u8>], dictionary: &'a [&'a str]) -> Self {
        Self {
            random: SplitMix64(seed),
            corpus,
            dictionary,
        }
    }

    /// The next input, at most [`INPUT_MAX`] bytes.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.kept();
        for _ in 0..=self.random.below(CHANGES_MAX) {
            self.change(&mut input);
            input.truncate(INPUT_MAX);
        }
        input
    }

    fn kept(&mut self) -> Vec<u8> {
        let at = self.random.index(self.corpus.len());
        self.corpus.get(at).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (start, end) = self.span(input.len());
        match self.random.below(8) {
            0 => {
                input.drain(start..end);
            }
            1 => {
                let part = input[start..end].to_vec();
                input.splice(end..end, part);
            }
            2 => {
                let other = self.kept();
                let (from, to) = self.span(other.len());
                input.splice(start..end, other[from..to].iter().copied());
            }
            3 | 4 => {
                let at = self.random.index(self.dictionary.len());
                let word = self.dictionary.get(at).copied().unwrap_or_default();
                // Half of the words replace something, the other half come in between.
                let end = if self.random.below(2) == 0 { start } else { end };
                input.splice(start..end, word.bytes());
            }
            5 => {
                let byte = self.byte();
                input.insert(start, byte);
            }
            6 => {
                if let Some(byte) = input.get_mut(start) {
                    *byte = self.byte();
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(start) {
                    *byte ^= 1 << self.random.below(8);
                }
            }
        }
    }

    /// A part of something `len` bytes long, short more often than not.
    fn span(&mut self, len: usize) -> (usize, usize) {
        let start = self.random.index(len + 1);
        let longest = if self.random.below(4) == 0 { len } else { 4.min(len) };
        let end = (start + self.random.index(longest + 1)).min(len);
        (start, end)
    }

    /// Mostly printable, since that is what gets past the first check.
    fn byte(&mut self) -> u8 {
        let byte = self.random.next().to_le_bytes()[0];
        if self.random.below(4) == 0 {
            byte
        } else {
            0x20 + byte % 0x5f
        }
    }
}

/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), figure 17, with the
/// constants of its variant 13.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. Uneven by less than 2⁻³² for the small bounds used here.
    const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }

    /// An index into something `len` long; 0 if it is empty.
    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first values that the authors' own program prints for the seed 1234567.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        let found = [random.next(), random.next(), random.next()];
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn one_seed_gives_one_list_of_inputs_and_another_gives_another() {
        let corpus = [b"5/s burst 10".to_vec(), b"10 per 15min".to_vec()];
        let list = |seed| {
            let mut mutator = Mutator::new(seed, &corpus, &["k"]);
            (0..100).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        assert_eq!(list(1), list(1));
        assert_ne!(list(1), list(2));
    }

    #[test]
    fn inputs_stay_within_their_bound_and_an_empty_corpus_gives_some_too() {
        let corpus = [vec![b'a'; INPUT_MAX]];
        let mut mutator = Mutator::new(1, &corpus, &["word"]);
        assert!((0..1000).all(|_| mutator.input().len() <= INPUT_MAX));
        let mut mutator = Mutator::new(1, &[], &[]);
        assert!((0..1000).any(|_| !mutator.input().is_empty()));
    }
}

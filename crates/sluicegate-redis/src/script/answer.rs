//! What is read from the script. Any bytes are an answer or none, never a panic.

use sluicegate_core::sharing::exchange::{self, Outcome};
use sluicegate_core::sharing::{Ask, Kind, Terms, permits, windows};
use sluicegate_state::store::{Answer, Item, Question};

use super::Generation;

/// What the script said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// All was done.
    Done {
        /// What the lane holds.
        generation: Generation,
        /// The store's time.
        now: f64,
        /// One for each item, in their order.
        answers: Vec<Answer>,
    },
    /// Nothing was done: the lane does not hold what was expected.
    Changed {
        /// What it holds.
        generation: Generation,
        /// The store's time.
        now: f64,
    },
    /// Nothing was done: the deadline was over.
    Late {
        /// The store's time.
        now: f64,
    },
}

/// Reads what the script answered to `items`. `None` if it is not of the expected form, or is no answer to what was asked.
pub fn read(bytes: &[u8], items: &[Item]) -> Option<Said> {
    let mut bytes = Bytes(bytes);
    let status = bytes.byte()?;
    let generation = Generation::new(u64::from_le_bytes(bytes.array()?));
    let now = bytes.number()?;
    let said = match status {
        DONE => Said::Done {
            generation: generation?,
            now,
            answers: items
                .iter()
                .map(|item| bytes.answer(item, now))
                .collect::<Option<_>>()?,
        },
        CHANGED => Said::Changed {
            generation: generation?,
            now,
        },
        LATE => Said::Late { now },
        _ => return None,
    };
    bytes.0.is_empty().then_some(said)
}

/// What is left to read.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn answer(&mut self, item: &Item, now: f64) -> Option<Answer> {
        let flags = self.byte()?;
        let (damaged, locked) = (flags & DAMAGED != 0, flags & LOCKED != 0);
        match &item.question {
            _ if flags > DAMAGED | LOCKED => None,
            Question::Units { terms, ask } if !locked || terms.kind == Kind::Bucket => {
                self.units(terms, ask, now, (damaged, locked))
            }
            Question::Permits(ask) if !locked => self.permits(ask, damaged),
            _ => None,
        }
    }

    fn units(&mut self, terms: &Terms, ask: &Ask, now: f64, (damaged, locked): (bool, bool)) -> Option<Answer> {
        let outcome = Outcome {
            taken: self.number()?,
            granted: self.number()?,
            damaged,
        };
        // A broken unit may have been rounded up.
        let is_meant = (0.0..=ask.take).contains(&outcome.taken) && (0.0..ask.want + 1.0).contains(&outcome.granted);
        if !is_meant {
            return None;
        }
        let reply = match terms.kind {
            Kind::Bucket => exchange::Kept {
                tat: self.number()?,
                demand: self.number()?,
                demand_at: self.number()?,
                current: self.number()?,
                previous: self.number()?,
                epoch_ends_at: self.number()?,
                locked_until: if locked { self.number()? } else { 0.0 },
            }
            .reply(terms, ask, now, &outcome),
            Kind::SlidingWindow | Kind::FixedWindow => windows::Kept {
                window: self.number()?,
                current: self.number()?,
                previous: self.number()?,
                demand: self.number()?,
                demand_at: self.number()?,
            }
            .reply(terms, ask, now, &outcome),
        };
        reply.is_sane().then_some(Answer::Units(reply))
    }

    fn permits(&mut self, ask: &permits::Ask, damaged: bool) -> Option<Answer> {
        let granted = self.number()?;
        let free = self.number()?;
        let is_meant = (0.0..=ask.target.max(ask.in_use)).contains(&granted) && (0.0..=ask.limit).contains(&free);
        is_meant.then_some(Answer::Permits(permits::Reply {
            granted,
            valid_for: ask.ttl,
            free,
            damaged,
        }))
    }

    /// The next number; `None` if it is no number or not finite.
    fn number(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes).filter(|number| number.is_finite())
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}

// The flags of a key's answer.
const DAMAGED: u8 = 1;
const LOCKED: u8 = 2;

// The first byte of an answer, as the script's head lists them.
const DONE: u8 = 0;
const CHANGED: u8 = 1;
const LATE: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluicegate_state::store::StoreKey;

    use super::*;

    fn items() -> [Item; 3] {
        let limit = "10/s burst 20".parse().expect("a limit");
        let units = |kind| Question::Units {
            terms: Terms::new(kind, &limit, 0.0),
            ask: Ask::default(),
        };
        let questions = [
            units(Kind::Bucket),
            units(Kind::SlidingWindow),
            Question::Permits(permits::Ask {
                node: 1.0,
                limit: 3.0,
                target: 2.0,
                ttl: 1e6,
                ..permits::Ask::default()
            }),
        ];
        let mut hash = [0; 16];
        questions.map(|question| {
            hash[0] += 1;
            Item {
                key: StoreKey { shard: 0, hash },
                question,
            }
        })
    }

    fn whole() -> Vec<u8> {
        let mut bytes = vec![DONE];
        bytes.extend_from_slice(&7_u64.to_le_bytes());
        let mut numbers = |count: usize| {
            for _ in 0..count {
                bytes.extend_from_slice(&0.0_f64.to_le_bytes());
            }
            bytes.push(0);
        };
        for count in [1, 8, 7, 2] {
            numbers(count);
        }
        bytes.pop();
        bytes
    }

    #[test]
    fn an_answer_cut_anywhere_or_with_a_byte_more_is_none() {
        let whole = whole();
        assert!(matches!(read(&whole, &items()), Some(Said::Done { answers, .. }) if answers.len() == 3));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], &items()), None, "cut at {end}");
        }
        assert_eq!(read(&[&whole[..], &[0]].concat(), &items()), None);
    }

    #[test]
    fn more_than_was_asked_for_is_no_answer() {
        let mut granted = whole();
        // Behind the head and the first item's byte and what it took.
        granted[17 + 1 + 8..][..8].copy_from_slice(&5.0_f64.to_le_bytes());
        assert_eq!(read(&granted, &items()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4)) {
            let _ = read(&bytes, &items());
            let mut bent = whole();
            for (at, value) in flips {
                let at = at % bent.len();
                bent[at] = value;
            }
            let _ = read(&bent, &items());
        }
    }
}

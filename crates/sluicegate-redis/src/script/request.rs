//! What is written for the script.

use sluicegate_core::sharing::{Ask, Kind, Settled, Terms, permits};
use sluicegate_state::store::{ITEMS_MAX, Item, Question};

/// The 8 bytes that a lane keeps under its generation's key: whoever finds none draws them. All zeros are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation([u8; 8]);

impl Generation {
    /// A generation of this number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        (number != 0).then(|| Self(number.to_le_bytes()))
    }

    /// Its number; never zero.
    pub fn number(self) -> u64 {
        u64::from_le_bytes(self.0)
    }
}

/// What concerns a whole call. Times are the store's, in microseconds since 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    /// What the lane must hold for anything to be done; `None` for anything.
    pub expected: Option<Generation>,
    /// What it holds from now on, if it holds nothing.
    pub fresh: Generation,
    /// Past which nothing is done; zero for never.
    pub deadline: f64,
    /// What the node believes that the store's clock shows; zero if it does not know.
    pub estimate: f64,
    /// Whether the generation is to be kept for another week.
    pub prolong: bool,
}

impl Header {
    /// As the script reads it.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let numbers = [self.deadline, self.estimate, if self.prolong { 1.0 } else { 0.0 }];
        bytes[..8].copy_from_slice(&self.expected.map_or([0; 8], |expected| expected.0));
        bytes[8..16].copy_from_slice(&self.fresh.0);
        for (place, number) in bytes[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

/// Why items are no call. It is the caller's defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There are more than [`ITEMS_MAX`].
    #[error("a call of {0} keys; at most {ITEMS_MAX} may be asked about at once")]
    TooMany(usize),
    /// All is read before anything is written, so the second would undo the first.
    #[error("a key is asked about twice in one call")]
    Twice,
}

/// The records of `items`, as the script reads them: 65 bytes for an item that reports nothing and shares its terms with the
/// one before, at most 202.
///
/// # Errors
///
/// If they are no call.
pub fn records(items: &[Item]) -> Result<Vec<u8>, Unfit> {
    if items.len() > ITEMS_MAX {
        return Err(Unfit::TooMany(items.len()));
    }
    if has_twice(items) {
        return Err(Unfit::Twice);
    }
    let mut bytes = Vec::with_capacity(items.len() * RECORD_BYTES);
    let mut before = None;
    for item in items {
        match &item.question {
            Question::Units { terms, ask } => {
                units(&mut bytes, terms, ask, before);
                before = Some(terms);
            }
            Question::Permits(ask) => permits(&mut bytes, ask),
        }
    }
    Ok(bytes)
}

/// Whether a key is among them twice. Their hashes are evenly spread, so that half of one tells most of them apart.
fn has_twice(items: &[Item]) -> bool {
    let mut halves: Vec<u64> = items.iter().map(half).collect();
    halves.sort_unstable();
    let look_alike = halves.windows(2).any(|pair| pair[0] == pair[1]);
    look_alike && {
        let mut keys: Vec<_> = items.iter().map(|item| (item.key.hash, item.key.shard)).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }
}

fn half(item: &Item) -> u64 {
    let (half, _) = item.key.hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*half)
}

fn units(bytes: &mut Vec<u8>, terms: &Terms, ask: &Ask, before: Option<&Terms>) {
    let numbers = numbers_of(terms);
    let as_before = before.is_some_and(|before| numbers_of(before).map(f64::to_bits) == numbers.map(f64::to_bits));
    let [first, second] = ask.settled.map(|settled| (settled.epoch > 0.0).then_some(settled));
    let kind = match terms.kind {
        Kind::Bucket => 0,
        Kind::SlidingWindow => 1,
        Kind::FixedWindow => 2,
    };
    let has_lock = !as_before && terms.lock > 0.0;
    let more = if ask.holds { HOLDS } else { 0 } | if ask.clear { CLEAR } else { 0 } | if has_lock { LOCK } else { 0 };
    let flags = kind
        | if as_before { AS_BEFORE } else { 0 }
        | if first.is_some() { FIRST } else { 0 }
        | if second.is_some() { SECOND } else { 0 }
        | if ask.heal.is_some() { HEAL } else { 0 }
        | if more > 0 { MORE } else { 0 };
    bytes.push(flags);
    if more > 0 {
        bytes.push(more);
    }
    if !as_before {
        write(bytes, &numbers[..if has_lock { 6 } else { 5 }]);
    }
    write(
        bytes,
        &[ask.pay, ask.take, ask.want, ask.refund, ask.demand, ask.own, ask.chance],
    );
    for settled in [first, second].into_iter().flatten() {
        let Settled {
            epoch,
            spent,
            returned,
            reserved,
        } = settled;
        let numbers = [epoch, spent, returned, reserved];
        write(bytes, &numbers[..if ask.holds { 4 } else { 3 }]);
    }
    if let Some(heal) = &ask.heal {
        write(bytes, &[heal.seen, heal.seen_epoch, heal.held]);
    }
}

/// The last of them is only written if it is not zero.
fn numbers_of(terms: &Terms) -> [f64; 6] {
    [
        terms.interval,
        terms.burst,
        terms.ttl,
        terms.theta,
        terms.overdraft,
        terms.lock,
    ]
}

fn permits(bytes: &mut Vec<u8>, ask: &permits::Ask) {
    bytes.push(PERMITS | if ask.learning { LEARNING } else { 0 });
    write(bytes, &[ask.node, ask.in_use, ask.target, ask.limit, ask.ttl]);
}

fn write(bytes: &mut Vec<u8>, numbers: &[f64]) {
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

/// What a record usually takes: flags, what is asked, and one epoch reported.
const RECORD_BYTES: usize = 1 + 7 * 8 + 3 * 8;

// The flags of a record, as the script's head lists them.
const PERMITS: u8 = 3;
const AS_BEFORE: u8 = 4;
const LEARNING: u8 = 4;
const FIRST: u8 = 8;
const SECOND: u8 = 16;
const HEAL: u8 = 32;
const MORE: u8 = 64;

// Those of its second byte.
const HOLDS: u8 = 1;
const CLEAR: u8 = 2;
const LOCK: u8 = 4;

#[cfg(test)]
mod tests {
    use sluicegate_state::store::StoreKey;

    use super::*;

    fn item(hash: u8) -> Item {
        let terms = Terms::new(Kind::Bucket, &"10/s burst 20".parse().expect("a limit"), 0.0);
        Item {
            key: StoreKey {
                shard: 7,
                hash: [hash; 16],
            },
            question: Question::Units {
                terms,
                ask: Ask::default(),
            },
        }
    }

    #[test]
    fn a_key_asked_about_twice_and_a_call_of_too_many_keys_are_unfit() {
        assert_eq!(records(&[item(1), item(2), item(1)]), Err(Unfit::Twice));
        assert_eq!(
            records(&vec![item(1); ITEMS_MAX + 1]),
            Err(Unfit::TooMany(ITEMS_MAX + 1))
        );
        assert!(records(&[]).is_ok_and(|bytes| bytes.is_empty()));
    }

    #[test]
    fn terms_are_written_once_for_all_that_share_them() {
        let one = records(&[item(1)]).expect("fit").len();
        let two = records(&[item(1), item(2)]).expect("fit").len();
        assert_eq!((one, two), (1 + 5 * 8 + 7 * 8, one + 1 + 7 * 8));
    }

    #[test]
    fn a_generation_is_never_zero() {
        assert_eq!(Generation::new(0), None);
        assert_eq!(Generation::new(7).map(Generation::number), Some(7));
    }
}

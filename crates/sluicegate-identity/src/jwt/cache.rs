//! Tokens that were verified before: a signature takes tens of microseconds, and a client shows the same token for minutes.
//!
//! Only verified tokens come in, so that made-up ones push nobody out. What is kept of a token is its keyed hash: two tokens of one
//! hash cannot be made, and nobody who reads the memory can show a token that he finds there.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::caller::Vouched;

/// Most tokens that are remembered. Each takes some 200 bytes, and at most four kibibytes where all that is kept of it is as long as it
/// may be. One more takes the place of another, which is then verified again when it is shown.
pub const CACHED_MAX: usize = SETS * WAYS;

const SETS: usize = 8_192;

/// Places that one token may have.
const WAYS: usize = 2;

/// What is remembered of one token.
#[derive(Debug)]
pub(super) struct Seen {
    digest: [u8; 32],
    /// Unix seconds from which on it is nobody's.
    pub(super) ends_at: u64,
    /// Of the keys that have verified it.
    pub(super) generation: u64,
    pub(super) vouched: Arc<Vouched>,
}

/// Tokens that were verified before.
pub(super) struct Cache {
    places: Box<[ArcSwapOption<Seen>]>,
    key: [u8; 32],
}

/// A token's name in a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    digest: [u8; 32],
    set: usize,
}

impl Cache {
    /// An empty one; `key` is random, and this process's alone.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            places: (0..CACHED_MAX).map(|_| ArcSwapOption::empty()).collect(),
            key,
        }
    }

    /// The name of a token: its keyed BLAKE3.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
    pub(super) fn name(&self, token: &[u8]) -> Name {
        let digest = *blake3::keyed_hash(&self.key, token).as_bytes();
        let (low, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Name {
            digest,
            set: u64::from_le_bytes(*low) as usize % SETS,
        }
    }

    /// Whom the token of that name vouches for, if it was verified by the keys of `generation` and its time is not over. Takes no lock
    /// and allocates nothing.
    pub(super) fn find(&self, name: &Name, generation: u64, now: u64) -> Option<Arc<Vouched>> {
        self.set(name).iter().find_map(|place| {
            let seen = place.load();
            let seen = seen.as_ref().filter(|seen| seen.digest == name.digest)?;
            (seen.generation == generation && now < seen.ends_at).then(|| Arc::clone(&seen.vouched))
        })
    }

    /// Remembers a token, in the place of one that is over, or of another.
    pub(super) fn insert(&self, name: &Name, generation: u64, ends_at: u64, vouched: &Arc<Vouched>, now: u64) {
        let set = self.set(name);
        let is_free = |place: &&ArcSwapOption<Seen>| {
            let seen = place.load();
            seen.as_ref()
                .is_none_or(|seen| seen.digest == name.digest || seen.generation != generation || now >= seen.ends_at)
        };
        // A bit that the set's number has not: which of two goes is nobody's to choose.
        let other = usize::from(name.digest[31]) % WAYS;
        if let Some(place) = set.iter().find(is_free).or_else(|| set.get(other)) {
            place.store(Some(Arc::new(Seen {
                digest: name.digest,
                ends_at,
                generation,
                vouched: Arc::clone(vouched),
            })));
        }
    }

    fn set(&self, name: &Name) -> &[ArcSwapOption<Seen>] {
        self.places
            .get(name.set * WAYS..(name.set + 1) * WAYS)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::VouchKind;

    #[test]
    fn a_token_is_found_until_its_time_is_over_or_its_keys_are_others() {
        let cache = Cache::new([7; 32]);
        let vouched = Arc::new(Vouched::new(VouchKind::User, "alice"));
        let name = cache.name(b"token");
        cache.insert(&name, 1, 100, &vouched, 0);
        assert!(cache.find(&name, 1, 99).is_some());
        assert!(cache.find(&name, 1, 100).is_none() && cache.find(&name, 2, 99).is_none());
        assert!(cache.find(&cache.name(b"other"), 1, 99).is_none());
    }

    #[test]
    fn more_tokens_than_it_holds_take_each_others_places_and_never_answer_for_each_other() {
        let cache = Cache::new([7; 32]);
        let count = 2 * CACHED_MAX;
        for number in 0..count {
            let vouched = Arc::new(Vouched::new(VouchKind::User, number.to_string()));
            cache.insert(&cache.name(&number.to_le_bytes()), 1, 100, &vouched, 0);
        }
        let mut kept = 0;
        for number in 0..count {
            if let Some(found) = cache.find(&cache.name(&number.to_le_bytes()), 1, 0) {
                assert_eq!(found.name(), number.to_string());
                kept += 1;
            }
        }
        assert!(kept <= CACHED_MAX && kept > CACHED_MAX / 2, "{kept} of {CACHED_MAX}");
    }
}

//! The keys that were issued, found by what a client shows.
//!
//! A known key and an unknown one take the same path (T41): the digest is made first, whatever was shown; then as many slots are
//! compared as any digest has, each whole, and the match is picked without a branch on it. What is left to time is the digest's place in
//! memory, which nobody can choose without inverting SHA-256.

use std::fmt;
use std::sync::Arc;

use sluicegate_core::{KeyHasher, PartKind, Secret};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::caller::{VouchKind, Vouched};
use crate::digest::KeyDigest;

/// Keys in one directory. A hundred thousand take some 30 MB, and a file of them 15 MB; whoever issues more has a database for them, and
/// issues tokens.
pub const KEYS_MAX: usize = 100_000;

/// One key, as it was issued.
#[derive(Clone)]
pub struct KeyEntry {
    digest: KeyDigest,
    vouched: Arc<Vouched>,
    /// Unix seconds from which on it is no key any more.
    not_after: Option<u64>,
}

impl KeyEntry {
    /// A key that is known by `id`, without an end.
    pub fn new(id: impl Into<Box<str>>, digest: KeyDigest) -> Self {
        Self {
            digest,
            vouched: Arc::new(Vouched::new(VouchKind::Key, id)),
            not_after: None,
        }
    }

    /// The tenant that it was issued to.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<Box<str>>) -> Self {
        self.vouch(|vouched| vouched.with_tenant(tenant))
    }

    /// The tier whose limits apply to it.
    #[must_use]
    pub fn tier(self, tier: impl Into<Box<str>>) -> Self {
        self.vouch(|vouched| vouched.with_tier(tier))
    }

    /// Unix seconds from which on it is no key any more.
    #[must_use]
    pub fn not_after(mut self, seconds: u64) -> Self {
        self.not_after = Some(seconds);
        self
    }

    /// What it says of whoever shows it.
    pub fn vouched(&self) -> &Arc<Vouched> {
        &self.vouched
    }

    fn vouch(mut self, change: impl FnOnce(Vouched) -> Vouched) -> Self {
        self.vouched = Arc::new(change(Vouched::clone(&self.vouched)));
        self
    }
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry").finish_non_exhaustive()
    }
}

/// Why entries make no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Two entries have one id.
    #[error("two keys have the id {id:?}")]
    SameId {
        /// The id.
        id: String,
    },
    /// Two entries are one key.
    #[error("the keys {first:?} and {second:?} have one hash")]
    SameKey {
        /// The id of one.
        first: String,
        /// The id of the other.
        second: String,
    },
    /// More entries than a directory holds.
    #[error("there are {keys} keys, and {KEYS_MAX} is the most")]
    TooMany {
        /// How many.
        keys: usize,
    },
}

/// The keys that were issued. Never changed: another takes its place.
pub struct Directory {
    /// The last one is nobody's, and stands in every slot that no key takes.
    entries: Box<[KeyEntry]>,
    /// Places of entries, `width` of them for each group.
    slots: Box<[u32]>,
    width: usize,
    hasher: KeyHasher,
}

impl Directory {
    /// Makes a directory. Takes some 100 ns a key.
    ///
    /// # Errors
    ///
    /// If two entries have one id or one digest, or there are more than [`KEYS_MAX`].
    pub fn new(mut entries: Vec<KeyEntry>) -> Result<Self, DirectoryError> {
        if entries.len() > KEYS_MAX {
            return Err(DirectoryError::TooMany { keys: entries.len() });
        }
        check_distinct(&entries)?;
        let hasher = KeyHasher::new(&GROUPS);
        let (slots, width) = arrange(&entries, &hasher);
        // No key hashes to it that anybody could find.
        entries.push(KeyEntry::new("", KeyDigest::of(b"")));
        Ok(Self {
            entries: entries.into(),
            slots: slots.into(),
            width,
            hasher,
        })
    }

    /// Whoever the key that a client shows was issued to; `None` for an unknown one and for one whose time is over. `now` gives Unix
    /// seconds, and is asked only of a key that ends.
    ///
    /// The same work for a known key and an unknown one; no allocation. Below a microsecond, by `examples/token_cost.rs`.
    pub fn find(&self, shown: &[u8], now: impl FnOnce() -> u64) -> Option<&Arc<Vouched>> {
        let digest = KeyDigest::of(shown);
        let nobody = to_place(self.entries.len() - 1);
        let mut place = nobody;
        for slot in self.group(&digest) {
            // Every slot holds the place of an entry.
            let entry = &self.entries[*slot as usize];
            place.conditional_assign(slot, entry.digest.ct_eq(&digest));
        }
        // What follows tells no more than the answer does.
        let entry = self.entries.get(place as usize).filter(|_| place != nobody)?;
        let is_over = entry.not_after.is_some_and(|end| now() >= end);
        (!is_over).then_some(&entry.vouched)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots in which a digest may stand: as many as any other has.
    fn group(&self, digest: &KeyDigest) -> &[u32] {
        let groups = self.slots.len() / self.width;
        let start = group_of(digest, &self.hasher, groups) * self.width;
        self.slots.get(start..start + self.width).unwrap_or_default()
    }
}

impl Default for Directory {
    fn default() -> Self {
        let nobody = KeyEntry::new("", KeyDigest::of(b""));
        Self {
            entries: Box::new([nobody]),
            slots: Box::new([0]),
            width: 1,
            hasher: KeyHasher::new(&GROUPS),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

fn check_distinct(entries: &[KeyEntry]) -> Result<(), DirectoryError> {
    let mut by_id: Vec<&KeyEntry> = entries.iter().collect();
    by_id.sort_unstable_by_key(|entry| entry.vouched.name());
    for pair in by_id.windows(2) {
        if pair[0].vouched.name() == pair[1].vouched.name() {
            let id = pair[0].vouched.name().to_owned();
            return Err(DirectoryError::SameId { id });
        }
    }
    let mut by_digest = by_id;
    by_digest.sort_unstable_by_key(|entry| *entry.digest.as_bytes());
    for pair in by_digest.windows(2) {
        if pair[0].digest == pair[1].digest {
            return Err(DirectoryError::SameKey {
                first: pair[0].vouched.name().to_owned(),
                second: pair[1].vouched.name().to_owned(),
            });
        }
    }
    Ok(())
}

/// Puts every entry into its group: as many groups as it takes for none to have more than [`WIDTH_WANTED`], as far as
/// [`ROUNDS_MAX`] doublings go. Places without a key hold that of nobody, which is the one behind the last.
fn arrange(entries: &[KeyEntry], hasher: &KeyHasher) -> (Vec<u32>, usize) {
    let mut groups = entries.len().next_power_of_two();
    let count = |groups: usize| {
        let mut counts = vec![0usize; groups];
        for entry in entries {
            counts[group_of(&entry.digest, hasher, groups)] += 1;
        }
        counts.into_iter().max().unwrap_or_default().max(1)
    };
    let mut width = count(groups);
    for _ in 0..ROUNDS_MAX {
        if width <= WIDTH_WANTED {
            break;
        }
        groups *= 2;
        width = count(groups);
    }
    let mut slots = vec![to_place(entries.len()); groups * width];
    let mut filled = vec![0; groups];
    for (place, entry) in entries.iter().enumerate() {
        let group = group_of(&entry.digest, hasher, groups);
        slots[group * width + filled[group]] = to_place(place);
        filled[group] += 1;
    }
    (slots, width)
}

/// Digests that are compared for each key shown: some tens of nanoseconds each. At one key a group, the fullest of a hundred thousand has about eight.
const WIDTH_WANTED: usize = 8;

/// How often the groups are doubled so that fewer share one. Real digests need it once at most.
const ROUNDS_MAX: u32 = 3;

/// Spreads digests over groups. It guards nothing: SHA-256 leaves nobody a choice of digests.
const GROUPS: Secret = Secret::from_bytes(*b"groups of the key directory, v.1");

/// Below `groups`, which is a power of two.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
fn group_of(digest: &KeyDigest, hasher: &KeyHasher, groups: usize) -> usize {
    let hash = hasher.key().part(PartKind::Key, digest.as_bytes()).finish();
    hash.as_u64() as usize & (groups - 1)
}

/// An entry's place; there are at most [`KEYS_MAX`].
fn to_place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn entries(count: usize) -> Vec<KeyEntry> {
        let entry =
            |number: usize| KeyEntry::new(format!("id-{number}"), KeyDigest::of(format!("sg_{number}").as_bytes()));
        (0..count).map(entry).collect()
    }

    #[test]
    fn every_key_finds_its_own_entry_and_no_other_finds_any() {
        for count in [0, 1, 2, 3, 100, 5_000] {
            let directory = Directory::new(entries(count)).expect("all differ");
            assert_eq!(directory.len(), count);
            for number in 0..count {
                let found = directory.find(format!("sg_{number}").as_bytes(), || 0);
                assert_eq!(
                    found.map(|vouched| vouched.name()),
                    Some(format!("id-{number}").as_str())
                );
            }
            for shown in ["", "sg_", "sg_x", "sg_5000"] {
                assert!(
                    directory.find(shown.as_bytes(), || 0).is_none(),
                    "{shown:?} among {count}"
                );
            }
        }
        assert!(Directory::default().find(b"", || 0).is_none());
    }

    /// T41 of the threat list: what is done does not depend on whether the key is known.
    #[test]
    fn a_known_key_and_an_unknown_one_are_compared_with_as_many_others() {
        let directory = Directory::new(entries(3_000)).expect("all differ");
        let compared = |shown: &str| directory.group(&KeyDigest::of(shown.as_bytes())).len();
        for number in 0..3_000 {
            assert_eq!(compared(&format!("sg_{number}")), directory.width);
            assert_eq!(compared(&format!("unknown {number}")), directory.width);
        }
        assert!((1..=WIDTH_WANTED).contains(&directory.width), "{}", directory.width);
    }

    #[test]
    fn a_key_ends_at_its_time_and_the_clock_is_asked_of_no_other() {
        let mut entries = entries(1);
        entries.push(KeyEntry::new("ends", KeyDigest::of(b"sg_ends")).not_after(1_000));
        let directory = Directory::new(entries).expect("both differ");
        assert!(directory.find(b"sg_ends", || 999).is_some());
        assert!(directory.find(b"sg_ends", || 1_000).is_none());
        let asked = Cell::new(0);
        let now = || {
            asked.set(asked.get() + 1);
            0
        };
        assert!(directory.find(b"sg_0", now).is_some() && directory.find(b"sg_9", now).is_none());
        assert_eq!(asked.get(), 0);
    }

    #[test]
    fn two_keys_of_one_id_or_one_digest_are_refused() {
        let entry = |id: &str, key: &[u8]| KeyEntry::new(id, KeyDigest::of(key));
        let same_id = Directory::new(vec![entry("a", b"1"), entry("b", b"2"), entry("a", b"3")]);
        assert_eq!(same_id.err(), Some(DirectoryError::SameId { id: "a".to_owned() }));
        let same_key = Directory::new(vec![entry("a", b"1"), entry("b", b"1")]);
        assert!(matches!(same_key, Err(DirectoryError::SameKey { .. })));
    }

    /// T43 of the threat list.
    #[test]
    fn neither_digests_nor_ids_are_printed() {
        let directory = Directory::new(entries(1)).expect("one");
        let shown = format!("{directory:?} {:?}", entries(1));
        assert!(
            !shown.contains("id-0") && !shown.contains(&KeyDigest::of(b"sg_0").to_string()),
            "{shown}"
        );
    }
}

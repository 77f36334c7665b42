//! What reader and writer agree on: numbers, lengths, and how sums are chained. `docs/snapshot.md` shows the same as tables.
//!
//! All numbers are little-endian. All parts are multiples of eight bytes, so that a chunk is read straight into words.

use std::fmt;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// What a snapshot begins with. The first byte is not ASCII, and the last ends a line: who takes the file for text spoils it
/// in a way that shows.
pub(super) const MAGIC: [u8; 8] = *b"\x89SGsnap\n";

/// The format's version. Magic and version stay where they are in all versions; everything after them may move.
pub const VERSION: u32 = 1;

/// Bytes of a header before its buckets.
pub(super) const HEADER_BYTES: usize = 72;

/// Bytes of one bucket in a header.
pub(super) const BUCKET_BYTES: usize = 88;

/// Most bytes of the text that names who wrote a file: a program's version has some ten.
pub const WRITTEN_BY_BYTES_MAX: usize = 31;

/// Bytes of a checksum.
pub(super) const SUM_BYTES: usize = 8;

/// Words before the payload of a chunk: kind and count, length and zero.
pub(super) const CHUNK_HEAD_WORDS: usize = 2;

/// Bytes around the payload of a chunk: its head, and its checksum.
pub(super) const CHUNK_FRAME_BYTES: usize = 8 * CHUNK_HEAD_WORDS + SUM_BYTES;

/// Most bytes of a chunk's payload: what one log of [`LOG_ENTRIES_MAX`] takes. A reader never asks for more memory than this.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Bytes of a chunk as the writer makes them, with its frame, unless one log needs more: large enough that a system call per
/// chunk does not show beside its 0.1 ms of copying, small enough to stay in a processor's own cache until it is summed.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// Most entries of one log: what a chunk's payload holds beside the log's tag and count.
pub const LOG_ENTRIES_MAX: usize = CHUNK_BYTES_MAX / 16 - 1;

/// The kind of the chunk that ends a file.
pub(super) const KIND_END: u32 = 4;

/// The kind of a chunk of buckets' own cells.
pub(super) const KIND_OWN: u32 = 5;

/// Words in the payload of the chunk that ends a file: how many records there are, how many bytes, and how many nanoseconds it
/// took to gather them.
pub(super) const END_WORDS: usize = 3;

/// How a bucket's state is laid out; in a file, also the kind of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Storage {
    /// One word a key.
    Word = 1,
    /// Three words a key.
    Wide = 2,
    /// A list of ages and costs a key.
    Log = 3,
}

impl Storage {
    /// All of them, in the order in which a writer keeps their chunks.
    pub(super) const ALL: [Self; 3] = [Self::Word, Self::Wide, Self::Log];

    /// The storage of that number; `None` for a number without one.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|storage| storage.number() == number)
    }

    pub(super) const fn number(self) -> u32 {
        self as u32
    }

    /// Its place in [`Storage::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize - 1
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Word => "word",
            Self::Wide => "wide",
            Self::Log => "log",
        })
    }
}

/// Which of the cells that are a bucket's own and no key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Own {
    /// The one that all requests draw from, where a bucket has no keys.
    Whole = 0,
    /// The one that keys without a cell share.
    Overflow = 1,
}

impl Own {
    /// The cell of that number, which stands where a tag has the hash of a key; `None` for a number without one.
    pub(super) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Whole),
            1 => Some(Self::Overflow),
            _ => None,
        }
    }
}

/// Whose record it is: the bucket's index in the file's own list, from 0, and 52 bits of the key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u64);

impl Tag {
    /// Bits of a key's hash in a tag.
    pub const HASH_BITS: u32 = 52;

    /// The largest index, which no file has: see [`BUCKETS_MAX`](super::BUCKETS_MAX).
    const BUCKET_NONE: u16 = 0xFFF;

    /// The tag of a key in the bucket at `bucket`. Of `hash` the low 52 bits count.
    ///
    /// An index beyond what any file lists stays one that no file lists, so that the writer refuses it.
    #[inline]
    pub fn new(bucket: u16, hash: u64) -> Self {
        let bucket = u64::from(bucket.min(Self::BUCKET_NONE));
        Self((bucket << Self::HASH_BITS) | (hash & ((1 << Self::HASH_BITS) - 1)))
    }

    /// The tag of a record's first word.
    #[inline]
    pub const fn from_u64(word: u64) -> Self {
        Self(word)
    }

    /// As a record's first word.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The bucket's index in the file's own list, at most 4095.
    #[inline]
    pub const fn bucket(self) -> u16 {
        // No truncation: the shift leaves 12 bits.
        (self.0 >> Self::HASH_BITS) as u16
    }

    /// 52 bits of the key's hash.
    #[inline]
    pub const fn hash(self) -> u64 {
        self.0 & ((1 << Self::HASH_BITS) - 1)
    }
}

/// The checksum of a part that follows one with the checksum `before`; 0 for the first part.
///
/// Since each part is summed under the sum of the part before it, a part that is missing, doubled or from another file breaks
/// the chain, and the last sum speaks for the whole file. It finds accidents and is no proof against forgery: whoever may
/// write the file may as well read the secret beside it. Rapidhash v3 with its default secrets: it is in the house already, for
/// keys, and twice as wide as the usual CRCs.
#[inline]
pub(super) fn sum(before: u64, bytes: &[u8]) -> u64 {
    rapidhash_v3_seeded(bytes, &RapidSecrets::seed_cpp(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_keeps_its_bucket_and_the_low_bits_of_its_hash() {
        let tag = Tag::new(4094, u64::MAX);
        assert_eq!((tag.bucket(), tag.hash()), (4094, u64::MAX >> 12));
        assert_eq!(Tag::from_u64(tag.as_u64()), tag);
        assert_eq!(Tag::new(0, 1 << 52).as_u64(), 0);
    }

    /// A shift would have made index 4096 the first bucket's, and one key's debt another's.
    #[test]
    fn an_index_that_no_file_lists_is_not_mistaken_for_one_that_it_does() {
        for bucket in [4095, 4096, u16::MAX] {
            assert_eq!(usize::from(Tag::new(bucket, 7).bucket()), super::super::BUCKETS_MAX);
        }
    }

    #[test]
    fn the_numbers_of_storages_are_pinned() {
        assert_eq!(Storage::ALL.map(Storage::number), [1, 2, 3]);
        for storage in Storage::ALL {
            assert_eq!(Storage::from_number(storage.number()), Some(storage));
            assert_eq!(Storage::ALL[storage.index()], storage);
        }
        assert_eq!(Storage::from_number(0), None);
        assert_eq!(Storage::from_number(KIND_END), None);
    }

    /// Files of an older build must still be read; a failure here means a new version of the format.
    #[test]
    fn the_checksum_is_pinned() {
        assert_eq!(sum(0, b"sluicegate"), 388_456_587_879_242_268);
        assert_ne!(sum(1, b"sluicegate"), sum(0, b"sluicegate"));
    }
}

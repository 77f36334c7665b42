//! A chunk of records, as it is handed out, and what makes words one.

use super::error::Damage;
use super::layout::{KIND_OWN, Own, Storage, Tag};

/// Records of one kind, in the order in which they were written. A file holds any number of chunks of each.
#[derive(Debug, Clone)]
pub enum Chunk<'a> {
    /// Each a [`Tag`] and one word.
    Word(&'a [[u64; 2]]),
    /// Each a [`Tag`] and three words.
    Wide(&'a [[u64; 4]]),
    /// Each a [`Tag`] and a list.
    Log(Logs<'a>),
    /// Cells that are buckets' own, whatever the storage.
    Own(OwnCells<'a>),
}

/// The logs of a chunk, one after the other.
#[derive(Debug, Clone)]
pub struct Logs<'a> {
    words: &'a [u64],
}

/// One key's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    /// Whose it is.
    pub tag: Tag,
    /// Its entries, each its age in nanoseconds and its cost.
    pub entries: &'a [[u64; 2]],
}

impl<'a> Iterator for Logs<'a> {
    type Item = Log<'a>;

    fn next(&mut self) -> Option<Log<'a>> {
        let ([tag, count], rest) = self.words.split_first_chunk()?;
        let words = usize::try_from(*count).ok()?.checked_mul(2)?;
        let (entries, rest) = rest.split_at_checked(words)?;
        self.words = rest;
        Some(Log {
            tag: Tag::from_u64(*tag),
            entries: entries.as_chunks().0,
        })
    }
}

/// The buckets' own cells of a chunk, one after the other.
#[derive(Debug, Clone)]
pub struct OwnCells<'a> {
    /// Laid out as logs are.
    cells: Logs<'a>,
}

/// A cell that is a bucket's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCell<'a> {
    /// The bucket's index in the file's own list.
    pub bucket: u16,
    /// Which of its cells.
    pub which: Own,
    /// What the caller wrote.
    pub words: &'a [[u64; 2]],
}

impl<'a> Iterator for OwnCells<'a> {
    type Item = OwnCell<'a>;

    fn next(&mut self) -> Option<OwnCell<'a>> {
        let Log { tag, entries } = self.cells.next()?;
        Some(OwnCell {
            bucket: tag.bucket(),
            which: Own::from_number(tag.hash())?,
            words: entries,
        })
    }
}

/// What a chunk says of itself.
pub(super) struct Head {
    pub(super) kind: u32,
    pub(super) records: u32,
    /// Words of its payload.
    pub(super) words: usize,
}

/// The payload as records, if they are as many as the head says, each of a bucket in `storages` with the chunk's storage.
pub(super) fn decode<'a>(head: &Head, payload: &'a [u64], storages: &[Storage]) -> Result<Chunk<'a>, Damage> {
    let storage_of = |tag: u64| storages.get(usize::from(Tag::from_u64(tag).bucket()));
    let (chunk, found, all_listed) = if head.kind == KIND_OWN {
        let is_listed = |tag: Tag| storage_of(tag.as_u64()).is_some() && Own::from_number(tag.hash()).is_some();
        let (cells, found, all_listed) = lists(payload, is_listed)?;
        (Chunk::Own(OwnCells { cells }), found, all_listed)
    } else {
        let storage = Storage::from_number(head.kind).ok_or(Damage::Kind)?;
        let is_listed = |tag: u64| storage_of(tag) == Some(&storage);
        match storage {
            Storage::Word => {
                let (records, all_listed) = whole(payload, is_listed)?;
                (Chunk::Word(records), records.len(), all_listed)
            }
            Storage::Wide => {
                let (records, all_listed) = whole(payload, is_listed)?;
                (Chunk::Wide(records), records.len(), all_listed)
            }
            Storage::Log => {
                let (logs, found, all_listed) = lists(payload, |tag| is_listed(tag.as_u64()))?;
                (Chunk::Log(logs), found, all_listed)
            }
        }
    };
    // A chunk without records is never written.
    if found == 0 || found as u64 != u64::from(head.records) {
        return Err(Damage::Length);
    }
    if !all_listed {
        return Err(Damage::Bucket);
    }
    Ok(chunk)
}

/// The payload as lists, how many they are, and whether the tag of each is listed.
fn lists(payload: &[u64], is_listed: impl Fn(Tag) -> bool) -> Result<(Logs<'_>, usize, bool), Damage> {
    let logs = Logs { words: payload };
    let mut rest = logs.clone();
    let (mut found, mut all_listed) = (0, true);
    for log in rest.by_ref() {
        found += 1;
        all_listed &= is_listed(log.tag);
    }
    if !rest.words.is_empty() {
        return Err(Damage::Length);
    }
    Ok((logs, found, all_listed))
}

/// The payload as records of `N` words, and whether the bucket of each is listed.
fn whole<const N: usize>(payload: &[u64], is_listed: impl Fn(u64) -> bool) -> Result<(&[[u64; N]], bool), Damage> {
    let (records, rest) = payload.as_chunks();
    if !rest.is_empty() {
        return Err(Damage::Length);
    }
    Ok((records, records.iter().all(|record| is_listed(record[0]))))
}

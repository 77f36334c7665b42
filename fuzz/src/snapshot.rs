//! The snapshot file: any bytes are a whole snapshot, which reads alike once it is written again, or are refused.

use std::io::Cursor;
use std::time::Duration;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use sluicegate_state::snapshot::{Chunk, Fingerprint, Header, Own, ReadError, Snapshot, Tag, WriteError, Writer};

/// What snapshots are made of: kinds with counts, tags, lengths near their bounds, and what a file begins with.
pub const DICTIONARY: &[&str] = &[
    "\u{1}\0\0\0\u{1}\0\0\0",
    "\u{2}\0\0\0\u{1}\0\0\0",
    "\u{3}\0\0\0\u{1}\0\0\0",
    "\u{4}\0\0\0\0\0\0\0",
    "\u{5}\0\0\0\u{1}\0\0\0",
    "\u{10}\0\0\0\0\0\0\0",
    "\u{20}\0\0\0\0\0\0\0",
    "\0\0\u{10}\0\0\0\0\0",
    "\0\0\0\0\u{1}\0\0\0",
    "\0\0\0\0\0\0\u{10}\0",
    "\0\0\0\0\0\0\0\0",
    "\0\0\0\0",
    "\u{1}",
    "\u{7f}",
    "SGsnap\n",
];

/// Where a header says how many buckets follow it, and its fingerprint; how long it is; what each bucket adds.
const COUNT_AT: usize = 12;
const FINGERPRINT_AT: usize = 16;
const HEADER: usize = 72;
const BUCKET: usize = 88;

/// Bytes before the payload of a chunk, where the second eight are its length, and of a checksum.
const HEAD: usize = 16;
const SUM: usize = 8;

/// # Panics
///
/// When what was read is not what reads back after it was written, or damage is found beyond the end of the file.
pub fn target(data: &[u8]) {
    check(data);
    // Hardly any change keeps the sums: without this, nothing behind them would ever be tried.
    check(&mended(data));
}

fn check(data: &[u8]) {
    let fingerprint = data.get(FINGERPRINT_AT..).and_then(<[u8]>::first_chunk);
    let fingerprint = Fingerprint(*fingerprint.unwrap_or(&[0; 16]));
    match read(data, fingerprint) {
        Ok((header, contents)) => {
            let written = contents.write(&header).expect("what was read can be written");
            let again = read(&written, fingerprint).expect("what was written can be read");
            assert_eq!(again, (header, contents), "it reads otherwise the second time");
        }
        Err(ReadError::Damaged { at, damage }) => {
            assert!(at <= data.len() as u64, "{damage:?} at {at} of {}", data.len());
        }
        Err(error) => assert!(
            matches!(error, ReadError::NotOurs | ReadError::Version { .. }),
            "{error:?} for bytes in memory"
        ),
    }
}

fn read(data: &[u8], fingerprint: Fingerprint) -> Result<(Header, Contents), ReadError> {
    let mut snapshot = Snapshot::check(Cursor::new(data), fingerprint, u64::MAX)?;
    let mut contents = Contents {
        took: snapshot.took(),
        ..Contents::default()
    };
    snapshot
        .for_each_chunk(|chunk| contents.take(chunk))
        .expect("bytes in memory do not change");
    assert_eq!(snapshot.records(), contents.records());
    Ok((snapshot.header().clone(), contents))
}

#[derive(Debug, PartialEq, Default)]
struct Contents {
    words: Vec<[u64; 2]>,
    wides: Vec<[u64; 4]>,
    logs: Vec<(Tag, Vec<[u64; 2]>)>,
    own: Vec<(u16, Own, Vec<[u64; 2]>)>,
    took: Duration,
}

impl Contents {
    fn records(&self) -> u64 {
        (self.words.len() + self.wides.len() + self.logs.len() + self.own.len()) as u64
    }

    fn take(&mut self, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Word(words) => self.words.extend(words),
            Chunk::Wide(wides) => self.wides.extend(wides),
            Chunk::Log(logs) => self.logs.extend(logs.map(|log| (log.tag, log.entries.to_vec()))),
            Chunk::Own(cells) => {
                let cells = cells.map(|cell| (cell.bucket, cell.which, cell.words.to_vec()));
                self.own.extend(cells);
            }
        }
    }

    fn write(&self, header: &Header) -> Result<Vec<u8>, WriteError> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, header)?;
        for [tag, state] in &self.words {
            writer.word(Tag::from_u64(*tag), *state)?;
        }
        for [tag, state @ ..] in &self.wides {
            writer.wide(Tag::from_u64(*tag), *state)?;
        }
        for (tag, entries) in &self.logs {
            writer.log(*tag, entries)?;
        }
        for (bucket, which, words) in &self.own {
            writer.own(*bucket, *which, words)?;
        }
        writer.took(self.took);
        writer.finish()?;
        Ok(bytes)
    }
}

/// The same bytes with sums that fit, as far as lengths lead through them: each part is summed under the sum before it.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let count = number(data, COUNT_AT, 4);
    let (mut start, mut len) = (
        0,
        count.and_then(|count| count.checked_mul(BUCKET)?.checked_add(HEADER)),
    );
    let mut sum = 0;
    while let Some(part) = len.and_then(|len| data.get(start..)?.get(..len)) {
        let end = start + part.len();
        let Some(place) = bytes.get_mut(end..).and_then(<[u8]>::first_chunk_mut::<SUM>) else {
            break;
        };
        sum = rapidhash_v3_seeded(part, &RapidSecrets::seed_cpp(sum));
        *place = sum.to_le_bytes();
        start = end + SUM;
        len = number(data, start + 8, 8).and_then(|len| len.checked_add(HEAD));
    }
    bytes
}

/// The little-endian number of `width` bytes at `at`; `None` beyond the end.
fn number(data: &[u8], at: usize, width: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(data.get(at..)?.get(..width)?);
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TARGETS, corpus};

    /// Else mending would spoil them, and mutations never get beyond the first sum.
    #[test]
    fn kept_snapshots_of_version_1_are_whole_and_mending_leaves_them_as_they_are() {
        let target = TARGETS.iter().find(|target| target.name == "snapshot");
        let mut whole = 0;
        for (path, bytes) in corpus(target.expect("a target")).expect("kept inputs") {
            if path.extension().is_none() {
                read(&bytes, Fingerprint([0x5A; 16])).expect("a whole snapshot");
                assert_eq!(mended(&bytes), bytes, "{}", path.display());
                whole += 1;
            }
        }
        assert!(whole >= 3, "{whole} kept snapshots");
    }
}

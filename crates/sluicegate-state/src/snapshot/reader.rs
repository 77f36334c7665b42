//! Reading: all of a file is checked before any of it is handed out.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use super::chunk::{Chunk, Head, decode};
use super::error::{Damage, ReadError};
use super::header::{BUCKETS_MAX, Fingerprint, Header, encoded_bytes};
use super::layout::{
    CHUNK_BYTES_MAX, CHUNK_FRAME_BYTES, CHUNK_HEAD_WORDS, KIND_END, MAGIC, SUM_BYTES, Storage, VERSION, sum,
};

/// Bytes of what all versions of the format begin with, and of the number of buckets after it.
const PREFIX_BYTES: usize = 16;

/// A snapshot of which every byte was found sound.
pub struct Snapshot<R> {
    source: R,
    header: Header,
    /// The header's, for a look at each record.
    storages: Vec<Storage>,
    start: Start,
    bytes: u64,
    records: u64,
    took: Duration,
    buffer: Vec<u64>,
}

impl<R: Read + Seek> Snapshot<R> {
    /// Reads all of `source`, at most `bytes_max` bytes, and checks it. `fingerprint` is that of the secret in use.
    ///
    /// Takes the memory of the header (less than 1 MiB) and of one chunk ([`CHUNK_BYTES_MAX`]); neither is asked for before
    /// the source was seen to be as long. 10 million records of one word take some 30 ms when they are in the page cache, and
    /// as long again to be handed out.
    ///
    /// # Errors
    ///
    /// All of [`ReadError`] but those of the file's kind and mode.
    pub fn check(mut source: R, fingerprint: Fingerprint, bytes_max: u64) -> Result<Self, ReadError> {
        let bytes = source.seek(SeekFrom::End(0))?;
        if bytes > bytes_max {
            return Err(ReadError::TooLarge { bytes, bytes_max });
        }
        source.rewind()?;
        let (header, start) = read_header(&mut source, bytes)?;
        if header.fingerprint() != fingerprint {
            return Err(ReadError::OtherSecret);
        }
        let mut snapshot = Self {
            source,
            storages: header.buckets().iter().map(|bucket| bucket.storage).collect(),
            header,
            start,
            bytes,
            records: 0,
            took: Duration::ZERO,
            buffer: Vec::new(),
        };
        let mut pass = snapshot.pass();
        while pass.next()?.is_some() {}
        (snapshot.records, snapshot.took) = (pass.records, pass.took);
        Ok(snapshot)
    }

    /// What the file says before its records.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How many records there are.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// How long after [`Header::written_at_unix_ns`] the last record was gathered; some 584 years if nobody has said.
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// How many bytes there are.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands out all records, chunk by chunk, in the order of the file. No allocation.
    ///
    /// Each record's bucket is one that the header lists, with that storage. A key may occur twice, if the writer wrote it twice.
    ///
    /// # Errors
    ///
    /// If the file has changed since it was checked, or the disk no longer gives it. What was handed out until then was sound.
    pub fn for_each_chunk(&mut self, mut take: impl FnMut(Chunk<'_>)) -> Result<(), ReadError> {
        self.source.seek(SeekFrom::Start(self.start.at))?;
        let mut pass = self.pass();
        while let Some(chunk) = pass.next()? {
            take(chunk);
        }
        Ok(())
    }

    fn pass(&mut self) -> Pass<'_, R> {
        Pass {
            source: &mut self.source,
            storages: &self.storages,
            bytes: self.bytes,
            at: self.start.at,
            sum: self.start.sum,
            records: 0,
            took: Duration::ZERO,
            buffer: &mut self.buffer,
        }
    }
}

impl<R> fmt::Debug for Snapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("header", &self.header)
            .field("records", &self.records)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Where the chunks begin, and the checksum of what is before them.
#[derive(Clone, Copy)]
struct Start {
    at: u64,
    sum: u64,
}

fn read_header(source: &mut impl Read, bytes: u64) -> Result<(Header, Start), ReadError> {
    let prefix = read_prefix(source, bytes)?;
    let count = u32::from_le_bytes([prefix[12], prefix[13], prefix[14], prefix[15]]);
    let count = usize::try_from(count).ok().filter(|count| *count <= BUCKETS_MAX);
    let len = encoded_bytes(count.ok_or(damaged(12, Damage::Length))?);
    if bytes < len as u64 {
        return Err(damaged(bytes, Damage::CutShort));
    }
    let mut header = vec![0; len];
    let (beginning, rest) = header.split_at_mut(PREFIX_BYTES);
    beginning.copy_from_slice(&prefix);
    fill(source, PREFIX_BYTES as u64, rest)?;

    let (content, found) = header.split_at(len - SUM_BYTES);
    let sum = sum(0, content);
    if found != sum.to_le_bytes() {
        return Err(damaged(0, Damage::Checksum));
    }
    let header = Header::decode(content).ok_or(damaged(0, Damage::Header))?;
    Ok((header, Start { at: len as u64, sum }))
}

/// The first bytes, if they are those of a snapshot of this version. A file that ends in the midst of them is a damaged one.
fn read_prefix(source: &mut impl Read, bytes: u64) -> Result<[u8; PREFIX_BYTES], ReadError> {
    let mut prefix = [0; PREFIX_BYTES];
    let there = usize::try_from(bytes).map_or(PREFIX_BYTES, |bytes| bytes.min(PREFIX_BYTES));
    fill(source, 0, &mut prefix[..there])?;
    let magic = there.min(MAGIC.len());
    if prefix[..magic] != MAGIC[..magic] {
        return Err(ReadError::NotOurs);
    }
    let found = u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    if there >= 12 && found != VERSION {
        return Err(ReadError::Version { found });
    }
    if there < PREFIX_BYTES {
        return Err(damaged(bytes, Damage::CutShort));
    }
    Ok(prefix)
}

/// One walk over the chunks, from the first to the end.
struct Pass<'a, R> {
    source: &'a mut R,
    storages: &'a [Storage],
    /// Of the whole file.
    bytes: u64,
    /// Where the next chunk begins.
    at: u64,
    /// The checksum of all before it.
    sum: u64,
    records: u64,
    /// Known at the end.
    took: Duration,
    buffer: &'a mut Vec<u64>,
}

impl<R: Read> Pass<'_, R> {
    /// The next chunk, with everything about it checked; `None` at an end that fits what was before it.
    fn next(&mut self) -> Result<Option<Chunk<'_>>, ReadError> {
        let at = self.at;
        let head = self.read_head()?;
        self.read_payload(&head)?;
        let payload = &self.buffer[CHUNK_HEAD_WORDS..][..head.words];
        if head.kind == KIND_END {
            let [records, bytes, took] = *payload else {
                return Err(damaged(at, Damage::End));
            };
            self.took = Duration::from_nanos(took);
            return if head.records != 0 || (records, bytes) != (self.records, self.at) {
                Err(damaged(at, Damage::End))
            } else if self.at != self.bytes {
                Err(damaged(self.at, Damage::Trailing))
            } else {
                Ok(None)
            };
        }
        self.records += u64::from(head.records);
        let chunk = decode(&head, payload, self.storages);
        chunk.map(Some).map_err(|damage| damaged(at, damage))
    }

    /// Reads a chunk's head, and makes room for as much as it says, if a chunk may have and the file can have as much.
    fn read_head(&mut self) -> Result<Head, ReadError> {
        let left = self.bytes - self.at;
        let frame = CHUNK_FRAME_BYTES as u64;
        if left < frame {
            return Err(damaged(self.bytes, Damage::CutShort));
        }
        self.make_room(CHUNK_HEAD_WORDS);
        let words = &mut self.buffer[..CHUNK_HEAD_WORDS];
        fill(self.source, self.at, bytemuck::cast_slice_mut(words))?;
        let [kind, records] = bytemuck::cast::<u64, [u32; 2]>(words[0]).map(u32::from_le);
        let len = u64::from_le(words[1]);
        let payload = usize::try_from(len)
            .ok()
            .filter(|len| *len <= CHUNK_BYTES_MAX && len % 8 == 0);
        let payload = payload.ok_or(damaged(self.at, Damage::Length))?;
        if left - frame < payload as u64 {
            return Err(damaged(self.bytes, Damage::CutShort));
        }
        Ok(Head {
            kind,
            records,
            words: payload / 8,
        })
    }

    /// Reads the payload behind the head, checks the sum of both, and brings the words into the machine's byte order.
    fn read_payload(&mut self, head: &Head) -> Result<(), ReadError> {
        let summed = CHUNK_HEAD_WORDS + head.words;
        self.make_room(summed + 1);
        let words = &mut self.buffer[..=summed];
        let behind_head = self.at + 8 * CHUNK_HEAD_WORDS as u64;
        fill(
            self.source,
            behind_head,
            bytemuck::cast_slice_mut(&mut words[CHUNK_HEAD_WORDS..]),
        )?;
        let sum = sum(self.sum, bytemuck::cast_slice(&words[..summed]));
        if u64::from_le(words[summed]) != sum {
            return Err(damaged(self.at, Damage::Checksum));
        }
        for word in &mut words[..summed] {
            *word = u64::from_le(*word);
        }
        self.sum = sum;
        self.at += 8 * words.len() as u64;
        Ok(())
    }

    fn make_room(&mut self, words: usize) {
        if self.buffer.len() < words {
            self.buffer.resize(words, 0);
        }
    }
}

/// Fills `part` from `at` on. The file was seen to be longer, so that one which ends here has been cut since.
fn fill(source: &mut impl Read, at: u64, part: &mut [u8]) -> Result<(), ReadError> {
    source.read_exact(part).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(at, Damage::CutShort),
        _ => ReadError::Io(error),
    })
}

const fn damaged(at: u64, damage: Damage) -> ReadError {
    ReadError::Damaged { at, damage }
}

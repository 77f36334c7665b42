//! Writing: records gathered into chunks, each sent on with its checksum when it is full.

use std::time::Duration;
use std::{fmt, io};

use super::header::Header;
use super::layout::{
    CHUNK_BYTES, CHUNK_FRAME_BYTES, CHUNK_HEAD_WORDS, END_WORDS, KIND_END, KIND_OWN, LOG_ENTRIES_MAX, Own, SUM_BYTES,
    Storage, Tag, sum,
};

/// Words of a chunk in the making, its head included and its checksum not.
const CHUNK_WORDS: usize = (CHUNK_BYTES - SUM_BYTES) / 8;

/// The kinds of chunks that hold records: those of the storages, in their order, and own cells.
const KINDS: [u32; 4] = [
    Storage::Word.number(),
    Storage::Wide.number(),
    Storage::Log.number(),
    KIND_OWN,
];

/// The place of own cells among [`KINDS`].
const OWN: usize = KINDS.len() - 1;

/// Writes one snapshot to a sink: [`Writer::new`], then any number of records in any order, then [`Writer::finish`].
///
/// Keeps at most one unfinished chunk of each kind, together 1 MiB, and one of a long log's size where there
/// is such a log. The sink is written to in blocks of 256 KiB, so it needs no buffer of its own.
pub struct Writer<'a> {
    sink: &'a mut dyn io::Write,
    storages: Vec<Storage>,
    /// By the storages' places, and own cells behind them.
    pending: [Pending; KINDS.len()],
    sum: u64,
    written: Written,
    /// Nanoseconds, all ones for as long as nobody has said.
    took: u64,
    /// Whether the sink has failed: what it has then taken is not known, and no end may follow.
    is_broken: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Records, of all storages.
    pub records: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Why there is no (new) snapshot. A file that was there before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The caller wrote a record of a bucket that the header does not list, or lists with another storage.
    #[error("the header lists no bucket {bucket} with {storage} records")]
    NoSuchBucket {
        /// The record's bucket, from 0; 4095 and above count as one.
        bucket: u16,
        /// What was written of it.
        storage: Storage,
    },
    /// The caller wrote an own cell of a bucket that the header does not list.
    #[error("the header lists no bucket {bucket}")]
    NotListed {
        /// The bucket, from 0.
        bucket: u16,
    },
    /// The caller wrote a log longer than [`LOG_ENTRIES_MAX`].
    #[error("a log of {entries} entries, of which a record holds {LOG_ENTRIES_MAX}")]
    LogTooLong {
        /// How many it has.
        entries: usize,
    },
    /// The file cannot be made, written or put in its place.
    #[error("the snapshot cannot be written")]
    Io(#[from] io::Error),
}

impl<'a> Writer<'a> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// What the sink answers.
    pub fn new(sink: &'a mut dyn io::Write, header: &Header) -> Result<Self, WriteError> {
        let (bytes, sum) = header.encode();
        sink.write_all(&bytes)?;
        Ok(Self {
            sink,
            storages: header.buckets().iter().map(|bucket| bucket.storage).collect(),
            pending: Default::default(),
            sum,
            written: Written {
                records: 0,
                bytes: bytes.len() as u64,
            },
            took: u64::MAX,
            is_broken: false,
        })
    }

    /// A record of one word.
    ///
    /// # Errors
    ///
    /// If its bucket has no such records, or what the sink answers.
    #[inline]
    pub fn word(&mut self, tag: Tag, state: u64) -> Result<(), WriteError> {
        self.put(Storage::Word, tag, [[tag.as_u64(), state]].as_flattened(), &[])
    }

    /// A record of three words.
    ///
    /// # Errors
    ///
    /// If its bucket has no such records, or what the sink answers.
    #[inline]
    pub fn wide(&mut self, tag: Tag, [one, two, three]: [u64; 3]) -> Result<(), WriteError> {
        self.put(Storage::Wide, tag, &[tag.as_u64(), one, two, three], &[])
    }

    /// A log: each entry its age in nanoseconds, and its cost.
    ///
    /// # Errors
    ///
    /// If its bucket has no such records, the log is longer than [`LOG_ENTRIES_MAX`], or what the sink answers.
    pub fn log(&mut self, tag: Tag, entries: &[[u64; 2]]) -> Result<(), WriteError> {
        if entries.len() > LOG_ENTRIES_MAX {
            return Err(WriteError::LogTooLong { entries: entries.len() });
        }
        let head = [tag.as_u64(), entries.len() as u64];
        self.put(Storage::Log, tag, &head, entries.as_flattened())
    }

    /// A cell of the bucket at `bucket` that is no key's, of whatever storage: its words, in pairs.
    ///
    /// # Errors
    ///
    /// If the header lists no such bucket, there are more pairs than [`LOG_ENTRIES_MAX`], or what the sink answers.
    pub fn own(&mut self, bucket: u16, which: Own, words: &[[u64; 2]]) -> Result<(), WriteError> {
        if words.len() > LOG_ENTRIES_MAX {
            return Err(WriteError::LogTooLong { entries: words.len() });
        }
        if usize::from(bucket) >= self.storages.len() {
            return Err(WriteError::NotListed { bucket });
        }
        let tag = Tag::new(bucket, which as u64);
        self.add(OWN, &[tag.as_u64(), words.len() as u64], words.as_flattened())
    }

    /// Says how long after the header's time the last record was gathered. A reader that knows is sure that no key is in the file
    /// twice, once so much time has passed.
    pub fn took(&mut self, span: Duration) {
        self.took = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Writes what is left and the end, without which no reader takes the file for whole.
    ///
    /// # Errors
    ///
    /// What the sink answers, or has answered before.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        for kind in 0..KINDS.len() {
            self.flush(kind)?;
        }
        let bytes = self.written.bytes + (CHUNK_FRAME_BYTES + 8 * END_WORDS) as u64;
        let mut end = Pending::default();
        end.put(&[self.written.records, bytes, self.took], &[]);
        self.send(&mut end, KIND_END, 0)?;
        Ok(self.written)
    }

    #[inline]
    fn put(&mut self, storage: Storage, tag: Tag, head: &[u64], entries: &[u64]) -> Result<(), WriteError> {
        if self.storages.get(usize::from(tag.bucket())) != Some(&storage) {
            let bucket = tag.bucket();
            return Err(WriteError::NoSuchBucket { bucket, storage });
        }
        self.add(storage.index(), head, entries)
    }

    #[inline]
    fn add(&mut self, kind: usize, head: &[u64], entries: &[u64]) -> Result<(), WriteError> {
        if self.pending[kind].words.len() + head.len() + entries.len() > CHUNK_WORDS {
            self.flush(kind)?;
        }
        self.pending[kind].put(head, entries);
        self.written.records += 1;
        Ok(())
    }

    #[cold]
    fn flush(&mut self, kind: usize) -> Result<(), WriteError> {
        // Taken out and put back, so that its memory serves the next chunk too.
        let mut chunk = std::mem::take(&mut self.pending[kind]);
        if chunk.records > 0 {
            let records = chunk.records;
            self.send(&mut chunk, KINDS[kind], records)?;
        }
        self.pending[kind] = chunk;
        Ok(())
    }

    fn send(&mut self, chunk: &mut Pending, kind: u32, records: u32) -> Result<(), WriteError> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write of the same snapshot failed").into());
        }
        self.sum = chunk.seal(kind, records, self.sum);
        let bytes = bytemuck::cast_slice(&chunk.words);
        self.is_broken = true;
        self.sink.write_all(bytes)?;
        self.is_broken = false;
        self.written.bytes += bytes.len() as u64;
        chunk.words.clear();
        chunk.records = 0;
        Ok(())
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// A chunk in the making, in the byte order of the file: place for its head, then its payload. Empty, or with a record.
#[derive(Default)]
struct Pending {
    words: Vec<u64>,
    records: u32,
}

impl Pending {
    #[inline]
    fn put(&mut self, head: &[u64], entries: &[u64]) {
        if self.words.is_empty() {
            self.begin();
        }
        self.words.extend(head.iter().map(|word| word.to_le()));
        self.words.extend(entries.iter().map(|word| word.to_le()));
        self.records += 1;
    }

    #[cold]
    fn begin(&mut self) {
        self.words.reserve(CHUNK_BYTES / 8);
        self.words.extend([0; CHUNK_HEAD_WORDS]);
    }

    /// Fills in the head and adds the checksum, which it returns.
    fn seal(&mut self, kind: u32, records: u32, before: u64) -> u64 {
        let payload = 8 * (self.words.len() - CHUNK_HEAD_WORDS);
        let payload = u32::try_from(payload).expect("a chunk holds at most `CHUNK_BYTES_MAX`");
        self.words[0] = (u64::from(kind) | u64::from(records) << 32).to_le();
        self.words[1] = u64::from(payload).to_le();
        let sum = sum(before, bytemuck::cast_slice(&self.words));
        self.words.push(sum.to_le());
        sum
    }
}

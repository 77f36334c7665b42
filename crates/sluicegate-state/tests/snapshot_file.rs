//! The bytes of a snapshot: whatever is written reads back, and whatever is not what was written is refused (F13).

use std::io::{self, Cursor};
use std::time::Duration;

use proptest::prelude::*;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use sluicegate_state::snapshot::{
    Bucket, CHUNK_BYTES_MAX, Chunk, Damage, Fingerprint, Header, Identity, LOG_ENTRIES_MAX, Own, PARAMETERS_BYTES_MAX,
    Parameters, ReadError, Snapshot, Storage, Tag, WriteError, Writer, Written,
};

const FINGERPRINT: Fingerprint = Fingerprint([0x5A; 16]);

/// More than any file here has.
const BYTES_MAX: u64 = 64 << 20;

/// How long the records of all files here took to gather.
const TOOK: Duration = Duration::from_millis(250);

/// Bytes of a header without buckets, of each bucket, of a checksum, and of the head of a chunk.
const HEADER: usize = 72;
const BUCKET: usize = 88;
const SUM: usize = 8;
const HEAD: usize = 16;

/// What a file holds, each storage in the order of its writing.
#[derive(Debug, Clone, PartialEq, Default)]
struct Contents {
    words: Vec<(Tag, u64)>,
    wides: Vec<(Tag, [u64; 3])>,
    logs: Vec<(Tag, Vec<[u64; 2]>)>,
    own: Vec<(u16, Own, Vec<[u64; 2]>)>,
}

impl Contents {
    fn records(&self) -> u64 {
        (self.words.len() + self.wides.len() + self.logs.len() + self.own.len()) as u64
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        // Alternately, as a caller does who walks over keys of several buckets.
        for at in 0..self.words.len().max(self.wides.len()).max(self.logs.len()) {
            if let Some((tag, state)) = self.words.get(at) {
                writer.word(*tag, *state)?;
            }
            if let Some((tag, state)) = self.wides.get(at) {
                writer.wide(*tag, *state)?;
            }
            if let Some((tag, entries)) = self.logs.get(at) {
                writer.log(*tag, entries)?;
            }
        }
        for (bucket, which, words) in &self.own {
            writer.own(*bucket, *which, words)?;
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Word(records) => {
                let record = |[tag, state]: &[u64; 2]| (Tag::from_u64(*tag), *state);
                self.words.extend(records.iter().map(record));
            }
            Chunk::Wide(records) => {
                let record = |[tag, state @ ..]: &[u64; 4]| (Tag::from_u64(*tag), *state);
                self.wides.extend(records.iter().map(record));
            }
            Chunk::Log(logs) => self.logs.extend(logs.map(|log| (log.tag, log.entries.to_vec()))),
            Chunk::Own(cells) => {
                let cells = cells.map(|cell| (cell.bucket, cell.which, cell.words.to_vec()));
                self.own.extend(cells);
            }
        }
    }
}

fn header(storages: &[Storage]) -> Header {
    let bucket = |(index, storage): (usize, &Storage)| {
        let mut identity = [0xB0; 16];
        identity[..8].copy_from_slice(&(index as u64).to_le_bytes());
        Bucket {
            identity: Identity(identity),
            storage: *storage,
            parameters: Parameters::new(&[7; PARAMETERS_BYTES_MAX][..index % 9]).expect("short parameters"),
        }
    };
    let buckets = storages.iter().enumerate().map(bucket).collect();
    Header::new(FINGERPRINT, 1_795_132_800_000_000_000, "sluicegate 0.1.0", buckets).expect("a header")
}

fn file(header: &Header, contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, header).expect("memory takes all");
    contents.write(&mut writer).expect("records of the header's buckets");
    writer.took(TOOK);
    let written = writer.finish().expect("memory takes all");
    let expected = Written {
        records: contents.records(),
        bytes: bytes.len() as u64,
    };
    assert_eq!(written, expected);
    bytes
}

fn check(bytes: &[u8]) -> Result<Snapshot<Cursor<&[u8]>>, ReadError> {
    Snapshot::check(Cursor::new(bytes), FINGERPRINT, BYTES_MAX)
}

fn read(bytes: &[u8]) -> Result<(Header, Contents), ReadError> {
    let mut snapshot = check(bytes)?;
    let mut contents = Contents::default();
    snapshot.for_each_chunk(|chunk| contents.take(chunk))?;
    assert_eq!(snapshot.records(), contents.records());
    assert_eq!(snapshot.bytes(), bytes.len() as u64);
    assert_eq!(snapshot.took(), TOOK);
    Ok((snapshot.header().clone(), contents))
}

/// How the damage of a file shows, and where.
#[track_caller]
fn damage(bytes: &[u8]) -> (u64, Damage) {
    let error = check(bytes).expect_err("a damaged file was taken for whole");
    let found = match &error {
        ReadError::Damaged { at, damage } => Some((*at, *damage)),
        _ => None,
    };
    assert!(found.is_some(), "refused for another reason: {error:?}");
    found.expect("it was just seen")
}

const STORAGES: [Storage; 4] = [Storage::Word, Storage::Wide, Storage::Log, Storage::Word];

/// A file of a few hundred bytes with every kind of chunk.
fn small() -> (Header, Contents) {
    let contents = Contents {
        words: vec![(Tag::new(0, 1), 10), (Tag::new(3, 2), u64::MAX)],
        wides: vec![(Tag::new(1, 3), [1, 2, 3])],
        logs: vec![(Tag::new(2, 4), vec![[5, 1], [6, 2]]), (Tag::new(2, 5), vec![])],
        own: vec![(3, Own::Whole, vec![[7, 0]]), (1, Own::Overflow, vec![[8, 9], [10, 0]])],
    };
    (header(&STORAGES), contents)
}

/// A file of some megabytes: many chunks of words, several of the others, and the longest log there may be.
fn large() -> (Header, Contents) {
    let mut random = Random(7);
    let mut contents = Contents::default();
    for number in 0..120_000 {
        let hash = random.next();
        contents
            .words
            .push((Tag::new(3 * (hash % 2) as u16, hash), random.next()));
        if number % 4 == 0 {
            contents.wides.push((Tag::new(1, hash), [random.next(), 0, u64::MAX]));
        }
        if number % 1000 == 0 {
            let entries = (0..random.next() % 1000).map(|age| [age, 1]).collect();
            contents.logs.push((Tag::new(2, hash), entries));
        }
    }
    contents.logs.push((Tag::new(2, 0), vec![[1, 1]; LOG_ENTRIES_MAX]));
    contents.own.push((2, Own::Whole, vec![[2, 2]; LOG_ENTRIES_MAX]));
    (header(&STORAGES), contents)
}

/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), figure 17, variant 13.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }
}

/// Any contents, of any buckets.
fn any_contents() -> impl Strategy<Value = (Header, Contents)> {
    let storages = prop::collection::vec(prop::sample::select(&STORAGES[..]), 1..30);
    let record = (
        any::<prop::sample::Index>(),
        any::<u64>(),
        any::<[u64; 3]>(),
        0..20usize,
    );
    (storages, prop::collection::vec(record, 0..200)).prop_map(|(storages, records)| {
        let mut contents = Contents::default();
        for (bucket, hash, state, entries) in records {
            let bucket = bucket.index(storages.len());
            let tag = Tag::new(u16::try_from(bucket).expect("few buckets"), hash);
            match storages[bucket] {
                Storage::Word => contents.words.push((tag, state[0])),
                Storage::Wide => contents.wides.push((tag, state)),
                Storage::Log => contents.logs.push((tag, vec![[state[0], state[1]]; entries])),
            }
            if hash % 8 == 0 {
                let which = [Own::Whole, Own::Overflow][entries % 2];
                contents
                    .own
                    .push((tag.bucket(), which, vec![[state[1], state[2]]; entries]));
            }
        }
        (header(&storages), contents)
    })
}

proptest! {
    #[test]
    fn any_contents_read_back_as_they_were_written((header, contents) in any_contents()) {
        let bytes = file(&header, &contents);
        prop_assert_eq!(read(&bytes).expect("a whole file"), (header, contents));
    }
}

#[test]
fn contents_of_many_chunks_read_back_as_they_were_written() {
    let (header, contents) = large();
    let bytes = file(&header, &contents);
    assert!(bytes.len() > 4 << 20, "{} bytes are few chunks", bytes.len());
    assert!(read(&bytes).expect("a whole file") == (header, contents));
}

#[test]
fn a_file_without_records_or_buckets_is_whole() {
    let (header, contents) = (header(&[]), Contents::default());
    let bytes = file(&header, &contents);
    assert_eq!(read(&bytes).expect("a whole file"), (header, contents));
}

/// Files of an older build must still be read; a failure here means a new version of the format. The last sum speaks for all.
#[test]
fn version_1_of_the_snapshot_is_pinned() {
    let (header, contents) = small();
    let bytes = file(&header, &contents);
    assert_eq!(bytes.len(), 784);
    assert_eq!(bytes.last_chunk(), Some(&[221, 124, 32, 227, 59, 189, 200, 78]));
}

#[test]
fn a_small_file_cut_at_any_offset_is_refused() {
    let (header, contents) = small();
    let bytes = file(&header, &contents);
    for len in 0..bytes.len() {
        assert_eq!(damage(&bytes[..len]), (len as u64, Damage::CutShort), "cut at {len}");
    }
}

#[test]
fn a_large_file_cut_at_any_of_a_thousand_offsets_is_refused() {
    let (header, contents) = large();
    let bytes = file(&header, &contents);
    let mut random = Random(1);
    for _ in 0..1000 {
        let len = random.below(bytes.len());
        assert_eq!(damage(&bytes[..len]), (len as u64, Damage::CutShort), "cut at {len}");
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_found() {
    let (header, contents) = small();
    let bytes = file(&header, &contents);
    for bit in 0..8 * bytes.len() {
        assert_flip_is_found(&mut bytes.clone(), bit);
    }
}

#[test]
fn a_thousand_flipped_bits_of_a_large_file_are_found() {
    let (header, contents) = large();
    let mut bytes = file(&header, &contents);
    let mut random = Random(2);
    for _ in 0..1000 {
        let bit = random.below(8 * bytes.len());
        assert_flip_is_found(&mut bytes, bit);
    }
}

#[track_caller]
fn assert_flip_is_found(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
    let error = check(bytes).expect_err("a flipped bit went unseen");
    let fits = match error {
        ReadError::NotOurs => bit / 8 < 8,
        ReadError::Version { .. } => (8..12).contains(&(bit / 8)),
        // A length that a flip has made larger asks for more than there is.
        ReadError::Damaged { .. } => true,
        _ => false,
    };
    assert!(fits, "bit {bit}: {error:?}");
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Each chunk alone is sound: it is their order that tells.
#[test]
fn a_chunk_that_is_missing_doubled_or_out_of_place_is_found() {
    let storages = [Storage::Word];
    let contents = Contents {
        words: (0..100_000).map(|number| (Tag::new(0, number), number)).collect(),
        ..Contents::default()
    };
    let bytes = file(&header(&storages), &contents);
    let start = HEADER + BUCKET + SUM;
    let len = chunk_bytes(&bytes, start);
    let (first, second) = (start..start + len, start + len..start + 2 * len);
    assert_eq!(chunk_bytes(&bytes, second.start), len);
    let parts = |parts: &[&[u8]]| parts.concat();
    let (before, after) = (&bytes[..start], &bytes[second.end..]);
    let (first, second) = (&bytes[first], &bytes[second]);
    for (what, changed) in [
        ("missing", parts(&[before, second, after])),
        ("doubled", parts(&[before, first, first, second, after])),
        ("swapped", parts(&[before, second, first, after])),
        ("replaced", parts(&[before, first, first, after])),
    ] {
        assert_eq!(damage(&changed).1, Damage::Checksum, "{what}");
    }
    assert!(check(&parts(&[before, first, second, after])).is_ok());
}

#[test]
fn another_file_is_not_ours() {
    for bytes in [&b"\x89PNG\r\n\x1a\n"[..], b"version: 1\n", &[0; 4096], b"\0"] {
        let error = check(bytes).expect_err("not a snapshot");
        assert!(matches!(error, ReadError::NotOurs), "{error:?}");
    }
}

/// Whatever follows: another version may have laid it out in another way.
#[test]
fn an_older_or_newer_version_is_named_and_not_read() {
    let (header, contents) = small();
    for version in [0, 2, 3, u32::MAX] {
        let mut bytes = file(&header, &contents);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        for len in [12, 50, bytes.len()] {
            let error = check(&bytes[..len]).expect_err("another version");
            assert!(
                matches!(error, ReadError::Version { found } if found == version),
                "{error:?}"
            );
        }
    }
}

#[test]
fn a_file_under_another_secret_is_refused() {
    let (header, contents) = small();
    let bytes = file(&header, &contents);
    let error = Snapshot::check(Cursor::new(&bytes), Fingerprint([0x5B; 16]), BYTES_MAX).expect_err("another secret");
    assert!(matches!(error, ReadError::OtherSecret), "{error:?}");
}

#[test]
fn a_file_beyond_the_callers_bound_is_refused_before_it_is_read() {
    let (header, contents) = small();
    let bytes = file(&header, &contents);
    let len = bytes.len() as u64;
    assert!(Snapshot::check(Cursor::new(&bytes), FINGERPRINT, len).is_ok());
    let error = Snapshot::check(Cursor::new(&bytes), FINGERPRINT, len - 1).expect_err("too large");
    let expected = (len, len - 1);
    assert!(
        matches!(error, ReadError::TooLarge { bytes, bytes_max } if (bytes, bytes_max) == expected),
        "{error:?}"
    );
}

/// What the sums do not tell, since a defect or an adversary made them fit.
#[test]
fn what_makes_no_sense_is_refused_behind_sums_that_fit() {
    #[track_caller]
    fn check(whole: &[u8], at: usize, value: u64, expected: (usize, Damage)) {
        let mut bytes = whole.to_vec();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        mend(&mut bytes);
        assert_eq!(damage(&bytes), (expected.0 as u64, expected.1), "{value:#x} at {at}");
    }

    let (header, contents) = small();
    let whole = file(&header, &contents);
    let words = HEADER + STORAGES.len() * BUCKET + SUM;
    let wides = words + chunk_bytes(&whole, words);
    let logs = wides + chunk_bytes(&whole, wides);
    let own = logs + chunk_bytes(&whole, logs);
    let end = own + chunk_bytes(&whole, own);
    let tag = |bucket, hash| Tag::new(bucket, hash).as_u64();

    let kind_and_count = |kind: u64, count: u64| kind | count << 32;
    // A kind without a number, and one with, whose records are of another length.
    check(&whole, words, kind_and_count(6, 2), (words, Damage::Kind));
    check(&whole, words, kind_and_count(0, 2), (words, Damage::Kind));
    check(&whole, words, kind_and_count(5, 2), (words, Damage::Length));
    check(&whole, words, kind_and_count(2, 1), (words, Damage::Bucket));
    check(&whole, words, kind_and_count(4, 0), (words, Damage::End));
    // Counts beside the truth.
    for count in [0, 1, 3, u64::from(u32::MAX)] {
        check(&whole, words, kind_and_count(1, count), (words, Damage::Length));
        check(
            &whole,
            wides,
            kind_and_count(2, count + count % 2),
            (wides, Damage::Length),
        );
        check(&whole, logs, kind_and_count(3, count), (logs, Damage::Length));
        check(&whole, own, kind_and_count(5, count), (own, Damage::Length));
    }
    // Records of a bucket that is not listed, and of one with another storage.
    for bucket in [1, 4, 4095] {
        check(&whole, words + HEAD, tag(bucket, 1), (words, Damage::Bucket));
        check(&whole, wides + HEAD, tag(bucket & !1, 1), (wides, Damage::Bucket));
        check(&whole, logs + HEAD, tag(bucket, 1), (logs, Damage::Bucket));
    }
    // Own cells of a bucket that is not listed, and one that no bucket has.
    for (bucket, which) in [(4, 0), (4095, 1), (3, 2), (0, (1 << 52) - 1)] {
        check(&whole, own + HEAD, tag(bucket, which), (own, Damage::Bucket));
    }
    // Logs that are longer than their chunk, or leave part of it over.
    for entries in [0, 1, 3, 4, 1 << 32, 1 << 63, u64::MAX] {
        check(&whole, logs + HEAD + 8, entries, (logs, Damage::Length));
    }
    // An end that counts something else.
    check(&whole, end, kind_and_count(4, 1), (end, Damage::End));
    check(&whole, end + HEAD, contents.records() + 1, (end, Damage::End));
    check(&whole, end + HEAD + 8, whole.len() as u64 + 1, (end, Damage::End));
    // Headers: a storage without a number, parameters longer than their field, bytes that mean nothing.
    for value in [0x0000, 0x0004, 0x4101, 0xFF01, 0x0001_0000] {
        check(&whole, HEADER + 16, value, (0, Damage::Header));
    }
}

#[test]
fn nothing_may_follow_the_end() {
    let (header, contents) = small();
    let mut bytes = file(&header, &contents);
    let len = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(damage(&bytes), (len, Damage::Trailing));
    bytes.extend(file(&header, &contents));
    assert_eq!(damage(&bytes), (len, Damage::Trailing));
}

/// What the file says of its own size is believed only as far as it has that size and a chunk may have it.
#[test]
fn lengths_of_four_gigabytes_ask_for_no_memory() {
    let (header, contents) = small();
    let whole = file(&header, &contents);
    let words = HEADER + STORAGES.len() * BUCKET + SUM;
    let lengths = [
        (1 << 32) - 8,
        1 << 32,
        u64::MAX,
        u64::MAX - 7,
        CHUNK_BYTES_MAX as u64 + 8,
    ];
    let chunks = lengths.map(|len| (words + 8, len.to_le_bytes().to_vec()));
    let lists = [u32::MAX, 4096].map(|count| (12, count.to_le_bytes().to_vec()));
    for (at, length) in chunks.into_iter().chain(lists) {
        let mut bytes = whole.clone();
        bytes[at..at + length.len()].copy_from_slice(&length);
        let used = allocation_counter::measure(|| {
            let at = if at == 12 { 12 } else { words as u64 };
            assert_eq!(damage(&bytes), (at, Damage::Length));
        });
        assert!(
            used.bytes_max < 16 << 10,
            "{} bytes for {length:?} at {at}",
            used.bytes_max
        );
    }
    // Within all bounds, and more than there is.
    for (at, length) in [(12, 4095u32), (words + 8, 1 << 20)] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        let used = allocation_counter::measure(|| assert_eq!(damage(&bytes).1, Damage::CutShort));
        assert!(
            used.bytes_max < 16 << 10,
            "{} bytes for {length} at {at}",
            used.bytes_max
        );
    }
}

#[test]
fn a_large_file_is_read_in_the_memory_of_one_chunk_and_handed_out_in_no_more() {
    let (header, contents) = large();
    let bytes = file(&header, &contents);
    let mut snapshot = None;
    let used = allocation_counter::measure(|| snapshot = check(&bytes).ok());
    let mut snapshot = snapshot.expect("a whole file");
    assert!(used.bytes_max < 5 << 19, "{} bytes", used.bytes_max);
    let mut records = 0;
    let used = allocation_counter::measure(|| {
        let count = |chunk: Chunk<'_>| {
            records += match chunk {
                Chunk::Word(words) => words.len(),
                Chunk::Wide(wides) => wides.len(),
                Chunk::Log(logs) => logs.count(),
                Chunk::Own(cells) => cells.count(),
            };
        };
        snapshot.for_each_chunk(count).expect("a whole file");
    });
    assert_eq!(used.count_total, 0);
    assert_eq!(records as u64, contents.records());
}

#[test]
fn the_writer_refuses_what_no_reader_would_take() {
    let mut bytes = Vec::new();
    let header = header(&STORAGES);
    let mut writer = Writer::new(&mut bytes, &header).expect("memory takes all");
    for bucket in [1, 2, 4, 4095, 4096, u16::MAX] {
        let refusal = writer.word(Tag::new(bucket, 1), 1).expect_err("no such bucket");
        assert!(
            matches!(
                refusal,
                WriteError::NoSuchBucket {
                    storage: Storage::Word,
                    ..
                }
            ),
            "{refusal:?}"
        );
    }
    for bucket in [4, 4095, 4096, u16::MAX] {
        let refusal = writer.own(bucket, Own::Whole, &[[1, 1]]).expect_err("no such bucket");
        assert!(matches!(refusal, WriteError::NotListed { .. }), "{refusal:?}");
    }
    let refusal = writer.own(0, Own::Overflow, &vec![[0; 2]; LOG_ENTRIES_MAX + 1]);
    assert!(matches!(refusal, Err(WriteError::LogTooLong { .. })));
    let refusal = writer.log(Tag::new(2, 1), &vec![[0; 2]; LOG_ENTRIES_MAX + 1]);
    assert!(matches!(refusal, Err(WriteError::LogTooLong { entries }) if entries == LOG_ENTRIES_MAX + 1));
    assert_eq!(writer.finish().expect("memory takes all").records, 0);
    let snapshot = check(&bytes).expect("a whole file");
    assert_eq!(snapshot.records(), 0);
    assert!(snapshot.took() > Duration::from_hours(365 * 24), "nobody has said");
}

/// A caller that goes on after an error would else have a file with a gap put in the place of a whole one.
#[test]
fn a_sink_that_failed_once_gets_no_end() {
    struct FailsOnce(u32);
    impl io::Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 == 2 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (header, contents) = large();
    let mut sink = FailsOnce(0);
    let mut writer = Writer::new(&mut sink, &header).expect("the first write passes");
    assert!(contents.write(&mut writer).is_err());
    assert!(matches!(writer.finish(), Err(WriteError::Io(_))));
}

/// Bytes of the chunk at `at`, with its head and sum.
fn chunk_bytes(bytes: &[u8], at: usize) -> usize {
    let len = u64::from_le_bytes(*bytes[at + 8..].first_chunk().expect("a chunk's head"));
    HEAD + usize::try_from(len).expect("a length in memory") + SUM
}

/// Makes all sums fit again, as `docs/snapshot.md` tells to.
fn mend(bytes: &mut [u8]) {
    let count = u32::from_le_bytes(*bytes[12..].first_chunk().expect("a header"));
    let mut sum = 0;
    let (mut start, mut end) = (0, HEADER + count as usize * BUCKET);
    loop {
        sum = rapidhash_v3_seeded(&bytes[start..end], &RapidSecrets::seed_cpp(sum));
        bytes[end..end + SUM].copy_from_slice(&sum.to_le_bytes());
        start = end + SUM;
        if start == bytes.len() {
            return;
        }
        end = start + chunk_bytes(bytes, start) - SUM;
    }
}

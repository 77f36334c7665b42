//! The header: who wrote a file, when, under which secret, and which buckets its records belong to.

use arrayvec::{ArrayString, ArrayVec};

use super::layout::{BUCKET_BYTES, HEADER_BYTES, MAGIC, SUM_BYTES, Storage, VERSION, WRITTEN_BY_BYTES_MAX, sum};

/// Most buckets of one file: as many as a table has at most, which leaves the 12 bits of a tag one index that is never used.
pub const BUCKETS_MAX: usize = 4095;

/// Most bytes of a bucket's parameters: some eight numbers.
pub const PARAMETERS_BYTES_MAX: usize = 64;

/// Tells one installation's secret from another's, without telling either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// What keeps a bucket's state across a reload: a hash of its name, key, algorithm, period and alignment, made by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 16]);

/// What the caller needs to convert a bucket's records to limits that have changed since: bytes that only the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(ArrayVec<u8, PARAMETERS_BYTES_MAX>);

impl Parameters {
    /// Keeps the bytes; `None` if there are more than [`PARAMETERS_BYTES_MAX`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        ArrayVec::try_from(bytes).ok().map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A bucket as a file lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Which bucket.
    pub identity: Identity,
    /// How its records are laid out.
    pub storage: Storage,
    /// What they are counted in.
    pub parameters: Parameters,
}

/// What a file says before its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    fingerprint: Fingerprint,
    written_at_unix_ns: u64,
    written_by: ArrayString<WRITTEN_BY_BYTES_MAX>,
    buckets: Vec<Bucket>,
}

/// Why there can be no such header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// More buckets than [`BUCKETS_MAX`].
    #[error("{buckets} buckets, of which a snapshot lists {BUCKETS_MAX}")]
    TooManyBuckets {
        /// How many there are.
        buckets: usize,
    },
    /// Two buckets of one identity: no reader could tell whose a record is.
    #[error("two of the buckets have one identity")]
    SameBucketTwice,
    /// The text that names the writer is longer than [`WRITTEN_BY_BYTES_MAX`], or not printable ASCII.
    #[error("what wrote the snapshot is not named in {WRITTEN_BY_BYTES_MAX} printable ASCII characters")]
    WrittenBy,
}

impl Header {
    /// A header for records of `buckets`, which they name by their place in it.
    ///
    /// `written_at_unix_ns` is the wall clock's time now, in nanoseconds since 1970; `written_by` names the program and its
    /// version, for whoever looks at the file.
    ///
    /// # Errors
    ///
    /// If there are too many buckets, two of them have one identity, or the text does not fit.
    pub fn new(
        fingerprint: Fingerprint,
        written_at_unix_ns: u64,
        written_by: &str,
        buckets: Vec<Bucket>,
    ) -> Result<Self, HeaderError> {
        if buckets.len() > BUCKETS_MAX {
            return Err(HeaderError::TooManyBuckets { buckets: buckets.len() });
        }
        let mut identities: Vec<_> = buckets.iter().map(|bucket| bucket.identity).collect();
        identities.sort_unstable();
        if identities.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(HeaderError::SameBucketTwice);
        }
        // The text may be shown on a terminal by whoever reads the file.
        let is_printable = written_by.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let written_by = ArrayString::from(written_by).ok().filter(|_| is_printable);
        Ok(Self {
            fingerprint,
            written_at_unix_ns,
            written_by: written_by.ok_or(HeaderError::WrittenBy)?,
            buckets,
        })
    }

    /// The secret under which the keys were hashed.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The wall clock's time when the file was begun, in nanoseconds since 1970.
    pub const fn written_at_unix_ns(&self) -> u64 {
        self.written_at_unix_ns
    }

    /// How much time has passed since the file was begun, in nanoseconds, if the wall clock shows `now_unix_ns`.
    ///
    /// A clock that went back counts as no time: debts are then kept as they were written, and none is made longer.
    pub const fn age_ns(&self, now_unix_ns: u64) -> u64 {
        now_unix_ns.saturating_sub(self.written_at_unix_ns)
    }

    /// Who wrote the file: at most [`WRITTEN_BY_BYTES_MAX`] printable ASCII characters.
    pub fn written_by(&self) -> &str {
        &self.written_by
    }

    /// The buckets, in the order by which records name them.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The header as it stands in a file, and its checksum, which comes last in it.
    pub(super) fn encode(&self) -> (Vec<u8>, u64) {
        let mut bytes = Vec::with_capacity(encoded_bytes(self.buckets.len()));
        let count = u32::try_from(self.buckets.len()).expect("there are at most `BUCKETS_MAX`");
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint.0);
        bytes.extend_from_slice(&self.written_at_unix_ns.to_le_bytes());
        bytes.push(short(self.written_by.as_bytes()));
        put_padded(&mut bytes, self.written_by.as_bytes(), WRITTEN_BY_BYTES_MAX);
        for bucket in &self.buckets {
            bytes.extend_from_slice(&bucket.identity.0);
            bytes.push(bucket.storage as u8);
            bytes.push(short(bucket.parameters.as_bytes()));
            bytes.extend_from_slice(&[0; 6]);
            put_padded(&mut bytes, bucket.parameters.as_bytes(), PARAMETERS_BYTES_MAX);
        }
        let sum = sum(0, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// Reads `bytes`, all of a header from its magic to the last bucket, the checksum left out. `None` if it makes no sense.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, listed) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let fingerprint = Fingerprint(*fixed[16..].first_chunk()?);
        let written_at_unix_ns = u64::from_le_bytes(*fixed[32..].first_chunk()?);
        let written_by = padded(usize::from(fixed[40]), &fixed[41..])?;
        let (listed, rest) = listed.as_chunks::<BUCKET_BYTES>();
        let buckets = listed.iter().map(decode_bucket).collect::<Option<Vec<_>>>()?;
        let header = Self::new(
            fingerprint,
            written_at_unix_ns,
            str::from_utf8(written_by).ok()?,
            buckets,
        );
        header.ok().filter(|_| rest.is_empty())
    }
}

/// Bytes of a header with so many buckets, its checksum included.
pub(super) const fn encoded_bytes(buckets: usize) -> usize {
    HEADER_BYTES + buckets * BUCKET_BYTES + SUM_BYTES
}

fn decode_bucket(bytes: &[u8; BUCKET_BYTES]) -> Option<Bucket> {
    let storage = Storage::from_number(u32::from(bytes[16]))?;
    let parameters = padded(usize::from(bytes[17]), &bytes[24..])?;
    let is_sound = bytes[18..24] == [0; 6];
    is_sound.then_some(Bucket {
        identity: Identity(*bytes.first_chunk()?),
        storage,
        parameters: Parameters::new(parameters)?,
    })
}

/// The length of a field that holds less than 256 bytes.
fn short(field: &[u8]) -> u8 {
    u8::try_from(field.len()).expect("its type holds no more than 64 bytes")
}

fn put_padded(bytes: &mut Vec<u8>, text: &[u8], width: usize) {
    bytes.extend_from_slice(text);
    bytes.resize(bytes.len() + width - text.len(), 0);
}

/// The first `len` bytes of `field`, if it has them and the others are zero: one content has one spelling.
fn padded(len: usize, field: &[u8]) -> Option<&[u8]> {
    let (text, rest) = field.split_at_checked(len)?;
    rest.iter().all(|byte| *byte == 0).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: u16, parameters: &[u8]) -> Bucket {
        let mut identity = [0; 16];
        identity[..2].copy_from_slice(&number.to_le_bytes());
        Bucket {
            identity: Identity(identity),
            storage: Storage::Wide,
            parameters: Parameters::new(parameters).expect("short parameters"),
        }
    }

    fn header(written_by: &str, buckets: Vec<Bucket>) -> Result<Header, HeaderError> {
        Header::new(Fingerprint([7; 16]), 1_000, written_by, buckets)
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        for buckets in [vec![], vec![bucket(1, b""), bucket(2, &[0xFF; PARAMETERS_BYTES_MAX])]] {
            let header = header("sluicegate 1.2.3", buckets).expect("a header");
            let (bytes, sum) = header.encode();
            assert_eq!(bytes.len(), encoded_bytes(header.buckets().len()));
            let (content, last) = bytes.split_at(bytes.len() - SUM_BYTES);
            assert_eq!(last, sum.to_le_bytes());
            assert_eq!(Header::decode(content), Some(header));
        }
    }

    #[test]
    fn what_a_file_cannot_say_is_refused_before_it_is_written() {
        let many = |count: u16| (0..count).map(|number| bucket(number, b"")).collect();
        assert!(header("", many(4095)).is_ok());
        assert_eq!(
            header("", many(4096)),
            Err(HeaderError::TooManyBuckets { buckets: 4096 })
        );
        let twice = vec![bucket(1, b"a"), bucket(2, b""), bucket(1, b"b")];
        assert_eq!(header("", twice), Err(HeaderError::SameBucketTwice));
        for text in ["x\u{1b}[31m", "é", "\n", &"x".repeat(32)] {
            assert_eq!(header(text, vec![]), Err(HeaderError::WrittenBy), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_mean_nothing_must_be_zero() {
        let (bytes, _) = header("a", vec![bucket(1, b"p")]).expect("a header").encode();
        let content = &bytes[..bytes.len() - SUM_BYTES];
        for at in [
            43,
            71,
            HEADER_BYTES + 18,
            HEADER_BYTES + 23,
            HEADER_BYTES + 25,
            HEADER_BYTES + 87,
        ] {
            let mut changed = content.to_vec();
            changed[at] = 1;
            assert_eq!(Header::decode(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_wall_clock_that_went_back_counts_as_no_time() {
        let header = header("", vec![]).expect("a header");
        assert_eq!(header.age_ns(1_500), 500);
        assert_eq!(header.age_ns(1_000), 0);
        assert_eq!(header.age_ns(0), 0);
        assert_eq!(header.age_ns(u64::MAX), u64::MAX - 1_000);
    }
}

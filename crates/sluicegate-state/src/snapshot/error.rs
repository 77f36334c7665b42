//! Why a file is not used.

use std::io;

use super::layout::VERSION;

/// Why a file is not used. What is wrong with it is told by place and kind; no content is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It does not begin as a snapshot does.
    #[error("the file is not a snapshot")]
    NotOurs,
    /// It is not a regular file: a link, a directory, a pipe.
    #[error("the snapshot is not a regular file")]
    NotRegular,
    /// Others than its owner may write it.
    #[error("the snapshot may be written by others than its owner")]
    Exposed,
    /// It has another version of the format, older or newer.
    #[error("the snapshot has version {found} of the format, and this program reads version {VERSION}")]
    Version {
        /// Which one.
        found: u32,
    },
    /// Its keys were hashed under another secret, so that none of them would be found.
    #[error("the snapshot was written under another secret")]
    OtherSecret,
    /// It is larger than the caller wants to read.
    #[error("the snapshot has {bytes} bytes, and at most {bytes_max} are read")]
    TooLarge {
        /// How large.
        bytes: u64,
        /// The caller's bound.
        bytes_max: u64,
    },
    /// It is not what was written.
    #[error("the snapshot is damaged at byte {at}: {damage}")]
    Damaged {
        /// Where the part that is damaged begins, in bytes.
        at: u64,
        /// How it shows.
        damage: Damage,
    },
    /// It cannot be read.
    #[error("the snapshot cannot be read")]
    Io(#[from] io::Error),
}

/// How damage shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends before its end was reached.
    #[error("the file ends too early")]
    CutShort,
    /// A checksum is another.
    #[error("the checksum does not fit")]
    Checksum,
    /// The header is sound by its checksum and makes no sense.
    #[error("the header makes no sense")]
    Header,
    /// A length or count beyond its bound, or not of whole records.
    #[error("a length makes no sense")]
    Length,
    /// A chunk of no kind that this version knows.
    #[error("a chunk of an unknown kind")]
    Kind,
    /// A record of a bucket that the header does not list, or lists with another storage.
    #[error("a record of a bucket that the header does not list")]
    Bucket,
    /// The end counts other records or bytes than there are.
    #[error("the end does not fit what is before it")]
    End,
    /// Something follows the end.
    #[error("something follows the end")]
    Trailing,
}

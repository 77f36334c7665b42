//! Why a body cannot be read.

use http::StatusCode;

use super::DEPTH_MAX;
use super::value::Value;

/// Why a request's body gives no values. A door answers with [`status`](Self::status): never a way around a rule.
///
/// `Display` is fit for the client: it says what to change and repeats nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFault {
    /// The body breaks the grammar of its type.
    #[error("the body is not well-formed from byte {at} on")]
    Malformed {
        /// Bytes before the first one that cannot stand there.
        at: u64,
    },
    /// The body ends before it is whole.
    #[error("the body ends before it is whole")]
    CutOff,
    /// A member that is asked for, or one on the way to it, stands in the body more than once: two readers could see two
    /// different values.
    #[error("a member that decides about this request stands in the body more than once")]
    Duplicate,
    /// The body is of a type, charset or encoding that is not read.
    #[error("the body must be JSON or a form, in UTF-8 and without a content encoding")]
    Unsupported,
    /// The body is longer than its reader was told to read.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLarge {
        /// The most that is read.
        bytes_max: u64,
    },
    /// The body is nested deeper than [`DEPTH_MAX`].
    #[error("the body is nested deeper than {} levels", DEPTH_MAX)]
    TooDeep,
    /// A value that is asked for is longer than [`Value::BYTES_MAX`].
    #[error("a member that decides about this request is longer than {} bytes", Value::BYTES_MAX)]
    TooLong,
}

impl ReadFault {
    /// What a door answers: 400, 413 or 415.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed { .. } | Self::CutOff | Self::Duplicate | Self::TooDeep | Self::TooLong => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

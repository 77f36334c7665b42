//! How paths are read.

/// Which spellings of a path are one path, in [`crate::path::canonical`].
///
/// Letters and digits that are written as escapes, dot segments and the case of escapes never make another path; this is what
/// servers differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// Whether slashes in a row are one; true unless said.
    pub merge_slashes: bool,
    /// What becomes of a slash at the end; stripped unless said.
    pub trailing_slash: Spelling,
    /// What becomes of `;name=value` behind a segment; stripped unless said.
    pub matrix_params: Spelling,
    /// What becomes of a slash or backslash that is written as an escape; refused unless said.
    pub encoded_slash: EncodedSlash,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            merge_slashes: true,
            trailing_slash: Spelling::Strip,
            matrix_params: Spelling::Strip,
            encoded_slash: EncodedSlash::Refuse,
        }
    }
}

/// What becomes of a part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// It goes: paths with and without it are one, and the upstream sees the one without.
    Strip,
    /// It stays: paths with and without it are two.
    Keep,
}

/// What becomes of `%2F` and `%5C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlash {
    /// The request is refused: some servers take it for a slash and some for a character of a name.
    Refuse,
    /// It stays as it is, a character of its segment.
    Keep,
}

//! Which member of a body is meant: a JSON pointer, as a policy writes it.
//!
//! Source: RFC 6901, section 3, without the empty pointer, which means the whole document and so never a scalar of an
//! object.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// A place in a body: `/max_tokens`, `/usage/total_tokens`, `/messages/0/role`.
///
/// In JSON a token names an object's member or, where it is a whole number without leading zeros, an array's element from
/// 0. `~1` stands for `/` and `~0` for `~` (RFC 6901, section 3). In a form the pointer has one token, the field's name.
/// Its `Display` form is the text that was parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    text: Box<str>,
    tokens: Box<[Token]>,
}

impl Pointer {
    /// The longest text, in bytes: no member that anyone limits by stands behind a longer one, and a scanner compares
    /// names of a client with it.
    pub const BYTES_MAX: usize = 256;

    /// Most tokens, which is how deep a value may stand. A scanner keeps a few words for each.
    pub const DEPTH_MAX: usize = 16;

    /// Reads a pointer, `/` in front.
    ///
    /// # Errors
    ///
    /// The fault, the bytes of `text` at fault, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ParsePointerError> {
        let error = |fault, span: Range<usize>| ParsePointerError {
            fault,
            found: text.get(span.clone()).unwrap_or_default().to_owned(),
            span,
        };
        if text.is_empty() {
            return Err(error(PointerFault::Empty, 0..0));
        }
        if text.len() > Self::BYTES_MAX {
            return Err(ParsePointerError {
                found: String::new(),
                ..error(PointerFault::TooLong, 0..text.len())
            });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(error(PointerFault::NoSlash, 0..text.len()));
        };
        let mut tokens = Vec::new();
        let mut start = 1;
        for part in rest.split('/') {
            if tokens.len() == Self::DEPTH_MAX {
                return Err(error(PointerFault::TooDeep, start - 1..text.len()));
            }
            let token = Token::parse(part).map_err(|at| {
                let length = part[at + 1..].chars().next().map_or(0, char::len_utf8);
                error(PointerFault::Escape, start + at..start + at + 1 + length)
            })?;
            tokens.push(token);
            start += part.len() + 1;
        }
        Ok(Self {
            text: text.into(),
            tokens: tokens.into(),
        })
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// At least one.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

impl FromStr for Pointer {
    type Err = ParsePointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One step down: a member's name, and the element's index if it could be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Token {
    name: Box<[u8]>,
    index: Option<u64>,
}

impl Token {
    /// Where a `~` is not an escape, its place is the error.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut name = Vec::with_capacity(text.len());
        let mut bytes = text.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            let byte = match byte {
                b'~' => match bytes.next() {
                    Some((_, b'0')) => b'~',
                    Some((_, b'1')) => b'/',
                    _ => return Err(at),
                },
                byte => byte,
            };
            name.push(byte);
        }
        Ok(Self {
            name: name.into(),
            index: index(text),
        })
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) const fn index(&self) -> Option<u64> {
        self.index
    }
}

/// RFC 6901, section 4: `array-index = %x30 / ( %x31-39 *(%x30-39) )`. One beyond `u64` is no element of anything.
fn index(text: &str) -> Option<u64> {
    let is_index = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_index.then(|| text.parse().ok()).flatten()
}

/// The pointers that one body is read for, in an order that their values keep. Cheap to clone: made once, at load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers(Arc<[Pointer]>);

impl Pointers {
    /// Most pointers that one body is read for: one bit each in a scanner's masks, and a kibibyte each for a value.
    pub const MAX: usize = 8;

    /// Takes pointers; the same one may stand among them more than once.
    ///
    /// # Errors
    ///
    /// If there are more than [`MAX`](Self::MAX).
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Result<Self, TooManyPointers> {
        let pointers: Arc<[Pointer]> = pointers.into_iter().collect();
        if pointers.len() > Self::MAX {
            return Err(TooManyPointers { found: pointers.len() });
        }
        Ok(Self(pointers))
    }

    /// The pointers in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Pointer> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The token at `level`, from 0, of the pointer at `place`. Both must be there.
    pub(super) fn token(&self, place: usize, level: usize) -> &Token {
        &self.0[place].tokens[level]
    }

    /// Whether nothing is looked for: a body is then only checked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'p> IntoIterator for &'p Pointers {
    type Item = &'p Pointer;
    type IntoIter = std::slice::Iter<'p, Pointer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// More pointers than one body is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} members of one body are asked for; at most {} can be", Pointers::MAX)]
pub struct TooManyPointers {
    /// How many there were.
    pub found: usize,
}

/// Why a text is not a pointer: the fault, the part of the text it is about, and where that part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePointerError {
    fault: PointerFault,
    found: String,
    span: Range<usize>,
}

impl ParsePointerError {
    /// What is wrong.
    pub const fn fault(&self) -> PointerFault {
        self.fault
    }

    /// What to write instead.
    pub const fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }

    /// Which bytes of the text are at fault; empty where something is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for ParsePointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            write!(f, "{}", self.fault)
        } else {
            write!(f, "{:?}: {}", self.found, self.fault)
        }
    }
}

impl std::error::Error for ParsePointerError {}

/// What can be wrong with a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointerFault {
    /// There is no text.
    #[error("a pointer is missing")]
    Empty,
    /// It does not begin with `/`.
    #[error("a pointer begins with a slash")]
    NoSlash,
    /// Neither `0` nor `1` follows a `~`.
    #[error("not an escape")]
    Escape,
    /// It is longer than [`Pointer::BYTES_MAX`].
    #[error("the pointer is longer than {} bytes", Pointer::BYTES_MAX)]
    TooLong,
    /// It has more tokens than [`Pointer::DEPTH_MAX`].
    #[error("the pointer goes deeper than {} levels", Pointer::DEPTH_MAX)]
    TooDeep,
}

impl PointerFault {
    /// What to write instead.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Empty | Self::NoSlash => {
                "write a slash and the member's name, as in /max_tokens or /usage/total_tokens"
            }
            Self::Escape => "write ~0 for a tilde and ~1 for a slash inside a name",
            Self::TooLong => "the longest pointer has 256 bytes; choose a member with a shorter name",
            Self::TooDeep => "the deepest pointer has 16 levels; choose a member nearer to the root",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<u64>)]) {
        let pointer = Pointer::parse(text).expect(text);
        let found: Vec<_> = pointer
            .tokens()
            .iter()
            .map(|token| (std::str::from_utf8(token.name()).expect("it was text"), token.index()))
            .collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(pointer.to_string(), text);
    }

    #[track_caller]
    fn check_fault(text: &str, fault: PointerFault, span: Range<usize>) {
        let error = Pointer::parse(text).expect_err(text);
        assert_eq!((error.fault(), error.span()), (fault, span), "{text}");
        assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
    }

    #[test]
    fn a_pointer_is_its_tokens_unescaped() {
        check("/max_tokens", &[("max_tokens", None)]);
        check("/usage/total_tokens", &[("usage", None), ("total_tokens", None)]);
        check("/a~1b/m~0n/~01", &[("a/b", None), ("m~n", None), ("~1", None)]);
        check("/", &[("", None)]);
        check("//", &[("", None), ("", None)]);
        check("/ü \"\\", &[("ü \"\\", None)]);
    }

    #[test]
    fn only_a_whole_number_without_leading_zeros_is_an_index() {
        check("/0/10", &[("0", Some(0)), ("10", Some(10))]);
        check("/01/-/-1/+1", &[("01", None), ("-", None), ("-1", None), ("+1", None)]);
        check("/1e0/٣", &[("1e0", None), ("٣", None)]);
        check("/18446744073709551615", &[("18446744073709551615", Some(u64::MAX))]);
        check("/18446744073709551616", &[("18446744073709551616", None)]);
    }

    #[test]
    fn a_fault_says_where_and_what_to_write_instead() {
        check_fault("", PointerFault::Empty, 0..0);
        check_fault("max_tokens", PointerFault::NoSlash, 0..10);
        check_fault("#/a", PointerFault::NoSlash, 0..3);
        check_fault("/a/b~2c", PointerFault::Escape, 4..6);
        check_fault("/a~", PointerFault::Escape, 2..3);
        check_fault("/~ü", PointerFault::Escape, 1..4);
        let error = Pointer::parse("/a/b~2c").expect_err("an escape that is none");
        assert_eq!(error.to_string(), "\"~2\": not an escape");
    }

    #[test]
    fn length_and_depth_have_bounds_and_reach_them() {
        let longest = format!("/{}", "a".repeat(Pointer::BYTES_MAX - 1));
        assert!(Pointer::parse(&longest).is_ok());
        check_fault(&(longest + "a"), PointerFault::TooLong, 0..Pointer::BYTES_MAX + 1);
        let deepest = "/a".repeat(Pointer::DEPTH_MAX);
        assert!(Pointer::parse(&deepest).is_ok());
        check_fault(&(deepest + "/b"), PointerFault::TooDeep, 32..34);
    }

    #[test]
    fn a_body_is_read_for_a_bounded_number_of_pointers() {
        let pointer = Pointer::parse("/a").expect("a pointer");
        let many = |count| Pointers::new(std::iter::repeat_n(pointer.clone(), count));
        assert_eq!(many(Pointers::MAX).map(|all| all.len()), Ok(Pointers::MAX));
        assert_eq!(
            many(Pointers::MAX + 1),
            Err(TooManyPointers {
                found: Pointers::MAX + 1
            })
        );
    }
}

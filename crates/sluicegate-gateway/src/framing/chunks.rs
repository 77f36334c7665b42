//! A chunked body, byte by byte where it is framing, and by leaps where it is data.
//!
//! Source: RFC 9112, section 7.1. Stricter than that in what it allows a sender, as servers differ on it: no blanks around a size, no
//! control characters in extensions, no folded trailer lines.

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// What is left of the current chunk.
    left: u64,
    /// Digits, bytes of extensions or of trailers, by place.
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    /// Behind the CR of a size line.
    SizeEnd,
    Data,
    /// Behind the last byte of a chunk.
    DataOver,
    /// Behind the CR that follows it.
    DataEnd,
    /// At the beginning of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    /// Behind the CR of a trailer line.
    TrailerEnd,
    /// Behind the CR of the empty line.
    LastEnd,
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More is to come.
    Within,
    /// Its last byte was among them.
    Over,
    /// It is none; the bytes before the one that says so are.
    Broken,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Size,
            left: 0,
            count: 0,
        }
    }

    /// Takes bytes as far as they are the body's; says how many those are, and what follows.
    pub(super) fn handle(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.place == Place::Data {
                let here = bytes.len() - at;
                let here = usize::try_from(self.left).map_or(here, |left| left.min(here));
                self.left -= here as u64;
                at += here;
                if self.left == 0 {
                    self.place = Place::DataOver;
                }
                continue;
            }
            let Some(next) = self.next(byte) else {
                return (at, Step::Broken);
            };
            at += 1;
            if self.place == Place::LastEnd && next == Place::Size {
                return (at, Step::Over);
            }
            self.place = next;
        }
        (at, Step::Within)
    }

    /// What stands behind `byte`; `None` if it cannot stand here.
    fn next(&mut self, byte: u8) -> Option<Place> {
        Some(match (self.place, byte) {
            (Place::Size, b'\r') if self.count > 0 => Place::SizeEnd,
            (Place::Size, b';') if self.count > 0 => {
                self.count = 0;
                Place::Extension
            }
            (Place::Size, _) => {
                let digit = char::from(byte).to_digit(16)?;
                self.counted(SIZE_DIGITS_MAX)?;
                self.left = self.left << 4 | u64::from(digit);
                Place::Size
            }
            (Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Extension, _) => {
                self.counted(EXTENSION_BYTES_MAX)?;
                is_text(byte).then_some(Place::Extension)?
            }
            (Place::SizeEnd, b'\n') => {
                self.count = 0;
                if self.left == 0 { Place::Trailer } else { Place::Data }
            }
            (Place::DataOver, b'\r') => Place::DataEnd,
            (Place::DataEnd | Place::LastEnd, b'\n') => Place::Size,
            (Place::Trailer, b'\r') => Place::LastEnd,
            (Place::TrailerName, b':') => {
                self.counted(TRAILER_BYTES_MAX)?;
                Place::TrailerValue
            }
            (Place::Trailer | Place::TrailerName, _) => {
                self.counted(TRAILER_BYTES_MAX)?;
                is_token(byte).then_some(Place::TrailerName)?
            }
            (Place::TrailerValue, b'\r') => Place::TrailerEnd,
            (Place::TrailerValue, _) => {
                self.counted(TRAILER_BYTES_MAX)?;
                is_text(byte).then_some(Place::TrailerValue)?
            }
            (Place::TrailerEnd, b'\n') => Place::Trailer,
            _ => return None,
        })
    }

    fn counted(&mut self, most: u32) -> Option<()> {
        self.count += 1;
        (self.count <= most).then_some(())
    }
}

/// What a size of 64 bits takes; more could only be zeros in front, by which readers have been made to overflow.
const SIZE_DIGITS_MAX: u32 = 16;

/// Bytes of one chunk's extensions. Nobody uses them but to hide something.
const EXTENSION_BYTES_MAX: u32 = 256;

/// Bytes of all trailer lines. They are dropped here; a few hundred are what gRPC and checksums take.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// What may stand in a field's value.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// What may stand in a field's name (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

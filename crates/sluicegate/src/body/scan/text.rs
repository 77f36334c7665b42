//! The inside of a string: where it ends, what its escapes mean, and whether it is UTF-8.

use std::str;

/// How many bytes `bytes` begins with that stand for themselves in a JSON string, up to a quote, a backslash or a control
/// character (RFC 8259, section 7), and whether all of them are ASCII.
///
/// Eight bytes at a time: on long strings this is where the time goes.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> (usize, IsAscii) {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut high = 0;
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Each term has the top bit set of the first byte that it looks for. Above that byte a borrow may set others, which
        // is why only the lowest one counts. (S. E. Anderson, "Bit Twiddling Hacks", hasless and haszero.)
        let stops = (has_zero(word ^ (ONES * QUOTE)) | has_zero(word ^ (ONES * BACKSLASH)) | has_control(word)) & TOPS;
        if stops != 0 {
            let bit = stops.trailing_zeros();
            // The bits below the byte that stops.
            high |= word & !(u64::MAX << (bit - 7));
            return (number * 8 + bit as usize / 8, IsAscii(high & TOPS == 0));
        }
        high |= word;
    }
    let mut length = words.len() * 8;
    for byte in rest {
        if matches!(byte, b'"' | b'\\' | ..0x20) {
            break;
        }
        high |= u64::from(*byte);
        length += 1;
    }
    (length, IsAscii(high & TOPS == 0))
}

/// Whether a run of bytes is ASCII, and so needs no further look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IsAscii(pub(super) bool);

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

const QUOTE: u64 = b'"' as u64;
const BACKSLASH: u64 = b'\\' as u64;

const fn has_zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

const fn has_control(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word
}

/// Checks UTF-8 that arrives in pieces.
///
/// Source: RFC 3629, section 4.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8 {
    /// How many bytes the character still lacks.
    left: u8,
    /// What the next of them must not be below and above: this keeps out overlong forms, surrogates and what lies beyond
    /// U+10FFFF.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Whether a character has begun and is not whole.
    pub(super) const fn is_open(self) -> bool {
        self.left > 0
    }

    /// Checks some more bytes; where one cannot stand, its place is the error.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while self.is_open() && at < bytes.len() {
            self.step(bytes[at]).ok_or(at)?;
            at += 1;
        }
        // The library's check is by far the faster one, and says nothing about where a piece is cut.
        if let Err(error) = str::from_utf8(&bytes[at..]) {
            for (at, byte) in bytes.iter().enumerate().skip(at + error.valid_up_to()) {
                self.step(*byte).ok_or(at)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Option<()> {
        let (left, low, high) = match (self.left, byte) {
            (0, ..0x80) => (0, 0, 0),
            (0, 0xc2..=0xdf) => (1, 0x80, 0xbf),
            (0, 0xe0) => (2, 0xa0, 0xbf),
            (0, 0xed) => (2, 0x80, 0x9f),
            (0, 0xe1..=0xef) => (2, 0x80, 0xbf),
            (0, 0xf0) => (3, 0x90, 0xbf),
            (0, 0xf1..=0xf3) => (3, 0x80, 0xbf),
            (0, 0xf4) => (3, 0x80, 0x8f),
            (0, _) => return None,
            (left, byte) if (self.low..=self.high).contains(&byte) => (left - 1, 0x80, 0xbf),
            _ => return None,
        };
        *self = Self { left, low, high };
        Some(())
    }
}

/// How far an escape has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// After the backslash.
    Begun,
    /// After `\u` and so many digits. `high` is the first half of a pair whose second half this must be.
    Hex { high: Option<u16>, unit: u16, digits: u8 },
    /// After the first half of a surrogate pair: a backslash must follow,
    High(u16),
    /// and then a `u`.
    HighBegun(u16),
}

/// What one byte more makes of an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaped {
    More(Escape),
    Whole(char),
}

impl Escape {
    /// The escape with one byte more; `None` if the byte cannot stand there.
    ///
    /// Source: RFC 8259, section 7. Half of a surrogate pair alone, which section 8.2 calls unpredictable, is refused: it is
    /// no character, and no UTF-8 could carry it on.
    pub(super) fn step(self, byte: u8) -> Option<Escaped> {
        let hex = |high| {
            Escaped::More(Self::Hex {
                high,
                unit: 0,
                digits: 0,
            })
        };
        Some(match (self, byte) {
            (Self::Begun, b'"' | b'\\' | b'/') => Escaped::Whole(char::from(byte)),
            (Self::Begun, b'b') => Escaped::Whole('\u{8}'),
            (Self::Begun, b'f') => Escaped::Whole('\u{c}'),
            (Self::Begun, b'n') => Escaped::Whole('\n'),
            (Self::Begun, b'r') => Escaped::Whole('\r'),
            (Self::Begun, b't') => Escaped::Whole('\t'),
            (Self::Begun, b'u') => hex(None),
            (Self::High(high), b'\\') => Escaped::More(Self::HighBegun(high)),
            (Self::HighBegun(high), b'u') => hex(Some(high)),
            (Self::Hex { high, unit, digits }, _) => {
                let digit = u16::try_from(char::from(byte).to_digit(16)?).ok()?;
                let unit = unit << 4 | digit;
                match (high, digits) {
                    (_, ..3) => Escaped::More(Self::Hex {
                        high,
                        unit,
                        digits: digits + 1,
                    }),
                    (None, _) if (0xd800..0xdc00).contains(&unit) => Escaped::More(Self::High(unit)),
                    (None, _) => Escaped::Whole(char::from_u32(unit.into())?),
                    (Some(high), _) => Escaped::Whole(char::decode_utf16([high, unit]).next()?.ok()?),
                }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_byte_that_does_not_stand_for_itself() {
        for length in 0..40 {
            for stop in 0..=255_u8 {
                let mut bytes = vec![b'a'; length];
                bytes.push(stop);
                bytes.extend_from_slice(b"bcdefghij\"\x00");
                let is_stop = matches!(stop, b'"' | b'\\' | ..0x20);
                let expected = if is_stop { length } else { length + 10 };
                let is_ascii = is_stop || stop.is_ascii();
                assert_eq!(plain_run(&bytes), (expected, IsAscii(is_ascii)), "{length} {stop:#x}");
            }
        }
    }

    #[test]
    fn what_follows_a_run_says_nothing_about_it() {
        // The bytes behind the quote are in the same word.
        assert_eq!(plain_run(b"ab\"\xff\xff\xff\xff\xff"), (2, IsAscii(true)));
        assert_eq!(plain_run(b"\xffb\"\x00aaaa"), (2, IsAscii(false)));
        assert_eq!(plain_run(b""), (0, IsAscii(true)));
    }

    /// Every sequence of up to four bytes that begins a character anywhere near the edges of the table.
    #[test]
    fn utf8_in_pieces_is_judged_as_the_library_judges_it_whole() {
        let edges = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
            0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        let mut bytes = [0; 4];
        for number in 0..edges.len().pow(4) {
            let mut left = number;
            for byte in &mut bytes {
                *byte = edges[left % edges.len()];
                left /= edges.len();
            }
            let expected = str::from_utf8(&bytes).is_ok();
            for cut in 0..=bytes.len() {
                let mut utf8 = Utf8::default();
                let (first, second) = bytes.split_at(cut);
                let is_right = utf8.check(first).is_ok() && utf8.check(second).is_ok() && !utf8.is_open();
                assert_eq!(is_right, expected, "{bytes:x?} cut at {cut}");
            }
        }
    }

    #[track_caller]
    fn check(escape: &str, expected: Option<char>) {
        let mut state = Escape::Begun;
        let mut bytes = escape.bytes();
        let found = loop {
            match bytes.next().and_then(|byte| state.step(byte)) {
                Some(Escaped::More(more)) => state = more,
                Some(Escaped::Whole(letter)) => break Some(letter),
                None => break None,
            }
        };
        assert_eq!((found, bytes.next()), (expected, None), "{escape}");
    }

    #[test]
    fn escapes_mean_what_the_grammar_says_and_half_a_pair_means_nothing() {
        for (escape, letter) in [
            ("\"", '"'),
            ("\\", '\\'),
            ("/", '/'),
            ("n", '\n'),
            ("t", '\t'),
            ("r", '\r'),
        ] {
            check(escape, Some(letter));
        }
        check("b", Some('\u{8}'));
        check("f", Some('\u{c}'));
        check("u0000", Some('\0'));
        check("u00e9", Some('é'));
        check("uFFff", Some('\u{ffff}'));
        check("ud83d\\uDE00", Some('😀'));
        check("uDBFF\\uDFFF", Some(char::MAX));
        for escape in [
            "a",
            "U",
            "'",
            "ug",
            "u00g",
            "udc00",
            "uDFFF",
            "ud800x",
            "ud800\\n",
            "ud800\\u0041",
            "ud800\\ud800",
        ] {
            check(escape, None);
        }
    }
}

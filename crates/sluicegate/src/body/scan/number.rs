//! The grammar of a number.
//!
//! Source: RFC 8259, section 6: `number = [ minus ] int [ frac ] [ exp ]`.

/// What of a number has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    /// A zero in front: no further digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    Mark,
    Sign,
    Exponent,
}

impl Number {
    /// The number that this byte begins.
    pub(super) const fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// The number with one byte more; `None` if the byte is no part of it.
    #[inline]
    pub(super) const fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, _) => Self::begin_integer(byte),
            (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Mark),
            (Self::Mark, b'+' | b'-') => Some(Self::Sign),
            (Self::Mark | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    /// Whether a number may end here.
    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Exponent)
    }

    const fn begin_integer(byte: u8) -> Option<Self> {
        match byte {
            b'-' => None,
            byte => Self::begin(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the whole text is one number.
    fn is_number(text: &str) -> bool {
        let mut bytes = text.bytes();
        let Some(begun) = bytes.next().and_then(Number::begin) else {
            return false;
        };
        bytes.try_fold(begun, Number::step).is_some_and(Number::is_whole)
    }

    #[test]
    fn numbers_are_those_of_the_grammar_and_no_others() {
        for text in ["0", "-0", "7", "-10", "0.5", "10.05", "1e3", "1E+03", "0e-0", "-1.5e10"] {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "", "-", "+1", "01", "-01", "00", "--1", ".5", "1.", "1.e3", "1e", "1e+", "1e1.5", "0x10", "1_0", "NaN",
            "٣",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }
}

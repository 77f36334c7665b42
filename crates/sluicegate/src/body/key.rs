//! What a value is counted under.

use std::fmt;

use arrayvec::ArrayString;

use super::value::{Value, ValueFault};

/// The text that a value is counted under; `None` for `null`, which is an absent key.
///
/// Numbers and strings of one text are one key: an upstream that takes `"7"` for `7` must not give its clients two cells.
/// For the same reason a number must be a whole one, written without fraction and exponent, and not `-0`: there is no end
/// to the ways of writing 7.
///
/// # Errors
///
/// [`ValueFault::Container`] or [`ValueFault::NotWhole`].
pub fn key_of(value: Value<'_>) -> Result<Option<&str>, ValueFault> {
    match value {
        Value::Number("-0") => Err(ValueFault::NotWhole),
        Value::Number(text) if text.contains(['.', 'e', 'E']) => Err(ValueFault::NotWhole),
        Value::String(text) | Value::Field(text) | Value::Number(text) => Ok(Some(text)),
        Value::Bool(true) => Ok(Some("true")),
        Value::Bool(false) => Ok(Some("false")),
        Value::Null => Ok(None),
        Value::Container => Err(ValueFault::Container),
    }
}

/// What is made alike before a text becomes a key, because the upstream makes it alike too.
///
/// Neither touches how a letter is composed: `é` as one character and as two are two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Normal {
    /// Takes white space (Unicode's White_Space) off both ends.
    pub trim: bool,
    /// Turns each character into its lowercase (Unicode's Lowercase_Mapping, without the conditions on neighbours).
    pub lowercase: bool,
}

impl Normal {
    /// The text made alike, in `text` itself or in `buffer`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if the buffer cannot hold it, which no [`Value`] brings about.
    pub fn apply<'t>(self, text: &'t str, buffer: &'t mut KeyBuffer) -> Result<&'t str, TooLong> {
        let text = if self.trim { text.trim() } else { text };
        if !self.lowercase {
            return Ok(text);
        }
        buffer.0.clear();
        for letter in text.chars().flat_map(char::to_lowercase) {
            buffer.0.try_push(letter).map_err(|_| TooLong)?;
        }
        Ok(&buffer.0)
    }
}

/// Room for one key in lowercase.
#[derive(Clone, Default)]
pub struct KeyBuffer(ArrayString<KEY_BYTES_MAX>);

/// No character's lowercase is longer than one and a half times the character: `İ` and `Ⱥ` grow from two bytes to three. A
/// test asks all of them.
const KEY_BYTES_MAX: usize = Value::BYTES_MAX / 2 * 3;

impl fmt::Debug for KeyBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBuffer({} bytes)", self.0.len())
    }
}

/// The text is longer than a key can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is longer than a key can be")]
pub struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_one_key_and_a_number_has_only_one_way_to_be_written() {
        assert_eq!(key_of(Value::String("7")), Ok(Some("7")));
        assert_eq!(key_of(Value::Field("7")), Ok(Some("7")));
        assert_eq!(key_of(Value::Number("7")), Ok(Some("7")));
        assert_eq!(key_of(Value::Number("-7")), Ok(Some("-7")));
        for text in ["7.0", "7e0", "70E-1", "-0", "-0.0"] {
            assert_eq!(key_of(Value::Number(text)), Err(ValueFault::NotWhole), "{text}");
        }
        assert_eq!(key_of(Value::String("7.0")), Ok(Some("7.0")));
        assert_eq!(key_of(Value::Bool(true)), Ok(Some("true")));
        assert_eq!(key_of(Value::Bool(false)), Ok(Some("false")));
        assert_eq!(key_of(Value::Null), Ok(None));
        assert_eq!(key_of(Value::Container), Err(ValueFault::Container));
    }

    #[track_caller]
    fn check_normal(trim: bool, lowercase: bool, text: &str, expected: &str) {
        let mut buffer = KeyBuffer::default();
        assert_eq!(Normal { trim, lowercase }.apply(text, &mut buffer), Ok(expected));
    }

    #[test]
    fn a_key_is_trimmed_and_lowered_only_where_the_policy_says_so() {
        let text = "\u{a0}\t Jörg.ΣΑΣ@Example.COM \n\u{3000}";
        check_normal(false, false, text, text);
        check_normal(true, false, text, "Jörg.ΣΑΣ@Example.COM");
        check_normal(true, true, text, "jörg.σασ@example.com");
        check_normal(false, true, " A ", " a ");
        check_normal(true, true, " \t", "");
    }

    #[test]
    fn the_longest_value_fits_its_key_whatever_its_letters() {
        for letter in '\0'..=char::MAX {
            let lower: usize = letter.to_lowercase().map(char::len_utf8).sum();
            assert!(lower * 2 <= letter.len_utf8() * 3, "{letter:?}");
        }
        let normal = Normal {
            trim: false,
            lowercase: true,
        };
        let mut buffer = KeyBuffer::default();
        let longest = "İ".repeat(Value::BYTES_MAX / 2);
        let lowered = normal.apply(&longest, &mut buffer).expect("it fits");
        assert_eq!(lowered.len(), KEY_BYTES_MAX);
        assert_eq!(normal.apply(&(longest + "a"), &mut buffer), Err(TooLong));
    }
}

//! The elements of a comma-separated field, last first.

/// One element of the list, without the blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element<'l> {
    /// At least one byte.
    Whole(&'l [u8]),
    /// It begins beyond the bytes that are looked at.
    Cut,
}

/// Walks one field line from its end.
///
/// What stands on the right was written last, by those who are trusted most; a client's garbage on the left, an open
/// quote among it, must not change how the right is read. On a well-formed line this finds the elements that a walk
/// from the left finds: outside of quoted strings there are neither quotes nor backslashes (RFC 9110, section 5.6.4).
pub(super) struct Backwards<'l> {
    /// What is still to be walked; `None` at the line's beginning.
    rest: Option<&'l [u8]>,
    /// Bytes at the line's beginning that are out of bounds, so that the element reaching into them is not whole.
    is_cut: bool,
}

impl<'l> Backwards<'l> {
    /// Looks at no more than the last `bytes_max` bytes of `line`.
    pub(super) fn new(line: &'l [u8], bytes_max: usize) -> Self {
        let outside = line.len().saturating_sub(bytes_max);
        Self {
            rest: line.get(outside..),
            is_cut: outside > 0,
        }
    }

    /// The next element to the left; empty ones are passed over (RFC 9110, section 5.6.1.2). `None` ends the line.
    pub(super) fn next_element(&mut self) -> Option<Element<'l>> {
        loop {
            let rest = self.rest?;
            let Some(comma) = last_comma(rest) else {
                self.rest = None;
                let element = trim(rest);
                return match element {
                    _ if self.is_cut => Some(Element::Cut),
                    [] => None,
                    element => Some(Element::Whole(element)),
                };
            };
            self.rest = rest.get(..comma);
            let element = trim(rest.get(comma + 1..).unwrap_or_default());
            if !element.is_empty() {
                return Some(Element::Whole(element));
            }
        }
    }
}

/// Where the last comma stands that is not inside a quoted string.
fn last_comma(text: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' if is_quoted => is_quoted = is_escaped(text, at),
            b'"' => is_quoted = true,
            b',' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether an odd number of backslashes stands before the quote at `at`.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Without blanks and tabs at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

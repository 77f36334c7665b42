//! One element of the `Forwarded` header.
//!
//! Source: RFC 7239, section 4: `forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )`,
//! `forwarded-pair = token "=" value`, `value = token / quoted-string`.

use std::net::IpAddr;

use super::list::trim;
use super::node;

/// The address that an element's `for` gives; `None` where the element breaks the grammar anywhere, names a parameter
/// twice, has no `for`, or one that is no address.
pub(super) fn address(element: &[u8]) -> Option<IpAddr> {
    let mut rest = element;
    let mut names: [&[u8]; PAIRS_MAX] = [&[]; PAIRS_MAX];
    let mut names_seen = 0;
    let mut found = None;
    loop {
        rest = trim(rest);
        if let Some(after) = rest.strip_prefix(b";") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return found;
        }
        let (name, after) = split_token(rest)?;
        let (value, after) = Value::split(after.strip_prefix(b"=")?)?;
        let is_new = names
            .iter()
            .take(names_seen)
            .all(|seen| !seen.eq_ignore_ascii_case(name));
        // Section 4: each parameter must not occur more than once per element.
        is_new.then_some(())?;
        *names.get_mut(names_seen)? = name;
        names_seen += 1;
        if name.eq_ignore_ascii_case(b"for") {
            found = Some(value.address()?);
        }
        rest = trim(after);
        if !rest.is_empty() && !rest.starts_with(b";") {
            return None;
        }
    }
}

/// Parameters in one element; four are registered (RFC 7239, section 5), and proxies add one or two of their own.
const PAIRS_MAX: usize = 16;

/// A parameter's value as it stands in the field.
enum Value<'e> {
    Token(&'e [u8]),
    /// Without the quotes, escapes still in it.
    Quoted(&'e [u8]),
}

impl<'e> Value<'e> {
    /// The value that `text` begins with, and what follows it.
    fn split(text: &'e [u8]) -> Option<(Self, &'e [u8])> {
        let Some(inner) = text.strip_prefix(b"\"") else {
            let (token, after) = split_token(text)?;
            return Some((Self::Token(token), after));
        };
        let mut at = 0;
        loop {
            match inner.get(at)? {
                b'"' => return Some((Self::Quoted(inner.get(..at)?), inner.get(at + 1..)?)),
                b'\\' => at += 1,
                _ => {}
            }
            at += 1;
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            // A colon or a bracket is no part of a token, so that this can only be IPv4 without a port.
            Self::Token(token) => node::bracketed_or_v4(token),
            Self::Quoted(text) => {
                let mut buffer = [0; NODE_BYTES_MAX];
                node::bracketed_or_v4(unescape(text, &mut buffer)?)
            }
        }
    }
}

/// Bytes of a node that may be an address: 41 for one in brackets and 64 for a port with a name are plenty.
const NODE_BYTES_MAX: usize = 128;

/// The text that a quoted string stands for (RFC 9110, section 5.6.4); `None` if it is longer than any address.
fn unescape<'b>(quoted: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut bytes = quoted.iter();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next()? } else { byte };
        *buffer.get_mut(length)? = *byte;
        length += 1;
    }
    buffer.get(..length)
}

/// The token that `text` begins with, at least one byte, and what follows it (RFC 9110, section 5.6.2).
fn split_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at_checked(end)).flatten()
}

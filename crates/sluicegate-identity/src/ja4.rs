//! A TLS client's fingerprint: what kind of program it is, not who runs it.

use core::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

use crate::hello::{ClientHello, PROTOCOLS, SERVER_NAME};

/// The fingerprint JA4 of a TLS client over TCP: `t13d1516h2_8daaf6152771_b186095e22b6`.
///
/// Programs that use the same TLS library in the same way have the same one, and whoever wants to have another's can. It
/// tells kinds of clients apart, and never proves anything.
///
/// Source: JA4, version of 2023, by FoxIO, under the BSD 3-clause licence; the other parts of JA4+ are licensed and not built here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ja4([u8; JA4_BYTES]);

impl Ja4 {
    /// The fingerprint of who sent `hello`.
    pub fn of(hello: &ClientHello) -> Self {
        let mut text = Text::default();
        // What is written fits: ten, one, twelve, one and twelve bytes.
        let _ = write!(
            text,
            "t{}{}{:02}{:02}",
            version(hello.version),
            if hello.names_server { 'd' } else { 'i' },
            hello.ciphers.len().min(COUNT_MAX),
            hello.extensions.len().min(COUNT_MAX),
        );
        for character in protocol(&hello.protocol) {
            let _ = text.write_char(character);
        }
        let mut ciphers = hello.ciphers.clone();
        ciphers.sort_unstable();
        let _ = write!(text, "_{}", Short::of(&[&ciphers]));
        let kinds = hello.extensions.iter().copied();
        let mut extensions: Vec<u16> = kinds.filter(|kind| !matches!(*kind, SERVER_NAME | PROTOCOLS)).collect();
        extensions.sort_unstable();
        let _ = write!(text, "_{}", Short::of(&[&extensions, &hello.signatures]));
        Self(text.bytes)
    }

    /// The fingerprint as it is written.
    pub fn as_str(&self) -> &str {
        // Made of what `of` and `parse` let through, which is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A fingerprint that somebody else has taken; `None` for a text that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; JA4_BYTES] = text.as_bytes().try_into().ok()?;
        let fits = bytes.iter().enumerate().all(|(place, byte)| match place {
            PREFIX_BYTES | SECOND_BREAK => *byte == b'_',
            0..PREFIX_BYTES => byte.is_ascii_alphanumeric(),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        fits.then_some(Self(bytes))
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ten characters in clear, and two hashes of twelve.
const JA4_BYTES: usize = PREFIX_BYTES + 1 + SHORT_DIGITS + 1 + SHORT_DIGITS;
const PREFIX_BYTES: usize = 10;
const SECOND_BREAK: usize = PREFIX_BYTES + 1 + SHORT_DIGITS;
const SHORT_DIGITS: usize = 12;

/// Counts have two digits.
const COUNT_MAX: usize = 99;

fn version(number: u16) -> &'static str {
    match number {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and the last character of a protocol's name; of its hexadecimal digits where either is no letter and no digit.
fn protocol(name: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0x0f)]
}

/// A hash of some lists of numbers, cut short.
struct Short([u8; SHORT_DIGITS / 2]);

impl Short {
    /// Hashes the lists' hexadecimal digits, with commas within a list and an underscore between lists. An empty list has no
    /// underscore before it, and where all are empty there is nothing to hash: zeros.
    fn of(lists: &[&[u16]]) -> Self {
        let mut hasher = Sha256::new();
        let mut is_empty = true;
        for list in lists {
            for (place, number) in list.iter().enumerate() {
                if !is_empty {
                    hasher.update(if place == 0 { b"_" } else { b"," });
                }
                hasher.update(hex(*number));
                is_empty = false;
            }
        }
        let mut short = [0; SHORT_DIGITS / 2];
        if !is_empty {
            for (byte, hashed) in short.iter_mut().zip(hasher.finalize()) {
                *byte = hashed;
            }
        }
        Self(short)
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hex(number: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(number >> shift & 0xf)])
}

/// The place that a fingerprint is written to.
struct Text {
    bytes: [u8; JA4_BYTES],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [b'0'; JA4_BYTES],
            length: 0,
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self
            .bytes
            .get_mut(self.length..self.length + text.len())
            .ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::HelloReader;
    use crate::hello::tests::{message, wire};

    /// What the specification gives for a browser of its time: the lists in clear, and the fingerprint.
    #[test]
    fn the_specifications_example_comes_out_as_it_is_given() {
        let hello = ClientHello {
            version: 0x0304,
            ciphers: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
                0x002f, 0x0035,
            ],
            extensions: vec![
                0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
                0x000b, 0x000a, 0x0015,
            ],
            signatures: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            protocol: b"h2".to_vec(),
            names_server: true,
        };
        assert_eq!(Ja4::of(&hello).as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn nothing_but_a_version_has_a_fingerprint_too() {
        let bare = ClientHello {
            version: 0x0301,
            ..ClientHello::default()
        };
        assert_eq!(Ja4::of(&bare).as_str(), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn the_order_of_ciphers_and_extensions_does_not_matter_and_that_of_signatures_does() {
        let one = |ciphers: &[u16], signatures: &[u8], swap: bool| {
            let mut extensions: Vec<(u16, &[u8])> = vec![(13, signatures), (5, &[]), (10, &[])];
            if swap {
                extensions.reverse();
            }
            let wire = wire(&message(0x0303, ciphers, &extensions), 500);
            let hello = HelloReader::default()
                .feed(&wire)
                .expect("it is TLS")
                .expect("it is whole");
            Ja4::of(&hello)
        };
        let first = one(&[0x1301, 0x1302], &[0, 4, 4, 3, 8, 4], false);
        assert_eq!(first, one(&[0x1302, 0x1301], &[0, 4, 4, 3, 8, 4], true));
        assert_ne!(first, one(&[0x1301, 0x1302], &[0, 4, 8, 4, 4, 3], false));
    }

    #[test]
    fn a_protocol_is_told_by_its_ends() {
        for (name, expected) in [
            (&b""[..], "00"),
            (b"h2", "h2"),
            (b"http/1.1", "h1"),
            (b"h", "hh"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
        ] {
            assert_eq!(String::from_iter(protocol(name)), expected, "{name:?}");
        }
    }

    #[test]
    fn counts_stop_at_two_digits() {
        let many = ClientHello {
            version: 0x0303,
            ciphers: (0..200).collect(),
            ..ClientHello::default()
        };
        assert!(Ja4::of(&many).as_str().starts_with("t12i990000_"));
    }

    #[test]
    fn what_others_say_is_taken_if_it_can_be_one() {
        let text = "t13d1516h2_8daaf6152771_e5627efa2ab1";
        assert_eq!(Ja4::parse(text).map(|ja4| ja4.to_string()).as_deref(), Some(text));
        for wrong in [
            "",
            "t13d1516h2_8daaf6152771_e5627efa2ab",
            "t13d1516h2_8daaf6152771_e5627efa2ab1x",
            "t13d1516h2-8daaf6152771_e5627efa2ab1",
            "t13d1516h2_8DAAF6152771_e5627efa2ab1",
            "t13d1516\n2_8daaf6152771_e5627efa2ab1",
            "é13d1516h2_8daaf6152771_e5627efa2ab",
        ] {
            assert_eq!(Ja4::parse(wrong), None, "{wrong}");
        }
    }
}

//! The header by which a proxy in front says whose connection it passes on, before any other byte: the PROXY protocol.
//!
//! Source: "The PROXY protocol, versions 1 & 2" of HAProxy (2020/03/05), sections 2.1 and 2.2. Stricter in what it allows a sender: one
//! blank between words, no zeros in front of a port, no datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is; `None` where that is the proxy's own, as for its health checks, or the proxy does not know.
    pub client: Option<IpAddr>,
    /// How many bytes the header takes; what follows is the connection's.
    pub length: usize,
}

/// The bytes are no header, or one that says something else than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol")]
pub struct NoHeader;

/// Reads the header at the front of `bytes`, of either version; `None` if more of it has to come.
///
/// # Errors
///
/// As soon as no bytes to come could make it one.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if bytes.is_empty() {
        Ok(None)
    } else if begins_as(bytes, TEXT) {
        read_text(bytes)
    } else if begins_as(bytes, SIGNATURE) {
        read_binary(bytes)
    } else {
        Err(NoHeader)
    }
}

/// Whether all that is here is what `beginning` asks for.
fn begins_as(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(byte, expected)| byte == expected)
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`, CR LF.
fn read_text(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let line = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let end = line.iter().position(|byte| *byte == b'\r');
    if !line[..end.unwrap_or(line.len())]
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~'))
    {
        return Err(NoHeader);
    }
    let Some(end) = end else {
        return if line.len() < TEXT_BYTES_MAX {
            Ok(None)
        } else {
            Err(NoHeader)
        };
    };
    match line.get(end + 1) {
        Some(b'\n') => {}
        None if line.len() < TEXT_BYTES_MAX => return Ok(None),
        _ => return Err(NoHeader),
    }
    let text = line
        .get(TEXT.len()..end)
        .and_then(|text| std::str::from_utf8(text).ok());
    let mut words = text.ok_or(NoHeader)?.split(' ');
    let protocol = words.next().ok_or(NoHeader)?;
    let client = match protocol {
        // What stands behind it has no meaning.
        "UNKNOWN" => None,
        "TCP4" => Some(IpAddr::V4(addresses::<Ipv4Addr>(&mut words)?)),
        "TCP6" => Some(IpAddr::V6(addresses::<Ipv6Addr>(&mut words)?)),
        _ => return Err(NoHeader),
    };
    Ok(Some(Header {
        client,
        length: end + 2,
    }))
}

/// The first of two addresses and two ports, which are all that is left.
fn addresses<'a, A: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Result<A, NoHeader> {
    let address = |word: Option<&str>| word.and_then(|word| word.parse::<A>().ok()).ok_or(NoHeader);
    let client = address(words.next())?;
    address(words.next())?;
    for _ in 0..2 {
        let port = words.next().ok_or(NoHeader)?;
        let is_plain = port == "0" || !port.starts_with(['0', '+']);
        if !is_plain || port.parse::<u16>().is_err() {
            return Err(NoHeader);
        }
    }
    words.next().map_or(Ok(client), |_| Err(NoHeader))
}

/// Version 2: a signature, version and command, family and transport, the length of the rest; then addresses, ports and extensions,
/// which are passed over.
fn read_binary(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let (fields, rest) = match bytes.get(SIGNATURE.len()..) {
        Some([command, family, high, low, rest @ ..]) => ((*command, *family, u16::from_be_bytes([*high, *low])), rest),
        // As far as it is here it has to be right.
        Some([command, ..]) if !matches!(*command, LOCAL | PROXY) => return Err(NoHeader),
        _ => return Ok(None),
    };
    let (command, family, rest_length) = fields;
    let length = BINARY_BYTES + usize::from(rest_length);
    let addresses = match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED | UNIX) => 0,
        (PROXY, TCP4) => 12,
        (PROXY, TCP6) => 36,
        _ => return Err(NoHeader),
    };
    if usize::from(rest_length) < addresses || length > HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    if rest.len() < usize::from(rest_length) {
        return Ok(None);
    }
    let client = match (addresses, rest) {
        (12, &[a, b, c, d, ..]) => Some(IpAddr::from([a, b, c, d])),
        (36, rest) => rest.first_chunk::<16>().map(|address| IpAddr::from(*address)),
        _ => None,
    };
    Ok(Some(Header { client, length }))
}

const TEXT: &[u8] = b"PROXY ";

/// The longest header of version 1, its end included (section 2.1).
const TEXT_BYTES_MAX: usize = 107;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 without addresses.
const BINARY_BYTES: usize = 16;

/// Version 2 in the upper half, the command in the lower.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// The address family in the upper half, the transport in the lower.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// The longest header that is read. Extensions of some hundred bytes are common; what tells of a client's certificate takes a kibibyte
/// or two.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the header in front of another byte; in every part of it there is more to come.
    #[track_caller]
    fn check(header: &[u8], client: Option<&str>) {
        let client = client.map(|address| address.parse().expect("a test's address is one"));
        let length = header.len();
        assert_eq!(read(&[header, b"G"].concat()), Ok(Some(Header { client, length })));
        for end in 0..length {
            assert_eq!(read(&header[..end]), Ok(None), "after {end} bytes of {header:?}");
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_header_of_the_first_version_names_the_client() {
        check(b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n", Some("203.0.113.9"));
        check(b"PROXY TCP6 2001:db8::9 2001:db8::1 0 65535\r\n", Some("2001:db8::9"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "a".repeat(TEXT_BYTES_MAX - 16));
        check(longest.as_bytes(), None);
    }

    #[test]
    fn a_header_of_the_second_version_names_the_client() {
        let v4 = [203, 0, 113, 9, 192, 0, 2, 2, 1, 2, 3, 4];
        check(&binary(PROXY, TCP4, &v4), Some("203.0.113.9"));
        check(
            &binary(PROXY, TCP4, &[&v4[..], b"\x04\x00\x03abc"].concat()),
            Some("203.0.113.9"),
        );
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 9;
        check(&binary(PROXY, TCP6, &v6), Some("2001:db8::9"));
        check(&binary(LOCAL, TCP4, &v4), None);
        check(&binary(LOCAL, UNSPECIFIED, &[]), None);
        check(&binary(PROXY, UNSPECIFIED, &[]), None);
        check(&binary(PROXY, UNIX, &[0; 216]), None);
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"P ",
            b"PROXY  TCP4 203.0.113.9 192.0.2.2 1 443\r\n",
            b"\r\n\r\nG",
            b"PROXY TCP4 203.0.113.9 192.0.2.2 4711\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443 x\r\n",
            b"PROXY TCP4 203.0.113.9  192.0.2.2 4711 443\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.2 04711 443\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.2 +1 443\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.2 65536 443\r\n",
            b"PROXY TCP4 0203.0.113.9 192.0.2.2 1 443\r\n",
            b"PROXY TCP4 ::1 ::1 1 443\r\n",
            b"PROXY TCP6 203.0.113.9 192.0.2.2 1 443\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
            b"PROXY UDP4 203.0.113.9 192.0.2.2 1 443\r\n",
            b"PROXY \r\n",
            b"PROXY UNKNOWN\n",
            b"PROXY UNKNOWN\rx",
            b"PROXY UNKNOWN\0",
            b"PROXY UNKNOWN \x11\r\n",
        ] {
            assert_eq!(read(bytes), Err(NoHeader), "{bytes:?}");
        }
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'a'; TEXT_BYTES_MAX]].concat();
        assert_eq!(read(&endless), Err(NoHeader));
        for header in [
            binary(0x11, TCP4, &[0; 12]),
            binary(0x22, TCP4, &[0; 12]),
            binary(PROXY, 0x12, &[0; 12]),
            binary(PROXY, 0x41, &[0; 12]),
            binary(PROXY, TCP4, &[0; 11]),
            binary(PROXY, TCP6, &[0; 35]),
            binary(PROXY, TCP4, &[0; HEADER_BYTES_MAX]),
        ] {
            assert_eq!(read(&header), Err(NoHeader), "{header:?}");
        }
    }
}

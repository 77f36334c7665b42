//! The header of a proxy in front: it does not matter how it is cut, and it says what it is written from.

use std::net::IpAddr;

use sluicegate_gateway::proxy::{HEADER_BYTES_MAX, NoHeader, read};

/// What headers of both versions are made of.
pub const DICTIONARY: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "203.0.113.9",
    "2001:db8::1",
    "::ffff:192.0.2.1",
    " ",
    "0",
    "65535",
    "65536",
    "\r\n",
    "\r",
    "\r\n\r\n\0\r\nQUIT\n",
    "\x20",
    "\x21",
    "\x11",
    "\x31",
    "\0\x0c",
    "\0\x24",
    "GET / HTTP/1.1\r\n",
];

/// # Panics
///
/// When a part of a header is not told from a whole one, when what is no header might have become one, when a header is longer than
/// the longest, or when it does not read as what it says.
pub fn target(data: &[u8]) {
    match read(data) {
        Ok(Some(header)) => {
            let length = header.length;
            assert!(
                (1..=HEADER_BYTES_MAX.min(data.len())).contains(&length),
                "{length} bytes"
            );
            assert_eq!(read(&data[..length]), Ok(Some(header)), "what follows it matters");
            for end in 0..length {
                assert_eq!(read(&data[..end]), Ok(None), "after {end} bytes");
            }
            if let Some(client) = header.client {
                check_again(client);
            }
        }
        Ok(None) => {
            assert!(data.len() < HEADER_BYTES_MAX, "a header without an end");
            for end in 0..data.len() {
                assert_eq!(read(&data[..end]), Ok(None), "after {end} bytes");
            }
        }
        Err(NoHeader) => {
            assert_eq!(
                read(&[data, b"\r\n"].concat()),
                Err(NoHeader),
                "what is no header has become one"
            );
        }
    }
}

/// A client's address, written anew in both versions, is the same.
fn check_again(client: IpAddr) {
    let protocol = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let text = format!("PROXY {protocol} {client} {client} 1 65535\r\n");
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match client {
        IpAddr::V4(v4) => {
            binary.extend(b"\x11\0\x0c");
            binary.extend([v4.octets(); 2].concat());
        }
        IpAddr::V6(v6) => {
            binary.extend(b"\x21\0\x24");
            binary.extend([v6.octets(); 2].concat());
        }
    }
    binary.extend([0; 4]);
    for header in [text.as_bytes(), &binary] {
        let found = read(header).ok().flatten();
        assert_eq!(
            found.map(|found| (found.client, found.length)),
            Some((Some(client), header.len()))
        );
    }
}

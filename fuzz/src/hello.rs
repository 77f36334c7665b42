//! A TLS client's first message: that it reads the same in whatever pieces it comes, and what is made of it is well formed.

use sluicegate_identity::{ClientHello, HelloReader, Ja4, NoHello};

/// What messages are made of.
pub const DICTIONARY: &[&str] = &[
    "\x16\x03\x01",
    "\x01\0\0",
    "\0\x10\0\x05\0\x03\x02h2",
    "\0\0\0\x06\0\x04\0\0\x01a",
    "\0\x2b\0\x05\x04\x03\x04\x03\x03",
    "\0\x0d\0\x04\0\x02\x04\x03",
    "\x1a\x1a\0\0",
    "\0\x02\x13\x01",
    "\x01\0",
];

/// # Panics
///
/// When two ways of cutting the bytes into pieces make two messages of them, or a fingerprint is none.
pub fn target(data: &[u8]) {
    let Some((&cut, wire)) = data.split_first() else { return };
    let whole = read(wire, wire.len().max(1));
    let pieces = read(wire, usize::from(cut) + 1);
    // Bytes behind the message are seen or not, by where the pieces end; a refusal may name either of two faults.
    assert_eq!(
        whole.as_ref().ok(),
        pieces.as_ref().ok(),
        "in pieces of {}",
        usize::from(cut) + 1
    );
    let Ok(Some(hello)) = whole else { return };
    let ja4 = Ja4::of(&hello);
    assert_eq!(Ja4::parse(ja4.as_str()), Some(ja4), "{ja4}");
    let mut turned = hello.clone();
    turned.ciphers.reverse();
    turned.extensions.reverse();
    assert_eq!(Ja4::of(&turned), ja4, "the order of ciphers and extensions counts");
}

fn read(wire: &[u8], piece: usize) -> Result<Option<ClientHello>, NoHello> {
    let mut reader = HelloReader::default();
    for bytes in wire.chunks(piece) {
        if let Some(hello) = reader.feed(bytes)? {
            return Ok(Some(hello));
        }
    }
    Ok(None)
}

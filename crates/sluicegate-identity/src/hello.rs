//! A TLS client's first message, read from the wire before anything else reads it.
//!
//! TLS libraries hand out what they need of it, and that is not all that a fingerprint is made of: the extensions and their
//! number are missing. So the bytes are looked at on their way, and reach the library unchanged.

use core::fmt;

/// What a client's first message says of the program that sent it.
///
/// GREASE values, which clients strew in so that servers learn to ignore what they do not know, are left out of all lists.
///
/// Source: RFC 8446, section 4.1.2, and RFC 8701.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The highest version offered: of the extension that lists versions, else of the message itself.
    pub version: u16,
    /// Cipher suites, in the client's order.
    pub ciphers: Vec<u16>,
    /// Extensions, in the client's order.
    pub extensions: Vec<u16>,
    /// Signature algorithms, in the client's order; empty where it names none.
    pub signatures: Vec<u16>,
    /// The first application protocol that it asks for; empty where it asks for none.
    pub protocol: Vec<u8>,
    /// Whether it names the server.
    pub names_server: bool,
}

/// Reads the records of a connection's beginning until the message is whole.
///
/// A message may be spread over any number of records, and a record over any number of packets. Feed every piece that
/// comes; the pieces themselves are for the TLS library.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// The bytes of a record's head that have come.
    head: [u8; RECORD_HEAD],
    head_bytes: usize,
    /// Bytes of the record under way that are still to come.
    record_left: usize,
    /// The handshake message so far, with its own head.
    message: Vec<u8>,
    /// All bytes of the wire so far.
    wire_bytes: usize,
}

/// Why a connection has no first message to tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHello {
    /// The bytes are not a TLS handshake.
    NotTls,
    /// The message, or what it is spread over, is longer than any client's.
    TooLong,
    /// A length in the message does not fit.
    Malformed,
}

impl fmt::Display for NoHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTls => "it does not begin as TLS does",
            Self::TooLong => "its first message is too long",
            Self::Malformed => "a length in its first message does not fit",
        })
    }
}

impl core::error::Error for NoHello {}

impl HelloReader {
    /// Takes the next bytes of the wire; the message, once it is whole. Nothing is to be fed after that.
    ///
    /// # Errors
    ///
    /// Why there will never be one.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, NoHello> {
        while !bytes.is_empty() {
            if self.record_left == 0 {
                let (byte, rest) = bytes.split_first().ok_or(NoHello::Malformed)?;
                self.head[self.head_bytes] = *byte;
                self.head_bytes += 1;
                bytes = rest;
                self.pass(1)?;
                self.read_record_head()?;
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.record_left));
            self.record_left -= piece.len();
            bytes = rest;
            self.pass(piece.len())?;
            self.message.extend_from_slice(piece);
            if let Some(body) = self.whole_message()? {
                return ClientHello::parse(body).map(Some);
            }
        }
        Ok(None)
    }

    fn pass(&mut self, count: usize) -> Result<(), NoHello> {
        self.wire_bytes = self.wire_bytes.saturating_add(count);
        if self.wire_bytes > WIRE_BYTES_MAX {
            return Err(NoHello::TooLong);
        }
        Ok(())
    }

    /// Looks at what has come of a record's head, so that what is not TLS is known by its first byte.
    fn read_record_head(&mut self) -> Result<(), NoHello> {
        let [kind, major, _, high, low] = self.head;
        if kind != HANDSHAKE || (self.head_bytes > 1 && major != 3) {
            return Err(NoHello::NotTls);
        }
        if self.head_bytes == RECORD_HEAD {
            self.record_left = usize::from(u16::from_be_bytes([high, low]));
            self.head_bytes = 0;
            if self.record_left == 0 || self.record_left > RECORD_BYTES_MAX {
                return Err(NoHello::Malformed);
            }
        }
        Ok(())
    }

    /// The message without its head, if all of it has come.
    fn whole_message(&self) -> Result<Option<&[u8]>, NoHello> {
        match self.message.first() {
            Some(&CLIENT_HELLO) | None => {}
            Some(_) => return Err(NoHello::NotTls),
        }
        let Some((head, body)) = self.message.split_first_chunk::<MESSAGE_HEAD>() else {
            return Ok(None);
        };
        let [_, high, middle, low] = *head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(NoHello::TooLong);
        }
        Ok(body.get(..length))
    }
}

/// Kind, version and length of a record.
const RECORD_HEAD: usize = 5;

/// Kind and length of a handshake message.
const MESSAGE_HEAD: usize = 4;

/// The kind of record that handshake messages come in, and the kind of message that a client begins with.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// The longest record, RFC 8446, section 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// The longest message that is read: browsers with keys of post-quantum exchanges send two thousand bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 14;

/// The most that such a message may take on the wire, with the heads of all records it is spread over.
const WIRE_BYTES_MAX: usize = 2 << 14;

impl ClientHello {
    fn parse(body: &[u8]) -> Result<Self, NoHello> {
        let mut rest = Rest(body);
        let mut hello = Self {
            version: rest.number()?,
            ..Self::default()
        };
        rest.take(RANDOM_BYTES)?;
        rest.list8()?;
        hello.ciphers = numbers(rest.list16()?)?;
        rest.list8()?;
        // The oldest clients end here.
        if rest.0.is_empty() {
            return Ok(hello);
        }
        let mut extensions = Rest(rest.list16()?);
        if !rest.0.is_empty() {
            return Err(NoHello::Malformed);
        }
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let content = extensions.list16()?;
            if !is_grease(kind) {
                hello.extensions.push(kind);
                hello.read_extension(kind, content)?;
            }
        }
        Ok(hello)
    }

    fn read_extension(&mut self, kind: u16, content: &[u8]) -> Result<(), NoHello> {
        let mut content = Rest(content);
        match kind {
            SERVER_NAME => self.names_server = true,
            PROTOCOLS => {
                let mut protocols = Rest(content.list16()?);
                protocols.list8()?.clone_into(&mut self.protocol);
            }
            SIGNATURES => self.signatures = numbers(content.list16()?)?,
            VERSIONS => {
                let versions = numbers(content.list8()?)?;
                self.version = versions.into_iter().max().unwrap_or(self.version);
            }
            _ => {}
        }
        Ok(())
    }
}

const RANDOM_BYTES: usize = 32;

/// The extensions that are looked into or counted apart, by their numbers.
pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const PROTOCOLS: u16 = 16;
const SIGNATURES: u16 = 13;
const VERSIONS: u16 = 43;

/// RFC 8701: both bytes are the same, and end in ten.
const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn numbers(list: &[u8]) -> Result<Vec<u16>, NoHello> {
    let (pairs, []) = list.as_chunks::<2>() else {
        return Err(NoHello::Malformed);
    };
    let numbers = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    Ok(numbers.filter(|number| !is_grease(*number)).collect())
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NoHello> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NoHello::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, NoHello> {
        let (pair, rest) = self.0.split_first_chunk::<2>().ok_or(NoHello::Malformed)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*pair))
    }

    /// What a length of one byte stands before.
    fn list8(&mut self) -> Result<&'a [u8], NoHello> {
        let (length, rest) = self.0.split_first().ok_or(NoHello::Malformed)?;
        self.0 = rest;
        self.take(usize::from(*length))
    }

    /// What a length of two bytes stands before.
    fn list16(&mut self) -> Result<&'a [u8], NoHello> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The wire bytes of a message, in records of at most `record` bytes.
    pub(crate) fn wire(body: &[u8], record: usize) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
        let message = [&[CLIENT_HELLO], &length[1..], body].concat();
        let records = message.chunks(record).flat_map(|piece| {
            let length = u16::try_from(piece.len()).expect("it is short").to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], piece].concat()
        });
        records.collect()
    }

    /// A message with the given lists; an extension's content comes with it.
    pub(crate) fn message(version: u16, ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let two = |number: usize| u16::try_from(number).expect("it is short").to_be_bytes();
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; RANDOM_BYTES]);
        body.push(0);
        body.extend(two(ciphers.len() * 2));
        body.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
        body.extend([1, 0]);
        let all: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &two(content.len()), content].concat())
            .collect();
        body.extend(two(all.len()));
        body.extend(all);
        body
    }

    /// Feeds all in pieces of `piece` bytes.
    fn read(wire: &[u8], piece: usize) -> Result<Option<ClientHello>, NoHello> {
        let mut reader = HelloReader::default();
        for bytes in wire.chunks(piece) {
            if let Some(hello) = reader.feed(bytes)? {
                return Ok(Some(hello));
            }
        }
        Ok(None)
    }

    fn some_message() -> Vec<u8> {
        message(
            0x0303,
            &[0x0a0a, 0x1301, 0x1302],
            &[
                (0x1a1a, &[]),
                (SERVER_NAME, b"\0\x04\0\0\x01a"),
                (PROTOCOLS, b"\0\x03\x02h2"),
                (SIGNATURES, &[0, 4, 4, 3, 8, 4]),
                (VERSIONS, &[6, 0x2a, 0x2a, 3, 4, 3, 3]),
            ],
        )
    }

    #[test]
    fn a_message_reads_the_same_however_it_is_split() {
        let whole = read(&wire(&some_message(), 1_000), 10_000)
            .expect("it is whole")
            .expect("it is whole");
        assert_eq!(
            whole,
            ClientHello {
                version: 0x0304,
                ciphers: vec![0x1301, 0x1302],
                extensions: vec![SERVER_NAME, PROTOCOLS, SIGNATURES, VERSIONS],
                signatures: vec![0x0403, 0x0804],
                protocol: b"h2".to_vec(),
                names_server: true,
            }
        );
        for (record, piece) in [(1, 1), (1, 7), (3, 1), (40, 11), (1_000, 1), (2, 10_000)] {
            assert_eq!(
                read(&wire(&some_message(), record), piece),
                Ok(Some(whole.clone())),
                "records of {record} in pieces of {piece}"
            );
        }
    }

    #[test]
    fn an_old_message_without_extensions_is_one() {
        let mut body = message(0x0301, &[5], &[]);
        body.truncate(body.len() - 2);
        let hello = read(&wire(&body, 1_000), 1_000)
            .expect("it is whole")
            .expect("it is whole");
        assert_eq!((hello.version, hello.extensions.len()), (0x0301, 0));
    }

    #[test]
    fn what_is_not_tls_is_known_by_its_first_byte() {
        for text in ["G", "GET / HTTP/1.1\r\n", "PROXY", "\x15\x03\x01"] {
            assert_eq!(read(text.as_bytes(), 1), Err(NoHello::NotTls), "{text}");
        }
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 4, 2, 0, 0, 0], 9), Err(NoHello::NotTls));
    }

    #[test]
    fn no_cut_and_no_flip_panics_and_none_makes_it_read_without_end() {
        let wire = wire(&some_message(), 50);
        for end in 0..wire.len() {
            let _ = read(&wire[..end], 3);
        }
        for place in 0..wire.len() {
            for bit in 0..8 {
                let mut flipped = wire.clone();
                flipped[place] ^= 1 << bit;
                let _ = read(&flipped, 5);
            }
        }
    }

    #[test]
    fn a_message_that_says_it_is_long_is_refused_at_once() {
        assert_eq!(
            read(&[HANDSHAKE, 3, 1, 0, 8, CLIENT_HELLO, 0, 0x40, 1, 3, 3, 0, 0], 20),
            Err(NoHello::TooLong)
        );
        let spread = wire(&[0; 6_000], 1);
        assert_eq!(read(&spread, 100), Err(NoHello::TooLong));
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 0], 5), Err(NoHello::Malformed));
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0x40, 1], 5), Err(NoHello::Malformed));
    }
}

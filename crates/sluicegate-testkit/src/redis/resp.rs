//! Redis's serialisation protocol, versions 2 and 3, as far as a test needs it: where a message ends, and what it says.
//!
//! Source: the Redis serialization protocol specification (RESP2 and RESP3).

use std::str;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the Redis protocol")]
pub struct Malformed;

/// Finds the ends of messages in a stream that comes in pieces. Holds at most one line and the first word.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// Elements that the message still lacks; 0 between two messages.
    left: u64,
    /// Bytes of a string that are still to come, with its line end.
    body: u64,
    /// The part of a header line that came so far.
    line: Vec<u8>,
    /// The first string of the message, cut at [`WORD_BYTES_MAX`]: the name of a command.
    word: Vec<u8>,
    word_is_whole: bool,
}

impl Framer {
    /// Whether the next byte begins a message.
    pub(crate) fn is_between(&self) -> bool {
        self.left == 0 && self.body == 0
    }

    /// The first string of the message that ended last.
    pub(crate) fn word(&self) -> &[u8] {
        &self.word
    }

    /// Takes in bytes up to the end of the present message; `Some(length)` if it ends within them, `None` if all belong to it.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        if self.is_between() && !bytes.is_empty() {
            self.left = 1;
            self.word.clear();
            self.word_is_whole = false;
        }
        while at < bytes.len() {
            if self.body > 0 {
                at += self.take_body(&bytes[at..]);
            } else {
                at += self.take_line(&bytes[at..])?;
            }
            if self.is_between() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn take_body(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
        if !self.word_is_whole {
            let room = WORD_BYTES_MAX.saturating_sub(self.word.len());
            self.word.extend(&bytes[..taken.min(room)]);
        }
        self.body -= taken as u64;
        if self.body == 0 && !self.word_is_whole {
            self.word_is_whole = true;
            while self.word.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                self.word.pop();
            }
        }
        taken
    }

    fn take_line(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.line.extend(&bytes[..taken]);
        if self.line.len() > LINE_BYTES_MAX || !self.line.first().is_some_and(|kind| KINDS.contains(kind)) {
            return Err(Malformed);
        }
        if end.is_some() {
            let header = Header::read(&self.line)?;
            self.line.clear();
            self.left = self.left.saturating_sub(1).saturating_add(header.elements);
            self.body = header.body;
        }
        Ok(taken)
    }
}

/// The first byte of every kind of element.
const KINDS: &[u8] = b"+-:$*_#,(!=%~>|";

/// Longer than any line that a server sends but an error with a script's trace.
const LINE_BYTES_MAX: usize = 1 << 16;

/// Longer than any name of a command.
const WORD_BYTES_MAX: usize = 64;

/// What a header line announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Elements inside this one.
    elements: u64,
    /// Bytes of a string that follow, with its line end.
    body: u64,
}

impl Header {
    fn read(line: &[u8]) -> Result<Self, Malformed> {
        let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
        let (kind, rest) = line.split_first().ok_or(Malformed)?;
        let announced = || -> Result<Option<u64>, Malformed> {
            match rest {
                b"-1" => Ok(None),
                digits => number(digits)
                    .and_then(|number| u64::try_from(number).map_err(|_| Malformed))
                    .map(Some),
            }
        };
        let (elements, body) = match kind {
            b'$' | b'!' | b'=' => (0, announced()?.map_or(0, |length| length.saturating_add(2))),
            b'*' | b'~' | b'>' => (announced()?.unwrap_or(0), 0),
            b'%' => (announced()?.unwrap_or(0).saturating_mul(2), 0),
            // Attributes come before what they describe, and belong to it.
            b'|' => (announced()?.unwrap_or(0).saturating_mul(2).saturating_add(1), 0),
            _ => (0, 0),
        };
        Ok(Self { elements, body })
    }
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Malformed)
}

/// What a server answered, in version 2 of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A short text such as `OK`.
    Status(String),
    /// An error, also where it is an element of a list.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// Nothing: no such key.
    Nil,
    /// A list of answers.
    Array(Vec<Reply>),
}

impl Reply {
    /// Reads one whole message.
    pub(crate) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut rest = message;
        let reply = Self::take(&mut rest, DEPTH_MAX)?;
        if rest.is_empty() { Ok(reply) } else { Err(Malformed) }
    }

    fn take(rest: &mut &[u8], depth: usize) -> Result<Self, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Malformed)?;
        let (line, after) = rest.split_at(end + 1);
        *rest = after;
        let header = Header::read(line)?;
        let (kind, text) = line.split_first().ok_or(Malformed)?;
        let text = text.strip_suffix(b"\r\n").ok_or(Malformed)?;
        let words = || String::from_utf8_lossy(text).into_owned();
        match kind {
            b'+' => Ok(Self::Status(words())),
            b'-' => Ok(Self::Error(words())),
            b':' => number(text).map(Self::Integer),
            b'$' | b'*' if text == b"-1" => Ok(Self::Nil),
            b'$' => {
                let length = usize::try_from(header.body).map_err(|_| Malformed)?;
                let (body, after) = rest.split_at_checked(length).ok_or(Malformed)?;
                *rest = after;
                body.strip_suffix(b"\r\n")
                    .map(|body| Self::Bulk(body.to_vec()))
                    .ok_or(Malformed)
            }
            b'*' => (0..header.elements)
                .map(|_| Self::take(rest, depth))
                .collect::<Result<_, _>>()
                .map(Self::Array),
            _ => Err(Malformed),
        }
    }

    /// The text of a status or string, with what is no UTF-8 replaced; `None` for anything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Status(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The bytes of a string; `None` for anything else.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number, also one that came as text; `None` for anything else.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bulk(bytes) => number(bytes).ok(),
            _ => None,
        }
    }

    /// The elements of a list; empty for anything else.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }
}

/// Deeper than any answer (`CLUSTER SLOTS` has four levels), and far from the end of the stack.
const DEPTH_MAX: usize = 16;

/// A command as clients send it.
pub(crate) fn command<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of all whole messages, fed in pieces of `piece` bytes.
    #[track_caller]
    fn check(stream: &[u8], piece: usize, expected: Result<&[usize], Malformed>) {
        let lengths = || {
            let (mut framer, mut lengths, mut length) = (Framer::default(), Vec::new(), 0);
            for mut piece in stream.chunks(piece) {
                while !piece.is_empty() {
                    let end = framer.advance(piece)?;
                    length += end.unwrap_or(piece.len());
                    piece = &piece[end.unwrap_or(piece.len())..];
                    if end.is_some() {
                        lengths.push(std::mem::take(&mut length));
                    }
                }
            }
            Ok(lengths)
        };
        assert_eq!(
            lengths().as_deref().map_err(|malformed: &Malformed| *malformed),
            expected
        );
    }

    #[test]
    fn a_message_ends_at_the_same_byte_in_whatever_pieces_it_comes() {
        let stream = b"+OK\r\n$3\r\na\r\n\r\n*2\r\n:1\r\n*1\r\n$-1\r\n$0\r\n\r\n*-1\r\n%1\r\n+k\r\n_\r\n|1\r\n+a\r\n+b\r\n,1.5\r\n>1\r\n#t\r\n";
        for piece in [1, 2, 3, 7, 1000] {
            check(stream, piece, Ok(&[5, 9, 17, 6, 5, 11, 18, 8]));
        }
    }

    #[test]
    fn what_is_no_message_is_told_at_once() {
        for stream in [b"HTTP/1.1".as_slice(), b"$x\r\n", b"*-2\r\n", b"+OK\n", b"\x16\x03\x01"] {
            check(stream, 1000, Err(Malformed));
        }
    }

    #[test]
    fn a_commands_name_is_its_first_word() {
        let mut framer = Framer::default();
        let bytes = command(&["EVALSHA", "abc", "0"]);
        assert_eq!(framer.advance(&bytes), Ok(Some(bytes.len())));
        assert_eq!(framer.word(), b"EVALSHA");
    }

    #[test]
    fn a_reply_says_what_came() {
        let message = b"*5\r\n+OK\r\n-ERR no\r\n:-7\r\n$2\r\n\xff\n\r\n*-1\r\n";
        assert_eq!(
            Reply::read(message),
            Ok(Reply::Array(vec![
                Reply::Status("OK".to_owned()),
                Reply::Error("ERR no".to_owned()),
                Reply::Integer(-7),
                Reply::Bulk(b"\xff\n".to_vec()),
                Reply::Nil,
            ]))
        );
        assert_eq!(Reply::read(&b"*1\r\n".repeat(100)), Err(Malformed), "too deep");
    }
}

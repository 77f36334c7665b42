//! What becomes of single replies.

use std::collections::VecDeque;
use std::mem;

use super::Mode;
use super::connection::Link;
use super::driver::{InForce, count};
use super::pump::Then;
use crate::redis::resp::Framer;

/// Finds the replies in what a server sends, and spoils those that the mode picks.
///
/// A reply belongs to the command that waits longest. On a connection that is not in Redis's protocol each chunk is a reply,
/// and nobody knows to what.
#[derive(Debug)]
pub(super) struct Spoiler {
    framer: Option<Framer>,
    fate: Fate,
    /// The picked reply as far as it came, for a mode that needs to know its length; cut at [`HELD_BYTES_MAX`].
    held: Vec<u8>,
}

/// What becomes of the present reply.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Pass,
    /// It was picked by this mode, as which.
    Spoil(Mode, u64),
}

impl Default for Spoiler {
    fn default() -> Self {
        Self {
            framer: Some(Framer::default()),
            fate: Fate::Pass,
            held: Vec::new(),
        }
    }
}

impl Spoiler {
    /// The bytes that pass, and what happens after them.
    pub(super) fn take(&mut self, chunk: &[u8], in_force: &InForce, link: &Link) -> (Vec<u8>, Then) {
        let (mut passing, mut rest) = (Vec::new(), chunk);
        while !rest.is_empty() {
            if self.framer.as_ref().is_none_or(Framer::is_between) {
                self.fate = self.begin(rest[0], in_force, link);
            }
            let end = self.end_of_reply(rest, link);
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            if self.fate == Fate::Pass {
                passing.extend(piece);
                continue;
            }
            let room = HELD_BYTES_MAX.saturating_sub(self.held.len());
            self.held.extend(&piece[..piece.len().min(room)]);
            if end.is_some() {
                count(&link.shared.counted.replies_spoilt, 1);
                let then = self.spoil(&mut passing);
                if then != Then::GoOn {
                    return (passing, then);
                }
            }
        }
        (passing, Then::GoOn)
    }

    /// The fate of the reply that begins with this byte.
    fn begin(&self, first: u8, in_force: &InForce, link: &Link) -> Fate {
        if self.framer.is_some() && first == PUSH {
            return Fate::Pass;
        }
        count(&link.shared.counted.replies, 1);
        let command = link.waiting.borrow_mut().as_mut().and_then(VecDeque::pop_front);
        in_force
            .picks(command.as_deref())
            .map_or(Fate::Pass, |number| Fate::Spoil(in_force.mode.clone(), number))
    }

    /// Where the present reply ends, if it does so within these bytes.
    fn end_of_reply(&mut self, bytes: &[u8], link: &Link) -> Option<usize> {
        match self.framer.as_mut().map(|framer| framer.advance(bytes)) {
            Some(Ok(end)) => end,
            Some(Err(_malformed)) => {
                self.framer = None;
                *link.waiting.borrow_mut() = None;
                Some(bytes.len())
            }
            None => Some(bytes.len()),
        }
    }

    /// A picked reply has come whole.
    fn spoil(&mut self, passing: &mut Vec<u8>) -> Then {
        let held = mem::take(&mut self.held);
        let Fate::Spoil(mode, number) = mem::replace(&mut self.fate, Fate::Pass) else {
            return Then::GoOn;
        };
        match mode {
            Mode::Lose(_) => return Then::Break,
            Mode::Cut(_) => {
                passing.extend(&held[..held.len() / 2]);
                return Then::Close;
            }
            Mode::Flood(_) => return Then::Flood,
            Mode::Garble(_) => passing.extend(garbled(number)),
            Mode::Mistype(_) => passing.extend(nth(MISTYPED, number)),
            Mode::Replace(_, bytes) => passing.extend(bytes),
            _ => passing.extend(held),
        }
        Then::GoOn
    }
}

/// The first byte of what a server sends unasked.
const PUSH: u8 = b'>';

/// Half of this is far more than what any client reads before it looks at the end.
const HELD_BYTES_MAX: usize = 1 << 20;

fn garbled(number: u64) -> Vec<u8> {
    let bytes = nth(GARBLED, number);
    if bytes == NESTED {
        bytes.repeat(DEPTH)
    } else {
        bytes.to_vec()
    }
}

fn nth<'a>(list: &[&'a [u8]], number: u64) -> &'a [u8] {
    let at = usize::try_from(number).unwrap_or_default() % list.len();
    list[at]
}

/// Messages of kinds that nobody asked for, in both versions of the protocol.
const MISTYPED: &[&[u8]] = &[
    b":-7\r\n",
    b"+OK\r\n",
    b"$-1\r\n",
    b"$3\r\nabc\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*1\r\n*1\r\n:1\r\n",
    b"*3\r\n$0\r\n\r\n:9223372036854775807\r\n+x\r\n",
    b"-ERR nonsense\r\n",
    b"-\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",nan\r\n",
    b",-inf\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"~1\r\n:1\r\n",
    b"|1\r\n+a\r\n:1\r\n:2\r\n",
];

/// What is no message, and what no parser should follow.
const GARBLED: &[&[u8]] = &[
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00\xff\xfe\x80\r\n\r\n",
    b"$-5\r\n",
    b"*-2\r\n",
    b"$99999999999999999999\r\n",
    b"*99999999999999999999\r\n",
    b"$9223372036854775807\r\n",
    b"*2147483647\r\n",
    b"%4611686018427387905\r\n",
    b":12a\r\n",
    b":\r\n",
    b"$\r\n",
    b"$3\r\nabcdef\r\n",
    b"+no end\n",
    b"#x\r\n",
    b",1.2.3\r\n",
    NESTED,
];

/// A list in a list, and so on: who follows by calling itself needs more stack than a thread has.
const NESTED: &[u8] = b"*1\r\n";
const DEPTH: usize = 100_000;

//! Reads JSON as it arrives, checks all of it, and keeps only what stands at a few pointers.
//!
//! ```text
//!  bytes, in any pieces ──► Scanner ──► text     strings: runs, escapes, UTF-8
//!                              │ └────► number
//!                              ▼
//!                            Path: which pointers lead to the value that comes next ──► Values
//! ```
//!
//! The document is never held, and nothing is done twice: the memory is that of the values asked for and one bit for each
//! open bracket, whatever arrives.
//!
//! Source: RFC 8259, all of its grammar and nothing beside it: no byte order mark, no comments, no comma at the end.

mod number;
mod path;
mod text;

use super::fault::ReadFault;
use super::pointer::Pointers;
use super::set::Set;
use super::value::{Kind, Values};

use number::Number;
use path::Path;
use text::{Escape, Escaped, IsAscii, Utf8};

/// Reads one document.
///
/// A member on the path of a pointer that stands there twice is a fault. Members elsewhere are not compared with each
/// other, since that would take memory without a bound: they may stand twice, and nobody notices.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    path: Path,
    values: Values,
    state: State,
    /// How many containers are open.
    depth: usize,
    /// Whether each of them is an array, the innermost in the lowest bit.
    arrays: u128,
    /// Of the string that is being read.
    utf8: Utf8,
    /// Which pointers mean the scalar that is being read.
    meant: Set,
    /// Bytes of earlier pieces.
    read: u64,
    fault: Option<ReadFault>,
}

/// What must come next.
#[derive(Debug, Clone, Copy)]
enum State {
    Value,
    /// A value, or the end of an array.
    FirstElement,
    Name,
    /// A name, or the end of an object.
    FirstName,
    Colon,
    /// After a value: a comma or the end of the container; after the root nothing but blanks.
    After,
    Text(Role),
    Escape(Role, Escape),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8], Kind),
}

/// What a string is there for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Name,
    Value,
}

impl Scanner {
    /// How deep a document may be nested, where a bare scalar has depth 0: about what other readers take (serde_json 127,
    /// Go's 10 000 being the exception), and one word of memory.
    pub(super) const DEPTH_MAX: usize = 128;

    /// All that will ever be allocated is allocated here.
    pub(super) fn new(pointers: &Pointers) -> Self {
        Self {
            path: Path::new(pointers),
            values: Values::with_room(pointers.len()),
            state: State::Value,
            depth: 0,
            arrays: 0,
            utf8: Utf8::default(),
            meant: Set::EMPTY,
            read: 0,
            fault: None,
        }
    }

    /// Ready for another document.
    pub(super) fn reset(&mut self) {
        self.path.reset();
        self.values.clear();
        self.state = State::Value;
        self.depth = 0;
        self.arrays = 0;
        self.utf8 = Utf8::default();
        self.meant = Set::EMPTY;
        self.read = 0;
        self.fault = None;
    }

    /// Reads on. After a fault it stays with it and reads no more.
    ///
    /// # Errors
    ///
    /// What is wrong with the document.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        let before = self.fault.map_or(Ok(()), Err);
        let result = before.and_then(|()| self.run(bytes));
        self.fault = result.err();
        self.read = self.read.saturating_add(bytes.len() as u64);
        result
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// What is wrong with the document, [`ReadFault::CutOff`] if something is missing.
    pub(super) fn end(&self) -> Result<(), ReadFault> {
        self.fault.map_or(Ok(()), Err)?;
        match self.state {
            State::After if self.depth == 0 => Ok(()),
            // Only a number does not say itself where it ends. No pointer means the root.
            State::Number(number) if self.depth == 0 && number.is_whole() => Ok(()),
            _ => Err(ReadFault::CutOff),
        }
    }

    /// Whether what has been read can be the beginning of a document.
    pub(super) const fn is_sound(&self) -> bool {
        self.fault.is_none()
    }

    /// What has been found so far, and is whole.
    pub(super) fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// As [`values_mut`](Self::values_mut).
    pub(super) fn into_values(self) -> Values {
        self.values
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at = match self.state {
                State::Text(role) => self.text(role, bytes, at)?,
                State::Escape(role, escape) => self.escape(role, escape, *byte, at)?,
                State::Number(number) => self.number(number, bytes, at)?,
                State::Literal(rest, kind) => self.literal(rest, kind, *byte, at)?,
                _ if matches!(byte, b' ' | b'\n' | b'\t' | b'\r') => at + 1,
                _ => self.structure(*byte, at)?,
            };
        }
        Ok(())
    }

    /// One byte outside of any scalar.
    #[inline]
    fn structure(&mut self, byte: u8, at: usize) -> Result<usize, ReadFault> {
        match (self.state, byte) {
            (State::Name | State::FirstName, b'"') => {
                self.path.begin_name();
                self.state = State::Text(Role::Name);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') if self.depth > 0 => {
                if self.is_in_array() {
                    self.path.element();
                    self.state = State::Value;
                } else {
                    self.state = State::Name;
                }
            }
            (State::FirstName, b'}') | (State::FirstElement, b']') => self.leave(),
            (State::After, b'}') if self.depth > 0 && !self.is_in_array() => self.leave(),
            (State::After, b']') if self.depth > 0 && self.is_in_array() => self.leave(),
            (State::Value, _) => self.begin_value(byte, at)?,
            (State::FirstElement, _) => {
                self.path.element();
                self.begin_value(byte, at)?;
            }
            _ => return Err(self.malformed(at)),
        }
        Ok(at + 1)
    }

    fn begin_value(&mut self, byte: u8, at: usize) -> Result<(), ReadFault> {
        self.state = match byte {
            b'{' => {
                self.enter(0)?;
                State::FirstName
            }
            b'[' => {
                self.enter(1)?;
                State::FirstElement
            }
            b'"' => State::Text(Role::Value),
            b't' => State::Literal(b"rue", Kind::True),
            b'f' => State::Literal(b"alse", Kind::False),
            b'n' => State::Literal(b"ull", Kind::Null),
            _ => State::Number(Number::begin(byte).ok_or_else(|| self.malformed(at))?),
        };
        if !matches!(byte, b'{' | b'[') {
            self.meant = self.path.scalar();
        }
        if matches!(self.state, State::Number(_)) {
            self.keep(&[byte])?;
        }
        Ok(())
    }

    fn enter(&mut self, is_array: u128) -> Result<(), ReadFault> {
        if self.depth == Self::DEPTH_MAX {
            return Err(ReadFault::TooDeep);
        }
        self.depth += 1;
        self.arrays = self.arrays << 1 | is_array;
        let meant = self.path.enter();
        self.values.close(meant, Kind::Container);
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.arrays >>= 1;
        self.path.leave();
        self.state = State::After;
    }

    const fn is_in_array(&self) -> bool {
        self.arrays & 1 == 1
    }

    /// The inside of a string, up to its end, an escape, or the end of the piece.
    #[inline]
    fn text(&mut self, role: Role, bytes: &[u8], start: usize) -> Result<usize, ReadFault> {
        let (length, IsAscii(is_ascii)) = text::plain_run(&bytes[start..]);
        let end = start + length;
        let run = &bytes[start..end];
        if (!is_ascii || self.utf8.is_open())
            && let Err(at) = self.utf8.check(run)
        {
            // What stands before comes first, so that the fault does not depend on the pieces.
            self.text_bytes(role, &run[..at])?;
            return Err(self.malformed(start + at));
        }
        self.text_bytes(role, run)?;
        let Some(stop) = bytes.get(end) else {
            return Ok(end);
        };
        match (stop, role) {
            _ if self.utf8.is_open() => return Err(self.malformed(end)),
            (b'\\', _) => self.state = State::Escape(role, Escape::Begun),
            (b'"', Role::Name) => {
                self.path.end_name().map_err(|_| ReadFault::Duplicate)?;
                self.state = State::Colon;
            }
            (b'"', Role::Value) => self.close(Kind::String),
            _ => return Err(self.malformed(end)),
        }
        Ok(end + 1)
    }

    fn escape(&mut self, role: Role, escape: Escape, byte: u8, at: usize) -> Result<usize, ReadFault> {
        match escape.step(byte).ok_or_else(|| self.malformed(at))? {
            Escaped::More(escape) => self.state = State::Escape(role, escape),
            Escaped::Whole(letter) => {
                self.text_bytes(role, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
                self.state = State::Text(role);
            }
        }
        Ok(at + 1)
    }

    #[inline]
    fn text_bytes(&mut self, role: Role, bytes: &[u8]) -> Result<(), ReadFault> {
        match role {
            Role::Name => {
                self.path.name(bytes);
                Ok(())
            }
            Role::Value => self.keep(bytes),
        }
    }

    #[inline]
    fn number(&mut self, mut number: Number, bytes: &[u8], start: usize) -> Result<usize, ReadFault> {
        let mut end = start;
        let stop = loop {
            let Some(byte) = bytes.get(end) else { break None };
            let Some(longer) = number.step(*byte) else {
                break Some(*byte);
            };
            number = longer;
            end += 1;
        };
        self.keep(&bytes[start..end])?;
        match stop {
            None => self.state = State::Number(number),
            // What may follow a value: the number in `12x` has not been read, not even by a reader who stops there.
            Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r') if number.is_whole() => self.close(Kind::Number),
            Some(_) => return Err(self.malformed(end)),
        }
        Ok(end)
    }

    fn literal(&mut self, rest: &'static [u8], kind: Kind, byte: u8, at: usize) -> Result<usize, ReadFault> {
        match rest {
            [last] if *last == byte => self.close(kind),
            [first, rest @ ..] if *first == byte => self.state = State::Literal(rest, kind),
            _ => return Err(self.malformed(at)),
        }
        Ok(at + 1)
    }

    /// Some more of a scalar that a pointer may mean.
    #[inline]
    fn keep(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        if self.meant.is_empty() {
            return Ok(());
        }
        self.values.append(self.meant, bytes).map_err(|_| ReadFault::TooLong)
    }

    /// A scalar is whole.
    #[inline]
    fn close(&mut self, kind: Kind) {
        if !self.meant.is_empty() {
            self.values.close(self.meant, kind);
            self.meant = Set::EMPTY;
        }
        self.state = State::After;
    }

    fn malformed(&self, at: usize) -> ReadFault {
        ReadFault::Malformed {
            at: self.read.saturating_add(at as u64),
        }
    }
}

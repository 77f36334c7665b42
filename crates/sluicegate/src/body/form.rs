//! Reads a form as it arrives, and keeps only the fields asked for.
//!
//! Source: WHATWG URL, section 5.1 (application/x-www-form-urlencoded parsing): fields stand between `&`, the first `=`
//! parts name from value, `+` is a blank. Unlike there a `%` without two hexadecimal digits is a fault, and so is a kept
//! value that is not UTF-8: servers differ in what they make of either, and a value that reads differently here and behind
//! us is a way around a rule.

use std::str;

use memchr::{memchr2, memchr3};

use super::fault::ReadFault;
use super::pointer::Pointers;
use super::set::Set;
use super::value::{Kind, Values};

/// Reads one form. A field asked for that stands there twice is a fault; other fields are not compared with each other.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pointers: Pointers,
    /// Those of one token.
    named: Set,
    values: Values,
    part: Part,
    escape: Escape,
    /// Which pointers' names are like the one being read, so far; then whose value is being read.
    meant: Set,
    /// How many bytes of the name have been read.
    name_length: usize,
    /// Whether anything of the field has been read: between two `&` there may be none.
    is_begun: bool,
    /// Which pointers' field was found.
    taken: Set,
    /// Bytes of earlier pieces.
    read: u64,
    fault: Option<ReadFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

/// How far an escaped byte has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// After the first of the two digits, which is this.
    Half(u8),
}

impl Form {
    /// All that will ever be allocated is allocated here. A form has one level: pointers of more than one token find
    /// nothing.
    pub(super) fn new(pointers: &Pointers) -> Self {
        let has_one_token = |place| {
            pointers
                .iter()
                .nth(place)
                .is_some_and(|pointer| pointer.tokens().len() == 1)
        };
        let named = Set::first(pointers.len()).filter(has_one_token);
        Self {
            pointers: pointers.clone(),
            named,
            values: Values::with_room(pointers.len()),
            part: Part::Name,
            escape: Escape::None,
            meant: named,
            name_length: 0,
            is_begun: false,
            taken: Set::EMPTY,
            read: 0,
            fault: None,
        }
    }

    /// Reads on. After a fault it stays with it and reads no more.
    ///
    /// # Errors
    ///
    /// What is wrong with the form.
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
    /// What is wrong with the form. One that was cut off between two characters cannot be told from a whole one.
    pub(super) fn finish(mut self) -> Result<Values, ReadFault> {
        self.fault.map_or(Ok(()), Err)?;
        if self.escape != Escape::None {
            return Err(ReadFault::CutOff);
        }
        self.end_field(0)?;
        Ok(self.values)
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at = match (self.escape, self.part, byte) {
                (Escape::None, _, b'&') => {
                    self.end_field(at)?;
                    self.begin_field();
                    at + 1
                }
                (Escape::None, _, b'%') => {
                    self.escape = Escape::Begun;
                    at + 1
                }
                (Escape::None, Part::Name, b'=') => {
                    self.end_name()?;
                    at + 1
                }
                (Escape::None, _, b'+') => {
                    self.decoded(b" ")?;
                    at + 1
                }
                (Escape::None, Part::Name, _) => {
                    self.decoded(&[*byte])?;
                    at + 1
                }
                (Escape::None, Part::Value, _) => self.value_run(bytes, at)?,
                (Escape::Begun, ..) => {
                    self.escape = Escape::Half(self.digit(*byte, at)?);
                    at + 1
                }
                (Escape::Half(high), ..) => {
                    let low = self.digit(*byte, at)?;
                    self.escape = Escape::None;
                    self.decoded(&[high << 4 | low])?;
                    at + 1
                }
            };
        }
        Ok(())
    }

    fn begin_field(&mut self) {
        self.meant = self.named;
        self.part = Part::Name;
        self.name_length = 0;
        self.is_begun = false;
    }

    /// A byte of a name or value as it was meant.
    fn decoded(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        self.is_begun = true;
        if self.meant.is_empty() {
            return Ok(());
        }
        match self.part {
            Part::Value => self.values.append(self.meant, bytes).map_err(|_| ReadFault::TooLong),
            Part::Name => {
                let start = self.name_length;
                self.name_length = start + bytes.len();
                let (end, pointers) = (self.name_length, &self.pointers);
                let is_alike = |place| pointers.token(place, 0).name().get(start..end) == Some(bytes);
                self.meant = self.meant.filter(is_alike);
                Ok(())
            }
        }
    }

    /// As many bytes of a value as stand for themselves, or need no look since nobody asked for it.
    fn value_run(&mut self, bytes: &[u8], start: usize) -> Result<usize, ReadFault> {
        let rest = &bytes[start..];
        let stop = if self.meant.is_empty() {
            memchr2(b'&', b'%', rest)
        } else {
            memchr3(b'&', b'%', b'+', rest)
        };
        let run = &rest[..stop.unwrap_or(rest.len())];
        self.decoded(run)?;
        Ok(start + run.len())
    }

    fn end_name(&mut self) -> Result<(), ReadFault> {
        let (length, pointers) = (self.name_length, &self.pointers);
        self.meant = self
            .meant
            .filter(|place| pointers.token(place, 0).name().len() == length);
        self.part = Part::Value;
        self.is_begun = true;
        if !(self.taken & self.meant).is_empty() {
            return Err(ReadFault::Duplicate);
        }
        self.taken |= self.meant;
        Ok(())
    }

    fn end_field(&mut self, at: usize) -> Result<(), ReadFault> {
        if !self.is_begun {
            return Ok(());
        }
        if self.part == Part::Name {
            self.end_name()?;
        }
        let is_text = |place| str::from_utf8(self.values.text(place)).is_ok();
        if !self.meant.places().all(is_text) {
            return Err(self.malformed(at));
        }
        self.values.close(self.meant, Kind::Field);
        Ok(())
    }

    fn digit(&self, byte: u8, at: usize) -> Result<u8, ReadFault> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| self.malformed(at))
    }

    fn malformed(&self, at: usize) -> ReadFault {
        ReadFault::Malformed {
            at: self.read.saturating_add(at as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Pointer, Value};

    fn read(pointer: &str, body: &[u8], piece: usize) -> Result<Option<String>, ReadFault> {
        let pointers = Pointers::new([Pointer::parse(pointer).expect(pointer)]).expect("one is not too many");
        let mut form = Form::new(&pointers);
        for piece in body.chunks(piece) {
            form.feed(piece)?;
        }
        let values = form.finish()?;
        let text = |value| match value {
            Value::Field(text) => Some(text.to_owned()),
            _ => None,
        };
        Ok(values.get(0).map(|value| text(value).expect("a form has fields only")))
    }

    #[track_caller]
    fn check(pointer: &str, body: &str, expected: Result<Option<&str>, ReadFault>) {
        for piece in 1..=body.len().max(1) {
            let found = read(pointer, body.as_bytes(), piece);
            let found = found.as_ref().map(Option::as_deref).map_err(|fault| *fault);
            assert_eq!(found, expected, "{body} in pieces of {piece}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_decoded_name_and_its_value_decoded() {
        check("/user", "user=alice", Ok(Some("alice")));
        check("/user", "a=1&user=alice&b=2", Ok(Some("alice")));
        check("/user", "%75se%72=%61l+i%2Bc%C3%A9", Ok(Some("al i+cé")));
        check("/two words", "two+words=1", Ok(Some("1")));
        check("/user", "user=a=b==", Ok(Some("a=b==")));
        check("/a~1b", "a/b=1", Ok(Some("1")));
        check("/user", "users=1&use=2&User=3&user%20=4", Ok(None));
        check("/user", "", Ok(None));
    }

    #[test]
    fn a_field_may_be_empty_and_between_two_ampersands_there_may_be_none() {
        check("/user", "user", Ok(Some("")));
        check("/user", "user=", Ok(Some("")));
        check("/user", "&&user&", Ok(Some("")));
        check("/", "=1", Ok(Some("1")));
        check("/", "a=1&&b=2&", Ok(None));
    }

    #[test]
    fn a_form_has_one_level() {
        check("/user/name", "user=1&user/name=2&name=3", Ok(None));
        check("/0", "a=1&b=2", Ok(None));
    }

    #[test]
    fn a_field_asked_for_that_stands_there_twice_is_a_fault_in_every_spelling() {
        check("/user", "user=a&user=a", Err(ReadFault::Duplicate));
        check("/user", "user=a&b=1&%75ser", Err(ReadFault::Duplicate));
        check("/user", "user&user", Err(ReadFault::Duplicate));
        check("/user", "b=1&b=2&user=a", Ok(Some("a")));
    }

    #[test]
    fn an_escape_without_two_digits_is_a_fault_wherever_it_stands() {
        let malformed = |at| Err(ReadFault::Malformed { at });
        check("/user", "user=%zz", malformed(6));
        check("/user", "b=%4&user=a", malformed(4));
        check("/user", "%4g=1", malformed(2));
        check("/user", "user=a%", Err(ReadFault::CutOff));
        check("/user", "b=a%4", Err(ReadFault::CutOff));
    }

    #[test]
    fn only_a_kept_value_must_be_utf8() {
        check("/user", "user=%ff&b=1", Err(ReadFault::Malformed { at: 8 }));
        check("/user", "user=%C3", Err(ReadFault::Malformed { at: 8 }));
        check("/user", "b=%ff&user=a", Ok(Some("a")));
    }

    #[test]
    fn a_value_has_a_bound_and_reaches_it() {
        let longest = "x".repeat(Value::BYTES_MAX);
        for piece in [1, 1000, 5000] {
            let body = format!("long={longest}{longest}&user={longest}");
            assert_eq!(read("/user", body.as_bytes(), piece), Ok(Some(longest.clone())));
            let body = format!("user={longest}+");
            assert_eq!(read("/user", body.as_bytes(), piece), Err(ReadFault::TooLong));
        }
    }
}

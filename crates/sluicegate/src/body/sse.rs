//! Reads server-sent events as they arrive, and keeps the last values that any of them held.
//!
//! Source: WHATWG HTML, section 9.2.5 and 9.2.6 (parsing and interpreting an event stream).

use memchr::memchr2;

use super::fault::ReadFault;
use super::pointer::Pointers;
use super::scan::Scanner;
use super::value::Values;

/// Reads one stream of events. The data of each is read as JSON; what is no JSON, such as the `[DONE]` at the end of many
/// streams, is passed over.
///
/// For each pointer the last event counts that held something there. A `null` is nothing: some upstreams send the member
/// that tells the usage with each event, and fill it in only at the end.
#[derive(Debug)]
pub(super) struct Reader {
    /// Of the event that is being read.
    scanner: Scanner,
    /// Of the events before it.
    kept: Values,
    line: Line,
    /// Whether the last byte was a carriage return, so that a line feed now ends no second line.
    is_after_return: bool,
    /// Whether the event has data: a second line of it follows after a line feed.
    has_data: bool,
    /// Whether an event was passed over although it may well be JSON.
    has_missed: bool,
}

/// How far the line has been read.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// So many bytes of the byte order mark, which may stand at the beginning of the stream.
    Mark(usize),
    /// So many bytes, which are those that [`DATA`] begins with.
    Field(usize),
    /// After the colon: one blank is not part of the value.
    Colon,
    Data,
    /// A comment, or a field that says nothing about usage.
    Other,
}

const MARK: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";

impl Reader {
    /// All that will ever be allocated is allocated here.
    pub(super) fn new(pointers: &Pointers) -> Self {
        Self {
            scanner: Scanner::new(pointers),
            kept: Values::with_room(pointers.len()),
            line: Line::Mark(0),
            is_after_return: false,
            has_data: false,
            has_missed: false,
        }
    }

    /// Reads on.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            let is_second_half = self.is_after_return && *byte == b'\n';
            self.is_after_return = false;
            rest = match (self.line, byte) {
                _ if is_second_half => after,
                (Line::Mark(matched), _) => self.mark(matched, *byte, rest),
                (_, b'\r' | b'\n') => {
                    self.is_after_return = *byte == b'\r';
                    self.end_line();
                    after
                }
                (Line::Field(matched), _) => {
                    self.line = match (DATA.get(matched), byte) {
                        (Some(expected), byte) if expected == byte => Line::Field(matched + 1),
                        (None, b':') => Line::Colon,
                        _ => Line::Other,
                    };
                    after
                }
                (Line::Colon, _) => {
                    self.begin_data();
                    self.line = Line::Data;
                    if *byte == b' ' { after } else { rest }
                }
                (Line::Data | Line::Other, _) => self.run(rest),
            };
        }
    }

    /// Whether every event is over, and none was missed because a bound or a second member stood in the way.
    pub(super) const fn is_whole(&self) -> bool {
        let is_between_lines = matches!(self.line, Line::Mark(0) | Line::Field(0));
        is_between_lines && !self.has_data && !self.has_missed
    }

    /// Nothing more comes: what was found. The values of an event that was cut off count as far as they are whole, since
    /// what an upstream did before its connection was lost has been done.
    pub(super) fn finish(mut self) -> Values {
        if self.scanner.is_sound() {
            self.kept.overwrite_from(self.scanner.values_mut());
        }
        self.kept
    }

    fn mark<'r>(&mut self, matched: usize, byte: u8, rest: &'r [u8]) -> &'r [u8] {
        if MARK.get(matched) != Some(&byte) {
            // What began like a mark is the beginning of a field that nobody knows.
            self.line = if matched == 0 { Line::Field(0) } else { Line::Other };
            return rest;
        }
        let is_whole = matched + 1 == MARK.len();
        self.line = if is_whole {
            Line::Field(0)
        } else {
            Line::Mark(matched + 1)
        };
        &rest[1..]
    }

    /// As much of the line as there is.
    fn run<'r>(&mut self, rest: &'r [u8]) -> &'r [u8] {
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if matches!(self.line, Line::Data) {
            // A fault stays with the scanner until the event is over.
            let _ = self.scanner.feed(run);
        }
        after
    }

    fn begin_data(&mut self) {
        if self.has_data {
            let _ = self.scanner.feed(b"\n");
        }
        self.has_data = true;
    }

    fn end_line(&mut self) {
        match self.line {
            Line::Field(0) => self.end_event(),
            // A field's name without a colon has an empty value.
            Line::Field(matched) if matched == DATA.len() => self.begin_data(),
            Line::Colon => self.begin_data(),
            _ => {}
        }
        self.line = Line::Field(0);
    }

    fn end_event(&mut self) {
        if self.has_data {
            match self.scanner.end() {
                Ok(()) => self.kept.overwrite_from(self.scanner.values_mut()),
                Err(ReadFault::Malformed { .. } | ReadFault::CutOff) => {}
                Err(_) => self.has_missed = true,
            }
            self.scanner.reset();
            self.has_data = false;
        }
    }
}

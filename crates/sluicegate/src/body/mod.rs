//! Members of a body, read as it passes by.
//!
//! ```text
//!  Content-Type ──► Media ─┐
//!  policy ──► Pointers ────┤
//!                          ▼
//!  request's body ──► BodyReader ──► Values, or a ReadFault ──► key_of, cost_of ──► the rules' second phase
//!  response's body ─► ResponseReader ──► Values ──────────────► cost_of ──────────► settling
//! ```
//!
//! No reader holds the body, whatever its size and shape: each takes pieces as they arrive, checks the whole grammar and
//! keeps nothing but the values asked for, in memory that it took when it was made. There is no recursion.
//!
//! A request is read strictly: what is not well-formed, ends too early, or says something twice is a fault, since we and
//! the upstream might read it differently. A response is read for what can be had.

mod fault;
mod form;
mod key;
mod media;
mod pointer;
mod scan;
mod set;
mod sse;
mod value;

pub use fault::ReadFault;
pub use key::{KeyBuffer, Normal, TooLong, key_of};
pub use media::Media;
pub use pointer::{ParsePointerError, Pointer, PointerFault, Pointers, TooManyPointers};
pub use value::{Value, ValueFault, Values, cost_of};

use form::Form;
use scan::Scanner;

/// How deep a JSON body may be nested; a bare scalar has depth 0. A deeper request is refused ([`ReadFault::TooDeep`]).
pub const DEPTH_MAX: usize = Scanner::DEPTH_MAX;

/// Reads the body of a request, strictly.
///
/// First [`feed`](Self::feed) for each piece, then [`finish`](Self::finish). After a fault the reader stays with it.
///
/// ```
/// use sluicegate::body::{BodyReader, Media, Pointer, Pointers, Value};
///
/// let pointers = Pointers::new([Pointer::parse("/user/name")?, Pointer::parse("/max_tokens")?])?;
/// let mut reader = BodyReader::new(Media::Json, &pointers, 1 << 20)?;
/// reader.feed(br#"{"max_tokens": 500, "user": {"na"#)?;
/// reader.feed(br#"me": "alice"}}"#)?;
/// let values = reader.finish()?;
/// assert_eq!(values.get(0), Some(Value::String("alice")));
/// assert_eq!(values.get(1), Some(Value::Number("500")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BodyReader {
    format: Format,
    bytes_max: u64,
    bytes_left: u64,
    is_too_large: bool,
}

#[derive(Debug)]
enum Format {
    Json(Box<Scanner>),
    Form(Form),
}

impl BodyReader {
    /// A reader for a body of at most `bytes_max` bytes. Allocates all that it will ever need: about a kibibyte for each
    /// pointer.
    ///
    /// # Errors
    ///
    /// [`ReadFault::Unsupported`] for an event stream, which no request is.
    pub fn new(media: Media, pointers: &Pointers, bytes_max: u64) -> Result<Self, ReadFault> {
        let format = match media {
            Media::Json => Format::Json(Box::new(Scanner::new(pointers))),
            Media::Form => Format::Form(Form::new(pointers)),
            Media::EventStream => return Err(ReadFault::Unsupported),
        };
        Ok(Self {
            format,
            bytes_max,
            bytes_left: bytes_max,
            is_too_large: false,
        })
    }

    /// Reads the next piece. Allocates nothing.
    ///
    /// # Errors
    ///
    /// Why the body cannot be read, as early as it shows.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReadFault> {
        let left = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        let allowed = bytes.get(..left).unwrap_or(bytes);
        self.bytes_left -= allowed.len() as u64;
        // What the allowed part says comes first, so that the answer does not depend on how the body was cut into pieces.
        match &mut self.format {
            Format::Json(scanner) => scanner.feed(allowed)?,
            Format::Form(form) => form.feed(allowed)?,
        }
        self.is_too_large |= allowed.len() < bytes.len();
        self.check_size()
    }

    /// The body is over: what stands at the pointers, in their order.
    ///
    /// # Errors
    ///
    /// Why the body cannot be read; an empty one is no JSON and an empty form.
    pub fn finish(self) -> Result<Values, ReadFault> {
        self.check_size()?;
        match self.format {
            Format::Json(scanner) => {
                scanner.end()?;
                Ok(scanner.into_values())
            }
            Format::Form(form) => form.finish(),
        }
    }

    const fn check_size(&self) -> Result<(), ReadFault> {
        if self.is_too_large {
            return Err(ReadFault::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }
}

/// Reads the body of a response, for what can be had: usage that is told at its end.
///
/// First [`feed`](Self::feed) for each piece, then [`finish`](Self::finish), also where the response was cut off. In JSON a
/// value counts as soon as it is whole; where the document turns out not to be JSON, what stood before does. In an event
/// stream the last event counts that held something other than `null`, for each pointer on its own; events that are not
/// JSON are passed over.
///
/// ```
/// use sluicegate::body::{Media, Pointer, Pointers, ResponseReader, Value};
///
/// let pointers = Pointers::new([Pointer::parse("/usage/total_tokens")?])?;
/// let mut reader = ResponseReader::new(Media::EventStream, &pointers)?;
/// reader.feed(b"data: {\"usage\": null}\n\ndata: {\"usage\": {\"total_to");
/// reader.feed(b"kens\": 93}}\n\ndata: [DONE]\n\n");
/// assert_eq!(reader.finish().get(0), Some(Value::Number("93")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ResponseReader {
    format: ResponseFormat,
}

#[derive(Debug)]
enum ResponseFormat {
    Json(Box<Scanner>),
    Events(Box<sse::Reader>),
}

impl ResponseReader {
    /// A reader for a body of any length. Allocates all that it will ever need: about a kibibyte for each pointer, two for
    /// an event stream.
    ///
    /// # Errors
    ///
    /// [`ReadFault::Unsupported`] for a form, which no response is.
    pub fn new(media: Media, pointers: &Pointers) -> Result<Self, ReadFault> {
        let format = match media {
            Media::Json => ResponseFormat::Json(Box::new(Scanner::new(pointers))),
            Media::EventStream => ResponseFormat::Events(Box::new(sse::Reader::new(pointers))),
            Media::Form => return Err(ReadFault::Unsupported),
        };
        Ok(Self { format })
    }

    /// Reads the next piece. Allocates nothing, and costs nothing after a fault.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.format {
            // The fault stays with the scanner, and what was found before it too.
            ResponseFormat::Json(scanner) => drop(scanner.feed(bytes)),
            ResponseFormat::Events(reader) => reader.feed(bytes),
        }
    }

    /// Whether what is not found is not there, if the response is over now: all of it could be read, to its end.
    ///
    /// False of a body that is no JSON or ends too early, and of a body or event in which a bound of ours or a second member
    /// of one name stopped the reader: an error's text may be longer than [`Value::BYTES_MAX`], and whoever asks whether there
    /// was an error must not take that for a no. Events that are not JSON, such as `[DONE]`, do not count.
    pub fn is_whole(&self) -> bool {
        match &self.format {
            ResponseFormat::Json(scanner) => scanner.end().is_ok(),
            ResponseFormat::Events(reader) => reader.is_whole(),
        }
    }

    /// The response is over, or was cut off: what was found at the pointers, in their order.
    pub fn finish(self) -> Values {
        match self.format {
            ResponseFormat::Json(scanner) => scanner.into_values(),
            ResponseFormat::Events(reader) => reader.finish(),
        }
    }
}

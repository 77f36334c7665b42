//! A request's head: found, parsed, and refused where some reader could take it otherwise.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};
use memchr::memchr_iter;

use super::chunks::Chunks;
use super::{Doubt, HeadCaps, Place};

/// Looks for the end of a head.
#[derive(Debug)]
pub(super) struct Head {
    caps: HeadCaps,
    /// What is here of a head that came in parts, at most the cap and one byte; most heads come whole and are never copied.
    begun: Vec<u8>,
}

/// What a head came to.
pub(super) enum Found {
    /// All bytes are its, and more are to come.
    Part,
    /// So many of the bytes were its last.
    Whole {
        length: usize,
        next: Place,
    },
    Doubt(Doubt),
}

impl Head {
    pub(super) const fn new(caps: HeadCaps) -> Self {
        Self {
            caps,
            begun: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    pub(super) fn handle(&mut self, bytes: &[u8]) -> Found {
        if self.begun.is_empty() {
            let found = self.read(bytes, 0);
            if matches!(found, Found::Part) {
                self.keep(bytes);
            }
            return found;
        }
        let before = self.begun.len();
        self.keep(bytes);
        // Parsed again only where an end may have come: a client that sends a byte at a time must not cost a parse for each.
        let looked = before.saturating_sub(END_BYTES_MAX - 1);
        if !has_end(&self.begun[looked..]) && self.begun.len() <= self.caps.bytes {
            return Found::Part;
        }
        let begun = std::mem::take(&mut self.begun);
        let found = self.read(&begun, before);
        if matches!(found, Found::Part) {
            // Empty lines before a request look like its end.
            self.begun = begun;
        }
        found
    }

    /// Reads a head, `before` bytes of which have passed already.
    fn read(&self, bytes: &[u8], before: usize) -> Found {
        match read(bytes, self.caps) {
            Ok(Some((length, next))) => Found::Whole {
                // It was not whole before.
                length: length.saturating_sub(before),
                next,
            },
            Ok(None) => Found::Part,
            Err(doubt) => Found::Doubt(doubt),
        }
    }

    /// One byte beyond the cap says that it is exceeded; what lies behind is of no interest.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (self.caps.bytes + 1).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Whether an empty line may stand among the bytes, by the most lenient reader.
fn has_end(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|at| matches!(bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// The longest end of a head: a line's end, and an empty line.
const END_BYTES_MAX: usize = 3;

/// The head at the front of `bytes`: its length, empty lines before it included, and what comes behind it. `None` if it is not whole.
fn read(bytes: &[u8], caps: HeadCaps) -> Result<Option<(usize, Place)>, Doubt> {
    let mut few = [const { MaybeUninit::uninit() }; HEADERS_ON_STACK];
    let mut many;
    let lines = if caps.headers <= HEADERS_ON_STACK {
        &mut few[..caps.headers]
    } else {
        many = vec![MaybeUninit::uninit(); caps.headers];
        &mut many[..]
    };
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, lines) {
        Ok(Status::Complete(length)) if length > caps.bytes => Err(Doubt::HeadTooLarge),
        Ok(Status::Complete(length)) => {
            check_line_ends(&bytes[..length])?;
            Ok(Some((length, judge(&request)?)))
        }
        Ok(Status::Partial) if bytes.len() > caps.bytes => Err(Doubt::HeadTooLarge),
        Ok(Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(Doubt::TooManyHeaders),
        Err(_) => Err(Doubt::Malformed),
    }
}

/// Up to so many fields are read without an allocation.
const HEADERS_ON_STACK: usize = 100;

/// The parser takes a bare LF for a line's end, as others do not.
fn check_line_ends(head: &[u8]) -> Result<(), Doubt> {
    let ends_well = |at: usize| at.checked_sub(1).and_then(|before| head.get(before)) == Some(&b'\r');
    if memchr_iter(b'\n', head).all(ends_well) {
        Ok(())
    } else {
        Err(Doubt::LineEnd)
    }
}

/// What comes behind a head, if there is but one opinion on that.
fn judge(request: &Request<'_, '_>) -> Result<Place, Doubt> {
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Doubt::Malformed);
    };
    check_target(method, target)?;
    let mut length = None;
    let mut is_chunked = false;
    let mut offers = false;
    for Header { name, value } in &*request.headers {
        match name.len() {
            // By length first: most fields are none of these.
            7 if name.eq_ignore_ascii_case("upgrade") => offers = true,
            14 if is_spelling(name, "content-length") => {
                let announced = digits(value).filter(|_| name.contains('-')).ok_or(Doubt::Length)?;
                if length.replace(announced).is_some() {
                    return Err(Doubt::Length);
                }
            }
            17 if is_spelling(name, "transfer-encoding") => {
                if is_chunked || version == 0 || !name.contains('-') || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Doubt::Coding);
                }
                is_chunked = true;
            }
            _ => {}
        }
    }
    match (is_chunked, length) {
        (true, Some(_)) => Err(Doubt::Length),
        (true, None) => Ok(Place::Chunked(Chunks::new())),
        (false, Some(length @ 1..)) => Ok(Place::Length(length)),
        // One with a body can offer nothing: the other protocol could only begin behind it.
        (false, _) if offers => Ok(Place::Offer),
        (false, _) => Ok(Place::Head),
    }
}

/// Whether a field's name is `known`, or would be to a server that takes `_` for `-`, as CGI programs do.
fn is_spelling(name: &str, known: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-');
    name.bytes().zip(known.bytes()).all(same)
}

/// Plain digits and nothing else: no sign, no list, no blank.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// RFC 9112, section 3.2: origin form, absolute form, or the `*` of OPTIONS. CONNECT's authority form asks for a tunnel.
fn check_target(method: &str, target: &str) -> Result<(), Doubt> {
    let is_absolute = || {
        let (scheme, rest) = target.split_once("://").unwrap_or_default();
        (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) && !rest.is_empty()
    };
    let is_served = match target.as_bytes() {
        [b'/', ..] => true,
        b"*" => method == "OPTIONS",
        _ => is_absolute(),
    };
    // A fragment is never sent, and who finds one takes it for a part of the path or not.
    if is_served && method != "CONNECT" && !target.contains('#') {
        Ok(())
    } else {
        Err(Doubt::Target)
    }
}

//! Where one request of HTTP/1.1 ends and the next one begins, judged before hyper reads it: only what has one meaning passes.
//!
//! Two readers that draw that line in different places can be made to see different requests in the same bytes, and one of them then
//! forwards what the other has never counted. So whatever some reader might take otherwise is refused here, also where hyper would
//! let it pass, and before a limit is charged.
//!
//! [`Framing`] is fed the bytes as they come, and holds none of them but the beginning of a head that came in parts.
//!
//! Source: RFC 9112, sections 2.2 (line ends), 3 (request line), 5 (fields), 6 (body length), 7.1 (chunks) and 11.2 (smuggling).

mod chunks;
mod head;

use self::chunks::{Chunks, Step};
use self::head::{Found, Head};

/// The framing of one connection's requests.
///
/// Call [`handle`](Self::handle) with all bytes in their order, and pass on what it says. Where it says [`Then::Wait`], nothing more may
/// be handed to it before [`resume`](Self::resume); after [`Then::Refuse`] nothing more at all.
#[derive(Debug)]
pub struct Framing {
    head: Head,
    place: Place,
    requests: u64,
}

/// Where in a message the next byte stands.
#[derive(Debug)]
enum Place {
    Head,
    /// So many bytes of a body are left, at least one.
    Length(u64),
    Chunked(Chunks),
    /// Behind a request that offers to leave HTTP.
    Offer,
    Refused(Doubt),
}

/// The largest head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadCaps {
    /// Its bytes.
    pub bytes: usize,
    /// Its field lines.
    pub headers: usize,
}

/// What becomes of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Look {
    /// How many of them pass, from the first on.
    pub passes: usize,
    /// What becomes of the others.
    pub then: Then,
}

/// What follows behind the bytes that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// All of them passed; more may come.
    GoOn,
    /// The last request offers to leave HTTP. What comes behind it is judged, or not, when it has its answer.
    Wait,
    /// The connection is to be closed: in a head before it is whole, so that nobody can have read it; in a body before its end.
    Refuse(Doubt),
}

/// Why a connection's bytes are refused. `Display` is fit for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// It is no head of HTTP/1: a bad method, version or field, a folded line, a blank before a colon, a control character.
    #[error("the request is not framed as HTTP/1.1 asks")]
    Malformed,
    /// A line that ends in LF alone.
    #[error("a line of the request does not end in CR LF")]
    LineEnd,
    /// A target that is neither a path, nor `*` for OPTIONS, nor an absolute URI of `http` or `https`, or that has a fragment.
    #[error("the request's target is not one that this gateway serves")]
    Target,
    /// `Content-Length` stands twice, beside `Transfer-Encoding`, or is not a number in plain digits.
    #[error("the request's length is said twice or is no number")]
    Length,
    /// `Transfer-Encoding` stands twice, in HTTP/1.0, or is not `chunked` alone.
    #[error("the request has a transfer coding other than chunked")]
    Coding,
    /// A chunk, its extension or the trailer section is not what it has to be.
    #[error("the request's body is not framed as HTTP/1.1 asks")]
    Chunk,
    /// The head has more bytes than its cap.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// The head has more fields than its cap.
    #[error("the request has too many header fields")]
    TooManyHeaders,
}

impl Doubt {
    /// Whether it is about a head. Else it is about a body, whose request has passed.
    pub const fn is_of_head(self) -> bool {
        !matches!(self, Self::Chunk)
    }
}

impl Framing {
    /// The framing of a connection that has sent nothing yet.
    pub const fn new(caps: HeadCaps) -> Self {
        Self {
            head: Head::new(caps),
            place: Place::Head,
            requests: 0,
        }
    }

    /// Judges the bytes that came next. Copies nothing but a head that is not whole.
    pub fn handle(&mut self, bytes: &[u8]) -> Look {
        let mut passes = 0;
        loop {
            let left = &bytes[passes..];
            let refused = |doubt| Look {
                passes,
                then: Then::Refuse(doubt),
            };
            match &mut self.place {
                Place::Offer => {
                    return Look {
                        passes,
                        then: Then::Wait,
                    };
                }
                Place::Refused(doubt) => return refused(*doubt),
                _ if left.is_empty() => {
                    return Look {
                        passes,
                        then: Then::GoOn,
                    };
                }
                Place::Head => match self.head.handle(left) {
                    Found::Part => passes = bytes.len(),
                    Found::Whole { length, next } => {
                        passes += length;
                        self.requests += 1;
                        self.place = next;
                    }
                    Found::Doubt(doubt) => self.place = Place::Refused(doubt),
                },
                Place::Length(length) => {
                    let here = usize::try_from(*length).map_or(left.len(), |length| length.min(left.len()));
                    passes += here;
                    *length -= here as u64;
                    if *length == 0 {
                        self.place = Place::Head;
                    }
                }
                Place::Chunked(chunks) => {
                    let (here, step) = chunks.handle(left);
                    passes += here;
                    match step {
                        Step::Within => {}
                        Step::Over => self.place = Place::Head,
                        Step::Broken => self.place = Place::Refused(Doubt::Chunk),
                    }
                }
            }
        }
    }

    /// The offer to leave HTTP was declined: what follows is the next request.
    pub fn resume(&mut self) {
        if matches!(self.place, Place::Offer) {
            self.place = Place::Head;
        }
    }

    /// Whether the last request offers to leave HTTP, and nobody has declined.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Offer)
    }

    /// Whether the next byte would be the first of a request.
    pub fn is_between(&self) -> bool {
        matches!(self.place, Place::Head) && self.head.is_empty()
    }

    /// How many requests' heads have passed.
    pub const fn requests(&self) -> u64 {
        self.requests
    }
}

#[cfg(test)]
mod tests;

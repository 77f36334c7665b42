//! A path in the one form in which it is routed, counted and forwarded.
//!
//! Servers take `//login`, `/./login`, `/%6Cogin` and `/login;v=1` for `/login`, each its own choice of them. Whoever limits
//! `/login` has to take them for it too, or each is a way around; and has to forward what it has limited, or the server would read
//! something else after all.
//!
//! Source: RFC 3986, section 6.2.2 (escapes and dot segments) and 5.2.4 (their removal); section 3.3 for what may stand in a path.

use std::borrow::Cow;

use http::Method;
use http::uri::{PathAndQuery, Uri};

use crate::policy::checked::{EncodedSlash, Paths, Spelling};

/// Why a path has no one form: what it names depends on who reads it. `Display` is fit for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// It does not begin with a slash, and is not the `*` of OPTIONS.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits behind it.
    #[error("the path has a percent sign that begins no escape")]
    BadEscape,
    /// A control character, written as such or as an escape.
    #[error("the path has a control character")]
    Control,
    /// A slash or a backslash that is written as an escape.
    #[error("the path has a slash or backslash that is written as an escape")]
    EncodedSlash,
    /// A backslash, which some servers take for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// Bytes that are no UTF-8, overlong forms among them.
    #[error("the path is not in UTF-8")]
    NotUtf8,
    /// A dot segment that only some servers see, such as `/..;x/`.
    #[error("the path hides a dot segment behind a parameter or an escape")]
    HiddenDots,
    /// A query or a fragment stands in it.
    #[error("the path has a character that ends a path")]
    NotAPath,
    /// It is longer than a request's target may be once its escapes are written out.
    #[error("the path is too long")]
    TooLong,
}

/// The one form of a path, without its query:
///
/// - unreserved characters (letters, digits, `-._~`) as themselves, all that may not stand in a path as an escape, escapes in capitals;
///   other escapes stay, since `%2C` and `,` need not mean the same to an application;
/// - no dot segments; the rest as `paths` says.
///
/// The form's own form is itself. Borrowed, and without an allocation, where nothing changes but an end that is cut off. Takes time in proportion to the path,
/// two nanoseconds for most.
///
/// # Errors
///
/// If servers would read the path in different ways.
///
/// ```
/// use sluicegate::path::canonical;
/// use sluicegate::policy::checked::Paths;
///
/// let paths = Paths::default();
/// assert_eq!(canonical("/a/./b/../%6cogin;v=1/", paths)?, "/a/login");
/// assert!(canonical("/a%2fb", paths).is_err());
/// # Ok::<(), sluicegate::path::PathFault>(())
/// ```
pub fn canonical(path: &str, paths: Paths) -> Result<Cow<'_, str>, PathFault> {
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    spell(path, paths)
}

/// As [`canonical`], for the target of a request: `*` is the whole target of an OPTIONS request, and of no other.
///
/// # Errors
///
/// As [`canonical`].
#[inline]
pub fn canonical_target<'a>(method: &Method, path: &'a str, paths: Paths) -> Result<Cow<'a, str>, PathFault> {
    if path == "*" && *method == Method::OPTIONS {
        return Ok(Cow::Borrowed(path));
    }
    canonical(path, paths)
}

/// Whether a path is its own one form whatever the policy says, as nearly all are.
#[inline]
pub fn is_plain(path: &str) -> bool {
    let mut before = 0;
    for &byte in path.as_bytes() {
        // A dot behind a slash may begin a dot segment.
        if !PLAIN[usize::from(byte)] || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    path.len() == 1 && before == b'/' || path.starts_with('/') && before != b'/'
}

/// Writes another path into a target, whose scheme, authority and query stay.
///
/// # Errors
///
/// [`PathFault::TooLong`] if the target does not take it.
pub fn put(path: &str, target: &mut Uri) -> Result<(), PathFault> {
    let text = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = std::mem::take(target).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| PathFault::TooLong)?);
    *target = Uri::from_parts(parts).map_err(|_| PathFault::NotAPath)?;
    Ok(())
}

#[cold]
fn spell(path: &str, paths: Paths) -> Result<Cow<'_, str>, PathFault> {
    let text = path.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
    let mut form = Form::new(path);
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let begin = form.len();
        form.push(b'/');
        write_segment(segment, paths, &mut form)?;
        let keep_slash = match &form.as_str()[begin + 1..] {
            "" => is_last || !paths.merge_slashes,
            "." => {
                form.cut(begin);
                false
            }
            ".." => {
                form.cut(begin);
                form.cut(form.as_str().rfind('/').unwrap_or(0));
                false
            }
            written if hides_dots(written) => return Err(PathFault::HiddenDots),
            _ => true,
        };
        if !keep_slash {
            form.cut(begin.min(form.len()));
            // A path that ends in a dot segment names a folder.
            if is_last {
                form.push(b'/');
            }
        }
    }
    while paths.trailing_slash == Spelling::Strip && form.len() > 1 && form.as_str().ends_with('/') {
        form.cut(form.len() - 1);
    }
    Ok(form.done())
}

fn write_segment(segment: &str, paths: Paths, form: &mut Form<'_>) -> Result<(), PathFault> {
    let mut characters = Characters::default();
    let mut is_parameter = false;
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (value, is_escape) = match byte {
            b'%' => (escaped(&mut bytes)?, true),
            other => (other, false),
        };
        characters.handle(value)?;
        match value {
            b'\\' if !is_escape => return Err(PathFault::Backslash),
            b'/' | b'\\' if paths.encoded_slash == EncodedSlash::Refuse => return Err(PathFault::EncodedSlash),
            b'?' | b'#' if !is_escape => return Err(PathFault::NotAPath),
            b';' if !is_escape && paths.matrix_params == Spelling::Strip => is_parameter = true,
            _ => {}
        }
        if is_parameter {
            // Looked at all the same: what is no path is none with a parameter in front.
        } else if is_unreserved(value) || !is_escape && is_delimiter(value) {
            form.push(value);
        } else {
            form.push(b'%');
            form.push(HEX[usize::from(value >> 4)]);
            form.push(HEX[usize::from(value & 15)]);
        }
    }
    characters.end()
}

/// The byte that two hexadecimal digits behind a percent sign stand for.
fn escaped(bytes: &mut std::str::Bytes<'_>) -> Result<u8, PathFault> {
    let mut digit = || {
        let digit = char::from(bytes.next()?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let (high, low) = (digit(), digit());
    Ok(high.ok_or(PathFault::BadEscape)? << 4 | low.ok_or(PathFault::BadEscape)?)
}

/// Whether some server reads a dot segment in a segment that is none, once it has cut parameters off or taken an escape for a slash.
fn hides_dots(segment: &str) -> bool {
    let is_dots = |piece: &str| matches!(piece, "." | "..");
    let pieces = segment.split(';').flat_map(|piece| piece.split("%3B"));
    let mut pieces = pieces
        .flat_map(|piece| piece.split("%2F"))
        .flat_map(|piece| piece.split("%5C"));
    segment.contains([';', '%']) && pieces.any(is_dots)
}

/// What has been written of a form. It is not copied as long as it is what was read.
struct Form<'a> {
    read: &'a str,
    /// How much of `read` has been written, while that is all that has been.
    same: usize,
    /// ASCII alone.
    written: Option<String>,
}

impl<'a> Form<'a> {
    fn new(read: &'a str) -> Self {
        Self {
            read,
            same: 0,
            written: None,
        }
    }

    fn as_str(&self) -> &str {
        match &self.written {
            Some(written) => written,
            None => &self.read[..self.same],
        }
    }

    fn len(&self) -> usize {
        self.as_str().len()
    }

    /// `byte` is ASCII.
    fn push(&mut self, byte: u8) {
        if let Some(written) = &mut self.written {
            written.push(char::from(byte));
        } else if self.read.as_bytes().get(self.same) == Some(&byte) {
            self.same += 1;
        } else {
            let mut written = String::with_capacity(self.read.len());
            written.push_str(&self.read[..self.same]);
            written.push(char::from(byte));
            self.written = Some(written);
        }
    }

    fn cut(&mut self, length: usize) {
        match &mut self.written {
            Some(written) => written.truncate(length),
            None => self.same = self.same.min(length),
        }
    }

    fn done(mut self) -> Cow<'a, str> {
        if self.len() == 0 {
            self.push(b'/');
        }
        match self.written {
            Some(written) => Cow::Owned(written),
            None => Cow::Borrowed(&self.read[..self.same]),
        }
    }
}

/// Looks whether the bytes of a segment are characters, and none of them a control character.
#[derive(Default)]
struct Characters {
    bytes: [u8; 4],
    length: usize,
}

impl Characters {
    fn handle(&mut self, byte: u8) -> Result<(), PathFault> {
        if byte.is_ascii() {
            self.end()?;
            return if byte.is_ascii_control() {
                Err(PathFault::Control)
            } else {
                Ok(())
            };
        }
        *self.bytes.get_mut(self.length).ok_or(PathFault::NotUtf8)? = byte;
        self.length += 1;
        match std::str::from_utf8(&self.bytes[..self.length]) {
            Ok(character) if character.contains(char::is_control) => Err(PathFault::Control),
            Ok(_) => {
                self.length = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(PathFault::NotUtf8),
        }
    }

    fn end(&self) -> Result<(), PathFault> {
        if self.length == 0 {
            Ok(())
        } else {
            Err(PathFault::NotUtf8)
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What else may stand in a segment as itself: RFC 3986, sections 2.2 (`sub-delims`) and 3.3 (`pchar`).
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

/// What may stand in a path that is its own form whatever the policy says.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte == b'/' || is_unreserved(byte) || is_delimiter(byte) && byte != b';';
        byte += 1;
    }
    plain
};

/// A path as it is compared with the patterns of routes: delimiters that are written as escapes as themselves, since most servers
/// take `/items%3Abatch` for `/items:batch`. Borrowed where there are none.
pub(crate) fn loosened(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let delimiter = |escape: &str| {
        let value = escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        (is_delimiter(value) && value != b';').then_some(char::from(value))
    };
    let mut pieces = path.split('%');
    let mut loosened = String::with_capacity(path.len());
    loosened.push_str(pieces.next().unwrap_or_default());
    let mut has_changed = false;
    for piece in pieces {
        if let Some(delimiter) = delimiter(piece) {
            has_changed = true;
            loosened.push(delimiter);
            loosened.push_str(&piece[2..]);
        } else {
            loosened.push('%');
            loosened.push_str(piece);
        }
    }
    if has_changed {
        Cow::Owned(loosened)
    } else {
        Cow::Borrowed(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Paths = Paths {
        merge_slashes: false,
        trailing_slash: Spelling::Keep,
        matrix_params: Spelling::Keep,
        encoded_slash: EncodedSlash::Keep,
    };

    #[track_caller]
    fn check(path: &str, expected: Result<&str, PathFault>) {
        check_by(Paths::default(), path, expected);
    }

    #[track_caller]
    fn check_by(paths: Paths, path: &str, expected: Result<&str, PathFault>) {
        let found = canonical(path, paths);
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{path}");
        if let Ok(form) = &found {
            assert_eq!(
                canonical(form, paths).as_ref(),
                Ok(form),
                "the form of {path} has another form"
            );
        }
        if expected == Ok(path) {
            assert!(matches!(found, Ok(Cow::Borrowed(_))), "{path} was copied");
        }
    }

    /// T16
    #[test]
    fn every_spelling_of_a_path_is_one() {
        for spelling in [
            "/login",
            "//login",
            "///login",
            "/./login",
            "/.//./login",
            "/x/../login",
            "/../login",
            "/../../login",
            "/x/y/../../login",
            "/%6Cogin",
            "/%6cogin",
            "/%6c%6F%67%69%6e",
            "/%2e/login",
            "/%2E%2e/login",
            "/x/%2E%2e/login",
            "/x/.%2e/login",
            "/login/",
            "/login//",
            "/login/.",
            "/login/x/..",
            "/login;v=1",
            "/login;",
            "/login;a=b;c=d/",
            "/;x/login",
            "/..;/login",
            "/.;x=y/login",
            "/x/..;a=b/login",
        ] {
            check(spelling, Ok("/login"));
        }
    }

    #[test]
    fn what_servers_read_in_different_ways_is_refused() {
        use PathFault::{Backslash, BadEscape, Control, EncodedSlash, HiddenDots, NotAPath, NotAbsolute, NotUtf8};
        for (path, fault) in [
            ("", NotAbsolute),
            ("login", NotAbsolute),
            ("*", NotAbsolute),
            ("/a%", BadEscape),
            ("/a%4", BadEscape),
            ("/a%zz", BadEscape),
            ("/a%+1", BadEscape),
            ("/a%4\u{e9}", BadEscape),
            ("/a%00", Control),
            ("/a%0d%0aX", Control),
            ("/a%7F", Control),
            ("/a%C2%85", Control),
            ("/a\u{1}", Control),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a%5cb", EncodedSlash),
            ("/a;x=%2f", EncodedSlash),
            ("/a\\b", Backslash),
            ("/a;\\", Backslash),
            ("/%c0%ae%c0%ae/a", NotUtf8),
            ("/%c0%af", NotUtf8),
            ("/%ff", NotUtf8),
            ("/%e9", NotUtf8),
            ("/%e2%82/x", NotUtf8),
            ("/%ed%a0%80", NotUtf8),
            ("/..%3Bx/a", HiddenDots),
            ("/a?b", NotAPath),
            ("/a#b", NotAPath),
        ] {
            check(path, Err(fault));
        }
    }

    #[test]
    fn escapes_that_may_mean_something_stay_and_what_may_not_stand_there_becomes_one() {
        check("/a%2cb", Ok("/a%2Cb"));
        check("/a,b", Ok("/a,b"));
        check("/a%20b", Ok("/a%20b"));
        check("/caf%c3%a9", Ok("/caf%C3%A9"));
        check("/caf\u{e9}", Ok("/caf%C3%A9"));
        check("/{id}|\"<>^`[]", Ok("/%7Bid%7D%7C%22%3C%3E%5E%60%5B%5D"));
        check("/%252e%252e/a", Ok("/%252e%252e/a"));
        check("/a%3bb", Ok("/a%3Bb"));
        check("/...", Ok("/..."));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/LOGIN", Ok("/LOGIN"));
    }

    #[test]
    fn the_root_is_a_slash_however_it_is_reached() {
        for root in ["/", "//", "/.", "/..", "/./", "/a/..", "/a/../", "/;x", "/a/../../.."] {
            check(root, Ok("/"));
        }
    }

    #[test]
    fn what_the_policy_keeps_makes_another_path() {
        check_by(KEEP, "/a//b/", Ok("/a//b/"));
        check_by(KEEP, "/a//../b", Ok("/a/b"));
        check_by(KEEP, "/a/.", Ok("/a/"));
        check_by(KEEP, "/a/b/..", Ok("/a/"));
        check_by(KEEP, "//..", Ok("/"));
        check_by(KEEP, "//", Ok("//"));
        check_by(KEEP, "/a;v=1/b", Ok("/a;v=1/b"));
        check_by(KEEP, "/group%2fproject", Ok("/group%2Fproject"));
        check_by(KEEP, "/..;x/a", Err(PathFault::HiddenDots));
        check_by(KEEP, "/a%2f..%2fb", Err(PathFault::HiddenDots));
        check_by(KEEP, "/a\\b", Err(PathFault::Backslash));
        let merging = Paths {
            trailing_slash: Spelling::Strip,
            ..KEEP
        };
        check_by(merging, "/a//", Ok("/a"));
    }

    #[test]
    fn a_star_is_the_target_of_options_alone() {
        let paths = Paths::default();
        assert_eq!(canonical_target(&Method::OPTIONS, "*", paths).as_deref(), Ok("*"));
        assert!(canonical_target(&Method::GET, "*", paths).is_err());
        assert!(canonical_target(&Method::OPTIONS, "*x", paths).is_err());
    }

    #[test]
    fn a_path_is_put_into_a_target_and_the_rest_of_it_stays() {
        for (target, expected) in [
            ("//a?b=//c", "/x?b=//c"),
            ("/a?", "/x?"),
            ("/a", "/x"),
            ("http://h:1//a?b", "http://h:1/x?b"),
        ] {
            let mut uri: Uri = target.parse().expect("a test's target is one");
            put("/x", &mut uri).expect("a path");
            assert_eq!(uri.to_string(), expected);
        }
        let mut uri = Uri::from_static("/a");
        assert_eq!(put(&"/a".repeat(40_000), &mut uri), Err(PathFault::TooLong));
    }

    #[test]
    fn delimiters_are_the_same_to_routes_however_they_are_written() {
        assert_eq!(loosened("/items%3Abatch%40x"), "/items:batch@x");
        assert!(matches!(loosened("/a%2Fb%3B%25"), Cow::Borrowed(_)));
    }
}

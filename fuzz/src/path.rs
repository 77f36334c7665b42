//! The one form of a path: that it is one, that nothing hides in it, and that routes see what a server sees.

use std::borrow::Cow;
use std::str;

use http::Uri;
use sluicegate::path::{PathFault, canonical, is_plain, put};
use sluicegate::policy::checked::{EncodedSlash, Paths, Spelling};

/// What spellings of one path are made of.
pub const DICTIONARY: &[&str] = &[
    "/", "//", "/.", "/..", "/./", "/../", "%2e", "%2E", "%2f", "%5c", "\\", "%00", "%0a", "%25", "%252e", "%3b",
    "%6c", "%c0%ae", "%c3%a9", "é", ";", ";a=b", "..;", "..%3b", "..%2f", "%", "%4", "login", "*", "?", "#", "{id}",
    ":", "@",
];

/// # Panics
///
/// When a form has another form, differs from what a reader without haste makes of the path, is copied without need, or cannot be put
/// into a target and read from it again.
pub fn target(data: &[u8]) {
    let Some((&switches, path)) = data.split_first() else {
        return;
    };
    let Ok(path) = str::from_utf8(path) else { return };
    let paths = paths(switches);
    let found = canonical(path, paths);
    assert_eq!(
        found.as_deref().ok(),
        slowly(path, paths).as_deref(),
        "{path:?} by {paths:?}"
    );
    if is_plain(path) {
        assert_eq!(found.as_deref(), Ok(path), "what is plain has changed");
    }
    let Ok(form) = found else { return };
    assert_eq!(
        canonical(&form, paths).as_deref(),
        Ok(&*form),
        "the form of {path:?} has another form"
    );
    assert!(
        form.starts_with('/') && form.bytes().all(|byte| byte.is_ascii_graphic()),
        "{form:?}"
    );
    if form == path {
        assert!(matches!(form, Cow::Borrowed(_)), "{path:?} was copied");
    }
    let mut uri = Uri::from_static("/x?q");
    match put(&form, &mut uri) {
        Ok(()) => assert_eq!((uri.path(), uri.query()), (&*form, Some("q"))),
        Err(fault) => assert!(
            fault == PathFault::TooLong && form.len() > 60_000,
            "{fault} for {form:?}"
        ),
    }
}

fn paths(switches: u8) -> Paths {
    let spelling = |bit: u8| {
        if switches & bit == 0 {
            Spelling::Strip
        } else {
            Spelling::Keep
        }
    };
    Paths {
        merge_slashes: switches & 1 == 0,
        trailing_slash: spelling(2),
        matrix_params: spelling(4),
        encoded_slash: if switches & 8 == 0 {
            EncodedSlash::Refuse
        } else {
            EncodedSlash::Keep
        },
    }
}

/// As a reader would who decodes everything first, and holds the path as a list of names.
fn slowly(path: &str, paths: Paths) -> Option<String> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut ends_open = true;
    for segment in path.strip_prefix('/')?.split('/') {
        let name = name(segment, paths)?;
        ends_open = matches!(&name[..], b"" | b"." | b"..");
        match &name[..] {
            b"" if paths.merge_slashes => {}
            b"." => {}
            b".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    // The slash at the end is no name without characters.
    if !paths.merge_slashes
        && path
            .rsplit('/')
            .next()
            .and_then(|last| name(last, paths))
            .is_some_and(|last| last.is_empty())
    {
        names.pop();
    }
    let mut form: String = names.iter().flat_map(|name| ["/".to_owned(), written(name)]).collect();
    if ends_open || form.is_empty() {
        form.push('/');
    }
    while paths.trailing_slash == Spelling::Strip && form.len() > 1 && form.ends_with('/') {
        form.pop();
    }
    Some(form)
}

/// A segment's name, in which escaped delimiters are still told from plain ones: by an escape.
fn name(segment: &str, paths: Paths) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut decoded = Vec::new();
    let mut rest = segment.as_bytes();
    let mut is_parameter = false;
    while let [first, behind @ ..] = rest {
        let (byte, is_escape) = if *first == b'%' {
            let digits = str::from_utf8(behind.get(..2)?).ok()?;
            if digits.starts_with('+') {
                return None;
            }
            rest = &behind[2..];
            (u8::from_str_radix(digits, 16).ok()?, true)
        } else {
            rest = behind;
            (*first, false)
        };
        decoded.push(byte);
        let is_slash = matches!(byte, b'/' | b'\\');
        if (is_slash && (!is_escape || paths.encoded_slash == EncodedSlash::Refuse))
            || (!is_escape && matches!(byte, b'?' | b'#'))
        {
            return None;
        }
        is_parameter |= byte == b';' && !is_escape && paths.matrix_params == Spelling::Strip;
        if is_parameter {
            continue;
        }
        if is_escape && !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            name.extend(format!("%{byte:02X}").bytes());
        } else {
            name.push(byte);
        }
    }
    let decoded = str::from_utf8(&decoded).ok()?;
    if decoded.chars().any(char::is_control) {
        return None;
    }
    let text = str::from_utf8(&name).ok()?;
    let unescaped = text.replace("%3B", ";").replace("%2F", ";").replace("%5C", ";");
    let hides = |piece: &str| piece == "." || piece == "..";
    if unescaped.contains(';') && unescaped.split(';').any(hides) {
        return None;
    }
    Some(name)
}

/// A name as it stands in a path.
fn written(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    name.iter()
        .map(|&byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

//! The values that stand on one line, each with the grammar of its text.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, Method};
use ipnet::IpNet;
use serde_json::{Value, json};
use sluicegate_core::Limit;

use super::checked::{Enforce, ForwardedHeader, KeyPart, OnMissingKey};
use super::fault::quoted;
use super::findings::{Findings, Located, Spot};
use super::nearest::nearest;
use super::shape::{Shape, unexpected};
use super::yaml::{Kind, Node};

/// A value with a grammar of its own.
pub(super) trait Scalar: Sized {
    /// What belongs here, as a message says it.
    const EXPECTED: &'static str;
    /// What YAML must take it for.
    const KIND: Kind = Kind::Text;

    /// Reads the text.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write instead.
    fn parse(text: &str) -> Result<Self, Wrong>;

    /// What a JSON Schema can say of it.
    fn grammar() -> Value {
        json!({ "type": "string" })
    }
}

/// Why a text is not a value: the problem (the value is put before it) and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    problem: String,
    remedy: String,
}

fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        problem: problem.into(),
        remedy: remedy.into(),
    })
}

impl<T: Scalar> Shape for T {
    fn expected() -> &'static str {
        T::EXPECTED
    }

    fn read(node: Located<Node>, findings: &mut Findings<'_>) -> Option<Self> {
        let Node::Scalar { text, kind } = &node.value else {
            unexpected(&node.value, node.spot, T::EXPECTED, findings);
            return None;
        };
        match T::parse(text) {
            Err(Wrong { problem, remedy }) => {
                findings.fault(node.spot, format!("{} {problem}", quoted(text)), remedy);
                None
            }
            Ok(value) if *kind == T::KIND => Some(value),
            // `name: 404` would be a number to every other reader of the file.
            Ok(_) if T::KIND == Kind::Text => {
                findings.fault(
                    node.spot,
                    format!("{text} is a {}", kind_name(*kind)),
                    format!("put it in quotes: \"{text}\""),
                );
                None
            }
            Ok(_) => {
                findings.fault(
                    node.spot,
                    format!("{} is a text", quoted(text)),
                    "write it without quotes",
                );
                None
            }
        }
    }

    fn schema() -> Value {
        T::grammar()
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number to YAML",
        Kind::Truth => "truth value to YAML",
    }
}

/// A whole number from `MIN` to `MAX`, in plain decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Scalar for Whole<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let range = || format!("write a whole number from {MIN} to {MAX} in plain digits");
        // `007` is seven to one reader and octal to another, `1_000` a text to most.
        if !is_plain_digits(text) {
            return wrong("is not a whole number", range());
        }
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(number) if number < MIN => wrong(format!("is below the least, {MIN}"), range()),
            _ => wrong(format!("is above the most, {MAX}"), range()),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

fn is_plain_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

/// A size in bytes from `MIN` to `MAX`, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    const EXPECTED: &'static str = "a size such as 64MiB";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (digits, unit) = split_unit(text);
        if !is_plain_digits(digits) {
            return wrong("is not a size", "write a whole number and a unit, as in 64MiB");
        }
        let Some((_, bytes_per_unit)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            let problem = if unit.is_empty() {
                "has no unit".to_owned()
            } else {
                "has no known unit".to_owned()
            };
            return wrong(problem, "use B, KiB, MiB, GiB, kB, MB or GB");
        };
        let bytes = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*bytes_per_unit));
        match bytes {
            Some(bytes) if bytes < MIN => wrong(
                format!("is below the least, {}", size(MIN)),
                format!("write {} or more", size(MIN)),
            ),
            Some(bytes) if bytes <= MAX => Ok(Self(bytes)),
            _ => wrong(
                format!("is above the most, {}", size(MAX)),
                format!("write {} or less", size(MAX)),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*) ?(B|KiB|MiB|GiB|kB|MB|GB)$" })
    }
}

/// The larger units last, so that a size is shown in the largest that divides it.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

fn size(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Digits and what follows them, a blank between them aside.
fn split_unit(text: &str) -> (&str, &str) {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits, unit.strip_prefix(' ').unwrap_or(unit))
}

/// A size, or `unbounded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeOrUnbounded(pub(super) Option<u64>);

impl Scalar for SizeOrUnbounded {
    const EXPECTED: &'static str = "a size such as 10MiB, or unbounded";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "unbounded" {
            return Ok(Self(None));
        }
        // 1 EiB: no body is larger, and sums of sizes stay within 64 bits.
        Size::<0, { 1 << 60 }>::parse(text).map(|size| Self(Some(size.0)))
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "unbounded" }, Size::<0, { 1 << 60 }>::grammar()] })
    }
}

/// A length of time from `MIN` to `MAX` milliseconds, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Scalar for Span<MIN, MAX> {
    const EXPECTED: &'static str = "a length of time such as 30s";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (digits, unit) = split_unit(text);
        if !is_plain_digits(digits) {
            return wrong("is not a length of time", "write a whole number and a unit, as in 30s");
        }
        let Some((_, ms_per_unit)) = SPAN_UNITS.iter().find(|(name, _)| *name == unit) else {
            return wrong(
                if unit.is_empty() {
                    "has no unit"
                } else {
                    "has no known unit"
                },
                "use ms, s, min or h",
            );
        };
        match digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*ms_per_unit))
        {
            Some(ms) if ms < MIN => wrong(
                format!("is below the least, {}", span(MIN)),
                format!("write {} or more", span(MIN)),
            ),
            Some(ms) if ms <= MAX => Ok(Self(Duration::from_millis(ms))),
            _ => wrong(
                format!("is above the most, {}", span(MAX)),
                format!("write {} or less", span(MAX)),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*) ?(ms|s|min|h)$" })
    }
}

const SPAN_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

fn span(ms: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| ms > 0 && ms.is_multiple_of(*unit);
    match SPAN_UNITS.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// The name of a rule, a route or an upstream: it goes into header fields and metrics as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl Scalar for Name {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        // RFC 9651, section 3.3.3: a String holds the visible ASCII characters and the blank.
        if let Some(c) = text.chars().find(|c| !matches!(c, ' '..='~')) {
            return wrong(
                format!("has the character {c:?}"),
                "use ASCII letters, digits, blanks and signs; names go into header fields",
            );
        }
        match text.len() {
            0 => wrong("is empty", "give it a name"),
            1..=NAME_MAX => Ok(Self(text.to_owned())),
            length => wrong(
                format!("has {length} characters"),
                format!("use at most {NAME_MAX}; names go into every response"),
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": NAME_MAX })
    }
}

/// Reads the name of an entry in a map that makes up its own names.
pub(super) fn read_name(text: &str, spot: Spot, findings: &mut Findings<'_>) -> Option<Name> {
    match Name::parse(text) {
        Ok(name) => Some(name),
        Err(Wrong { problem, remedy }) => {
            findings.fault_in_name(spot, format!("{} {problem}", quoted(text)), remedy);
            None
        }
    }
}

/// Bytes of a name. Sixteen rules may be announced in one response, so that this bounds the field to about 1 KiB of
/// names, well inside the 8 KiB that common proxies allow for a whole head.
pub(super) const NAME_MAX: usize = 64;

/// Any text, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prose(pub(super) String);

impl Scalar for Prose {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }
}

impl Scalar for Limit {
    const EXPECTED: &'static str = "a limit such as 100/min burst 20";

    fn parse(text: &str) -> Result<Self, Wrong> {
        text.parse().or_else(|error: sluicegate_core::ParseLimitError| {
            let part = text.get(error.span()).unwrap_or_default();
            let about = if part.is_empty() || part == text.trim() {
                String::new()
            } else {
                format!(" in {}", quoted(part))
            };
            wrong(format!("is not a limit: {}{about}", error.fault()), error.remedy())
        })
    }

    fn grammar() -> Value {
        json!({
            "type": "string",
            "pattern": "^[ \\t]*[0-9]+[kM]?[ \\t]*(/|per)[ \\t]*([0-9]+[ \\t]*)?[a-z]+([ \\t]+burst[ \\t]+[0-9]+[kM]?)?[ \\t]*$",
            "examples": ["100/min", "10 per 15min", "5/s burst 10"],
        })
    }
}

/// What `overflow` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OverflowText {
    Shared(Limit),
    Closed,
}

impl Scalar for OverflowText {
    const EXPECTED: &'static str = "a limit such as 1000/min, or closed";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "closed" {
            Ok(Self::Closed)
        } else {
            Limit::parse(text).map(Self::Shared)
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "closed" }, Limit::grammar()] })
    }
}

impl Scalar for Enforce {
    const EXPECTED: &'static str = "a share such as 10%";

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a whole share from 0% to 100%; 0% is shadow mode";
        let Some(digits) = text.strip_suffix('%') else {
            return wrong("is not a share", REMEDY);
        };
        if !is_plain_digits(digits) {
            return wrong("is not a whole share", REMEDY);
        }
        match digits.parse().ok().and_then(Self::percent) {
            Some(share) => Ok(share),
            None => wrong("is above 100%", REMEDY),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^([0-9]|[1-9][0-9]|100)%$" })
    }
}

/// A day, `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day(pub(super) String);

impl Scalar for Day {
    const EXPECTED: &'static str = "a day as YYYY-MM-DD";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| text.get(range).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = |range| digits(range).and_then(|d| d.parse::<u32>().ok());
        let parts = (bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-')
            .then(|| Some((number(0..4)?, number(5..7)?, number(8..10)?)))
            .flatten();
        let Some((year, month, day)) = parts else {
            return wrong("is not a day", "write it as YYYY-MM-DD");
        };
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        if (1..=days).contains(&day) {
            Ok(Self(text.to_owned()))
        } else {
            wrong("is in no calendar", "write a day that exists")
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
    }
}

impl Scalar for KeyPart {
    const EXPECTED: &'static str = "ip, route, method, host or header.NAME";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(name) = text.strip_prefix("header.") {
            return HeaderName::from_bytes(name.as_bytes()).map(Self::Header).or_else(|_| {
                wrong(
                    "names no header",
                    "write header. and the header's name, as in header.x-api-key",
                )
            });
        }
        match text {
            "ip" => Ok(Self::Ip),
            "route" => Ok(Self::Route),
            "method" => Ok(Self::Method),
            "host" => Ok(Self::Host),
            _ => {
                let stem = text.split(['.', ':']).next().unwrap_or_default();
                if KEYS_TO_COME.contains(&stem) {
                    return wrong(
                        "is not offered yet as a key",
                        "use ip, route, method, host or header.NAME",
                    );
                }
                let remedy = match nearest(text, KEYS) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "use ip, route, method, host or header.NAME".to_owned(),
                };
                wrong("is no attribute of a request", remedy)
            }
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "enum": KEYS }, { "type": "string", "pattern": "^header\\.[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }] })
    }
}

const KEYS: [&str; 4] = ["ip", "route", "method", "host"];

/// Attributes that later versions will know.
const KEYS_TO_COME: [&str; 14] = [
    "client",
    "user",
    "tenant",
    "tier",
    "key",
    "certificate",
    "fingerprint",
    "ja4",
    "jwt",
    "body",
    "query",
    "cookie",
    "path",
    "asn",
];

impl Scalar for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return wrong("is no method", "leave `methods` out for every method");
        }
        let upper = text.to_ascii_uppercase();
        if text != upper {
            // RFC 9110, section 9.1: methods are case-sensitive, and all that are registered are in capitals.
            return wrong(
                "would match no request: methods are in capitals",
                format!("write {upper}"),
            );
        }
        Self::from_bytes(text.as_bytes()).or_else(|_| wrong("is no method", "write one such as GET or POST"))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$", "examples": ["GET", "POST"] })
    }
}

/// A canonical host, or `*.` and a host for every name below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPattern(pub(super) String);

impl Scalar for HostPattern {
    const EXPECTED: &'static str = "a host such as api.example.com";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if host == "*" {
            return wrong("is every host", "leave `hosts` out for every host");
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return match address.parse::<std::net::Ipv6Addr>() {
                Ok(address) => Ok(Self(format!("[{address}]"))),
                Err(_) => wrong("has no IPv6 address in its brackets", "write it as in [2001:db8::1]"),
            };
        }
        if host.parse::<std::net::Ipv6Addr>().is_ok() {
            return wrong("is an IPv6 address without brackets", format!("write [{host}]"));
        }
        if host.contains("://") || host.contains('/') {
            return wrong(
                "is more than a host",
                "write the host alone; paths have a field of their own",
            );
        }
        if host.contains(':') {
            return wrong("has a port", "write the host alone; its port does not matter");
        }
        if !host.is_ascii() {
            return wrong("is not in ASCII", "write the name as it travels, `xn--…`");
        }
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // RFC 1035, section 2.3.4: 63 octets a label, 253 characters in all.
        if name.len() > 253 || !name.split('.').all(is_label) {
            return wrong(
                "is no host",
                "write a name such as api.example.com, or *.example.com for every name below",
            );
        }
        Ok(Self(host))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255, "examples": ["api.example.com", "*.example.com"] })
    }
}

/// A path pattern: literal segments, `{name}` for one segment, a last `{*name}` for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern(pub(super) String);

impl Scalar for PathPattern {
    const EXPECTED: &'static str = "a path such as /items/{id}";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some(path) = text.strip_prefix('/') else {
            return wrong("does not begin with /", format!("write /{}", text.trim_start()));
        };
        if text.len() > PATH_MAX {
            return wrong(format!("has {} bytes", text.len()), format!("keep it to {PATH_MAX}"));
        }
        if let Some(c) = text.chars().find(|c| !matches!(c, '!'..='~')) {
            return wrong(
                format!("has the character {c:?}"),
                "write it percent-encoded, as it travels",
            );
        }
        if text.contains(['?', '#']) {
            return wrong(
                "has a query or fragment",
                "write the path alone; routes do not look at queries",
            );
        }
        let segments: Vec<&str> = path.split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                if segment.contains(['{', '}']) {
                    return wrong(
                        "has a brace inside a segment",
                        "a {name} stands for a whole segment, between two slashes",
                    );
                }
                if *segment == "*" || *segment == "**" {
                    return wrong(
                        "has a bare star",
                        "write {name} for one segment, {*name} at the end for the rest",
                    );
                }
                continue;
            };
            let name = inner.strip_prefix('*').unwrap_or(inner);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return wrong(
                    "has a parameter without a plain name",
                    "name it with letters, digits and _, as in {id}",
                );
            }
            if inner.starts_with('*') && index + 1 < segments.len() {
                return wrong(
                    format!("has {{*{name}}} before its end"),
                    "only the last segment can stand for the rest",
                );
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^/[!-~]*$", "maxLength": PATH_MAX, "examples": ["/items/{id}", "/{*rest}"] })
    }
}

/// Bytes of a path pattern; longer paths do not pass common proxies.
const PATH_MAX: usize = 2_048;

impl Scalar for SocketAddr {
    const EXPECTED: &'static str = "an address with port such as 0.0.0.0:8080";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let remedy = if let Some(port) = text.strip_prefix("localhost:") {
            format!("write 127.0.0.1:{port}")
        } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            format!("write 0.0.0.0:{port} for every IPv4 address, [::]:{port} for every address")
        } else if is_plain_digits(text) {
            format!("write 0.0.0.0:{text} for every IPv4 address, 127.0.0.1:{text} for this machine alone")
        } else if let Ok(address) = text.parse::<IpAddr>() {
            format!("add a port, as in {}", Self::new(address, 8080))
        } else {
            "write an address and a port, as in 0.0.0.0:8080 or [::]:8080".to_owned()
        };
        wrong("is no address with a port", remedy)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$" })
    }
}

/// Where metrics and health are served, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressOrOff(pub(super) Option<SocketAddr>);

impl Scalar for AddressOrOff {
    const EXPECTED: &'static str = "an address with port such as 127.0.0.1:9900, or off";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            Ok(Self(None))
        } else {
            SocketAddr::parse(text).map(|address| Self(Some(address)))
        }
    }

    fn grammar() -> Value {
        json!({ "anyOf": [{ "const": "off" }, SocketAddr::grammar()] })
    }
}

impl Scalar for Authority {
    const EXPECTED: &'static str = "a server such as 127.0.0.1:9001";

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a host and a port, as in 127.0.0.1:9001 or users.internal:8080";
        if let Some((scheme, rest)) = text.split_once("://") {
            return if scheme.eq_ignore_ascii_case("https") {
                wrong(
                    "asks for TLS towards the upstream, which is not offered yet",
                    "name a server that speaks plain HTTP/1.1",
                )
            } else {
                wrong("has a scheme", format!("write {}", rest.trim_end_matches('/')))
            };
        }
        if text.contains('@') {
            return wrong("has a user name", REMEDY);
        }
        let Ok(authority) = text.parse::<Self>() else {
            return wrong("is no server", REMEDY);
        };
        match authority.port_u16() {
            Some(1..) if !authority.host().is_empty() => Ok(authority),
            Some(0) => wrong("has port 0, which nothing listens on", REMEDY),
            None if authority.as_str() == authority.host() => wrong("has no port", format!("add one, as in {text}:80")),
            _ => wrong("is no server", REMEDY),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[^@/ ]+:[0-9]{1,5}$" })
    }
}

impl Scalar for IpNet {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8, or an address";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Ok(network) = text.parse::<Self>().or_else(|_| text.parse::<IpAddr>().map(Self::from)) else {
            return wrong(
                "is no network",
                "write one such as 10.0.0.0/8 or 2001:db8::/32, or a single address",
            );
        };
        if network.prefix_len() == 0 {
            return wrong(
                "is every address: whoever asks could name any client",
                "name the proxies' own networks",
            );
        }
        if network != network.trunc() {
            return wrong(
                format!("has bits set beyond /{}", network.prefix_len()),
                format!("write {}", network.trunc()),
            );
        }
        if let Self::V6(v6) = network
            && let Some(v4) = v6.network().to_ipv4_mapped()
            && let Some(prefix) = v6.prefix_len().checked_sub(96)
        {
            // Peers are compared in their plain form (see `address`), so that this would match none.
            return wrong("is an IPv4 network in IPv6 clothes", format!("write {v4}/{prefix}"));
        }
        Ok(network)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" })
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "a folder such as ./state";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains('\0') {
            return wrong("is no path", "write a folder such as ./state");
        }
        Ok(Self::from(text))
    }
}

/// The one version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version;

impl Scalar for Version {
    const EXPECTED: &'static str = "1";
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "1" {
            Ok(Self)
        } else {
            wrong("is no version that this program reads", "write version: 1")
        }
    }

    fn grammar() -> Value {
        json!({ "const": 1 })
    }
}

/// The algorithm; there is one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Algorithm;

/// Defines a scalar of a few words, each with its value, and words that later versions will know.
macro_rules! words {
    ($type:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }, later: [$($later:literal),*]) => {
        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, Wrong> {
                let words = [$($word),+];
                match text {
                    $($word => Ok($value),)+
                    $($later => wrong("is not offered yet", format!("write {}", words.join(" or "))),)*
                    _ => {
                        let remedy = match nearest(text, words) {
                            Some(meant) => format!("did you mean `{meant}`?"),
                            None => format!("write {}", words.join(" or ")),
                        };
                        wrong("is not known here", remedy)
                    }
                }
            }

            fn grammar() -> Value {
                json!({ "enum": [$($word),+] })
            }
        }
    };
}

words!(Algorithm, "token_bucket", { "token_bucket" => Algorithm },
    later: ["leaky_bucket", "fixed_window", "sliding_window", "sliding_log", "concurrency"]);

words!(ForwardedHeader, "x-forwarded-for or forwarded", {
    "x-forwarded-for" => ForwardedHeader::XForwardedFor,
    "forwarded" => ForwardedHeader::Forwarded,
}, later: []);

words!(OnMissingKey, "ip, shared, refuse or skip", {
    "ip" => OnMissingKey::Ip,
    "shared" => OnMissingKey::Shared,
    "refuse" => OnMissingKey::Refuse,
    "skip" => OnMissingKey::Skip,
}, later: []);

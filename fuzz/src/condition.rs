//! Expressions: any text is one or has a fault that can be read, and one that was read answers any request.

use std::str;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use sluicegate::policy::Policy;
use sluicegate::{Limiter, ManualClock, Request, Secret};

/// What expressions are made of.
pub const DICTIONARY: &[&str] = &[
    "method == \"POST\"",
    "path.startsWith(\"/a\")",
    "in_network(ip, \"10.0.0.0/8\")",
    "header[\"x-plan\"]",
    "has(query.page)",
    "\"a\" in cookie",
    "int(query.page)",
    "lower(host)",
    "size(path)",
    "path.matches(\"^/[a-z]+$\")",
    "[\"/a\", \"/b\"].exists(p, path.startsWith(p))",
    "[1, 2].map(n, n * 2)",
    "{\"a\": 1}[path.id]",
    "body[\"/a\"]",
    "route",
    "sensitivity",
    " && ",
    " || ",
    "!",
    " ? ",
    " : ",
    " == ",
    " in ",
    " + ",
    " - ",
    " % ",
    "-9223372036854775808",
    "0",
    "1.5",
    "1u",
    "b\"a\"",
    "null",
    "true",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"\\u00e9\"",
    "r'\\'",
    "'''",
    "`a-b`",
    ".",
    ",",
    "@result",
    "é",
    "\u{0}",
    "// ",
];

/// # Panics
///
/// When a text is judged differently twice, has a fault without words, or cannot answer a request.
pub fn target(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // A text of JSON is one of YAML.
    let quoted = serde_json::Value::from(text).to_string();
    for field in ["when: ", "cost: {expression: "] {
        let end = if field.contains('{') { "}" } else { "" };
        let policy = format!(
            "version: 1\nstate: {{ memory: 1MiB }}\nroutes: [{{ name: item, path: \"/items/{{id}}\" }}]\nrules:\n  \
             - {{ name: a, key: ip, limit: 5/s, {field}{quoted}{end} }}\n"
        );
        match Policy::parse("policy.yaml", &policy) {
            Ok((policy, _)) => ask(&policy),
            Err(faults) => {
                for fault in &faults {
                    assert!(
                        !fault.problem.trim().is_empty() && !fault.remedy.trim().is_empty(),
                        "{faults}"
                    );
                }
            }
        }
    }
}

fn ask(policy: &Policy) {
    let clock = Arc::new(ManualClock::default());
    let limiter = Limiter::new(policy, &Secret::from_bytes([7; 32]), clock).expect("a small table");
    let mut headers = HeaderMap::new();
    headers.insert("x-plan", HeaderValue::from_static("gold"));
    headers.insert(
        "cookie",
        HeaderValue::from_bytes(b"a=1; b=\xfe").expect("a header's value"),
    );
    headers.insert("x-bytes", HeaderValue::from_bytes(b"\xff").expect("a header's value"));
    for (path, query) in [("/items/7", "page=2&x=%ff"), ("/", "")] {
        let _ = limiter.decide(&Request {
            method: &Method::POST,
            host: "a.example",
            path,
            query,
            peer: Some([192, 0, 2, 1].into()),
            headers: &headers,
        });
    }
}

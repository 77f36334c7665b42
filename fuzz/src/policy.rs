//! The policy file: any text is a policy or has faults that can be found, read and shown on a terminal.

use std::str;

use sluicegate::policy::{FAULTS_MAX, Policy};

/// What policies are made of, and what breaks them: fields, forms of YAML, and characters that editors leave behind.
pub const DICTIONARY: &[&str] = &[
    "version: 1\n",
    "gateway:\n",
    "  listen: 127.0.0.1:8080\n",
    "  upstreams: { main: { servers: [\"127.0.0.1:9001\"] } }\n",
    "admin: { listen: off }\n",
    "state: { memory: 26MiB }\n",
    "identity:\n",
    "  trusted_proxies: [10.0.0.0/8]\n",
    "  forwarded_header: forwarded\n",
    "routes:\n",
    "  - { name: item, path: \"/items/{id}\" }\n",
    "rules:\n",
    "  - { name: r, key: ip, limit: 5/s }\n",
    "    key: [ip, route, header.x-api-key]\n",
    "    limit: 5/s burst 10\n",
    "    enforce: 10%\n",
    "    on_missing_key: shared\n",
    "    overflow: closed\n",
    "    review_by: 2027-02-29\n",
    "sluicegate",
    ": ",
    "- ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "# ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!t ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "? ",
    "~",
    "null",
    "true",
    ".inf",
    "0x1f",
    "1_000",
    "18446744073709551616",
    "-1",
    "\u{feff}",
    "\u{1b}[31m",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{10ffff}",
    "é",
    "${HOME}",
];

/// The name that stands for the file.
const NAME: &str = "policy.yaml";

/// # Panics
///
/// When the faults of a text are none or too many, out of order, beside the text, without words or not fit for a terminal,
/// or when the same text is judged differently twice.
pub fn target(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let judged = Policy::parse(NAME, text);
    match &judged {
        Ok((_, warnings)) => {
            for warning in warnings {
                check_place(text, warning.line, warning.column);
                check_words(&[&warning.to_string(), &warning.text, &warning.remedy]);
            }
        }
        Err(faults) => {
            assert!((1..=FAULTS_MAX).contains(&faults.len()), "{} faults", faults.len());
            assert!(
                faults.iter().is_sorted_by_key(|fault| (fault.line, fault.column)),
                "out of order: {faults}"
            );
            for fault in faults {
                assert_eq!(fault.file, NAME);
                check_place(text, fault.line, fault.column);
                check_words(&[&fault.to_string(), &fault.problem, &fault.remedy]);
                check_excerpt(&fault.excerpt());
            }
        }
    }
    assert_eq!(
        judged.err(),
        Policy::parse(NAME, text).err(),
        "judged differently the second time"
    );
}

/// The place lies in the text, or just behind the end of one of its lines.
fn check_place(text: &str, line: u32, column: u32) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Lines as YAML counts them: LF, CR LF and CR end one.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let found = (line as usize)
        .checked_sub(1)
        .and_then(|index| text.split('\n').nth(index));
    let is_there = found.is_some_and(|found| (1..=found.chars().count() + 1).contains(&(column as usize)));
    assert!(is_there, "there is no {line}:{column}");
}

/// A message says something, on one line, and can do nothing to the terminal that shows it.
fn check_words(messages: &[&str]) {
    for message in messages {
        assert!(!message.trim().is_empty(), "a message without words");
        assert!(
            !message.contains(steers),
            "something in {message:?} steers the terminal"
        );
    }
}

/// Whether a terminal acts on the character rather than shows it: control characters, and those that turn the direction of
/// what follows (Unicode Standard Annex 9, table 4).
fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An excerpt is two lines, and steers the terminal no more than a message does. Tabs keep the caret in its place.
fn check_excerpt(excerpt: &str) {
    let lines: Vec<_> = excerpt.split_terminator('\n').collect();
    assert_eq!(lines.len(), 2, "not two lines: {excerpt:?}");
    assert!(
        !lines.concat().replace('\t', "").contains(steers),
        "something in {excerpt:?} steers the terminal"
    );
}

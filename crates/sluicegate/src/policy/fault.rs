//! What is wrong with a policy file, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One thing in a policy file that must be mended before it can be used.
///
/// `Display` gives one line, `policy.yaml:7:12: rules[0].limit: "5/fortnight" has no known unit; use …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file as the caller named it.
    pub file: String,
    /// Which field, such as `rules[3].limit`; empty where the file as a whole is meant.
    pub place: String,
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in that line, in characters from 1.
    pub column: u32,
    /// What is wrong, with the value found.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// The line itself, cut to a length that fits a terminal; for [`excerpt`](Self::excerpt).
    #[serde(skip)]
    pub source_line: String,
}

impl Fault {
    /// The line of the file with a caret below the column, two lines that end in a line feed each.
    pub fn excerpt(&self) -> String {
        excerpt(self.line, self.column, &self.source_line)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(
            f,
            (&self.file, self.line, self.column),
            &self.place,
            &self.problem,
            &self.remedy,
        )
    }
}

/// Everything that is wrong with one policy file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    faults: Vec<Fault>,
    omitted: usize,
}

impl Faults {
    pub(super) fn new(mut faults: Vec<Fault>, omitted: usize) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self { faults, omitted }
    }

    /// The faults, first line first. There is at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }

    /// How many are listed; at most [`FAULTS_MAX`].
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.faults.len()
    }

    /// How many more there were than are listed.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<'f> IntoIterator for &'f Faults {
    type Item = &'f Fault;
    type IntoIter = std::slice::Iter<'f, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Most faults that are listed for one file: more than anyone reads, and few enough that a file made of nothing but
/// faults is still refused at once.
pub const FAULTS_MAX: usize = 200;

/// Something in a policy file that is allowed and probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file as the caller named it.
    pub file: String,
    /// Which field, such as `rules[3].key`; empty where the file as a whole is meant.
    pub place: String,
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in that line, in characters from 1.
    pub column: u32,
    /// What may surprise.
    pub text: String,
    /// What to write if it was not meant.
    pub remedy: String,
    /// The line itself, cut to a length that fits a terminal; for [`excerpt`](Self::excerpt).
    #[serde(skip)]
    pub source_line: String,
}

impl Warning {
    /// The line of the file with a caret below the column, two lines that end in a line feed each.
    pub fn excerpt(&self) -> String {
        excerpt(self.line, self.column, &self.source_line)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(
            f,
            (&self.file, self.line, self.column),
            &self.place,
            &self.text,
            &self.remedy,
        )
    }
}

/// Why a policy file gave no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file could not be read: it is not there, is a folder, or may not be opened.
    #[error("cannot read the policy file {}", path.display())]
    Unreadable {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file was read and is not a policy, or a file that it names is not what it should be.
    #[error(transparent)]
    Faulty(#[from] Faults),
}

fn write_line(
    f: &mut fmt::Formatter<'_>,
    (file, line, column): (&str, u32, u32),
    place: &str,
    text: &str,
    remedy: &str,
) -> fmt::Result {
    write!(f, "{file}:{line}:{column}: ")?;
    if !place.is_empty() {
        write!(f, "{place}: ")?;
    }
    write!(f, "{text}; {remedy}")
}

fn excerpt(line: u32, column: u32, source_line: &str) -> String {
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    // Tabs before the caret are kept, so that it stands below its character whatever a tab is worth.
    let lead: String = source_line
        .chars()
        .take(column.saturating_sub(1) as usize)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let shown: String = source_line.chars().map(harmless).collect();
    format!("{number} | {shown}\n{margin} | {lead}^\n")
}

/// The character, or a mark in the place of one that a terminal would act on: control characters, and those that turn
/// the direction of what follows (Unicode Standard Annex 9, table 4). Tabs stay, for the caret's sake.
fn harmless(letter: char) -> char {
    match letter {
        '\t' => letter,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

/// A value as a message shows it: in quotes, control bytes escaped, cut when it is long.
pub(super) fn quoted(value: &str) -> String {
    let mut text: String = shown(value, QUOTED_MAX).chars().flat_map(char::escape_debug).collect();
    if value.chars().nth(QUOTED_MAX).is_some() {
        text.push('…');
    }
    format!("\"{text}\"")
}

/// Characters of a value that a message shows: enough to find it by.
const QUOTED_MAX: usize = 60;

/// The first `most` characters of a text, with the passwords of the URLs in it hidden.
pub(super) fn shown(text: &str, most: usize) -> String {
    let (head, is_whole) = match text.char_indices().nth(most + PASSWORD_MAX) {
        Some((end, _)) => (&text[..end], false),
        None => (text, true),
    };
    let mut told = String::new();
    let mut rest = head;
    while let Some((before, url)) = rest.split_once("://") {
        told.push_str(before);
        told.push_str("://");
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let (url, after) = url.split_at(end.unwrap_or(url.len()));
        let is_cut = end.is_none() && !is_whole;
        match url.rsplit_once('@') {
            Some((credentials, host)) if !is_cut => {
                match credentials.split_once(':') {
                    Some((username, password)) if !is_reference(password) => {
                        told.push_str(username);
                        told.push(':');
                        told.push_str(HIDDEN);
                    }
                    _ => told.push_str(credentials),
                }
                told.push('@');
                told.push_str(host);
            }
            None if !is_cut => told.push_str(url),
            // Where it ends is not known, and with it where a password might.
            _ => told.push_str(HIDDEN),
        }
        rest = after;
    }
    told.push_str(rest);
    told.truncate(told.char_indices().nth(most).map_or(told.len(), |(end, _)| end));
    told
}

/// Whether it says where a password is, instead of one.
fn is_reference(password: &str) -> bool {
    password.is_empty() || (password.starts_with("${") && password.ends_with('}'))
}

/// Stands for what is not shown.
pub(super) const HIDDEN: &str = "***";

/// Characters that are looked through for the end of a URL beyond what is shown. Longer passwords are hidden with all
/// that is around them.
const PASSWORD_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_hidden_wherever_the_text_is_cut() {
        for (text, told) in [
            ("redis://gate:hunter2@a:6379/1", "redis://gate:***@a:6379/1"),
            ("redis://:p@ss:w/rd@a:6379", "redis://:***@a:6379"),
            (
                "share: [\"redis://:x@a:1\", 'rediss://u:y@b:2']",
                "share: [\"redis://:***@a:1\", 'rediss://u:***@b:2']",
            ),
            ("redis://u:${PASSWORD}@a:1", "redis://u:${PASSWORD}@a:1"),
            ("redis://u@a:1", "redis://u@a:1"),
            ("http://a:80/b and ://", "http://a:80/b and ://"),
            ("10/min", "10/min"),
        ] {
            assert_eq!(shown(text, 100), told);
            for most in 0..text.len() {
                assert!(told.starts_with(&shown(text, most)), "{text} cut to {most}");
            }
        }
        let long = format!("redis://u:{}@a:1", "hunter2".repeat(200));
        for most in 0..long.len() {
            assert!(!shown(&long, most).contains("hunter"), "cut to {most}");
        }
    }
}

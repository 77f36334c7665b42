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
    /// The file was read and is not a policy.
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
    let mut shown: String = value.chars().take(QUOTED_MAX).flat_map(char::escape_debug).collect();
    if value.chars().nth(QUOTED_MAX).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// Characters of a value that a message shows: enough to find it by.
const QUOTED_MAX: usize = 60;

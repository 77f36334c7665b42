//! A fault or warning with the line it is about, as a compiler shows it.
//!
//! Written by hand rather than by a reporting crate: a policy's fault has one place and one remedy, and what is printed
//! comes from a file that may hold anything, so every character that could steer a terminal is replaced here.

use std::fmt::{self, Display, Formatter};

use sluicegate::policy::{Fault, Warning};

/// One finding about a policy file, ready to be shown.
#[derive(Debug)]
pub(crate) struct Excerpt<'a> {
    severity: Severity,
    file: &'a str,
    /// From 1, as the column, which counts characters.
    line: u32,
    column: u32,
    /// The line itself, perhaps cut; empty where there is none to show.
    source_line: &'a str,
    /// Which field, such as `rules[3].limit`; may be empty.
    place: &'a str,
    problem: &'a str,
    remedy: &'a str,
}

impl<'a> From<&'a Fault> for Excerpt<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self {
            severity: Severity::Error,
            file: &fault.file,
            line: fault.line,
            column: fault.column,
            source_line: &fault.source_line,
            place: &fault.place,
            problem: &fault.problem,
            remedy: &fault.remedy,
        }
    }
}

impl<'a> From<&'a Warning> for Excerpt<'a> {
    fn from(warning: &'a Warning) -> Self {
        Self {
            severity: Severity::Warning,
            file: &warning.file,
            line: warning.line,
            column: warning.column,
            source_line: &warning.source_line,
            place: &warning.place,
            problem: &warning.text,
            remedy: &warning.remedy,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.as_str())?;
        if !self.place.is_empty() {
            write!(f, "{}: ", Shown(self.place))?;
        }
        writeln!(f, "{}", Shown(self.problem))?;

        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin}--> {}:{}:{}", Shown(self.file), self.line, self.column)?;
        if !self.source_line.is_empty() {
            let (shown, before) = window(self.source_line, self.column);
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {}", Shown(&shown))?;
            writeln!(f, "{margin} | {}^", " ".repeat(before))?;
        }
        writeln!(f, "{margin} = remedy: {}", Shown(self.remedy))
    }
}

/// The part of a line around a column, and how many characters of it stand before that column.
fn window(line: &str, column: u32) -> (String, usize) {
    let at = column.saturating_sub(1) as usize;
    let start = at
        .saturating_sub(LINE_SHOWN / 2)
        .min(line.chars().count().saturating_sub(LINE_SHOWN));
    let shown: String = line.chars().skip(start).take(LINE_SHOWN).collect();
    let before = at.saturating_sub(start).min(shown.chars().count());
    (shown, before)
}

/// Text with every control character replaced, one for one, so that columns stay and no escape reaches the terminal.
/// Direction overrides go too: they would show a line other than the one that is there.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let visible = |c: char| match c {
            '\t' => ' ',
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        self.0.chars().try_for_each(|c| write!(f, "{}", visible(c)))
    }
}

/// Characters of a line shown at most: a terminal's width less the margin.
const LINE_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(source_line: &str, line: u32, column: u32) -> String {
        let excerpt = Excerpt {
            severity: Severity::Error,
            file: "policy.yaml",
            line,
            column,
            source_line,
            place: "rules[0].limit",
            problem: "unknown unit \"fortnight\"",
            remedy: "use ms, s, min, h, d or w",
        };
        excerpt.to_string()
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        let expected = "\
error: rules[0].limit: unknown unit \"fortnight\"
  --> policy.yaml:12:12
   |
12 |   - limit: 5/fortnight
   |            ^
   = remedy: use ms, s, min, h, d or w
";
        assert_eq!(excerpt("  - limit: 5/fortnight", 12, 12), expected);
    }

    #[test]
    fn a_fault_without_a_line_to_show_has_no_caret() {
        let shown = excerpt("", 1, 1);
        assert!(
            shown.contains(" --> policy.yaml:1:1\n") && !shown.contains('^'),
            "{shown}"
        );
    }

    #[test]
    fn escapes_in_the_file_do_not_reach_the_terminal() {
        let shown = excerpt("a: \u{1b}[2J\u{7}\u{202e}evil\tx", 1, 4);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = excerpt(&line, 1, 5001);
        let lines: Vec<&str> = shown.lines().collect();
        let (text, caret) = (lines[3], lines[4]);
        assert!(text.chars().count() < 120, "{text}");
        assert_eq!(
            text.chars().position(|c| c == 'X'),
            caret.chars().position(|c| c == '^')
        );
    }

    #[test]
    fn places_beyond_the_text_do_not_panic() {
        for (line, column) in [(9, 9), (1, 0), (1, u32::MAX), (0, 0), (u32::MAX, 1)] {
            assert!(excerpt("short", line, column).contains("remedy"));
        }
    }
}

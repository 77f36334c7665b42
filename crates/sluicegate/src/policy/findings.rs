//! Faults and warnings as they are found, and the places they are found in.

use std::fmt::Write as _;

use super::fault::{FAULTS_MAX, Fault, Faults, HIDDEN, Warning, shown};

/// A value with the spot it was read from.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// A place in the file, known to [`Findings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot(u32);

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl At {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn new(line: u64, column: u64) -> Self {
        let from_one = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
        Self {
            line: from_one(line),
            column: from_one(column),
        }
    }
}

/// The last part of a place.
#[derive(Debug)]
pub(super) enum Step {
    Root,
    Field(String),
    Item(usize),
}

#[derive(Debug)]
struct Mark {
    parent: Option<Spot>,
    step: Step,
    name_at: At,
    value_at: At,
}

/// Everything found in one file.
#[derive(Debug)]
pub(super) struct Findings<'t> {
    file: &'t str,
    lines: Vec<&'t str>,
    marks: Vec<Mark>,
    faults: Vec<Fault>,
    faults_omitted: usize,
    warnings: Vec<Warning>,
    /// Where something begins that no message shows.
    hidden: Vec<At>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            lines: text.lines().collect(),
            marks: Vec::new(),
            faults: Vec::new(),
            faults_omitted: 0,
            warnings: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Makes a place known.
    pub(super) fn spot(&mut self, parent: Option<Spot>, step: Step, name_at: At, value_at: At) -> Spot {
        // The reader hands over at most `NODES_MAX` values.
        let spot = Spot(u32::try_from(self.marks.len()).unwrap_or(u32::MAX));
        self.marks.push(Mark {
            parent,
            step,
            name_at,
            value_at,
        });
        spot
    }

    /// Notes a fault in the value at `spot`.
    pub(super) fn fault(&mut self, spot: Spot, problem: impl Into<String>, remedy: impl Into<String>) {
        let at = self.mark(spot).map_or(At::START, |mark| mark.value_at);
        self.push_fault(self.place(spot), at, problem.into(), remedy.into());
    }

    /// Notes a fault in the name of the field at `spot`.
    pub(super) fn fault_in_name(&mut self, spot: Spot, problem: impl Into<String>, remedy: impl Into<String>) {
        let at = self.mark(spot).map_or(At::START, |mark| mark.name_at);
        self.push_fault(self.place(spot), at, problem.into(), remedy.into());
    }

    /// Notes that `field` is missing from the map at `spot`.
    pub(super) fn missing(&mut self, spot: Spot, field: &str, remedy: impl Into<String>) {
        self.fault(spot, format!("the field `{field}` is missing"), remedy);
    }

    /// Notes a fault of the text, before anything in it has a name.
    pub(super) fn fault_at(&mut self, at: At, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push_fault(String::new(), at, problem.into(), remedy.into());
    }

    /// Notes a fault in the field at `place`, shown at `spot`, or at the file's beginning.
    pub(super) fn fault_in_field(&mut self, place: String, spot: Option<Spot>, problem: String, remedy: String) {
        let at = spot
            .and_then(|spot| self.mark(spot))
            .map_or(At::START, |mark| mark.value_at);
        self.push_fault(place, at, problem, remedy);
    }

    /// Notes that the file lacks something that would stand at `place`.
    pub(super) fn fault_of_file(&mut self, place: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push_fault(place.to_owned(), At::START, problem.into(), remedy.into());
    }

    /// Notes something allowed that is probably not meant.
    pub(super) fn warning(&mut self, spot: Spot, text: impl Into<String>, remedy: impl Into<String>) {
        let at = self.mark(spot).map_or(At::START, |mark| mark.value_at);
        self.push_warning(self.place(spot), at, text.into(), remedy.into());
    }

    /// Notes that the file lacks something that would stand at `place`, which is allowed and probably not meant.
    pub(super) fn warning_of_file(&mut self, place: &str, text: impl Into<String>, remedy: impl Into<String>) {
        self.push_warning(place.to_owned(), At::START, text.into(), remedy.into());
    }

    /// Keeps the value at `spot`, and what stands behind it on its line, out of every message.
    pub(super) fn hide(&mut self, spot: Spot) {
        // No more than the shape has fields for secrets.
        self.hidden.extend(self.mark(spot).map(|mark| mark.value_at));
    }

    /// The line of the value at `spot`.
    pub(super) fn line(&self, spot: Spot) -> u32 {
        self.mark(spot).map_or(At::START, |mark| mark.value_at).line
    }

    /// Whether there is a fault.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Whether no more faults are listed, so that looking for a remedy is wasted.
    pub(super) fn is_full(&self) -> bool {
        self.faults.len() >= FAULTS_MAX
    }

    /// `value` with the warnings, or the faults if there are any.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Warning>), Faults> {
        match value {
            Some(value) if self.faults.is_empty() => {
                self.warnings.sort_by_key(|warning| (warning.line, warning.column));
                Ok((value, self.warnings))
            }
            _ => {
                if self.faults.is_empty() {
                    // Whoever gives up notes why; a reader of the message must not pay for it if one did not.
                    self.fault_at(
                        At::START,
                        "the file cannot be used",
                        "this is a defect of Sluicegate; please report it",
                    );
                }
                for fault in &mut self.faults {
                    for hidden in self.hidden.iter().filter(|hidden| hidden.line == fault.line) {
                        let shown = fault.source_line.chars().take(hidden.column as usize - 1);
                        fault.source_line = shown.chain(HIDDEN.chars()).collect();
                    }
                }
                Err(Faults::new(self.faults, self.faults_omitted))
            }
        }
    }

    /// The one fault of a file that cannot even be parsed.
    pub(super) fn only(mut self, at: At, problem: &str, remedy: &str) -> Faults {
        self.fault_at(at, problem, remedy);
        Faults::new(self.faults, 0)
    }

    fn push_fault(&mut self, place: String, at: At, problem: String, remedy: String) {
        if self.is_full() {
            self.faults_omitted += 1;
            return;
        }
        self.faults.push(Fault {
            file: self.file.to_owned(),
            place,
            line: at.line,
            column: at.column,
            problem,
            remedy,
            source_line: self.source_line(at),
        });
    }

    fn push_warning(&mut self, place: String, at: At, text: String, remedy: String) {
        // One policy gives a few warnings for each of its rules and routes, whose numbers are bounded.
        self.warnings.push(Warning {
            file: self.file.to_owned(),
            place,
            line: at.line,
            column: at.column,
            text,
            remedy,
            source_line: self.source_line(at),
        });
    }

    fn mark(&self, spot: Spot) -> Option<&Mark> {
        self.marks.get(spot.0 as usize)
    }

    /// `rules[3].limit`; a name that would not read as one word is quoted.
    pub(super) fn place(&self, spot: Spot) -> String {
        let mut way = Vec::new();
        let mut next = Some(spot);
        while let Some(mark) = next.and_then(|spot| self.mark(spot)) {
            way.push(&mark.step);
            next = mark.parent;
        }
        let mut place = String::new();
        for step in way.into_iter().rev() {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Root => Ok(()),
                Step::Item(index) => write!(place, "[{index}]"),
                Step::Field(name) => {
                    let dot = if place.is_empty() { "" } else { "." };
                    if name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
                        && name.len() <= PLAIN_NAME_MAX
                    {
                        write!(place, "{dot}{name}")
                    } else {
                        write!(place, "{dot}{}", super::fault::quoted(name))
                    }
                }
            };
        }
        place
    }

    fn source_line(&self, at: At) -> String {
        let line = self.lines.get(at.line as usize - 1);
        line.map(|line| shown(line, SOURCE_LINE_MAX)).unwrap_or_default()
    }
}

/// Bytes of a field's name that a place shows unquoted and whole.
const PLAIN_NAME_MAX: usize = 64;

/// Characters of a source line that are kept to be shown.
const SOURCE_LINE_MAX: usize = 160;

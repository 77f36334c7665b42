//! What a bench found, and how it is told: as aligned tables for people, as JSON for programs.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::BenchError;
use crate::spread::Spread;

/// What one bench found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The bench's name on the command line.
    pub(crate) bench: &'static str,
    /// What was measured, in one line.
    pub(crate) about: &'static str,
    /// What people read in place of the figures one by one, where those are many.
    #[serde(skip)]
    pub(crate) table: Option<String>,
    /// One line of the table each.
    pub(crate) figures: Vec<Figure>,
    /// What was to be reached.
    pub(crate) goals: Vec<Goal>,
    /// What a reader has to know beside the numbers.
    pub(crate) notes: Vec<String>,
}

/// One number, measured several times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// Under which circumstances.
    pub(crate) scenario: String,
    /// Who or what.
    pub(crate) subject: String,
    /// The rounds.
    pub(crate) spread: Spread,
    /// Of the numbers.
    pub(crate) unit: Unit,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Nanos,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
    /// Mebibytes.
    MiB,
    /// How many times as much.
    Times,
    /// Hundredths.
    Percent,
    /// How many in a second.
    PerSecond,
    /// How many.
    Count,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::Bytes => "B",
            Self::MiB => "MiB",
            Self::Times => "×",
            Self::Percent => "%",
            Self::PerSecond => "/s",
            Self::Count => "",
        }
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A number to reach.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    /// Of what.
    pub(crate) what: String,
    /// What was measured.
    pub(crate) ours: f64,
    /// On which side of it ours has to be.
    pub(crate) side: Side,
    /// The number.
    pub(crate) bound: f64,
    /// Of both numbers.
    pub(crate) unit: Unit,
    /// The best of the peers in the same run.
    pub(crate) peer: Option<Peer>,
}

/// On which side of its bound a number has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// On it or below.
    AtMost,
    /// On it or above.
    AtLeast,
}

/// Somebody to compare with.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    /// Who.
    pub(crate) name: String,
    /// Its number.
    pub(crate) value: f64,
}

impl Goal {
    fn is_reached(&self) -> bool {
        match self.side {
            Side::AtMost => self.ours <= self.bound,
            Side::AtLeast => self.ours >= self.bound,
        }
    }

    fn verdict(&self) -> String {
        let unit = self.unit.as_str();
        let reached = if self.is_reached() { "reached" } else { "NOT REACHED" };
        let apart = (self.ours - self.bound).abs();
        if apart == 0.0 {
            return format!("{reached}, just so");
        }
        let side = if self.ours > self.bound { "above" } else { "below" };
        let share = if self.bound == 0.0 {
            String::new()
        } else {
            format!(" ({:.0} %)", apart / self.bound * 100.0)
        };
        format!("{reached}, {} {unit}{share} {side}", short(apart))
    }
}

impl Report {
    /// Whether figures came out, and all of them are numbers.
    ///
    /// # Errors
    ///
    /// If not.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let missing = |what: String| BenchError::NoFigure {
            bench: self.bench,
            what,
        };
        if self.figures.is_empty() {
            return Err(missing("there are no figures".to_owned()));
        }
        if let Some(figure) = self.figures.iter().find(|figure| !figure.spread.is_finite()) {
            return Err(missing(format!(
                "{} of {} is not a number",
                figure.subject, figure.scenario
            )));
        }
        match self.goals.iter().find(|goal| !goal.ours.is_finite()) {
            Some(goal) => Err(missing(format!("the goal '{}' has no number", goal.what))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}\n", self.bench, self.about)?;
        let mut figures = Columns::new(["scenario", "subject", "median", "least", "most", ""], 2);
        let mut scenario = "";
        for figure in &self.figures {
            // Said once, where it begins.
            let named = if figure.scenario == scenario {
                ""
            } else {
                &figure.scenario
            };
            scenario = &figure.scenario;
            let Spread { median, min, max } = figure.spread;
            figures.push([
                named.to_owned(),
                figure.subject.clone(),
                short(median),
                short(min),
                short(max),
                figure.unit.as_str().to_owned(),
            ]);
        }
        match &self.table {
            Some(table) => write!(f, "{table}")?,
            None => write!(f, "{figures}")?,
        }
        if !self.goals.is_empty() {
            let mut goals = Columns::new(["goal", "bound", "ours", "verdict", "best peer", "peer ÷ ours"], 1);
            for goal in &self.goals {
                let unit = goal.unit.as_str();
                let sign = match goal.side {
                    Side::AtMost => '≤',
                    Side::AtLeast => '≥',
                };
                let (peer, ratio) = goal.peer.as_ref().map_or_else(Default::default, |peer| {
                    (
                        format!("{} {} {unit}", peer.name, short(peer.value)),
                        format!("{:.1}", peer.value / goal.ours),
                    )
                });
                goals.push([
                    goal.what.clone(),
                    format!("{sign} {} {unit}", short(goal.bound)),
                    format!("{} {unit}", short(goal.ours)),
                    goal.verdict(),
                    peer,
                    ratio,
                ]);
            }
            write!(f, "\n{goals}")?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

/// A number with as many digits as its size deserves.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.095 || size == 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// Aligned columns: the first ones to the left, the numbers after them to the right.
pub(crate) struct Columns<const N: usize> {
    rows: Vec<[String; N]>,
    /// How many columns are text.
    text: usize,
}

impl<const N: usize> Columns<N> {
    /// Columns under `titles`, the first `text` of which are words.
    pub(crate) fn new(titles: [&str; N], text: usize) -> Self {
        Self {
            rows: vec![titles.map(str::to_owned)],
            text,
        }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }
}

impl<const N: usize> fmt::Display for Columns<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &self.rows {
            let mut line = String::from("  ");
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                if column < self.text || column == N - 1 {
                    line.extend([cell, space.as_str(), "  "]);
                } else {
                    line.extend([space.as_str(), cell, "  "]);
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(ours: f64, side: Side, bound: f64) -> Goal {
        Goal {
            what: "a decision".to_owned(),
            ours,
            side,
            bound,
            unit: Unit::Nanos,
            peer: None,
        }
    }

    #[test]
    fn a_verdict_says_by_how_much() {
        assert_eq!(
            goal(15.0, Side::AtMost, 18.0).verdict(),
            "reached, 3.00 ns (17 %) below"
        );
        assert_eq!(
            goal(27.0, Side::AtMost, 18.0).verdict(),
            "NOT REACHED, 9.00 ns (50 %) above"
        );
        assert_eq!(
            goal(1.8, Side::AtLeast, 1.9).verdict(),
            "NOT REACHED, 0.10 ns (5 %) below"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(["who", "ns", ""], 1);
        columns.push(["sluicegate".to_owned(), "17.5".to_owned(), "µs".to_owned()]);
        assert_eq!(columns.to_string(), "  who           ns\n  sluicegate  17.5  µs\n");
    }

    #[test]
    fn a_report_without_numbers_does_not_pass_for_one() {
        let mut report = Report {
            bench: "decide",
            about: "",
            table: None,
            figures: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        };
        assert!(report.check().is_err());
        report.figures.push(Figure {
            scenario: "hot".to_owned(),
            subject: "ours".to_owned(),
            spread: Spread::of([]),
            unit: Unit::Nanos,
        });
        assert!(report.check().is_err());
        report.figures[0].spread = Spread::once(1.0);
        assert!(report.check().is_ok());
    }
}

//! The table of clients, as lines of text.

use sluicegate_core::Limit;

use super::cast::Client;
use super::tally::Counts;
use crate::allowance::most_within;
use crate::columns::{self, Side};

/// One client's line.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) does: &'static str,
    pub(crate) asked: u64,
    pub(crate) passed: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) limit_allows: u64,
}

impl Row {
    /// What `client` counted so far, beside what `limit` allows it.
    pub(crate) fn new(client: &Client, counts: &Counts, limit: &Limit) -> Self {
        Self {
            name: client.name,
            address: client.address.to_string(),
            does: client.does,
            asked: counts.asked,
            passed: counts.passed,
            refused: counts.refused,
            errors: counts.errors,
            limit_allows: most_within(limit, counts.span),
        }
    }
}

/// A heading and one line a row.
pub(crate) fn lines(rows: &[Row]) -> Vec<String> {
    let mut cells = vec![HEADING.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.name.to_owned(),
            row.address.clone(),
            row.does.to_owned(),
            row.asked.to_string(),
            row.passed.to_string(),
            row.refused.to_string(),
            row.errors.to_string(),
            row.limit_allows.to_string(),
        ]
    }));
    columns::align(SIDES, &cells)
}

/// All rows in one line, for output that is not a terminal.
pub(crate) fn brief(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let errors = if row.errors == 0 {
            String::new()
        } else {
            format!(", {} errors", row.errors)
        };
        format!(
            "{}: {} of {} passed, {} refused{errors}",
            row.name, row.passed, row.asked, row.refused
        )
    };
    rows.iter().map(row).collect::<Vec<_>>().join("; ")
}

const HEADING: [&str; 8] = [
    "client",
    "from",
    "asks",
    "asked",
    "passed",
    "refused",
    "errors",
    "limit allows",
];

const SIDES: [Side; 8] = [
    Side::Left,
    Side::Left,
    Side::Left,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Right,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, asked: u64) -> Row {
        Row {
            name,
            address: "127.0.0.2".to_owned(),
            does: "much",
            asked,
            passed: 3,
            refused: 0,
            errors: 0,
            limit_allows: 40,
        }
    }

    #[test]
    fn numbers_stand_to_the_right_under_their_heading() {
        let expected = "
  client  from       asks   asked  passed  refused  errors  limit allows
  a       127.0.0.2  much       7       3        0       0            40
  bb      127.0.0.2  much  123456       3        0       0            40";
        assert_eq!(
            format!("\n{}", lines(&[row("a", 7), row("bb", 123_456)]).join("\n")),
            expected
        );
    }

    #[test]
    fn errors_are_told_in_brief_only_where_there_are_any() {
        assert_eq!(
            brief(&[row("a", 7), row("b", 3)]),
            "a: 3 of 7 passed, 0 refused; b: 3 of 3 passed, 0 refused"
        );
        assert!(
            brief(&[Row {
                errors: 2,
                ..row("a", 7)
            }])
            .ends_with("0 refused, 2 errors")
        );
    }
}

//! Text in columns.

use std::fmt::Write as _;

/// To which side of its column a cell is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// One line for each of `rows`, with columns as wide as what is in them and two spaces before each.
pub(crate) fn align<const N: usize>(sides: [Side; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for ((cell, side), width) in row.iter().zip(sides).zip(widths) {
            // Writing to a string does not fail.
            let _ = match side {
                Side::Left => write!(line, "  {cell:<width$}"),
                Side::Right => write!(line, "  {cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows =
            [["name", "count", "unit"], ["é", "7", "s"], ["longer", "123456", ""]].map(|row| row.map(str::to_owned));
        let lines = align([Side::Left, Side::Right, Side::Left], &rows);
        assert_eq!(
            lines,
            ["  name     count  unit", "  é            7  s", "  longer  123456"]
        );
    }
}

//! Tables: each column as wide as its widest cell, words to the left and numbers to the right.

use super::error::CliResult;
use super::output::Output;

/// Where a cell's text stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say all
pub enum Align {
    Left,
    Right,
}

/// Lines of rows, each column as wide as its widest cell. Columns that `aligns` lacks stand as its last one.
pub fn lines(aligns: &[Align], rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            match aligns.get(at).or(aligns.last()) {
                Some(Align::Right) => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A column's heading, and how its cells are shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    align: Align,
    optional: bool,
}

impl Column {
    /// A column of words.
    pub const fn left(heading: &'static str) -> Self {
        Self {
            heading,
            align: Align::Left,
            optional: false,
        }
    }

    /// A column of numbers.
    pub const fn right(heading: &'static str) -> Self {
        Self {
            heading,
            align: Align::Right,
            optional: false,
        }
    }

    /// The same column, left out of a table in which no row has a value for it.
    pub const fn if_any(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// Rows below headings. A cell without a value is a dash.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell for each column.
    pub fn push(&mut self, row: Vec<Option<String>>) {
        self.rows.push(row);
    }

    /// Prints headings and rows; nothing when there are no rows.
    pub fn print(&self, out: &mut Output) -> CliResult<()> {
        self.lines().iter().try_for_each(|line| out.text_line(line))
    }

    /// Headings and rows as text; nothing when there are no rows.
    pub fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let has_value = |at: usize| self.rows.iter().any(|row| matches!(row.get(at), Some(Some(_))));
        let shown: Vec<(usize, &Column)> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(at, column)| !column.optional || has_value(*at))
            .collect();
        let aligns: Vec<Align> = shown.iter().map(|(_, column)| column.align).collect();
        let headings: Vec<String> = shown
            .iter()
            .map(|(_, column)| column.heading.to_owned())
            .collect();
        let cells = |row: &Vec<Option<String>>| {
            let cell = |(at, _): &(usize, &Column)| shown_cell(row.get(*at).and_then(Option::as_deref));
            shown.iter().map(cell).collect::<Vec<String>>()
        };
        let rows: Vec<Vec<String>> = std::iter::once(headings)
            .chain(self.rows.iter().map(cells))
            .collect();
        lines(&aligns, &rows)
    }
}

/// What others chose, such as a client's id, must not move the cursor or look like nothing.
fn shown_cell(cell: Option<&str>) -> String {
    let Some(text) = cell else {
        return "-".to_owned();
    };
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn cells_stand_below_each_other() {
        let aligns = [Align::Left, Align::Right];
        let rows = [
            row(&["stage", "p50", "n"]),
            row(&["commit", "1 us", "12"]),
            row(&["x"]),
        ];
        assert_eq!(
            lines(&aligns, &rows),
            ["stage    p50   n", "commit  1 us  12", "x"]
        );
        assert!(lines(&aligns, &[]).is_empty());
    }

    #[test]
    fn a_column_nobody_has_a_value_for_is_left_out_only_if_it_may_be() {
        let columns = [
            Column::left("group"),
            Column::right("lag"),
            Column::left("member").if_any(),
        ];
        let mut table = Table::new(&columns);
        assert!(table.lines().is_empty());
        table.push(vec![Some("g".to_owned()), None, None]);
        assert_eq!(table.lines(), ["group  lag", "g        -"]);
        table.push(vec![
            Some("h".to_owned()),
            Some("12".to_owned()),
            Some("m".to_owned()),
        ]);
        assert_eq!(
            table.lines(),
            ["group  lag  member", "g        -  -", "h       12  m"]
        );
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let mut table = Table::new(&[Column::left("client")]);
        table.push(vec![Some("a\u{1b}[2Jb\n".to_owned())]);
        table.push(vec![Some(String::new())]);
        assert_eq!(table.lines(), ["client", "a\\u{1b}[2Jb\\n", "\"\""]);
    }
}

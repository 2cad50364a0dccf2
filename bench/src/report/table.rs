//! Aligned columns for the terminal: the first to the left, the others to the right.

use super::units::plain;

/// Rows of cells; the first row is the heading.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table {
            rows: vec![heading.map(str::to_owned).to_vec()],
        }
    }

    /// More columns at the end.
    pub(super) fn extend_heading(&mut self, names: &[String]) {
        self.rows[0].extend(names.iter().map(|name| plain(name)));
    }

    /// Adds a row; it may be shorter than the heading.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Whether there is only the heading.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The lines, heading first, without columns that are empty below their heading.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|c| c.chars().count())
                .max()
        };
        let used = |at: usize| {
            self.rows[1..]
                .iter()
                .any(|row| row.get(at).is_some_and(|c| !c.is_empty()))
        };
        let shown: Vec<_> = (0..columns).filter(|&at| at == 0 || used(at)).collect();
        let line = |row: &Vec<String>| {
            let cells = shown.iter().map(|&at| {
                let (cell, width) = (row.get(at).map_or("", String::as_str), width(at).unwrap_or(0));
                if at == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(["name", "p50", "none", "p99"]);
        assert!(table.is_empty());
        table.row(vec!["a".into(), "1 us".into(), "".into(), "12 ms".into()]);
        table.row(vec!["longer".into(), "100 us".into()]);
        assert_eq!(
            table.lines(),
            ["name       p50    p99", "a         1 us  12 ms", "longer  100 us"]
        );
    }
}
